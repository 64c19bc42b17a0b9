//! The part of the contract that concerns reading, scanning and following.

use std::{ops::ControlFlow, sync::Arc};

use futures_util::{StreamExt, future::join_all, stream::BoxStream};

use super::{Store, events, fresh, fresh_category, ids, read_on, whole};
use crate::{Direction, Expected, Filter, Page, Position, Recorded, StoreError, StreamName};

pub async fn a_stream_is_read_both_ways_from_anywhere(store: Store) {
    let stream = fresh("read");
    store.append(&stream, Expected::NoStream, events(5)).await.unwrap();
    let read = async |stream: &StreamName, direction, from, limit| -> Vec<u64> {
        let events = store.read_stream(stream, direction, from, limit).await.unwrap();
        events.iter().map(|event| event.revision).collect()
    };

    assert_eq!(read(&stream, Direction::Forward, 0, 9).await, [0, 1, 2, 3, 4]);
    assert_eq!(read(&stream, Direction::Forward, 1, 2).await, [1, 2]);
    assert_eq!(read(&stream, Direction::Forward, 5, 9).await, [0; 0]);
    assert_eq!(read(&stream, Direction::Backward, u64::MAX, 2).await, [4, 3]);
    assert_eq!(read(&stream, Direction::Backward, 2, 9).await, [2, 1, 0]);
    assert_eq!(read(&stream, Direction::Forward, 0, 0).await, [0; 0]);
    assert_eq!(read(&fresh("absent"), Direction::Forward, 0, 9).await, [0; 0]);
    assert_eq!(read(&fresh("absent"), Direction::Backward, u64::MAX, 9).await, [0; 0]);
}

pub async fn the_log_is_read_in_pages(store: Store) {
    let category = fresh_category("paged");
    let filter = Filter::categories([&*category]);
    let before = store.head().await.unwrap();
    for number in 0..3 {
        let stream = StreamName::new(format!("{category}-{number}"));
        store.append(&stream, Expected::NoStream, events(4)).await.unwrap();
    }

    let first = store.read_all(before, &filter, 5).await.unwrap();
    assert_eq!(first.events.len(), 5);
    assert!(!first.at_head);
    assert_eq!(first.upto, first.events[4].position);
    let rest = read_on(&store, first.upto, &filter).await;
    assert_eq!(rest.len(), 7);
    assert!(first.events.iter().chain(&rest).is_sorted_by(|a, b| a.position < b.position));

    let head = store.head().await.unwrap();
    assert!(read_on(&store, head, &filter).await.is_empty());
}

pub async fn what_is_found_at_a_position_stands_there(store: Store) {
    let category = fresh_category("placed");
    let before = store.head().await.unwrap();
    let stream = StreamName::new(format!("{category}-1"));
    store.append(&stream, Expected::NoStream, events(3)).await.unwrap();
    let written = read_on(&store, before, &Filter::categories([&*category])).await;
    // In whatever order they are asked for, with one asked for twice, and one that nobody wrote.
    let asked = [2, 0, 2].map(|index: usize| written[index].clone());
    let positions: Vec<_> = asked.iter().map(|event| event.position).chain([Position(u64::MAX)]).collect();
    let found = store.read_at(&positions).await.unwrap();
    assert_eq!(found.len(), 4);
    assert!(found[3].is_none());
    for (found, asked) in found.iter().zip(&asked) {
        let what = |event: &Recorded| (event.id, event.position, event.revision, event.stream.clone());
        let same = |found: &Recorded| what(found) == what(asked) && found.data == asked.data;
        // Only where nobody else writes must it be found; elsewhere it may be.
        assert!(found.as_ref().map_or(!store.is_ours_alone(), same));
    }
}

pub async fn prefixes_choose_streams(store: Store) {
    let before = store.head().await.unwrap();
    let category = fresh_category("lane");
    // The last one is another category whose name begins alike.
    let names = [
        format!("{category}-a"),
        format!("{category}-b"),
        format!("x{category}-a"),
        format!("{category}s-a"),
    ];
    for name in &names {
        store.append(&StreamName::new(&**name), Expected::NoStream, events(1)).await.unwrap();
    }
    let read = async |prefixes: &[&str]| -> Vec<String> {
        let filter = Filter { stream_prefixes: prefixes.iter().map(|&prefix| prefix.into()).collect() };
        let log = read_on(&store, before, &filter).await;
        log.iter().map(|event| event.stream.to_string()).collect()
    };

    assert_eq!(read(&[&format!("{category}-")]).await, names[..2]);
    assert_eq!(read(&[&names[1], &names[2]]).await, names[1..3]);
    assert_eq!(read(&[&format!("{category}-c")]).await, names[..0]);
    let all = read(&[]).await;
    assert!(names.iter().all(|name| all.contains(name)));
}

pub async fn system_streams_are_read_when_asked_for(store: Store) {
    let before = store.head().await.unwrap();
    let plain = fresh("described");
    let system = StreamName::new(format!("$${plain}"));
    store.append(&plain, Expected::NoStream, events(1)).await.unwrap();
    store.append(&system, Expected::NoStream, events(1)).await.unwrap();
    let has = async |filter: Filter, stream: &StreamName| {
        read_on(&store, before, &filter).await.iter().any(|event| event.stream == *stream)
    };
    let everything = Filter { stream_prefixes: vec!["".into()] };

    assert!(has(Filter::all(), &plain).await && !has(Filter::all(), &system).await);
    assert!(has(everything.clone(), &plain).await && has(everything, &system).await);
    assert!(has(Filter { stream_prefixes: vec!["$$".into()] }, &system).await);
    assert_eq!(whole(&store, &system).await.len(), 1);
}

