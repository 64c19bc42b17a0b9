//! A stretch of one stream.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use store::{Direction, Recorded, StoreError, StreamName};
use tonic::Status;

use super::{Batch, Form, From, Replies, failed, flatten};
use crate::{
    Server, limits,
    protocol::reading::{StreamNotFound, read_reply::Content},
    refusal,
    retention::Shown,
    wire,
};

/// `positions` says that the client wants to know where the stream begins and ends.
pub(super) async fn read(
    server: Arc<Server>,
    name: StreamName,
    direction: Direction,
    from: From<u64>,
    count: u64,
    positions: bool,
    form: Form,
) -> Result<Replies, Status> {
    let state = server.store.state(&name).await.map_err(failed)?;
    if state.deleted {
        return Err(refusal::stream_deleted(&name));
    }
    let Some(shown) = Shown::of(&state, name.metadata_of().is_some()) else {
        let not_found = Content::StreamNotFound(StreamNotFound { stream: Some(wire::stream(&name)) });
        return Ok(stream::iter([Ok(wire::reply(not_found))]).boxed());
    };
    let asked = match (from, direction) {
        (From::Start, _) => 0,
        (From::At(revision), _) => revision,
        (From::End, _) => u64::MAX,
    };
    let next = match direction {
        Direction::Forward => asked.max(shown.first),
        Direction::Backward => asked.min(shown.last),
    };
    let begins_later = direction == Direction::Forward && asked < shown.first;
    let reading = Reading {
        cursor: Cursor::new(name, direction, next),
        server,
        shown,
        left: count,
        anything: false,
        ends: Ends { positions, begins_later },
        form,
    };
    Ok(flatten(stream::unfold(Some(reading), |reading| async { reading?.next().await })))
}

struct Reading {
    server: Arc<Server>,
    cursor: Cursor,
    shown: Shown,
    left: u64,
    anything: bool,
    ends: Ends,
    form: Form,
}

struct Ends {
    positions: bool,
    /// Than it was asked for.
    begins_later: bool,
}

impl Reading {
    async fn next(mut self) -> Option<(Batch, Option<Self>)> {
        if self.left == 0 || !self.shown.revisions().contains(&self.cursor.next) {
            return Some((self.end(), None));
        }
        let events = match self.cursor.read(&self.server, self.left).await {
            Ok(events) => events,
            Err(error) => return Some((vec![Err(failed(error))], None)),
        };
        let events: Vec<_> = events.into_iter().filter(|event| self.shown.shows(event)).collect();
        self.left -= events.len() as u64;
        self.anything |= !events.is_empty();
        if self.cursor.ended {
            self.left = 0;
        }
        let form = self.form;
        Some((events.into_iter().map(|event| Ok(form.reply(event))).collect(), Some(self)))
    }

    fn end(&self) -> Batch {
        let mut ends = Vec::new();
        if self.ends.positions {
            if self.ends.begins_later && !self.anything {
                ends.push(Content::FirstStreamPosition(self.shown.first));
            }
            ends.push(Content::LastStreamPosition(self.shown.last));
        }
        ends.into_iter().map(|end| Ok(wire::reply(end))).collect()
    }
}

/// A place in a stream, from which it is read on. Reads as much at a time as makes a page of bytes, judged by what was
/// read before.
pub(super) struct Cursor {
    stream: StreamName,
    direction: Direction,
    pub(super) next: u64,
    /// There was nothing further.
    pub(super) ended: bool,
    size: usize,
}

/// Events of the first page, of which nothing is known.
const FIRST_PAGE: usize = 32;

impl Cursor {
    pub(super) fn new(stream: StreamName, direction: Direction, next: u64) -> Self {
        Self { stream, direction, next, ended: false, size: FIRST_PAGE }
    }

    /// The next page, of at most `limit` events.
    pub(super) async fn read(&mut self, server: &Server, limit: u64) -> Result<Vec<Recorded>, StoreError> {
        let limit = usize::try_from(limit).map_or(self.size, |limit| limit.min(self.size));
        let events = server.store.read_stream(&self.stream, self.direction, self.next, limit).await?;
        self.ended = events.len() < limit;
        match (self.direction, events.last()) {
            (Direction::Forward, Some(last)) => self.next = last.revision + 1,
            (Direction::Backward, Some(last)) if last.revision > 0 => self.next = last.revision - 1,
            _ => self.ended = true,
        }
        let bytes: usize = events.iter().map(|event| event.data.len() + event.metadata.len()).sum();
        let by_bytes = limits::PAGE_BYTES * events.len() / bytes.max(1);
        self.size = by_bytes.clamp(1, self.size * 2).min(limits::PAGE_EVENTS_MAX);
        Ok(events)
    }
}
