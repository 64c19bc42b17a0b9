//! Keeping streams short, by their metadata and by tombstones.
//!
//! Metadata is replaced as a whole, so what else it says is read first and written again, at the exact revision.

use eventstore::TombstoneStreamOptions;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::connection::{CallError, Connection, as_user, within};
use crate::{
    ContentType, Direction, Expected, NewEvent, StoreError, StreamName, keeping, served::METADATA_EVENT,
};

/// How often somebody else may have changed the metadata in between.
const ATTEMPTS: usize = 16;

impl Connection {
    pub(super) async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        keeping::check(stream, count)?;
        self.change_metadata(stream, |metadata| {
            metadata.insert("$maxCount".into(), count.into());
        })
        .await
    }

    pub(super) async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        keeping::check(stream, 1)?;
        self.change_metadata(stream, |metadata| {
            let before = metadata.get("$tb").and_then(Value::as_u64).unwrap_or_default();
            metadata.insert("$tb".into(), before.max(revision).into());
        })
        .await
    }

    pub(super) async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        let options = &as_user!(self, TombstoneStreamOptions::default());
        let patience = self.options.patience;
        let deleted = self.call(|client| async move {
            within(patience, client.tombstone_stream(stream.as_str(), options)).await
        });
        match deleted.await {
            Ok(_) | Err(CallError::Missing | CallError::Deleted) => Ok(()),
            Err(CallError::Failed(error)) => Err(error),
        }
    }

    pub(super) async fn change_metadata(
        &self,
        stream: &StreamName,
        change: impl Fn(&mut Map<String, Value>),
    ) -> Result<(), StoreError> {
        let Some(holder) = stream.metadata() else { return keeping::check(stream, 1) };
        let deleted = |error| match error {
            StoreError::Deleted(_) => StoreError::Deleted(stream.clone()),
            error => error,
        };
        for _ in 0..ATTEMPTS {
            let newest =
                self.read_stream(&holder, Direction::Backward, u64::MAX, 1).await.map_err(deleted)?;
            let newest = newest.first();
            let before: Map<String, Value> =
                newest.and_then(|newest| serde_json::from_slice(&newest.data).ok()).unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            if newest.is_some() && after == before {
                return Ok(());
            }
            let expected = newest.map_or(Expected::NoStream, |newest| Expected::Revision(newest.revision));
            match self.append(&holder, expected, &[metadata_event(&holder, expected, after)]).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(deleted(error)),
            }
        }
        Err(StoreError::Unavailable(format!("the metadata of {stream} is changed all the time")))
    }
}

/// Its id follows from what it says and where: two hubs that say the same at once have both said it.
fn metadata_event(holder: &StreamName, expected: Expected, metadata: Map<String, Value>) -> NewEvent {
    let data = Value::Object(metadata).to_string();
    let said = format!("{expected:?}@{holder}:{data}");
    NewEvent {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, said.as_bytes()),
        name: METADATA_EVENT.into(),
        content_type: ContentType::Json,
        data: data.into(),
        metadata: "{}".into(),
    }
}
