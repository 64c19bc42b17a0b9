//! Durable appends of one event each, against a bare writer thread that does the same without knowing anything: same
//! rows, same channel, same groups, same disk, taking turns in one run. The goal is 0.8 of it.

mod support;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chancery_store::{
    EventStore, Expected, NewEvent, StreamName,
    embedded::{EmbeddedStore, Options},
};
use rusqlite::{Connection, params};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(800);

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    println!("producers | store ev/s | bare ev/s | ratio (goal 0.80)");
    for producers in [1, 64, 1024] {
        let (store_dir, bare_dir) = (support::directory(), support::directory());
        let store = Arc::new(EmbeddedStore::open(store_dir.path(), Options::default()).expect("a new store"));
        let bare = open_bare(bare_dir.path());
        let (mut store_rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let streams =
                (0..producers).map(|producer| support::stream_name((round as u64) << 32 | producer));
            let streams: Vec<StreamName> = streams.map(StreamName::new).collect();
            let store = Arc::clone(&store);
            let to_store = runtime.block_on(measure(streams.clone(), move |stream, revision, event| {
                let store = Arc::clone(&store);
                async move {
                    let expected = revision.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
                    store.append(&stream, expected, vec![event]).await.expect("it is appended").position.0
                }
            }));
            let bare = bare.clone();
            let to_bare = runtime.block_on(measure(streams, move |stream, revision, event| {
                let jobs = bare.clone();
                async move {
                    let (answer, answers) = oneshot::channel();
                    jobs.send(BareJob { stream, revision, event, answer }).await.expect("it is taken");
                    answers.await.expect("it is written")
                }
            }));
            ratios.push(to_store / to_bare);
            store_rates.push(to_store);
            bare_rates.push(to_bare);
        }
        println!(
            "{producers:>9} | {:>10.0} | {:>9.0} | {:.2}",
            support::median(store_rates),
            support::median(bare_rates),
            support::median(ratios)
        );
    }
}

/// Events per second when each stream has one producer that waits for each answer.
async fn measure<A: Future<Output = u64> + Send + 'static>(
    streams: Vec<StreamName>,
    append: impl Fn(StreamName, u64, NewEvent) -> A + Clone + Send + 'static,
) -> f64 {
    let begun = Instant::now();
    let mut producers = JoinSet::new();
    for stream in streams {
        let append = append.clone();
        producers.spawn(async move {
            let mut revision = 0;
            let mut position = 0;
            while begun.elapsed() < ROUND {
                position = append(stream.clone(), revision, support::event(position << 10 | revision)).await;
                revision += 1;
            }
            revision
        });
    }
    let appended = producers.join_all().await.into_iter().sum();
    support::rate(appended, begun.elapsed())
}

#[derive(Debug)]
struct BareJob {
    stream: StreamName,
    revision: u64,
    event: NewEvent,
    answer: oneshot::Sender<u64>,
}

/// As little as can be done for the same rows.
fn open_bare(dir: &Path) -> mpsc::Sender<BareJob> {
    let connection = Connection::open(dir.join("bare.sqlite")).expect("a new file");
    connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
                 PRAGMA cache_size = -8192;
                 CREATE TABLE events (
                     position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, id BLOB NOT NULL,
                     name TEXT NOT NULL, content_type INTEGER NOT NULL, created_us INTEGER NOT NULL,
                     data BLOB NOT NULL, metadata BLOB NOT NULL) STRICT;
                 CREATE UNIQUE INDEX events_by_stream ON events (stream, revision);",
            )
            .expect("the tables are made");
    let (jobs, mut waiting) = mpsc::channel(1024);
    std::thread::spawn(move || {
        let mut position = 0;
        let mut group = Vec::with_capacity(1024);
        while waiting.blocking_recv_many(&mut group, 1024) > 0 {
            write(&connection, &mut group, &mut position).expect("the group is written");
        }
    });
    jobs
}

fn write(connection: &Connection, group: &mut Vec<BareJob>, position: &mut u64) -> rusqlite::Result<()> {
    let mut answers = Vec::with_capacity(group.len());
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut insert =
        connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    for BareJob { stream, revision, event, answer } in group.drain(..) {
        *position += 1;
        insert.execute(params![
            position.cast_signed(),
            stream.as_str(),
            revision.cast_signed(),
            event.id.as_bytes(),
            event.name,
            0,
            1_700_000_000_000_000_i64,
            &event.data[..],
            &event.metadata[..],
        ])?;
        answers.push((answer, *position));
    }
    connection.execute_batch("COMMIT")?;
    for (answer, position) in answers {
        let _ = answer.send(position);
    }
    Ok(())
}
