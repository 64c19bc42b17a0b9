//! Copies of `SQLite` files that are being written to, for backups.
//!
//! **Invariant.** A copy is the file as it was at one moment. Where several files belong together, a snapshot that
//! [is the newest](Snapshot::is_newest) after the others were taken was taken at the same moment as they.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, backup::Backup};

/// A file as it is at one moment, whoever goes on writing to it. Its journal grows for as long as this lives.
pub struct Snapshot {
    file: PathBuf,
    /// Holds a view of the file.
    view: Connection,
    /// Sees what is written to it.
    watch: Connection,
    /// What it saw when the view was taken.
    version: i64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{} can't be read: {source}", file.display())]
    Source { file: PathBuf, source: rusqlite::Error },
    #[error("{} can't be written: {source}", file.display())]
    Copy { file: PathBuf, source: rusqlite::Error },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("the copy of {} is damaged: {what}", file.display())]
    Damaged { file: PathBuf, what: String },
}

impl Snapshot {
    /// Blocks, for a moment.
    pub fn take(file: &Path) -> Result<Self, SnapshotError> {
        let take = || {
            let open = || Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
            let (view, watch) = (open()?, open()?);
            let version = version(&watch)?;
            view.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
            Ok(Self { file: file.to_owned(), view, watch, version })
        };
        take().map_err(|source| SnapshotError::Source { file: file.to_owned(), source })
    }

    /// Whether nothing was written to the file since.
    pub fn is_newest(&self) -> Result<bool, SnapshotError> {
        let now = version(&self.watch);
        let now = now.map_err(|source| SnapshotError::Source { file: self.file.clone(), source })?;
        Ok(now == self.version)
    }

    /// Writes a new file, which only its owner can read and which needs no other beside it; checked, and on the disk once
    /// this is answered. Blocks for as long as copying takes.
    pub fn copy(&self, to: &Path) -> Result<(), SnapshotError> {
        let of_file = |source| SnapshotError::Io { file: to.to_owned(), source };
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(of_file)?;
        let what = self.write(to).map_err(|source| SnapshotError::Copy { file: to.to_owned(), source })?;
        if what != "ok" {
            return Err(SnapshotError::Damaged { file: self.file.clone(), what });
        }
        File::open(to).and_then(|copy| copy.sync_all()).map_err(of_file)
    }

    /// Answers what `SQLite` has to say about the copy.
    fn write(&self, to: &Path) -> Result<String, rusqlite::Error> {
        let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Backup::new(&self.view, &mut copy)?.step(-1)?;
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
    }
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("PRAGMA data_version", (), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> (Connection, PathBuf) {
        let file = dir.join("thing.sqlite");
        let writer = Connection::open(&file).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        (writer, file)
    }

    fn count(file: &Path) -> i64 {
        let copy = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        copy.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_copy_is_the_file_as_it_was_when_the_snapshot_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, file) = written(dir.path());
        let snapshot = Snapshot::take(&file).unwrap();
        assert!(snapshot.is_newest().unwrap());

        writer.execute_batch("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)").unwrap();
        assert!(!snapshot.is_newest().unwrap());
        let copy = dir.path().join("copy.sqlite");
        snapshot.copy(&copy).unwrap();

        assert_eq!((count(&copy), count(&file)), (1, 3));
        let beside = std::fs::read_dir(dir.path()).unwrap();
        let beside =
            beside.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("copy"));
        assert_eq!(beside.count(), 1);
        assert!(snapshot.copy(&copy).is_err(), "nothing is overwritten");
    }

    #[test]
    fn a_file_that_nobody_has_open_is_copied_too() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, file) = written(dir.path());
        drop(writer);
        let copy = dir.path().join("copy.sqlite");
        Snapshot::take(&file).unwrap().copy(&copy).unwrap();
        assert_eq!(count(&copy), 1);
    }

    #[test]
    fn what_is_no_database_is_told_and_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("thing.sqlite");
        std::fs::write(&file, "dear diary, ".repeat(100)).unwrap();
        assert!(matches!(Snapshot::take(&file), Err(SnapshotError::Source { .. })));
        assert!(matches!(Snapshot::take(&dir.path().join("none")), Err(SnapshotError::Source { .. })));
    }
}
