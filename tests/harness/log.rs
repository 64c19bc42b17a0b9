//! Reading the log: what was recorded, and waiting until something is.

use custody::CustodyError;
use futures_util::StreamExt as _;
use serde_json::Value;
use store::{EventStore, Filter, Position, Recorded};

use super::{PATIENCE, World, api::Api};

/// A recorded event, read.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: uuid::Uuid,
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) data: Value,
    pub(crate) metadata: Value,
    pub(crate) position: Position,
}

impl Event {
    pub(crate) fn of(recorded: &Recorded) -> Self {
        Self {
            id: recorded.id,
            stream: recorded.stream.to_string(),
            name: recorded.name.to_string(),
            // What outsiders wrote may be no JSON.
            data: serde_json::from_slice(&recorded.data).unwrap_or_default(),
            metadata: serde_json::from_slice(&recorded.metadata).unwrap_or_default(),
            position: recorded.position,
        }
    }

    /// Whether it is of this type and, where it is about a message, about this one.
    pub(crate) fn is(&self, name: &str, message: &str) -> bool {
        self.name == name && self.data["message"] == message
    }
}

/// Everything that was recorded.
pub(crate) async fn read(store: &dyn EventStore) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), Position::START);
    loop {
        let page = store.read_all(after, &Filter::all(), 1000).await.unwrap();
        events.extend(page.events.iter().map(Event::of));
        if page.at_head {
            return events;
        }
        after = page.upto;
    }
}

/// How often an event of this type is among them.
pub(crate) fn count(events: &[Event], name: &str) -> usize {
    events.iter().filter(|event| event.name == name).count()
}

impl World {
    pub(crate) async fn events(&self) -> Vec<Event> {
        read(self.hub().store.as_ref()).await
    }

    /// How often an event of this type was recorded.
    pub(crate) async fn recorded(&self, name: &str) -> usize {
        count(&self.events().await, name)
    }

    /// Waits until the log is so, and answers what is in it by then.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        let wait = async {
            let mut pages = self.hub().store.follow(Position::START, Filter::all());
            while !holds(&events) {
                let page = pages.next().await.unwrap().unwrap();
                events.extend(page.events.iter().map(Event::of));
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert!(waited, "{what}: it did not come to that; there is {names:#?}");
        events
    }

    /// Waits until an event of this type was recorded so often.
    pub(crate) async fn until_recorded(&self, name: &str, times: usize) -> Vec<Event> {
        self.until(name, |events| count(events, name) >= times).await
    }

    /// Waits until the API says that a message is so, and answers all that it says.
    pub(crate) async fn until_message_is(&self, id: &str, status: &str) -> Value {
        self.until_message(&self.api, id, &[status]).await
    }

    /// Waits until a message is delivered or may have been.
    pub(crate) async fn until_concluded(&self, api: &Api, id: &str) -> Value {
        self.until_message(api, id, &["delivered", "unknown"]).await
    }

    async fn until_message(&self, api: &Api, id: &str, wanted: &[&str]) -> Value {
        let mut seen = Value::Null;
        let wait = async {
            let mut pages = self.hub().store.follow(Position::START, Filter::all());
            while !seen["status"].as_str().is_some_and(|status| wanted.contains(&status)) {
                let upto = pages.next().await.unwrap().unwrap().upto;
                let after = self.hub().position(upto);
                seen = api.get(&format!("/v1/messages/{id}?after={after}")).await.body;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(came, "the message is not {wanted:?}: {seen:#}");
        seen
    }

    /// Sends a text and waits until it is delivered.
    pub(crate) async fn deliver(&self, account: &str, content: &str) -> Value {
        let id = self.api.send(account, content).await;
        self.until_message_is(&id, "delivered").await
    }

    /// Whether the vault has tokens of this sign-in.
    pub(crate) async fn has_tokens(&self, sign_in: &str) -> bool {
        match self.hub().custody.get_tokens(sign_in.parse().unwrap()).await {
            Ok(tokens) => tokens.is_some(),
            Err(CustodyError::Destroyed { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the vault has no tokens of this sign-in any more: they are destroyed after the event.
    pub(crate) async fn until_no_tokens(&self, sign_in: &str) {
        let gone = async {
            while self.has_tokens(sign_in).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the tokens are destroyed");
    }
}
