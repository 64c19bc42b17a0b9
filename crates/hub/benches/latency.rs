//! From the first byte of `POST /v1/messages` to the head of the request that Microsoft gets, one message after the other
//! on an idle hub; against the least that a durable outbox has to do: two appends with a sync each, and one post. Both
//! take turns in one run. The goal: at the 95th percentile at most 2.5 times as long.
//!
//! `cargo bench -p chancery --bench latency [-- <messages>]`

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chancery::{commands, hub::Hub};
use domain::{CommandId, client, connection::Connection};
use rusqlite::params;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};
use uuid::Uuid;

use support::{Microsoft, PATIENCE, Place, Recipient};

const MESSAGES: usize = 400;
/// Before it counts: chats are found, connections opened, caches filled.
const WARM_UP: usize = 40;
const PEOPLE: u32 = 10;
/// After each message everything comes to rest.
const PAUSE: Duration = Duration::from_millis(15);

fn main() -> Result<()> {
    let messages = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    // The benchmark's own work is done on this thread, so that it does not take a worker from the hub.
    Runtime::new()?.block_on(run(messages))
}

async fn run(messages: usize) -> Result<()> {
    let place = Place::new()?;
    let microsoft = Microsoft::start(&place.url, PEOPLE)?;
    let (hub, lifecycle) = support::start_hub(&place, &microsoft, &[]).await?;
    let http = hub.config.outbound.client(false)?;
    for person in &microsoft.people {
        support::sign_in(&hub, &http, person).await?;
    }
    let mut product = Product::connect(&place, &api_key(&hub).await?).await?;
    let mut bare = Bare::open(place.path(), http)?;
    let (mut ours, mut accepted, mut limit) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WARM_UP + messages {
        let recipient = &microsoft.people[number % microsoft.people.len()];
        let (begun, answered) = product.send(recipient, number).await?;
        let arrived = microsoft.arrived(1).await?[0];
        tokio::time::sleep(PAUSE).await;
        let bare_took = bare.send(&hub, &microsoft, recipient, number).await?;
        tokio::time::sleep(PAUSE).await;
        if number >= WARM_UP {
            ours.push(ms(arrived - begun));
            accepted.push(ms(answered));
            limit.push(ms(bare_took));
        }
    }
    println!("{messages} messages, one after the other; ms");
    println!("                                    |   p50 |   p95");
    for (what, values) in [
        ("two bare appends and a bare post", &limit),
        ("hub: request in -> request out", &ours),
        ("hub: request in -> 202", &accepted),
    ] {
        let at = |percent| support::percentile(values.clone(), percent);
        println!("{what:<35} | {:>5.2} | {:>5.2}", at(50), at(95));
    }
    let ratio =
        |percent| support::percentile(ours.clone(), percent) / support::percentile(limit.clone(), percent);
    println!("{:<35} | {:>5.2} | {:>5.2} (goal: p95 at most 2.50)", "ratio", ratio(50), ratio(95));
    support::stop_hub(hub, lifecycle).await;
    Ok(())
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// The product's backend, with a connection that it keeps.
struct Product {
    socket: TcpStream,
    key: String,
}

impl Product {
    async fn connect(place: &Place, key: &str) -> Result<Self> {
        let socket = TcpStream::connect(place.url.trim_start_matches("http://")).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, key: key.to_owned() })
    }

    /// When the first byte was sent, and how long the answer took.
    async fn send(&mut self, recipient: &Recipient, number: usize) -> Result<(Instant, Duration)> {
        let body =
            json!({ "recipient": recipient.person, "content": { "type": "text", "text": text(number) } });
        let body = body.to_string();
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nidempotency-key: m-{number}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let begun = Instant::now();
        self.socket.write_all(request.as_bytes()).await?;
        // The answer is far smaller than what is read at once, and nothing follows it.
        let mut answer = [0; 4096];
        let length = self.socket.read(&mut answer).await?;
        let took = begun.elapsed();
        let answer = String::from_utf8_lossy(&answer[..length]);
        ensure!(answer.starts_with("HTTP/1.1 202"), "the message was not accepted: {answer}");
        Ok((begun, took))
    }
}

/// What a backend of the product might say.
fn text(number: usize) -> String {
    format!("Check-in reminder {number}: how far is your key result this week? It takes a minute.")
}

async fn api_key(hub: &Hub) -> Result<String> {
    let client = support::caller()?.client;
    let context = commands::Context::hub("bench", "bench");
    let key = chancery::http::auth::ApiKey::generate(&ring::rand::SystemRandom::new());
    let create = client::Command::Create { role: client::Role::Service, tenants: None, return_urls: vec![] };
    let create_key =
        client::Command::CreateKey { key: Uuid::from_u128(1), hash: key.hash(), expires_at: None };
    let mut position = None;
    for (what, command) in [("create", create), ("key", create_key)] {
        let done =
            hub.commands.execute::<client::Client>(&client, &CommandId::new(what), &context, command).await;
        position = Some(done?.after().position);
    }
    hub.clients.wait_for(position.unwrap_or_default(), PATIENCE).await?;
    hub.keys.reload(hub).await?;
    Ok(key.expose().to_owned())
}

/// The least that has to be done, on the same disk and to the same counterpart.
struct Bare {
    file: rusqlite::Connection,
    http: reqwest::Client,
}

impl Bare {
    fn open(directory: &Path, http: reqwest::Client) -> Result<Self> {
        let file = rusqlite::Connection::open(directory.join("bare.sqlite"))?;
        file.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE events (position INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;",
        )?;
        Ok(Self { file, http })
    }

    /// How long until the post arrived.
    async fn send(
        &mut self,
        hub: &Hub,
        microsoft: &Microsoft,
        recipient: &Recipient,
        number: usize,
    ) -> Result<Duration> {
        let connection = hub.commands.load::<Connection>(recipient.person.connection()).await?.state;
        let grant = connection.grant.context("everybody has signed in")?;
        let tokens = hub.custody.get_tokens(grant.id).await?.context("the vault has the tokens")?;
        let url = format!("{}/v1.0/chats/{}/messages", microsoft.url, recipient.chat_id);
        let body = json!({ "body": { "contentType": "text", "content": text(number) } });
        let begun = Instant::now();
        self.append()?;
        self.append()?;
        let post = self.http.post(url).bearer_auth(tokens.value.access.expose_secret()).json(&body);
        let answer = post.send().await?.error_for_status()?;
        answer.bytes().await?;
        Ok(microsoft.arrived(1).await?[0] - begun)
    }

    /// One row of about the size of an event, durable when it returns.
    fn append(&self) -> Result<()> {
        let mut insert = self.file.prepare_cached("INSERT INTO events (data) VALUES (?1)")?;
        insert.execute(params![&[b'd'; 650][..]])?;
        Ok(())
    }
}
