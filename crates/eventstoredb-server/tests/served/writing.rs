//! Append, `BatchAppend`, Delete and Tombstone.

use bytes::Bytes;
use eventstore::{
    CurrentRevision, DeleteStreamOptions, Error, EventData, ReadStreamOptions, StreamState,
    TombstoneStreamOptions,
};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::{event, events, expecting, head, read, revisions, served};

#[tokio::test]
async fn what_was_appended_is_read_back() {
    let (served, client) = served().await;
    let id = Uuid::from_u128(7);
    let json = EventData::json("thing.happened.v1", &[1, 2]).unwrap().id(id);
    let json = json.metadata(Bytes::from_static(b"{\"who\":\"me\"}"));
    let written = client.append_to_stream("thing-é", &expecting(StreamState::NoStream), json).await.unwrap();
    assert_eq!((written.next_expected_version, written.position.commit), (0, head(&served).await));
    client.append_to_stream("thing-é", &expecting(StreamState::Any), event("octets")).await.unwrap();

    let read = read(&client, "thing-é", &ReadStreamOptions::default()).await.unwrap();
    let [first, second] = &read[..] else { panic!("{} events", read.len()) };
    let (first, second) = (first.get_original_event(), second.get_original_event());
    assert_eq!((first.id, first.stream_id(), &*first.event_type), (id, "thing-é", "thing.happened.v1"));
    assert_eq!((&first.data[..], &first.custom_metadata[..]), (&b"[1,2]"[..], &b"{\"who\":\"me\"}"[..]));
    assert_eq!((first.is_json, second.is_json), (true, false));
    assert_eq!(first.position, written.position);
    assert!(first.position < second.position);
}

#[tokio::test]
async fn a_wrong_expectation_is_told_in_each_form() {
    let (_served, client) = served().await;
    let append = async |stream, state| client.append_to_stream(stream, &expecting(state), event("e")).await;
    let wrong = |answer: eventstore::Result<_>| match answer {
        Err(Error::WrongExpectedVersion { expected, current }) => (expected, current),
        other => panic!("{other:?}"),
    };
    append("thing-1", StreamState::NoStream).await.unwrap();

    for (stream, expected, current) in [
        ("thing-1", StreamState::NoStream, CurrentRevision::Current(0)),
        ("thing-1", StreamState::StreamRevision(5), CurrentRevision::Current(0)),
        ("other-1", StreamState::StreamRevision(0), CurrentRevision::NoStream),
        ("other-1", StreamState::StreamExists, CurrentRevision::NoStream),
    ] {
        assert_eq!(wrong(append(stream, expected).await), (expected, current));
        let nothing = client.append_to_stream(stream, &expecting(expected), events(0)).await;
        assert_eq!(wrong(nothing), (expected, current));
    }
    append("thing-1", StreamState::StreamRevision(0)).await.unwrap();
    let checked = client.append_to_stream("thing-1", &expecting(StreamState::StreamExists), events(0)).await;
    assert_eq!(checked.unwrap().next_expected_version, 1);
}

#[tokio::test]
async fn repeating_an_append_records_nothing_twice() {
    let (_served, client) = served().await;
    let given = || (1..=3).map(|id| event("e").id(Uuid::from_u128(id))).collect::<Vec<_>>();
    for state in [StreamState::NoStream, StreamState::Any] {
        let stream = format!("thing-{state:?}");
        let first = client.append_to_stream(&*stream, &expecting(state), given()).await.unwrap();
        let again = client.append_to_stream(&*stream, &expecting(state), given()).await.unwrap();
        assert_eq!((first.next_expected_version, first.position), (2, again.position));
        assert_eq!(revisions(&client, &stream).await, [0, 1, 2]);
    }
}

#[tokio::test]
async fn an_append_of_a_batch_is_answered_for_itself() {
    let (served, client) = served().await;
    let batch = client.batch_append(&Default::default()).await.unwrap();
    let appends = (0..200).map(|number| {
        let (batch, stream) = (&batch, format!("thing-{number}"));
        async move { batch.append_to_stream(stream, StreamState::NoStream, events(2)).await }
    });
    let written: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();

    for (number, written) in written.iter().enumerate() {
        assert_eq!(written.stream_name(), format!("thing-{number}"));
        assert_eq!(written.current_revision(), Some(1));
    }
    let last = written.iter().map(|written| written.current_position().unwrap().commit).max();
    assert_eq!(last, Some(head(&served).await));
}

