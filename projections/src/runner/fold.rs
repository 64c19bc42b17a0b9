//! Folding: from a page of events to the rows it changes.

use std::collections::{HashMap, hash_map};

use anyhow::Result;
use store::Position;

use crate::{EventRef, Projection};

/// Rows remembered before all are let go of; a page may add as many as it touches.
const RECENT_MAX: usize = if cfg!(test) { 10 } else { 4096 };

/// Where a projection had to stop: an event that is its business and that it can't read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event {name} at position {position} (stream {stream}) can't be read: {why}")]
pub struct Stop {
    pub position: Position,
    pub stream: String,
    pub name: String,
    pub why: String,
}

/// A page of the log as the projection reads it.
pub(super) struct Batch<P: Projection> {
    /// Each with where its keys end in `keys`.
    events: Vec<(P::Event, usize)>,
    keys: Vec<P::Key>,
    /// Everything up to here is in it.
    pub(super) upto: Position,
    /// Of the page, others' included.
    pub(super) seen: u64,
    /// The batch ends here, before the event that can't be read.
    pub(super) stop: Option<Stop>,
}

impl<P: Projection> Batch<P> {
    /// Reads a page of what lies behind `after` and up to `upto`.
    pub(super) fn read<'a>(
        after: Position,
        events: impl ExactSizeIterator<Item = EventRef<'a>>,
        upto: Position,
    ) -> Self {
        let mut batch = Self {
            events: Vec::with_capacity(events.len()),
            keys: Vec::with_capacity(events.len()),
            upto: after,
            seen: 0,
            stop: None,
        };
        for event in events {
            // What the store itself says of a stream, as that it was deleted underneath, is no event of ours: rows stay as
            // they are, and whoever needs the stream is told by the store.
            let read = if event.name.starts_with('$') { Ok(None) } else { P::read(event) };
            match read {
                Ok(Some(mine)) => {
                    P::keys(&mine, &mut batch.keys);
                    batch.events.push((mine, batch.keys.len()));
                }
                Ok(None) => {}
                Err(unreadable) => {
                    batch.stop = Some(Stop {
                        position: event.position,
                        stream: event.stream.to_owned(),
                        name: event.name.to_owned(),
                        why: unreadable.0,
                    });
                    return batch;
                }
            }
            batch.upto = event.position;
            batch.seen += 1;
        }
        batch.upto = upto;
        batch
    }
}

/// Rows in the making: all that were touched since the last write.
pub(super) struct Fold<P: Projection> {
    rows: HashMap<P::Key, Option<P::Row>>,
}

impl<P: Projection> Fold<P> {
    pub(super) fn new() -> Self {
        Self { rows: HashMap::new() }
    }

    /// Applies a batch; rows not seen before come from `load`.
    pub(super) fn apply(
        &mut self,
        batch: Batch<P>,
        mut load: impl FnMut(&P::Key) -> Result<Option<P::Row>>,
    ) -> Result<()> {
        let mut keys = batch.keys.into_iter();
        let mut begin = 0;
        for (event, end) in batch.events {
            for key in keys.by_ref().take(end - begin) {
                match self.rows.entry(key) {
                    hash_map::Entry::Occupied(mut entry) => {
                        let row = entry.get_mut().take();
                        let row = P::evolve(entry.key(), row, &event);
                        entry.insert(row);
                    }
                    hash_map::Entry::Vacant(entry) => {
                        let row = P::evolve(entry.key(), load(entry.key())?, &event);
                        entry.insert(row);
                    }
                }
            }
            begin = end;
        }
        Ok(())
    }

    /// Those touched, each with what it has become.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&P::Key, &Option<P::Row>)> {
        self.rows.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = P::Key> {
        self.rows.keys().cloned()
    }
}

/// Rows as they were written last: what is touched once is likely touched again soon, and need not be read back.
///
/// **Invariant.** Only what was committed is kept; who fails to commit keeps nothing.
pub(super) struct Recent<P: Projection> {
    rows: HashMap<P::Key, Option<P::Row>>,
}

impl<P: Projection> Recent<P> {
    pub(super) fn new() -> Self {
        Self { rows: HashMap::new() }
    }

    pub(super) fn take_or(
        &mut self,
        key: &P::Key,
        load: impl FnOnce(&P::Key) -> Result<Option<P::Row>>,
    ) -> Result<Option<P::Row>> {
        self.rows.remove(key).map_or_else(|| load(key), Ok)
    }

    pub(super) fn keep(&mut self, fold: Fold<P>) {
        if self.rows.len() >= RECENT_MAX {
            self.rows.clear();
        }
        self.rows.extend(fold.rows);
    }
}
