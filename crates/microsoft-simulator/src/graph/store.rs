//! Chats and their messages, kept compactly and for good.
//!
//! **Invariant.** Message ids of one chat are unique and rise; each is the time of the message in ms, or a little
//! later where several came in one millisecond.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::{Uuid, uuid};

use super::error::GraphError;
use crate::connector::Pace;
use crate::people::{Person, opaque};
use crate::{Simulator, clock, lock};

const BOT: Uuid = uuid!("28b07001-9a8b-4c7d-8e6f-5a4b3c2d1e0f");

const THROTTLE_MS: u64 = 1000;

/// A person's chat with the bot, or a group that the bot is in.
pub(crate) struct Chat {
    /// As Graph knows it.
    pub(crate) id: String,
    /// As the Bot Framework knows it.
    pub(crate) conversation_id: String,
    pub(crate) members: Members,
    /// How many chats the person had with the bot before.
    pub(crate) number: u32,
    /// What the bot was let say of late.
    pub(crate) pace: Mutex<Pace>,
    inner: Mutex<Inner>,
}

/// Who is in a chat, besides the bot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Members {
    /// One person, by object id.
    One(Uuid),
    /// Everybody of a tenant.
    Everybody(Uuid),
}

#[derive(Default)]
struct Inner {
    messages: Vec<Arc<Message>>,
    last_id: u64,
    last_request_ms: u64,
}

/// Who said something in a chat.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The person, in whose name an application posted it by Graph.
    Graph,
    /// The person, who typed it in Teams.
    Person,
    Bot,
}

/// A stored message.
pub(crate) struct Message {
    /// Also the time of its creation, in ms.
    pub(crate) id: u64,
    pub(crate) author: Author,
    /// Who it is from, be it that their token was used; absent for the bot.
    pub(crate) from: Option<Uuid>,
    pub(crate) content: Box<str>,
    pub(crate) is_html: bool,
    /// A JSON array in Graph's shape, the bot's too: the content of a card is a string.
    pub(crate) attachments: Option<Box<RawValue>>,
    /// A JSON array.
    pub(crate) mentions: Option<Box<RawValue>>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) importance: &'static str,
    pub(crate) client_request_id: Option<Box<str>>,
    /// The message that the bot answered.
    pub(crate) reply_to: Option<Box<str>>,
    /// What the bot wants shown where its card can't be.
    pub(crate) summary: Option<Box<str>>,
    /// Whether the bot changed it since.
    pub(crate) edited: bool,
}

/// A stored message as the control API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct MessageRecord {
    pub chat_id: String,
    /// The Bot Framework's id of the same chat.
    pub conversation_id: String,
    pub id: String,
    pub author: Author,
    /// Who it is from, be it that their token was used; absent for the bot.
    pub from: Option<Uuid>,
    pub created: String,
    /// `text` or `html`.
    pub content_type: &'static str,
    pub content: String,
    pub attachments: Option<Box<RawValue>>,
    pub client_request_id: Option<String>,
    pub reply_to: Option<String>,
    pub summary: Option<String>,
    pub edited: bool,
}

impl Chat {
    pub(crate) fn new(owner: Uuid, number: u32) -> Self {
        let other = if number == 0 { BOT } else { Uuid::new_v5(&BOT, &number.to_be_bytes()) };
        // Which of the two stands first is not fixed, so nobody should compute the id.
        let (first, second) = if owner.as_u128().is_multiple_of(2) { (other, owner) } else { (owner, other) };
        let id = format!("19:{first}_{second}@unq.gbl.spaces");
        let conversation_id = format!("a:1{}", opaque(&id));
        Self::known_as(id, conversation_id, Members::One(owner), number)
    }

    /// Where everybody of a tenant is, and the bot.
    pub(crate) fn group(tid: Uuid) -> Self {
        let id = format!("19:{}@thread.v2", tid.simple());
        Self::known_as(id.clone(), id, Members::Everybody(tid), 0)
    }

    fn known_as(id: String, conversation_id: String, members: Members, number: u32) -> Self {
        Self { id, conversation_id, members, number, pace: Mutex::default(), inner: Mutex::default() }
    }

    /// The one person in it; absent for a group.
    pub(crate) fn owner(&self) -> Option<Uuid> {
        match self.members {
            Members::One(oid) => Some(oid),
            Members::Everybody(_) => None,
        }
    }

    /// Counts a request against the limit of the chat: one a second. A request while throttled counts too.
    pub(super) fn throttle(&self, now_ms: u64) -> bool {
        let mut inner = lock(&self.inner);
        let too_soon = now_ms < inner.last_request_ms + THROTTLE_MS;
        inner.last_request_ms = now_ms;
        too_soon
    }

    /// An id for something in this chat that leaves no message.
    pub(crate) fn next_id(&self, now_ms: u64) -> u64 {
        lock(&self.inner).next_id(now_ms)
    }

    /// Stores a message under the id it then has.
    pub(crate) fn store(&self, now_ms: u64, mut message: Message) -> Arc<Message> {
        let mut inner = lock(&self.inner);
        message.id = inner.next_id(now_ms);
        let message = Arc::new(message);
        inner.messages.push(message.clone());
        message
    }

    /// Puts another message in the place of one of the bot's, or takes that away. Says what it found there.
    pub(crate) fn change(&self, id: u64, new: Option<Message>) -> Option<Author> {
        let mut inner = lock(&self.inner);
        let index = inner.messages.binary_search_by_key(&id, |message| message.id).ok()?;
        let author = inner.messages[index].author;
        match new {
            _ if author != Author::Bot => {}
            Some(message) => inner.messages[index] = Arc::new(Message { id, edited: true, ..message }),
            None => drop(inner.messages.remove(index)),
        }
        Some(author)
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Message>> {
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
                conversation_id: self.conversation_id.clone(),
                id: message.id.to_string(),
                author: message.author,
                from: message.from,
                created: clock::stamp(message.id),
                content_type: message.content_type(),
                content: message.content.to_string(),
                attachments: message.attachments.clone(),
                client_request_id: message.client_request_id.as_deref().map(ToOwned::to_owned),
                reply_to: message.reply_to.as_deref().map(ToOwned::to_owned),
                summary: message.summary.as_deref().map(ToOwned::to_owned),
                edited: message.edited,
            })
            .collect()
    }
}

impl Inner {
    fn next_id(&mut self, now_ms: u64) -> u64 {
        self.last_id = now_ms.max(self.last_id + 1);
        self.last_id
    }
}

impl Message {
    /// Plain text, with nothing else about it.
    pub(crate) fn plain(author: Author, from: Option<Uuid>, content: &str) -> Self {
        Self {
            id: 0,
            author,
            from,
            content: content.into(),
            is_html: false,
            attachments: None,
            mentions: None,
            subject: None,
            importance: "normal",
            client_request_id: None,
            reply_to: None,
            summary: None,
            edited: false,
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        if self.is_html { "html" } else { "text" }
    }
}

/// The chat, if it exists and this person is in it.
pub(super) fn open(simulator: &Simulator, person: &Person, id: &str) -> Result<Arc<Chat>, GraphError> {
    let chat = simulator
        .0
        .directory
        .chats
        .by_id(id)
        .ok_or_else(|| GraphError::not_found("The chat was not found."))?;
    if chat.owner() != Some(person.oid) {
        return Err(GraphError::forbidden("InsufficientPrivileges: the user is not a member of the chat."));
    }
    let state = lock(&person.state);
    // Gone with the app, or replaced.
    if !state.app_installed || state.chat.id != chat.id {
        return Err(GraphError::not_found("The chat was not found."));
    }
    Ok(chat)
}
