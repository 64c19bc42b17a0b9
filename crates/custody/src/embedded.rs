//! The vault in a `SQLite` file of its own.
//!
//! **Invariant.** Once `destroy` or `forget_before` was answered, no file holds the bytes any more: deleted content is
//! overwritten, and the write-ahead log, which holds former pages, is emptied.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, config::DbConfig, params};
use tokio::{sync::Mutex, task};

use crate::vault::{Admission, Entry, EntryId, Vault, VaultError, Version, admit};

/// What this program writes and the newest it can read.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE entries (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    claim INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    PRIMARY KEY (kind, id, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE destroyed (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// One connection, used by one caller at a time; the waiting is asynchronous, the work is not. What is written is handed to a
/// thread that may block; to read one row takes less than that.
pub struct EmbeddedVault {
    connection: Arc<Mutex<Connection>>,
}

impl EmbeddedVault {
    /// Opens or creates the file; its directory must exist.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, VaultError> {
        let path = path.into();
        let connection = task::spawn_blocking(move || {
            open(&path).map_err(|error| VaultError::Unavailable(format!("{}: {error}", path.display())))
        })
        .await
        .map_err(|_| stopped())??;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        // Runs to its end even if the caller goes away, so the file is never left half asked.
        task::spawn_blocking(move || work(&mut connection)).await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl Vault for EmbeddedVault {
    async fn put(&self, id: &EntryId, version: Version, wrapped: &[u8]) -> Result<(), VaultError> {
        let (id, wrapped) = (id.clone(), wrapped.to_vec());
        self.run(move |connection| put(connection, &id, version, &wrapped)).await
    }

    async fn get(&self, id: &EntryId, generation: Option<u64>) -> Result<Option<Entry>, VaultError> {
        let connection = self.connection.lock().await;
        let found = match generation {
            None => newest(&connection, id),
            Some(generation) => one(&connection, id, generation),
        }?;
        // What is destroyed has no entries: that they go and that it is recorded is one transaction, and nothing comes back.
        if found.is_none() {
            refuse_destroyed(&connection, id)?;
        }
        Ok(found)
    }

    async fn forget_before(&self, id: &EntryId, generation: u64) -> Result<(), VaultError> {
        let id = id.clone();
        self.run(move |connection| {
            connection.execute(
                "DELETE FROM entries WHERE kind = ?1 AND id = ?2 AND generation < min(?3,
                    (SELECT max(generation) FROM entries WHERE kind = ?1 AND id = ?2))",
                params![id.kind.as_str(), id.id, i64::try_from(generation).unwrap_or(i64::MAX)],
            )?;
            empty_the_log(connection)
        })
        .await
    }

    async fn destroy(&self, id: &EntryId) -> Result<(), VaultError> {
        let id = id.clone();
        self.run(move |connection| {
            let name = params![id.kind.as_str(), id.id];
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("INSERT OR IGNORE INTO destroyed (kind, id) VALUES (?1, ?2)", name)?;
            transaction.execute("DELETE FROM entries WHERE kind = ?1 AND id = ?2", name)?;
            transaction.commit()?;
            empty_the_log(connection)
        })
        .await
    }
}

fn open(path: &Path) -> Result<Connection, String> {
    create_private(path).map_err(|error| error.to_string())?;
    let mut connection = Connection::open(path).map_err(|error| error.to_string())?;
    prepare(&mut connection).map_err(|error| error.to_string())?;
    let found = version_or_new(&mut connection).map_err(|error| error.to_string())?;
    if found != SCHEMA_VERSION {
        return Err(format!(
            "the vault has format {found} and this program knows {SCHEMA_VERSION}; start the newer version that wrote it"
        ));
    }
    // A process that died within a destruction had recorded it, but not wiped the log.
    empty_the_log(&connection).map_err(|error| error.to_string())?;
    Ok(connection)
}

/// `SQLite` gives its other files the mode of this one.
fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // The tokens and keys of some 3,000 people; what is in it is wrapped as it is in the file.
    connection.pragma_update(None, "cache_size", -8192)?;
    // Statements are planned once, not anew for each value that is bound to them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn version_or_new(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = |t: &Transaction<'_>| t.query_row("PRAGMA user_version", [], |row| row.get(0));
    if version(&transaction)? == 0 {
        transaction.execute_batch(SCHEMA)?;
    }
    let found = version(&transaction)?;
    transaction.commit()?;
    Ok(found)
}

