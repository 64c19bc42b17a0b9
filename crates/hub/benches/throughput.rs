//! Deliveries per second of a hub that starts with 20,000 accepted messages in 2,000 lanes and no limits; against a bare
//! loop that posts as many bodies with the same tokens into the same chats of the same simulator, as many at once. Both
//! take turns in one run, and share the machine with the simulator. The goal is 0.3 of it. Beside each rate stands the
//! processor time of one post, the simulator's part included, which other programs on the machine disturb less.
//!
//! Between the two stands the same loop with the least of a record: before each post an append of two events to a log of
//! their own, durable, as a delivery's are (what came of the post before, and that the next begins).
//!
//! `cargo bench -p chancery --bench throughput [-- <rounds> [<posts under way at once>]]`

mod support;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chancery::{
    clock::{Ids as _, SystemIds},
    hub::Hub,
    services::messages::{self, Asked, Draft},
};
use domain::{connection::Connection, message::Content};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use projections::due::queries;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use store::{
    ContentType, EventStore as _, Expected, NewEvent, StreamName,
    embedded::{EmbeddedStore, Options},
};
use tokio::{runtime::Runtime, task::JoinSet};

use support::{Microsoft, PATIENCE, Place, Recipient};

const PEOPLE: u32 = 2_000;
const MESSAGES: usize = 20_000;
const ROUNDS: usize = 3;
/// Posts under way at once, of the hub and of the bare loop, unless told otherwise.
const CONCURRENCY: usize = 64;
const BATCH: usize = 1_000;

/// A hub that accepts, and delivers next to nothing.
const HELD_BACK: &[(&str, &str)] = &[("DELIVERY__TENANT_PER_SECOND", "1"), ("DELIVERY__CONCURRENCY", "1")];

fn main() -> Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (rounds, concurrency) = (numbers.next().unwrap_or(ROUNDS), numbers.next().unwrap_or(CONCURRENCY));
    Runtime::new()?.block_on(run(rounds, concurrency))
}

async fn run(rounds: usize, concurrency: usize) -> Result<()> {
    let place = Place::new()?;
    let microsoft = Microsoft::start(&place.url, PEOPLE)?;
    let (hub, lifecycle) = support::start_hub(&place, &microsoft, HELD_BACK).await?;
    let http = hub.config.outbound.client(false)?;
    let begun = Instant::now();
    let people = stream::iter(&microsoft.people).map(Ok::<_, anyhow::Error>);
    people.try_for_each_concurrent(16, |person| support::sign_in(&hub, &http, person)).await?;
    println!("{PEOPLE} people signed in within {:.1} s", begun.elapsed().as_secs_f64());
    let posts: Arc<[Post]> = posts(&hub, &microsoft).await?.into();
    support::stop_hub(hub, lifecycle).await;

    // Each chat is found at its first message, which the bare loop knows from the start.
    deliver(&place, &microsoft, "first", microsoft.people.len(), concurrency).await?;
    println!("{MESSAGES} messages, {PEOPLE} lanes, {concurrency} at once");
    println!("      |        bare posts    |    recorded posts    |      deliveries      | of bare     | of");
    println!(
        "round |     per s  |  CPU µs |     per s  |  CPU µs |     per s  |  CPU µs | (goal 0.30) | recorded"
    );
    let log = Arc::new(EmbeddedStore::open(&place.path().join("recorded"), Options::default())?);
    let (mut bare, mut recorded, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let limit = post_all(&http, &microsoft, &posts, concurrency, None).await?;
        let with_record = post_all(&http, &microsoft, &posts, concurrency, Some(&log)).await?;
        let drained = deliver(&place, &microsoft, &round.to_string(), MESSAGES, concurrency).await?;
        let (of_bare, of_recorded) = (drained.rate / limit.rate, drained.rate / with_record.rate);
        println!("{round:>5} | {limit} | {with_record} | {drained} | {of_bare:>11.2} | {of_recorded:.2}");
        bare.push(limit);
        recorded.push(with_record);
        ours.push(drained);
        ratios.0.push(of_bare);
        ratios.1.push(of_recorded);
    }
    let [bare, recorded, ours] = [bare, recorded, ours].map(|rates| Rate::median(&rates));
    let (of_bare, of_recorded) = (support::percentile(ratios.0, 50), support::percentile(ratios.1, 50));
    println!("  p50 | {bare} | {recorded} | {ours} | {of_bare:>11.2} | {of_recorded:.2}");
    Ok(())
}

/// Posts per second, from the first to the last, and what all of them took of the processors.
struct Rate {
    rate: f64,
    cpu_us: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
    fn new(arrived: &[Instant], cpu: Duration) -> Result<Self> {
        let (first, last) =
            (arrived.first().context("something arrived")?, arrived.last().context("and last")?);
        let (count, rest) = (arrived.len() as f64, (arrived.len() - 1) as f64);
        Ok(Self { rate: rest / (*last - *first).as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / count })
    }

    fn median(rates: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| support::percentile(rates.iter().map(of).collect(), 50);
        Self { rate: median(|of| of.rate), cpu_us: median(|of| of.cpu_us) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.0} | {:>7.0}", self.rate, self.cpu_us)
    }
}

