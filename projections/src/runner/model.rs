//! A read model as the rest of the hub sees it: rows to be read, a status, news of what changed.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use store::{EventStore, Position};
use tokio::{
    runtime::Handle,
    sync::{OwnedMutexGuard, Semaphore, broadcast, mpsc, oneshot, watch},
};

use super::{
    asked::Asked,
    directory::{self, Directory},
    file::File,
    fold::Stop,
    follow::Follower,
    reader::{Pool, Reader},
    rebuild::{Report, build},
    verify::{Verification, verify_file},
};
use crate::{Key, Projection};

/// Queries of one read model that may run at the same time.
const READERS: usize = 4;
/// Pages of news kept for who is slow to take them; beyond that they are told that everything changed.
const NEWS: usize = 256;

/// A handle on a read model; clones are the same one.
pub struct ReadModel<P: Projection> {
    pub(super) shared: Arc<Shared<P>>,
}

/// How far a read model is, and whether it gets any further.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Everything up to here is in its rows. Nothing is promised before the store was asked whether it knows as much.
    pub position: Position,
    pub state: State,
    /// The events folded so far, while it is being rebuilt.
    pub rebuilding: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Has not reached the head of the log since it was started.
    CatchingUp,
    /// Has reached it, and follows.
    Live,
    /// The store or the disk said no; it is tried again.
    Waiting { why: String },
    /// Met an event it can't read. Nothing but another version of the program helps.
    Stopped(Stop),
}

/// The read model has not got there in time, or never will.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the read model is at position {}, not yet at {wanted}", status.position)]
pub struct Behind {
    pub wanted: Position,
    pub status: Status,
}

/// What is new in the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<K> {
    /// These rows were touched, in one transaction.
    Rows(Arc<[K]>),
    /// Any row may have been: look anew.
    Everything,
}

/// News of changed rows, in order, each after it can be read.
pub struct Changes<K>(broadcast::Receiver<Change<K>>);

