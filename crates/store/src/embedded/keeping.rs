//! Keeping streams short: what falls out of a stream is deleted from the file in the transaction that makes it so.
//!
//! The rules stand in the table `kept`, so that they hold for appends to come; clients of the protocol don't see them.
//!
//! **Invariants.** The last row of a stream stays, without its name and payload if it was let go of: it says where the
//! revisions have got to, and the last row of the log where the positions have. Once a call of [`Keeping`] was
//! answered, neither the file nor its journal holds the bytes any more. What an append pushes out is gone from the file
//! with that append, and from the journal with the next such call, or when the journal is written over.
//!
//! [`Keeping`]: crate::Keeping

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    sql,
    writer::{Answer, Group},
};
use crate::{
    Appended, Expected, StoreError, StreamName,
    served::{DELETED_REVISION, Deletion},
};

/// What of a stream is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    Newest(u64),
    From(u64),
    Nothing,
}

/// Streams for which there may be a rule. It only hints, because what set the rule may have been rolled back.
pub(super) type Kept = HashSet<StreamName>;

/// Reads the hints, and finishes what a crash may have left of the last call.
pub(super) fn kept(connection: &Connection) -> Result<Kept, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT stream FROM kept")?;
    let names = statement.query_map((), |row| row.get::<_, String>(0))?;
    let kept: Kept =
        names.filter_map(|name| name.map(StreamName::parse).transpose()).collect::<Result<_, _>>()?;
    if !kept.is_empty() {
        wipe_journal(connection)?;
    }
    Ok(kept)
}

/// Former pages stay in the journal until it is emptied. `false` if a reader is in the way.
pub(super) fn wipe_journal(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
    Ok(!busy)
}