fn put(
    connection: &mut Connection,
    id: &EntryId,
    version: Version,
    wrapped: &[u8],
) -> Result<(), VaultError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    refuse_destroyed(&transaction, id)?;
    if admit(newest(&transaction, id)?.as_ref(), version, wrapped)? == Admission::AlreadyThere {
        return Ok(());
    }
    transaction.execute(
        "INSERT OR REPLACE INTO entries (kind, id, generation, claim, wrapped) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id.kind.as_str(), id.id, integer(version.generation)?, integer(version.claim)?, wrapped],
    )?;
    transaction.commit()?;
    Ok(())
}

fn refuse_destroyed(connection: &Connection, id: &EntryId) -> Result<(), VaultError> {
    let destroyed = connection
        .prepare_cached("SELECT 1 FROM destroyed WHERE kind = ?1 AND id = ?2")?
        .exists(params![id.kind.as_str(), id.id])?;
    if destroyed { Err(VaultError::Destroyed) } else { Ok(()) }
}

fn newest(connection: &Connection, id: &EntryId) -> Result<Option<Entry>, VaultError> {
    Ok(connection
        .prepare_cached(
            "SELECT generation, claim, wrapped FROM entries WHERE kind = ?1 AND id = ?2
             ORDER BY generation DESC LIMIT 1",
        )?
        .query_row(params![id.kind.as_str(), id.id], entry)
        .optional()?)
}

fn one(connection: &Connection, id: &EntryId, generation: u64) -> Result<Option<Entry>, VaultError> {
    Ok(connection
        .prepare_cached(
            "SELECT generation, claim, wrapped FROM entries WHERE kind = ?1 AND id = ?2 AND generation = ?3",
        )?
        .query_row(params![id.kind.as_str(), id.id, integer(generation)?], entry)
        .optional()?)
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let unsigned = |column| row.get(column).map(i64::cast_unsigned);
    Ok(Entry { version: Version { generation: unsigned(0)?, claim: unsigned(1)? }, wrapped: row.get(2)? })
}

/// Former pages stay in the write-ahead log until it is emptied; deleting alone would leave them there.
fn empty_the_log(connection: &Connection) -> Result<(), VaultError> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(VaultError::Unavailable(
            "another process is reading the file, so what was deleted could not be wiped yet".into(),
        ));
    }
    Ok(())
}

fn integer(number: u64) -> Result<i64, VaultError> {
    i64::try_from(number).map_err(|_| VaultError::OutOfOrder)
}

fn stopped() -> VaultError {
    VaultError::Unavailable("the program is stopping".into())
}

