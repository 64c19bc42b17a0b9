//! Appending by `BatchAppend`.
//!
//! The client gives a batch up at the first append that is refused, and with it all others that are under way. Those are
//! sent again, with the same event ids, by a new batch; `EventStoreDB` knows them for the same. So that a refusal
//! disturbs few, a batch takes few at a time, and there are many batches.
//!
//! **Invariant.** Every append has its own true answer, or *uncertain*, whatever becomes of its neighbours.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventstore::{BatchAppendClient, BatchAppendOptions, BatchWriteResult, Error, EventData, StreamState};
use futures_util::{StreamExt, stream};
use serde_json::value::RawValue;
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

use super::connection::{Connection, as_user};
use crate::{
    APPEND_BYTES_MAX, Append, Appended, ContentType, Direction, Expected, NewEvent, Position, StoreError,
    StreamName, check,
};

/// Appends under way in one batch, and batches. Their product is what may be under way at all.
const BATCH: usize = 64;
const BATCHES: usize = 16;

/// Before an append is sent again: at first, and at most.
const AGAIN: Duration = Duration::from_millis(1);
const AGAIN_MAX: Duration = Duration::from_millis(250);

/// An append without an answer is sent again after this part of the patience.
const SENDINGS: u32 = 3;

/// How the client tells those whose batch ended with another's refusal.
const OF_A_NEIGHBOUR: &str = "Batch-append stream has been closed";

pub(super) struct Batches {
    slots: Vec<Slot>,
    /// Where to wait next, when all are full.
    next: AtomicUsize,
}

struct Slot {
    permits: Semaphore,
    open: Mutex<Option<Arc<Batch>>>,
}

struct Batch {
    client: BatchAppendClient,
    /// Of the client it belongs to.
    generation: u64,
}

impl Default for Batches {
    fn default() -> Self {
        let slot = || Slot { permits: Semaphore::new(BATCH), open: Mutex::default() };
        Self { slots: std::iter::repeat_with(slot).take(BATCHES).collect(), next: AtomicUsize::default() }
    }
}

impl Batches {
    /// A place in the first batch that has one: few appends share one batch, and one sync of the server's disk.
    async fn slot(&self) -> (&Slot, Option<SemaphorePermit<'_>>) {
        for slot in &self.slots {
            if let Ok(permit) = slot.permits.try_acquire() {
                return (slot, Some(permit));
            }
        }
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % BATCHES];
        (slot, slot.permits.acquire().await.ok())
    }
}

impl Slot {
    async fn batch(&self, connection: &Connection) -> Result<Arc<Batch>, (u64, Error)> {
        let mut open = self.open.lock().await;
        let generation = connection.generation();
        if let Some(batch) = open.as_ref().filter(|batch| batch.generation == generation) {
            return Ok(Arc::clone(batch));
        }
        let (generation, client) = connection.client();
        let options = as_user!(connection, BatchAppendOptions::default());
        let client = client.batch_append(&options).await.map_err(|error| (generation, error))?;
        Ok(Arc::clone(open.insert(Arc::new(Batch { client, generation }))))
    }

    async fn give_up(&self, given_up: &Arc<Batch>) {
        let mut open = self.open.lock().await;
        if open.as_ref().is_some_and(|batch| Arc::ptr_eq(batch, given_up)) {
            *open = None;
        }
    }
}

/// Why one sending of an append brought no answer to give.
enum Setback {
    /// What the server said of this very append.
    Refused(String),
    /// It has to be sent again. It may have been recorded, or was not even sent.
    Again { perhaps_recorded: bool, why: String },
    /// Sending it again would not help.
    Failed(StoreError),
}

