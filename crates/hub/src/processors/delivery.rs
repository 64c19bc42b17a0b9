//! One lane at a time: the message at its head is looked at, recorded as being sent, sent, and its outcome recorded.
//!
//! **Invariant.** Intent, act, outcome. The intent is appended at the lane's revision that `due` knew; only when that
//! succeeded is anything sent, once, and within the time that the intent names.

use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::{
    CommandId, ConnectionId, Diagnosis, MessageId, PersonId, SignInId,
    account::Account,
    connection::{self, Connection, ReauthorizationReason, Status},
    lane::{Command, DeferReason, Event, Lane, Outcome, ParkReason, Parked, RejectReason, Surface},
    message::{Accepted, Message},
    tenant::{Admission, Tenant},
};
use microsoft::{ChatMessage, Failure, FoundChat, Posted, graph::ForbiddenBecause};
use projections::due::{LaneRow, queries};
use secrecy::SecretString;
use store::{Position, StoreError};
use tokio_util::sync::CancellationToken;

use super::{
    backoff,
    breakers::{self, Permission},
    outbox::{Left, shortly},
};
use crate::{
    commands::Context,
    config::UnknownOutcome,
    hub::Hub,
    metrics::DeliveryOutcome,
    services::{
        messages,
        tokens::{self, Fresh},
    },
};

/// Messages that a task delivers before it lets another lane have its place.
const IN_A_ROW_MAX: usize = 64;
/// How long to wait for `due` to fold what was just recorded.
const FOLD_PATIENCE: Duration = Duration::from_secs(5);
/// Between looks whether what parked a lane is over, where nobody would tell us.
const LOOK_FIRST: Duration = Duration::from_mins(1);
const LOOK_MAX: Duration = Duration::from_hours(6);
/// Between attempts to record an outcome that the store did not take.
const RECORD_PAUSE: Duration = Duration::from_millis(200);

/// The message whose turn it is, and all that was found about it.
struct Turn {
    lane: ConnectionId,
    row: LaneRow,
    message: MessageId,
    attempts: u32,
    accepted: Accepted,
}

/// What is sent, with what, and to where.
struct Ready {
    access: SecretString,
    grant: SignInId,
    generation: u64,
    chat_id: String,
    content: ChatMessage,
}

/// What was found before anything was begun.
enum Found<T> {
    Go(T),
    /// It is decided already: this is recorded instead of an intent.
    Decided(Outcome),
    Leave(Left),
}

/// What a task remembers of the lane from one message to the next.
#[derive(Default)]
struct Memory {
    /// The last thing that happened was that a token was refused; a second time in a row it is not tried at once.
    refused: bool,
}

/// Works a lane until it has to wait, or the hub stops.
pub(super) async fn work(hub: &Hub, lane: ConnectionId, stopping: &CancellationToken) -> Result<Left> {
    let mut memory = Memory::default();
    for _ in 0..IN_A_ROW_MAX {
        if stopping.is_cancelled() {
            break;
        }
        if let Some(left) = step(hub, lane, &mut memory).await? {
            return Ok(left);
        }
    }
    Ok(shortly(Duration::ZERO))
}

/// One message, or one decision about it. `None` where the lane may have more to do at once.
async fn step(hub: &Hub, lane: ConnectionId, memory: &mut Memory) -> Result<Option<Left>> {
    let turn = match turn(hub, lane).await? {
        Ok(turn) => turn,
        Err(left) => return Ok(Some(left)),
    };
    match prepare(hub, &turn, memory).await? {
        Found::Go(ready) => deliver(hub, &turn, ready, memory).await,
        Found::Leave(left) => Ok(Some(left)),
        Found::Decided(outcome) => decide(hub, &turn, outcome).await,
    }
}

