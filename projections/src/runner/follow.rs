//! Following the log: pages are folded as they come and written by and by, on a thread that belongs to the read model.
//!
//! A thread of its own, rather than a task that asks for one, since an event should be in the rows a fraction of a
//! millisecond after it was appended: the thread sleeps on the store's stream and wakes with the page in hand.

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use store::{Page, Position, StoreError};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    file::File,
    fold::{Batch, Stop},
    gather::Gathered,
    model::{Change, Shared, State, Switch},
    rebuild::{CaughtUp, Report, catch_up},
};
use crate::{EventRef, Projection};

/// Before a store or a disk that failed is asked again; doubles up to the limit.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps a read model up with the log for as long as it is [`run`](Self::run).
pub struct Follower<P: Projection> {
    shared: Arc<Shared<P>>,
    switches: mpsc::Receiver<Switch>,
}

impl<P: Projection> Follower<P> {
    pub(super) fn new(shared: Arc<Shared<P>>, switches: mpsc::Receiver<Switch>) -> Self {
        Self { shared, switches }
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.shared.pool().path.clone()
    }

    /// Follows until told to stop; also when dropped. An event that can't be read does not end it, see [`State::Stopped`].
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let worker =
            Worker { shared: self.shared, switches: self.switches, runtime: Handle::current(), stop };
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name(P::NAME.to_owned()).spawn(move || {
            worker.run();
            let _ = ended.send(());
        })?;
        end.await.with_context(|| format!("the follower of {} panicked", P::NAME))
    }
}

struct Worker<P: Projection> {
    shared: Arc<Shared<P>>,
    switches: mpsc::Receiver<Switch>,
    runtime: Handle,
    stop: CancellationToken,
}

/// Why a session ended that did not fail.
enum End {
    Told,
    /// There is another file in use.
    Switched,
    Stopped(Stop),
}

enum Next {
    Stop,
    Switch(Switch),
    Page(Option<Result<Page, StoreError>>),
    /// What was gathered is to be written.
    Write,
}

