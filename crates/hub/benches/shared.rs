//! Messages per second, accepted and delivered, of a hub on the embedded store; of one whose store is reached by
//! EventStoreDB's protocol, on a socket of this machine; and of two hubs that share it. The goals are 0.6 of the first for
//! the second, and 0.9 of the second for two. All share the machine with the simulator and the store. Beside each rate stands
//! the processor time of one message, all of that included, which other programs on the machine disturb less.
//!
//! `cargo bench -p chancery --bench shared [-- <rounds>]`

#[expect(dead_code, reason = "what the other benchmarks need of it")]
mod support;

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chancery::{
    hub::{Hub, open_store},
    lifecycle::Lifecycle,
    services::messages::{self, Asked, Draft},
};
use domain::message::Content;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{
    Keeping,
    eventstoredb::{EventStoreDb, Options},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use support::{Microsoft, PATIENCE, Place};

const PEOPLE: u32 = 500;
const MESSAGES: usize = 10_000;
const ROUNDS: usize = 3;
const BATCH: usize = 1_000;
const SHARDS: usize = 256;

fn main() -> Result<()> {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    Runtime::new()?.block_on(run(rounds))
}

async fn run(rounds: usize) -> Result<()> {
    println!("{MESSAGES} messages, {PEOPLE} lanes, 64 at once in each hub; messages/s");
    println!(
        "round | embedded | CPU µs | EventStoreDB | CPU µs | ratio (goal 0.60) | two hubs | CPU µs | ratio to one (goal 0.90)"
    );
    let (mut by_wire, mut two) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let embedded = measure(Way::Embedded).await?;
        let one = measure(Way::Shared { hubs: 1 }).await?;
        let two_hubs = measure(Way::Shared { hubs: 2 }).await?;
        let (wire, both) = (one.rate / embedded.rate, two_hubs.rate / one.rate);
        println!(
            "{round:>5} | {:>8.0} | {:>6.0} | {:>12.0} | {:>6.0} | {wire:>17.2} | {:>8.0} | {:>6.0} | {both:.2}",
            embedded.rate, embedded.cpu_us, one.rate, one.cpu_us, two_hubs.rate, two_hubs.cpu_us
        );
        by_wire.push(wire);
        two.push(both);
    }
    let (wire, both) = (support::percentile(by_wire, 50), support::percentile(two, 50));
    println!(
        "  p50 |          |        |              |        | {wire:>17.2} |          |        | {both:.2}"
    );
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Embedded,
    Shared { hubs: usize },
}

/// From the first message's acceptance to the last one's arrival.
struct Measured {
    /// Messages per second.
    rate: f64,
    /// Of one message.
    cpu_us: f64,
}

async fn measure(way: Way) -> Result<Measured> {
    let place = Place::new()?;
    let microsoft = Microsoft::start(&place.url, PEOPLE)?;
    let log = Arc::new(open_store(&place.path().join("log"))?);
    let stop = CancellationToken::new();
    let mut hubs: Vec<(Hub, Lifecycle)> = Vec::new();
    let count = if let Way::Shared { hubs } = way { hubs } else { 1 };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let string = format!("esdb://{}?tls=false", listener.local_addr()?);
    let serving = tokio::spawn(eventstoredb_server::serve(listener, log.clone(), stop.clone()));
    for number in 0..count {
        let store: Arc<dyn Keeping> = match way {
            Way::Embedded => log.clone(),
            Way::Shared { .. } => {
                let store = EventStoreDb::new(string.parse()?, Options::default())?;
                store.identify().await?;
                Arc::new(store)
            }
        };
        let data = place.path().join(format!("data-{number}"));
        std::fs::create_dir(&data)?;
        let data = data.to_string_lossy();
        let settings = [("DATA__DIRECTORY", &*data), ("DELIVERY__CONCURRENCY", "64")];
        let socket = TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        hubs.push(support::start_hub_on(store, socket, &place, &microsoft, &settings).await?);
    }
    let hub = hubs[0].0.clone();
    let http = hub.config.outbound.client(false)?;
    let people = stream::iter(&microsoft.people).map(Ok::<_, anyhow::Error>);
    people.try_for_each_concurrent(16, |person| support::sign_in(&hub, &http, person)).await?;
    until_divided(&hubs).await?;
    // Each chat is found at its first message.
    deliver(&hub, &microsoft, "first", microsoft.people.len()).await?;
    let measured = deliver(&hub, &microsoft, "all", MESSAGES).await?;
    drop(hub);
    for (hub, lifecycle) in hubs {
        support::stop_hub(hub, lifecycle).await;
    }
    stop.cancel();
    serving.await??;
    Ok(measured)
}

/// Each hub has its share of the shards.
async fn until_divided(hubs: &[(Hub, Lifecycle)]) -> Result<()> {
    let begun = Instant::now();
    while hubs.iter().any(|(hub, _)| hub.shards.count().abs_diff(SHARDS / hubs.len()) > 1) {
        ensure!(begun.elapsed() < PATIENCE, "the shards are not divided");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
async fn deliver(hub: &Hub, microsoft: &Microsoft, round: &str, count: usize) -> Result<Measured> {
    let caller = support::caller()?;
    let draft = |number: usize| {
        let recipient = messages::Recipient::Person(microsoft.people[number % microsoft.people.len()].person);
        let text = format!("Check-in reminder {number}: how far is your key result this week?");
        (format!("{round}/{number}"), Draft { recipient, content: Content::Text { text }, surface: None })
    };
    let (begun, cpu) = (Instant::now(), processor_time()?);
    for first in (0..count).step_by(BATCH) {
        let drafts: Vec<_> = (first..count.min(first + BATCH)).map(draft).collect();
        let asked = drafts.iter().map(|(key, draft)| Asked { caller: &caller, key, draft, cause: None });
        for answer in messages::accept_many(hub, &asked.collect::<Vec<_>>()).await {
            answer?;
        }
    }
    let arrived = microsoft.arrived(count).await?;
    let last = arrived.last().map_or(Duration::ZERO, |last| *last - begun);
    let cpu = processor_time()?.saturating_sub(cpu);
    Ok(Measured { rate: count as f64 / last.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / count as f64 })
}

/// What this process has had of the processors so far.
fn processor_time() -> Result<Duration> {
    /// What Linux counts in, whatever the kernel itself ticks in.
    const TICKS_PER_SECOND: u32 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name ends at the last parenthesis; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').context("there is a name")?.1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_secs(ticks) / TICKS_PER_SECOND)
}
