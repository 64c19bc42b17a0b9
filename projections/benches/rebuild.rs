//! Rebuilding the real `connections` from the embedded store's file until the new read model is in use, against the limit
//! of the same run: reading and decoding those events on two threads, without keeping anything. Then how long an appended
//! event takes to be in the rows. The goals: 300,000 events/s on two cores, and less than a millisecond.
//!
//! `cargo bench -p chancery-projections [-- <events>]`

use std::{
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chancery_projections::{EventRef, Projection, ReadModel, connections::Connections, runner};
use domain::{
    CommandId, HubId, Metadata, ObjectId, PersonId, Sealed, SignInId, TenantId, Timestamp,
    aggregate::encode,
    connection::{Connection, Event},
};
use store::{
    Append, ContentType, EventStore, Expected, NewEvent, Position, StreamName,
    embedded::{EmbeddedStore, Options},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const EVENTS: u64 = 1_000_000;
const CONNECTIONS: u64 = 50_000;
const ROUNDS: usize = 3;
const APPENDS: u64 = 500;
const PATIENCE: Duration = Duration::from_mins(1);
/// 2026-11-23T12:00:00Z.
const NOON: Timestamp = Timestamp::from_micros(1_795_435_200_000_000);

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let runtime = Runtime::new().expect("a runtime");
    // Under the build directory, which is on a real disk where a temporary one may be in memory.
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written");
    let store = Arc::new(EmbeddedStore::open(data.path(), Options::default()).expect("a new store"));
    let bytes = runtime.block_on(fill(&store, events));
    println!("{events} events of {} bytes over {CONNECTIONS} connections | events/s", bytes / events);
    show_resident("filled");
    for _ in 0..ROUNDS {
        let limit = rate(events, decode_alone(&store, events));
        let begun = Instant::now();
        let rebuilding = runner::rebuild::<Connections>(store.clone(), data.path());
        let report = runtime.block_on(rebuilding).expect("it rebuilds");
        let rebuilt = rate(report.events, begun.elapsed());
        println!("reading and decoding alone | {limit:>9.0}");
        println!(
            "rebuilding                 | {rebuilt:>9.0} ({} rows, {:.2} of the limit)",
            report.rows,
            rebuilt / limit
        );
    }
    show_resident("rebuilt");
    runtime.block_on(latency(store, data.path(), events));
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Each of two threads reads and decodes one half of the log.
fn decode_alone(store: &EmbeddedStore, events: u64) -> Duration {
    let begun = Instant::now();
    let half = |after: u64, upto: u64| {
        let mut decoded = 0;
        let read = store.scan(Position(after), Position(upto), &Connections::filter(), &mut |event| {
            decoded += u64::from(Connections::read(EventRef(event)).expect("it can be read").is_some());
            ControlFlow::Continue(())
        });
        read.expect("it can be read");
        decoded
    };
    let middle = events / 2;
    let decoded = thread::scope(|scope| {
        let first = scope.spawn(move || half(0, middle));
        half(middle, events) + first.join().expect("it ends well")
    });
    assert_eq!(decoded, events);
    begun.elapsed()
}

/// From an append's acknowledgement until its row can be read.
async fn latency(store: Arc<EmbeddedStore>, data: &Path, events: u64) {
    let (model, follower) = ReadModel::<Connections>::open(data, store.clone()).expect("it opens");
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    let head = store.head().await.expect("the store answers");
    model.wait_for(head, PATIENCE).await.expect("it gets there");
    let mut waits = Vec::new();
    for number in events..events + APPENDS {
        let Append { stream, events, .. } = append(number, scatter(number) % CONNECTIONS, 3 + number % 3);
        let appended = store.append(&stream, Expected::Any, events).await.expect("it appends");
        let begun = Instant::now();
        model.wait_for(appended.position, PATIENCE).await.expect("it gets there");
        waits.push(begun.elapsed());
    }
    show_resident("following");
    stop.cancel();
    following.await.expect("it ends").expect("it ends well");
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    println!("appended to readable: median {:?}, p99 {p99:?}", waits[waits.len() / 2]);
}

/// Memory as Linux counts it, the store's caches included.
fn show_resident(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(resident) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) {
        println!("resident, {when}: {}", resident.trim());
    }
}

/// Each connection's events in order, the connections in none. Answers how many bytes of data and metadata there are.
async fn fill(store: &EmbeddedStore, events: u64) -> u64 {
    let mut counts = vec![0; usize::try_from(CONNECTIONS).expect("it is small")];
    let mut bytes = 0;
    for first in (0..events).step_by(1_000) {
        let page = (first..events.min(first + 1_000)).map(|number| {
            let connection = scatter(number) % CONNECTIONS;
            let count: &mut u64 = &mut counts[usize::try_from(connection).expect("it is small")];
            *count += 1;
            append(number, connection, *count - 1)
        });
        let appends: Vec<_> = page.collect();
        let of_all = appends.iter().flat_map(|append| &append.events);
        bytes += of_all.map(|event| (event.data.len() + event.metadata.len()) as u64).sum::<u64>();
        let answers = store.append_many(appends).await;
        assert!(answers.iter().all(Result::is_ok), "the store takes them");
    }
    bytes
}

/// The same in every run, in no order.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

fn uuid(salt: u64, of: u64) -> Uuid {
    Uuid::from_u64_pair(scatter(of ^ salt << 32) << 20, scatter(of + salt))
}

/// The life of a connection: linked, issued, and then by turns claimed, refreshed and expired.
fn event(person: PersonId, connection: u64, count: u64) -> Event {
    let grant = SignInId(uuid(3, connection));
    let generation = count / 3 + 1;
    let expires_at = NOON + Duration::from_secs(3_600 * generation);
    let scopes = || {
        let scopes =
            ["email", "offline_access", "openid", "profile", "User.Read", "Chat.Create", "ChatMessage.Send"];
        scopes.map(String::from).to_vec()
    };
    match (count, count % 3) {
        (0, _) => {
            Event::Linked { person, person_key: uuid(9, connection), profile: sealed(), sign_in: grant }
        }
        (1, _) => Event::TokenIssued { grant, grant_number: 1, generation: 1, scopes: scopes(), expires_at },
        (_, 2) => Event::TokenExpired { grant, generation, expired_at: expires_at },
        (_, 0) => {
            let hub = HubId(uuid(4, 1));
            Event::RefreshStarted { grant, generation, claim: generation - 1, hub, timeout_ms: 10_000 }
        }
        _ => Event::TokenRefreshed { grant, generation, claim: generation - 1, scopes: scopes(), expires_at },
    }
}

fn sealed() -> Sealed {
    let ciphertext = "Zx4J0cQ7mB1nV5tRk2yWq8uLpDhSgFaEoXiNvCwTzUbYjMsKlOrPdGfHeAI".repeat(2);
    let (key, nonce) = (format!("person/{}", Uuid::from_u128(1)), "b1N5kTq0Xy7LmZ2c".to_owned());
    Sealed { key, algorithm: "A256GCM".to_owned(), nonce, ciphertext }
}

fn append(number: u64, connection: u64, count: u64) -> Append {
    let person =
        PersonId { tenant: TenantId(uuid(1, connection % 100)), object_id: ObjectId(uuid(2, connection)) };
    let (name, data) = encode(&event(person, connection, count));
    let metadata = Metadata {
        recorded_at: NOON + Duration::from_micros(number * 997),
        correlation_id: uuid(5, number).to_string(),
        causation_id: None,
        actor: "hub/tokens".to_owned(),
        command_id: CommandId::new(format!("refresh/{}/{count}", uuid(6, number))),
        writer: "chancery/0.1.0".to_owned(),
        tenant: Some(person.tenant),
        client: None,
        provider_request_id: Some(uuid(8, number).to_string()),
    };
    let event = NewEvent {
        id: uuid(7, number),
        name: name.into(),
        content_type: ContentType::Json,
        data: data.into(),
        metadata: serde_json::to_vec(&metadata).expect("metadata serializes").into(),
    };
    let category = <Connection as domain::Aggregate>::CATEGORY;
    let stream = StreamName::new(format!("{category}-{}", person.connection()));
    Append { stream, expected: Expected::Any, events: vec![event], line: None }
}
