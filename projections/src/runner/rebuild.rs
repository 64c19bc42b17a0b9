//! Making a read model from the log: folding in memory, then writing the rows in bulk.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use store::{EventStore, Position};
use tokio::runtime::Handle;

use super::{
    directory::{self, Directory},
    file::File,
    fold::{Fold, Stop},
    scan::scan,
};
use crate::Projection;

/// Rows folded in memory before they are written. What a rebuild may use is bounded by this, not by the log: a larger read
/// model is written in several goes, and rows touched again are read back. Few in tests, so that they come to that.
const ROWS_MAX: usize = if cfg!(test) { 10 } else { 100_000 };

/// What a rebuild did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Those looked at, of the categories the projection asks for.
    pub events: u64,
    pub rows: u64,
    pub duration: Duration,
}

/// Told the number of events so far, from time to time; may break off.
pub(super) type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// How catching up ended.
pub(super) enum CaughtUp {
    Yes {
        events: u64,
    },
    /// What was folded since the last write is lost, and will be folded again.
    BrokenOff,
    /// All that stands before the event which can't be read was written.
    Stopped(Stop),
}

/// Folds what lies between the file's checkpoint and `head`.
pub(super) fn catch_up<P: Projection>(
    file: &mut File<P>,
    store: &dyn EventStore,
    runtime: &Handle,
    head: Position,
    progress: Progress<'_>,
) -> Result<CaughtUp> {
    let checkpoint = file.checkpoint()?;
    let mut fold = Fold::<P>::new();
    let mut events = 0;
    let mut upto = checkpoint;
    let mut end = CaughtUp::Yes { events: 0 };
    // Until something was written into a new file there is nothing to be read from it.
    let mut empty = checkpoint == Position::START;
    scan::<P>(store, runtime, checkpoint, head, |mut batch| {
        events += batch.seen;
        upto = batch.upto;
        let stop = batch.stop.take();
        fold.apply(batch, |key| if empty { Ok(None) } else { file.load(key) })?;
        if fold.len() >= ROWS_MAX {
            file.begin()?.write(fold.rows(), upto)?;
            fold.clear();
            empty = false;
        }
        if let Some(stop) = stop {
            end = CaughtUp::Stopped(stop);
            return Ok(ControlFlow::Break(()));
        }
        let go_on = progress(events);
        if go_on.is_break() {
            end = CaughtUp::BrokenOff;
        }
        Ok(go_on)
    })?;
    if matches!(end, CaughtUp::BrokenOff) {
        return Ok(end);
    }
    file.begin()?.write(fold.rows(), upto)?;
    if let CaughtUp::Yes { events: all } = &mut end {
        *all = events;
    }
    Ok(end)
}

/// Rebuilds the read model `P` in the data directory of a hub that is not running. Nothing changes unless all of it
/// succeeds.
pub async fn rebuild<P: Projection>(store: Arc<dyn EventStore>, data: &Path) -> Result<Report> {
    let runtime = Handle::current();
    let directory = Directory::take(data, P::NAME)?;
    let rebuilding = tokio::task::spawn_blocking(move || {
        let former = directory.current()?;
        let path = directory.building()?;
        let head = runtime.block_on(store.head())?;
        let built = build::<P>(&path, &*store, &runtime, head, &mut |_| ControlFlow::Continue(()))?;
        let report = built.complete()?;
        directory.switch_to(&path)?;
        former.map_or(Ok(()), |former| directory::remove(&former))?;
        Ok(report)
    });
    rebuilding.await.context("rebuilding ended before its time")?
}

/// How building a file ended.
pub(super) enum Built {
    Complete(Report),
    BrokenOff,
    Stopped(Stop),
}

impl Built {
    pub(super) fn complete(self) -> Result<Report> {
        match self {
            Self::Complete(report) => Ok(report),
            Self::BrokenOff => bail!("it was broken off, since the hub stops"),
            Self::Stopped(stop) => Err(stop.into()),
        }
    }
}

/// Builds a file at `path` that is complete but for its name, as of `head`.
pub(super) fn build<P: Projection>(
    path: &Path,
    store: &dyn EventStore,
    runtime: &Handle,
    head: Position,
    progress: Progress<'_>,
) -> Result<Built> {
    let begin = Instant::now();
    let mut file = File::<P>::create(path, store.id())?;
    let events = match catch_up(&mut file, store, runtime, head, progress)? {
        CaughtUp::Yes { events } => events,
        CaughtUp::BrokenOff => return Ok(Built::BrokenOff),
        CaughtUp::Stopped(stop) => return Ok(Built::Stopped(stop)),
    };
    let rows = file.count()?;
    file.finish(path)?;
    Ok(Built::Complete(Report { events, rows, duration: begin.elapsed() }))
}
