//! The one thread that writes. It takes whatever appends are waiting, as many as fit in a group, and commits them with
//! one sync of the disk, so that a thousand writers cost hardly more than one.
//!
//! **Invariants.** Nobody is answered before the group is durable, not even with a conflict, since that may rest on what
//! another append of the group wrote. What happens to one append of a group, short of the disk failing, never touches
//! another. The file is the only truth: nothing about streams is remembered between groups.

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    deletion::{self, Hidden},
    keeping::{self, Keep, Kept},
    recent::{RecentIds, Seen},
    sql,
    tail::{self, Tail},
};
use crate::{
    Append, Appended, Expected, NewEvent, Position, Recorded, StoreError, StreamName, check, served::Deletion,
};

/// Jobs taken into one group.
const GROUP_MAX: usize = 1024;

/// Payload after which a group takes no further job, so that the journal stays short.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// What is committed together, and who waits for the answers.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Vec<Answer>>,
}

pub(super) enum Work {
    /// Has an answer for each.
    Append(Vec<Append>),
    /// Has one answer.
    Delete(StreamName, Expected, Deletion),
    /// Has one answer, given once nothing of what was let go of can be read in any file.
    Keep(StreamName, Keep),
}

pub(super) type Answer = Result<Appended, StoreError>;

pub(super) struct Writer {
    connection: Connection,
    recent: RecentIds,
    hidden: Hidden,
    kept: Kept,
    /// The last position that is durable. Told to followers before anyone is answered.
    head: watch::Sender<Position>,
    /// What it wrote last.
    tail: Arc<Tail>,
    /// The last group failed; said once, not for every group of a long outage.
    failing: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Result<Self, rusqlite::Error> {
        let last: Option<i64> =
            connection.query_row("SELECT max(position) FROM events", (), |row| row.get(0))?;
        let head = Position(last.map_or(0, i64::cast_unsigned));
        let (head, tail) = (watch::Sender::new(head), Arc::new(Tail::behind(head)));
        let (hidden, kept) = (deletion::hidden(&connection)?, keeping::kept(&connection)?);
        Ok(Self { connection, recent: RecentIds::default(), hidden, kept, head, tail, failing: false })
    }

    pub(super) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    pub(super) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// Writes until there is nobody left who could ask, then leaves one tidy file behind.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while let Some(job) = jobs.blocking_recv() {
            let mut bytes = job.bytes();
            group.push(job);
            while group.len() < GROUP_MAX && bytes < GROUP_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += job.bytes();
                group.push(job);
            }
            self.write(&mut group);
        }
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())) {
            tracing::warn!(%error, "the event log's journal was not emptied at closing; the next start does it");
        }
    }

    /// Commits the group and answers everyone in it.
    fn write(&mut self, group: &mut Vec<Job>) {
        match self.commit(group) {
            Ok(Written { answers, head, events }) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the event log can be written again");
                }
                self.recent.commit();
                match events {
                    Some(events) => self.tail.extend(events),
                    None => self.tail.clear(head),
                }
                self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
                let answered = group.drain(..).zip(answers);
                let (keeping, others): (Vec<_>, Vec<_>) =
                    answered.partition(|(job, _)| matches!(job.work, Work::Keep(..)));
                for (job, answers) in others {
                    // Who no longer waits does not need the answer.
                    let _ = job.answer.send(answers);
                }
                if !keeping.is_empty() {
                    let wiped = self.wipe();
                    for (job, answers) in keeping {
                        let answers = answers.into_iter().map(|answer| wiped.clone().and(answer)).collect();
                        let _ = job.answer.send(answers);
                    }
                }
            }
            Err(error) => {
                self.recent.roll_back();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the event log can't be written");
                }
                for job in group.drain(..) {
                    let answers = vec![Err(error.clone()); job.answers()];
                    let _ = job.answer.send(answers);
                }
            }
        }
    }

    fn wipe(&self) -> Result<(), StoreError> {
        match keeping::wipe_journal(&self.connection) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Unavailable("somebody reads what is to be wiped".into())),
            Err(error) => Err(not_written(&error)),
        }
    }

    fn commit(&mut self, group: &[Job]) -> Result<Written, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| not_written(&error))?;
        let (hidden, kept) = (&mut self.hidden, &mut self.kept);
        let written = Group::new(&transaction, &mut self.recent, hidden, kept, *self.head.borrow())
            .and_then(|group_writer| group_writer.write(group))
            .map_err(|error| not_written(&error))?;
        transaction.commit().map_err(|error| perhaps_written(&error))?;
        Ok(written)
    }
}

