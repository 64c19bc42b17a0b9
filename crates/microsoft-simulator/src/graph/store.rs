//! Chats and their messages, kept compactly and for good.
//!
//! **Invariant.** Message ids of one chat are unique and rise; each is the time of the message in ms, or a little
//! later where several came in one millisecond.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::{Uuid, uuid};

use super::error::GraphError;
use crate::people::Person;
use crate::{Simulator, clock, lock};

const BOT: Uuid = uuid!("28b07001-9a8b-4c7d-8e6f-5a4b3c2d1e0f");

const THROTTLE_MS: u64 = 1000;

/// A person's chat with the bot.
pub(crate) struct Chat {
    pub(crate) id: String,
    /// The one person in it.
    pub(crate) owner: Uuid,
    /// How many chats the person had with the bot before.
    pub(crate) number: u32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: Vec<Arc<Message>>,
    last_request_ms: u64,
}

/// A stored message.
pub(crate) struct Message {
    /// Also the time of its creation, in ms.
    pub(crate) id: u64,
    pub(crate) content: Box<str>,
    pub(crate) is_html: bool,
    /// A JSON array.
    pub(crate) attachments: Option<Box<RawValue>>,
    /// A JSON array.
    pub(crate) mentions: Option<Box<RawValue>>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) importance: &'static str,
    pub(crate) client_request_id: Option<Box<str>>,
}

/// A stored message as the control API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct MessageRecord {
    pub chat_id: String,
    pub id: String,
    /// Whose token it was posted with.
    pub from: Uuid,
    pub created: String,
    /// `text` or `html`.
    pub content_type: &'static str,
    pub content: String,
    pub attachments: Option<Box<RawValue>>,
    pub client_request_id: Option<String>,
}

impl Chat {
    pub(crate) fn new(owner: Uuid, number: u32) -> Self {
        let other = if number == 0 { BOT } else { Uuid::new_v5(&BOT, &number.to_be_bytes()) };
        // Which of the two stands first is not fixed, so nobody should compute the id.
        let (first, second) = if owner.as_u128().is_multiple_of(2) { (other, owner) } else { (owner, other) };
        let id = format!("19:{first}_{second}@unq.gbl.spaces");
        Self { id, owner, number, inner: Mutex::default() }
    }

    /// Counts a request against the limit of the chat: one a second. A request while throttled counts too.
    pub(super) fn throttle(&self, now_ms: u64) -> bool {
        let mut inner = lock(&self.inner);
        let too_soon = now_ms < inner.last_request_ms + THROTTLE_MS;
        inner.last_request_ms = now_ms;
        too_soon
    }

    /// Stores a message under the id it then has.
    pub(super) fn store(&self, now_ms: u64, mut message: Message) -> Arc<Message> {
        let mut inner = lock(&self.inner);
        message.id = inner.messages.last().map_or(now_ms, |last| now_ms.max(last.id + 1));
        let message = Arc::new(message);
        inner.messages.push(message.clone());
        message
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Message>> {
        let inner = lock(&self.inner);
        let index = inner.messages.binary_search_by_key(&id, |message| message.id).ok()?;
        Some(inner.messages[index].clone())
    }

    /// The newest messages that pass, newest first, and whether there are more.
    pub(super) fn newest(&self, top: usize, passes: impl Fn(&Message) -> bool) -> (Vec<Arc<Message>>, bool) {
        let inner = lock(&self.inner);
        let mut passing = inner.messages.iter().rev().filter(|message| passes(message));
        let page = passing.by_ref().take(top).cloned().collect();
        (page, passing.next().is_some())
    }

    /// The last `count` messages, oldest first.
    pub(crate) fn tail(&self, count: usize) -> Vec<Arc<Message>> {
        let inner = lock(&self.inner);
        inner.messages[inner.messages.len().saturating_sub(count)..].to_vec()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.inner).messages.len()
    }

    pub(crate) fn records(&self) -> Vec<MessageRecord> {
        let messages = self.tail(usize::MAX);
        messages
            .iter()
            .map(|message| MessageRecord {
                chat_id: self.id.clone(),
                id: message.id.to_string(),
                from: self.owner,
                created: clock::stamp(message.id),
                content_type: message.content_type(),
                content: message.content.to_string(),
                attachments: message.attachments.clone(),
                client_request_id: message.client_request_id.as_deref().map(ToOwned::to_owned),
            })
            .collect()
    }
}

impl Message {
    pub(crate) fn content_type(&self) -> &'static str {
        if self.is_html { "html" } else { "text" }
    }
}

/// The chat, if it exists and this person is in it.
pub(super) fn open(simulator: &Simulator, person: &Person, id: &str) -> Result<Arc<Chat>, GraphError> {
    let chat =
        simulator.0.directory.chat(id).ok_or_else(|| GraphError::not_found("The chat was not found."))?;
    if chat.owner != person.oid {
        return Err(GraphError::forbidden("InsufficientPrivileges: the user is not a member of the chat."));
    }
    let state = lock(&person.state);
    // Gone with the app, or replaced.
    if !state.app_installed || state.chat.id != chat.id {
        return Err(GraphError::not_found("The chat was not found."));
    }
    Ok(chat)
}
