//! Everything that can be found out about a message before it is recorded as being sent: whichever way it goes, and then by
//! the way.

use std::time::Duration;

use anyhow::Result;
use domain::message::Template;
use domain::{
    Diagnosis, SignInId, TenantId,
    account::Account,
    connection::{self, Connection, Status},
    lane::{DeferReason, Outcome, ParkReason, Parked, RejectReason, Surface},
    tenant::Admission,
};
use microsoft::{ChatMessage, Failure, FoundChat};
use secrecy::SecretString;

use super::{
    super::{
        backoff,
        breakers::{self, Permission},
        outbox::{Left, shortly},
    },
    Turn, bot, change_connection,
    outcome::means,
};
use crate::{
    commands::Loaded,
    hub::Hub,
    services::{
        messages::{self, Posting},
        tokens::{self, Fresh},
    },
};

/// Between looks whether what parked a lane is over, where nobody would tell us.
const LOOK_FIRST: Duration = Duration::from_mins(1);

const LOOK_MAX: Duration = Duration::from_hours(6);

/// What is sent, with what, and to where.
pub(super) enum Ready<'a> {
    Graph(ByGraph),
    Bot(bot::Ready<'a>),
}

impl Ready<'_> {
    pub(super) fn template(&self) -> Option<Template> {
        match self {
            Self::Graph(ready) => ready.template,
            Self::Bot(ready) => ready.template,
        }
    }

    /// Whose token it is sent with, where it is one of the person's.
    pub(super) fn token(&self) -> Option<(SignInId, u64)> {
        match self {
            Self::Graph(ready) => Some((ready.grant, ready.generation)),
            Self::Bot(_) => None,
        }
    }
}

/// What Graph needs.
pub(super) struct ByGraph {
    pub(super) access: SecretString,
    pub(super) grant: SignInId,
    pub(super) generation: u64,
    pub(super) chat_id: String,
    pub(super) content: ChatMessage,
    pub(super) template: Option<Template>,
}

/// What was found before anything was begun.
pub(super) enum Found<T> {
    Go(T),
    /// It is decided already: this is recorded instead of an intent.
    Decided(Outcome),
    Leave(Left),
}

impl<T> Found<T> {
    fn map<U>(self, into: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Go(found) => Found::Go(into(found)),
            Self::Decided(outcome) => Found::Decided(outcome),
            Self::Leave(left) => Found::Leave(left),
        }
    }
}

/// Everything that can be found out before an intent is recorded.
pub(super) async fn prepare<'a>(hub: &'a Hub, turn: &Turn) -> Result<Found<Ready<'a>>> {
    if turn.is_too_old(hub) {
        return Ok(Found::Decided(Outcome::Expired));
    }
    if let Some(hash) = &turn.accepted.account_hash {
        let is_theirs = |account: &Account| {
            account.linked.as_ref().is_some_and(|linked| linked.person == turn.accepted.person)
        };
        if !is_theirs(&hub.commands.recall::<Account>(hash, is_theirs).await?.state) {
            return Ok(Found::Decided(rejected(RejectReason::AccountChanged)));
        }
    }
    if turn.tenant.state.admission == Admission::Blocked {
        return Ok(Found::Decided(park(hub, turn, ParkReason::TenantBlocked, Diagnosis::default())));
    }
    Ok(match turn.way {
        Surface::Graph => by_graph(hub, turn).await?.map(Ready::Graph),
        Surface::Bot => bot::prepare(hub, turn).await?.map(Ready::Bot),
    })
}

async fn by_graph(hub: &Hub, turn: &Turn) -> Result<Found<ByGraph>> {
    let tenant = turn.accepted.person.tenant;
    let (access, grant, generation) = match tokens::fresh(hub, turn.lane, &turn.connection.state).await? {
        Fresh::Token { access, grant, generation } => (access, grant, generation),
        Fresh::Broken(status) => return Ok(Found::Decided(park_broken(hub, turn, status))),
        // Nothing new was learned, so there is nothing to record.
        Fresh::Later { until, diagnosis } if diagnosis == Diagnosis::default() => {
            return Ok(Found::Leave(Left::At(until)));
        }
        Fresh::Later { until, diagnosis } => {
            let why = DeferReason::TokenUnavailable;
            return Ok(Found::Decided(Outcome::Deferred { surface: turn.way, until, why, diagnosis }));
        }
    };
    match breakers::permission(hub, tenant, Surface::Graph, &turn.tenant) {
        Permission::Go => {}
        Permission::Wait(until) => return Ok(Found::Leave(Left::Until(until))),
        Permission::Probe if probe(hub, tenant, &access).await? => {}
        Permission::Probe => return Ok(Found::Leave(shortly(hub.config.delivery.breaker_pause))),
    }
    let chat_id = match chat(hub, turn, &access, grant, generation).await? {
        Ok(chat_id) => chat_id,
        Err(outcome) => return Ok(Found::Decided(outcome)),
    };
    let Some(Posting { message: content, template }) =
        messages::render(hub, turn.message, &turn.accepted).await?
    else {
        return Ok(Found::Decided(rejected(RejectReason::ContentErased)));
    };
    if content.utf16_bytes() > hub.config.delivery.size_max_bytes {
        return Ok(Found::Decided(rejected(RejectReason::TooLarge)));
    }
    Ok(Found::Go(ByGraph { access, grant, generation, chat_id, content, template }))
}