impl<K: Key> Changes<K> {
    /// Waits for the next change; `None` when the read model is no more.
    pub async fn next(&mut self) -> Option<Change<K>> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Everything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl<P: Projection> Clone for ReadModel<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Projection> ReadModel<P> {
    /// Opens the read model in `<data>/read-models`, empty if there is none that fits; brief in any case. The follower
    /// fills it, and rebuilds it first if it is empty.
    pub fn open(data: &Path, store: Arc<dyn EventStore>) -> Result<(Self, Follower<P>)> {
        let directory = Directory::take(data, P::NAME)?;
        let usable = usable::<P>(&directory, &*store)?;
        let path = usable.map_or_else(|| empty::<P>(&directory, &*store), Ok)?;
        let (switches, to_follower) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            directory,
            store,
            pool: Mutex::new(Arc::new(Pool::of(path))),
            permits: Semaphore::new(READERS),
            status: watch::Sender::new(Status {
                position: Position::START,
                state: State::CatchingUp,
                rebuilding: None,
            }),
            asked: Asked::new(),
            changes: broadcast::Sender::new(NEWS),
            building: Arc::default(),
            switches,
        });
        Ok((Self { shared: Arc::clone(&shared) }, Follower::new(shared, to_follower)))
    }

    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// The status and every change of it.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes<P::Key> {
        Changes(self.shared.changes.subscribe())
    }

    /// Waits until everything up to `position` can be read.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Behind> {
        let mut status = self.watch();
        let _waiting = (status.borrow().position < position).then(|| self.shared.asked.wait(position));
        let end = status.wait_for(|now| now.position >= position || matches!(now.state, State::Stopped(_)));
        match tokio::time::timeout(timeout, end).await {
            Ok(Ok(now)) if now.position >= position => Ok(()),
            _ => Err(Behind { wanted: position, status: self.status() }),
        }
    }

    pub async fn get(&self, key: P::Key) -> Result<Option<P::Row>> {
        self.query(move |reader| reader.get(&key)).await
    }

    /// Runs `select` on a thread where it may block; all it reads is of one moment.
    pub async fn query<T: Send + 'static>(
        &self,
        select: impl FnOnce(&Reader<'_, P>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.shared.permits.acquire().await?;
        let pool = self.shared.pool();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = pool.take()?;
            // A connection whose query failed is not used again.
            let answer = select(&Reader::new(&connection)?)?;
            pool.put_back(connection);
            Ok(answer)
        });
        reading.await.context("a query ended before its time")?
    }

    /// The same on the calling thread, for a few rows by their keys: handing that to another thread would cost more than it
    /// takes. More than that belongs into [`ReadModel::query`].
    pub fn look<T>(&self, select: impl FnOnce(&Reader<'_, P>) -> Result<T>) -> Result<T> {
        let pool = self.shared.pool();
        let connection = pool.take()?;
        let answer = select(&Reader::new(&connection)?)?;
        pool.put_back(connection);
        Ok(answer)
    }

    /// Builds the read model anew beside the one in use, then has the follower switch. Readers notice nothing; the
    /// position never falls.
    pub async fn rebuild(&self) -> Result<Report> {
        let guard = self.shared.may_build()?;
        let (answer, answered) = oneshot::channel();
        let (shared, runtime) = (Arc::clone(&self.shared), Handle::current());
        let building = tokio::task::spawn_blocking(move || {
            let path = shared.directory.building()?;
            let report = shared.build(&path, &runtime, || shared.switches.is_closed())?;
            let switch = Switch { path, report, answer, guard };
            shared.switches.blocking_send(switch).map_err(|_| anyhow!("nobody follows {}", P::NAME))
        });
        building.await.context("rebuilding ended before its time")??;
        answered.await.context("the follower ended before it could switch")?
    }

    /// Folds the log anew up to where the read model is, and compares.
    pub async fn verify(&self) -> Result<Verification> {
        let guard = self.shared.may_build()?;
        let (shared, runtime) = (Arc::clone(&self.shared), Handle::current());
        let verifying = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            let pool = shared.pool();
            let scratch = shared.directory.building()?;
            verify_file::<P>(&pool.path, &scratch, &*shared.store, &runtime, &mut |_| {
                if shared.switches.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        verifying.await.context("verifying ended before its time")?
    }
}

/// The file in use, if it fits this program and this store.
fn usable<P: Projection>(directory: &Directory, store: &dyn EventStore) -> Result<Option<PathBuf>> {
    let Some(path) = directory.current()? else { return Ok(None) };
    match File::<P>::open(&path, store.id()) {
        Ok(_) => Ok(Some(path)),
        Err(error) => {
            let why = format!("{error:#}");
            tracing::warn!(
                projection = P::NAME,
                error = why,
                "The read model can't be used and is made anew."
            );
            directory::remove(&path)?;
            Ok(None)
        }
    }
}

fn empty<P: Projection>(directory: &Directory, store: &dyn EventStore) -> Result<PathBuf> {
    let path = directory.building()?;
    File::<P>::create(&path, store.id())?.finish(&path)?;
    directory.switch_to(&path)
}

/// What the model's handles and its follower have in common.
pub(super) struct Shared<P: Projection> {
    pub(super) directory: Directory,
    pub(super) store: Arc<dyn EventStore>,
    pool: Mutex<Arc<Pool>>,
    permits: Semaphore,
    pub(super) status: watch::Sender<Status>,
    pub(super) asked: Asked,
    pub(super) changes: broadcast::Sender<Change<P::Key>>,
    /// Held by who builds a file: there is one place for it.
    building: Arc<tokio::sync::Mutex<()>>,
    switches: mpsc::Sender<Switch>,
}

/// A rebuilt file on its way to the follower.
pub(super) struct Switch {
    pub(super) path: PathBuf,
    pub(super) report: Report,
    pub(super) answer: oneshot::Sender<Result<Report>>,
    pub(super) guard: OwnedMutexGuard<()>,
}

impl<P: Projection> Shared<P> {
    pub(super) fn may_build(&self) -> Result<OwnedMutexGuard<()>> {
        let guard = Arc::clone(&self.building).try_lock_owned();
        guard.map_err(|_| anyhow!("{} is already being rebuilt or verified", P::NAME))
    }

    /// Builds a file as of the head of the log, showing its progress.
    pub(super) fn build(
        &self,
        path: &Path,
        runtime: &Handle,
        broken_off: impl Fn() -> bool,
    ) -> Result<Report> {
        let head = runtime.block_on(self.store.head())?;
        let built = build::<P>(path, &*self.store, runtime, head, &mut |events| {
            self.status.send_modify(|status| status.rebuilding = Some(events));
            if broken_off() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.status.send_modify(|status| status.rebuilding = None);
        built?.complete()
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the file in use of what was built. The former one goes with the last query that reads it.
    pub(super) fn switch_to(&self, building: &Path) -> Result<()> {
        let pool = Arc::new(Pool::of(self.directory.switch_to(building)?));
        let former = std::mem::replace(&mut *self.pool.lock().unwrap_or_else(PoisonError::into_inner), pool);
        former.supersede();
        Ok(())
    }
}
