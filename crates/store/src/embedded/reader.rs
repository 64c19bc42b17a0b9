//! Reading: a few connections of their own, used off the async threads.
//!
//! **Invariant.** No read holds its view of the log for long, whatever is asked of it, because the journal can't be used
//! again from its start before the oldest view is gone: the whole log is read in stretches.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{schema, sql};
use crate::{
    Direction, Filter, Page, Position, Recorded, RecordedRef, StoreError, StreamName,
    served::{DELETED_REVISION, StreamState},
};

/// Rows looked at in one view.
const STRETCH: i64 = 8192;

/// Rows that are read on the caller's own thread.
const FEW: usize = 32;

/// Payload after which a page is full.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

macro_rules! select {
    ($rest:literal) => {
        select!("events", $rest)
    };
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT position, stream, revision, events.id, name, content_type, created_us, data, metadata FROM ",
            $from,
            " ",
            $rest
        )
    };
}

pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(file: PathBuf, count: usize) -> Self {
        Self { file, idle: Mutex::default(), permits: Arc::new(Semaphore::new(count.max(1))) }
    }

    /// Lets go of the file. Who still reads is finished first by itself; who comes later is refused.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) async fn stream(
        self: &Arc<Self>,
        stream: StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        if limit <= FEW {
            return self
                .run_here(|connection| read_stream(connection, &stream, direction, from, limit))
                .await?;
        }
        self.run(move |connection| read_stream(connection, &stream, direction, from, limit)).await?
    }

    pub(super) async fn at(
        self: &Arc<Self>,
        positions: &[Position],
    ) -> Result<Vec<Option<Recorded>>, StoreError> {
        let mut found = Vec::with_capacity(positions.len());
        for few in positions.chunks(FEW) {
            found.extend(self.run_here(|connection| read_at(connection, few)).await?);
        }
        Ok(found)
    }

    pub(super) async fn page(
        self: &Arc<Self>,
        after: Position,
        filter: Arc<Filter>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        // Where nothing is passed over, few events are few rows.
        if limit <= FEW && filter.stream_prefixes.is_empty() {
            return self.run_here(|connection| read_page(connection, after, &filter, limit)).await;
        }
        self.run(move |connection| read_page(connection, after, &filter, limit)).await
    }

    pub(super) async fn page_backward(
        self: &Arc<Self>,
        before: Position,
        filter: Filter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.run(move |connection| fill_page(limit, |each| walk_back(connection, before, &filter, each)))
            .await
    }

    pub(super) async fn state(self: &Arc<Self>, stream: StreamName) -> Result<StreamState, StoreError> {
        self.run_here(|connection| read_state(connection, &stream)).await
    }

    /// Blocks, on a connection of its own, so that a rebuild does not take one from those who follow.
    pub(super) fn scan(
        &self,
        mut after: Position,
        upto: Position,
        filter: &Filter,
        each: &mut dyn FnMut(RecordedRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, StoreError> {
        let mut scan = || {
            let connection = schema::open_reader(&self.file)?;
            loop {
                let stop;
                (after, stop) = walk(&connection, after, upto, filter, &mut *each)?;
                if stop != Stop::Stretch {
                    return Ok(after);
                }
            }
        };
        scan().map_err(|error| explain(&error))
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| super::closed())?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || readers.read(permit, work));
        match reading.await {
            Ok(answer) => answer.map_err(|error| explain(&error)),
            Err(error) => Err(StoreError::Unavailable(format!("reading was broken off: {error}"))),
        }
    }

    /// A read of a few rows takes less than handing it to another thread, and is done on this one.
    async fn run_here<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| super::closed())?;
        self.read(permit, work).map_err(|error| explain(&error))
    }

    fn read<T>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| schema::open_reader(&self.file), Ok)?;
        // A connection that failed is not used again.
        let answer = work(&connection)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.permits.is_closed() {
            idle.push(connection);
        }
        drop(idle);
        drop(permit);
        Ok(answer)
    }
}