/// The client gives a batch up at its first conflict, so each conflict has a batch of its own.
#[tokio::test]
async fn many_batches_with_conflicts_are_each_answered_truly() {
    let (_served, client) = served().await;
    client.append_to_stream("taken-1", &expecting(StreamState::Any), event("e")).await.unwrap();
    let batches = (0..20).map(|number| {
        let client = &client;
        async move {
            let batch = client.batch_append(&Default::default()).await.unwrap();
            for round in 0..3 {
                let stream = format!("thing-{number}");
                let state =
                    if round == 0 { StreamState::NoStream } else { StreamState::StreamRevision(round - 1) };
                let written = batch.append_to_stream(stream, state, events(1)).await.unwrap();
                assert_eq!(written.current_revision(), Some(round));
            }
            batch.append_to_stream("taken-1", StreamState::NoStream, events(1)).await
        }
    });
    for answer in join_all(batches).await {
        match answer {
            Err(Error::Grpc { code, message }) => {
                assert_eq!(i32::from(code), 6);
                assert_eq!(message, "WrongExpectedVersion");
            }
            Err(Error::ResourceAlreadyExists) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(revisions(&client, "taken-1").await, [0]);
    assert_eq!(revisions(&client, "thing-7").await, [0, 1, 2]);
}

#[tokio::test]
async fn a_huge_append_is_refused_and_the_next_one_taken() {
    let (_served, client) = served().await;
    let huge = |bytes: usize| EventData::binary("e", vec![0; bytes].into());
    for bytes in [1024 * 1024 + 1, 3 * 1024 * 1024, 20 * 1024 * 1024] {
        let answer =
            client.append_to_stream("thing-1", &expecting(StreamState::Any), huge(bytes)).await.unwrap_err();
        assert!(matches!(answer, Error::Grpc { .. }), "{answer:?}");
        let batch = client.batch_append(&Default::default()).await.unwrap();
        assert!(batch.append_to_stream("thing-1", StreamState::Any, vec![huge(bytes)]).await.is_err());
    }
    let many = (0..20_000).map(|_| EventData::binary("e", Bytes::new())).collect::<Vec<_>>();
    assert!(client.append_to_stream("thing-1", &expecting(StreamState::Any), many).await.is_err());

    let largest = huge(1024 * 1024);
    client.append_to_stream("thing-1", &expecting(StreamState::NoStream), largest).await.unwrap();
    assert_eq!(read(&client, "thing-1", &Default::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let (_served, client) = served().await;
    let nameless = client.append_to_stream("thing-1", &expecting(StreamState::Any), event("")).await;
    assert!(matches!(nameless, Err(Error::Grpc { .. })), "{nameless:?}");
    let without_id = event("e").id(Uuid::nil());
    let without_id = client.append_to_stream("thing-1", &expecting(StreamState::Any), without_id).await;
    assert!(matches!(without_id, Err(Error::Grpc { .. })), "{without_id:?}");
    let long = "s".repeat(257);
    let long = client.append_to_stream(&*long, &expecting(StreamState::Any), event("e")).await;
    assert!(matches!(long, Err(Error::Grpc { .. })), "{long:?}");
}

#[tokio::test]
async fn a_deleted_stream_is_not_found_and_can_begin_again() {
    let (served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(3)).await.unwrap();

    let options = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(2));
    let position = client.delete_stream("thing-1", &options).await.unwrap();
    assert_eq!(position.map(|position| position.commit), Some(head(&served).await));
    let missing = read(&client, "thing-1", &Default::default()).await;
    assert!(matches!(missing, Err(Error::ResourceNotFound)), "{missing:?}");
    let exists = client.append_to_stream("thing-1", &expecting(StreamState::StreamExists), event("e")).await;
    assert!(matches!(exists, Err(Error::ResourceDeleted)), "{exists:?}");

    let begun = client.append_to_stream("thing-1", &expecting(StreamState::NoStream), events(2)).await;
    assert_eq!(begun.unwrap().next_expected_version, 4);
    assert_eq!(revisions(&client, "thing-1").await, [3, 4]);
}

#[tokio::test]
async fn a_tombstoned_stream_is_gone_for_good() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(3)).await.unwrap();
    client.tombstone_stream("thing-1", &Default::default()).await.unwrap();

    let answers = [
        read(&client, "thing-1", &Default::default()).await.map(drop),
        read(&client, "$$thing-1", &Default::default()).await.map(drop),
        client.append_to_stream("thing-1", &Default::default(), event("e")).await.map(drop),
        client.append_to_stream("thing-1", &Default::default(), events(0)).await.map(drop),
        client.delete_stream("thing-1", &Default::default()).await.map(drop),
        client.tombstone_stream("thing-1", &Default::default()).await.map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Error::ResourceDeleted)), "{answer:?}");
    }
    // One that never was can be kept from ever being.
    let never = TombstoneStreamOptions::default().stream_state(StreamState::NoStream);
    client.tombstone_stream("never-1", &never).await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_expects_wrongly_is_refused() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(1)).await.unwrap();
    for state in [StreamState::NoStream, StreamState::StreamRevision(7)] {
        let options = DeleteStreamOptions::default().stream_state(state);
        let refused = client.delete_stream("thing-1", &options).await;
        assert!(matches!(&refused, Err(Error::Grpc { code, .. }) if i32::from(*code) == 9), "{refused:?}");
    }
    assert!(client.delete_stream("missing-1", &Default::default()).await.is_err());
    assert_eq!(revisions(&client, "thing-1").await, [0]);
}
