//! The store by the adapter, over the wire to a server in the same process, against the same called directly, taking
//! turns in one run: durable appends of one event each, and the whole log read and followed against a bare stream of
//! tonic's of the same messages. Beside the rates of appends stands the processor time of one, which other programs on the
//! machine disturb less.

mod bare;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use chancery_eventstoredb_server::serve;
use futures_util::StreamExt;
use store::{
    Append, ContentType, EventStore, Expected, Filter, NewEvent, Position, StreamName,
    embedded::{self, EmbeddedStore},
    eventstoredb::{self, EventStoreDb},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const ROUNDS: u64 = 7;
const ROUND: Duration = Duration::from_millis(800);
/// In the log that is read.
const EVENTS: u64 = 100_000;
const PAGE: usize = 1024;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        appends().await;
        reads().await;
    });
}

async fn appends() {
    println!(
        "in flight | direct ev/s | CPU µs | served ev/s | CPU µs | ratio (goal 0.60) | direct ms | served ms"
    );
    for in_flight in [1, 64, 1024] {
        let (direct, served) = (Served::new().await, Served::new().await);
        let (mut direct_rates, mut served_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let to_direct = append(direct.store.clone(), in_flight, round).await;
            let to_served = append(served.adapter(), in_flight, round).await;
            ratios.push(to_served.rate / to_direct.rate);
            direct_rates.push(to_direct);
            served_rates.push(to_served);
        }
        let cpu_us = |rates: &[Appended]| median(rates.iter().map(|appended| appended.cpu_us).collect());
        let (direct_us, served_us) = (cpu_us(&direct_rates), cpu_us(&served_rates));
        let rate = |rates: Vec<Appended>| median(rates.into_iter().map(|appended| appended.rate).collect());
        let (direct, served) = (rate(direct_rates), rate(served_rates));
        let each_ms = |rate: f64| 1000.0 * rate_of(in_flight) / rate;
        println!(
            "{in_flight:>9} | {direct:>11.0} | {direct_us:>6.1} | {served:>11.0} | {served_us:>6.1} | {:>17.2} | {:>9.2} | {:>9.2}",
            median(ratios),
            each_ms(direct),
            each_ms(served)
        );
    }
}

struct Appended {
    /// Events per second.
    rate: f64,
    /// Of one event.
    cpu_us: f64,
}

/// Each stream has one writer that waits for each answer.
async fn append(store: Arc<dyn EventStore>, in_flight: u64, round: u64) -> Appended {
    let (begun, cpu) = (Instant::now(), processor_time());
    let mut writers = JoinSet::new();
    for writer in 0..in_flight {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let stream = StreamName::new(format!("lane-{round}.{writer}"));
            let mut revision = 0_u64;
            while begun.elapsed() < ROUND {
                let expected = revision.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
                let number = round << 48 | writer << 32 | revision;
                store.append(&stream, expected, vec![event(number)]).await.expect("it is appended");
                revision += 1;
            }
            revision
        });
    }
    let appended = rate_of(writers.join_all().await.into_iter().sum());
    let cpu = processor_time().saturating_sub(cpu);
    Appended { rate: appended / begun.elapsed().as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / appended }
}

async fn reads() {
    let served = Served::new().await;
    fill(&served.store).await;
    let page = served.store.read_all(Position::START, &Filter::all(), usize::MAX).await.expect("it is read");
    let bare = bare::serve(page.events).await;
    let store = served.adapter();
    let (mut limit, mut read, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit.push(timed(bare::read(bare)).await);
        read.push(timed(read_pages(&*store)).await);
        followed.push(timed(follow(&*store)).await);
    }
    let limit = median(limit);
    println!("\nway             |      ev/s | ratio (goal 0.50)");
    println!("bare stream     | {limit:>9.0} | 1.00");
    for (way, rates) in [("$all by pages", read), ("catching up", followed)] {
        let rate = median(rates);
        println!("{way:<15} | {rate:>9.0} | {:.2}", rate / limit);
    }
}

/// Events per second.
async fn timed(reading: impl Future<Output = u64>) -> f64 {
    let begun = Instant::now();
    let count = reading.await;
    rate_of(count) / begun.elapsed().as_secs_f64()
}

async fn read_pages(store: &dyn EventStore) -> u64 {
    let (mut after, mut count) = (Position::START, 0);
    loop {
        let page = store.read_all(after, &Filter::all(), PAGE).await.expect("it is read");
        after = page.upto;
        count += page.events.len() as u64;
        if page.at_head {
            return count;
        }
    }
}

async fn follow(store: &dyn EventStore) -> u64 {
    let mut pages = store.follow(Position::START, Filter::all());
    let mut count = 0;
    while count < EVENTS {
        count += pages.next().await.expect("it goes on").expect("it is followed").events.len() as u64;
    }
    count
}

async fn fill(store: &EmbeddedStore) {
    for first in (0..EVENTS).step_by(1000) {
        let append = |number| Append {
            stream: StreamName::new(format!("lane-{number}")),
            expected: Expected::NoStream,
            events: vec![event(number)],
            line: None,
        };
        let answers = store.append_many((first..first + 1000).map(append).collect()).await;
        assert!(answers.iter().all(Result::is_ok));
    }
}

struct Served {
    store: Arc<EmbeddedStore>,
    address: SocketAddr,
    _directory: TempDir,
}

impl Served {
    async fn new() -> Self {
        // Under the build directory, which is on a real disk where a temporary one may be in memory.
        let directory =
            TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written");
        let store = EmbeddedStore::open(directory.path(), embedded::Options::default()).expect("a new store");
        let store = Arc::new(store);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, store.clone(), CancellationToken::new()));
        Self { store, address, _directory: directory }
    }

    fn adapter(&self) -> Arc<dyn EventStore> {
        let string = format!("esdb://{}?tls=false", self.address).parse().expect("a connection string");
        Arc::new(EventStoreDb::new(string, eventstoredb::Options::default()).expect("a client"))
    }
}

/// About 500 bytes, with the names and the metadata that the hub writes.
fn event(number: u64) -> NewEvent {
    // Scattered as random ids are, and the same in every run. The adapter's client takes JSON only if it is some.
    let id = Uuid::from_u128(u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    NewEvent {
        id,
        name: "lane.delivery-started.v1".into(),
        content_type: ContentType::Json,
        data: format!("\"{}\"", "d".repeat(298)).into(),
        metadata: format!("\"{}\"", "m".repeat(198)).into(),
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn rate_of(count: u64) -> f64 {
    count as f64
}

/// What this process has had of the processors so far.
fn processor_time() -> Duration {
    /// What Linux counts in, whatever the kernel itself ticks in.
    const TICKS_PER_SECOND: u32 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The program's name ends at the last parenthesis; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').expect("there is a name").1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a count")).sum();
    Duration::from_secs(ticks) / TICKS_PER_SECOND
}
