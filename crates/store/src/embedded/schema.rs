//! The file: what is in it, which version of it this program writes, and how older ones are brought up.
//!
//! Names of streams and event types stand in the rows as they are. Numbers for them, with a table of names, were
//! measured: a third faster to write where many events share streams, no faster where each event begins its own (as
//! every message does), larger there, and a tenth to a fifth slower to read in order. Plain names also need no joining
//! by who looks into the file.
//!
//! **Invariants.** Positions are never used twice, so who removes events leaves the last row; one without a name is what
//! is left of such an event, and is never shown. A file of a
//! newer version is not touched. Bringing a file up happens wholly or not at all.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};
use uuid::Uuid;

use super::OpenError;

/// How long the writer waits for readers. A page is read in less; a copy of the whole file takes longer.
const READERS_END: Duration = Duration::from_millis(250);

/// `PRAGMA application_id` of our files: `ChEv`.
const APPLICATION_ID: i32 = 0x4368_4576;

/// What brings a file from version n to n + 1, the first from an empty file. Never edited once shipped, only added to.
///
/// A tombstone and a stream's metadata are events as well (in `$$<stream>`), so deleting needs no other layout. `kept`
/// has the streams of which only the events from revision `first` on are kept, and of those the newest `count`.
const STEPS: &[&str] = &[
    "
    CREATE TABLE store (id BLOB NOT NULL) STRICT;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        revision INTEGER NOT NULL,
        id BLOB NOT NULL,
        name TEXT NOT NULL,
        content_type INTEGER NOT NULL,
        created_us INTEGER NOT NULL,
        data BLOB NOT NULL,
        metadata BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX events_by_stream ON events (stream, revision);
",
    "
    CREATE TABLE kept (
        stream TEXT PRIMARY KEY,
        first INTEGER NOT NULL,
        count INTEGER
    ) STRICT, WITHOUT ROWID;
",
];

/// Opens the file for writing, making it or bringing it up where needed; answers with the store's id too.
pub(super) fn open(file: &Path) -> Result<(Connection, Uuid), OpenError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(file, flags);
    let mut connection = opened.map_err(|source| explain(file, source))?;
    let version = version_of(&connection, file)?;
    if version > STEPS.len() {
        return Err(OpenError::Newer { file: file.into(), found: version, known: STEPS.len() });
    }
    let id = prepare(&connection)
        .and_then(|()| bring_up(&mut connection, version, STEPS))
        .and_then(|()| store_id(&connection))
        .map_err(|source| explain(file, source))?;
    Ok((connection, id))
}

pub(super) fn set_id(file: &Path, id: Uuid) -> Result<(), OpenError> {
    let (connection, _) = open(file)?;
    connection
        .execute("UPDATE store SET id = ?1", (id.as_bytes(),))
        .map_err(|source| explain(file, source))?;
    connection.close().map_err(|(_, source)| explain(file, source))
}

/// Opens the file for reading only; it is there already, and so is the writer.
pub(super) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    plan_once(&connection)?;
    Ok(connection)
}

