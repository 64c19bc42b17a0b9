//! Deleting streams, and what the writer has to look at because streams may be deleted.
//!
//! **Invariants.** The last event of a stream that was deleted for good has the greatest revision there is, so the look
//! at the last revision that each append takes anyway tells. A stream is hidden while the newest metadata says so; what
//! ends that (a further event, other metadata) is written with new metadata in the same transaction.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, types::Value};
use uuid::Uuid;

use super::writer::{Answer, Group};
use crate::{
    Appended, ContentType, Expected, NewEvent, Position, StoreError, StreamName,
    served::{DELETED_EVENT, DELETED_REVISION, Deletion, METADATA_EVENT},
};

/// Streams that were hidden at some time, so that the metadata of all others need not be looked at. It only hints: the
/// file says whether they are hidden now.
pub(super) type Hidden = HashSet<StreamName>;

/// Reads the hints. Looks at all metadata, which is little beside the log.
pub(super) fn hidden(connection: &Connection) -> Result<Hidden, rusqlite::Error> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT substr(stream, 3) FROM events \
         WHERE stream >= '$$' AND stream < '$%' AND instr(data, CAST('9223372036854775807' AS BLOB)) > 0",
    )?;
    let names = statement.query_map((), |row| row.get::<_, String>(0))?;
    names.filter_map(|name| name.map(StreamName::parse).transpose()).collect()
}

/// The metadata as an object with another `$tb`; an empty object where it is none.
const WITH_TRUNCATION: &str = "SELECT CASE WHEN json_valid(t) AND json_type(t) = 'object' \
    THEN json_set(t, '$.\"$tb\"', ?2) ELSE json_object('$tb', ?2) END \
    FROM (SELECT CAST(?1 AS TEXT) AS t)";

const TRUNCATION: &str = "SELECT CASE WHEN json_valid(t) THEN json_extract(t, '$.\"$tb\"') END, position \
    FROM (SELECT CAST(data AS TEXT) AS t, position FROM events WHERE stream = ?1 ORDER BY revision DESC LIMIT 1)";

impl Group<'_> {
    /// The outer error is the file's and fails the group; the inner one is this deletion's own.
    pub(super) fn delete(
        &mut self,
        stream: &StreamName,
        expected: Expected,
        deletion: Deletion,
    ) -> Result<Answer, rusqlite::Error> {
        if stream.metadata_of().is_some() {
            return Ok(Err(StoreError::Invalid("metadata is deleted with its stream")));
        }
        let actual = self.last(stream)?;
        if actual == Some(DELETED_REVISION) {
            return Ok(Err(StoreError::Deleted(stream.clone())));
        }
        let truncation = self.truncation(stream)?;
        let hidden = truncation.as_ref().is_some_and(|(first, _)| *first == Some(DELETED_REVISION));
        let there = actual.is_some() || truncation.is_some();
        let expectation_holds = match expected {
            Expected::Any => there || deletion == Deletion::ForGood,
            Expected::StreamExists if hidden => return Ok(Err(StoreError::Deleted(stream.clone()))),
            Expected::StreamExists => there,
            Expected::NoStream => hidden || (actual.is_none() && (there || deletion == Deletion::ForGood)),
            Expected::Revision(revision) => actual == Some(revision),
        };
        if !expectation_holds {
            return Ok(Err(StoreError::Conflict { stream: stream.clone(), actual }));
        }
        match (deletion, truncation) {
            (Deletion::ForGood, _) => {
                let record = system_event(stream, DELETED_REVISION, DELETED_EVENT, Bytes::new());
                self.insert(stream, DELETED_REVISION, &[record]).map(Ok)
            }
            (Deletion::Soft, Some((_, position))) if hidden => {
                Ok(Ok(Appended { revision: actual.unwrap_or_default(), position }))
            }
            (Deletion::Soft, _) => self.truncate(stream, &[], DELETED_REVISION),
        }
    }

    /// It, or the stream whose metadata it holds, was deleted for good. `last` is its last revision.
    pub(super) fn is_deleted(
        &mut self,
        stream: &StreamName,
        last: Option<u64>,
    ) -> Result<bool, rusqlite::Error> {
        match stream.metadata_of() {
            Some(of) => Ok(self.last(&of)? == Some(DELETED_REVISION)),
            None => Ok(last == Some(DELETED_REVISION)),
        }
    }

    pub(super) fn is_hidden(&mut self, stream: &StreamName) -> Result<bool, rusqlite::Error> {
        let perhaps = self.hidden.contains(stream);
        Ok(perhaps && matches!(self.truncation(stream)?, Some((Some(DELETED_REVISION), _))))
    }

    pub(super) fn has_metadata(&mut self, stream: &StreamName) -> Result<bool, rusqlite::Error> {
        stream.metadata().map_or(Ok(false), |metadata| Ok(self.last(&metadata)?.is_some()))
    }

    /// Inserts events at the end of a stream that may be hidden, or that may hold metadata of one.
    pub(super) fn insert_next(
        &mut self,
        stream: &StreamName,
        hidden: bool,
        next: u64,
        events: &[NewEvent],
    ) -> Result<Appended, rusqlite::Error> {
        let of = stream.metadata_of();
        let of_was_hidden = of.as_ref().map_or(Ok(false), |of| self.is_hidden(of))?;
        let appended = self.insert(stream, next, events)?;
        if hidden {
            // What was inserted is the first that is shown.
            let _ = self.truncate(stream, &[], next)?;
        }
        if let (Some(of), Some(newest)) = (of, events.last()) {
            let new_hint = self.hidden.insert(of.clone());
            if !self.is_hidden(&of)? {
                if of_was_hidden {
                    let first = self.last(&of)?.map_or(0, |last| last + 1);
                    let _ = self.truncate(&of, &newest.data, first)?;
                }
                // An older hint stays, because this may yet be rolled back.
                if new_hint {
                    self.hidden.remove(&of);
                }
            }
        }
        self.shorten(stream)?;
        Ok(appended)
    }

    /// Writes metadata that hides what is before `first`, otherwise saying what `metadata` does.
    fn truncate(
        &mut self,
        stream: &StreamName,
        metadata: &[u8],
        first: u64,
    ) -> Result<Answer, rusqlite::Error> {
        let Some(holder) = stream.metadata() else {
            return Ok(Err(StoreError::Invalid("the stream's name is too long for it to have metadata")));
        };
        let next = self.last(&holder)?.map_or(0, |revision| revision + 1);
        let data: String = self
            .connection
            .prepare_cached(WITH_TRUNCATION)?
            .query_row((metadata, super::sql(first)), |row| row.get(0))?;
        if first == DELETED_REVISION {
            self.hidden.insert(stream.clone());
        }
        self.insert(&holder, next, &[system_event(&holder, next, METADATA_EVENT, data.into())]).map(Ok)
    }

    /// The `$tb` of the stream's metadata, if it has any, and the metadata's position.
    fn truncation(
        &mut self,
        stream: &StreamName,
    ) -> Result<Option<(Option<u64>, Position)>, rusqlite::Error> {
        let Some(holder) = stream.metadata() else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(TRUNCATION)?;
        let found = statement.query_row((holder.as_str(),), |row| {
            let first = match row.get(0)? {
                Value::Integer(first) => u64::try_from(first).ok(),
                _ => None,
            };
            Ok((first, Position(row.get::<_, i64>(1)?.cast_unsigned())))
        });
        found.optional()
    }
}

