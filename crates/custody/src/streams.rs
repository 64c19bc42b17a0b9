//! The vault in streams of an event store, for hubs that share one: `vault-<kind>-<id>`, an event for each put.
//!
//! The rules are [`admit`]'s, upon what the stream ends with, and the put is an append at that very revision: of two
//! hubs that put at once one is told to look again. Of each stream the store keeps the newest two events, so that a
//! generation stays until the event that speaks of the next is recorded. Nobody but hubs may read these streams; what
//! is in them is wrapped all the same.
//!
//! **Invariant.** A destroyed id is a stream deleted for good. How soon its bytes are gone from the disks is the
//! store's to say (see [`Keeping`]).

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use store::{Access, ContentType, Direction, Expected, Keeping, NewEvent, Recorded, StoreError, StreamName};

use crate::{
    cipher,
    vault::{Admission, Entry, EntryId, Vault, VaultError, Version, admit},
};

/// The newest value and the one that it may have to stand beside.
const KEPT: u64 = 2;

/// How often somebody else may have been faster, or an answer may have been lost.
const ATTEMPTS: usize = 8;

/// Keeps every secret in a stream of its own.
pub struct StreamVault {
    store: Arc<dyn Keeping>,
}

impl StreamVault {
    pub fn new(store: Arc<dyn Keeping>) -> Self {
        Self { store }
    }

    /// What the stream ends with, the newest first.
    async fn kept(&self, stream: &StreamName) -> Result<Vec<Held>, VaultError> {
        let limit = usize::try_from(KEPT).unwrap_or(usize::MAX);
        let events = self.store.read_stream(stream, Direction::Backward, u64::MAX, limit).await?;
        events.iter().map(Held::of).collect()
    }
}

#[async_trait]
impl Vault for StreamVault {
    async fn put(&self, id: &EntryId, version: Version, wrapped: &[u8]) -> Result<(), VaultError> {
        let (stream, event) = (stream(id), event(version, wrapped));
        for _ in 0..ATTEMPTS {
            let kept = self.kept(&stream).await?;
            let newest = kept.first();
            if admit(newest.map(|held| &held.entry), version, wrapped)? == Admission::AlreadyThere {
                return Ok(());
            }
            let expected = newest.map_or(Expected::NoStream, |held| Expected::Revision(held.revision));
            if expected == Expected::NoStream {
                self.store.reserve(&stream, Access::Hubs).await?;
            }
            if expected == Expected::Revision(0) {
                // Most secrets never have a second value, so the rule is set only now.
                self.store.keep_newest(&stream, KEPT).await?;
            }
            match self.store.append(&stream, expected, vec![event.clone()]).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict { .. } | StoreError::Uncertain(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(VaultError::Unavailable(format!("whether {id} was put can't be found out")))
    }

    async fn get(&self, id: &EntryId, generation: Option<u64>) -> Result<Option<Entry>, VaultError> {
        let wanted = |held: &Held| generation.is_none_or(|wanted| held.entry.version.generation == wanted);
        let kept = self.kept(&stream(id)).await?;
        Ok(kept.into_iter().find(wanted).map(|held| held.entry))
    }

    async fn forget_before(&self, id: &EntryId, generation: u64) -> Result<(), VaultError> {
        let stream = stream(id);
        let forgotten = match self.kept(&stream).await.as_deref() {
            Ok([newest, former]) => {
                let (newest_is, former_is) =
                    (newest.entry.version.generation, former.entry.version.generation);
                if former_is < generation || former_is == newest_is {
                    self.store.truncate_before(&stream, newest.revision).await.map_err(VaultError::from)
                } else {
                    Ok(())
                }
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        };
        if forgotten == Err(VaultError::Destroyed) { Ok(()) } else { forgotten }
    }

    async fn destroy(&self, id: &EntryId) -> Result<(), VaultError> {
        Ok(self.store.delete_for_good(&stream(id)).await?)
    }
}

/// A value and where in its stream it stands.
struct Held {
    revision: u64,
    entry: Entry,
}

impl Held {
    fn of(event: &Recorded) -> Result<Self, VaultError> {
        let Stamp { generation, claim } = serde_json::from_slice(&event.metadata)
            .map_err(|_| VaultError::Unavailable(format!("{} holds what no hub wrote", event.stream)))?;
        let version = Version { generation, claim };
        Ok(Self { revision: event.revision, entry: Entry { version, wrapped: event.data.to_vec() } })
    }
}

/// The metadata of an event; its data are the wrapped bytes.
#[derive(Serialize, Deserialize)]
struct Stamp {
    generation: u64,
    claim: u64,
}

fn stream(id: &EntryId) -> StreamName {
    StreamName::new(format!("vault-{}-{}", id.kind.as_str(), id.id))
}

fn event(Version { generation, claim }: Version, wrapped: &[u8]) -> NewEvent {
    let stamp = serde_json::to_vec(&Stamp { generation, claim }).expect("two numbers become JSON");
    NewEvent {
        id: uuid::Builder::from_random_bytes(cipher::random()).into_uuid(),
        name: "vault.put.v1".into(),
        content_type: ContentType::Octets,
        data: wrapped.to_vec().into(),
        metadata: stamp.into(),
    }
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Deleted(_) => Self::Destroyed,
            other => Self::Unavailable(other.to_string()),
        }
    }
}