/// Whose turn it is, if it is anybody's now.
async fn turn(hub: &Hub, lane: ConnectionId) -> Result<Result<Turn, Left>> {
    let Some(head) = queries::head(&hub.due, lane).await? else { return Ok(Err(Left::Waiting)) };
    let signed_in_since =
        head.row.parked.as_ref().is_some_and(|parked| head.newest_grant > parked.grant_number);
    match head.row.ready_at() {
        _ if signed_in_since && head.row.open.is_none() => {}
        Some(at) if at > hub.clock.now() => return Ok(Err(Left::At(at))),
        Some(_) => {}
        None => return Ok(Err(Left::Waiting)),
    }
    let Some((message, row)) = head.message else { return Ok(Err(Left::Waiting)) };
    if let Err(until) = hub.pace.permit(head.row.person.tenant, lane) {
        return Ok(Err(Left::Until(until)));
    }
    let accepted = hub.commands.load::<Message>(message).await?.state.accepted;
    let accepted = accepted.with_context(|| format!("the message {message} was never accepted"))?;
    Ok(Ok(Turn { lane, row: head.row, message, attempts: row.attempts, accepted }))
}

/// Records what was decided without sending anything.
async fn decide(hub: &Hub, turn: &Turn, outcome: Outcome) -> Result<Option<Left>> {
    count(hub, &outcome);
    // Whatever is decided of a parked lane but to park it again, it is no longer parked.
    let resumed = (!matches!(outcome, Outcome::Parked { .. })).then(|| turn.resumed()).flatten();
    let events: Vec<_> = resumed.into_iter().chain(outcome.events(turn.message, turn.attempts)).collect();
    let command_id = CommandId::new(format!("decide/{}/{}", turn.message, hub.ids.uuid()));
    let context = turn.context();
    match hub
        .commands
        .append_at::<Lane>(turn.lane, turn.row.lane_revision, &command_id, &context, &events)
        .await
    {
        Ok(appended) => folded(hub, appended.position).await,
        Err(StoreError::Conflict { .. }) => Ok(Some(Left::Waiting)),
        Err(error) => Err(error.into()),
    }
}

/// Everything that can be found out before an intent is recorded.
async fn prepare(hub: &Hub, turn: &Turn, memory: &mut Memory) -> Result<Found<Ready>> {
    let tenant = turn.accepted.person.tenant;
    if hub.clock.now() >= turn.accepted.expires_at {
        return Ok(Found::Decided(Outcome::Expired));
    }
    if let Some(hash) = &turn.accepted.account_hash {
        let linked = hub.commands.load::<Account>(hash).await?.state.linked;
        if linked.is_none_or(|linked| linked.person != turn.accepted.person) {
            return Ok(Found::Decided(rejected(RejectReason::AccountChanged)));
        }
    }
    if hub.commands.load::<Tenant>(tenant).await?.state.admission == Admission::Blocked {
        return Ok(Found::Decided(park(hub, turn, ParkReason::TenantBlocked, Diagnosis::default()).await?));
    }
    let (access, grant, generation) = match tokens::fresh(hub, turn.lane).await? {
        Fresh::Token { access, grant, generation } => (access, grant, generation),
        Fresh::Broken(status) => return Ok(Found::Decided(park_broken(hub, turn, status).await?)),
        // Nothing new was learned, so there is nothing to record.
        Fresh::Later { until, diagnosis } if diagnosis == Diagnosis::default() => {
            return Ok(Found::Leave(Left::At(until)));
        }
        Fresh::Later { until, diagnosis } => {
            let why = DeferReason::TokenUnavailable;
            return Ok(Found::Decided(Outcome::Deferred { until, why, diagnosis }));
        }
    };
    match breakers::permission(hub, tenant).await? {
        Permission::Go => {}
        Permission::Wait(until) => return Ok(Found::Leave(Left::Until(until))),
        Permission::Probe if breakers::probe(hub, tenant, &access).await? => {}
        Permission::Probe => return Ok(Found::Leave(shortly(hub.config.delivery.breaker_pause))),
    }
    let chat_id = match chat(hub, turn, &access, grant, generation, memory).await? {
        Ok(chat_id) => chat_id,
        Err(outcome) => return Ok(Found::Decided(outcome)),
    };
    let Some(content) = messages::to_chat_message(hub, turn.message, &turn.accepted).await? else {
        return Ok(Found::Decided(rejected(RejectReason::ContentErased)));
    };
    if content.utf16_bytes() > hub.config.delivery.size_max_bytes {
        return Ok(Found::Decided(rejected(RejectReason::TooLarge)));
    }
    Ok(Found::Go(Ready { access, grant, generation, chat_id, content }))
}

