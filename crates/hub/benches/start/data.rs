//! A data directory as it is after a million events: 2,500 people who signed in, and 330,000 messages that they got.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chancery::{
    clock::{SystemClock, SystemIds},
    config::{Config, Sources},
    http::ops::Readiness,
    hub::{Footing, Hub, open_store},
    lifecycle::Lifecycle,
};
use domain::{
    AccountHash, ClientId, CommandId, HubId, KeyedHash, MessageId, Metadata, ObjectId, PersonId, Sealed,
    SignInId, TenantId, Timestamp, account, aggregate::encode, connection, lane, message,
};
use serde::Serialize;
use store::{Append, ContentType, EventStore as _, Expected, NewEvent, StreamName, embedded::EmbeddedStore};
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) const EVENTS: u64 = PEOPLE * 4 + MESSAGES * 3;
const PEOPLE: u64 = 2_500;
const MESSAGES: u64 = 330_000;
/// Messages appended at a time.
const BATCH: u64 = 1_000;
const PATIENCE: Duration = Duration::from_mins(30);

/// 2100-01-01: no token is ever due, however old the data.
const WRITTEN: Timestamp = Timestamp::from_micros(4_102_444_800_000_000);

/// The directory, built if need be.
pub(crate) fn ready() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
    let directory = target.join("bench-data/start-v1");
    let complete = directory.join("complete");
    if complete.exists() {
        return Ok(directory);
    }
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let begun = Instant::now();
    Runtime::new()?.block_on(build(&directory))?;
    std::fs::write(&complete, "")?;
    println!("{EVENTS} events and their read models built in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(directory)
}

/// What the hub is started with. Nothing here is ever called.
pub(crate) fn environment(directory: &Path) -> Vec<(String, String)> {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let settings = [
        ("SERVER__PUBLIC_URL", "https://hub.example".to_owned()),
        ("DATA__DIRECTORY", path("data")),
        ("KEYS__KEY_ENCRYPTION_KEY_FILE", path("key")),
        ("MICROSOFT__CLIENT_ID", Uuid::from_u128(1).to_string()),
        ("MICROSOFT__CLIENT_SECRET", "nobody looks at it".to_owned()),
        ("MICROSOFT__TEAMS_APP_EXTERNAL_ID", Uuid::from_u128(2).to_string()),
        ("LIMITS__PER_ADDRESS_BURST", "1000000".to_owned()),
    ];
    settings.into_iter().map(|(key, value)| (format!("CHANCERY_{key}"), value)).collect()
}

async fn build(directory: &Path) -> Result<()> {
    let data = directory.join("data");
    std::fs::create_dir_all(&data)?;
    custody::KeyEncryptionKey::create_file(&directory.join("key"))?;
    // A hub makes its vault before the log has anything in it.
    run_hub(directory).await?;
    fill(&open_store(&data)?).await?;
    run_hub(directory).await
}

/// Runs a hub until its read models have everything.
async fn run_hub(directory: &Path) -> Result<()> {
    let environment = environment(directory);
    let config = Config::load(&Sources { environment, ..Sources::default() })?;
    let (lifecycle, readiness) = (Lifecycle::new(), Readiness::default());
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store = Arc::new(open_store(&config.data.directory)?);
    let footing = Footing::on(store, &config).await?;
    let hub = Hub::start_on(footing, config, clock, ids, &lifecycle, &readiness).await?;
    let head = hub.store.head().await?;
    hub.clients.wait_for(head, PATIENCE).await?;
    hub.connections.wait_for(head, PATIENCE).await?;
    hub.messages.wait_for(head, PATIENCE).await?;
    hub.due.wait_for(head, PATIENCE).await?;
    drop(hub);
    lifecycle.stop();
    let (_signal, signals) = tokio::sync::mpsc::channel(1);
    lifecycle.run(PATIENCE, signals).await;
    Ok(())
}

async fn fill(store: &EmbeddedStore) -> Result<()> {
    for person in 0..PEOPLE {
        append(store, signed_in(person)).await?;
    }
    for first in (0..MESSAGES).step_by(BATCH.try_into()?) {
        append(store, (first..first + BATCH).flat_map(delivered).collect()).await?;
    }
    ensure!(store.head().await?.0 == EVENTS, "the log has {} events", store.head().await?);
    Ok(())
}

async fn append(store: &EmbeddedStore, appends: Vec<Append>) -> Result<()> {
    store.append_many(appends).await.into_iter().try_for_each(|answer| Ok(answer.map(drop)?))
}

