//! `EventStoreDB` by its official client.
//!
//! Appends go by `BatchAppend` (`appending`): a plain append of this client takes 40 ms on many systems. Following is a
//! subscription to the whole log, begun anew when it falls silent (`following`). A client whose first connection failed
//! never connects again, so it is replaced once it says that it is closed.

mod appending;
mod following;
mod keeping;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use eventstore::{
    BatchAppendClient, Client, ClientSettings, Error, ReadAllOptions, ReadStream, ReadStreamOptions,
    ResolvedEvent, StreamPosition, SubscriptionFilter,
};
use futures_util::stream::BoxStream;
use uuid::Uuid;

use crate::{
    Append, Appended, ContentType, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page,
    Position, Recorded, StoreError, StreamName,
};

/// The stream whose first event's id is the store's.
const IDENTITY: &str = "store-identity";

/// What may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// After which a subscription on which nothing came is begun anew.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30) }
    }
}

/// A store on a cluster of `EventStoreDB`, or a single node.
pub struct EventStoreDb {
    id: Uuid,
    connection: Arc<Connection>,
}

impl EventStoreDb {
    /// `esdb://…` or `esdb+discover://…`. Gives the store an id if it has none.
    pub async fn connect(connection_string: &str, options: Options) -> Result<Self, StoreError> {
        let settings: ClientSettings = connection_string
            .parse()
            .map_err(|_| StoreError::Broken("the connection string can't be read".into()))?;
        let connection = Arc::new(Connection::new(settings, options)?);
        let id = connection.identify().await?;
        Ok(Self { id, connection })
    }
}

#[async_trait]
impl EventStore for EventStoreDb {
    fn id(&self) -> Uuid {
        self.id
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.connection.append(stream, expected, &events).await
    }

    /// One after the other: neither the order within a stream nor that of the answers is known otherwise.
    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        let mut answers = Vec::with_capacity(appends.len());
        for Append { stream, expected, events } in appends {
            answers.push(self.connection.append(&stream, expected, &events).await);
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
}

struct Connection {
    settings: ClientSettings,
    options: Options,
    client: Mutex<Client>,
    /// `None` after its first error, which is its end.
    batch: tokio::sync::Mutex<Option<Arc<BatchAppendClient>>>,
}

impl Connection {
    fn new(settings: ClientSettings, options: Options) -> Result<Self, StoreError> {
        let client = new_client(&settings)?;
        Ok(Self { settings, options, client: Mutex::new(client), batch: tokio::sync::Mutex::default() })
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a failed call is to the caller. A client that is closed is replaced for the next one.
    fn failed(&self, error: &Error) -> StoreError {
        if matches!(error, Error::ConnectionClosed)
            && let Ok(client) = new_client(&self.settings)
        {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        }
        StoreError::Unavailable(error.to_string())
    }

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

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let from = if from == u64::MAX { StreamPosition::End } else { StreamPosition::Position(from) };
        // The direction comes last, because the position changes it.
        let options = ReadStreamOptions::default().position(from).max_count(limit);
        let options = match direction {
            Direction::Forward => options.forwards(),
            Direction::Backward => options.backwards(),
        };
        let read = match self.client().read_stream(stream.as_str(), &options).await {
            Ok(read) => collect(read).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(events) => events.iter().map(recorded).collect(),
            Err(Error::ResourceNotFound) => Ok(Vec::new()),
            Err(Error::ResourceDeleted) => Err(StoreError::Deleted(stream.clone())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        // Asked for first, so that nothing behind it is taken for looked at.
        let head = self.head().await?;
        // The event at the position is read too, where it is wanted.
        let options = ReadAllOptions::default().position(behind(after)).forwards();
        let options = options.max_count(limit.saturating_add(1));
        let options = match for_server(filter) {
            Some(filter) => options.filter(filter),
            None => options,
        };
        let read = match self.client().read_all(&options).await {
            Ok(read) => collect(read).await,
            Err(error) => Err(error),
        };
        let read = read.map_err(|error| self.failed(&error))?;
        let mut events = read.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        events.retain(|event| event.position > after);
        events.truncate(limit);
        let at_head = events.len() < limit;
        let last = events.last().map_or(after, |event| event.position);
        let upto = if at_head { last.max(head) } else { last };
        Ok(Page { events, upto, at_head })
    }

    async fn head(&self) -> Result<Position, StoreError> {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().max_count(1);
        let read = match self.client().read_all(&options).await {
            Ok(read) => collect(read).await,
            Err(error) => Err(error),
        };
        let newest = read.map_err(|error| self.failed(&error))?;
        Ok(newest
            .first()
            .map_or(Position::START, |event| Position(event.get_original_event().position.commit)))
    }
}

fn new_client(settings: &ClientSettings) -> Result<Client, StoreError> {
    Client::new(settings.clone()).map_err(|error| StoreError::Broken(error.to_string()))
}

async fn collect(mut read: ReadStream) -> Result<Vec<ResolvedEvent>, Error> {
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

fn behind(after: Position) -> StreamPosition<eventstore::Position> {
    match after {
        Position::START => StreamPosition::Start,
        Position(position) => {
            StreamPosition::Position(eventstore::Position { commit: position, prepare: position })
        }
    }
}

/// `None` for everything. A checkpoint is wanted for each event passed over, because somebody may wait for it to be.
fn for_server(filter: &Filter) -> Option<SubscriptionFilter> {
    let by_name = SubscriptionFilter::on_stream_name().max(1);
    if filter.stream_prefixes.is_empty() {
        return Some(by_name.exclude_system_events());
    }
    let whole = filter.stream_prefixes.iter().any(|prefix| prefix.is_empty());
    (!whole).then(|| filter.stream_prefixes.iter().fold(by_name, SubscriptionFilter::add_prefix))
}

fn recorded(event: &ResolvedEvent) -> Result<Recorded, StoreError> {
    let event = event.get_original_event();
    let stream = StreamName::parse(event.stream_id())
        .ok_or_else(|| StoreError::Broken("a stream's name is longer than 256 bytes".into()))?;
    Ok(Recorded {
        id: event.id,
        stream,
        revision: event.revision,
        position: Position(event.position.commit),
        name: event.event_type.as_str().into(),
        content_type: if event.is_json { ContentType::Json } else { ContentType::Octets },
        data: event.data.clone(),
        metadata: event.custom_metadata.clone(),
        created_us: event.created.timestamp_micros(),
    })
}

#[expect(clippy::disallowed_methods, reason = "a store is named once, and nothing repeats that")]
fn new_id() -> Uuid {
    Uuid::new_v4()
}