/// The chat between the person and the bot: as known, or looked for.
async fn chat(
    hub: &Hub,
    turn: &Turn,
    access: &SecretString,
    grant: SignInId,
    generation: u64,
    memory: &mut Memory,
) -> Result<Result<String, Outcome>> {
    let connection = hub.commands.load::<Connection>(turn.lane).await?.state;
    if let Some(chat_id) = connection.chat_id {
        return Ok(Ok(chat_id));
    }
    match hub.graph.find_chat(access).await {
        Ok(FoundChat::Chat { chat_id, .. }) => {
            let find = connection::Command::FindChat { chat_id: chat_id.clone() };
            change_connection(hub, turn, "find-chat", find).await?;
            Ok(Ok(chat_id))
        }
        Ok(FoundChat::NotInstalled) => {
            Ok(Err(park(hub, turn, ParkReason::BotNotInstalled, Diagnosis::default()).await?))
        }
        // A read leaves no doubt behind: whatever went wrong, it can be tried again.
        Err(failure) => Ok(Err(means(hub, turn, grant, generation, &failure, memory).await?)),
    }
}

/// Intent, act, outcome.
async fn deliver(hub: &Hub, turn: &Turn, ready: Ready, memory: &mut Memory) -> Result<Option<Left>> {
    let (message, attempt) = (turn.message, turn.attempts + 1);
    let timeout = hub.config.outbound.request_timeout;
    let client_request_id = hub.ids.uuid();
    let started = Event::DeliveryStarted {
        message,
        attempt,
        surface: Surface::Graph,
        grant: ready.grant,
        generation: ready.generation,
        hub: hub.id,
        epoch: hub.epoch,
        // The request's own time ends before the intent's.
        timeout_ms: u64::try_from((timeout * 2).as_millis())?,
        client_request_id,
    };
    let intent: Vec<_> = turn.resumed().into_iter().chain([started]).collect();
    let command_id = CommandId::new(format!("deliver/{message}/{attempt}"));
    let context = turn.context();
    let revision = turn.row.lane_revision;
    let appended =
        match hub.commands.append_at::<Lane>(turn.lane, revision, &command_id, &context, &intent).await {
            Ok(appended) => appended,
            Err(StoreError::Conflict { .. }) => return Ok(Some(Left::Waiting)),
            Err(error) => return Err(error.into()),
        };
    let posted =
        hub.graph.post(&ready.access, &ready.chat_id, &ready.content, timeout, client_request_id).await;
    hub.pace.sent(turn.lane, hub.config.delivery.chat_interval);
    let outcome = outcome(hub, turn, &ready, posted, memory).await;
    count(hub, &outcome);
    let position = record(hub, turn, appended.revision, attempt, outcome).await?;
    folded(hub, position).await
}

/// What the answer to a post means. There always is an outcome to record: an intent without one would hold the lane up
/// until the next start.
async fn outcome(
    hub: &Hub,
    turn: &Turn,
    ready: &Ready,
    posted: Result<Posted, Failure>,
    memory: &mut Memory,
) -> Outcome {
    let tenant = turn.accepted.person.tenant;
    let failure = match posted {
        Ok(posted) => {
            breakers::known(hub, tenant);
            memory.refused = false;
            return Outcome::Delivered {
                chat_id: ready.chat_id.clone(),
                provider_message_id: posted.message_id,
                provider_request_id: posted.request_id.map(|id| id.to_string()),
            };
        }
        Err(failure) => failure,
    };
    let diagnosis = Diagnosis::from(failure.diagnosis());
    if let Failure::Ambiguous { .. } = failure {
        if let Err(error) = breakers::unknown(hub, tenant).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "That deliveries are held back could not be recorded."
            );
        }
        let resend = hub.config.delivery.unknown == UnknownOutcome::Resend;
        return Outcome::Unknown { resend, diagnosis };
    }
    breakers::known(hub, tenant);
    let meant = refused(hub, turn, ready, &failure, memory).await.unwrap_or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "What follows from an answer of Graph could not be done."
        );
        // The next attempt is answered the same, and finds it out again.
        let until = hub.clock.now() + hub.config.delivery.backoff_first;
        Outcome::Deferred { until, why: DeferReason::TryLater, diagnosis }
    });
    match meant {
        Outcome::Deferred { diagnosis, .. } if turn.attempts + 1 >= hub.config.delivery.attempts_max => {
            Outcome::DeadLettered { diagnosis }
        }
        meant => meant,
    }
}

