//! A hub's own way to a store that it shares: it can be held up, as when the hub is stopped for a while, or the network is
//! gone.
//!
//! What was under way when it was held up either has not reached the store yet, or its answer has not come back. Nothing is
//! lost: all of it goes on afterwards, late.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use store::{
    Append, Appended, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, Recorded,
    StoreError, StreamName,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::PATIENCE;

pub(crate) struct Line {
    inner: Arc<dyn Keeping>,
    open: watch::Sender<bool>,
    /// Held up as soon as the store has taken an event of this type.
    trap: Mutex<Option<&'static str>>,
}

impl Line {
    pub(crate) fn new(inner: Arc<dyn Keeping>) -> Self {
        Self { inner, open: watch::Sender::new(true), trap: Mutex::default() }
    }

    pub(crate) fn hold_up(&self) {
        self.open.send_replace(false);
    }

    /// Opens the line, and takes away a trap that did not spring. True where the line was held up.
    pub(crate) fn let_go(&self) -> bool {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = None;
        !self.open.send_replace(true)
    }

    /// Holds the line up once the store has taken such an event, before the hub learns of it.
    pub(crate) fn hold_up_after(&self, name: &'static str) {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Waits until the line is held up.
    pub(crate) async fn held_up(&self) {
        let mut open = self.open.subscribe();
        let held_up = tokio::time::timeout(PATIENCE, open.wait_for(|open| !open)).await;
        held_up.expect("the hub does what the trap is set for").unwrap();
    }

    async fn pass(&self) {
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    async fn through<T>(&self, act: impl Future<Output = T>) -> T {
        self.pass().await;
        let answer = act.await;
        self.pass().await;
        answer
    }

    fn spring(&self, events: &[NewEvent]) {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        if events.iter().any(|event| Some(&*event.name) == *trap) {
            *trap = None;
            self.hold_up();
        }
    }
}

#[async_trait]
impl EventStore for Line {
    fn id(&self) -> Uuid {
        self.inner.id()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let append = async {
            let answer = self.inner.append(stream, expected, events.clone()).await;
            if answer.is_ok() {
                self.spring(&events);
            }
            answer
        };
        self.through(append).await
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        self.through(self.inner.append_many(appends)).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.through(self.inner.read_stream(stream, direction, from, limit)).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.through(self.inner.read_all(after, filter, limit)).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.through(self.inner.head()).await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        let open = self.open.subscribe();
        let pages = self.inner.follow(after, filter);
        let late = move |page| {
            let mut open = open.clone();
            async move {
                // A line that is no more holds nothing up.
                let _ = open.wait_for(|open| *open).await;
                page
            }
        };
        pages.then(late).boxed()
    }
}

#[async_trait]
impl Keeping for Line {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        self.through(self.inner.keep_newest(stream, count)).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        self.through(self.inner.truncate_before(stream, revision)).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.through(self.inner.delete_for_good(stream)).await
    }
}
