//! Who asked for a sign-in, and on what terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{AccountHash, ClientId, KeyedHash, PersonId, Sealed, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub by: By,
    pub lapses_at: Timestamp,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum By {
    /// A backend of the product, for one of its accounts.
    Client(Box<ByClient>),
    /// A person, by typing `login` to the bot.
    Bot(Box<ByBot>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByClient {
    pub client: ClientId,
    pub account_hash: AccountHash,
    pub account: Sealed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<PersonId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// Of the canonical request, to tell a repeat from another request under the same key.
    pub request_hash: KeyedHash,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByBot {
    /// Who typed it, and so the only one who may sign in.
    pub person: PersonId,
    /// The chat in which a code counts.
    pub conversation_id: String,
    /// The person's name in Teams, under the sign-in's own key.
    pub name: Sealed,
    /// The language of the person's Teams (BCP 47), where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The activity that asked.
    pub activity: Uuid,
}

impl Request {
    pub fn client(&self) -> Option<&ClientId> {
        match &self.by {
            By::Client(by) => Some(&by.client),
            By::Bot(_) => None,
        }
    }

    /// The only person who may sign in, where there is one.
    pub fn expected(&self) -> Option<PersonId> {
        match &self.by {
            By::Client(by) => by.expected,
            By::Bot(by) => Some(by.person),
        }
    }

    pub fn of_client(&self) -> Option<&ByClient> {
        match &self.by {
            By::Client(by) => Some(by),
            By::Bot(_) => None,
        }
    }

    pub fn of_bot(&self) -> Option<&ByBot> {
        match &self.by {
            By::Client(_) => None,
            By::Bot(by) => Some(by),
        }
    }
}

/// Version 1 knew only clients, and had all in one object.
pub(super) fn upcast(v1: &Value) -> Value {
    let mut by = v1.as_object().cloned().unwrap_or_else(Map::new);
    let lapses_at = by.remove("lapses_at");
    by.insert("kind".into(), "client".into());
    json!({ "by": by, "lapses_at": lapses_at })
}
