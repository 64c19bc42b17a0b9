//! Remembers: events in streams, in one order for all of them, as `EventStoreDB` keeps them.
//!
//! The store knows nothing of what an event means: it is a name, bytes and their content type. Backends implement
//! [`EventStore`] and are held to one contract suite (`contract`, behind the feature of that name).
//!
//! **Invariants.** What was acknowledged survives the death of the process. Within a stream revisions count from 0
//! without gaps; over the whole store positions rise strictly, with gaps allowed. An append is atomic and its events
//! stand next to each other.

use std::{fmt, ops::ControlFlow, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use uuid::Uuid;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
#[cfg(feature = "eventstoredb")]
pub mod eventstoredb;
mod keeping;
pub mod served;

pub use self::keeping::{Access, Keeping};

/// The name of a stream: UTF-8, 1 to 256 bytes. The part before the first `-` is its category.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// # Panics
    /// When the name is empty or longer than 256 bytes; names are built by our own code from ids.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::parse(name).expect("a stream name has 1 to 256 bytes")
    }

    /// For names that come from outside; `None` when the name is empty or longer than 256 bytes.
    pub fn parse(name: impl Into<Arc<str>>) -> Option<Self> {
        let name = name.into();
        (1..=NAME_BYTES_MAX).contains(&name.len()).then_some(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `-`.
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or(&*self.0, |(category, _)| category)
    }

    /// What stands behind the first `-`.
    pub fn id(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, id)| id)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in the whole log. `Position::START` is before the first event; every event's own position is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the writer believes about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It has no event (a soft-deleted stream counts as having none).
    NoStream,
    /// Its last event has this revision.
    Revision(u64),
    /// Nothing is believed. Only for what `EventStoreDB`'s clients ask of the server; the hub never uses it.
    Any,
    /// It has at least one event. Only for what `EventStoreDB`'s clients ask of the server.
    StreamExists,
}

/// How `data` is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// A backend may refuse what is no JSON.
    Json,
    Octets,
}

/// An event on its way in.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Drawn anew for each decision; used again only to repeat this very append.
    pub id: Uuid,
    /// The event's type, 1 to 256 bytes; `connection.linked.v1`.
    pub name: Arc<str>,
    pub content_type: ContentType,
    pub data: Bytes,
    pub metadata: Bytes,
}

/// An event as it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: Uuid,
    pub stream: StreamName,
    /// Counted from 0 within the stream.
    pub revision: u64,
    pub position: Position,
    pub name: Arc<str>,
    pub content_type: ContentType,
    pub data: Bytes,
    pub metadata: Bytes,
    /// The store's own clock, microseconds since the Unix epoch. Nothing may be decided by it.
    pub created_us: i64,
}

/// A recorded event as the backend holds it, for as long as it is being looked at.
#[derive(Clone, Copy, Debug)]
pub struct RecordedRef<'a> {
    pub id: Uuid,
    pub stream: &'a str,
    pub revision: u64,
    pub position: Position,
    pub name: &'a str,
    pub content_type: ContentType,
    pub data: &'a [u8],
    pub metadata: &'a [u8],
    pub created_us: i64,
}

impl RecordedRef<'_> {
    pub fn to_recorded(&self) -> Recorded {
        Recorded {
            id: self.id,
            stream: StreamName(self.stream.into()),
            revision: self.revision,
            position: self.position,
            name: self.name.into(),
            content_type: self.content_type,
            data: Bytes::copy_from_slice(self.data),
            metadata: Bytes::copy_from_slice(self.metadata),
            created_us: self.created_us,
        }
    }
}

impl Recorded {
    pub fn as_ref(&self) -> RecordedRef<'_> {
        RecordedRef {
            id: self.id,
            stream: self.stream.as_str(),
            revision: self.revision,
            position: self.position,
            name: &self.name,
            content_type: self.content_type,
            data: &self.data,
            metadata: &self.metadata,
            created_us: self.created_us,
        }
    }
}

/// An append that was acknowledged, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the last event of the append.
    pub revision: u64,
    /// Of the last event of the append.
    pub position: Position,
}

/// One append of several that [`EventStore::append_many`] takes.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: StreamName,
    pub expected: Expected,
    pub events: Vec<NewEvent>,
    /// Appends of one line happen in the given order even where they are to different streams.
    pub line: Option<Arc<str>>,
}

/// Why the store did not do as asked, by what the caller should do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Load the stream again and decide anew. `actual` is the last revision, `None` when there is no event.
    #[error("the stream {stream} is not where the writer expected it (it is at {actual:?})")]
    Conflict { stream: StreamName, actual: Option<u64> },
    /// The stream is tombstoned; nothing can be written to it again.
    #[error("the stream {0} was deleted for good")]
    Deleted(StreamName),
    /// The append is over the limit; split it or refuse it to who asked.
    #[error("the append has {size} bytes, more than the {limit} allowed")]
    TooLarge { size: usize, limit: usize },
    /// The append has no events, or a name in it is empty or too long; refuse it to who asked.
    #[error("the append can't be recorded as it stands: {0}")]
    Invalid(&'static str),
    /// The disk is full or the store can't be reached: nothing was recorded. Try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// No answer, or a broken one: the append may or may not have been recorded. Repeat it with the same event ids.
    #[error("the store did not say whether it took the append: {0}")]
    Uncertain(String),
    /// The store's data can't be read or is not ours; an operator has to look.
    #[error("the store is damaged or not usable: {0}")]
    Broken(String),
}

