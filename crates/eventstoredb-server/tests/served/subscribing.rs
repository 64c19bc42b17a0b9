//! Subscriptions to streams and to the whole log.

use std::collections::BTreeSet;

use eventstore::{
    DeleteStreamOptions, Error, Position, StreamPosition, SubscribeToAllOptions, SubscribeToStreamOptions,
    Subscription, SubscriptionEvent, SubscriptionFilter,
};

use crate::{event, events, head, served};

/// What a subscription says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Event(u64),
    Checkpoint(u64),
    CaughtUp,
}

/// The next thing; events by their revision.
async fn next(subscription: &mut Subscription) -> Said {
    loop {
        match subscription.next_subscription_event().await.unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                return Said::Event(event.get_original_event().revision);
            }
            SubscriptionEvent::Checkpoint(position) => return Said::Checkpoint(position.commit),
            SubscriptionEvent::CaughtUp(_) => return Said::CaughtUp,
            SubscriptionEvent::Confirmed(id) => assert!(!id.is_empty()),
            other => panic!("{other:?}"),
        }
    }
}

/// The revisions of what comes before it has caught up.
async fn until_caught_up(subscription: &mut Subscription) -> Vec<u64> {
    let mut revisions = Vec::new();
    loop {
        match next(subscription).await {
            Said::Event(revision) => revisions.push(revision),
            Said::CaughtUp => return revisions,
            Said::Checkpoint(_) => {}
        }
    }
}

#[tokio::test]
async fn a_stream_is_followed_from_where_it_was_asked_for() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(5)).await.unwrap();
    for (from, expected) in [
        (StreamPosition::Start, vec![0, 1, 2, 3, 4]),
        (StreamPosition::Position(2), vec![3, 4]),
        (StreamPosition::End, vec![]),
    ] {
        let options = SubscribeToStreamOptions::default().start_from(from);
        let mut subscription = client.subscribe_to_stream("thing-1", &options).await;
        assert_eq!(until_caught_up(&mut subscription).await, expected);
    }

    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::End);
    let mut subscription = client.subscribe_to_stream("thing-1", &options).await;
    assert_eq!(next(&mut subscription).await, Said::CaughtUp);
    // What happens in another stream, also one whose name begins alike, is not said.
    client.append_to_stream("thing-10", &Default::default(), events(3)).await.unwrap();
    client.append_to_stream("thing-1", &Default::default(), events(2)).await.unwrap();
    assert_eq!(next(&mut subscription).await, Said::Event(5));
    assert_eq!(next(&mut subscription).await, Said::Event(6));
}

#[tokio::test]
async fn a_stream_that_is_not_there_yet_is_waited_for() {
    let (_served, client) = served().await;
    client.append_to_stream("deleted-1", &Default::default(), events(3)).await.unwrap();
    client.delete_stream("deleted-1", &DeleteStreamOptions::default()).await.unwrap();
    for (stream, first) in [("missing-1", 0), ("deleted-1", 3)] {
        let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
        let mut subscription = client.subscribe_to_stream(stream, &options).await;
        assert_eq!(next(&mut subscription).await, Said::CaughtUp);
        client.append_to_stream(stream, &Default::default(), events(2)).await.unwrap();
        assert_eq!(next(&mut subscription).await, Said::Event(first));
        assert_eq!(next(&mut subscription).await, Said::Event(first + 1));
    }
}

#[tokio::test]
async fn a_tombstone_ends_a_subscription_with_an_error() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(1)).await.unwrap();
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = client.subscribe_to_stream("thing-1", &options).await;
    assert_eq!(until_caught_up(&mut subscription).await, [0]);

    client.tombstone_stream("thing-1", &Default::default()).await.unwrap();
    let end = subscription.next_subscription_event().await;
    assert!(matches!(end, Err(Error::ResourceDeleted)), "{end:?}");
    let mut again = client.subscribe_to_stream("thing-1", &options).await;
    let refused = again.next_subscription_event().await;
    assert!(matches!(refused, Err(Error::ResourceDeleted)), "{refused:?}");
}

