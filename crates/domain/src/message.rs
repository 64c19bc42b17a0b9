//! A message of the product to a person. It is accepted once; what becomes of it is decided by its lane.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountHash, Aggregate, ClientId, ConnectionId, KeyedHash, PersonId, Sealed, Timestamp};

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
}

/// What sort of content a message has; the content itself is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Text,
    Html,
    AdaptiveCard,
    KeyResultProgress,
}

/// What the product wants said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    Text {
        text: String,
    },
    Html {
        html: String,
    },
    AdaptiveCard {
        card: serde_json::Value,
        /// Shown where a card can't be.
        summary: String,
    },
    KeyResultProgress(KeyResultProgress),
}

impl Content {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } => Kind::Text,
            Self::Html { .. } => Kind::Html,
            Self::AdaptiveCard { .. } => Kind::AdaptiveCard,
            Self::KeyResultProgress(_) => Kind::KeyResultProgress,
        }
    }
}

/// Template `key_result_progress`: how far a key result has come, in exact decimals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyResultProgress {
    pub title: String,
    pub start: Decimal,
    pub target: Decimal,
    pub current: Decimal,
    pub unit: String,
}

impl KeyResultProgress {
    /// `(current - start) / (target - start)` in percent, rounded to one place, half away from zero.
    /// `None` where start and target are the same, or the numbers are too large to divide.
    pub fn percent(&self) -> Option<Decimal> {
        let way = self.target.checked_sub(self.start)?;
        let done = self.current.checked_sub(self.start)?;
        let percent = done.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(way)?;
        Some(
            percent
                .round_dp_with_strategy(1, rust_decimal::RoundingStrategy::MidpointAwayFromZero)
                .normalize(),
        )
    }
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
        })
    }

    fn progress(start: &str, target: &str, current: &str) -> KeyResultProgress {
        let decimal = |text: &str| text.parse().unwrap();
        KeyResultProgress {
            title: "Revenue".into(),
            start: decimal(start),
            target: decimal(target),
            current: decimal(current),
            unit: "EUR".into(),
        }
    }

    #[test]
    fn the_same_request_is_accepted_once_and_another_under_its_key_is_refused() {
        given::<Message>([]).when(Command::Accept(accepted("k:1"))).then([Event::Accepted(accepted("k:1"))]);
        given::<Message>([Event::Accepted(accepted("k:1"))]).when(Command::Accept(accepted("k:1"))).then([]);
        given::<Message>([Event::Accepted(accepted("k:1"))])
            .when(Command::Accept(accepted("k:3")))
            .refused(Refusal::KeyReused);
    }

    #[test]
    fn progress_is_exact() {
        let sum: Decimal = "0.1".parse::<Decimal>().unwrap() + "0.2".parse::<Decimal>().unwrap();
        assert_eq!(sum.to_string(), "0.3");
        assert_eq!(progress("0", "0.3", "0.1").percent().unwrap().to_string(), "33.3");
        assert_eq!(progress("0.1", "0.3", "0.3").percent().unwrap().to_string(), "100");
        assert_eq!(progress("100", "0", "25").percent().unwrap().to_string(), "75");
        assert_eq!(progress("5", "5", "5").percent(), None);
    }
}
