//! A person's ordered queue of messages: what became of each of them. One stream decides, so a message can't be
//! cancelled and sent.
//!
//! **Invariants.** At most one delivery is open at a time; each is recorded before anything is sent, at the revision from
//! which it was decided. An outcome names its attempt, and is accepted late, also after *unknown*.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::surface::Surface;
use crate::{
    Aggregate, HubId, KeyedHash, MessageId, SignInId, Timestamp, diagnosis::Diagnosis, message::Template,
};

/// A lane as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lane {
    pub open: Option<Open>,
    /// The open one is known to have arrived by an earlier attempt.
    pub arrived: bool,
    /// The ways out that are closed.
    pub parked: BTreeMap<Surface, Parked>,
    /// Deliveries whose outcome is not known; a late outcome may still come.
    pub unknown: BTreeMap<MessageId, u32>,
}

/// An intent without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Open {
    pub message: MessageId,
    pub attempt: u32,
    pub surface: Surface,
    pub hub: HubId,
    pub timeout_ms: u64,
}

/// A way out of the lane is closed until something happens that only a person can bring about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    pub surface: Surface,
    pub why: ParkReason,
    /// The grant that was of no use; a later one ends the parking of Graph.
    pub grant_number: u64,
    /// The revision of the connection that the bot was of no use at; an installation recorded later ends its parking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_revision: Option<u64>,
    /// Where nobody may tell us that it is over: when to look again.
    pub look_again_at: Option<Timestamp>,
    /// How often was looked again, for the back-off.
    pub looks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// The person has to sign in again.
    ReauthorizationRequired,
    ConsentRequired,
    Suspended,
    Unlinked,
    /// The bot is not installed, or the chat is gone.
    BotNotInstalled,
    /// The person blocked the bot.
    BotBlocked,
    /// Microsoft lets this person post nothing there.
    Forbidden,
    /// An operator blocked the tenant.
    TenantBlocked,
}

/// Why a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeferReason {
    Throttled,
    /// Known not to have been sent: DNS, refused socket, TLS handshake, 503.
    NotSent,
    /// A fresh token was refused, or the chat is locked.
    TryLater,
    /// No token could be had; it is not the person's fault.
    TokenUnavailable,
}

/// Why a message is not sent, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Microsoft refused the message itself.
    RefusedByProvider,
    TooLarge,
    /// The account is unlinked, or somebody else's by now.
    AccountChanged,
    /// The content was erased before it could be sent.
    ContentErased,
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Delivered {
        chat_id: String,
        provider_message_id: Option<String>,
        provider_request_id: Option<String>,
    },
    Deferred {
        surface: Surface,
        until: Timestamp,
        why: DeferReason,
        diagnosis: Diagnosis,
    },
    /// Perhaps sent, perhaps not. With `resend` it keeps its place and goes again, that way and no other.
    Unknown {
        resend: Option<Surface>,
        diagnosis: Diagnosis,
    },
    Rejected {
        why: RejectReason,
        diagnosis: Diagnosis,
    },
    DeadLettered {
        diagnosis: Diagnosis,
    },
    Parked {
        parked: Parked,
        diagnosis: Diagnosis,
    },
    /// Too old to be worth sending.
    Expired,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Record what came of the attempt.
    Conclude { message: MessageId, attempt: u32, outcome: Outcome },
}

