//! Reading the whole log through the trait, against a bare `SELECT` of the same columns of the same file, taking turns
//! in one run. The goal is 0.6 of it.

mod support;

use std::{
    hint::black_box,
    ops::ControlFlow,
    path::Path,
    time::{Duration, Instant},
};

use chancery_store::{
    Append, EventStore, Expected, Filter, Position, StreamName,
    embedded::{EmbeddedStore, Options},
};
use rusqlite::Connection;
use tokio::runtime::Runtime;

const EVENTS: u64 = 300_000;
const STREAMS: u64 = 30_000;
const ROUNDS: usize = 7;
const PAGE: usize = 1024;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let dir = support::directory();
    runtime.block_on(fill(dir.path()));

    let begun = Instant::now();
    let store = EmbeddedStore::open(dir.path(), Options::default()).expect("the store that was filled");
    println!("{EVENTS} events, opened in {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);

    let (mut bare, mut scan, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(support::rate(EVENTS, select(dir.path())));
        scan.push(support::rate(EVENTS, scan_whole(&store)));
        pages.push(support::rate(EVENTS, runtime.block_on(read_pages(&store))));
    }
    let bare = support::median(bare);
    println!("way         |      ev/s | ratio (goal 0.60)");
    println!("bare SELECT | {bare:>9.0} | 1.00");
    for (way, rates) in [("scan", scan), ("read_all", pages)] {
        let rate = support::median(rates);
        println!("{way:<11} | {rate:>9.0} | {:.2}", rate / bare);
    }
}

async fn fill(dir: &Path) {
    let store = EmbeddedStore::open(dir, Options::default()).expect("a new store");
    for first in (0..EVENTS).step_by(1000) {
        let appends = (first..first + 1000).map(|number| {
            let stream = StreamName::new(support::stream_name(number % STREAMS));
            let revision = number / STREAMS;
            let expected = revision.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
            Append { stream, expected, events: vec![support::event(number)], line: None }
        });
        assert!(store.append_many(appends.collect()).await.iter().all(Result::is_ok));
    }
}

fn select(dir: &Path) -> Duration {
    let connection = Connection::open(dir.join("log.sqlite")).expect("the store's file");
    let query =
        "SELECT position, stream, revision, id, name, content_type, created_us, data, metadata FROM events";
    let mut statement = connection.prepare(query).expect("the columns are there");
    let begun = Instant::now();
    let mut rows = statement.query(()).expect("it can be read");
    let mut count = 0;
    while let Some(row) = rows.next().expect("it can be read") {
        for column in 0..9 {
            black_box(row.get_ref(column).expect("the column is there"));
        }
        count += 1;
    }
    assert_eq!(count, EVENTS);
    begun.elapsed()
}

fn scan_whole(store: &EmbeddedStore) -> Duration {
    let begun = Instant::now();
    let mut count = 0;
    let reached = store.scan(Position::START, Position(u64::MAX), &Filter::all(), &mut |event| {
        black_box(event);
        count += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((reached.expect("it can be read"), count), (Position(EVENTS), EVENTS));
    begun.elapsed()
}

async fn read_pages(store: &EmbeddedStore) -> Duration {
    let begun = Instant::now();
    let (mut after, mut count) = (Position::START, 0);
    loop {
        let page = store.read_all(after, &Filter::all(), PAGE).await.expect("it can be read");
        after = page.upto;
        count += black_box(&page.events).len() as u64;
        if page.at_head {
            assert_eq!(count, EVENTS);
            return begun.elapsed();
        }
    }
}
