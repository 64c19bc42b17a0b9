//! What clients submit through the store, and what the hub refuses of it.
//!
//! A client appends [`SUBMITTED`] to one of the streams `intake-0` to `intake-15`, and nothing else. The hub answers each
//! of these events: with `message.accepted.v1`, or with a rejection in a stream named by the id of the refused event.
//!
//! **Invariant.** A rejection says where the refused event stood and what was wrong with it, never what was in it: names
//! that its writer made up are not repeated either.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, ClientId};

/// What may be submitted: a message, in clear, as `POST /v1/messages` takes it. Its shape is that of the API and is kept
/// there; once answered, it is deleted from the log.
pub const SUBMITTED: &str = "message.submitted.v1";

/// The category of the streams that are submitted to.
pub const CATEGORY: &str = "intake";

/// How many of them there are.
pub const STREAMS: u8 = 16;

/// The stream of one refused event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejection {
    pub rejected: Option<Rejected>,
}

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// The number of the stream that it was submitted to, 0 to 15.
    pub intake: u8,
    /// Its revision there.
    pub revision: u64,
    /// Who submitted it, where that is a client of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    pub why: Why,
    /// The part of it that is wrong, where it is one: `content.text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Why an event was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its type is not `message.submitted.v1`.
    UnknownType,
    NotJson,
    /// A field is missing or has a value that it can't have.
    Invalid,
    /// There is a field too many in `field`, or at the top where no field is named.
    UnknownField,
    UnknownClient,
    /// The client has not the role `service`, or no key that is good.
    ClientNotAllowed,
    /// The recipient has never completed a sign-in, or was unlinked.
    RecipientNotLinked,
    /// The client may not write to people of that tenant.
    TenantNotAllowed,
    TenantBlocked,
    /// The content is larger than Teams takes.
    TooLarge,
    /// The whole text is something that the bot would take for a command or a code.
    BotCommand,
    /// The idempotency key was used for another message.
    IdempotencyKeyReused,
    /// Something is wrong in the hub, and trying again does not help: its log tells more, under the event's id.
    Internal,
}

/// What can happen to what was refused, by the names it is stored under: nothing further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "intake.rejected.v1")]
    Rejected(Rejected),
}

/// What is refused once stays refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Aggregate for Rejection {
    const CATEGORY: &'static str = "rejection";
    type Command = Rejected;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, rejected: Rejected) -> Result<Vec<Event>, Refusal> {
        Ok(match self.rejected {
            None => vec![Event::Rejected(rejected)],
            Some(_) => vec![],
        })
    }

    fn evolve(self, Event::Rejected(rejected): Event) -> Self {
        Self { rejected: Some(rejected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;

    #[test]
    fn an_event_is_refused_once() {
        let rejected = |why| Rejected { intake: 3, revision: 7, client: None, why, field: None };
        let event = Event::Rejected(rejected(Why::NotJson));
        given::<Rejection>([]).when(rejected(Why::NotJson)).then([event.clone()]);
        given::<Rejection>([event]).when(rejected(Why::Internal)).then([]);
    }
}