/// The chat between the person and the bot: as known, or looked for.
async fn chat(
    hub: &Hub,
    turn: &Turn,
    access: &SecretString,
    grant: SignInId,
    generation: u64,
) -> Result<Result<String, Outcome>> {
    if let Some(chat_id) = &turn.connection.state.chat_id {
        return Ok(Ok(chat_id.clone()));
    }
    match hub.graph.find_chat(access).await {
        Ok(FoundChat::Chat { chat_id, .. }) => {
            let find = connection::Command::FindChat { chat_id: chat_id.clone() };
            change_connection(hub, turn, "find-chat", find).await?;
            Ok(Ok(chat_id))
        }
        Ok(FoundChat::NotInstalled) => {
            Ok(Err(park(hub, turn, ParkReason::BotNotInstalled, Diagnosis::default())))
        }
        // A read leaves no doubt behind: whatever went wrong, it can be tried again.
        Err(failure) => Ok(Err(means(hub, turn, grant, generation, &failure).await?)),
    }
}

/// Parks the lane because of what the connection is.
fn park_broken(hub: &Hub, turn: &Turn, status: Status) -> Outcome {
    let why = match status {
        Status::ConsentRequired => ParkReason::ConsentRequired,
        Status::Suspended => ParkReason::Suspended,
        Status::Unlinked | Status::Absent => ParkReason::Unlinked,
        // Without a token only a sign-in at Microsoft makes Graph's way one.
        Status::ReauthorizationRequired | Status::Active | Status::Linked => {
            ParkReason::ReauthorizationRequired
        }
    };
    park(hub, turn, why, Diagnosis::default())
}

/// Parks the way out for what the connection was when it was judged: if it is another by then, the parking is over.
pub(super) fn park(hub: &Hub, turn: &Turn, why: ParkReason, diagnosis: Diagnosis) -> Outcome {
    park_since(hub, turn, &turn.connection, why, diagnosis)
}

/// Parks the way out for what the connection was then.
pub(super) fn park_since(
    hub: &Hub,
    turn: &Turn,
    connection: &Loaded<Connection>,
    why: ParkReason,
    diagnosis: Diagnosis,
) -> Outcome {
    let before = turn.row.parked.get(&turn.way).filter(|parked| parked.why == why);
    let looks = before.map_or(0, |parked| parked.looks + 1);
    // Of a sign-in we hear; of an app being installed, a right being given or a tenant being admitted we do not. Of its own
    // chat with a person the bot is told.
    let unheard = match why {
        ParkReason::Forbidden | ParkReason::TenantBlocked => true,
        // As far as is known the bot is there: it is the hub's settings that do not let it speak.
        ParkReason::BotNotInstalled => turn.way == Surface::Graph || bot::is_reachable(&connection.state),
        _ => false,
    };
    let look_again_at =
        unheard.then(|| hub.clock.now() + backoff(LOOK_FIRST, LOOK_MAX, looks, hub.ids.as_ref()));
    let grant_number = connection.state.grant.as_ref().map_or(0, |grant| grant.number);
    let connection_revision = connection.revision.filter(|_| turn.way == Surface::Bot);
    let parked = Parked { surface: turn.way, why, grant_number, connection_revision, look_again_at, looks };
    Outcome::Parked { parked, diagnosis }
}

/// Looks whether Graph answers, and if it does closes the breaker. True when it did.
async fn probe(hub: &Hub, tenant: TenantId, access: &SecretString) -> Result<bool> {
    // Any definite answer will do: it is Graph that is asked after, not this person's rights.
    let silent = matches!(
        hub.graph.probe(Some(access)).await,
        Err(Failure::Throttled { .. }
            | Failure::Unavailable { .. }
            | Failure::NotSent { .. }
            | Failure::Ambiguous { .. })
    );
    breakers::probed(hub, tenant, Surface::Graph, !silent).await
}

pub(super) fn rejected(why: RejectReason) -> Outcome {
    Outcome::Rejected { why, diagnosis: Diagnosis::default() }
}
