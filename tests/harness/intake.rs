//! A client of the store: writes into intake streams, as `docs/INTAKE.md` tells it to.

use chancery::clock::{Ids as _, SystemIds};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use store::{Append, ContentType, EventStore, Expected, NewEvent, StreamName};
use uuid::Uuid;

use super::{World, log::Event};

/// Where the messages to an account belong: the first hexadecimal digit of its SHA-256.
pub(crate) fn of_account(account: &str) -> u8 {
    digest(&SHA256, account.as_bytes()).as_ref()[0] >> 4
}

/// A message as it is submitted.
pub(crate) fn message(client: &str, key: &str, account: &str, text: &str) -> Value {
    json!({
        "client": client,
        "idempotency_key": key,
        "recipient": { "account": account },
        "content": { "type": "text", "text": text },
    })
}

/// An event as a client writes it.
pub(crate) fn event(name: &str, data: impl AsRef<[u8]>) -> NewEvent {
    NewEvent {
        id: SystemIds.uuid(),
        name: name.into(),
        content_type: ContentType::Octets,
        data: data.as_ref().to_vec().into(),
        metadata: bytes::Bytes::new(),
    }
}

pub(crate) fn submitted(message: &Value) -> NewEvent {
    event("message.submitted.v1", message.to_string())
}

/// Appends them one by one, as one client after the other would. Answers the ids.
pub(crate) async fn submit(store: &dyn EventStore, number: u8, events: Vec<NewEvent>) -> Vec<Uuid> {
    let stream = StreamName::new(format!("intake-{number}"));
    let ids = events.iter().map(|event| event.id).collect();
    let append =
        |event| Append { stream: stream.clone(), expected: Expected::Any, events: vec![event], line: None };
    for answer in store.append_many(events.into_iter().map(append).collect()).await {
        answer.unwrap();
    }
    ids
}

/// How a submitted event was answered: `accepted`, or why not and in which field; and by which event.
pub(crate) fn answers(events: &[Event], id: Uuid) -> Vec<(String, Option<String>, Event)> {
    let id = id.to_string();
    let answers = events.iter().filter(|event| event.metadata["$causationId"] == id.as_str());
    let read = |event: &Event| match event.name.as_str() {
        "message.accepted.v1" => ("accepted".to_owned(), None, event.clone()),
        "intake.rejected.v1" => {
            let text = |name: &str| event.data[name].as_str().map(str::to_owned);
            (text("why").unwrap(), text("field"), event.clone())
        }
        other => panic!("{other} follows from what was submitted"),
    };
    answers.map(read).collect()
}

impl World {
    /// Submits to the running hub's store.
    pub(crate) async fn submit(&self, number: u8, events: Vec<NewEvent>) -> Vec<Uuid> {
        submit(self.hub().store.as_ref(), number, events).await
    }

    /// Waits until an event is answered; answers how.
    pub(crate) async fn answer_to(&self, id: Uuid) -> (String, Option<String>, Event) {
        let events = self.until("an answer", |events| !answers(events, id).is_empty()).await;
        answers(&events, id).remove(0)
    }
}