impl Connection {
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: &[NewEvent],
    ) -> Result<Appended, StoreError> {
        check(events)?;
        let deadline = Instant::now() + self.options.patience;
        let (mut uncertain, mut pause) = (false, AGAIN);
        loop {
            // Made again each time, which is rarer than a copy of it would be.
            let data = events.iter().map(event_data).collect::<Result<_, _>>()?;
            let why = match self.send(stream, expected, data, deadline).await {
                Ok(done) => return self.appended(stream, &done).await,
                Err(Setback::Failed(error)) => return Err(error),
                Err(Setback::Again { perhaps_recorded, why }) => {
                    uncertain |= perhaps_recorded;
                    why
                }
                Err(Setback::Refused(message)) => {
                    if let Some(refusal) = self.refusal(stream, events, &message).await {
                        return Err(refusal);
                    }
                    uncertain = true;
                    message
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(if uncertain {
                    StoreError::Uncertain(why)
                } else {
                    StoreError::Unavailable(why)
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// Appends of one line, or to one stream, go one after the other, each once the one before was answered.
    pub(super) async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        let mut answers: Vec<_> = std::iter::repeat_with(|| None).take(appends.len()).collect();
        let lines = in_lines(appends).into_iter().map(|line| async move {
            let mut answers = Vec::with_capacity(line.len());
            let mut broken = false;
            for (place, Append { stream, expected, events, .. }) in line {
                let answer = if broken {
                    Err(StoreError::Unavailable("what goes before it has no answer".into()))
                } else {
                    self.append(&stream, expected, &events).await
                };
                broken |= matches!(answer, Err(StoreError::Unavailable(_) | StoreError::Uncertain(_)));
                answers.push((place, answer));
            }
            answers
        });
        let mut answered = stream::iter(lines).buffer_unordered(BATCH * BATCHES);
        while let Some(line) = answered.next().await {
            for (place, answer) in line {
                answers[place] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    async fn send(
        &self,
        stream: &StreamName,
        expected: Expected,
        data: Vec<EventData>,
        deadline: Instant,
    ) -> Result<BatchWriteResult, Setback> {
        let unsent = |why: &str| Setback::Again { perhaps_recorded: false, why: why.into() };
        let room = timeout_at(deadline, self.batches.slot()).await;
        let (slot, _permit) = room.map_err(|_| unsent("too many appends are under way"))?;
        let until = deadline.min(Instant::now() + self.options.patience / SENDINGS);
        let batch = match timeout_at(until, slot.batch(self)).await {
            Ok(Ok(batch)) => batch,
            Ok(Err((generation, error))) => return Err(self.setback(generation, &error, false)),
            Err(_) => return Err(self.setback(self.client().0, &Error::DeadlineExceeded, false)),
        };
        let answer = batch.client.append_to_stream(stream.as_str(), state(expected), data);
        let answer = timeout_at(until, answer).await;
        if !matches!(answer, Ok(Ok(_))) {
            slot.give_up(&batch).await;
        }
        match answer.unwrap_or(Err(Error::DeadlineExceeded)) {
            Ok(done) => Ok(done),
            Err(Error::Grpc { message, .. }) => Err(Setback::Refused(message)),
            Err(Error::ServerError(why)) if why.contains(OF_A_NEIGHBOUR) => {
                Err(Setback::Again { perhaps_recorded: true, why })
            }
            Err(error) => {
                if let Error::NotLeaderException(_) = error {
                    // A batch does not tell its client that another node leads now; a read does.
                    let _ = self.head().await;
                }
                Err(self.setback(batch.generation, &error, true))
            }
        }
    }

    fn setback(&self, generation: u64, error: &Error, perhaps_recorded: bool) -> Setback {
        let failed = self.failed(generation, error);
        match error {
            Error::AccessDenied | Error::UnsupportedFeature => Setback::Failed(failed),
            _ => Setback::Again { perhaps_recorded, why: failed.to_string() },
        }
    }

    /// What the server's words mean; `None` where it may do better the next time.
    async fn refusal(&self, stream: &StreamName, events: &[NewEvent], message: &str) -> Option<StoreError> {
        Some(match message {
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
            "AccessDenied" => {
                StoreError::Unavailable(format!("the server does not let this user append to {stream}"))
            }
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
}

/// The appends with their places, those that have to follow each other together.
fn in_lines(appends: Vec<Append>) -> Vec<Vec<(usize, Append)>> {
    let mut lines: Vec<Vec<(usize, Append)>> = Vec::new();
    let mut known: HashMap<Arc<str>, usize> = HashMap::new();
    for (place, append) in appends.into_iter().enumerate() {
        let name = append.line.clone().unwrap_or_else(|| append.stream.as_str().into());
        let line = *known.entry(name).or_insert(lines.len());
        if line == lines.len() {
            lines.push(Vec::new());
        }
        lines[line].push((place, append));
    }
    lines
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