pub async fn a_scan_sees_what_reading_sees(store: Store) {
    let category = fresh_category("scanned");
    let filter = Filter::categories([&*category]);
    let before = store.head().await.unwrap();
    for number in 0..4 {
        let stream = StreamName::new(format!("{category}-{number}"));
        store.append(&stream, Expected::NoStream, events(3)).await.unwrap();
    }
    let log = read_on(&store, before, &filter).await;
    let scan = async |upto: Position, most: usize| {
        let (store, filter) = (Arc::clone(&store), filter.clone());
        let scan = move || {
            let mut seen = Vec::new();
            let reached = store.scan(before, upto, &filter, &mut |event| {
                seen.push(event.to_recorded());
                if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (seen, reached.unwrap())
        };
        tokio::task::spawn_blocking(scan).await.unwrap()
    };

    let (seen, reached) = scan(log[11].position, usize::MAX).await;
    assert_eq!(ids(&seen), ids(&log));
    assert_eq!((&seen[7].data, &seen[7].metadata), (&log[7].data, &log[7].metadata));
    assert_eq!(reached, log[11].position);
    let (seen, reached) = scan(log[6].position, usize::MAX).await;
    assert_eq!((ids(&seen), reached), (ids(&log[..7]), log[6].position));
    let (seen, reached) = scan(Position(u64::MAX), 5).await;
    assert_eq!((ids(&seen), reached), (ids(&log[..5]), log[4].position));
}

pub async fn following_says_at_once_that_it_is_at_the_head(store: Store) {
    let category = fresh_category("quiet");
    let head = store.head().await.unwrap();
    let mut pages = store.follow(head, Filter::categories([&*category]));

    let seen = until_head(&mut pages).await;
    assert!(seen.is_empty());
}

pub async fn following_catches_up_and_goes_on(store: Store) {
    let category = fresh_category("followed");
    let stream = StreamName::new(format!("{category}-1"));
    let before = store.head().await.unwrap();
    store.append(&stream, Expected::NoStream, events(3)).await.unwrap();
    let mut pages = store.follow(before, Filter::categories([&*category]));
    assert_eq!(until_head(&mut pages).await, [0, 1, 2]);

    for revision in 2..5 {
        store.append(&stream, Expected::Revision(revision), events(1)).await.unwrap();
        let events = next_events(&mut pages).await;
        assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [revision + 1]);
        until_head(&mut pages).await;
    }
}

pub async fn following_passes_over_what_it_was_not_asked_for(store: Store) {
    let wanted = fresh("wanted");
    let before = store.head().await.unwrap();
    let mut pages = store.follow(before, Filter::categories([wanted.category()]));
    until_head(&mut pages).await;

    let passed = store.append(&fresh("unwanted"), Expected::NoStream, events(3)).await.unwrap();
    let mut upto = before;
    while upto < passed.position {
        let page = pages.next().await.unwrap().unwrap();
        assert!(page.events.is_empty());
        assert!(page.upto > upto || page.at_head);
        upto = upto.max(page.upto);
    }
    store.append(&wanted, Expected::NoStream, events(1)).await.unwrap();
    assert_eq!(next_events(&mut pages).await.len(), 1);
}

pub async fn following_misses_and_repeats_nothing_while_many_write(store: Store) {
    const WRITERS: usize = 8;
    const APPENDS: u64 = 40;
    let category = fresh_category("busy");
    let filter = Filter::categories([&*category]);
    let before = store.head().await.unwrap();
    let followers: Vec<_> = (0..3).map(|_| store.follow(before, filter.clone())).collect();
    let writers = (0..WRITERS).map(|writer| {
        let (store, stream) = (Arc::clone(&store), StreamName::new(format!("{category}-{writer}")));
        tokio::spawn(async move {
            for append in 0..APPENDS {
                let expected = (append * 2).checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
                store.append(&stream, expected, events(2)).await.unwrap();
            }
        })
    });
    let writing = tokio::spawn(join_all(writers.collect::<Vec<_>>()));
    let total = WRITERS * usize::try_from(APPENDS).unwrap() * 2;
    let followed = join_all(followers.into_iter().map(async |mut pages| {
        let mut seen: Vec<Recorded> = Vec::new();
        while seen.len() < total {
            seen.extend(next_events(&mut pages).await);
        }
        seen
    }))
    .await;
    writing.await.unwrap().into_iter().for_each(Result::unwrap);

    let log = read_on(&store, before, &filter).await;
    assert_eq!(log.len(), total);
    assert!(log.is_sorted_by(|a, b| a.position < b.position));
    for seen in followed {
        assert_eq!(ids(&seen), ids(&log));
    }
}

/// The revisions on the pages up to the empty one that says that the head was reached.
async fn until_head(pages: &mut BoxStream<'static, Result<Page, StoreError>>) -> Vec<u64> {
    let mut revisions = Vec::new();
    loop {
        let page = pages.next().await.expect("following does not end").unwrap();
        if page.events.is_empty() && page.at_head {
            return revisions;
        }
        revisions.extend(page.events.iter().map(|event| event.revision));
    }
}

/// The next page with anything on it.
async fn next_events(pages: &mut BoxStream<'static, Result<Page, StoreError>>) -> Vec<Recorded> {
    loop {
        let page = pages.next().await.expect("following does not end").unwrap();
        if !page.events.is_empty() {
            return page.events;
        }
    }
}
