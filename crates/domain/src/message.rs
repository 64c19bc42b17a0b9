//! A message of the product to a person. It is accepted once; what becomes of it is decided by its lane.

mod content;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use content::{Content, Kind, Template, TemplateName};

use crate::{
    AccountHash, Aggregate, ClientId, ConnectionId, KeyedHash, PersonId, Sealed, SurfaceChoice, Timestamp,
};

/// A message, once it was accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub accepted: Option<Accepted>,
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The recipient's lane: the connection's id.
    pub lane: ConnectionId,
    pub person: PersonId,
    /// Set where the recipient was named by account; the account is looked at again before anything is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_hash: Option<AccountHash>,
    pub client: ClientId,
    pub kind: Kind,
    /// [`Content`] as JSON.
    pub content: Sealed,
    pub content_hash: KeyedHash,
    /// Of the canonical request, to tell a repeat from another request under the same key.
    pub request_hash: KeyedHash,
    /// After this it is no longer worth sending.
    pub expires_at: Timestamp,
    /// Which way it is to go, as it was asked for or as the tenant or the installation had it then; Graph where nothing
    /// is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<SurfaceChoice>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Accept(Box<Accepted>),
}

/// What can happen to a message itself, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "message.accepted.v1")]
    Accepted(Box<Accepted>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the idempotency key was used for another message")]
    KeyReused,
}

impl Aggregate for Message {
    const CATEGORY: &'static str = "message";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Accept(accept) = command;
        match &self.accepted {
            None => Ok(vec![Event::Accepted(accept)]),
            Some(accepted) if accepted.request_hash == accept.request_hash => Ok(vec![]),
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    fn evolve(self, event: Event) -> Self {
        let Event::Accepted(accepted) = event;
        Self { accepted: Some(*accepted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn accepted(request: &str) -> Box<Accepted> {
        Box::new(Accepted {
            lane: testing::person(1).connection(),
            person: testing::person(1),
            account_hash: None,
            client: testing::client(),
            kind: Kind::Text,
            content: testing::sealed(),
            content_hash: KeyedHash("k:2".into()),
            request_hash: KeyedHash(request.into()),
            expires_at: testing::at(1000),
            surface: Some(SurfaceChoice::Auto),
        })
    }

    #[test]
    fn the_same_request_is_accepted_once_and_another_under_its_key_is_refused() {
        given::<Message>([]).when(Command::Accept(accepted("k:1"))).then([Event::Accepted(accepted("k:1"))]);
        given::<Message>([Event::Accepted(accepted("k:1"))]).when(Command::Accept(accepted("k:1"))).then([]);
        given::<Message>([Event::Accepted(accepted("k:1"))])
            .when(Command::Accept(accepted("k:3")))
            .refused(Refusal::KeyReused);
    }
}
