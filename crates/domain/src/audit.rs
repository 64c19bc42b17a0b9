//! Who read what: one event, in a stream of its own, for each history, reveal or export and each tail of the log; two for
//! a session on the store's port, at its begin and at its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Aggregate, ClientId, PersonId};

/// A reading; once recorded, nothing more happens to it, but that a session ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit;

/// What was read, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "audit.history-read.v1")]
    HistoryRead { client: ClientId, person: PersonId },
    /// Personal data was shown in clear.
    #[serde(rename = "audit.content-revealed.v1")]
    ContentRevealed { client: ClientId, person: PersonId, what: Revealed },
    /// A tail of the whole log was opened.
    #[serde(rename = "audit.exported.v1")]
    Exported { client: ClientId, session: Uuid },
    #[serde(rename = "audit.key-listed.v1")]
    KeyListed { client: ClientId },
    /// A user of the store's port is about to read, on one connection.
    #[serde(rename = "audit.store-session-begun.v1")]
    StoreSessionBegun { client: ClientId },
    /// The connection ended. What is missing after a crash was read nevertheless.
    #[serde(rename = "audit.store-session-ended.v1")]
    StoreSessionEnded {
        client: ClientId,
        /// How many were shown.
        events: u64,
        /// Some of them in the order of the whole log.
        log: bool,
        /// Streams that were read by name.
        streams: Vec<String>,
        /// There were more than are named.
        more: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revealed {
    /// Name, user principal name and e-mail.
    Profile,
}

/// A reading is always recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Aggregate for Audit {
    const CATEGORY: &'static str = "audit";
    type Command = Event;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, read: Event) -> Result<Vec<Event>, Refusal> {
        Ok(vec![read])
    }

    fn evolve(self, _: Event) -> Self {
        self
    }
}