impl<P: Projection> Worker<P> {
    fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.session(&mut pause) {
                Ok(End::Told) => return,
                Ok(End::Switched) => {}
                Ok(End::Stopped(stop)) => {
                    tracing::error!(projection = P::NAME, error = %stop, "The read model stops at an event it can't read.");
                    self.set(State::Stopped(stop));
                    self.switches.close();
                    // Who has a file waiting learns by the loss of it that nobody takes it.
                    while self.switches.try_recv().is_ok() {}
                    self.runtime.block_on(self.stop.cancelled());
                    return;
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    tracing::warn!(projection = P::NAME, error = why, "Following failed and is tried again.");
                    self.set(State::Waiting { why });
                    // Within the runtime, since the timer is its own.
                    let paused = async { self.stop.run_until_cancelled(tokio::time::sleep(pause)).await };
                    if self.runtime.block_on(paused).is_none() {
                        return;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Opens the file in use, brings it up to the head and follows from there.
    fn session(&mut self, pause: &mut Duration) -> Result<End> {
        self.set(State::CatchingUp);
        // Here too, since who waits for it holds the place where the file is built that may be needed next.
        if let Ok(switch) = self.switches.try_recv() {
            self.switch(switch);
        }
        let Some(mut file) = self.begin()? else { return Ok(End::Switched) };
        self.reached(file.checkpoint()?, || None);
        let end = self.catch_up(&mut file)?;
        let position = file.checkpoint()?;
        self.reached(position, || Some(Change::Everything));
        if let Some(end) = end {
            return Ok(end);
        }
        let mut gathered = Gathered::<P>::behind(position);
        let asked = self.shared.asked.nearest();
        let mut pages = self.shared.store.follow(position, P::filter());
        let mut read_on_at = Instant::now();
        loop {
            let nearest = *asked.borrow();
            let next = self.runtime.block_on(async {
                let page = async {
                    // Events that come close together are read together, unless somebody waits for them.
                    let mut asked = asked.clone();
                    let waited_for =
                        asked.wait_for(|asked| asked.is_some_and(|asked| asked > gathered.folded));
                    let _ = tokio::time::timeout_at(read_on_at, waited_for).await;
                    pages.next().await
                };
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => Next::Stop,
                    Some(switch) = self.switches.recv() => Next::Switch(switch),
                    page = page => Next::Page(page),
                    () = gathered.due(asked.clone()) => Next::Write,
                }
            });
            let page = match next {
                Next::Stop => {
                    if gathered.folded > gathered.written {
                        gathered.write(file.begin()?)?;
                    }
                    return Ok(End::Told);
                }
                Next::Switch(switch) => {
                    drop((pages, file));
                    self.switch(switch);
                    return Ok(End::Switched);
                }
                Next::Write => {
                    let keys = gathered.write(file.begin()?)?;
                    self.reached(gathered.shown, || Some(Change::Rows(keys)));
                    continue;
                }
                Next::Page(page) => page.context("the store's events came to an end")??,
            };
            *pause = PAUSE_MIN;
            let before = gathered.folded;
            let events = page.events.iter().map(|event| EventRef(event.as_ref()));
            let mut batch = Batch::<P>::read(before, events, page.upto);
            let stop = batch.stop.take();
            let update = file.begin()?;
            gathered.fold(&update, page.events.len(), batch)?;
            let is_due = stop.is_some() || gathered.is_due(nearest);
            let keys = if is_due { Some(gathered.write(update)?) } else { None };
            self.reached(gathered.shown, || keys.filter(|keys| !keys.is_empty()).map(Change::Rows));
            if let Some(stop) = stop {
                return Ok(End::Stopped(stop));
            }
            let caught_up = page.at_head && gathered.folded > before;
            read_on_at = if caught_up { Instant::now() + P::PAUSE } else { Instant::now() };
            if page.at_head {
                self.set(State::Live);
            }
        }
    }

    /// The file in use. An empty one, or one that knows more than the store does (which then came back from a backup), is
    /// made anew instead.
    fn begin(&self) -> Result<Option<File<P>>> {
        let store = &self.shared.store;
        let file = File::<P>::open(&self.shared.pool().path, store.id())?;
        let (checkpoint, head) = (file.checkpoint()?, self.runtime.block_on(store.head())?);
        let anew = checkpoint > head || checkpoint == Position::START && head > Position::START;
        if !anew {
            return Ok(Some(file));
        }
        drop(file);
        let _guard = self.shared.may_build()?;
        let building = self.shared.directory.building()?;
        let report = self.shared.build(&building, &self.runtime, || self.stop.is_cancelled())?;
        self.shared.switch_to(&building)?;
        log_rebuilt::<P>(&report);
        Ok(None)
    }

    /// Brings the file up to the head as it is now, by far larger steps than following would.
    fn catch_up(&self, file: &mut File<P>) -> Result<Option<End>> {
        let head = self.runtime.block_on(self.shared.store.head())?;
        let mut go_on =
            |_| if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Ok(match catch_up(file, &*self.shared.store, &self.runtime, head, &mut go_on)? {
            CaughtUp::Yes { .. } => None,
            CaughtUp::BrokenOff => Some(End::Told),
            CaughtUp::Stopped(stop) => Some(End::Stopped(stop)),
        })
    }

    /// Brings a rebuilt file to where the one in use is, and puts it in its place.
    fn switch(&self, Switch { path, report, answer, guard }: Switch) {
        let switched = self.put_in_place(&path);
        if switched.is_ok() {
            log_rebuilt::<P>(&report);
        }
        // Before the answer, so that who gets it may build again at once.
        drop(guard);
        // Who asked may have gone meanwhile.
        let _ = answer.send(switched.map(|()| report));
    }

    fn put_in_place(&self, path: &Path) -> Result<()> {
        let mut file = File::<P>::open(path, self.shared.store.id())?;
        match self.catch_up(&mut file)? {
            None => {}
            Some(End::Stopped(stop)) => return Err(stop.into()),
            Some(_) => bail!("the hub stops"),
        }
        file.close()?;
        self.shared.switch_to(path)
    }

    /// Tells who waits, once it can be read.
    fn reached(&self, position: Position, change: impl FnOnce() -> Option<Change<P::Key>>) {
        self.shared
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.position, position) != position);
        if self.shared.changes.receiver_count() > 0
            && let Some(change) = change()
        {
            // Whoever listened may have gone meanwhile.
            let _ = self.shared.changes.send(change);
        }
    }

    fn set(&self, state: State) {
        self.shared.status.send_if_modified(|status| {
            let changed = status.state != state;
            status.state = state;
            changed
        });
    }
}

fn log_rebuilt<P: Projection>(report: &Report) {
    tracing::info!(
        projection = P::NAME,
        rebuild.events = report.events,
        rebuild.rows = report.rows,
        rebuild.ms = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        "The read model was rebuilt."
    );
}
