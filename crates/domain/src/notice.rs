//! Something that the bot says of its own to a person: an answer, or news of their link. Said once.
//!
//! **Invariants.** That it is about to be said is recorded before anything is sent. Only what is known not to have been
//! said is said again, so often and no more.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, HubId, PersonId, Timestamp, diagnosis::Diagnosis};

/// A notice as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notice {
    /// The newest attempt; 0 where there was none.
    pub attempt: u32,
    /// Who made it.
    pub hub: Option<HubId>,
    pub started_at: Timestamp,
    /// How long that one gave itself; attempts of former versions don't say it.
    pub timeout_ms: Option<u64>,
    pub stage: Stage,
    /// Failures in a row.
    pub failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Absent,
    /// An attempt without an outcome.
    Started,
    Sent,
    Failed(FailureClass),
    /// Perhaps said, perhaps not.
    Unknown,
}

/// What is said. The words are not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the bot can do.
    Help,
    /// The way to the panel.
    Login,
    /// How the person stands.
    Status,
    /// The person is linked no more.
    LoggedOut,
    /// There is nothing to end.
    NotLinked,
    /// A sign-in brought a link.
    Linked,
    CodeWrong,
    /// No more tries of the code.
    CodeVoid,
    /// What was signed in to is somebody else's.
    LinkRefused,
    /// To the person who is linked: somebody else tried to link the account.
    LinkAttempted,
    /// An administrator says that the organisation consented.
    ConsentReported,
    /// In a group: that belongs into the personal chat.
    PersonalChatOnly,
    /// The person's organisation is not let in.
    TenantNotAdmitted,
}

/// Why a notice was not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    Throttled,
    /// Microsoft can't just now.
    Unavailable,
    /// Nothing was sent.
    NotSent,
    /// The person does not let the bot write.
    Blocked,
    /// The bot is not, or no longer, in the conversation.
    NotInRoster,
    /// The organisation's administrator has switched the bot off.
    DisabledByAdmin,
    ConversationGone,
    TooLarge,
    /// Microsoft refused the message itself.
    Rejected,
    /// The conversation is at a service that the bot does not speak to.
    ServiceNotAllowed,
    /// The hub's own registration is wrong.
    Hub,
}

impl FailureClass {
    /// Whether another try may do better.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::NotSent | Self::Hub)
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Sent {
        /// Microsoft's id of the message, where it told one.
        activity_id: Option<String>,
    },
    Failed {
        class: FailureClass,
        diagnosis: Diagnosis,
    },
    Unknown {
        diagnosis: Diagnosis,
    },
}

#[derive(Clone, Debug)]
pub enum Command {
    Start {
        person: PersonId,
        kind: Kind,
        hub: HubId,
        now: Timestamp,
        timeout_ms: u64,
        /// What may be said again once this time has passed.
        again_after: Option<Duration>,
        /// Times in a row that it may fail for passing reasons before it is given up.
        failures_max: u32,
    },
    Conclude {
        attempt: u32,
        outcome: Outcome,
    },
}

/// What can happen to a notice, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "notice.started.v1")]
    Started {
        person: PersonId,
        kind: Kind,
        attempt: u32,
        hub: HubId,
        at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    #[serde(rename = "notice.sent.v1")]
    Sent {
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activity_id: Option<String>,
    },
    #[serde(rename = "notice.failed.v1")]
    Failed { attempt: u32, class: FailureClass, diagnosis: Diagnosis },
    #[serde(rename = "notice.unknown.v1")]
    Unknown { attempt: u32, diagnosis: Diagnosis },
}

/// What was said already is not refused; nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Notice {
    /// Whether it failed, and another try is worth while.
    pub fn may_go_again(&self, failures_max: u32) -> bool {
        matches!(self.stage, Stage::Failed(class) if class.may_pass()) && self.failures < failures_max
    }

    fn is_to_be_said(&self, now: Timestamp, again_after: Option<Duration>, failures_max: u32) -> bool {
        self.stage == Stage::Absent
            || self.may_go_again(failures_max)
            || again_after.is_some_and(|after| now.since(self.started_at) >= after)
    }
}

