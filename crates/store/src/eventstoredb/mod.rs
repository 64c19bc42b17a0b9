//! `EventStoreDB` by its official client.
//!
//! Appends go by `BatchAppend` (`appending`): a plain append of this client takes 40 ms on many systems. All who follow
//! share one subscription to the whole log (`tail`), begun anew when it falls silent. A client that is of no use any more
//! is replaced (`connection`). Nothing waits longer than [`Options`] say, whatever the network does.

pub mod access;
mod appending;
mod connection;
mod connection_string;
mod following;
mod keeping;
mod reading;
mod tail;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use self::connection::Connection;
pub use self::connection_string::{ConnectionString, NotAConnectionString};
use crate::{
    Access, Append, Appended, ContentType, Direction, EventStore, Expected, Filter, Keeping, NewEvent,
    PATIENCE, Page, Position, Recorded, StoreError, StreamName,
};

/// The stream whose first event's id is the store's.
const IDENTITY: &str = "store-identity";

/// What may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// After which an append or a read gives up; within it, an append is sent again as often as that may help.
    pub patience: Duration,
    /// After which a subscription on which nothing came is begun anew.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: PATIENCE, silence: Duration::from_secs(30) }
    }
}

/// A store on a cluster of `EventStoreDB`, or a single node.
pub struct EventStoreDb {
    id: OnceLock<Uuid>,
    connection: Arc<Connection>,
}

impl EventStoreDb {
    /// Connects when it is first needed, and again whenever that helps: until then, calls are
    /// [`StoreError::Unavailable`]. Has to be called within a tokio runtime.
    ///
    /// `Broken` where a certificate that the string names is of no use.
    pub fn new(connection_string: ConnectionString, options: Options) -> Result<Self, StoreError> {
        let connection = Arc::new(Connection::new(connection_string, options)?);
        Ok(Self { id: OnceLock::new(), connection })
    }

    /// Learns the store's id, which is that of its first event in `store-identity`; who finds none records one.
    /// Until this has succeeded, [`EventStore::id`] is nil: whoever is to write ids down waits for it.
    pub async fn identify(&self) -> Result<Uuid, StoreError> {
        let id = self.connection.identify().await?;
        Ok(*self.id.get_or_init(|| id))
    }
}

#[async_trait]
impl EventStore for EventStoreDb {
    fn id(&self) -> Uuid {
        self.id.get().copied().unwrap_or_default()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.connection.append(stream, expected, &events).await
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        self.connection.append_many(appends).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.connection.read_stream(stream, direction, from, limit).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.connection.read_all(after, filter, limit).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.connection.head().await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        following::follow(Arc::clone(&self.connection), after, filter)
    }
}

#[async_trait]
impl Keeping for EventStoreDb {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        self.connection.keep_newest(stream, count).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        self.connection.truncate_before(stream, revision).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.connection.delete_for_good(stream).await
    }

    async fn reserve(&self, stream: &StreamName, for_whom: Access) -> Result<(), StoreError> {
        self.connection.reserve(stream, for_whom).await
    }
}

impl Connection {
    async fn identify(&self) -> Result<Uuid, StoreError> {
        let stream = StreamName::new(IDENTITY);
        let event = NewEvent {
            id: new_id(),
            name: "store.identified.v1".into(),
            content_type: ContentType::Json,
            data: "{}".into(),
            metadata: "{}".into(),
        };
        if let Some(first) = self.read_stream(&stream, Direction::Forward, 0, 1).await?.first() {
            return Ok(first.id);
        }
        match self.append(&stream, Expected::NoStream, &[event]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        let first = self.read_stream(&stream, Direction::Forward, 0, 1).await?;
        first.first().map(|event| event.id).ok_or_else(|| StoreError::Broken("the store lost its id".into()))
    }
}

#[expect(clippy::disallowed_methods, reason = "a store is named once, and nothing repeats that")]
fn new_id() -> Uuid {
    Uuid::new_v4()
}