/// Does what follows from a post that Graph refused.
async fn refused(
    hub: &Hub,
    turn: &Turn,
    ready: &Ready,
    failure: &Failure,
    memory: &mut Memory,
) -> Result<Outcome> {
    if let Failure::NotFound { .. } = failure {
        let lose = connection::Command::LoseChat { chat_id: ready.chat_id.clone() };
        change_connection(hub, turn, "lose-chat", lose).await?;
    }
    means(hub, turn, ready.grant, ready.generation, failure, memory).await
}

/// What a failure means that left no doubt behind: nothing was posted.
async fn means(
    hub: &Hub,
    turn: &Turn,
    grant: SignInId,
    generation: u64,
    failure: &Failure,
    memory: &mut Memory,
) -> Result<Outcome> {
    let diagnosis = Diagnosis::from(failure.diagnosis());
    let refused_before =
        std::mem::replace(&mut memory.refused, matches!(failure, Failure::Unauthorized { .. }));
    let delivery = &hub.config.delivery;
    let pause = backoff(delivery.backoff_first, delivery.backoff_max, turn.attempts, hub.ids.as_ref());
    let later = |why, pause, diagnosis| Outcome::Deferred { until: hub.clock.now() + pause, why, diagnosis };
    Ok(match failure {
        Failure::Throttled { retry_after, .. } => {
            later(DeferReason::Throttled, retry_after.unwrap_or(pause), diagnosis)
        }
        Failure::Unavailable { retry_after, .. } => {
            later(DeferReason::NotSent, retry_after.unwrap_or(pause), diagnosis)
        }
        Failure::NotSent { .. } => later(DeferReason::NotSent, pause, diagnosis),
        Failure::Locked { .. } | Failure::NotFound { .. } | Failure::Ambiguous { .. } => {
            later(DeferReason::TryLater, pause, diagnosis)
        }
        Failure::Unauthorized { .. } => {
            // One refresh, one retry at once; refused again, it waits like any other trouble.
            hub.tokens.forget(grant);
            tokens::refresh(hub, turn.lane, generation).await?;
            later(DeferReason::TryLater, if refused_before { pause } else { Duration::ZERO }, diagnosis)
        }
        Failure::ReauthorizationRequired { .. } => {
            let (why, person) = (ReauthorizationReason::ClaimsChallenge, turn.accepted.person);
            tokens::require_reauthorization(hub, turn.lane, person, grant, why, diagnosis.clone()).await?;
            park(hub, turn, ParkReason::ReauthorizationRequired, diagnosis).await?
        }
        Failure::Forbidden { because: ForbiddenBecause::MissingPermission, .. } => {
            park(hub, turn, ParkReason::ConsentRequired, diagnosis).await?
        }
        Failure::Forbidden { .. } => park(hub, turn, ParkReason::Forbidden, diagnosis).await?,
        Failure::TooLarge { .. } => Outcome::Rejected { why: RejectReason::TooLarge, diagnosis },
        Failure::Rejected { .. } => Outcome::Rejected { why: RejectReason::RefusedByProvider, diagnosis },
    })
}

