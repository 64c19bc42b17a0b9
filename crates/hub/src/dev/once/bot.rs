//! The part of the story that is told in Teams: two people sign in by way of the bot, and are written to by it. What the bot
//! says is checked message by message, so a word too many ends the story as well.

use anyhow::{Context as _, Result, ensure};
use microsoft_simulator::{
    Simulator,
    control::{Author, MessageRecord, PersonView},
};
use serde_json::{Value, json};

use super::{PATIENCE, Story, chapter, step};
use crate::dev::{browser, passwords};

impl Story {
    pub(super) async fn people_come_by_the_bot(&mut self) -> Result<()> {
        self.dmitri_signs_in_at_microsoft().await?;
        self.chiara_signs_in_by_password().await
    }

    async fn dmitri_signs_in_at_microsoft(&mut self) -> Result<()> {
        chapter("Dmitri installs the bot in Teams, and types login");
        let mut dmitri = self.chat("dmitri@contoso.example")?;
        let mut bruno = self.chat("bruno@contoso.example")?;
        self.dev.simulator.install(dmitri.who.oid, true).await;
        dmitri.hears("I bring your messages to Teams.").await?;
        step("The bot says what it can do");

        let link = dmitri.types_login().await?;
        let end = browser::sign_in(&self.http, &link, &bruno.who.upn).await?;
        ensure!(end.page.contains("You are not connected yet"), "Bruno was let in: {}", end.status);
        for person in [&mut dmitri, &mut bruno] {
            person.says("status").await?;
            person.hears("You are not connected.").await?;
        }
        step("His link, passed on to Bruno, connects neither of them");

        let link = dmitri.types_login().await?;
        let end = browser::sign_in(&self.http, &link, &dmitri.who.upn).await?;
        ensure!(end.page.contains("You are connected"), "Dmitri's sign-in ended with {}", end.status);
        dmitri.hears("You are connected. Messages for you will arrive in Teams.").await?;
        step("By another one he signs in with Office 365, and the bot tells him so");

        let person = json!({ "tenant": dmitri.who.tid, "object_id": dmitri.who.oid });
        let sent = self.submit(said_to(&person, "graph", "Said by Graph")).await?;
        self.until(&sent, "delivered").await?;
        self.posted("Said by Graph", 1)?;
        dmitri.says("status").await?;
        dmitri.hears("You are connected.").await?;
        step("A message comes by Graph, and status says that he is connected");
        Ok(())
    }

    async fn chiara_signs_in_by_password(&mut self) -> Result<()> {
        chapter("Chiara signs in with her password of the product");
        let mut chiara = self.chat("chiara@contoso.example")?;
        let (name, account) = passwords::USERS[2];
        let link = chiara.types_login().await?;
        let code = browser::type_password(&self.http, &link, name, passwords::PASSWORD).await?;
        chiara.says(&code).await?;
        chiara.hears(&format!("You are connected (account: {account}).")).await?;
        step("The page shows a code; she types it to the bot, and is connected");

        let sent =
            self.submit(said_to(&json!({ "account": account }), "bot", "In the bot's own voice")).await?;
        self.until(&sent, "delivered").await?;
        chiara.hears("In the bot's own voice").await?;
        let who = &chiara.who;
        let path = format!("/v1/tenants/{}/connections/{}?after={}", who.tid, who.oid, sent.position);
        let status = self.get(&path).await?["status"].take();
        ensure!(status == "linked", "Chiara was to be linked without a token, and is {status}");
        step("A message comes by the bot: it needs no Microsoft token of hers");

        chiara.says("status").await?;
        chiara.hears(&format!("You are connected (account: {account}).")).await?;
        chiara.says("logout").await?;
        chiara.hears("You are disconnected.").await?;
        chiara.says("status").await?;
        chiara.hears("You are not connected.").await?;
        step("status, logout, status: the bot knows how she stands");
        Ok(())
    }

    fn chat(&self, upn: &str) -> Result<Chat> {
        Ok(Chat { simulator: self.dev.simulator.clone(), who: self.person(upn)?, heard: 0 })
    }
}

/// A text on its way by that surface.
fn said_to(recipient: &Value, surface: &str, text: &str) -> Value {
    json!({ "recipient": recipient, "content": { "type": "text", "text": text }, "surface": surface })
}

/// Somebody's chat with the bot.
struct Chat {
    simulator: Simulator,
    who: PersonView,
    /// How much of what the bot said was looked at.
    heard: usize,
}

impl Chat {
    async fn says(&self, text: &str) -> Result<()> {
        let sent = self.simulator.say(self.who.oid, text).await.context("there is no such chat")?;
        ensure!(sent.status == Some(200), "the hub answered {:?} to an activity", sent.status);
        Ok(())
    }

    /// Types `login`; answers the address on the card.
    async fn types_login(&mut self) -> Result<String> {
        self.says("login").await?;
        let card = self.hears("Connect your account").await?.attachments.context("no card came")?;
        let card: Value = serde_json::from_str(card.get())?;
        let card: Value = serde_json::from_str(card[0]["content"].as_str().context("a card is a text")?)?;
        Ok(card["actions"][0]["url"].as_str().context("the card has no address")?.to_owned())
    }

    /// The next thing that the bot says, which has to begin with what is wanted.
    async fn hears(&mut self, wanted: &str) -> Result<MessageRecord> {
        let next = |simulator: &Simulator| {
            simulator.said(Some(Author::Bot), None, Some(self.who.oid)).into_iter().nth(self.heard)
        };
        let said = self.simulator.wait_until(|simulator| next(simulator).is_some());
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.with_context(|| format!("the bot was to say {wanted:?} to {}", self.who.upn))?;
        let message = next(&self.simulator).context("the bot took back what it said")?;
        self.heard += 1;
        let words = message.summary.as_ref().unwrap_or(&message.content);
        ensure!(words.starts_with(wanted), "the bot was to say {wanted:?}, not {words:?}");
        Ok(message)
    }
}