/// Has messages accepted beforehand, then starts a hub on them.
async fn deliver(
    place: &Place,
    microsoft: &Microsoft,
    round: &str,
    messages: usize,
    concurrency: usize,
) -> Result<Rate> {
    let (hub, lifecycle) = support::start_hub(place, microsoft, HELD_BACK).await?;
    accept(&hub, &microsoft.people, round, messages).await?;
    support::stop_hub(hub, lifecycle).await;
    let early = microsoft.arrived(0).await?.len();

    let concurrency = concurrency.to_string();
    let settings = [("DELIVERY__CONCURRENCY", concurrency.as_str())];
    let begun = processor_time()?;
    let (hub, lifecycle) = support::start_hub(place, microsoft, &settings).await?;
    let arrived = microsoft.arrived(messages - early).await?;
    until_nothing_is_due(&hub).await?;
    let cpu = processor_time()?.saturating_sub(begun);
    support::stop_hub(hub, lifecycle).await;
    ensure!(microsoft.arrived(0).await?.is_empty(), "something was posted twice");
    Rate::new(&arrived, cpu)
}

/// The outcomes of the last ones are recorded a moment after they arrived.
async fn until_nothing_is_due(hub: &Hub) -> Result<()> {
    let begun = Instant::now();
    while !queries::ready_lanes(&hub.due).await?.is_empty()
        || !queries::open_lanes(&hub.due).await?.is_empty()
    {
        ensure!(begun.elapsed() < PATIENCE, "some lanes still have messages");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn accept(hub: &Hub, people: &[Recipient], round: &str, messages: usize) -> Result<()> {
    let caller = support::caller()?;
    let draft = |number: usize| {
        let recipient = messages::Recipient::Person(people[number % people.len()].person);
        (
            format!("{round}/{number}"),
            Draft { recipient, content: Content::Text { text: text(number) }, surface: None },
        )
    };
    for first in (0..messages).step_by(BATCH) {
        let drafts: Vec<_> = (first..messages.min(first + BATCH)).map(draft).collect();
        let asked = drafts.iter().map(|(key, draft)| Asked { caller: &caller, key, draft, cause: None });
        for answer in messages::accept_many(hub, &asked.collect::<Vec<_>>()).await {
            answer?;
        }
    }
    Ok(())
}

/// What a backend of the product might say.
fn text(number: usize) -> String {
    format!("Check-in reminder {number}: how far is your key result this week? It takes a minute.")
}

/// Where a recipient's messages go, and with what.
struct Post {
    url: String,
    access: SecretString,
}

async fn posts(hub: &Hub, microsoft: &Microsoft) -> Result<Vec<Post>> {
    let mut posts = Vec::new();
    for Recipient { person, chat_id, .. } in &microsoft.people {
        let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
        let grant = connection.grant.context("everybody has signed in")?;
        let tokens = hub.custody.get_tokens(grant.id).await?.context("the vault has the tokens")?;
        let url = format!("{}/v1.0/chats/{chat_id}/messages", microsoft.url);
        posts.push(Post { url, access: tokens.value.access });
    }
    Ok(posts)
}

/// The bare loop; where there is a log, with a record of each post.
async fn post_all(
    http: &reqwest::Client,
    microsoft: &Microsoft,
    posts: &Arc<[Post]>,
    concurrency: usize,
    log: Option<&Arc<EmbeddedStore>>,
) -> Result<Rate> {
    let begun = processor_time()?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..concurrency {
        let (http, posts, next) = (http.clone(), Arc::clone(posts), Arc::clone(&next));
        let mut record = log.map(|log| Record::new(Arc::clone(log)));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= MESSAGES {
                    return anyhow::Ok(());
                }
                if let Some(record) = &mut record {
                    record.append().await?;
                }
                let Post { url, access } = &posts[number % posts.len()];
                let body = json!({ "body": { "contentType": "text", "content": text(number) } });
                let request = http.post(url).bearer_auth(access.expose_secret()).json(&body);
                request.send().await?.error_for_status()?.bytes().await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let cpu = processor_time()?.saturating_sub(begun);
    Rate::new(&microsoft.arrived(MESSAGES).await?, cpu)
}

/// A stream of events that say nothing, as long as a delivery's.
struct Record {
    log: Arc<EmbeddedStore>,
    stream: StreamName,
    last: Expected,
}

impl Record {
    fn new(log: Arc<EmbeddedStore>) -> Self {
        Self { log, stream: StreamName::new(format!("lane-{}", SystemIds.uuid())), last: Expected::NoStream }
    }

    /// Two events, durable when it returns.
    async fn append(&mut self) -> Result<()> {
        let event = || NewEvent {
            id: SystemIds.uuid(),
            name: "delivery.delivered.v1".into(),
            content_type: ContentType::Octets,
            data: vec![b'd'; 300].into(),
            metadata: vec![b'm'; 350].into(),
        };
        let appended = self.log.append(&self.stream, self.last, vec![event(), event()]).await?;
        self.last = Expected::Revision(appended.revision);
        Ok(())
    }
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
