//! What `EventStoreDB`'s clients ask of a store beside what the hub asks of it.
//!
//! Streams are deleted softly or for good. Softly: everything in the stream is hidden, its revisions count on when it
//! is written to again. What hides events is the stream's metadata, the newest event of `$$<stream>`: a JSON object
//! whose `$tb` is the first revision to be shown. Hidden events stay in the log; those who read streams for clients pass
//! over them, [`EventStore::read_stream`] does not.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{EventStore, Expected, Filter, Page, Position, StoreError, StreamName};

/// A store that can be served to `EventStoreDB`'s clients.
#[async_trait]
pub trait ServedStore: EventStore {
    /// Where the stream is, and its metadata.
    async fn state(&self, stream: &StreamName) -> Result<StreamState, StoreError>;

    /// Deletes the stream; answers with the position of the record that says so. The stream or its metadata has to
    /// exist, but for [`Deletion::ForGood`] under `Any` or `NoStream`. Deleting softly what is hidden already changes
    /// nothing. A metadata stream is refused: it goes with its stream.
    async fn delete(
        &self,
        stream: &StreamName,
        expected: Expected,
        deletion: Deletion,
    ) -> Result<Position, StoreError>;

    /// As [`EventStore::read_all`], the other way: the newest event before `before` (exclusive) comes first, and
    /// `at_head` says that the log's beginning was reached.
    async fn read_all_backward(
        &self,
        before: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, StoreError>;
}

/// How a stream is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// What is in it is hidden; it may be written to again.
    Soft,
    /// Nothing can be written to it again.
    ForGood,
}

/// A stream as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The last event's revision, hidden or not; `None` where there never was an event.
    pub last: Option<u64>,
    /// It, or the stream whose metadata it holds, was deleted for good.
    pub deleted: bool,
    /// The data of the newest event of `$$<stream>`. A metadata stream has no metadata.
    pub metadata: Option<Bytes>,
}

impl StreamName {
    /// The stream that holds this one's metadata; `None` for one that holds metadata itself, and for a name that is too
    /// long to have any.
    pub fn metadata(&self) -> Option<Self> {
        if self.metadata_of().is_some() { None } else { Self::parse(format!("{METADATA_PREFIX}{self}")) }
    }

    /// The stream whose metadata this one holds.
    pub fn metadata_of(&self) -> Option<Self> {
        self.as_str().strip_prefix(METADATA_PREFIX).and_then(Self::parse)
    }
}

const METADATA_PREFIX: &str = "$$";

/// The type of the events in metadata streams.
pub const METADATA_EVENT: &str = "$metadata";

/// The type of the last event of a stream that was deleted for good. Its revision is [`DELETED_REVISION`].
pub const DELETED_EVENT: &str = "$streamDeleted";

/// The revision of [`DELETED_EVENT`]; as `$tb`, what hides a whole stream.
pub const DELETED_REVISION: u64 = i64::MAX.cast_unsigned();
