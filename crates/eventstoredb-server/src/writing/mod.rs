//! Append, Delete and Tombstone; `batch` has `BatchAppend`.

pub(crate) mod batch;

use std::sync::Arc;

use store::{
    Appended, ContentType, Expected, NewEvent, StoreError, StreamName,
    served::{Deletion, ServedStore},
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Server,
    access::Caller,
    limits,
    protocol::writing::{
        AppendReply, AppendRequest, DeleteReply, DeleteRequest, ProposedEvent, Success, Target,
        WrongExpectedVersion, append_reply, append_request, delete_reply, success, wrong_expected_version,
    },
    refusal::{self, Refusal},
    retention,
    wire::{self, NOTHING},
};

pub(crate) async fn append(
    server: Arc<Server>,
    caller: Caller,
    request: Request<Streaming<AppendRequest>>,
) -> Result<Response<AppendReply>, Status> {
    let gathering = timeout(limits::WRITE, gather(request.into_inner())).await;
    let (target, events) = gathering.map_err(|_| Refusal::Late.into_status())??;
    let (stream, expected) = wire::parse_target(&target).map_err(wire::invalid)?;
    let result = match write(&*server.store, &caller, &stream, expected, events).await {
        Ok(success) => append_reply::Result::Success(success),
        Err(Refusal::Store(StoreError::Conflict { actual, .. }, _)) => {
            append_reply::Result::WrongExpectedVersion(wrong_expected_version(actual, expected))
        }
        Err(refusal) => return Err(refusal.into_status()),
    };
    Ok(Response::new(AppendReply { result: Some(result) }))
}

pub(crate) async fn delete(
    server: Arc<Server>,
    caller: Caller,
    request: Request<DeleteRequest>,
) -> Result<Response<DeleteReply>, Status> {
    remove(&server, &caller, request, Deletion::Soft).await
}

pub(crate) async fn tombstone(
    server: Arc<Server>,
    caller: Caller,
    request: Request<DeleteRequest>,
) -> Result<Response<DeleteReply>, Status> {
    remove(&server, &caller, request, Deletion::ForGood).await
}

async fn remove(
    server: &Server,
    caller: &Caller,
    request: Request<DeleteRequest>,
    deletion: Deletion,
) -> Result<Response<DeleteReply>, Status> {
    let target = request.into_inner().target.unwrap_or_default();
    let (stream, expected) = wire::parse_target(&target).map_err(wire::invalid)?;
    caller.may_change(&stream).map_err(Refusal::into_status)?;
    let deleting = timeout(limits::WRITE, server.store.delete(&stream, expected, deletion)).await;
    let deleted = deleting.map_err(|_| Refusal::Late.into_status())?;
    let position = deleted.map_err(|error| refusal::status(error, expected))?;
    Ok(Response::new(DeleteReply { place: Some(delete_reply::Place::Position(wire::position(position))) }))
}

/// The whole of an append that comes event by event.
async fn gather(mut messages: Streaming<AppendRequest>) -> Result<(Target, Vec<NewEvent>), Status> {
    let first = messages.message().await?.and_then(|message| message.content);
    let Some(append_request::Content::Target(target)) = first else {
        return Err(Status::invalid_argument("an append begins with its options"));
    };
    let mut gathered = Gathered::default();
    while let Some(message) = messages.message().await? {
        let Some(append_request::Content::Event(event)) = message.content else {
            return Err(Status::invalid_argument("options come once, and events follow"));
        };
        gathered.add(event).map_err(Refusal::into_status)?;
    }
    Ok((target, gathered.events))
}

/// Events of one append, as long as they are within the limits.
#[derive(Debug, Default)]
struct Gathered {
    events: Vec<NewEvent>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, proposed: ProposedEvent) -> Result<(), Refusal> {
        self.bytes += proposed.data.len() + proposed.custom_metadata.len();
        if self.bytes > limits::APPEND_BYTES_MAX || self.events.len() >= limits::APPEND_EVENTS_MAX {
            return Err(Refusal::TooLarge);
        }
        let id = proposed.id.as_ref().and_then(wire::parse_uuid).filter(|id| !id.is_nil());
        let id = id.ok_or(Refusal::Invalid("an event needs an id that is not empty"))?;
        let property = |name| proposed.metadata.get(name).ok_or(Refusal::MissingProperties);
        let content_type = match property("content-type")?.as_str() {
            "application/json" => ContentType::Json,
            _ => ContentType::Octets,
        };
        let name = property("type")?.as_str().into();
        let (data, metadata) = (proposed.data, proposed.custom_metadata);
        self.events.push(NewEvent { id, name, content_type, data, metadata });
        Ok(())
    }
}

async fn write(
    store: &dyn ServedStore,
    caller: &Caller,
    stream: &StreamName,
    expected: Expected,
    events: Vec<NewEvent>,
) -> Result<Success, Refusal> {
    caller.may_append(stream, &events)?;
    let refused = |error| Refusal::Store(error, expected);
    if events.is_empty() {
        return compare(store, stream, expected).await.map_err(refused);
    }
    let appending = timeout(limits::WRITE, store.append(stream, expected, events)).await;
    appending.map_err(|_| Refusal::Late)?.map(succeeded).map_err(refused)
}

fn succeeded(appended: Appended) -> Success {
    Success {
        current: Some(success::Current::Revision(appended.revision)),
        place: Some(success::Place::Position(wire::position(appended.position))),
    }
}

/// An append of nothing: only whether the stream is where it was expected.
async fn compare(
    store: &dyn ServedStore,
    stream: &StreamName,
    expected: Expected,
) -> Result<Success, StoreError> {
    let state = store.state(stream).await?;
    let hidden = retention::is_hidden(&state);
    if state.deleted || (hidden && expected == Expected::StreamExists) {
        return Err(StoreError::Deleted(stream.clone()));
    }
    let holds = match expected {
        Expected::Any => true,
        Expected::NoStream => hidden || state.last.is_none(),
        Expected::StreamExists => state.last.is_some() || state.metadata.is_some(),
        Expected::Revision(revision) => state.last == Some(revision),
    };
    if !holds {
        return Err(StoreError::Conflict { stream: stream.clone(), actual: state.last });
    }
    let current = state.last.map_or(success::Current::NoStream(NOTHING), success::Current::Revision);
    Ok(Success { current: Some(current), place: Some(success::Place::NoPosition(NOTHING)) })
}

fn wrong_expected_version(actual: Option<u64>, expected: Expected) -> WrongExpectedVersion {
    use wrong_expected_version::{Current, Expected as Wire, OldCurrent, OldExpected};
    let (old, new) = match expected {
        Expected::Revision(revision) => {
            (OldExpected::OldExpectedRevision(revision), Wire::ExpectedRevision(revision))
        }
        // How clients of 20.6.0 count a stream without events.
        Expected::NoStream => (OldExpected::OldExpectedRevision(u64::MAX), Wire::ExpectedNoStream(NOTHING)),
        Expected::Any => (OldExpected::OldAny(NOTHING), Wire::ExpectedAny(NOTHING)),
        Expected::StreamExists => {
            (OldExpected::OldStreamExists(NOTHING), Wire::ExpectedStreamExists(NOTHING))
        }
    };
    WrongExpectedVersion {
        old_current: Some(actual.map_or(OldCurrent::OldNoStream(NOTHING), OldCurrent::OldCurrentRevision)),
        old_expected: Some(old),
        current: Some(actual.map_or(Current::CurrentNoStream(NOTHING), Current::CurrentRevision)),
        expected: Some(new),
    }
}