impl Job {
    fn bytes(&self) -> usize {
        let Work::Append(appends) = &self.work else { return 0 };
        let events = appends.iter().flat_map(|append| &append.events);
        events.map(|event| event.data.len() + event.metadata.len()).sum()
    }

    fn answers(&self) -> usize {
        match &self.work {
            Work::Append(appends) => appends.len(),
            Work::Delete(..) | Work::Keep(..) => 1,
        }
    }
}

/// What came of a group.
struct Written {
    /// For each job.
    answers: Vec<Vec<Answer>>,
    head: Position,
    /// Those that were inserted; `None` where some were let go of as well.
    events: Option<Vec<Recorded>>,
}

/// One open transaction.
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) hidden: &'a mut Hidden,
    pub(super) kept: &'a mut Kept,
    recent: &'a mut RecentIds,
    last: CachedStatement<'a>,
    slots: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    pub(super) head: Position,
    inserted: Vec<Recorded>,
    /// Events were let go of.
    pub(super) shortened: bool,
    now_us: i64,
}

impl<'a> Group<'a> {
    fn new(
        connection: &'a Connection,
        recent: &'a mut RecentIds,
        hidden: &'a mut Hidden,
        kept: &'a mut Kept,
        head: Position,
    ) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            connection,
            hidden,
            kept,
            recent,
            last: connection.prepare_cached(
                "SELECT revision FROM events WHERE stream = ?1 ORDER BY revision DESC LIMIT 1",
            )?,
            slots: connection.prepare_cached(
                "SELECT id, position FROM events WHERE stream = ?1 AND revision >= ?2 ORDER BY revision LIMIT ?3",
            )?,
            insert: connection.prepare_cached(
                "INSERT INTO events (position, stream, revision, id, name, content_type, created_us, data, metadata) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            head,
            inserted: Vec::new(),
            shortened: false,
            now_us: now_us(),
        })
    }

    fn write(mut self, group: &[Job]) -> Result<Written, rusqlite::Error> {
        let answer = |job: &Job| match &job.work {
            Work::Append(appends) => appends.iter().map(|append| self.append(append)).collect(),
            Work::Delete(stream, expected, deletion) => {
                self.delete(stream, *expected, *deletion).map(|answer| vec![answer])
            }
            Work::Keep(stream, keep) => self.keep(stream, *keep).map(|answer| vec![answer]),
        };
        let answers = group.iter().map(answer).collect::<Result<_, _>>()?;
        let events = (!self.shortened).then_some(self.inserted);
        Ok(Written { answers, head: self.head, events })
    }

    /// The outer error is the file's and fails the group; the inner one is this append's own.
    fn append(&mut self, append: &Append) -> Result<Answer, rusqlite::Error> {
        let Append { stream, expected, events, .. } = append;
        if let Err(refused) = check(events) {
            return Ok(Err(refused));
        }
        let actual = self.last(stream)?;
        if self.is_deleted(stream, actual)? {
            return Ok(Err(StoreError::Deleted(stream.clone())));
        }
        let hidden = self.is_hidden(stream)?;
        let next = actual.map_or(0, |revision| revision + 1);
        let conflict = Err(StoreError::Conflict { stream: stream.clone(), actual });
        let expected_next = match *expected {
            Expected::NoStream => 0,
            Expected::Revision(revision) => revision.saturating_add(1),
            Expected::StreamExists if hidden => return Ok(Err(StoreError::Deleted(stream.clone()))),
            Expected::StreamExists if actual.is_none() && !self.has_metadata(stream)? => return Ok(conflict),
            Expected::Any | Expected::StreamExists => match self.recent.look_for(stream, events) {
                Seen::New => next,
                Seen::Repeated(appended) => return Ok(Ok(appended)),
                Seen::Mixed => return Ok(conflict),
            },
        };
        match expected_next.cmp(&next) {
            Ordering::Equal => self.insert_next(stream, hidden, next, events).map(Ok),
            Ordering::Less => match self.repeated(stream, expected_next, events)? {
                Some(appended) => Ok(Ok(appended)),
                None if hidden && *expected == Expected::NoStream => {
                    self.insert_next(stream, hidden, next, events).map(Ok)
                }
                None => Ok(conflict),
            },
            Ordering::Greater => Ok(conflict),
        }
    }

    pub(super) fn last(&mut self, stream: &StreamName) -> Result<Option<u64>, rusqlite::Error> {
        let last: Option<i64> = self.last.query_row((stream.as_str(),), |row| row.get(0)).optional()?;
        Ok(last.map(i64::cast_unsigned))
    }

    /// Where the append ended the first time, if the slots from `first` on hold just these ids.
    fn repeated(
        &mut self,
        stream: &StreamName,
        first: u64,
        events: &[NewEvent],
    ) -> Result<Option<Appended>, rusqlite::Error> {
        let mut slots = self.slots.query(params![stream.as_str(), sql(first), events.len().cast_signed()])?;
        let mut end = None;
        for (revision, event) in (first..).zip(events) {
            let Some(slot) = slots.next()? else {
                return Ok(None);
            };
            if slot.get_ref(0)?.as_bytes()? != event.id.as_bytes() {
                return Ok(None);
            }
            end = Some(Appended { revision, position: Position(slot.get::<_, i64>(1)?.cast_unsigned()) });
        }
        Ok(end)
    }

    pub(super) fn insert(
        &mut self,
        stream: &StreamName,
        first: u64,
        events: &[NewEvent],
    ) -> Result<Appended, rusqlite::Error> {
        let mut place = Appended { revision: first, position: self.head };
        for (revision, event) in (first..).zip(events) {
            place = Appended { revision, position: Position(self.head.0 + 1) };
            self.insert.execute(params![
                sql(place.position.0),
                stream.as_str(),
                sql(revision),
                event.id.as_bytes(),
                event.name,
                super::content_type_to_sql(event.content_type),
                self.now_us,
                &event.data[..],
                &event.metadata[..],
            ])?;
            self.head = place.position;
            self.recent.remember(event.id, stream, place);
            self.inserted.push(tail::recorded(event, stream, place, self.now_us));
        }
        Ok(place)
    }
}