#[tokio::test]
async fn the_end_of_the_server_ends_a_subscription_with_an_error() {
    let (mut served, client) = served().await;
    let mut to_all = client.subscribe_to_all(&SubscribeToAllOptions::default()).await;
    assert!(until_caught_up(&mut to_all).await.is_empty());

    served.shutdown.cancel();
    assert!(to_all.next_subscription_event().await.is_err());
    (&mut served.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_log_is_followed_behind_the_position() {
    let (served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(5)).await.unwrap();
    let third = head(&served).await - 2;
    let from = StreamPosition::Position(Position { commit: third, prepare: third });
    let options = SubscribeToAllOptions::default().position(from);
    let mut subscription = client.subscribe_to_all(&options).await;
    assert_eq!(until_caught_up(&mut subscription).await, [3, 4]);
    client.append_to_stream("$other-1", &Default::default(), event("e")).await.unwrap();
    assert_eq!(next(&mut subscription).await, Said::Event(0));

    let options = SubscribeToAllOptions::default().position(StreamPosition::End);
    let mut subscription = client.subscribe_to_all(&options).await;
    assert_eq!(next(&mut subscription).await, Said::CaughtUp);
}

#[tokio::test]
async fn a_filtered_subscription_says_how_far_it_is_where_nothing_matches() {
    let (served, client) = served().await;
    client.append_to_stream("noise-1", &Default::default(), events(500)).await.unwrap();
    let filters = [
        SubscriptionFilter::on_stream_name().add_prefix("wanted-"),
        SubscriptionFilter::on_stream_name().regex("^wanted-"),
    ];
    for (round, filter) in filters.into_iter().enumerate() {
        let options =
            SubscribeToAllOptions::default().position(StreamPosition::Start).filter(filter.max(100));
        let mut subscription = client.subscribe_to_all(&options).await;
        let (mut said, mut reached) = (next(&mut subscription).await, 0);
        while said != Said::CaughtUp {
            if let Said::Checkpoint(position) = said {
                assert!(position > reached);
                reached = position;
            }
            said = next(&mut subscription).await;
        }
        assert_eq!(reached, head(&served).await);
        // While it waits, what it passes over moves it on.
        client.append_to_stream("noise-2", &Default::default(), events(150)).await.unwrap();
        let said = next(&mut subscription).await;
        assert!(matches!(said, Said::Checkpoint(position) if position > reached), "{said:?}");
        client.append_to_stream("wanted-1", &Default::default(), event("e")).await.unwrap();
        while next(&mut subscription).await != Said::Event(round as u64) {}
    }
}

#[tokio::test]
async fn a_checkpoint_is_never_ahead_of_an_event_that_is_wanted() {
    let (served, client) = served().await;
    for number in 0..60 {
        let stream = if number % 7 == 0 { "wanted-1" } else { "noise-1" };
        client.append_to_stream(stream, &Default::default(), events(13)).await.unwrap();
    }
    let writing = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..60 {
                let stream = if number % 7 == 0 { "wanted-1" } else { "noise-1" };
                client.append_to_stream(stream, &Default::default(), events(13)).await.unwrap();
            }
        }
    });
    let filter = SubscriptionFilter::on_stream_name().regex("^(?=wanted)").max(10);
    let options = SubscribeToAllOptions::default().position(StreamPosition::Start).filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    let (mut checkpoint, mut seen) = (0, BTreeSet::new());
    while seen.len() < 2 * 9 * 13 {
        match subscription.next_subscription_event().await.unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                let event = event.get_original_event();
                assert!(event.position.commit > checkpoint, "it was passed over");
                assert_eq!(event.revision, seen.len() as u64, "in order, each once");
                seen.insert(event.revision);
            }
            SubscriptionEvent::Checkpoint(position) => {
                assert!(position.commit > checkpoint);
                checkpoint = position.commit;
            }
            _ => {}
        }
    }
    writing.await.unwrap();
    assert!(checkpoint <= head(&served).await);
}

#[tokio::test]
async fn a_slow_reader_falls_back_to_catching_up_and_misses_nothing() {
    let (_served, client) = served().await;
    let mut subscription = client.subscribe_to_all(&SubscribeToAllOptions::default()).await;
    assert_eq!(next(&mut subscription).await, Said::CaughtUp);

    // Far more than sockets and buffers hold, while nobody reads.
    let batch = client.batch_append(&Default::default()).await.unwrap();
    let large = || eventstore::EventData::binary("e", vec![0; 500_000].into());
    for _ in 0..60 {
        batch.append_to_stream("large-1", eventstore::StreamState::Any, vec![large()]).await.unwrap();
    }
    batch.append_to_stream("large-1", eventstore::StreamState::Any, events(3000)).await.unwrap();

    let revisions = until_caught_up_after(&mut subscription, 3059).await;
    assert_eq!(revisions, (0..3060).collect::<Vec<_>>());
}

/// The revisions of what comes until one has come.
async fn until_caught_up_after(subscription: &mut Subscription, last: u64) -> Vec<u64> {
    let mut revisions = Vec::new();
    while revisions.last() != Some(&last) {
        if let Said::Event(revision) = next(subscription).await {
            revisions.push(revision);
        }
    }
    revisions
}

#[tokio::test]
async fn one_subscription_too_many_is_refused() {
    let served = crate::Served::new().await;
    let limit = chancery_eventstoredb_server::limits::SUBSCRIPTIONS_MAX;
    // More than one connection may hold.
    let clients = [served.client(), served.client()];
    let mut subscriptions = Vec::new();
    for number in 0..limit {
        let client = &clients[number % 2];
        let mut subscription = client.subscribe_to_all(&SubscribeToAllOptions::default()).await;
        assert_eq!(next(&mut subscription).await, Said::CaughtUp);
        subscriptions.push(subscription);
    }
    let mut further = clients[0].subscribe_to_all(&SubscribeToAllOptions::default()).await;
    let refused = further.next_subscription_event().await;
    assert!(matches!(refused, Err(Error::Grpc { .. })), "{refused:?}");

    // What is dropped makes room, as soon as the server has heard of it.
    subscriptions.clear();
    loop {
        let mut again = clients[1].subscribe_to_all(&SubscribeToAllOptions::default()).await;
        if again.next_subscription_event().await.is_ok() {
            break;
        }
    }
}
