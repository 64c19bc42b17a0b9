//! `chancery dev --once`: the whole story, told by doing it: two tenants, three people, messages, expiry and refresh, a
//! revoked grant, parking, signing in again, an outcome that nobody knows; and two more people who come by the bot. Each
//! step is checked.

mod bot;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use microsoft_simulator::{Fault, Kind, control::PersonView};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Dev, Listeners, browser};
use crate::{
    cli::{self, args::DevStore},
    config::Sources,
};

/// Longest wait for something that the hub does of itself.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(25);

pub(super) async fn run(kind: DevStore) -> Result<ExitCode> {
    let directory = tempfile::tempdir().context("making a directory for the story")?;
    let environment = vec![("CHANCERY_LOG__LEVEL".to_owned(), "error".to_owned())];
    let sources = Sources { environment, ..Sources::default() };
    let dev = Dev::start(directory.path(), kind, Listeners::free()?, sources).await?;
    let mut story = Story::new(dev)?;
    let told = story.tell().await;
    story.dev.end().await;
    match told {
        Ok(()) => {
            println!("\nThe story is told; every step was as it should be.");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("  ✗ {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Story {
    dev: Dev,
    http: Client,
    keys: u32,
}

/// A message as its sender remembers it.
struct Sent {
    id: String,
    key: String,
    position: String,
    body: Value,
}

impl Story {
    fn new(dev: Dev) -> Result<Self> {
        Ok(Self { dev, http: cli::client::http(None)?, keys: 0 })
    }

    async fn tell(&mut self) -> Result<()> {
        self.people_sign_in().await?;
        self.messages_arrive().await?;
        self.tokens_expire_and_are_refreshed().await?;
        self.a_revoked_grant_parks_and_drains().await?;
        self.an_unknown_outcome_is_not_repeated().await?;
        self.people_come_by_the_bot().await?;
        self.the_story_can_be_read().await
    }

    async fn people_sign_in(&mut self) -> Result<()> {
        chapter("Three people of two organisations sign in");
        let ada = self.person("ada@contoso.example")?;
        let expected = json!({ "tenant": ada.tid, "object_id": ada.oid });
        let link = self.link("u-ada", Some(expected)).await?;
        let end = browser::sign_in(&self.http, &link, "ada@contoso.example").await?;
        ensure!(
            end.status == 200 && end.page.contains("You are connected"),
            "Ada's sign-in ended with {}",
            end.status
        );
        step("Ada (Contoso) signs in by a link that only she can use");
        for (account, person) in
            [("u-emeka", "emeka@fabrikam.example"), ("u-farah", "farah@fabrikam.example")]
        {
            let link = self.link(account, None).await?;
            let end = browser::sign_in(&self.http, &link, person).await?;
            ensure!(
                end.page.contains("The product has confirmed"),
                "{person}'s sign-in ended with {}",
                end.status
            );
            step(&format!(
                "{person} signs in, and the product confirms by the code that the browser brought"
            ));
        }
        let began = Instant::now();
        loop {
            let tenants = self.get("/v1/tenants").await?;
            if tenants["items"].as_array().map(Vec::len) == Some(2) {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "two tenants were to be seen, not {tenants}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        step("The view has two tenants");
        Ok(())
    }

    async fn messages_arrive(&mut self) -> Result<()> {
        chapter("Messages arrive, each once");
        let text =
            self.send("u-ada", json!({ "type": "text", "text": "Your weekly check-in is due." })).await?;
        let progress = json!({ "title": "Net revenue retention", "start": "0.1", "target": "0.4", "current": "0.3", "unit": "index" });
        let card = json!({ "type": "template", "template": "key_result_progress", "data": progress });
        let card = self.send("u-emeka", card).await?;
        let html = self
            .send("u-farah", json!({ "type": "html", "html": "<b>Objective</b> assigned to you" }))
            .await?;
        for sent in [&text, &card, &html] {
            self.until(sent, "delivered").await?;
        }
        self.posted("Your weekly check-in is due.", 1)?;
        self.posted("66.7 %", 1)?;
        self.posted("assigned to you", 1)?;
        step("Text, card and HTML are in Teams; 0.1 → 0.3 of 0.4 is exactly 66.7 %");
        let again = self.post(&text.key, &text.body).await?;
        ensure!(again["id"] == text.id.as_str(), "the same key and content brought another message: {again}");
        self.posted("Your weekly check-in is due.", 1)?;
        step("The same request again is the same message, and is not sent again");
        Ok(())
    }

    async fn tokens_expire_and_are_refreshed(&mut self) -> Result<()> {
        chapter("Two hours later the access tokens have expired");
        self.advance(Duration::from_hours(2)).await?;
        self.until_history("u-ada", "connection.token-expired.v1").await?;
        step("The expiry is recorded");
        let sent = self.send("u-ada", json!({ "type": "text", "text": "Two hours later" })).await?;
        self.until(&sent, "delivered").await?;
        self.until_history("u-ada", "connection.token-refreshed.v1").await?;
        self.posted("Two hours later", 1)?;
        step("The next message refreshes the token, and arrives");
        Ok(())
    }

    async fn a_revoked_grant_parks_and_drains(&mut self) -> Result<()> {
        chapter("Farah's sessions are revoked by her administrator");
        let farah = self.person("farah@fabrikam.example")?;
        ensure!(self.dev.simulator.revoke_sessions(farah.oid), "Farah's sessions could not be revoked");
        let first = self.send("u-farah", json!({ "type": "text", "text": "Waiting, number one" })).await?;
        let second = self.send("u-farah", json!({ "type": "text", "text": "Waiting, number two" })).await?;
        self.until(&first, "parked").await?;
        self.until(&second, "parked").await?;
        self.until_history("u-farah", "connection.reauthorization-required.v1").await?;
        self.posted("Waiting, number", 0)?;
        step("Her messages park: only she can bring a new grant");
        let link = self.link("u-farah", None).await?;
        browser::sign_in(&self.http, &link, "farah@fabrikam.example").await?;
        self.until(&first, "delivered").await?;
        self.until(&second, "delivered").await?;
        let texts = self.contents("Waiting, number");
        ensure!(texts == ["Waiting, number one", "Waiting, number two"], "in order, not {texts:?}");
        step("She signs in again, and they flow, in order");
        Ok(())
    }

    async fn an_unknown_outcome_is_not_repeated(&mut self) -> Result<()> {
        chapter("Microsoft takes a message and answers 504");
        let fault = Fault {
            operation: "graph.post".into(),
            times: 1,
            oid: None,
            chat: None,
            fault: Kind::AcceptThenStatus { status: 504 },
        };
        self.dev.simulator.add_fault(fault).map_err(anyhow::Error::msg)?;
        let doubtful = self.send("u-emeka", json!({ "type": "text", "text": "Perhaps delivered" })).await?;
        self.until(&doubtful, "unknown").await?;
        let next = self.send("u-emeka", json!({ "type": "text", "text": "Surely delivered" })).await?;
        self.until(&next, "delivered").await?;
        self.posted("Perhaps delivered", 1)?;
        self.posted("Surely delivered", 1)?;
        step("It is recorded as unknown and not sent again; the lane goes on");
        Ok(())
    }

    async fn the_story_can_be_read(&mut self) -> Result<()> {
        chapter("Farah's history, as an auditor reads it");
        let history = self.history("u-farah").await?;
        let cell = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let rows: Vec<_> = history
            .iter()
            .map(|item| vec![cell(item, "recorded_at"), cell(item, "event"), cell(item, "summary")])
            .collect();
        println!();
        print!("{}", cli::table::render(&["RECORDED", "EVENT", "WHAT HAPPENED"], &rows));
        let order = [
            "connection.linked.v1",
            "connection.token-issued.v1",
            "lane.delivered.v1",
            "connection.token-expired.v1",
            "connection.reauthorization-required.v1",
            "lane.parked.v1",
            "connection.token-issued.v1",
            "lane.resumed.v1",
            "lane.delivered.v1",
        ];
        let mut events = history.iter().map(|item| item["event"].as_str().unwrap_or_default());
        for wanted in order {
            ensure!(events.any(|event| event == wanted), "{wanted} is missing, or not where it belongs");
        }
        Ok(())
    }

    /// A sign-in link for the account.
    async fn link(&mut self, account: &str, expected: Option<Value>) -> Result<String> {
        let key = self.key();
        let mut body = json!({ "account": account });
        if let Some(expected) = expected {
            body["expected"] = expected;
        }
        let request = self.request(Method::POST, "/v1/sign-ins").header("Idempotency-Key", key).json(&body);
        let link = cli::client::send(request).await?;
        Ok(link["url"].as_str().context("a link has a URL")?.to_owned())
    }

    /// Someone whom Microsoft knows by this user principal name.
    fn person(&self, upn: &str) -> Result<PersonView> {
        let found = self.dev.simulator.people().into_iter().find(|person| person.upn == upn);
        found.with_context(|| format!("the simulator has no {upn}"))
    }

    async fn send(&mut self, account: &str, content: Value) -> Result<Sent> {
        self.submit(json!({ "recipient": { "account": account }, "content": content })).await
    }

    async fn submit(&mut self, body: Value) -> Result<Sent> {
        let key = self.key();
        let receipt = self.post(&key, &body).await?;
        let text = |name: &str| {
            receipt[name].as_str().map(str::to_owned).context("a receipt has an id and a position")
        };
        Ok(Sent { id: text("id")?, key, position: text("position")?, body })
    }

    async fn post(&self, key: &str, body: &Value) -> Result<Value> {
        cli::client::send(
            self.request(Method::POST, "/v1/messages").header("Idempotency-Key", key).json(body),
        )
        .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        cli::client::send(self.request(Method::GET, path)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.dev.file.url)).bearer_auth(&self.dev.file.api_key)
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("story-{}", self.keys)
    }

    /// Waits until the message has this status.
    async fn until(&self, sent: &Sent, wanted: &str) -> Result<()> {
        let path = format!("/v1/messages/{}?after={}", sent.id, sent.position);
        let began = Instant::now();
        loop {
            let message = self.get(&path).await?;
            if message["status"] == wanted {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("a message was to be {wanted}, and is still {}: {message}", message["status"]);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn until_history(&self, account: &str, wanted: &str) -> Result<()> {
        let began = Instant::now();
        while !self.history(account).await?.iter().any(|item| item["event"] == wanted) {
            ensure!(began.elapsed() < PATIENCE, "{wanted} was to be in the history of {account}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// All pages of it, the oldest event first.
    async fn history(&self, account: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/accounts/{account}/history?limit=200{cursor}")).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            let Some(next) = page["next_cursor"].as_str() else {
                items.reverse();
                return Ok(items);
            };
            cursor = format!("&cursor={next}");
        }
    }

    async fn advance(&self, by: Duration) -> Result<()> {
        let request = self.http.post(format!("{}/dev/clock/advance", self.dev.file.url));
        let request =
            request.bearer_auth(&self.dev.file.control_token).json(&json!({ "seconds": by.as_secs() }));
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// What Teams shows that contains this text: how often is a matter of the simulator's own count.
    fn contents(&self, part: &str) -> Vec<String> {
        let all = self.dev.simulator.messages(None, None).into_iter();
        let whole = all.map(|message| {
            let attachments =
                message.attachments.map(|attachments| attachments.get().to_owned()).unwrap_or_default();
            message.content + &attachments
        });
        whole.filter(|content| content.contains(part)).collect()
    }

    fn posted(&self, part: &str, times: usize) -> Result<()> {
        let count = self.contents(part).len();
        ensure!(count == times, "{part:?} was to be in Teams {times} times, and is there {count} times");
        Ok(())
    }
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn step(done: &str) {
    println!("  ✓ {done}");
}
