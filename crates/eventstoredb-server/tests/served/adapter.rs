//! The store's own adapter against this server: all that every backend must do, and what this client makes hard.

mod faults;
mod following_the_leader;
mod killed;
mod lists;
mod proxy;
mod real;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use store::{
    ContentType, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Position, StoreError,
    StreamName, contract_suite,
    eventstoredb::{EventStoreDb, Options},
};
use uuid::Uuid;

use crate::Served;

async fn open() -> (Arc<dyn Keeping>, Served) {
    let served = Served::new().await;
    (Arc::new(connect(&served, Options::default())), served)
}

fn connect(served: &Served, options: Options) -> EventStoreDb {
    let string = format!("esdb://{}?tls=false", served.address);
    EventStoreDb::new(string.parse().unwrap(), options).unwrap()
}

contract_suite!(open);

fn event(number: u128) -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(number + 1),
        name: "thing.happened.v1".into(),
        content_type: ContentType::Json,
        data: "{}".into(),
        metadata: "{}".into(),
    }
}

/// The client ends a batch at its first refusal, and all that are under way with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_many_conflicts_every_append_has_its_own_answer() {
    let (store, served) = open().await;
    let taken = StreamName::new("taken-1");
    served.store.append(&taken, Expected::NoStream, vec![event(5_000)]).await.unwrap();
    let appends = (0..1024).map(|number| {
        let (store, taken) = (&store, &taken);
        async move {
            if number % 20 == 0 {
                let refused = store.append(taken, Expected::NoStream, vec![event(number)]).await;
                assert!(matches!(refused, Err(StoreError::Conflict { actual: Some(0), .. })), "{refused:?}");
            } else {
                let stream = StreamName::new(format!("thing-{number}"));
                let done = store.append(&stream, Expected::NoStream, vec![event(number)]).await.unwrap();
                assert_eq!(done.revision, 0);
            }
        }
    });
    join_all(appends).await;
    assert_eq!(served.store.head().await.unwrap().0, 1 + 1024 - 52);
}

#[tokio::test]
async fn a_store_has_the_same_id_for_everybody() {
    let served = Served::new().await;
    let stores = [connect(&served, Options::default()), connect(&served, Options::default())];
    assert!(stores[0].id().is_nil());
    let (one, other) = tokio::join!(stores[0].identify(), stores[1].identify());
    assert_eq!(one.as_ref().unwrap(), other.as_ref().unwrap());
    assert_eq!((stores[0].id(), stores[1].id()), (one.unwrap(), other.unwrap()));
    assert_eq!(served.store.head().await.unwrap().0, 1);
}

#[tokio::test]
async fn nothing_can_be_written_to_a_stream_deleted_for_good() {
    let (store, served) = open().await;
    served.client().tombstone_stream("thing-1", &Default::default()).await.unwrap();
    let refused = store.append(&StreamName::new("thing-1"), Expected::NoStream, vec![event(1)]).await;
    assert!(matches!(refused, Err(StoreError::Deleted(_))), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let (store, mut served) = open().await;
    let stream = StreamName::new("thing-1");
    store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    assert_eq!(pages.next().await.unwrap().unwrap().events.len(), 1);
    served.shutdown.cancel();
    (&mut served.serving).await.unwrap().unwrap();
    while pages.next().await.is_some_and(|page| page.is_ok()) {}
    assert!(pages.next().await.is_none(), "it ended with the error");

    served.serve_again().await;
    let done = store.append(&stream, Expected::Revision(0), vec![event(2)]).await.unwrap();
    assert_eq!(done.revision, 1);
    assert_eq!(store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_subscription_gone_silent_is_begun_anew_and_goes_on_where_it_was() {
    let served = Served::new().await;
    let store = connect(&served, Options { silence: Duration::from_millis(20), ..Options::default() });
    let stream = StreamName::new("thing-1");
    store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    let mut seen = Vec::new();
    // Each subscription says once that it has caught up, so three times is two begun anew.
    for _ in 0..3 {
        loop {
            let page = pages.next().await.unwrap().unwrap();
            seen.extend(page.events.iter().map(|event| event.revision));
            if page.at_head {
                break;
            }
        }
    }
    store.append(&stream, Expected::Revision(0), vec![event(2)]).await.unwrap();
    while seen.len() < 2 {
        let page = pages.next().await.unwrap().unwrap();
        seen.extend(page.events.iter().map(|event| event.revision));
    }
    assert_eq!(seen, [0, 1]);
}