/// An event of the store's own. Its id follows from where it stands, so that no chance is needed.
fn system_event(stream: &StreamName, revision: u64, name: &str, data: Bytes) -> NewEvent {
    let content_type = if data.is_empty() { ContentType::Octets } else { ContentType::Json };
    let place = format!("{revision}@{stream}");
    NewEvent {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, place.as_bytes()),
        name: Arc::from(name),
        content_type,
        data,
        metadata: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        EventStore, Filter,
        embedded::{EmbeddedStore, Options},
        served::ServedStore,
    };

    fn store(dir: &Path) -> EmbeddedStore {
        EmbeddedStore::open(dir, Options::default()).unwrap()
    }

    /// A store with three events in `thing-1`.
    async fn three() -> (EmbeddedStore, StreamName, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (store, stream) = (store(dir.path()), StreamName::new("thing-1"));
        store.append(&stream, Expected::NoStream, (1..=3).map(event).collect()).await.unwrap();
        (store, stream, dir)
    }

    fn event(number: u128) -> NewEvent {
        let name = Arc::from("thing.happened.v1");
        NewEvent {
            id: Uuid::from_u128(number),
            name,
            content_type: ContentType::Json,
            data: "{}".into(),
            metadata: "{}".into(),
        }
    }

    async fn metadata(store: &EmbeddedStore, stream: &StreamName) -> String {
        let state = store.state(stream).await.unwrap();
        String::from_utf8(state.metadata.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_stream_deleted_softly_counts_on_when_it_is_written_to_again() {
        for expected in [Expected::NoStream, Expected::Any, Expected::Revision(2)] {
            let (store, stream, _dir) = three().await;
            let position = store.delete(&stream, Expected::Revision(2), Deletion::Soft).await.unwrap();
            assert_eq!(store.head().await.unwrap(), position);
            assert_eq!(metadata(&store, &stream).await, r#"{"$tb":9223372036854775807}"#);
            let exists = store.append(&stream, Expected::StreamExists, vec![event(9)]).await;
            assert!(matches!(exists, Err(StoreError::Deleted(_))), "{exists:?}");

            let appended = store.append(&stream, expected, vec![event(4), event(5)]).await.unwrap();

            assert_eq!(appended.revision, 4);
            assert_eq!(metadata(&store, &stream).await, r#"{"$tb":3}"#);
            let grown = store.append(&stream, Expected::StreamExists, vec![event(6)]).await.unwrap();
            assert_eq!(grown.revision, 5);
            assert!(store.append(&stream, Expected::NoStream, vec![event(7)]).await.is_err());
        }
    }

    #[tokio::test]
    async fn repeating_what_began_a_deleted_stream_anew_records_nothing_twice() {
        let (store, stream, _dir) = three().await;
        store.delete(&stream, Expected::Any, Deletion::Soft).await.unwrap();
        // What was there before the deletion is a repeat still.
        let first = store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
        assert_eq!(first.revision, 0);
        assert_eq!(store.state(&stream).await.unwrap().last, Some(2));
    }

    #[tokio::test]
    async fn a_deletion_is_known_after_opening_again_and_survives_a_repeat() {
        let (first, stream, dir) = three().await;
        let position = first.delete(&stream, Expected::Any, Deletion::Soft).await.unwrap();
        assert_eq!(first.delete(&stream, Expected::Any, Deletion::Soft).await.unwrap(), position);
        drop(first);

        let second = store(dir.path());
        assert_eq!(second.delete(&stream, Expected::Any, Deletion::Soft).await.unwrap(), position);
        assert_eq!(second.append(&stream, Expected::NoStream, vec![event(4)]).await.unwrap().revision, 3);
    }

    #[tokio::test]
    async fn other_metadata_shows_a_hidden_stream_from_its_end_on() {
        let (store, stream, _dir) = three().await;
        store.delete(&stream, Expected::Any, Deletion::Soft).await.unwrap();
        let given = NewEvent { data: r#"{"color":"red"}"#.into(), name: METADATA_EVENT.into(), ..event(8) };

        store.append(&stream.metadata().unwrap(), Expected::Any, vec![given]).await.unwrap();

        assert_eq!(metadata(&store, &stream).await, r#"{"color":"red","$tb":3}"#);
        assert!(store.append(&stream, Expected::StreamExists, vec![event(4)]).await.is_ok());
    }

    #[tokio::test]
    async fn a_stream_deleted_for_good_takes_nothing_and_neither_does_its_metadata() {
        let (store, stream, _dir) = three().await;
        let position = store.delete(&stream, Expected::StreamExists, Deletion::ForGood).await.unwrap();

        for stream in [stream.clone(), stream.metadata().unwrap()] {
            assert!(store.state(&stream).await.unwrap().deleted);
            for expected in [Expected::Any, Expected::NoStream, Expected::Revision(2)] {
                let refused = store.append(&stream, expected, vec![event(4)]).await;
                assert!(matches!(refused, Err(StoreError::Deleted(_))), "{refused:?}");
            }
        }
        let again = store.delete(&stream, Expected::Any, Deletion::ForGood).await;
        assert!(matches!(again, Err(StoreError::Deleted(_))), "{again:?}");
        let log = store.read_all(Position::START, &Filter::all(), 9).await.unwrap().events;
        let newest = log.last().unwrap();
        assert_eq!((&*newest.name, newest.position), (DELETED_EVENT, position));
    }

    #[tokio::test]
    async fn deleting_holds_the_writer_to_what_was_expected() {
        let (store, stream, _dir) = three().await;
        let missing = StreamName::new("missing-1");
        for deletion in [Deletion::Soft, Deletion::ForGood] {
            for expected in [Expected::NoStream, Expected::Revision(1), Expected::Revision(3)] {
                let refused = store.delete(&stream, expected, deletion).await;
                assert!(matches!(refused, Err(StoreError::Conflict { actual: Some(2), .. })), "{refused:?}");
            }
            let refused = store.delete(&missing, Expected::StreamExists, deletion).await;
            assert!(matches!(refused, Err(StoreError::Conflict { actual: None, .. })), "{refused:?}");
        }
        assert!(store.delete(&missing, Expected::Any, Deletion::Soft).await.is_err());
        assert!(store.delete(&missing, Expected::NoStream, Deletion::ForGood).await.is_ok());
        let of_metadata = store.delete(&stream.metadata().unwrap(), Expected::Any, Deletion::Soft).await;
        assert!(matches!(of_metadata, Err(StoreError::Invalid(_))), "{of_metadata:?}");
    }

    #[tokio::test]
    async fn the_log_is_read_backward_in_pages() {
        let (store, _stream, _dir) = three().await;
        let mut before = Position(u64::MAX);
        let mut read = Vec::new();
        loop {
            let page = store.read_all_backward(before, &Filter::all(), 2).await.unwrap();
            read.extend(page.events.into_iter().map(|event| event.revision));
            if page.at_head {
                break;
            }
            before = page.upto;
        }
        assert_eq!(read, [2, 1, 0]);
    }
}
