//! What people do in their chat with the bot, and what it says to them.

use chancery::{commands::Context, hub::Hub};
use domain::{
    CommandId,
    connection::{self, Connection, Conversation, Installation},
};
use microsoft_simulator::{
    activities::{Act, Sending, Sent, What},
    control::{Author, DialsChange, MessageRecord},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    PATIENCE, World,
    api::{drawn, text, to_account},
    microsoft::{ADA, Microsoft},
};

impl World {
    /// Lets the bot hear of what people do. Without it no activity is sent.
    pub(crate) fn listen(&self) {
        self.microsoft.listen(&self.url);
    }

    /// Somebody who is linked, with a hub that knows how the bot reaches them.
    pub(crate) async fn with_bot(overrides: &[(&str, &str)]) -> Self {
        let world = Self::with(overrides).await;
        world.link("u-1", ADA).await;
        world.install(ADA).await;
        world
    }

    /// The bot is told of its chat with this person.
    pub(crate) async fn install(&self, upn: &str) {
        self.microsoft.install_at(self.hub(), upn, self.microsoft.simulator.service_url()).await;
    }

    /// Sends a text that way, and answers the message's id.
    pub(crate) async fn send_by(&self, surface: &str, content: &str) -> String {
        let mut message = to_account("u-1", content);
        message["surface"] = json!(surface);
        let accepted = self.api.post("/v1/messages", &drawn(), &message).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        text(&accepted.body["id"])
    }

    /// What the bot said to Ada.
    pub(crate) fn said(&self) -> Vec<String> {
        self.microsoft.said(ADA)
    }
}

impl Microsoft {
    /// Sends activities to the hub that is reached there.
    pub(crate) fn listen(&self, hub: &str) {
        let messaging_endpoint = Some(Some(format!("{hub}/api/messages")));
        self.turn(DialsChange { messaging_endpoint, ..DialsChange::default() });
    }

    /// A hub's bot is told of its chat with this person, where it answers to that address.
    pub(crate) async fn install_at(&self, hub: &Hub, upn: &str, service_url: String) {
        let people = self.simulator.people();
        let known = people.into_iter().find(|person| person.upn == upn).unwrap();
        let conversation = Conversation {
            bot_id: self.simulator.bot_id(),
            service_url,
            conversation_id: known.conversation_id,
            user_id: known.user_id,
            locale: None,
            activity_id: drawn(),
        };
        let person = self.person(upn);
        let install =
            connection::Command::InstallBot(Installation { person, conversation, at: None, installed: true });
        let (id, context) = (CommandId::new(drawn()), Context::hub("test", "install"));
        hub.commands.execute::<Connection>(person.connection(), &id, &context, install).await.unwrap();
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

    /// The same as it was sent.
    pub(crate) fn said(&self, upn: &str) -> Vec<String> {
        self.heard(upn).into_iter().map(|message| message.content).collect()
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
