//! What the bot is told of what happens in Teams: activities, posted to its messaging endpoint and signed as the Bot
//! Framework signs them.
//!
//! Honest ones come of what people do: [`Simulator::say`], [`Simulator::submit`], being installed or removed, and what
//! Graph posts into the bot's chat. [`Simulator::send`] sends anything else: the same many times at once, any JSON with
//! a good token, or a good activity with a bad one.
//!
//! **Invariant.** Without a messaging endpoint nothing is sent, and the endpoint is on this machine.

mod delivery;
mod echo;
mod shape;
mod token;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use futures_util::future::join_all;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::dials::InstallOrder;
use crate::graph::store::{Author, Chat, Message};
use crate::people::Person;
use crate::{Simulator, lock};

pub(crate) use echo::Echoing;
pub(crate) use shape::group_name;
pub use token::TokenFlaw;

/// How many sent activities are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Something that a person does, or that happens to them, in their chat with the bot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Says this.
    Text(String),
    /// Says this in the group of their tenant, after a mention of the bot.
    GroupText(String),
    /// Submits the card that the bot sent in this message.
    Submit { reply_to: String, value: Value },
    /// The bot becomes a member of the chat, or ceases to be one.
    ConversationUpdate { added: bool },
    /// `add`, `remove` or another action.
    InstallationUpdate { action: String },
    /// `signin/verifyState`, `signin/tokenExchange`, or any other.
    Invoke { name: String, value: Value },
    /// An activity of another type, such as `messageReaction`.
    Other(String),
}

/// What is to be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    By {
        oid: Uuid,
        act: Act,
    },
    /// Any JSON.
    Whole(Value),
    /// What was sent before, by the id of the activity.
    Again(String),
}

/// Activities to be sent to the bot as they are, without a trace in anybody's chat.
///
/// As JSON: `{"what": {"by": {"oid": "…", "act": {"text": "login"}}}, "token": "expired", "times": 1}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    pub what: What,
    /// Changes to the activity, by a JSON merge patch (RFC 7396).
    #[serde(default)]
    pub change: Value,
    /// What is wrong with its token; a good one if absent.
    #[serde(default)]
    pub token: Option<TokenFlaw>,
    /// How often, all at once.
    #[serde(default = "once")]
    pub times: u32,
    /// Whether each has an id of its own.
    #[serde(default)]
    pub new_ids: bool,
}

const fn once() -> u32 {
    1
}

impl Sending {
    pub fn new(what: What) -> Self {
        Self { what, change: Value::Null, token: None, times: 1, new_ids: false }
    }
}

/// An activity that was sent, and what the bot answered.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    pub activity: Value,
    pub token: Option<TokenFlaw>,
    /// Absent if there was no answer in time.
    pub status: Option<u16>,
    pub body: String,
}

impl Sent {
    /// Who is said to have done it.
    pub fn oid(&self) -> Option<Uuid> {
        self.activity["from"]["aadObjectId"].as_str()?.parse().ok()
    }
}

pub(crate) struct Activities {
    pub(crate) messaging_endpoint: Mutex<Option<String>>,
    /// In place of the simulator's own.
    pub(crate) service_url: Mutex<Option<String>>,
    client: Client,
    sent: Mutex<VecDeque<Sent>>,
}

impl Activities {
    pub(crate) fn new(messaging_endpoint: Option<String>) -> anyhow::Result<Self> {
        let client = delivery::client().context("the client for the messaging endpoint can't be built")?;
        Ok(Self {
            messaging_endpoint: Mutex::new(messaging_endpoint),
            service_url: Mutex::default(),
            client,
            sent: Mutex::default(),
        })
    }

    pub(crate) fn reset(&self, messaging_endpoint: Option<String>) {
        *lock(&self.messaging_endpoint) = messaging_endpoint;
        *lock(&self.service_url) = None;
        lock(&self.sent).clear();
    }

    /// Where the bot is told of things, if it is and that is on this machine.
    fn endpoint(&self) -> Option<Url> {
        let url = Url::parse(lock(&self.messaging_endpoint).as_deref()?).ok()?;
        let on_this_machine = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        (url.scheme() == "http" && on_this_machine).then_some(url)
    }

    fn remember(&self, sent: Sent) {
        let mut all = lock(&self.sent);
        if all.len() == REMEMBERED_MAX {
            all.pop_front();
        }
        all.push_back(sent);
    }
}

impl Simulator {
    /// Whether there is a bot to tell of things.
    pub fn has_bot(&self) -> bool {
        self.0.activities.endpoint().is_some()
    }

    /// The service URL that activities name: where the bot finds its connector.
    pub fn service_url(&self) -> String {
        let other = lock(&self.0.activities.service_url).clone();
        other.unwrap_or_else(|| format!("{}/connector/", self.0.base))
    }

