//! Between the protocol's forms and the store's.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use store::{ContentType, Expected, Position, Recorded, StreamName};
use tonic::Status;
use uuid::Uuid;

use crate::protocol::{
    reading::{Property, ReadEvent, ReadReply, RecordedEvent, read_reply},
    shared::{self, Empty, LogPosition, StreamIdentifier, Time},
    writing::{Target, target},
};

pub(crate) fn uuid(id: Uuid, as_string: bool) -> shared::Uuid {
    use shared::uuid::{Halves, Value};
    let value = if as_string {
        Value::String(id.to_string())
    } else {
        let (most, least) = id.as_u64_pair();
        Value::Structured(Halves {
            most_significant: most.cast_signed(),
            least_significant: least.cast_signed(),
        })
    };
    shared::Uuid { value: Some(value) }
}

/// `None` for what is no UUID.
pub(crate) fn parse_uuid(id: &shared::Uuid) -> Option<Uuid> {
    use shared::uuid::Value;
    match id.value.as_ref()? {
        Value::Structured(halves) => Some(Uuid::from_u64_pair(
            halves.most_significant.cast_unsigned(),
            halves.least_significant.cast_unsigned(),
        )),
        Value::String(text) => text.parse().ok(),
    }
}

pub(crate) fn parse_stream(stream: Option<&StreamIdentifier>) -> Result<StreamName, &'static str> {
    let name = stream.map(|stream| &stream.name[..]).unwrap_or_default();
    let name = std::str::from_utf8(name).ok().and_then(StreamName::parse);
    name.ok_or("a stream's name has 1 to 256 bytes of UTF-8")
}

pub(crate) fn parse_target(target: &Target) -> Result<(StreamName, Expected), &'static str> {
    let stream = parse_stream(target.stream.as_ref())?;
    let expected = match target.expected {
        Some(target::Expected::Revision(revision)) => Expected::Revision(revision),
        Some(target::Expected::NoStream(_)) => Expected::NoStream,
        Some(target::Expected::Any(_)) => Expected::Any,
        Some(target::Expected::StreamExists(_)) => Expected::StreamExists,
        None => return Err("what is expected of the stream is not said"),
    };
    Ok((stream, expected))
}

pub(crate) fn stream(name: &StreamName) -> StreamIdentifier {
    StreamIdentifier { name: Bytes::copy_from_slice(name.as_str().as_bytes()) }
}

/// A record has one position here.
pub(crate) fn position(position: Position) -> LogPosition {
    LogPosition { commit: position.0, prepare: position.0 }
}

pub(crate) const NOTHING: Empty = Empty {};

pub(crate) fn event(event: Recorded, ids_as_strings: bool) -> ReadReply {
    let property = |key: &'static str, value| Property { key: Bytes::from_static(key.as_bytes()), value };
    let content_type = match event.content_type {
        ContentType::Json => "application/json",
        ContentType::Octets => "application/octet-stream",
    };
    let metadata = vec![
        property("type", Bytes::copy_from_slice(event.name.as_bytes())),
        property("created", (event.created_us * 10).to_string().into()),
        property("content-type", Bytes::from_static(content_type.as_bytes())),
    ];
    let recorded = RecordedEvent {
        id: Some(uuid(event.id, ids_as_strings)),
        stream: Some(stream(&event.stream)),
        revision: event.revision,
        prepare_position: event.position.0,
        commit_position: event.position.0,
        metadata,
        custom_metadata: event.metadata,
        data: event.data,
    };
    reply(read_reply::Content::Event(ReadEvent { event: Some(recorded), commit_position: event.position.0 }))
}

pub(crate) fn reply(content: read_reply::Content) -> ReadReply {
    ReadReply { content: Some(content) }
}

pub(crate) fn now() -> Time {
    let now = now_us();
    let nanos = i32::try_from(now.rem_euclid(1_000_000) * 1000).unwrap_or_default();
    Time { seconds: now.div_euclid(1_000_000), nanos }
}

/// Microseconds since the Unix epoch, by the clock that the store stamps events with.
#[expect(clippy::disallowed_methods, reason = "it is compared with the store's own clock, which is this one")]
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn invalid(what: &'static str) -> Status {
    Status::invalid_argument(what)
}
