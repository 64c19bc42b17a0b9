//! What every backend must do, as tests that run against any of them.
//!
//! A backend's tests say `contract_suite!(open)`, where `open` is an async function that answers with the store as
//! `Arc<dyn Keeping>` and whatever must be kept alive beside it. The store may have other events in it: each test
//! uses categories of its own. Here is what concerns writing; `reading` and `keeping` have the rest.

mod keeping;
mod reading;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;

pub use self::{keeping::*, reading::*};

use crate::{
    APPEND_BYTES_MAX, Append, Appended, ContentType, Direction, EventStore, Expected, Filter, NewEvent,
    Position, Recorded, StoreError, StreamName,
};

type Store = Arc<dyn EventStore>;

/// Makes a test of each function of this module. With `if`, `open` answers with an `Option`, and where that is `None`
/// there is nothing to try.
#[macro_export]
macro_rules! contract_suite {
    (if $open:path) => {
        $crate::contract_suite! { @rules $open, std::convert::identity }
    };
    ($open:path) => {
        $crate::contract_suite! { @rules $open, Some }
    };
    (@rules $open:path, $opened:path) => {
        $crate::contract_suite! { @tests $open, $opened:
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
            appends_of_one_line_happen_in_order_whatever_their_streams,
            many_writers_of_one_stream_never_share_a_revision,
            a_stream_is_read_both_ways_from_anywhere,
            the_log_is_read_in_pages,
            what_is_found_at_a_position_stands_there,
            prefixes_choose_streams,
            system_streams_are_read_when_asked_for,
            a_scan_sees_what_reading_sees,
            following_says_at_once_that_it_is_at_the_head,
            following_catches_up_and_goes_on,
            following_passes_over_what_it_was_not_asked_for,
            following_misses_and_repeats_nothing_while_many_write,
            only_the_newest_are_kept,
            keeping_the_newest_can_be_asked_of_a_stream_that_is_not_there_yet,
            keeping_none_is_refused,
            what_was_truncated_is_not_read_again,
            a_stream_truncated_whole_counts_on,
            a_stream_deleted_for_good_is_not_read_and_takes_nothing,
        }
    };
    (@tests $open:path, $opened:path: $($test:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            if let Some((store, _keep)) = $opened($open().await) {
                $crate::contract::$test(store).await;
            }
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
    let empty =
        NewEvent { content_type: ContentType::Octets, data: Bytes::new(), metadata: Bytes::new(), ..event() };
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
    let half = NewEvent {
        content_type: ContentType::Octets,
        data: vec![0; APPEND_BYTES_MAX / 2].into(),
        metadata: Bytes::new(),
        ..event()
    };
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
        line: None,
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
    assert!(store.append_many(Vec::new()).await.is_empty());
}

pub async fn appends_of_one_line_happen_in_order_whatever_their_streams(store: Store) {
    let category = fresh_category("ordered");
    let append = |number: usize| Append {
        stream: StreamName::new(format!("{category}-{number}")),
        expected: Expected::NoStream,
        events: events(1),
        line: Some(format!("line {}", number % 3).into()),
    };
    let answers = store.append_many((0..60).map(append).collect()).await;
    let positions: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().position).collect();

    for line in 0..3 {
        assert!(positions.iter().skip(line).step_by(3).is_sorted_by(|before, after| before < after));
    }
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
