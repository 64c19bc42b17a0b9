//! What people do in their chat with the bot, and what it says to them.

use microsoft_simulator::{
    activities::{Act, Sending, Sent, What},
    control::{Author, DialsChange, MessageRecord},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PATIENCE, World, microsoft::Microsoft};

impl World {
    /// Lets the bot hear of what people do. Without it no activity is sent.
    pub(crate) fn listen(&self) {
        self.microsoft.listen(&self.url);
    }
}

impl Microsoft {
    /// Sends activities to the hub that is reached there.
    pub(crate) fn listen(&self, hub: &str) {
        let messaging_endpoint = Some(Some(format!("{hub}/api/messages")));
        self.turn(DialsChange { messaging_endpoint, ..DialsChange::default() });
    }

    pub(crate) fn oid(&self, upn: &str) -> Uuid {
        self.person(upn).object_id.0
    }

    /// Types something to the bot; answers the hub's status.
    pub(crate) async fn say(&self, upn: &str, text: &str) -> u16 {
        self.simulator.say(self.oid(upn), text).await.unwrap().status.unwrap()
    }

    /// Sends what somebody does, as it is told; answers the hub's answers.
    pub(crate) async fn send(&self, upn: &str, act: Act, shape: impl FnOnce(&mut Sending)) -> Vec<Sent> {
        let mut sending = Sending::new(What::By { oid: self.oid(upn), act });
        shape(&mut sending);
        self.simulator.send(sending).await.unwrap()
    }

    /// What the bot said in somebody's chats, oldest first.
    pub(crate) fn heard(&self, upn: &str) -> Vec<MessageRecord> {
        self.simulator.said(Some(Author::Bot), None, Some(self.oid(upn)))
    }

    /// Waits until the bot has said so much, and answers it in words: the text, or what stands for a card.
    pub(crate) async fn until_heard(&self, upn: &str, times: usize) -> Vec<String> {
        let heard = self.simulator.wait_until(|_| self.heard(upn).len() >= times);
        let waited = tokio::time::timeout(PATIENCE, heard).await;
        let words: Vec<_> = self.heard(upn).iter().map(in_words).collect();
        assert!(waited.is_ok(), "the bot said {words:?} only");
        words
    }
}

fn in_words(message: &MessageRecord) -> String {
    message.summary.clone().unwrap_or_else(|| message.content.clone())
}

/// The card that came with a message.
pub(crate) fn card(message: &MessageRecord) -> Value {
    let attachments = message.attachments.as_ref().expect("a card");
    let attachments: Value = serde_json::from_str(attachments.get()).unwrap();
    match &attachments[0]["content"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        card => card.clone(),
    }
}

/// What a button of our cards sends.
pub(crate) fn pressed(command: &str) -> Act {
    Act::Submit { reply_to: "1732365000987".to_owned(), value: json!({ "command": command }) }
}