/// What can happen in a lane, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "lane.delivery-started.v1")]
    DeliveryStarted {
        message: MessageId,
        attempt: u32,
        surface: Surface,
        /// Whose token it is sent with; the bot needs none of the person's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<SignInId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<Template>,
        /// Of what is sent, as it was accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_hash: Option<KeyedHash>,
        hub: HubId,
        /// Counts this hub's starts on this data, so that a restarted hub is told from its former self.
        epoch: u64,
        timeout_ms: u64,
        client_request_id: Uuid,
    },
    #[serde(rename = "lane.delivered.v1")]
    Delivered {
        message: MessageId,
        attempt: u32,
        chat_id: String,
        /// Where the provider named it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_message_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_request_id: Option<String>,
    },
    #[serde(rename = "lane.deferred.v1")]
    Deferred {
        message: MessageId,
        attempt: u32,
        /// The way that waits, with all that go it; Graph where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        surface: Option<Surface>,
        until: Timestamp,
        why: DeferReason,
        diagnosis: Diagnosis,
    },
    #[serde(rename = "lane.unknown.v1")]
    Unknown { message: MessageId, attempt: u32, diagnosis: Diagnosis },
    #[serde(rename = "lane.resent.v1")]
    Resent {
        message: MessageId,
        attempt: u32,
        /// The way it went and goes again; Graph where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        surface: Option<Surface>,
    },
    #[serde(rename = "lane.parked.v1")]
    Parked { message: MessageId, attempt: u32, parked: Parked, diagnosis: Diagnosis },
    #[serde(rename = "lane.resumed.v1")]
    Resumed { surface: Surface },
    #[serde(rename = "lane.rejected.v1")]
    Rejected { message: MessageId, attempt: u32, why: RejectReason, diagnosis: Diagnosis },
    #[serde(rename = "lane.dead-lettered.v1")]
    DeadLettered { message: MessageId, attempt: u32, diagnosis: Diagnosis },
    #[serde(rename = "lane.expired.v1")]
    Expired { message: MessageId, attempt: u32 },
}

/// A late or repeated outcome is not refused; it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Aggregate for Lane {
    const CATEGORY: &'static str = "lane";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Conclude { message, attempt, outcome } = command;
        let open = self.open.as_ref().is_some_and(|open| open.message == message && open.attempt == attempt);
        let unknown = self.unknown.get(&message) == Some(&attempt);
        // After *unknown* only the word that it arrived is news.
        let news = open || (unknown && matches!(outcome, Outcome::Delivered { .. }));
        let outcome = match outcome {
            Outcome::Unknown { diagnosis, .. } if self.arrived => {
                Outcome::Unknown { resend: None, diagnosis }
            }
            outcome => outcome,
        };
        Ok(if news { outcome.events(message, attempt) } else { vec![] })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::DeliveryStarted { message, attempt, surface, hub, timeout_ms, .. } => {
                self.open = Some(Open { message, attempt, surface, hub, timeout_ms });
                self.arrived = false;
            }
            Event::Unknown { message, attempt, .. } => {
                self.open = None;
                self.unknown.insert(message, attempt);
            }
            Event::Delivered { message, attempt, .. } => {
                if self.unknown.get(&message) == Some(&attempt) {
                    self.unknown.remove(&message);
                    self.arrived |= self.open.as_ref().is_some_and(|open| open.message == message);
                } else {
                    self.open = None;
                }
            }
            Event::Parked { parked, .. } => {
                self.open = None;
                self.parked.insert(parked.surface, parked);
            }
            Event::Resumed { surface } => _ = self.parked.remove(&surface),
            Event::Resent { .. } => {}
            Event::Deferred { .. }
            | Event::Rejected { .. }
            | Event::DeadLettered { .. }
            | Event::Expired { .. } => self.open = None,
        }
        self
    }
}