/// Records what came of an attempt, however long the store takes: without it the outcome would be lost.
async fn record(hub: &Hub, turn: &Turn, intent: u64, attempt: u32, outcome: Outcome) -> Result<Position> {
    let request_id = match &outcome {
        Outcome::Delivered { provider_request_id, .. } => provider_request_id.clone(),
        _ => None,
    };
    let context = turn.context().answered_by(request_id);
    let command_id = conclusion(turn.message, attempt, &outcome);
    let events = outcome.clone().events(turn.message, attempt);
    loop {
        match hub.commands.append_at::<Lane>(turn.lane, Some(intent), &command_id, &context, &events).await {
            Ok(appended) => return Ok(appended.position),
            Err(StoreError::Conflict { .. }) => {
                return conclude(hub, turn.lane, &context, turn.message, attempt, outcome).await;
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Uncertain(_))) => {
                tracing::error!(lane.id = %turn.lane, error = %error, "An outcome could not be recorded; trying again.");
                tokio::time::sleep(RECORD_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Records an outcome in a lane that others may have written to.
pub(super) async fn conclude(
    hub: &Hub,
    lane: ConnectionId,
    context: &Context,
    message: MessageId,
    attempt: u32,
    outcome: Outcome,
) -> Result<Position> {
    let command_id = conclusion(message, attempt, &outcome);
    let command = Command::Conclude { message, attempt, outcome };
    let done = hub.commands.execute::<Lane>(lane, &command_id, context, command).await?;
    Ok(done.after().position)
}

/// *Unknown* is a judgement, and the true outcome may still come after it: that is another command.
fn conclusion(message: MessageId, attempt: u32, outcome: &Outcome) -> CommandId {
    let what = if matches!(outcome, Outcome::Unknown { .. }) { "unknown" } else { "conclude" };
    CommandId::new(format!("{what}/{message}/{attempt}"))
}

/// Waits until `due` knows what was just recorded, so that the next look at the lane is not a stale one.
async fn folded(hub: &Hub, position: Position) -> Result<Option<Left>> {
    // Behind, its news will bring the lane back.
    Ok(hub.due.wait_for(position, FOLD_PATIENCE).await.is_err().then_some(Left::Waiting))
}

/// Parks the lane because of what the connection is.
async fn park_broken(hub: &Hub, turn: &Turn, status: Status) -> Result<Outcome> {
    let why = match status {
        Status::ConsentRequired => ParkReason::ConsentRequired,
        Status::Suspended => ParkReason::Suspended,
        Status::Unlinked | Status::Absent => ParkReason::Unlinked,
        Status::ReauthorizationRequired | Status::Active => ParkReason::ReauthorizationRequired,
    };
    park(hub, turn, why, Diagnosis::default()).await
}

async fn park(hub: &Hub, turn: &Turn, why: ParkReason, diagnosis: Diagnosis) -> Result<Outcome> {
    let connection = hub.commands.load::<Connection>(turn.lane).await?.state;
    let looks =
        turn.row.parked.as_ref().filter(|parked| parked.why == why).map_or(0, |parked| parked.looks + 1);
    // Of a sign-in we hear; of a bot being installed, a right being given or a tenant being admitted we do not.
    let unheard =
        matches!(why, ParkReason::BotNotInstalled | ParkReason::Forbidden | ParkReason::TenantBlocked);
    let look_again_at =
        unheard.then(|| hub.clock.now() + backoff(LOOK_FIRST, LOOK_MAX, looks, hub.ids.as_ref()));
    let grant_number = connection.grant.map_or(0, |grant| grant.number);
    let parked = Parked { surface: Surface::Graph, why, grant_number, look_again_at, looks };
    Ok(Outcome::Parked { parked, diagnosis })
}

fn rejected(why: RejectReason) -> Outcome {
    Outcome::Rejected { why, diagnosis: Diagnosis::default() }
}

async fn change_connection(hub: &Hub, turn: &Turn, what: &str, command: connection::Command) -> Result<()> {
    let command_id = CommandId::new(format!("{what}/{}", hub.ids.uuid()));
    hub.commands.execute::<Connection>(turn.lane, &command_id, &turn.context(), command).await?;
    Ok(())
}

fn count(hub: &Hub, outcome: &Outcome) {
    hub.metrics.delivery(match outcome {
        Outcome::Delivered { .. } => DeliveryOutcome::Delivered,
        Outcome::Deferred { .. } => DeliveryOutcome::Deferred,
        Outcome::Unknown { .. } => DeliveryOutcome::Unknown,
        Outcome::Rejected { .. } => DeliveryOutcome::Rejected,
        Outcome::DeadLettered { .. } => DeliveryOutcome::DeadLettered,
        Outcome::Parked { .. } => DeliveryOutcome::Parked,
        Outcome::Expired => DeliveryOutcome::Expired,
    });
}

/// The outbox, acting for a person.
pub(super) fn context(lane: ConnectionId, person: PersonId) -> Context {
    Context::hub("outbox", lane.to_string()).of_tenant(person.tenant)
}

impl Turn {
    fn context(&self) -> Context {
        let context = Context::hub("outbox", self.message.to_string()).of_tenant(self.accepted.person.tenant);
        context.of_client(self.accepted.client.clone())
    }

    /// Said with whatever is done next in a lane that was parked.
    fn resumed(&self) -> Option<Event> {
        self.row.parked.as_ref().map(|parked| Event::Resumed { surface: parked.surface })
    }
}
