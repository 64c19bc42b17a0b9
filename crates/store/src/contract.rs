//! What every backend must do, as tests that run against any of them.
//!
//! A backend's tests say `contract_suite!(open)`, where `open` is an async function that answers with the store as
//! `Arc<dyn EventStore>` and whatever must be kept alive beside it. The store may have other events in it: each test
//! uses categories of its own.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream::BoxStream};
use uuid::Uuid;

use crate::{
    APPEND_BYTES_MAX, Append, Appended, ContentType, Direction, EventStore, Expected, Filter, NewEvent, Page,
    Position, Recorded, StoreError, StreamName,
};

type Store = Arc<dyn EventStore>;

/// Makes a test of each function of this module.
#[macro_export]
macro_rules! contract_suite {
    ($open:path) => {
        $crate::contract_suite! { $open:
            revisions_count_from_zero_and_positions_rise,
            what_was_given_is_read_back,
            a_wrong_expectation_conflicts_and_says_where_the_stream_is,
            any_and_stream_exists_append_at_the_end,
            repeating_an_append_answers_as_the_first_time,
            repeating_an_append_in_part_conflicts,
            repeating_without_an_expectation_records_nothing_twice,
            one_id_may_stand_in_two_streams,
            a_refused_append_leaves_nothing,
            an_append_stands_together_among_others,
            appends_of_one_call_stand_or_fail_alone_and_in_order,
            many_writers_of_one_stream_never_share_a_revision,
            a_stream_is_read_both_ways_from_anywhere,
            the_log_is_read_in_pages,
            prefixes_choose_streams,
            system_streams_are_read_when_asked_for,
            a_scan_sees_what_reading_sees,
            following_says_at_once_that_it_is_at_the_head,
            following_catches_up_and_goes_on,
            following_passes_over_what_it_was_not_asked_for,
            following_misses_and_repeats_nothing_while_many_write,
        }
    };
    ($open:path: $($test:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let (store, _keep) = $open().await;
            $crate::contract::$test(store).await;
        }
    )+};
}