    /// The bot's token check put to the test by hand: a token as activities have, for a service URL.
    pub fn bot_token(&self, service_url: &str, flaw: Option<TokenFlaw>) -> Option<String> {
        token::token(self, service_url, flaw)
    }

    /// Types something into the chat with the bot. Absent if there is no such person, no such chat, or no bot to tell.
    pub async fn say(&self, oid: Uuid, text: &str) -> Option<Sent> {
        let person = self.0.directory.person(oid)?;
        let chat = chat_with_bot(person)?;
        let message = self.store_typed(person, &chat, text);
        self.deliver(shape::message(self, person, &chat, &message)).await
    }

    /// Types something into the group of the person's tenant, after a mention of the bot.
    pub async fn say_in_group(&self, oid: Uuid, text: &str) -> Option<Sent> {
        let person = self.0.directory.person(oid)?;
        let group = self.0.directory.chats.group(person.tid)?;
        let message = self.store_typed(person, &group, text);
        self.deliver(shape::message(self, person, &group, &message)).await
    }

    /// Submits the card in one of the bot's messages.
    pub async fn submit(&self, oid: Uuid, message_id: &str, value: Value) -> Option<Sent> {
        let person = self.0.directory.person(oid)?;
        let chat = chat_with_bot(person)?;
        self.deliver(shape::submit(self, person, &chat, message_id, value)).await
    }

    /// Submits the card in one of the bot's messages in the group of the person's tenant.
    pub async fn submit_in_group(&self, oid: Uuid, message_id: &str, value: Value) -> Option<Sent> {
        let person = self.0.directory.person(oid)?;
        let group = self.0.directory.chats.group(person.tid)?;
        self.deliver(shape::submit(self, person, &group, message_id, value)).await
    }

    /// Installs or removes the app for a person, and tells the bot if that is news.
    pub async fn install(&self, oid: Uuid, installed: bool) {
        if let Some(person) = self.0.directory.person(oid) {
            self.deliver_all(self.set_installed(person, installed)).await;
        }
    }

    /// Tells the bot once more that it is installed, for people who had it before the bot listened.
    pub async fn announce(&self, oid: Uuid) {
        if let Some(person) = self.0.directory.person(oid) {
            self.deliver_all(self.installation(person, true)).await;
        }
    }

    /// What a sending comes to, in the order of the answers. No redelivery follows.
    ///
    /// Says what is wrong with a sending that can't be.
    pub async fn send(&self, sending: Sending) -> Result<Vec<Sent>, String> {
        let mut activity = match &sending.what {
            What::By { oid, act } => {
                let person = self.0.directory.person(*oid).ok_or("there is no such person")?;
                shape::activity(self, person, act)
            }
            What::Whole(activity) => activity.clone(),
            What::Again(id) => {
                let sent = self.sent().into_iter().find(|it| it.activity["id"] == id.as_str());
                sent.ok_or("no such activity was sent")?.activity
            }
        };
        shape::merge(&mut activity, &sending.change);
        let posts = (0..sending.times).map(|_| {
            let mut activity = activity.clone();
            if sending.new_ids {
                activity["id"] = self.0.chance.uuid().to_string().into();
            }
            self.post(activity, sending.token)
        });
        let sent: Option<Vec<_>> = join_all(posts).await.into_iter().collect();
        sent.ok_or_else(|| "there is no messaging endpoint on this machine".into())
    }

    /// The last activities that were sent, oldest first, as they were answered.
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.0.activities.sent).iter().cloned().collect()
    }

    /// Changes it; answers with what the bot has to be told.
    pub(crate) fn set_installed(&self, person: &Person, installed: bool) -> Vec<Value> {
        let was = std::mem::replace(&mut lock(&person.state).app_installed, installed);
        if was == installed { vec![] } else { self.installation(person, installed) }
    }

    fn installation(&self, person: &Person, installed: bool) -> Vec<Value> {
        let action = if installed { "add" } else { "remove" }.to_owned();
        let mut acts = [Act::ConversationUpdate { added: installed }, Act::InstallationUpdate { action }];
        if self.dials().install_order == InstallOrder::InstallationUpdateFirst {
            acts.reverse();
        }
        acts.iter().map(|act| shape::activity(self, person, act)).collect()
    }

    fn store_typed(&self, person: &Person, chat: &Chat, text: &str) -> Arc<Message> {
        let message = Message::plain(Author::Person, Some(person.oid), text);
        let stored = chat.store(self.0.clock.now_ms(), message);
        self.0.calls.nudge();
        stored
    }
}

fn chat_with_bot(person: &Person) -> Option<Arc<Chat>> {
    let state = lock(&person.state);
    state.app_installed.then(|| state.chat.clone())
}