/// `SQLite` would plan some statements anew for each value that is bound to them, which takes longer than running them.
fn plan_once(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// 0 for a file with nothing in it.
fn version_of(connection: &Connection, file: &Path) -> Result<usize, OpenError> {
    let read = |sql| connection.query_row(sql, (), |row| row.get(0)).map_err(|source| explain(file, source));
    let application: i64 = read("PRAGMA application_id")?;
    let version: i64 = read("PRAGMA user_version")?;
    let tables: i64 = read("SELECT count(*) FROM sqlite_schema")?;
    let fresh = application == 0 && version == 0 && tables == 0;
    match usize::try_from(version) {
        Ok(version) if fresh || application == i64::from(APPLICATION_ID) => Ok(version),
        _ => Err(OpenError::NotAStore { file: file.into() }),
    }
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    plan_once(connection)?;
    // Only emptying the journal waits for anybody, that is for readers, and everybody waits for it meanwhile.
    connection.busy_timeout(READERS_END)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Each commit is synced before it is acknowledged; on macOS that takes `fullfsync` as well.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    // The journal is used again from its start when it has this many pages (16 MiB), and cut to 64 MiB if a slow
    // reader once made it longer. Overwriting is twice as fast as growing, so it is kept while the store is open.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -8 * 1024)?;
    // What is deleted is overwritten, because that is why it is deleted. Appending costs nothing by it.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(())
}

/// Takes the steps from `version` on in one transaction.
fn bring_up(connection: &mut Connection, version: usize, steps: &[&str]) -> Result<(), rusqlite::Error> {
    if version == steps.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &steps[version..] {
        transaction.execute_batch(step)?;
    }
    if version == 0 {
        transaction.execute("INSERT INTO store (id) VALUES (?1)", (new_id().as_bytes(),))?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a store is named once, when it is made, and nothing repeats that"
)]
fn new_id() -> Uuid {
    Uuid::new_v4()
}

fn store_id(connection: &Connection) -> Result<Uuid, rusqlite::Error> {
    connection.query_row("SELECT id FROM store", (), |row| row.get(0).map(Uuid::from_bytes))
}

/// What an operator should make of it.
fn explain(file: &Path, source: rusqlite::Error) -> OpenError {
    let file = file.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore { file },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::NotWritable { path: file, reason: source.to_string() }
        }
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { file },
        _ => OpenError::Damaged { file, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older_file(dir: &Path, version: i64) -> Connection {
        let connection = Connection::open(dir.join("log.sqlite")).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection
    }

    #[test]
    fn commits_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _) = open(&dir.path().join("log.sqlite")).unwrap();
        let full = connection.query_row("PRAGMA synchronous", (), |row| row.get(0));
        let wal = connection.query_row("PRAGMA journal_mode", (), |row| row.get(0));
        assert_eq!((full, wal), (Ok(2), Ok("wal".to_owned())));
    }

    #[test]
    fn a_file_left_empty_by_a_crash_at_its_making_is_brought_up() {
        let dir = tempfile::tempdir().unwrap();
        drop(older_file(dir.path(), 0));

        let (connection, id) = open(&dir.path().join("log.sqlite")).unwrap();
        assert_eq!(version_of(&connection, dir.path()).unwrap(), STEPS.len());
        assert!(!id.is_nil());
    }

    #[test]
    fn an_older_file_takes_the_steps_it_has_not_taken_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = older_file(dir.path(), 1);
        connection.execute_batch("CREATE TABLE t (old INTEGER); INSERT INTO t VALUES (7)").unwrap();
        let steps =
            ["fails if it is taken again", "ALTER TABLE t ADD new INTEGER DEFAULT 8", "UPDATE t SET new = 9"];

        bring_up(&mut connection, 1, &steps).unwrap();

        assert_eq!(version_of(&connection, dir.path()).unwrap(), 3);
        let row = connection.query_row("SELECT old, new FROM t", (), |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok((7, 9)));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = older_file(dir.path(), 1);

        bring_up(&mut connection, 1, &["", "CREATE TABLE t (a)", "no step"]).unwrap_err();

        assert_eq!(version_of(&connection, dir.path()).unwrap(), 1);
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0));
        assert_eq!(tables, Ok(0));
    }

    #[test]
    fn a_newer_file_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log.sqlite");
        older_file(dir.path(), 99).execute_batch("CREATE TABLE unheard_of (a)").unwrap();
        let before = std::fs::read(&file).unwrap();

        let error = open(&file).unwrap_err();

        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("log.sqlite"));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn another_programs_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log.sqlite");
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();

        assert!(matches!(open(&file), Err(OpenError::NotAStore { .. })));
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log.sqlite");
        std::fs::write(&file, "dear diary, ".repeat(100)).unwrap();

        assert!(matches!(open(&file), Err(OpenError::NotAStore { .. })));
    }
}
