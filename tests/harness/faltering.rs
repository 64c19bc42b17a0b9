//! A store that fails at the n-th append, in one way or another.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use store::{
    Append, Appended, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, Recorded,
    StoreError, StreamName,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What happens at the n-th append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The process is as good as dead, and nothing was recorded.
    StopBefore,
    /// The process is as good as dead, but it was recorded.
    StopAfter,
    /// The disk was full for a moment.
    RefuseOnce,
    /// It was recorded, but the answer was lost.
    LoseAnswerOnce,
    /// The same, also when that very append is repeated, until who appends has to give up.
    LoseAnswers,
}

/// Counts appends, and fails at one of them.
pub(crate) struct Faltering {
    inner: Arc<dyn Keeping>,
    way: Way,
    /// Only appends to streams that begin so are counted.
    prefix: &'static str,
    /// Appends to go until it fails.
    left: AtomicUsize,
    /// Repeats to go whose answers are lost as well.
    repeats: AtomicUsize,
    /// Set once it stopped: from then on no append is answered.
    pub(crate) stopped: CancellationToken,
}

impl Faltering {
    pub(crate) fn new(inner: Arc<dyn Keeping>, way: Way, at: usize) -> Self {
        let repeats = AtomicUsize::new(if way == Way::LoseAnswers { 5 } else { 0 });
        Self {
            inner,
            way,
            prefix: "",
            left: AtomicUsize::new(at),
            repeats,
            stopped: CancellationToken::new(),
        }
    }

    /// Fails at the next append to a stream that begins so.
    pub(crate) fn at_next(inner: Arc<dyn Keeping>, way: Way, prefix: &'static str) -> Self {
        Self::at_nth(inner, way, prefix, 1)
    }

    /// Fails at the n-th append to streams that begin so.
    pub(crate) fn at_nth(inner: Arc<dyn Keeping>, way: Way, prefix: &'static str, at: usize) -> Self {
        Self { prefix, ..Self::new(inner, way, at) }
    }

    /// Begins to count anew: fails at the n-th append from now on.
    pub(crate) fn fail_at(&self, at: usize) {
        self.left.store(at, Ordering::SeqCst);
    }

    /// Whether the n-th append was reached.
    pub(crate) fn failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// How this append goes wrong, if it does.
    async fn next(&self, stream: &StreamName) -> Option<Way> {
        if self.stopped.is_cancelled() {
            std::future::pending::<()>().await;
        }
        if !stream.as_str().starts_with(self.prefix) {
            return None;
        }
        let count_down = |left: usize| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down);
        let repeated = || {
            left.is_err() && self.repeats.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok()
        };
        (left == Ok(1) || repeated()).then_some(self.way)
    }

    async fn stop<T>(&self) -> T {
        self.stopped.cancel();
        std::future::pending().await
    }
}

#[async_trait]
impl EventStore for Faltering {
    fn id(&self) -> Uuid {
        self.inner.id()
    }

    fn is_ours_alone(&self) -> bool {
        self.inner.is_ours_alone()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        match self.next(stream).await {
            None => self.inner.append(stream, expected, events).await,
            Some(Way::StopBefore) => self.stop().await,
            Some(Way::RefuseOnce) => Err(StoreError::Unavailable("no space left on device".into())),
            Some(Way::StopAfter) => {
                self.inner.append(stream, expected, events).await?;
                self.stop().await
            }
            Some(Way::LoseAnswerOnce | Way::LoseAnswers) => {
                self.inner.append(stream, expected, events).await?;
                Err(StoreError::Uncertain("the answer was lost".into()))
            }
        }
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        let (mut answers, mut held) = (Vec::new(), HashSet::new());
        for Append { stream, expected, events, line } in appends {
            let line = line.unwrap_or_else(|| stream.as_str().into());
            let answer = if held.contains(&line) {
                Err(StoreError::Unavailable("what goes before it was not recorded".into()))
            } else {
                self.append(&stream, expected, events).await
            };
            if let Err(StoreError::Unavailable(_) | StoreError::Uncertain(_)) = answer {
                held.insert(line);
            }
            answers.push(answer);
        }
        answers
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.inner.read_stream(stream, direction, from, limit).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.inner.read_all(after, filter, limit).await
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<Option<Recorded>>, StoreError> {
        self.inner.read_at(positions).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.inner.head().await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        self.inner.follow(after, filter)
    }
}

#[async_trait]
impl Keeping for Faltering {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        self.inner.keep_newest(stream, count).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        self.inner.truncate_before(stream, revision).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.inner.delete_for_good(stream).await
    }
}