impl From<rusqlite::Error> for VaultError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, testing::Home};

    crate::vault_contract!({
        // The directory goes when it is dropped, the open file stays.
        let home = Home::new();
        home.vault().await
    });

    const FIRST: Version = Version { generation: 1, claim: 1 };

    fn id(number: usize) -> EntryId {
        EntryId::new(Kind::Person, format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn value(number: usize) -> [u8; 64] {
        // Both halves are like no other value's.
        let unlike = (number + 0x1122_3344_5566_0000).to_be_bytes();
        let mut value = [0xee; 64];
        value[..8].copy_from_slice(&unlike);
        value[56..].copy_from_slice(&unlike);
        value
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_reopening_and_what_was_destroyed_is_not() {
        let home = Home::new();
        {
            let vault = home.vault().await;
            vault.put(&id(1), FIRST, b"kept").await.unwrap();
            vault.put(&id(2), FIRST, b"gone").await.unwrap();
            vault.destroy(&id(2)).await.unwrap();
        }
        let vault = home.vault().await;
        assert_eq!(vault.get(&id(1), None).await.unwrap().unwrap().wrapped, b"kept");
        assert_eq!(vault.get(&id(2), None).await, Err(VaultError::Destroyed));
        assert_eq!(vault.put(&id(2), FIRST, b"gone").await, Err(VaultError::Destroyed));
    }

    #[tokio::test]
    async fn no_file_holds_the_bytes_of_what_was_destroyed() {
        let home = Home::new();
        let vault = home.vault().await;
        // Enough of them, in no order, that pages split while they come and merge while they go.
        for number in 0..400 {
            vault.put(&id(number), FIRST, &value(number)).await.unwrap();
        }
        let held = home.windows(64);
        assert!((0..400).all(|number| held.contains(&value(number)[..])));
        vault.destroy(&id(399)).await.unwrap();
        assert!(!home.holds(&value(399)));
        for number in (0..400).filter(|number| number % 4 != 0) {
            vault.destroy(&id(number)).await.unwrap();
        }
        // Half a value is enough to look for: none of it may be left.
        let held = home.windows(32);
        for number in 0..400 {
            assert_eq!(held.contains(&value(number)[..32]), number % 4 == 0, "{number}");
            assert_eq!(held.contains(&value(number)[32..]), number % 4 == 0, "{number}");
        }
    }

    #[tokio::test]
    async fn no_file_holds_the_bytes_of_what_was_forgotten() {
        let home = Home::new();
        let vault = home.vault().await;
        for generation in 1..=3 {
            let version = Version { generation, claim: 1 };
            vault.put(&id(1), version, &value(usize::try_from(generation).unwrap())).await.unwrap();
        }
        vault.forget_before(&id(1), 3).await.unwrap();
        assert_eq!([1, 2, 3].map(|number| home.holds(&value(number))), [false, false, true]);
    }

    #[tokio::test]
    async fn a_destruction_that_could_not_be_wiped_says_so_and_can_be_repeated() {
        let home = Home::new();
        let vault = EmbeddedVault::open(home.path("vault.sqlite")).await.unwrap();
        vault.put(&id(1), FIRST, &value(1)).await.unwrap();
        vault.connection.lock().await.busy_timeout(std::time::Duration::ZERO).unwrap();

        let mut reader = Connection::open(home.path("vault.sqlite")).unwrap();
        let reading = reader.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(matches!(vault.destroy(&id(1)).await, Err(VaultError::Unavailable(_))));
        assert_eq!(vault.get(&id(1), None).await, Err(VaultError::Destroyed));
        drop(reading);
        vault.destroy(&id(1)).await.unwrap();
        assert!(!home.holds(&value(1)));
    }

    #[tokio::test]
    async fn a_destruction_cut_short_by_a_crash_is_finished_on_opening() {
        let home = Home::new();
        let crashed = EmbeddedVault::open(home.path("vault.sqlite")).await.unwrap();
        crashed.put(&id(1), FIRST, &value(1)).await.unwrap();
        // What `destroy` does up to its commit, and no further.
        crashed.connection.lock().await.execute("DELETE FROM entries", []).unwrap();
        assert!(home.holds(&value(1)));
        let _reopened = home.vault().await;
        assert!(!home.holds(&value(1)));
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_loses_nothing() {
        let home = Home::new();
        let vault = EmbeddedVault::open(home.path("vault.sqlite")).await.unwrap();
        vault.put(&id(1), FIRST, b"kept").await.unwrap();
        // SQLite answers as it does for a full disk.
        vault.connection.lock().await.pragma_update(None, "max_page_count", 1).unwrap();
        let refused = vault.put(&id(2), FIRST, &vec![0; 100_000]).await.unwrap_err();
        assert!(matches!(&refused, VaultError::Unavailable(text) if text.contains("full")), "{refused}");
        assert_eq!(vault.get(&id(2), None).await, Ok(None));
        assert_eq!(vault.get(&id(1), None).await.unwrap().unwrap().wrapped, b"kept");
    }

    #[tokio::test]
    async fn a_place_that_can_not_be_written_is_named() {
        let home = Home::new();
        // A file is no directory; and no directory is there at all.
        for path in [home.path("key/vault.sqlite"), home.path("nowhere/vault.sqlite")] {
            let error = EmbeddedVault::open(&path).await.err().unwrap();
            let VaultError::Unavailable(text) = error else { panic!("{error}") };
            assert!(text.contains(path.to_str().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_vault_of_a_newer_version_and_a_file_that_is_none_are_refused() {
        let home = Home::new();
        drop(home.vault().await);
        Connection::open(home.path("vault.sqlite")).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let error = EmbeddedVault::open(home.path("vault.sqlite")).await.err().unwrap();
        assert!(error.to_string().contains("newer version"), "{error}");
        assert!(EmbeddedVault::open(home.path("key")).await.is_err());
    }

    #[tokio::test]
    async fn its_files_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::new();
        let vault = home.vault().await;
        vault.put(&id(1), FIRST, b"value").await.unwrap();
        for name in ["vault.sqlite", "vault.sqlite-wal", "vault.sqlite-shm"] {
            let mode = std::fs::metadata(home.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