fn read_stream(
    connection: &Connection,
    stream: &StreamName,
    direction: Direction,
    from: u64,
    limit: usize,
) -> Result<Result<Vec<Recorded>, StoreError>, rusqlite::Error> {
    let query = match direction {
        Direction::Forward => {
            select!("WHERE stream = ?1 AND revision >= ?2 AND name <> '' ORDER BY revision LIMIT ?3")
        }
        Direction::Backward => {
            select!("WHERE stream = ?1 AND revision <= ?2 AND name <> '' ORDER BY revision DESC LIMIT ?3")
        }
    };
    let mut statement = connection.prepare_cached(query)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((stream.as_str(), sql(from), limit))?;
    let mut events = Vec::new();
    let mut copies = Copies::default();
    while let Some(row) = rows.next()? {
        let event = decode(row)?;
        if event.revision == DELETED_REVISION {
            return Ok(Err(StoreError::Deleted(stream.clone())));
        }
        events.push(copies.recorded(&event, Some(stream)));
    }
    Ok(Ok(events))
}

/// By one query: the view is taken once, and what lies on the way to several of the events is read once.
fn read_at(
    connection: &Connection,
    positions: &[Position],
) -> Result<Vec<Option<Recorded>>, rusqlite::Error> {
    // Not by `IN`, for which `SQLite` would make a table of what is wanted.
    let query = select!("json_each(?1) CROSS JOIN events", "WHERE position = value AND name <> ''");
    let mut statement = connection.prepare_cached(query)?;
    let wanted: Vec<_> = positions.iter().map(|position| sql(position.0).to_string()).collect();
    let mut rows = statement.query((format!("[{}]", wanted.join(",")),))?;
    let (mut found, mut copies) = (vec![None; positions.len()], Copies::default());
    while let Some(row) = rows.next()? {
        let event = copies.recorded(&decode(row)?, None);
        for (_, place) in
            positions.iter().zip(&mut found).filter(|(position, _)| **position == event.position)
        {
            *place = Some(event.clone());
        }
    }
    Ok(found)
}

fn read_page(
    connection: &Connection,
    after: Position,
    filter: &Filter,
    limit: usize,
) -> Result<Page, rusqlite::Error> {
    fill_page(limit, |each| walk(connection, after, Position(u64::MAX), filter, each))
}