impl Aggregate for Notice {
    const CATEGORY: &'static str = "notice";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        Ok(match command {
            Command::Start { person, kind, hub, now, timeout_ms, again_after, failures_max }
                if self.is_to_be_said(now, again_after, failures_max) =>
            {
                let (attempt, timeout_ms) = (self.attempt + 1, Some(timeout_ms));
                vec![Event::Started { person, kind, attempt, hub, at: now, timeout_ms }]
            }
            Command::Start { .. } => vec![],
            Command::Conclude { attempt, outcome } => {
                let open = self.stage == Stage::Started && attempt == self.attempt;
                // After *unknown* only the word that it arrived is news.
                let late = self.stage == Stage::Unknown && attempt == self.attempt;
                let news = open || (late && matches!(outcome, Outcome::Sent { .. }));
                if news { vec![outcome.event(attempt)] } else { vec![] }
            }
        })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Started { attempt, hub, at, timeout_ms, .. } => {
                (self.attempt, self.hub, self.started_at) = (attempt, Some(hub), at);
                self.timeout_ms = timeout_ms;
                self.stage = Stage::Started;
            }
            Event::Sent { .. } => (self.stage, self.failures) = (Stage::Sent, 0),
            Event::Failed { class, .. } => {
                self.stage = Stage::Failed(class);
                self.failures += 1;
            }
            Event::Unknown { .. } => (self.stage, self.failures) = (Stage::Unknown, 0),
        }
        self
    }
}

impl Outcome {
    fn event(self, attempt: u32) -> Event {
        match self {
            Self::Sent { activity_id } => Event::Sent { attempt, activity_id },
            Self::Failed { class, diagnosis } => Event::Failed { attempt, class, diagnosis },
            Self::Unknown { diagnosis } => Event::Unknown { attempt, diagnosis },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn start(seconds: i64, again_after: Option<Duration>) -> Command {
        Command::Start {
            person: testing::person(1),
            kind: Kind::Help,
            hub: testing::hub(),
            now: testing::at(seconds),
            timeout_ms: 20_000,
            again_after,
            failures_max: 5,
        }
    }

    fn started(attempt: u32, seconds: i64) -> Event {
        Event::Started {
            person: testing::person(1),
            kind: Kind::Help,
            attempt,
            hub: testing::hub(),
            at: testing::at(seconds),
            timeout_ms: Some(20_000),
        }
    }

    fn sent(attempt: u32) -> Event {
        Event::Sent { attempt, activity_id: Some("1".into()) }
    }

    fn failed(attempt: u32, class: FailureClass) -> Event {
        Event::Failed { attempt, class, diagnosis: Diagnosis::default() }
    }

    fn unknown(attempt: u32) -> Event {
        Event::Unknown { attempt, diagnosis: Diagnosis::default() }
    }

    #[test]
    fn a_notice_is_said_once() {
        given::<Notice>([]).when(start(0, None)).then([started(1, 0)]);
        for after in [vec![], vec![sent(1)], vec![unknown(1)], vec![failed(1, FailureClass::Blocked)]] {
            let events: Vec<_> = std::iter::once(started(1, 0)).chain(after).collect();
            given::<Notice>(events).when(start(1000, None)).then([]);
        }
    }

    #[test]
    fn what_failed_for_a_passing_reason_goes_again_so_often_and_no_more() {
        let once = [started(1, 0), failed(1, FailureClass::Throttled)];
        given::<Notice>(once).when(start(1, None)).then([started(2, 1)]);
        let often = (1..=5).flat_map(|n| [started(n, 0), failed(n, FailureClass::NotSent)]);
        given::<Notice>(often).when(start(1, None)).then([]);
    }

    #[test]
    fn what_may_be_said_again_waits_for_its_time() {
        let again = Some(Duration::from_mins(10));
        given::<Notice>([started(1, 0), sent(1)]).when(start(599, again)).then([]);
        given::<Notice>([started(1, 0), sent(1)]).when(start(600, again)).then([started(2, 600)]);
    }

    #[test]
    fn an_outcome_is_recorded_once_and_word_that_it_arrived_also_after_unknown() {
        let arrived =
            |attempt| Command::Conclude { attempt, outcome: Outcome::Sent { activity_id: Some("1".into()) } };
        given::<Notice>([started(1, 0)]).when(arrived(1)).then([sent(1)]);
        given::<Notice>([started(1, 0), sent(1)]).when(arrived(1)).then([]);
        given::<Notice>([started(1, 0), unknown(1)]).when(arrived(1)).then([sent(1)]);
        given::<Notice>([started(1, 0), failed(1, FailureClass::NotSent), started(2, 1)])
            .when(arrived(1))
            .then([]);
        let lost =
            Command::Conclude { attempt: 1, outcome: Outcome::Unknown { diagnosis: Diagnosis::default() } };
        given::<Notice>([started(1, 0), unknown(1)]).when(lost).then([]);
    }
}
