//! Reading streams and the whole log, and what clients ask beside.

use eventstore::{
    Client, Error, Position, ReadAllOptions, ReadEvent, ReadStreamOptions, StreamPosition,
    SubscriptionFilter, operations,
};
use store::EventStore;

use crate::{event, events, expecting, head, revisions_with, served};

#[tokio::test]
async fn a_stream_is_read_both_ways_from_anywhere() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(100)).await.unwrap();
    // The client takes an end for a wish to go backward.
    let forward = |from| ReadStreamOptions::default().position(from).forwards();
    let backward = |from| ReadStreamOptions::default().position(from).backwards();

    for (options, expected) in [
        (forward(StreamPosition::Start), (0..100).collect::<Vec<_>>()),
        (forward(StreamPosition::Position(97)), vec![97, 98, 99]),
        (forward(StreamPosition::Position(98)).max_count(1), vec![98]),
        (forward(StreamPosition::Position(100)), vec![]),
        (forward(StreamPosition::End), vec![]),
        (backward(StreamPosition::End), (0..100).rev().collect()),
        (backward(StreamPosition::Position(2)), vec![2, 1, 0]),
        (backward(StreamPosition::Position(500)).max_count(2), vec![99, 98]),
        (backward(StreamPosition::Start), vec![0]),
        (forward(StreamPosition::Start).max_count(0), vec![]),
    ] {
        assert_eq!(revisions_with(&client, "thing-1", &options).await, expected);
    }
    let mut read = client.read_stream("thing-1", &forward(StreamPosition::End)).await.unwrap();
    let last = read.next_read_event().await.unwrap();
    assert!(matches!(last, Some(ReadEvent::LastStreamPosition(99))));
    let missing = client.read_stream("missing-1", &Default::default()).await.unwrap().next().await;
    assert!(matches!(missing, Err(Error::ResourceNotFound)), "{missing:?}");
}

async fn log(client: &Client, options: ReadAllOptions) -> eventstore::Result<Vec<u64>> {
    let mut read = client.read_all(&options).await?;
    let mut positions = Vec::new();
    while let Some(event) = read.next().await? {
        let position = event.get_original_event().position;
        assert_eq!(position.commit, position.prepare);
        positions.push(position.commit);
    }
    Ok(positions)
}

#[tokio::test]
async fn the_log_is_read_forward_with_the_position_and_backward_without_it() {
    let (served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(1500)).await.unwrap();
    client.append_to_stream("$system-1", &Default::default(), events(1)).await.unwrap();
    let head = head(&served).await;
    let all = |from| ReadAllOptions::default().position(from).max_count(usize::MAX);
    let at = |position| StreamPosition::Position(Position { commit: position, prepare: position });

    let whole = log(&client, all(StreamPosition::Start)).await.unwrap();
    assert_eq!((whole.len(), whole.last()), (1501, Some(&head)));
    let mut turned = log(&client, all(StreamPosition::End).backwards()).await.unwrap();
    turned.reverse();
    assert_eq!(turned, whole);
    assert_eq!(log(&client, all(at(whole[7])).max_count(2)).await.unwrap(), whole[7..9]);
    assert_eq!(log(&client, all(at(whole[2])).backwards()).await.unwrap(), [whole[1], whole[0]]);
    assert_eq!(log(&client, all(StreamPosition::End).forwards()).await.unwrap(), [0_u64; 0]);
    assert_eq!(log(&client, all(StreamPosition::Start).backwards()).await.unwrap(), [0_u64; 0]);
    let beyond = log(&client, all(at(head + 1000))).await;
    assert!(matches!(beyond, Err(Error::ServerError(_))), "{beyond:?}");
}

#[tokio::test]
async fn filters_choose_by_stream_and_type_and_by_prefix_and_expression() {
    let (served, client) = served().await;
    for (stream, name) in [("a-1", "x.one"), ("b-1", "y.one"), ("$s-1", "x.two"), ("ab-1", "y.two")] {
        client.append_to_stream(stream, &expecting(eventstore::StreamState::Any), event(name)).await.unwrap();
    }
    let head = head(&served).await;
    let by_stream = SubscriptionFilter::on_stream_name;
    let by_type = SubscriptionFilter::on_event_type;

    for (filter, expected) in [
        (by_stream().add_prefix("a-").add_prefix("$"), vec![head - 3, head - 1]),
        (by_type().add_prefix("x."), vec![head - 3, head - 1]),
        (by_stream().exclude_system_events(), vec![head - 3, head - 2, head]),
        (by_stream().regex("b"), vec![head - 2, head]),
        (by_type().regex("^(?!x).*two$"), vec![head]),
        (by_stream().regex("nothing"), vec![]),
    ] {
        let options = || ReadAllOptions::default().filter(filter.clone()).max_count(1000);
        assert_eq!(log(&client, options()).await.unwrap(), expected, "{filter:?}");
        let mut turned = log(&client, options().backwards().position(StreamPosition::End)).await.unwrap();
        turned.reverse();
        assert_eq!(turned, expected, "{filter:?}");
    }
    let broken = log(&client, ReadAllOptions::default().filter(by_stream().regex("("))).await;
    assert!(matches!(broken, Err(Error::Grpc { .. })), "{broken:?}");
}

#[tokio::test]
async fn clients_learn_what_the_server_is_in_every_way_they_ask() {
    let (served, client) = served().await;
    let info = client.server_info().await.unwrap();
    assert_eq!((info.version().major(), info.version().minor()), (24, 10));

    let settings: eventstore::ClientSettings =
        format!("esdb+discover://{}?tls=false", served.address).parse().unwrap();
    let discovering = Client::new(settings.clone()).unwrap();
    discovering.append_to_stream("thing-1", &Default::default(), event("e")).await.unwrap();
    let members = operations::Client::new(settings).unwrap().read_gossip().await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].http_end_point.port, u32::from(served.address.port()));
    assert_eq!(members[0].instance_id, served.store.id());
    assert!(client.list_all_persistent_subscriptions(&Default::default()).await.unwrap().is_empty());
    let projections = eventstore::ProjectionClient::new(discovering.settings().clone()).unwrap();
    let refused = projections.enable("$by_category", &Default::default()).await;
    assert!(matches!(refused, Err(Error::UnsupportedFeature)), "{refused:?}");
}
