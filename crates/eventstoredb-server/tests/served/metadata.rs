//! Metadata of streams, and what it rules.

use eventstore::{
    DeleteStreamOptions, Error, EventData, ReadEvent, ReadStreamOptions, StreamAclBuilder, StreamMetadata,
    StreamMetadataResult, StreamPosition, StreamState,
};

use crate::{event, events, expecting, read, revisions, revisions_with, served};

fn from_end() -> ReadStreamOptions {
    ReadStreamOptions::default().backwards().position(StreamPosition::End)
}

#[tokio::test]
async fn metadata_is_kept_as_given_and_only_the_newest_counts() {
    let (_served, client) = served().await;
    let none = client.get_stream_metadata("thing-1", &Default::default()).await.unwrap();
    assert!(matches!(none, StreamMetadataResult::NotFound));
    let acl = eventstore::Acl::Stream(StreamAclBuilder::new().add_read_roles("auditors").build());
    let first = StreamMetadata::builder().max_count(5).build();
    let second = StreamMetadata::builder().truncate_before(2).acl(acl).build();
    for metadata in [&first, &second] {
        client.set_stream_metadata("thing-1", &expecting(StreamState::Any), metadata).await.unwrap();
    }

    let StreamMetadataResult::Success(found) =
        client.get_stream_metadata("thing-1", &Default::default()).await.unwrap()
    else {
        panic!("no metadata")
    };
    assert_eq!((found.version(), found.metadata()), (1, &second));
    assert_eq!(revisions(&client, "$$thing-1").await, [1]);
    // A stream that has only metadata exists, for writers; there is nothing to read.
    assert!(matches!(read(&client, "thing-1", &from_end()).await, Err(Error::ResourceNotFound)));
    client.append_to_stream("thing-1", &expecting(StreamState::StreamExists), event("e")).await.unwrap();
}

#[tokio::test]
async fn count_and_truncation_hide_the_oldest_events_both_ways() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(50)).await.unwrap();
    let set = async |metadata: StreamMetadata| {
        client.set_stream_metadata("thing-1", &Default::default(), &metadata).await.unwrap();
    };

    set(StreamMetadata::builder().max_count(3).build()).await;
    assert_eq!(revisions(&client, "thing-1").await, [47, 48, 49]);
    assert_eq!(revisions_with(&client, "thing-1", &from_end()).await, [49, 48, 47]);
    client.append_to_stream("thing-1", &Default::default(), event("e")).await.unwrap();
    assert_eq!(revisions(&client, "thing-1").await, [48, 49, 50]);

    set(StreamMetadata::builder().max_count(3).truncate_before(50).build()).await;
    assert_eq!(revisions(&client, "thing-1").await, [50]);
    let below = ReadStreamOptions::default().backwards().position(StreamPosition::Position(49));
    assert_eq!(revisions_with(&client, "thing-1", &below).await, [0_u64; 0]);

    set(StreamMetadata::default()).await;
    assert_eq!(revisions(&client, "thing-1").await.len(), 51);
}

#[tokio::test]
async fn an_empty_stretch_says_where_the_stream_begins_and_ends() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(3)).await.unwrap();
    let metadata = StreamMetadata::builder().truncate_before(3).build();
    client.set_stream_metadata("thing-1", &Default::default(), &metadata).await.unwrap();

    let mut read = client.read_stream("thing-1", &Default::default()).await.unwrap();
    let first = read.next_read_event().await.unwrap();
    assert!(matches!(first, Some(ReadEvent::FirstStreamPosition(3))));
    let last = read.next_read_event().await.unwrap();
    assert!(matches!(last, Some(ReadEvent::LastStreamPosition(2))));
    assert!(read.next_read_event().await.unwrap().is_none());
}

#[tokio::test]
async fn metadata_written_to_a_deleted_stream_shows_it_again_from_its_end_on() {
    let (_served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), events(2)).await.unwrap();
    client.delete_stream("thing-1", &DeleteStreamOptions::default()).await.unwrap();
    let metadata = StreamMetadata::builder().insert_custom_property("color", "red").build();
    client.set_stream_metadata("thing-1", &Default::default(), &metadata).await.unwrap();

    client.append_to_stream("thing-1", &expecting(StreamState::StreamRevision(1)), event("e")).await.unwrap();
    assert_eq!(revisions(&client, "thing-1").await, [2]);
    let odd = EventData::binary("$metadata", "no json".into());
    client.append_to_stream("$$thing-1", &Default::default(), odd).await.unwrap();
    assert_eq!(revisions(&client, "thing-1").await, [0, 1, 2]);
}
