//! Something that somebody did to the bot in Teams, as Microsoft told it: received once, handled once.
//!
//! **Invariant.** What was typed stands in no event. The payload lies in the vault's inbox until the activity is handled.

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Aggregate, PersonId, Timestamp};

/// A card that is submitted again within this time was submitted once: Microsoft sends some twice, with other ids.
const SUBMITTED_ONCE: Duration = Duration::from_secs(10);

/// An activity as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// As it came last: a card can be submitted again, later.
    pub received: Option<Received>,
    pub handled: Option<Outcome>,
    /// Payloads of submissions that were not handled when a later one took their place.
    pub superseded: BTreeSet<Uuid>,
    /// Every payload there ever was of it.
    seen: BTreeSet<Uuid>,
}

/// That it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// Microsoft's id of it, good within the conversation.
    pub activity_id: String,
    pub conversation_id: String,
    pub kind: Kind,
    /// What it asks for, where that was understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<BotCommand>,
    pub person: PersonId,
    /// Where in the vault its payload lies: the keyed hash of both its ids.
    pub inbox: Uuid,
    pub at: Timestamp,
}

/// What sort of activity it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Message,
    /// A card's button.
    Submit,
    Installed,
    Removed,
}

/// What a person can ask of the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotCommand {
    Login,
    Logout,
    Status,
    Help,
    /// A text of the shape of a one-time code; which one is not said.
    Code,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bot said something upon it.
    Answered,
    /// The bot had something to say, and could not.
    Unanswered,
    /// There was nothing to say.
    Noted,
    /// It is a text that the hub posted itself, come back.
    Echo,
    /// The person's organisation is not let in.
    TenantNotAdmitted,
    /// Its payload was destroyed before this was recorded: a process died there, with all else done or given up.
    Finished,
    /// Its payload is not in the vault, which is not the one that it was put into.
    PayloadLost,
    /// It could not be handled, however often it was tried.
    GaveUp,
}

/// What stood in the way of an activity that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The vault did not give what was needed of it: the payload, or a key.
    Vault,
    /// A stream holds what can't be read.
    Record,
    Other,
}

#[derive(Clone, Debug)]
pub enum Command {
    Receive(Received),
    /// All that follows from it is done, and its payload is destroyed.
    Handle {
        inbox: Uuid,
        outcome: Outcome,
        /// Where it was given up.
        obstacle: Option<Obstacle>,
    },
}

/// What can happen to an activity, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "activity.received.v1")]
    Received(Received),
    #[serde(rename = "activity.handled.v1")]
    Handled {
        inbox: Uuid,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        obstacle: Option<Obstacle>,
    },
}

/// A repeat is not refused; it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Activity {
    /// Whether it is news: no repeat of what came before. A card that is pressed again takes the place of a press that still
    /// waits, so that it acts once.
    fn is_news(&self, received: &Received) -> bool {
        let Some(former) = &self.received else { return true };
        received.kind == Kind::Submit
            && !self.seen.contains(&received.inbox)
            && received.at.since(former.at) >= SUBMITTED_ONCE
    }
}

impl Aggregate for Activity {
    const CATEGORY: &'static str = "activity";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        Ok(match command {
            Command::Receive(received) if self.is_news(&received) => vec![Event::Received(received)],
            Command::Receive(_) => vec![],
            Command::Handle { inbox, outcome, obstacle } => {
                let waits = self.handled.is_none()
                    && self.received.as_ref().is_some_and(|received| received.inbox == inbox);
                waits.then_some(Event::Handled { inbox, outcome, obstacle }).into_iter().collect()
            }
        })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Received(received) => {
                self.seen.insert(received.inbox);
                let waits = self.received.filter(|_| self.handled.is_none());
                self.superseded.extend(waits.map(|former| former.inbox));
                self.received = Some(received);
                self.handled = None;
            }
            Event::Handled { outcome, .. } => {
                self.handled = Some(outcome);
                self.superseded.clear();
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn came(kind: Kind, inbox: u128, seconds: i64) -> Received {
        Received {
            activity_id: format!("f:{inbox}"),
            conversation_id: "a:1".into(),
            kind,
            command: None,
            person: testing::person(1),
            inbox: Uuid::from_u128(inbox),
            at: testing::at(seconds),
        }
    }

    fn handled(inbox: u128) -> Event {
        Event::Handled { inbox: Uuid::from_u128(inbox), outcome: Outcome::Answered, obstacle: None }
    }

    fn handle(inbox: u128) -> Command {
        Command::Handle { inbox: Uuid::from_u128(inbox), outcome: Outcome::Answered, obstacle: None }
    }

    #[test]
    fn an_activity_that_comes_again_is_received_once() {
        let message = came(Kind::Message, 1, 0);
        given::<Activity>([])
            .when(Command::Receive(message.clone()))
            .then([Event::Received(message.clone())]);
        let later = Received { at: testing::at(1000), ..message.clone() };
        given::<Activity>([Event::Received(message.clone())]).when(Command::Receive(later.clone())).then([]);
        given::<Activity>([Event::Received(message), handled(1)]).when(Command::Receive(later)).then([]);
    }

    #[test]
    fn a_card_submitted_again_at_once_counts_once_and_later_again() {
        let before = [Event::Received(came(Kind::Submit, 1, 0)), handled(1)];
        let again = |inbox, seconds| Command::Receive(came(Kind::Submit, inbox, seconds));
        given::<Activity>(before.clone()).when(again(2, 9)).then([]);
        given::<Activity>(before.clone()).when(again(1, 10)).then([]);
        given::<Activity>(before).when(again(2, 10)).then([Event::Received(came(Kind::Submit, 2, 10))]);
    }

    #[test]
    fn a_card_submitted_again_takes_the_place_of_a_submission_that_waits() {
        let [first, second] = [(1, 0), (2, 10)].map(|(inbox, at)| came(Kind::Submit, inbox, at));
        let again = Command::Receive(second.clone());
        given::<Activity>([Event::Received(first.clone())])
            .when(again)
            .then([Event::Received(second.clone())]);
        let superseded =
            |events: &[Event]| events.iter().cloned().fold(Activity::default(), Activity::evolve).superseded;
        let both = [Event::Received(first), Event::Received(second)];
        assert_eq!(superseded(&both), BTreeSet::from([Uuid::from_u128(1)]));
        assert!(superseded(&[&both[..], &[handled(2)]].concat()).is_empty());
    }

    #[test]
    fn the_first_of_two_submissions_does_not_come_back_after_the_second() {
        let (first, second) = (came(Kind::Submit, 1, 0), came(Kind::Submit, 2, 60));
        let before = [Event::Received(first.clone()), handled(1), Event::Received(second), handled(2)];
        let late = Received { at: testing::at(120), ..first };
        given::<Activity>(before).when(Command::Receive(late)).then([]);
    }

    #[test]
    fn handling_twice_records_one_event() {
        let message = Event::Received(came(Kind::Message, 1, 0));
        given::<Activity>([message.clone()]).when(handle(1)).then([handled(1)]);
        given::<Activity>([message, handled(1)]).when(handle(1)).then([]);
        given::<Activity>([]).when(handle(1)).then([]);
    }

    #[test]
    fn a_late_word_on_an_earlier_submission_leaves_the_later_one_waiting() {
        let (first, second) = (came(Kind::Submit, 1, 0), came(Kind::Submit, 2, 60));
        given::<Activity>([Event::Received(first), handled(1), Event::Received(second)])
            .when(handle(1))
            .then([]);
    }
}