/// Which way to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// Which events of the whole log are wanted: those of streams whose name begins with one of these (`"lane-"`).
/// None at all means all streams, the system's own (`$…`) excepted; the prefix `""` means these too.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub stream_prefixes: Vec<Arc<str>>,
}

impl Filter {
    pub fn all() -> Self {
        Self::default()
    }

    /// The streams of these categories.
    pub fn categories<'a>(categories: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            stream_prefixes: categories.into_iter().map(|category| format!("{category}-").into()).collect(),
        }
    }

    pub fn matches(&self, stream: &str) -> bool {
        if self.stream_prefixes.is_empty() {
            return !stream.starts_with('$');
        }
        self.stream_prefixes.iter().any(|prefix| stream.starts_with(&**prefix))
    }
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// Those that match, in order; possibly none.
    pub events: Vec<Recorded>,
    /// Everything up to and including this position has been looked at: read on from here.
    pub upto: Position,
    /// There was nothing behind `upto` when the page was read.
    pub at_head: bool,
}

/// Events in streams, in one order.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Names this store's log for as long as it exists; positions of another store mean nothing here.
    fn id(&self) -> Uuid;

    /// True where nobody but this process can write: what it remembers of a stream is then how the stream is.
    fn is_ours_alone(&self) -> bool {
        false
    }

    /// Appends atomically. Repeating an append with the same ids at the same expected revision answers as it did the
    /// first time (`EventStoreDB`'s rule: the ids in the slots behind `expected` are compared, nothing else).
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError>;

    /// Several appends, each on its own: one may conflict while another succeeds. Appends of one line, and those without
    /// one to the same stream, happen in the given order; the answers come in that order too. A backend may commit them
    /// together. Where one of a line is `Unavailable` or `Uncertain`, those behind it are `Unavailable`.
    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>>;

    /// At most `limit` events of a stream, from `from` on (inclusive; backward from `u64::MAX` means from the end).
    /// A stream without events gives none; one that was deleted for good is [`StoreError::Deleted`].
    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// A page of the log behind `after` (exclusive), of at most `limit` matching events. It may be shorter, or empty,
    /// with more to come: only `at_head` says that it was the last.
    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError>;

    /// The events at these positions, one answer for each and in their order; `None` where none stands. A backend that can't
    /// find an event by its position alone answers `None` for each; one that is [ours alone](Self::is_ours_alone) can.
    async fn read_at(&self, positions: &[Position]) -> Result<Vec<Option<Recorded>>, StoreError> {
        Ok(vec![None; positions.len()])
    }

    /// The position of the last event.
    async fn head(&self) -> Result<Position, StoreError>;

    /// Shows `each` every matching event behind `after` (exclusive) up to `upto` (inclusive), in order, until it breaks
    /// off; answers with the last position that was looked at. Made for rebuilding read models: nothing is copied
    /// where the backend can help it.
    ///
    /// Blocks. Call it on a thread where that is allowed and which knows its tokio runtime (`spawn_blocking`).
    fn scan(
        &self,
        after: Position,
        upto: Position,
        filter: &Filter,
        each: &mut dyn FnMut(RecordedRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, StoreError> {
        let runtime = tokio::runtime::Handle::current();
        let mut reached = after;
        while reached < upto {
            let page = runtime.block_on(self.read_all(reached, filter, SCAN_PAGE))?;
            for event in &page.events {
                if event.position > upto {
                    return Ok(reached);
                }
                reached = event.position;
                if each(event.as_ref()).is_break() {
                    return Ok(reached);
                }
            }
            reached = page.upto.min(upto);
            if page.at_head {
                break;
            }
        }
        Ok(reached)
    }

    /// Pages behind `after` for ever, none missed, none twice. Waits when it has reached the head; an empty page with
    /// `at_head` tells that it did, and comes once each time it catches up. Ends only with an error, after which the
    /// caller follows anew from its own checkpoint.
    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>>;
}

/// Refuses what no backend takes: no events, too many bytes, a name that is empty or too long.
pub fn check(events: &[NewEvent]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Err(StoreError::Invalid("it has no events"));
    }
    if events.iter().any(|event| !(1..=NAME_BYTES_MAX).contains(&event.name.len())) {
        return Err(StoreError::Invalid("an event type has 1 to 256 bytes"));
    }
    let size = events.iter().map(|event| event.data.len() + event.metadata.len()).sum();
    if size > APPEND_BYTES_MAX {
        return Err(StoreError::TooLarge { size, limit: APPEND_BYTES_MAX });
    }
    Ok(())
}

/// Data and metadata of one append together; `EventStoreDB`'s own default.
pub const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// Of a stream's name and of an event's type.
pub const NAME_BYTES_MAX: usize = 256;

/// Events a backend without a scan of its own is asked for at a time.
const SCAN_PAGE: usize = 4096;

/// How long a caller may expect to wait for the store before something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(10);
