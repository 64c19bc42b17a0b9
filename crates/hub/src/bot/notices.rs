//! What the bot says of its own: answers, and news of a person's link.
//!
//! **Invariants.** One cause, one notice: that it is about to be said is recorded before it goes to the Bot Connector, and
//! what may have arrived is not said again. What somebody began is theirs to conclude for as long as they gave themselves,
//! counted by this hub's own monotonic clock; only then it is *unknown*. A lane's order does not hold it up.

use std::time::Duration;

use anyhow::Result;
use domain::{
    CommandId, Diagnosis, NoticeId, PersonId, Timestamp,
    connection::{self, Connection, Conversation, Reachable},
    notice::{self, Command, FailureClass, Outcome, Stage},
};
use microsoft::bot::{self, Address, SendFailure};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Bot,
    catalogue::{Language, Notice},
};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::NoticeOutcome,
    processors::{Begun, backoff},
};

/// How often something is said, and how often it may fail in a row for passing reasons.
#[derive(Clone, Copy)]
struct Manner {
    again_after: Option<Duration>,
    failures_max: u32,
}

/// Who asked can ask again, and what they did next waits for this.
const ANSWER: Manner = Manner { again_after: None, failures_max: 5 };
/// What the bot can do is told unasked at most once in this time, in one conversation.
const HINT: Manner = Manner { again_after: Some(Duration::from_mins(10)), ..ANSWER };
/// Nobody asks for news: with the back-off they are tried for an hour.
const NEWS: Manner = Manner { again_after: None, failures_max: 60 };
/// Back-off between tries of a notice that failed for passing reasons.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Now; perhaps it is not known whether it arrived.
    Said,
    /// Before, for the same cause.
    Before,
    /// It can't be said, for good.
    Unsaid,
    /// Not now; worth another try then.
    Later(Timestamp),
}

/// Where something is said, and in which language.
pub struct Place {
    pub address: Address,
    language: Language,
}

impl Place {
    /// Where somebody did this.
    pub fn of(activity: &bot::Activity) -> Self {
        Self::at(&activity.service_url, &activity.conversation.id, activity.locale.as_deref())
    }

    fn of_person(conversation: &Conversation) -> Self {
        let Conversation { service_url, conversation_id, locale, .. } = conversation;
        Self::at(service_url, conversation_id, locale.as_deref())
    }

    fn at(service_url: &str, conversation_id: &str, locale: Option<&str>) -> Self {
        let (service_url, conversation_id) = (service_url.to_owned(), conversation_id.to_owned());
        let address = Address { service_url, conversation_id };
        Self { address, language: Language::of(locale) }
    }
}

/// Tells a person something of the hub's own accord, in their chat with the bot: once for each `cause` and kind of
/// notice. A person without the bot is not told.
pub async fn tell(hub: &Hub, person: PersonId, cause: Uuid, notice: &Notice) -> Result<Told> {
    let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
    let Some(bot) = connection.bot.filter(|bot| bot.reachable == Reachable::Installed) else {
        return Ok(Told::Unsaid);
    };
    let kind = serde_json::to_string(&notice.kind())?;
    let id = NoticeId(hub.custody.name_of("notice", &[&cause.to_string(), &kind]));
    say(hub, person, &Place::of_person(&bot.conversation), id, notice, NEWS).await
}

/// Answers a person where they did something: once for each `cause`, whatever there is to say.
pub(super) async fn reply(
    hub: &Hub,
    person: PersonId,
    place: &Place,
    cause: Uuid,
    notice: &Notice,
) -> Result<Told> {
    let id = NoticeId(hub.custody.name_of("reply", &[&cause.to_string()]));
    say(hub, person, place, id, notice, ANSWER).await
}

/// Tells a person unasked what the bot can do, unless that was said there a while ago.
pub(super) async fn hint(hub: &Hub, person: PersonId, place: &Place) -> Result<Told> {
    let id = NoticeId(hub.custody.name_of("hint", &[&place.address.conversation_id]));
    say(hub, person, place, id, &Notice::Help, HINT).await
}

async fn say(
    hub: &Hub,
    person: PersonId,
    place: &Place,
    id: NoticeId,
    notice: &Notice,
    manner: Manner,
) -> Result<Told> {
    let Some(bot) = &hub.bot else { return Ok(Told::Unsaid) };
    let context = Context::hub("bot", id.to_string()).of_tenant(person.tenant);
    let timeout = hub.config.outbound.request_timeout;
    let Manner { again_after, failures_max } = manner;
    let (kind, now) = (notice.kind(), hub.clock.now());
    // The request's own time ends before the intent's.
    let timeout_ms = u64::try_from((timeout * 2).as_millis())?;
    let start = Command::Start { person, kind, hub: hub.id, now, timeout_ms, again_after, failures_max };
    // What happens once is decided by the state; each start is another command.
    let command_id = CommandId::new(format!("start/{}", hub.ids.uuid()));
    let begun = Instant::now();
    let done = hub.commands.execute_at_last::<notice::Notice>(id, &command_id, &context, start).await?;
    let (attempt, (outcome, wait)) = match done {
        Done::Appended { after, .. } if begun.elapsed() <= timeout => {
            (after.state.attempt, post(hub, bot, place, notice).await)
        }
        // The store did not say in time that it is recorded, so nothing was sent.
        done if done.after().knows(&command_id) && done.after().state.hub == Some(hub.id) => {
            let (class, diagnosis) = (FailureClass::NotSent, Diagnosis::default());
            (done.after().state.attempt, (Outcome::Failed { class, diagnosis }, None))
        }
        done => return judge(hub, id, done.into_after().state, manner, &context).await,
    };
    let failed = matches!(outcome, Outcome::Failed { .. });
    follow(hub, person, &place.address, &outcome, &context).await?;
    let state = conclude(hub, id, attempt, outcome, &context).await?;
    Ok(match failed {
        false => Told::Said,
        true if state.may_go_again(failures_max) => {
            let own = backoff(BACKOFF_FIRST, BACKOFF_MAX, state.failures - 1, hub.ids.as_ref());
            Told::Later(hub.clock.now() + wait.unwrap_or(own))
        }
        true => Told::Unsaid,
    })
}

