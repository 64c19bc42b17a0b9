//! What was folded and is not written yet: events that come close together share a transaction, and of a row that changes
//! several times meanwhile only the last state is written.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use store::Position;
use tokio::{sync::watch, time::Instant};

use super::{
    file::Update,
    fold::{Batch, Fold, Recent},
};
use crate::Projection;

/// After a transaction of so many events comes a rest as long as the projection's pause; longer after more of them, up to
/// the limit.
const BUSY: usize = 32;
const REST_MAX: Duration = Duration::from_millis(250);
/// Rows that wait to be written. Few in tests, so that they come to that.
const ROWS_MAX: usize = if cfg!(test) { 10 } else { 8192 };
/// How long what is not our business may move us on without a write that says so. After a crash that much is read again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Rows that changed since the last transaction.
pub(super) struct Gathered<P: Projection> {
    rows: Fold<P>,
    recent: Recent<P>,
    /// Those that were read since the rows began to change.
    events: usize,
    /// Everything up to here is in the rows, or no business of theirs.
    pub(super) folded: Position,
    /// Everything up to here is in the file, or no business of its rows.
    pub(super) shown: Position,
    /// The file's checkpoint.
    pub(super) written: Position,
    written_at: Instant,
    /// Nothing is written before this, unless somebody waits for it or it becomes too much.
    rest_until: Instant,
}

impl<P: Projection> Gathered<P> {
    pub(super) fn behind(written: Position) -> Self {
        let now = Instant::now();
        Self {
            rows: Fold::new(),
            recent: Recent::new(),
            events: 0,
            folded: written,
            shown: written,
            written,
            written_at: now,
            rest_until: now,
        }
    }

    /// Folds what comes next, rows being read from the file where they were not changed lately.
    pub(super) fn fold(&mut self, update: &Update<'_, P>, events: usize, batch: Batch<P>) -> Result<()> {
        let upto = batch.upto;
        self.rows.apply(batch, |key| self.recent.take_or(key, |key| update.load(key)))?;
        self.folded = upto;
        if self.rows.len() == 0 {
            self.shown = upto;
        } else {
            self.events += events;
        }
        Ok(())
    }

    /// Whether something is to be written now, given the nearest position that somebody waits for.
    pub(super) fn is_due(&self, asked: Option<Position>) -> bool {
        let now = Instant::now();
        if self.rows.len() == 0 {
            return self.folded > self.written && now >= self.written_at + CHECKPOINT_EVERY;
        }
        let is_asked = asked.is_some_and(|asked| self.shown < asked && asked <= self.folded);
        is_asked && now >= self.may_write_at() || now >= self.rest_until || self.rows.len() >= ROWS_MAX
    }

    /// Waits until something is to be written that was gathered before; for ever where there is nothing.
    pub(super) async fn due(&self, mut asked: watch::Receiver<Option<Position>>) {
        if self.rows.len() == 0 {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.may_write_at().min(self.rest_until)).await;
        let is_asked = |asked: &Option<Position>| asked.is_some_and(|asked| asked > self.shown);
        // That nobody waits any longer is the normal end.
        let _ = tokio::time::timeout_at(self.rest_until, asked.wait_for(is_asked)).await;
    }

    /// Writes what was gathered; answers with the keys of the rows.
    pub(super) fn write(&mut self, update: Update<'_, P>) -> Result<Arc<[P::Key]>> {
        update.write(self.rows.rows(), self.folded)?;
        let keys = self.rows.keys().collect();
        let pauses = u32::try_from((self.events / BUSY).max(1)).unwrap_or(u32::MAX);
        let rest = P::PAUSE.saturating_mul(pauses).min(REST_MAX);
        self.recent.keep(std::mem::replace(&mut self.rows, Fold::new()));
        self.events = 0;
        (self.written, self.shown) = (self.folded, self.folded);
        self.written_at = Instant::now();
        self.rest_until = self.written_at + rest;
        Ok(keys)
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> impl Iterator<Item = (&P::Key, &Option<P::Row>)> {
        self.rows.rows()
    }

    fn may_write_at(&self) -> Instant {
        self.written_at + P::PAUSE
    }
}
