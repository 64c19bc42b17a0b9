//! What the bot says of its own: answers, and news of a person's link.
//!
//! **Invariants.** One cause, one notice: that it is about to be said is recorded before it goes to the Bot Connector, and
//! what may have arrived is not said again. A lane's order does not hold it up.

use std::time::Duration;

use anyhow::Result;
use domain::{
    CommandId, Diagnosis, NoticeId, PersonId, Timestamp,
    connection::{self, Connection, Conversation, Reachable},
    notice::{self, Command, FailureClass, Outcome, Stage},
};
use microsoft::bot::{self, Address, SendFailure};
use uuid::Uuid;

use super::{
    Bot,
    catalogue::{Language, Notice},
};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::NoticeOutcome,
    processors::backoff,
};

/// What the bot can do is told unasked at most once in this time, in one conversation.
const HINT_EVERY: Duration = Duration::from_mins(10);
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
    say(hub, person, &Place::of_person(&bot.conversation), id, notice, None).await
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
    say(hub, person, place, id, notice, None).await
}

/// Tells a person unasked what the bot can do, unless that was said there a while ago.
pub(super) async fn hint(hub: &Hub, person: PersonId, place: &Place) -> Result<Told> {
    let id = NoticeId(hub.custody.name_of("hint", &[&place.address.conversation_id]));
    say(hub, person, place, id, &Notice::Help, Some(HINT_EVERY)).await
}

async fn say(
    hub: &Hub,
    person: PersonId,
    place: &Place,
    id: NoticeId,
    notice: &Notice,
    again_after: Option<Duration>,
) -> Result<Told> {
    let Some(bot) = &hub.bot else { return Ok(Told::Unsaid) };
    let context = Context::hub("bot", id.to_string()).of_tenant(person.tenant);
    let start =
        Command::Start { person, kind: notice.kind(), hub: hub.id, now: hub.clock.now(), again_after };
    // What happens once is decided by the state; each start is another command.
    let command_id = CommandId::new(format!("start/{}", hub.ids.uuid()));
    match hub.commands.execute::<notice::Notice>(id, &command_id, &context, start).await? {
        Done::Appended { after, .. } => {
            let (outcome, wait) = post(hub, bot, place, notice).await;
            let failed = matches!(outcome, Outcome::Failed { .. });
            follow(hub, person, &place.address, &outcome, &context).await?;
            let state = conclude(hub, id, after.state.attempt, outcome, &context).await?;
            Ok(match failed {
                false => Told::Said,
                true if state.may_go_again() => {
                    let own = backoff(BACKOFF_FIRST, BACKOFF_MAX, state.failures - 1, hub.ids.as_ref());
                    Told::Later(hub.clock.now() + wait.unwrap_or(own).min(BACKOFF_MAX))
                }
                true => Told::Unsaid,
            })
        }
        Done::AlreadyDone(before) => {
            let state = before.state;
            if state.stage == Stage::Started && state.hub != Some(hub.id) {
                // Another process began it. Should it still be at it, its word that it arrived is taken all the same.
                let unknown = Outcome::Unknown { diagnosis: Diagnosis::default() };
                conclude(hub, id, state.attempt, unknown, &context).await?;
            }
            Ok(if matches!(state.stage, Stage::Failed(_)) { Told::Unsaid } else { Told::Before })
        }
    }
}

/// The one call of an attempt; and how long Microsoft wants us to wait, where it says so.
async fn post(hub: &Hub, bot: &Bot, place: &Place, notice: &Notice) -> (Outcome, Option<Duration>) {
    let what = notice.in_words(place.language);
    match bot.connector.send(&place.address, &what, hub.config.outbound.request_timeout).await {
        Ok(sent) => (Outcome::Sent { activity_id: Some(sent.activity_id) }, None),
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
    hub.commands.execute::<Connection>(person.connection(), &command_id, context, command).await?;
    Ok(())
}

/// The notice as it is then.
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
    let done = hub.commands.execute::<notice::Notice>(id, &command_id, context, command).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.notice(counted);
    }
    Ok(done.into_after().state)
}