/// What somebody began before, or has said. Where the store is ours alone the lock on the data directory proves a former
/// process dead; should another one still be at it, its word that it arrived is taken all the same.
async fn judge(
    hub: &Hub,
    id: NoticeId,
    before: notice::Notice,
    manner: Manner,
    context: &Context,
) -> Result<Told> {
    let mut state = before;
    if state.stage == Stage::Started {
        let is_dead = hub.store.is_ours_alone() && state.hub != Some(hub.id);
        let own = hub.config.outbound.request_timeout * 2;
        let timeout = state.timeout_ms.map_or(own, Duration::from_millis);
        let begun = Begun::Notice(id, state.attempt);
        if !is_dead && let Err(over_at) = hub.first_seen.is_over(begun, timeout) {
            return Ok(Told::Later(hub.clock.now() + over_at.saturating_duration_since(Instant::now())));
        }
        let unknown = Outcome::Unknown { diagnosis: Diagnosis::default() };
        state = conclude(hub, id, state.attempt, unknown, context).await?;
    }
    Ok(match state.stage {
        Stage::Failed(_) if state.may_go_again(manner.failures_max) => Told::Later(hub.clock.now()),
        Stage::Failed(_) => Told::Unsaid,
        _ => Told::Before,
    })
}

/// The one call of an attempt; and how long Microsoft wants us to wait, where it says so.
async fn post(hub: &Hub, bot: &Bot, place: &Place, notice: &Notice) -> (Outcome, Option<Duration>) {
    let what = notice.in_words(place.language);
    match bot.connector.send(&place.address, &what, hub.config.outbound.request_timeout).await {
        Ok(sent) => (Outcome::Sent { activity_id: sent.activity_id }, None),
        Err(failure) => {
            if let SendFailure::HubProblem { .. } = &failure {
                tracing::error!(
                    "Microsoft refuses the bot itself: check bot.app_id and bot.app_secret ({failure})."
                );
            } else {
                tracing::info!("A notice could not be said: {failure}");
            }
            let wait = match &failure {
                SendFailure::Throttled { retry_after, .. } | SendFailure::Unavailable { retry_after, .. } => {
                    *retry_after
                }
                _ => None,
            };
            (outcome_of(&failure), wait)
        }
    }
}

fn outcome_of(failure: &SendFailure) -> Outcome {
    let diagnosis = Diagnosis::from(failure.diagnosis());
    let class = match failure {
        SendFailure::Throttled { .. } => FailureClass::Throttled,
        SendFailure::Unavailable { .. } => FailureClass::Unavailable,
        SendFailure::NotSent { .. } => FailureClass::NotSent,
        SendFailure::Blocked { .. } => FailureClass::Blocked,
        SendFailure::NotInRoster { .. } => FailureClass::NotInRoster,
        SendFailure::DisabledByAdmin { .. } => FailureClass::DisabledByAdmin,
        SendFailure::ConversationGone { .. } => FailureClass::ConversationGone,
        SendFailure::TooLarge { .. } => FailureClass::TooLarge,
        SendFailure::Rejected { .. } => FailureClass::Rejected,
        SendFailure::ServiceNotAllowed { .. } => FailureClass::ServiceNotAllowed,
        SendFailure::HubProblem { .. } => FailureClass::Hub,
        SendFailure::Ambiguous { .. } => return Outcome::Unknown { diagnosis },
    };
    Outcome::Failed { class, diagnosis }
}

/// What a failure says of the person's chat, if it was there.
async fn follow(
    hub: &Hub,
    person: PersonId,
    address: &Address,
    outcome: &Outcome,
    context: &Context,
) -> Result<()> {
    let conversation_id = address.conversation_id.clone();
    let command = match outcome {
        Outcome::Failed { class: FailureClass::Blocked, .. } => {
            connection::Command::BlockBot { conversation_id }
        }
        Outcome::Failed { class: FailureClass::NotInRoster | FailureClass::ConversationGone, .. } => {
            connection::Command::RemoveBot { conversation_id, at: None }
        }
        _ => return Ok(()),
    };
    let command_id = CommandId::new(format!("bot-lost/{}", hub.ids.uuid()));
    // Else what came of the attempt would not be recorded either.
    hub.commands.execute_at_last::<Connection>(person.connection(), &command_id, context, command).await?;
    Ok(())
}

/// Records what came of an attempt, however long the store takes. Answers the notice as it is then.
async fn conclude(
    hub: &Hub,
    id: NoticeId,
    attempt: u32,
    outcome: Outcome,
    context: &Context,
) -> Result<notice::Notice> {
    let counted = NoticeOutcome::of(&outcome);
    let command_id = CommandId::new(format!("conclude/{attempt}/{}", hub.ids.uuid()));
    let command = Command::Conclude { attempt, outcome };
    let done = hub.commands.execute_at_last::<notice::Notice>(id, &command_id, context, command).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.notice(counted);
    }
    Ok(done.into_after().state)
}