#[expect(clippy::disallowed_methods, reason = "the store's own clock, by which nothing is decided")]
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What failed before the commit was rolled back: nothing was recorded.
fn not_written(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
            StoreError::Broken(error.to_string())
        }
        Some(ErrorCode::DiskFull) => StoreError::Unavailable("the disk is full".into()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A commit that fails for want of room wrote nothing that counts. Any other failure may have come after the commit
/// had reached the file, where a start after a crash would find it.
fn perhaps_written(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => not_written(error),
        _ => StoreError::Uncertain(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::{ContentType, embedded::schema};

    fn writer() -> (Writer, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _) = schema::open(&dir.path().join("log.sqlite")).unwrap();
        (Writer::new(connection).unwrap(), dir)
    }

    fn append(stream: &str, expected: Expected, id: u128, bytes: usize) -> Append {
        let event = NewEvent {
            id: Uuid::from_u128(id),
            name: "thing.happened.v1".into(),
            content_type: ContentType::Octets,
            data: vec![7; bytes].into(),
            metadata: "{}".into(),
        };
        Append { stream: StreamName::new(stream), expected, events: vec![event], line: None }
    }

    /// Each append as a job of its own, all in one group.
    fn write(writer: &mut Writer, appends: Vec<Append>) -> Vec<Answer> {
        let (mut group, answers): (Vec<_>, Vec<_>) = appends
            .into_iter()
            .map(|append| {
                let (answer, answers) = oneshot::channel();
                (Job { work: Work::Append(vec![append]), answer }, answers)
            })
            .unzip();
        writer.write(&mut group);
        answers.into_iter().map(|mut answers| answers.try_recv().unwrap().remove(0)).collect()
    }

    fn count(writer: &Writer) -> u64 {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        writer.connection.query_row("SELECT count(*) FROM events", (), count).unwrap().cast_unsigned()
    }

    #[test]
    fn a_full_disk_refuses_the_group_and_is_over_when_there_is_room() {
        let (mut writer, _dir) = writer();
        write(&mut writer, vec![append("thing-1", Expected::NoStream, 1, 10)]);
        let head = writer.head();
        writer.connection.pragma_update_and_check(None, "max_page_count", 8, |_| Ok(())).unwrap();
        let group = || {
            vec![
                append("thing-2", Expected::Any, 2, 10),
                append("thing-1", Expected::Revision(0), 3, 100_000),
                // A conflict with what is rolled back would be a lie.
                append("thing-2", Expected::NoStream, 4, 10),
            ]
        };

        let answers = write(&mut writer, group());
        assert!(
            answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))),
            "{answers:?}"
        );
        assert_eq!((count(&writer), *head.borrow()), (1, Position(1)));
        // What fits is still taken.
        assert!(write(&mut writer, vec![append("thing-3", Expected::NoStream, 5, 10)])[0].is_ok());

        writer.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        let answers = write(&mut writer, group());
        assert_eq!(answers[0].as_ref().unwrap().revision, 0);
        assert_eq!(answers[1].as_ref().unwrap().revision, 1);
        assert!(matches!(answers[2], Err(StoreError::Conflict { actual: Some(0), .. })));
        assert_eq!((count(&writer), *head.borrow()), (4, Position(4)));
    }

    #[test]
    fn a_repeat_in_the_same_group_is_known() {
        let (mut writer, _dir) = writer();
        for expected in [Expected::NoStream, Expected::Any] {
            let stream = format!("{expected:?}-1");
            let answers =
                write(&mut writer, vec![append(&stream, expected, 1, 10), append(&stream, expected, 1, 10)]);
            assert_eq!(answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap());
        }
        assert_eq!(count(&writer), 2);
    }

    #[test]
    fn one_conflict_fails_nobody_else_of_the_group() {
        let (mut writer, _dir) = writer();
        let answers = write(
            &mut writer,
            vec![
                append("thing-1", Expected::NoStream, 1, 10),
                append("thing-2", Expected::Revision(5), 2, 10),
                append("thing-3", Expected::NoStream, 3, 2_000_000),
                append("thing-4", Expected::NoStream, 4, 10),
            ],
        );
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    }

    #[test]
    fn a_commit_that_fails_is_uncertain_and_can_be_repeated() {
        let (mut writer, _dir) = writer();
        // What is wrong here shows only at the commit.
        let wrong = "CREATE TABLE owner (id INTEGER PRIMARY KEY);
            CREATE TABLE owned (owner REFERENCES owner DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER wrong AFTER INSERT ON events BEGIN INSERT INTO owned VALUES (1); END;
            PRAGMA foreign_keys = ON;";
        writer.connection.execute_batch(wrong).unwrap();
        let given = || vec![append("thing-1", Expected::Any, 1, 10)];
        let answers = write(&mut writer, given());
        assert!(matches!(answers[0], Err(StoreError::Uncertain(_))), "{answers:?}");
        assert_eq!(count(&writer), 0);

        writer.connection.execute_batch("DROP TRIGGER wrong").unwrap();
        assert_eq!(write(&mut writer, given())[0].as_ref().unwrap().revision, 0);
        assert_eq!(write(&mut writer, given())[0].as_ref().unwrap().revision, 0);
        assert_eq!(count(&writer), 1);
    }

    #[test]
    fn a_broken_file_is_said_to_be_broken() {
        let (mut writer, _dir) = writer();
        writer.connection.execute_batch("DROP INDEX events_by_stream").unwrap();
        writer.connection.execute_batch("CREATE UNIQUE INDEX wrong ON events (name)").unwrap();
        write(&mut writer, vec![append("thing-1", Expected::NoStream, 1, 10)]);

        let answers = write(&mut writer, vec![append("thing-2", Expected::NoStream, 2, 10)]);
        assert!(matches!(answers[0], Err(StoreError::Broken(_))), "{answers:?}");
    }
}