type Each<'a> = &'a mut dyn FnMut(RecordedRef<'_>) -> ControlFlow<()>;

/// Takes what the walk shows until the page is full.
fn fill_page(
    limit: usize,
    walk: impl FnOnce(Each<'_>) -> Result<(Position, Stop), rusqlite::Error>,
) -> Result<Page, rusqlite::Error> {
    let mut events = Vec::new();
    let mut copies = Copies::default();
    let mut bytes = 0;
    let (upto, stop) = walk(&mut |event| {
        events.push(copies.recorded(&event, None));
        bytes += event.data.len() + event.metadata.len();
        if events.len() >= limit || bytes >= PAGE_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(Page { events, upto, at_head: stop == Stop::End })
}

/// In one view, so that what it says belongs together.
fn read_state(connection: &Connection, stream: &StreamName) -> Result<StreamState, rusqlite::Error> {
    let view = connection.unchecked_transaction()?;
    let mut newest = view.prepare_cached(
        "SELECT revision, data FROM events WHERE stream = ?1 ORDER BY revision DESC LIMIT 1",
    )?;
    let mut newest = |stream: &StreamName| {
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Vec<u8>>(1)?));
        newest.query_row((stream.as_str(),), read).optional()
    };
    let last = newest(stream)?.map(|(revision, _)| revision);
    let about = |revision: Option<u64>| revision == Some(DELETED_REVISION);
    let deleted = match stream.metadata_of() {
        Some(of) => about(newest(&of)?.map(|(revision, _)| revision)),
        None => about(last),
    };
    let metadata = stream.metadata().map_or(Ok(None), |holder| newest(&holder))?;
    Ok(StreamState { last, deleted, metadata: metadata.map(|(_, data)| data.into()) })
}

/// Why a walk ended.
#[derive(PartialEq)]
enum Stop {
    /// There was nothing further.
    End,
    /// It had looked at as many rows as one view may.
    Stretch,
    /// It was told to.
    Told,
}

/// Looks at one stretch behind `after`; answers with the last position it looked at.
fn walk(
    connection: &Connection,
    mut after: Position,
    upto: Position,
    filter: &Filter,
    mut each: impl FnMut(RecordedRef<'_>) -> ControlFlow<()>,
) -> Result<(Position, Stop), rusqlite::Error> {
    let query = select!("WHERE position > ?1 AND position <= ?2 ORDER BY position");
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query((sql(after.0), sql(upto.0)))?;
    for _ in 0..STRETCH {
        let Some(row) = rows.next()? else {
            return Ok((after, Stop::End));
        };
        let event = decode(row)?;
        after = event.position;
        if is_shown(&event, filter) && each(event).is_break() {
            return Ok((after, Stop::Told));
        }
    }
    Ok((after, Stop::Stretch))
}

/// The same the other way, from before `before`.
fn walk_back(
    connection: &Connection,
    mut before: Position,
    filter: &Filter,
    mut each: impl FnMut(RecordedRef<'_>) -> ControlFlow<()>,
) -> Result<(Position, Stop), rusqlite::Error> {
    let mut statement =
        connection.prepare_cached(select!("WHERE position < ?1 ORDER BY position DESC LIMIT ?2"))?;
    let mut rows = statement.query((sql(before.0), STRETCH))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let event = decode(row)?;
        (before, looked_at) = (event.position, looked_at + 1);
        if is_shown(&event, filter) && each(event).is_break() {
            return Ok((before, Stop::Told));
        }
    }
    Ok((before, if looked_at < STRETCH { Stop::End } else { Stop::Stretch }))
}

/// What has no name is what is left of an event that was let go of.
pub(super) fn is_shown(event: &RecordedRef<'_>, filter: &Filter) -> bool {
    !event.name.is_empty() && filter.matches(event.stream)
}

fn decode<'row>(row: &'row Row<'_>) -> Result<RecordedRef<'row>, rusqlite::Error> {
    Ok(RecordedRef {
        position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
        stream: row.get_ref(1)?.as_str()?,
        revision: row.get::<_, i64>(2)?.cast_unsigned(),
        id: Uuid::from_bytes(row.get(3)?),
        name: row.get_ref(4)?.as_str()?,
        content_type: super::content_type_from_sql(row.get(5)?),
        created_us: row.get(6)?,
        data: row.get_ref(7)?.as_bytes()?,
        metadata: row.get_ref(8)?.as_bytes()?,
    })
}

/// Copies what leaves the store. Payloads go into shared buffers and names that were just seen are shared, because
/// otherwise reading would spend as much time on small allocations as on reading. Keeping one event keeps its buffer.
#[derive(Default)]
struct Copies {
    buffer: BytesMut,
    /// Of the buffer when it was new.
    size: usize,
    /// The event types seen last, as many as are quickly compared.
    names: VecDeque<Arc<str>>,
}

impl Copies {
    const BUFFER_MIN: usize = 1024;
    const BUFFER_MAX: usize = 64 * 1024;
    const NAMES: usize = 8;

    /// `stream` is the event's, where it is at hand.
    fn recorded(&mut self, event: &RecordedRef<'_>, stream: Option<&StreamName>) -> Recorded {
        Recorded {
            id: event.id,
            stream: stream.map_or_else(|| StreamName(event.stream.into()), StreamName::clone),
            revision: event.revision,
            position: event.position,
            name: self.name(event.name),
            content_type: event.content_type,
            data: self.bytes(event.data),
            metadata: self.bytes(event.metadata),
            created_us: event.created_us,
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        self.names.truncate(Self::NAMES - 1);
        self.names.push_front(name.into());
        Arc::clone(&self.names[0])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        if self.buffer.capacity() < bytes.len() {
            // Small at first, so that a short read does not take much, then twice as large each time.
            self.size = (self.size * 2).clamp(Self::BUFFER_MIN, Self::BUFFER_MAX);
            self.buffer = BytesMut::with_capacity(self.size.max(bytes.len()));
        }
        self.buffer.extend_from_slice(bytes);
        self.buffer.split().freeze()
    }
}

fn explain(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        // Short of memory, of file handles or of a working disk: it may be over the next time.
        Some(code) if !matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Unavailable(error.to_string())
        }
        _ => StoreError::Broken(error.to_string()),
    }
}
