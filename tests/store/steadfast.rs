//! A store whose server dies in the middle, by a caller that does as it is told: what is uncertain is repeated with the
//! same ids, what is unavailable is tried again, and following goes on where it was.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use store::{
    Append, Appended, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, Recorded,
    StoreError, StreamName, eventstoredb::EventStoreDb,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::process::{PATIENCE, Server};

/// The calls after which the server is killed: an early one, and one later on.
const KILLED_AFTER: [usize; 2] = [2, 11];

/// Before a server that is being started is asked again.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Steadfast {
    store: Arc<EventStoreDb>,
    server: Mutex<Server>,
    calls: AtomicUsize,
    /// An append expected nothing: that a repeat of it is known dies with the server, on a cluster too.
    spared: AtomicBool,
}

impl Steadfast {
    pub(crate) async fn new(server: Server) -> Self {
        let store = Arc::new(server.connect("").await.unwrap());
        Self { store, server: Mutex::new(server), calls: AtomicUsize::new(0), spared: AtomicBool::new(false) }
    }

    /// Counts a call. What others have under way when the server dies meanwhile is theirs to repeat.
    fn call(&self) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if KILLED_AFTER.contains(&number) && !self.spared.load(Ordering::Relaxed) {
            tokio::task::block_in_place(|| self.server.lock().unwrap().kill_and_start_again());
        }
    }

    async fn until_answered<'a, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.call();
        let answered = async {
            loop {
                match ask().await {
                    Err(StoreError::Unavailable(_) | StoreError::Uncertain(_)) => sleep(PAUSE).await,
                    answer => return answer,
                }
            }
        };
        timeout(PATIENCE, answered).await.expect("the server answers again")
    }
}

#[async_trait]
impl EventStore for Steadfast {
    fn id(&self) -> Uuid {
        self.store.id()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.spared.fetch_or(matches!(expected, Expected::Any), Ordering::Relaxed);
        self.until_answered(|| self.store.append(stream, expected, events.clone())).await
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        let mut answers = Vec::new();
        for Append { stream, expected, events, .. } in appends {
            answers.push(self.append(&stream, expected, events).await);
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
        self.until_answered(|| self.store.read_stream(stream, direction, from, limit)).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.until_answered(|| self.store.read_all(after, filter, limit)).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.until_answered(|| self.store.head()).await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        let store = self.store.clone();
        let pages = store.follow(after, filter.clone());
        let following = (store, filter, pages, after, false);
        stream::unfold(following, |(store, filter, mut pages, mut checkpoint, mut was_at_head)| async move {
            loop {
                match pages.next().await {
                    // Begun anew, it says once more that it is at the head.
                    Some(Ok(page)) if page.events.is_empty() && page.upto == checkpoint && was_at_head => {}
                    Some(Ok(page)) => {
                        (checkpoint, was_at_head) = (page.upto, page.at_head);
                        return Some((Ok(page), (store, filter, pages, checkpoint, was_at_head)));
                    }
                    Some(Err(_)) | None => {
                        sleep(PAUSE).await;
                        pages = store.follow(checkpoint, filter.clone());
                    }
                }
            }
        })
        .boxed()
    }
}

#[async_trait]
impl Keeping for Steadfast {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        self.until_answered(|| self.store.keep_newest(stream, count)).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        self.until_answered(|| self.store.truncate_before(stream, revision)).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.until_answered(|| self.store.delete_for_good(stream)).await
    }
}
