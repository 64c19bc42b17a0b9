//! The part of the contract that concerns letting go of events.

use std::sync::Arc;

use super::{conflicts, event, events, fresh};
use crate::{Direction, Expected, Keeping, StoreError, StreamName};

type Store = Arc<dyn Keeping>;

async fn revisions(store: &Store, stream: &StreamName) -> Vec<u64> {
    let events = store.read_stream(stream, Direction::Forward, 0, 1000).await.unwrap();
    events.iter().map(|event| event.revision).collect()
}

pub async fn only_the_newest_are_kept(store: Store) {
    let stream = fresh("beating");
    store.append(&stream, Expected::NoStream, events(5)).await.unwrap();
    for _ in 0..2 {
        store.keep_newest(&stream, 2).await.unwrap();
        assert_eq!(revisions(&store, &stream).await, [3, 4]);
    }
    store.append(&stream, Expected::Revision(4), events(1)).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [4, 5]);
    let backward = store.read_stream(&stream, Direction::Backward, u64::MAX, 9).await.unwrap();
    assert_eq!(backward.iter().map(|event| event.revision).collect::<Vec<_>>(), [5, 4]);

    store.keep_newest(&stream, 3).await.unwrap();
    store.append(&stream, Expected::Revision(5), events(2)).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [5, 6, 7]);
}

pub async fn keeping_the_newest_can_be_asked_of_a_stream_that_is_not_there_yet(store: Store) {
    let stream = fresh("coming");
    store.keep_newest(&stream, 1).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [0; 0]);
    store.append(&stream, Expected::NoStream, events(3)).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [2]);
}

pub async fn keeping_none_is_refused(store: Store) {
    let refused = store.keep_newest(&fresh("none"), 0).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

pub async fn what_was_truncated_is_not_read_again(store: Store) {
    let stream = fresh("answered");
    store.append(&stream, Expected::NoStream, events(4)).await.unwrap();
    store.truncate_before(&stream, 2).await.unwrap();
    // Less than before changes nothing.
    store.truncate_before(&stream, 1).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [2, 3]);
    store.keep_newest(&stream, 3).await.unwrap();
    store.append(&stream, Expected::Revision(3), events(1)).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [2, 3, 4]);
    assert!(store.read_stream(&stream, Direction::Backward, 1, 9).await.unwrap().is_empty());
}

pub async fn a_stream_truncated_whole_counts_on(store: Store) {
    let stream = fresh("emptied");
    let given = vec![event(), event()];
    let first = store.append(&stream, Expected::NoStream, given).await.unwrap();
    store.truncate_before(&stream, 2).await.unwrap();
    assert_eq!(revisions(&store, &stream).await, [0; 0]);
    assert!(store.read_at(&[first.position]).await.unwrap()[0].is_none());

    let refused = store.append(&stream, Expected::NoStream, events(1)).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let grown = store.append(&stream, Expected::Revision(1), events(1)).await.unwrap();
    assert!(grown.revision == 2 && grown.position > first.position);
    assert_eq!(revisions(&store, &stream).await, [2]);
    conflicts(store.append(&stream, Expected::Revision(1), events(1)).await, &stream, Some(2));
}

pub async fn a_stream_deleted_for_good_is_not_read_and_takes_nothing(store: Store) {
    let (written, never_written) = (fresh("gone"), fresh("gone"));
    store.append(&written, Expected::NoStream, events(3)).await.unwrap();
    store.keep_newest(&written, 2).await.unwrap();
    for stream in [written, never_written] {
        for _ in 0..2 {
            store.delete_for_good(&stream).await.unwrap();
        }
        let append = async |expected| store.append(&stream, expected, events(1)).await.map(drop);
        for refused in [
            append(Expected::NoStream).await,
            append(Expected::Revision(2)).await,
            append(Expected::Any).await,
            store.read_stream(&stream, Direction::Forward, 0, 9).await.map(drop),
            store.read_stream(&stream, Direction::Backward, u64::MAX, 1).await.map(drop),
            store.keep_newest(&stream, 2).await,
            store.truncate_before(&stream, 1).await,
        ] {
            assert!(matches!(&refused, Err(StoreError::Deleted(name)) if *name == stream), "{refused:?}");
        }
    }
}