impl Outcome {
    /// The events that record this outcome of an attempt.
    pub fn events(self, message: MessageId, attempt: u32) -> Vec<Event> {
        match self {
            Self::Delivered { chat_id, provider_message_id, provider_request_id } => {
                vec![Event::Delivered { message, attempt, chat_id, provider_message_id, provider_request_id }]
            }
            Self::Deferred { surface, until, why, diagnosis } => {
                let surface = Some(surface);
                vec![Event::Deferred { message, attempt, surface, until, why, diagnosis }]
            }
            Self::Unknown { resend, diagnosis } => {
                let unknown = Event::Unknown { message, attempt, diagnosis };
                let resent = resend.map(|surface| Event::Resent { message, attempt, surface: Some(surface) });
                std::iter::once(unknown).chain(resent).collect()
            }
            Self::Rejected { why, diagnosis } => vec![Event::Rejected { message, attempt, why, diagnosis }],
            Self::DeadLettered { diagnosis } => vec![Event::DeadLettered { message, attempt, diagnosis }],
            Self::Parked { parked, diagnosis } => vec![Event::Parked { message, attempt, parked, diagnosis }],
            Self::Expired => vec![Event::Expired { message, attempt }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn started(message: u128, attempt: u32) -> Event {
        Event::DeliveryStarted {
            message: testing::message(message),
            attempt,
            surface: Surface::Graph,
            grant: Some(testing::sign_in(1)),
            generation: Some(1),
            template: None,
            content_hash: None,
            hub: testing::hub(),
            epoch: 1,
            timeout_ms: 30_000,
            client_request_id: Uuid::from_u128(9),
        }
    }

    fn delivered(message: u128, attempt: u32) -> Event {
        Event::Delivered {
            message: testing::message(message),
            attempt,
            chat_id: "19:chat".into(),
            provider_message_id: Some("17".into()),
            provider_request_id: None,
        }
    }

    fn unknown(message: u128, attempt: u32) -> Event {
        Event::Unknown { message: testing::message(message), attempt, diagnosis: Diagnosis::default() }
    }

    fn arrived(message: u128, attempt: u32) -> Command {
        Command::Conclude {
            message: testing::message(message),
            attempt,
            outcome: Outcome::Delivered {
                chat_id: "19:chat".into(),
                provider_message_id: Some("17".into()),
                provider_request_id: None,
            },
        }
    }

    fn lost(message: u128, attempt: u32, resend: Option<Surface>) -> Command {
        Command::Conclude {
            message: testing::message(message),
            attempt,
            outcome: Outcome::Unknown { resend, diagnosis: Diagnosis::default() },
        }
    }

    #[test]
    fn an_outcome_is_recorded_once() {
        given::<Lane>([started(1, 1)]).when(arrived(1, 1)).then([delivered(1, 1)]);
        given::<Lane>([started(1, 1), delivered(1, 1)]).when(arrived(1, 1)).then([]);
        given::<Lane>([]).when(arrived(1, 1)).then([]);
    }

    #[test]
    fn an_outcome_of_an_older_attempt_leaves_the_open_one_alone() {
        given::<Lane>([started(1, 1), unknown(1, 1), started(1, 2)]).when(lost(1, 1, None)).then([]);
    }

    #[test]
    fn word_that_it_arrived_is_accepted_after_unknown_while_another_is_open() {
        let events = [started(1, 1), unknown(1, 1), started(2, 1)];
        given::<Lane>(events.clone()).when(arrived(1, 1)).then([delivered(1, 1)]);
        let lane = events.into_iter().chain([delivered(1, 1)]).fold(Lane::default(), Lane::evolve);
        assert_eq!(lane.open.map(|open| open.message), Some(testing::message(2)));
    }

    #[test]
    fn unknown_is_sent_again_only_where_that_is_wanted() {
        let again = Some(Surface::Graph);
        let resent = Event::Resent { message: testing::message(1), attempt: 1, surface: again };
        given::<Lane>([started(1, 1)]).when(lost(1, 1, None)).then([unknown(1, 1)]);
        given::<Lane>([started(1, 1)]).when(lost(1, 1, again)).then([unknown(1, 1), resent]);
    }

    #[test]
    fn what_arrived_by_an_earlier_attempt_does_not_go_again() {
        let again = Some(Surface::Graph);
        let resent = Event::Resent { message: testing::message(1), attempt: 1, surface: again };
        let events = [started(1, 1), unknown(1, 1), resent, started(1, 2), delivered(1, 1)];
        given::<Lane>(events).when(lost(1, 2, again)).then([unknown(1, 2)]);
    }

    #[test]
    fn each_way_out_parks_and_resumes_on_its_own() {
        let parked = |surface| {
            let parked = Parked {
                surface,
                why: ParkReason::BotBlocked,
                grant_number: 0,
                connection_revision: Some(3),
                look_again_at: None,
                looks: 0,
            };
            let diagnosis = Diagnosis::default();
            Event::Parked { message: testing::message(1), attempt: 0, parked, diagnosis }
        };
        let events =
            [parked(Surface::Graph), parked(Surface::Bot), Event::Resumed { surface: Surface::Graph }];
        let lane = events.into_iter().fold(Lane::default(), Lane::evolve);
        assert_eq!(lane.parked.into_keys().collect::<Vec<_>>(), [Surface::Bot]);
    }
}
