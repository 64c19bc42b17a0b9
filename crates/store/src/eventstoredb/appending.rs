//! Appending by `BatchAppend`.
//!
//! The client gives a batch up at the first append that is refused, and with it all others that are under way. Those are
//! sent again, with the same event ids, by a new batch; `EventStoreDB` knows them for the same.
//!
//! **Invariant.** Every append has its own true answer, or *uncertain*, whatever becomes of its neighbours.

use std::{sync::Arc, time::Duration};

use eventstore::{BatchAppendClient, BatchAppendOptions, BatchWriteResult, Error, EventData, StreamState};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout_at};

use super::Connection;
use crate::{
    APPEND_BYTES_MAX, Appended, ContentType, Direction, Expected, NewEvent, PATIENCE, Position, StoreError,
    StreamName, check,
};

/// Between a batch that was given up and the next: at first, and at most.
const AGAIN: Duration = Duration::from_millis(1);
const AGAIN_MAX: Duration = Duration::from_millis(250);

impl Connection {
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: &[NewEvent],
    ) -> Result<Appended, StoreError> {
        check(events)?;
        let data = events.iter().map(event_data).collect::<Result<Vec<_>, _>>()?;
        let deadline = Instant::now() + PATIENCE;
        let (mut sent, mut again) = (false, AGAIN);
        loop {
            let answer = timeout_at(deadline, async {
                let batch = self.batch().await?;
                sent = true;
                let answer = batch.append_to_stream(stream.as_str(), state(expected), data.clone()).await;
                if answer.is_err() {
                    self.give_up(&batch).await;
                }
                answer
            });
            let error = match answer.await {
                Ok(Ok(done)) => return self.appended(stream, &done).await,
                Ok(Err(error)) => error,
                Err(_) if sent => return Err(StoreError::Uncertain("no answer in time".into())),
                Err(_) => return Err(StoreError::Unavailable("no connection in time".into())),
            };
            if let Some(refusal) = self.refusal(stream, events, &error).await {
                return Err(refusal);
            }
            let failed = self.failed(&error);
            if matches!(error, Error::AccessDenied) {
                return Err(failed);
            }
            sleep(again).await;
            again = (again * 2).min(AGAIN_MAX);
        }
    }

    /// What the server itself said of this append; `None` where it was only in the way of another's refusal.
    async fn refusal(&self, stream: &StreamName, events: &[NewEvent], error: &Error) -> Option<StoreError> {
        let Error::Grpc { message, .. } = error else { return None };
        Some(match message.as_str() {
            "WrongExpectedVersion" => {
                match self.read_stream(stream, Direction::Backward, u64::MAX, 1).await {
                    Ok(newest) => StoreError::Conflict {
                        stream: stream.clone(),
                        actual: newest.first().map(|event| event.revision),
                    },
                    Err(error) => error,
                }
            }
            "StreamDeleted" => StoreError::Deleted(stream.clone()),
            "MaximumAppendSizeExceeded" => StoreError::TooLarge {
                size: events.iter().map(|event| event.data.len() + event.metadata.len()).sum(),
                limit: APPEND_BYTES_MAX,
            },
            "BadRequest" => StoreError::Invalid("the server can't read it"),
            "AccessDenied" => StoreError::Unavailable("the server does not let this user append".into()),
            "Timeout" => StoreError::Uncertain("the server's own time was up".into()),
            _ => return None,
        })
    }

    async fn appended(&self, stream: &StreamName, done: &BatchWriteResult) -> Result<Appended, StoreError> {
        let revision = done.current_revision().unwrap_or_default();
        if let Some(position) = done.current_position() {
            return Ok(Appended { revision, position: Position(position.commit) });
        }
        // As it answers a repeat at times.
        let there = self.read_stream(stream, Direction::Forward, revision, 1).await?;
        let position = there.first().map(|event| event.position).unwrap_or_default();
        Ok(Appended { revision, position })
    }

    async fn batch(&self) -> Result<Arc<BatchAppendClient>, Error> {
        let mut batch = self.batch.lock().await;
        if let Some(batch) = &*batch {
            return Ok(Arc::clone(batch));
        }
        let new = Arc::new(self.client().batch_append(&BatchAppendOptions::default()).await?);
        *batch = Some(Arc::clone(&new));
        Ok(new)
    }

    async fn give_up(&self, given_up: &Arc<BatchAppendClient>) {
        let mut batch = self.batch.lock().await;
        if batch.as_ref().is_some_and(|batch| Arc::ptr_eq(batch, given_up)) {
            *batch = None;
        }
    }
}

fn state(expected: Expected) -> StreamState {
    match expected {
        Expected::NoStream => StreamState::NoStream,
        Expected::Revision(revision) => StreamState::StreamRevision(revision),
        Expected::Any => StreamState::Any,
        Expected::StreamExists => StreamState::StreamExists,
    }
}

/// The client takes JSON only as something to be written as JSON, so it has to be some.
fn event_data(event: &NewEvent) -> Result<EventData, StoreError> {
    let name = &*event.name;
    let made = match event.content_type {
        ContentType::Json => {
            let json: &RawValue = serde_json::from_slice(&event.data)
                .map_err(|_| StoreError::Invalid("an event that is to be JSON is none"))?;
            EventData::json(name, &json)
                .map_err(|_| StoreError::Invalid("an event that is to be JSON is none"))?
        }
        ContentType::Octets => EventData::binary(name, event.data.clone()),
    };
    Ok(made.id(event.id).metadata(event.metadata.clone()))
}