/// An account and a connection.
fn signed_in(number: u64) -> Vec<Append> {
    let (person, grant) = (person(number), SignInId(uuid(3, number)));
    let profile = sealed(format!("person/{}", uuid(4, number)), 240);
    let scopes = ["email", "openid", "profile", "User.Read", "offline_access", "ChatMessage.Send"];
    let of_connection = [
        connection::Event::Linked {
            person,
            person_key: uuid(4, number),
            profile: profile.clone(),
            sign_in: grant,
        },
        connection::Event::TokenIssued {
            grant,
            grant_number: 1,
            generation: 1,
            scopes: scopes.map(str::to_owned).into(),
            expires_at: WRITTEN + Duration::from_hours(1),
        },
        connection::Event::ChatFound { chat_id: chat_id(number) },
    ];
    let account = account::Event::Linked { person, sign_in: grant, account: profile };
    let hash =
        AccountHash(format!("{:032x}{:032x}", uuid(5, number).as_u128(), uuid(6, number).as_u128()).into());
    let connection = format!("connection-{}", person.connection());
    vec![to(format!("account-{hash}"), 0, &[account], person), to(connection, 0, &of_connection, person)]
}

/// A message that was accepted and delivered.
fn delivered(number: u64) -> [Append; 3] {
    let (who, nth) = (number % PEOPLE, number / PEOPLE);
    let (person, id) = (person(who), MessageId(uuid(7, number)));
    let accepted = message::Event::Accepted(Box::new(message::Accepted {
        lane: person.connection(),
        person,
        account_hash: None,
        client: client(),
        kind: message::Kind::Text,
        content: sealed(format!("content/{}/2100-01", uuid(4, who)), 160),
        content_hash: hash(8, number),
        request_hash: hash(9, number),
        expires_at: WRITTEN + Duration::from_hours(72),
        surface: Some(domain::SurfaceChoice::Graph),
    }));
    let started = lane::Event::DeliveryStarted {
        message: id,
        attempt: 1,
        surface: lane::Surface::Graph,
        grant: Some(SignInId(uuid(3, who))),
        generation: Some(1),
        template: None,
        content_hash: Some(hash(8, number)),
        hub: HubId(uuid(10, 1)),
        epoch: 1,
        timeout_ms: 40_000,
        client_request_id: uuid(11, number),
    };
    let delivered = lane::Event::Delivered {
        message: id,
        attempt: 1,
        chat_id: chat_id(who),
        provider_message_id: Some((4_102_444_800_000 + number).to_string()),
        provider_request_id: Some(uuid(12, number).to_string()),
    };
    let lane = format!("lane-{}", person.connection());
    [
        to(format!("message-{id}"), 0, &[accepted], person),
        to(lane.clone(), nth * 2, &[started], person),
        to(lane, nth * 2 + 1, &[delivered], person),
    ]
}

fn to<E: Serialize>(stream: String, revision: u64, events: &[E], person: PersonId) -> Append {
    let expected = revision.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
    let metadata = serde_json::to_vec(&Metadata {
        recorded_at: WRITTEN,
        correlation_id: stream.clone(),
        causation_id: None,
        actor: "client/bench".to_owned(),
        command_id: CommandId::new(format!("bench/{revision}")),
        writer: "chancery/bench".to_owned(),
        tenant: Some(person.tenant),
        client: Some(client()),
        provider_request_id: None,
    });
    let metadata = bytes::Bytes::from(metadata.expect("metadata serializes"));
    let new = |(event, index): (&E, u64)| {
        let (name, data) = encode(event);
        let id = Uuid::new_v5(&Uuid::from_u128(0), format!("{stream}/{}", revision + index).as_bytes());
        NewEvent {
            id,
            name: name.into(),
            content_type: ContentType::Json,
            data: data.into(),
            metadata: metadata.clone(),
        }
    };
    let events = events.iter().zip(0..).map(new).collect();
    Append { stream: StreamName::new(stream), expected, events, line: None }
}

fn person(number: u64) -> PersonId {
    PersonId { tenant: TenantId(uuid(1, number % 20)), object_id: ObjectId(uuid(2, number)) }
}

fn chat_id(person: u64) -> String {
    format!("19:{}_{}@unq.gbl.spaces", uuid(2, person), uuid(13, 1))
}

fn client() -> ClientId {
    "bench".parse().expect("a client id")
}

/// As long as what was really sealed; nobody opens it.
fn sealed(key: String, length: usize) -> Sealed {
    Sealed {
        key,
        algorithm: "A256GCM".to_owned(),
        nonce: "bm9uY2Vub25jZW5v".to_owned(),
        ciphertext: "c".repeat(length),
    }
}

fn hash(kind: u64, number: u64) -> KeyedHash {
    KeyedHash(format!("lookup-1:{:032x}{:032x}", uuid(kind, number).as_u128(), number).into())
}

/// In no order, as random ones are, and the same in every run.
fn uuid(kind: u64, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::from_u128(kind.into()), &number.to_be_bytes())
}
