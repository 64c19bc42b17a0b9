//! The store that needs no server: one `SQLite` file in the data directory.
//!
//! One thread writes, in groups (`writer`); a few connections read (`reader`); followers sleep on the head
//! (`follow`), and are shown the newest events from memory (`tail`). The file is described in `schema`.
//!
//! **Invariant.** One process owns the data directory for as long as the store is open. The lock is the operating
//! system's, so it goes with the process however that ends.

mod deletion;
mod follow;
mod keeping;
mod reader;
mod recent;
mod schema;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use self::snapshot::{Snapshot, SnapshotError};
use self::{
    keeping::Keep,
    reader::Readers,
    tail::Tail,
    writer::{Answer, Job, Work, Writer},
};
use crate::{
    Append, Appended, ContentType, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page,
    Position, Recorded, RecordedRef, StoreError, StreamName,
    served::{Deletion, ServedStore, StreamState},
};

/// Jobs that may wait for the writer before those who bring more wait themselves.
const QUEUE: usize = 1024;

/// What may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Reads that may run at the same time. Each holds about 1 MiB.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 4 }
    }
}

/// Why the store can't be opened, and what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "another process is using the data directory {}: stop it, or give this one a directory of its own",
        dir.display()
    )]
    InUse { dir: PathBuf },
    #[error("{} can't be written: {reason}. Let this user write there, or choose another data directory", path.display())]
    NotWritable { path: PathBuf, reason: String },
    #[error("{} is not an event log of Chancery: move it away, or choose another data directory", file.display())]
    NotAStore { file: PathBuf },
    #[error(
        "{} was written by a newer Chancery (version {found} of the file; this program knows {known}): \
         run that one, or restore a backup from before it",
        file.display()
    )]
    Newer { file: PathBuf, found: usize, known: usize },
    #[error("there is no room left on the disk for {}: make some and start again", file.display())]
    DiskFull { file: PathBuf },
    #[error("{} can't be read: {source}. Look at the disk, or restore a backup", file.display())]
    Damaged { file: PathBuf, source: rusqlite::Error },
}

/// Events in `log.sqlite`. Dropping it finishes what is waiting to be written, and leaves that one file.
pub struct EmbeddedStore {
    id: Uuid,
    /// `None` only while closing.
    jobs: Option<mpsc::Sender<Job>>,
    head: watch::Receiver<Position>,
    tail: Arc<Tail>,
    readers: Arc<Readers>,
    writer: Option<JoinHandle<()>>,
    /// Held, never looked at. Fields are dropped in this order, and the lock goes last.
    _lock: Lock,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, making both if they are not there. Takes milliseconds, however long the log.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = lock(dir)?;
        let file = dir.join("log.sqlite");
        let damaged = |source| OpenError::Damaged { file: file.clone(), source };
        let (connection, id) = schema::open(&file)?;
        let writer = Writer::new(connection).map_err(damaged)?;
        let (head, tail) = (writer.head(), writer.tail());
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(waiting))
            .expect("a thread can be started");
        tracing::info!(store.id = %id, store.head = %*head.borrow(), file = %file.display(), "the event log is open");
        let readers = Arc::new(Readers::new(file, options.readers));
        Ok(Self { id, jobs: Some(jobs), head, tail, readers, writer: Some(writer), _lock: lock })
    }
}

/// Gives a log that was copied an id of its own: positions that the original handed out mean nothing here, since the two
/// go on differently.
pub fn give_new_id(dir: &Path, id: Uuid) -> Result<(), OpenError> {
    let _lock = lock(dir)?;
    schema::set_id(&dir.join("log.sqlite"), id)
}

impl EmbeddedStore {
    async fn write(&self, work: Work) -> Result<Vec<Answer>, StoreError> {
        let (answer, answers) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(Job { work, answer }).await.map_err(|_| closed())?;
        answers.await.map_err(|_| StoreError::Uncertain("the writer stopped".into()))
    }

    async fn keep(&self, stream: &StreamName, keep: Keep) -> Result<(), StoreError> {
        self.write(Work::Keep(stream.clone(), keep)).await?.remove(0).map(drop)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.readers.close();
        drop(self.jobs.take());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the event log's writer had panicked");
        }
    }
}

#[async_trait]
impl EventStore for EmbeddedStore {
    fn id(&self) -> Uuid {
        self.id
    }

    // The lock on the directory sees to it.
    fn is_ours_alone(&self) -> bool {
        true
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let append = Append { stream: stream.clone(), expected, events, line: None };
        self.append_many(vec![append]).await.remove(0)
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        let count = appends.len();
        self.write(Work::Append(appends)).await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.readers.stream(stream.clone(), direction, from, limit).await
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<Option<Recorded>>, StoreError> {
        let mut found = self.tail.at(positions);
        let older = positions.iter().zip(&found).filter(|(_, found)| found.is_none());
        let older: Vec<_> = older.map(|(position, _)| *position).collect();
        let mut read = self.readers.at(&older).await?.into_iter();
        for found in found.iter_mut().filter(|found| found.is_none()) {
            *found = read.next().flatten();
        }
        Ok(found)
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        match self.tail.page(after, filter, limit) {
            Some(page) => Ok(page),
            None => self.readers.page(after, Arc::new(filter.clone()), limit).await,
        }
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(*self.head.borrow())
    }

    fn scan(
        &self,
        after: Position,
        upto: Position,
        filter: &Filter,
        each: &mut dyn FnMut(RecordedRef<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<Position, StoreError> {
        self.readers.scan(after, upto, filter, each)
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        follow::follow(Arc::clone(&self.readers), Arc::clone(&self.tail), self.head.clone(), after, filter)
    }
}

#[async_trait]
impl Keeping for EmbeddedStore {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        crate::keeping::check(stream, count)?;
        self.keep(stream, Keep::Newest(count)).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        crate::keeping::check(stream, 1)?;
        self.keep(stream, Keep::From(revision)).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.keep(stream, Keep::Nothing).await
    }
}

#[async_trait]
impl ServedStore for EmbeddedStore {
    async fn state(&self, stream: &StreamName) -> Result<StreamState, StoreError> {
        self.readers.state(stream.clone()).await
    }

    async fn delete(
        &self,
        stream: &StreamName,
        expected: Expected,
        deletion: Deletion,
    ) -> Result<Position, StoreError> {
        let mut answers = self.write(Work::Delete(stream.clone(), expected, deletion)).await?;
        answers.remove(0).map(|record| record.position)
    }

    async fn read_all_backward(
        &self,
        before: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.readers.page_backward(before, filter.clone(), limit).await
    }
}

/// The data directory is this process's. It is given back in so many words: a child that is about to be started holds a
/// copy of the file for a moment, and closing ours alone would leave the lock with it.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock on the data directory could not be given back");
        }
    }
}

/// Takes the data directory for this process.
fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let not_writable = |path: &Path, error: io::Error| OpenError::NotWritable {
        path: path.into(),
        reason: error.to_string(),
    };
    std::fs::create_dir_all(dir).map_err(|error| not_writable(dir, error))?;
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| not_writable(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.into() }),
        Err(TryLockError::Error(error)) => Err(not_writable(&path, error)),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// `SQLite` counts to `i64::MAX`; nothing of ours comes near it, but callers say `u64::MAX` for *the end*.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn content_type_to_sql(content_type: ContentType) -> i64 {
    match content_type {
        ContentType::Json => 0,
        ContentType::Octets => 1,
    }
}

fn content_type_from_sql(number: i64) -> ContentType {
    if number == 0 { ContentType::Json } else { ContentType::Octets }
}
