//! Letting go of what a stream need not hold for ever: heartbeats, what was submitted once it is answered, secrets.
//!
//! Everything here may be said again: what is so already is a success. What was let go of is no longer read by
//! [`EventStore::read_stream`], and never comes back. The embedded store has overwritten its payload by the time it
//! answers; `EventStoreDB` hides it at once, and has it on its disks until every node was scavenged.

use async_trait::async_trait;

use crate::{EventStore, StoreError, StreamName};

/// A store whose streams can be kept short.
#[async_trait]
pub trait Keeping: EventStore {
    /// Keeps only the newest `count` events of the stream, now and after every append to come (`$maxCount`). The count
    /// is 1 or more; the newest call counts.
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError>;

    /// Lets go of the events before `revision` (`$tb`), which may lie behind the newest. The stream can be written to as
    /// before, and its revisions count on. A smaller revision than before changes nothing.
    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError>;

    /// Lets go of everything; the stream, written before or never, refuses every later append, and is
    /// [`StoreError::Deleted`] to who reads it (a tombstone).
    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError>;

    /// Says whose the stream is, to a store that asks its users who they are. The embedded store is its hub's alone, and
    /// its port has rules of its own.
    async fn reserve(&self, _stream: &StreamName, _for_whom: Access) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Whose a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody but hubs reads or writes it.
    Hubs,
    /// Clients of the product append to it; nobody but hubs reads it.
    Clients,
}

/// Refuses what no backend can do.
pub(crate) fn check(stream: &StreamName, count: u64) -> Result<(), StoreError> {
    if stream.metadata().is_none() {
        return Err(StoreError::Invalid("a stream of this name has no metadata that could shorten it"));
    }
    if count == 0 {
        return Err(StoreError::Invalid("keeping none is deleting"));
    }
    Ok(())
}