pub async fn revisions_count_from_zero_and_positions_rise(store: Store) {
    let stream = fresh("counted");
    let first = store.append(&stream, Expected::NoStream, events(1)).await.unwrap();
    let second = store.append(&stream, Expected::Revision(0), events(3)).await.unwrap();

    assert_eq!((first.revision, second.revision), (0, 3));
    assert!(Position::START < first.position && first.position < second.position);
    assert!(store.head().await.unwrap() >= second.position);
    let recorded = whole(&store, &stream).await;
    assert_eq!(recorded.iter().map(|event| event.revision).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(recorded.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!((recorded[0].position, recorded[3].position), (first.position, second.position));
}

pub async fn what_was_given_is_read_back(store: Store) {
    let stream = fresh("kept");
    let json = NewEvent {
        id: random(),
        name: "kept.happened.v1".into(),
        content_type: ContentType::Json,
        data: Bytes::from_static(br#"{"a":"\u00e9"}"#),
        metadata: Bytes::from_static(br#"{"$correlationId":"1"}"#),
    };
    let octets = NewEvent {
        id: random(),
        name: "naïve 🦀".into(),
        content_type: ContentType::Octets,
        data: (0..=255).collect(),
        metadata: Bytes::from_static(&[0, 255, 0]),
    };
    let empty = NewEvent { data: Bytes::new(), metadata: Bytes::new(), ..event() };
    let given = vec![json, octets, empty];
    store.append(&stream, Expected::NoStream, given.clone()).await.unwrap();

    for (given, read) in given.iter().zip(whole(&store, &stream).await) {
        assert_eq!((given.id, &given.name, given.content_type), (read.id, &read.name, read.content_type));
        assert_eq!((&given.data, &given.metadata), (&read.data, &read.metadata));
        assert_eq!(read.stream, stream);
        assert!(read.created_us > 0);
    }
}

pub async fn a_wrong_expectation_conflicts_and_says_where_the_stream_is(store: Store) {
    let stream = fresh("wrong");
    let append = async |expected| store.append(&stream, expected, events(1)).await;

    conflicts(append(Expected::Revision(0)).await, &stream, None);
    conflicts(append(Expected::StreamExists).await, &stream, None);
    append(Expected::NoStream).await.unwrap();
    append(Expected::Revision(0)).await.unwrap();
    conflicts(append(Expected::NoStream).await, &stream, Some(1));
    conflicts(append(Expected::Revision(0)).await, &stream, Some(1));
    conflicts(append(Expected::Revision(2)).await, &stream, Some(1));
    assert_eq!(append(Expected::Revision(1)).await.unwrap().revision, 2);
}

pub async fn any_and_stream_exists_append_at_the_end(store: Store) {
    let stream = fresh("any");
    for (revision, expected) in [Expected::Any, Expected::Any, Expected::StreamExists].into_iter().enumerate()
    {
        let appended = store.append(&stream, expected, events(1)).await.unwrap();
        assert_eq!(appended.revision, revision as u64);
    }
}

pub async fn repeating_an_append_answers_as_the_first_time(store: Store) {
    let stream = fresh("again");
    let (first, second) = (events(2), events(1));
    let created = store.append(&stream, Expected::NoStream, first.clone()).await.unwrap();
    let grown = store.append(&stream, Expected::Revision(1), second.clone()).await.unwrap();

    assert_eq!(store.append(&stream, Expected::Revision(1), second).await.unwrap(), grown);
    // Only the ids count: what else is different the second time is dropped.
    let other_data =
        first.into_iter().map(|event| NewEvent { data: Bytes::from_static(b"{}"), ..event }).collect();
    assert_eq!(store.append(&stream, Expected::NoStream, other_data).await.unwrap(), created);
    let recorded = whole(&store, &stream).await;
    assert_eq!(recorded.len(), 3);
    assert!(recorded.iter().all(|event| &event.data[..] != b"{}"));
}

pub async fn repeating_an_append_in_part_conflicts(store: Store) {
    let stream = fresh("partly");
    let first = events(2);
    store.append(&stream, Expected::NoStream, first.clone()).await.unwrap();

    let changed_end = vec![first[0].clone(), event()];
    let longer = vec![first[0].clone(), first[1].clone(), event()];
    let turned = vec![first[1].clone(), first[0].clone()];
    for partly in [changed_end, longer, turned] {
        conflicts(store.append(&stream, Expected::NoStream, partly).await, &stream, Some(1));
    }
    // The beginning alone is the beginning again.
    let beginning = store.append(&stream, Expected::NoStream, vec![first[0].clone()]).await.unwrap();
    assert_eq!(beginning.revision, 0);
    // The same ids, but not where they stand.
    conflicts(store.append(&stream, Expected::Revision(0), first).await, &stream, Some(1));
    assert_eq!(whole(&store, &stream).await.len(), 2);
}

pub async fn repeating_without_an_expectation_records_nothing_twice(store: Store) {
    for expected in [Expected::Any, Expected::StreamExists] {
        let stream = fresh("unexpecting");
        store.append(&stream, Expected::NoStream, events(1)).await.unwrap();
        let given = events(2);
        let first = store.append(&stream, expected, given.clone()).await.unwrap();
        store.append(&stream, expected, events(1)).await.unwrap();

        let again = store.append(&stream, expected, given.clone()).await.unwrap();
        assert_eq!(again.revision, first.revision);
        // Begun as before and continued otherwise: that is neither a repeat nor new.
        let mixed = vec![given[0].clone(), event()];
        conflicts(store.append(&stream, expected, mixed).await, &stream, Some(3));
        assert_eq!(whole(&store, &stream).await.len(), 4);
    }
}

pub async fn one_id_may_stand_in_two_streams(store: Store) {
    let (one, other) = (fresh("one"), fresh("other"));
    let given = events(1);
    for stream in [&one, &other] {
        store.append(stream, Expected::NoStream, given.clone()).await.unwrap();
        store.append(stream, Expected::Any, events(1)).await.unwrap();
        assert_eq!(whole(&store, stream).await.len(), 2);
    }
}

pub async fn a_refused_append_leaves_nothing(store: Store) {
    let stream = fresh("refused");
    let nameless = NewEvent { name: "".into(), ..event() };
    let long_name = NewEvent { name: "n".repeat(257).into(), ..event() };
    for refused in [vec![], vec![event(), nameless], vec![event(), long_name]] {
        let answer = store.append(&stream, Expected::NoStream, refused).await;
        assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
    }
    let half = NewEvent { data: vec![b' '; APPEND_BYTES_MAX / 2].into(), metadata: Bytes::new(), ..event() };
    let answer = store.append(&stream, Expected::NoStream, vec![half.clone(), half.clone(), event()]).await;
    assert!(matches!(answer, Err(StoreError::TooLarge { limit: APPEND_BYTES_MAX, .. })), "{answer:?}");
    conflicts(store.append(&stream, Expected::Revision(5), events(3)).await, &stream, None);
    assert!(whole(&store, &stream).await.is_empty());

    store.append(&stream, Expected::NoStream, vec![half]).await.unwrap();
}

pub async fn an_append_stands_together_among_others(store: Store) {
    let category = fresh_category("together");
    let writers = (0..16).map(|writer| {
        let (store, stream) = (Arc::clone(&store), StreamName::new(format!("{category}-{writer}")));
        tokio::spawn(async move {
            store.append(&stream, Expected::NoStream, events(7)).await.unwrap();
        })
    });
    let before = store.head().await.unwrap();
    join_all(writers).await.into_iter().for_each(Result::unwrap);

    let log = read_on(&store, before, &Filter::categories([&*category])).await;
    assert_eq!(log.len(), 16 * 7);
    for together in log.chunks(7) {
        assert!(together.iter().all(|event| event.stream == together[0].stream));
        assert_eq!(together.iter().map(|event| event.revision).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }
}

pub async fn appends_of_one_call_stand_or_fail_alone_and_in_order(store: Store) {
    let (one, other) = (fresh("line"), fresh("line"));
    let append = |stream: &StreamName, expected, count| Append {
        stream: stream.clone(),
        expected,
        events: events(count),
    };
    let answers = store
        .append_many(vec![
            append(&one, Expected::NoStream, 2),
            append(&one, Expected::NoStream, 1),
            append(&other, Expected::NoStream, 1),
            append(&one, Expected::Revision(1), 1),
            append(&one, Expected::Any, 0),
            append(&other, Expected::Revision(7), 1),
            append(&other, Expected::Revision(0), 1),
        ])
        .await;

    let revisions: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|done| done.revision)).collect();
    assert_eq!(revisions, [Some(1), None, Some(0), Some(2), None, None, Some(1)]);
    conflicts(answers[1].clone(), &one, Some(1));
    assert!(matches!(answers[4], Err(StoreError::Invalid(_))));
    conflicts(answers[5].clone(), &other, Some(0));
    assert!(answers.iter().flatten().is_sorted_by(|a, b| a.position < b.position));
    assert!(store.append_many(Vec::new()).await.is_empty());
}

pub async fn many_writers_of_one_stream_never_share_a_revision(store: Store) {
    let stream = fresh("contested");
    let writers = (0..16).map(|_| {
        let (store, stream) = (Arc::clone(&store), stream.clone());
        tokio::spawn(async move {
            let mut done = Vec::new();
            let mut expected = Expected::NoStream;
            while done.len() < 8 {
                match store.append(&stream, expected, events(1)).await {
                    Ok(appended) => {
                        done.push(appended.revision);
                        expected = Expected::Revision(appended.revision);
                    }
                    Err(StoreError::Conflict { actual, .. }) => {
                        expected = actual.map_or(Expected::NoStream, Expected::Revision);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            done
        })
    });
    let mut revisions: Vec<u64> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    revisions.sort_unstable();

    assert_eq!(revisions, (0..16 * 8).collect::<Vec<_>>());
    assert_eq!(whole(&store, &stream).await.len(), 16 * 8);
}

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
        assert_eq!(until_head(&mut pages).await, [revision + 1]);
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

/// Everything behind `after`, by small pages.
async fn read_on(store: &Store, mut after: Position, filter: &Filter) -> Vec<Recorded> {
    let mut events = Vec::new();
    loop {
        let page = store.read_all(after, filter, 64).await.unwrap();
        assert!(page.upto > after || page.at_head, "reading must get on");
        assert!(page.events.iter().all(|event| after < event.position && event.position <= page.upto));
        after = page.upto;
        events.extend(page.events);
        if page.at_head {
            return events;
        }
    }
}

async fn whole(store: &Store, stream: &StreamName) -> Vec<Recorded> {
    store.read_stream(stream, Direction::Forward, 0, 1000).await.unwrap()
}

fn ids(events: &[Recorded]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

#[track_caller]
fn conflicts(answer: Result<Appended, StoreError>, on: &StreamName, at: Option<u64>) {
    match answer {
        Err(StoreError::Conflict { stream, actual }) => assert_eq!((&stream, actual), (on, at)),
        other => panic!("expected a conflict at {at:?}, got {other:?}"),
    }
}

fn fresh_category(name: &str) -> String {
    format!("{name}{}", random().simple())
}

fn fresh(category: &str) -> StreamName {
    StreamName::new(format!("{}-1", fresh_category(category)))
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| event()).collect()
}

fn event() -> NewEvent {
    NewEvent {
        id: random(),
        name: "thing.happened.v1".into(),
        content_type: ContentType::Json,
        data: Bytes::from_static(br#"{"what":"this"}"#),
        metadata: Bytes::from_static(b"{}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the store may be used by others at the same time")]
fn random() -> Uuid {
    Uuid::new_v4()
}
