//! Rebuilding a read model from the embedded store's file, against reading that file alone, in one run; then how long an
//! appended event takes to be in the rows. The goals: 300,000 events/s on two cores, and less than a millisecond.
//!
//! `cargo bench -p chancery-projections [-- <events>]`

use std::{
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chancery_projections::{EventRef, Projection, ReadModel, Table, Unreadable, Value, runner};
use serde::{Deserialize, Serialize};
use store::{
    Append, ContentType, EventStore, Expected, Filter, NewEvent, Position, StreamName,
    embedded::{EmbeddedStore, Options},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const EVENTS: u64 = 1_000_000;
const KEYS: u64 = 50_000;
const ROUNDS: usize = 3;
const APPENDS: usize = 500;
const PATIENCE: Duration = Duration::from_mins(1);

/// 15 fields, about 500 bytes as JSON.
#[derive(Clone, Serialize, Deserialize)]
struct Refreshed {
    tenant: Uuid,
    person: Uuid,
    grant: Uuid,
    generation: u64,
    issued_at: String,
    expires_at: String,
    scopes: Vec<String>,
    hub: Uuid,
    epoch: u64,
    attempt: u32,
    timeout_ms: u32,
    surface: String,
    request_id: String,
    trace_id: String,
    class: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    tenant: Uuid,
    generation: u64,
    expires_at: String,
    scopes: Vec<String>,
    refreshed: u64,
    revision: u64,
}

struct Tokens;

impl Projection for Tokens {
    const NAME: &'static str = "tokens.v1";
    const TABLES: &'static [Table] = &[Table {
        name: "tokens",
        columns: &["tenant TEXT NOT NULL", "expires_at TEXT NOT NULL"],
        indexes: &["(expires_at)", "(tenant, expires_at)"],
    }];
    type Key = Uuid;
    type Row = Row;
    type Event = (Uuid, u64, Refreshed);

    fn filter() -> Filter {
        Filter::categories(["token"])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Self::Event>, Unreadable> {
        let refreshed = serde_json::from_slice(event.data)
            .map_err(|error| Unreadable(format!("{:?}", error.classify())))?;
        Ok(Some((event.stream_id()?, event.revision, refreshed)))
    }

    fn keys(event: &Self::Event, keys: &mut Vec<Uuid>) {
        keys.push(event.0);
    }

    fn evolve(_key: &Uuid, row: Option<Row>, (_, revision, event): &Self::Event) -> Option<Row> {
        Some(Row {
            tenant: event.tenant,
            generation: event.generation,
            expires_at: event.expires_at.clone(),
            scopes: event.scopes.clone(),
            refreshed: row.map_or(0, |row| row.refreshed) + 1,
            revision: *revision,
        })
    }

    fn columns(_key: &Uuid, row: &Row) -> Vec<Value> {
        vec![row.tenant.to_string().into(), row.expires_at.clone().into()]
    }
}

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let runtime = Runtime::new().expect("a runtime");
    // Under the build directory, which is on a real disk where a temporary one may be in memory.
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written");
    let store = Arc::new(EmbeddedStore::open(data.path(), Options::default()).expect("a new store"));
    runtime.block_on(fill(&store, events));
    show_resident("filled");

    println!("{events} events over {KEYS} keys | events/s");
    for _ in 0..ROUNDS {
        println!("reading alone | {:>9.0}", rate(events, scan_alone(&store)));
        let begun = Instant::now();
        let report =
            runtime.block_on(runner::rebuild::<Tokens>(store.clone(), data.path())).expect("it rebuilds");
        println!("rebuilding    | {:>9.0} ({} rows)", rate(report.events, begun.elapsed()), report.rows);
    }
    show_resident("rebuilt");
    runtime.block_on(latency(store, data.path()));
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn scan_alone(store: &EmbeddedStore) -> Duration {
    let begun = Instant::now();
    let upto = Position(u64::MAX);
    let mut bytes = 0;
    store
        .scan(Position::START, upto, &Tokens::filter(), &mut |event| {
            bytes += event.data.len();
            ControlFlow::Continue(())
        })
        .expect("it can be read");
    std::hint::black_box(bytes);
    begun.elapsed()
}

/// From an append's acknowledgement until its row can be read.
async fn latency(store: Arc<EmbeddedStore>, data: &Path) {
    let (model, follower) = ReadModel::<Tokens>::open(data, store.clone()).expect("it opens");
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    let head = store.head().await.expect("the store answers");
    model.wait_for(head, PATIENCE).await.expect("it gets there");
    let mut waits = Vec::new();
    for number in 0..APPENDS as u64 {
        let Append { stream, events, .. } = refreshed(number, scatter(number));
        let appended = store.append(&stream, Expected::Any, events).await.expect("it appends");
        let begun = Instant::now();
        model.wait_for(appended.position, PATIENCE).await.expect("it gets there");
        waits.push(begun.elapsed());
    }
    show_resident("following");
    stop.cancel();
    following.await.expect("it ends").expect("it ends well");
    waits.sort_unstable();
    println!("appended to readable: median {:?}, p99 {:?}", waits[APPENDS / 2], waits[APPENDS * 99 / 100]);
}

/// Memory as Linux counts it, the store's caches included.
fn show_resident(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(resident) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) {
        println!("resident, {when}: {}", resident.trim());
    }
}

async fn fill(store: &EmbeddedStore, events: u64) {
    for first in (0..events).step_by(1_000) {
        let appends = (first..events.min(first + 1_000)).map(|number| refreshed(number, scatter(number)));
        let answers = store.append_many(appends.collect()).await;
        assert!(answers.iter().all(Result::is_ok), "the store takes them");
    }
}

/// The same in every run, in no order.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

fn refreshed(number: u64, random: u64) -> Append {
    let uuid = |salt: u64, of: u64| Uuid::from_u64_pair(scatter(of ^ salt << 32) << 20, scatter(of + salt));
    let key = random % KEYS;
    let event = Refreshed {
        tenant: uuid(1, key % 100),
        person: uuid(2, key),
        grant: uuid(3, key),
        generation: number / KEYS,
        issued_at: "2026-11-23T12:00:00.000001Z".into(),
        expires_at: format!("2026-11-23T13:{:02}:{:02}.000001Z", random / KEYS % 60, number % 60),
        scopes: ["email", "openid", "profile", "User.Read"].map(String::from).into(),
        hub: uuid(4, 1),
        epoch: 7,
        attempt: 1,
        timeout_ms: 10_000,
        surface: "graph".into(),
        request_id: uuid(5, number).to_string(),
        trace_id: uuid(6, number).to_string(),
        class: None,
    };
    let event = NewEvent {
        id: uuid(7, number),
        name: "token.refreshed.v1".into(),
        content_type: ContentType::Json,
        data: serde_json::to_vec(&event).expect("an event serializes").into(),
        metadata: serde_json::json!({ "recorded_at": "2026-11-23T12:00:00Z" }).to_string().into(),
    };
    let stream = StreamName::new(format!("token-{}", uuid(8, key)));
    Append { stream, expected: Expected::Any, events: vec![event] }
}