impl Group<'_> {
    /// The outer error is the file's and fails the group; the inner one is this call's own.
    pub(super) fn keep(&mut self, stream: &StreamName, keep: Keep) -> Result<Answer, rusqlite::Error> {
        let (first, count) = match keep {
            Keep::Nothing => match self.delete(stream, Expected::Any, Deletion::ForGood)? {
                Ok(_) | Err(StoreError::Deleted(_)) => (DELETED_REVISION, None),
                Err(refused) => return Ok(Err(refused)),
            },
            _ if self.last(stream)? == Some(DELETED_REVISION) => {
                return Ok(Err(StoreError::Deleted(stream.clone())));
            }
            Keep::Newest(count) => (0, Some(count)),
            Keep::From(first) => (first, None),
        };
        let mut rule = self.connection.prepare_cached(
            "INSERT INTO kept (stream, first, count) VALUES (?1, ?2, ?3) ON CONFLICT (stream) DO UPDATE \
             SET first = max(first, excluded.first), count = coalesce(excluded.count, count)",
        )?;
        rule.execute(params![stream.as_str(), sql(first), count.map(sql)])?;
        self.kept.insert(stream.clone());
        self.shorten(stream)?;
        Ok(Ok(Appended { revision: first, position: self.head }))
    }

    /// Deletes what the stream's rule lets go of.
    pub(super) fn shorten(&mut self, stream: &StreamName) -> Result<(), rusqlite::Error> {
        if !self.kept.contains(stream) {
            return Ok(());
        }
        let mut rule = self.connection.prepare_cached("SELECT first, count FROM kept WHERE stream = ?1")?;
        let rule = rule.query_row((stream.as_str(),), |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned)))
        });
        let (Some((first, count)), Some(last)) = (rule.optional()?, self.last(stream)?) else {
            return Ok(());
        };
        let first = first.max(count.map_or(0, |count| (last + 1).saturating_sub(count)));
        self.shortened = true;
        let mut delete =
            self.connection.prepare_cached("DELETE FROM events WHERE stream = ?1 AND revision < ?2")?;
        delete.execute((stream.as_str(), sql(first.min(last))))?;
        if last < first {
            let mut wipe = self.connection.prepare_cached(
                "UPDATE events SET name = '', data = x'', metadata = x'' WHERE stream = ?1 AND revision = ?2",
            )?;
            wipe.execute((stream.as_str(), sql(last)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use futures_util::StreamExt;
    use uuid::Uuid;

    use crate::{
        ContentType, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Position, StoreError,
        StreamName,
        embedded::{EmbeddedStore, Options},
    };

    fn store(dir: &Path) -> EmbeddedStore {
        EmbeddedStore::open(dir, Options::default()).unwrap()
    }

    /// Its payload is found nowhere else, and lies on pages of its own if it is large.
    fn secret(number: u64, bytes: usize) -> NewEvent {
        NewEvent {
            id: Uuid::from_u128(number.into()),
            name: "thing.kept.v1".into(),
            content_type: ContentType::Octets,
            data: mark(number).repeat(bytes / 8).into(),
            metadata: mark(number + 1000).to_vec().into(),
        }
    }

    fn mark(number: u64) -> [u8; 8] {
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
    }

    /// Which of the numbers still stand in any file of the directory, as data or as metadata.
    fn readable(dir: &Path, numbers: std::ops::Range<u64>) -> Vec<u64> {
        let files = dir.read_dir().unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let files: Vec<_> = files.collect();
        let found = |bytes: &[u8]| files.iter().any(|file| file.windows(8).any(|window| window == bytes));
        numbers.filter(|&number| found(&mark(number)) || found(&mark(number + 1000))).collect()
    }

    #[tokio::test]
    async fn of_what_is_let_go_of_nothing_stays_in_the_files() {
        for bytes in [64, 20_000] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            let stream = StreamName::new("thing-1");
            store
                .append(&stream, Expected::NoStream, (0..10).map(|n| secret(n, bytes)).collect())
                .await
                .unwrap();
            store
                .append(&StreamName::new("other-1"), Expected::NoStream, vec![secret(90, bytes)])
                .await
                .unwrap();

            store.keep_newest(&stream, 6).await.unwrap();
            assert_eq!(readable(dir.path(), 0..10), [4, 5, 6, 7, 8, 9]);
            store.truncate_before(&stream, 8).await.unwrap();
            assert_eq!(readable(dir.path(), 0..10), [8, 9]);
            store.truncate_before(&stream, 10).await.unwrap();
            assert_eq!(readable(dir.path(), 0..10), [0; 0]);
            store.append(&stream, Expected::Revision(9), vec![secret(11, bytes)]).await.unwrap();
            store.delete_for_good(&stream).await.unwrap();
            assert_eq!(readable(dir.path(), 0..100), [90]);
        }
    }

    #[tokio::test]
    async fn what_appends_push_out_is_gone_from_the_files_with_the_next_call() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let stream = StreamName::new("thing-1");
        store.keep_newest(&stream, 2).await.unwrap();
        for number in 0..50_u64 {
            let expected = number.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
            store.append(&stream, expected, vec![secret(number, 600)]).await.unwrap();
        }
        store.keep_newest(&stream, 2).await.unwrap();
        assert_eq!(readable(dir.path(), 0..50), [48, 49]);
    }

    #[tokio::test]
    async fn while_somebody_reads_the_file_it_is_not_wiped_which_is_said_and_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let stream = StreamName::new("thing-1");
        store.append(&stream, Expected::NoStream, vec![secret(0, 64), secret(1, 64)]).await.unwrap();
        let mut other = rusqlite::Connection::open(dir.path().join("log.sqlite")).unwrap();
        let reading = other.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM events", (), |row| row.get::<_, i64>(0)).unwrap();

        let refused = store.truncate_before(&stream, 1).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        let left = store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap();
        assert_eq!(left.len(), 1, "it is hidden all the same");
        drop(reading);
        store.truncate_before(&stream, 1).await.unwrap();
        assert_eq!(readable(dir.path(), 0..2), [1]);
    }

    #[tokio::test]
    async fn a_rule_holds_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let stream = StreamName::new("thing-1");
        let first = store(dir.path());
        first.keep_newest(&stream, 2).await.unwrap();
        first.append(&stream, Expected::NoStream, (0..3).map(|n| secret(n, 64)).collect()).await.unwrap();
        drop(first);

        let second = store(dir.path());
        second.append(&stream, Expected::Revision(2), vec![secret(3, 64)]).await.unwrap();
        let left = second.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap();
        assert_eq!(left.iter().map(|event| event.revision).collect::<Vec<_>>(), [2, 3]);
    }

    #[tokio::test]
    async fn what_was_let_go_of_is_shown_to_no_follower() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (kept, other) = (StreamName::new("thing-1"), StreamName::new("other-1"));
        store.keep_newest(&kept, 1).await.unwrap();
        store.append(&other, Expected::NoStream, vec![secret(9, 64)]).await.unwrap();
        store.append(&kept, Expected::NoStream, vec![secret(0, 64), secret(1, 64)]).await.unwrap();
        let shown = store.follow(Position::START, Filter::all()).next().await.unwrap().unwrap();
        assert_eq!(shown.events.iter().map(|event| event.id.as_u128()).collect::<Vec<_>>(), [9, 1]);

        store.truncate_before(&kept, 2).await.unwrap();
        let shown = store.follow(Position::START, Filter::all()).next().await.unwrap().unwrap();
        assert_eq!(shown.events.iter().map(|event| event.id.as_u128()).collect::<Vec<_>>(), [9]);
    }

    #[tokio::test]
    async fn the_log_is_read_on_over_what_was_let_go_of_and_no_position_is_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let stream = StreamName::new("thing-1");
        let first = store(dir.path());
        let last =
            first.append(&stream, Expected::NoStream, vec![secret(0, 64), secret(1, 64)]).await.unwrap();
        first.truncate_before(&stream, 2).await.unwrap();
        drop(first);

        let store = Arc::new(store(dir.path()));
        assert_eq!(store.head().await.unwrap(), last.position);
        let page = store.read_all(Position::START, &Filter::all(), 9).await.unwrap();
        assert!(page.events.is_empty() && page.at_head && page.upto == last.position);
        let mut pages = store.follow(Position::START, Filter::all());
        assert!(pages.next().await.unwrap().unwrap().events.is_empty());
        let next = store.append(&stream, Expected::Revision(1), vec![secret(2, 64)]).await.unwrap();
        assert!(next.position > last.position);
        assert_eq!(pages.next().await.unwrap().unwrap().events.len(), 1);
    }
}
