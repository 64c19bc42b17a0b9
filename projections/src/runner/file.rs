//! A read model's `SQLite` file: its tables, its rows, its checkpoint.
//!
//! **Invariant.** Rows and checkpoint are written in one transaction. With WAL and `synchronous = NORMAL` a power loss may
//! take the last transactions, always whole and always the newest; the log still has them, and following goes on from the
//! checkpoint that is left.

use std::{fmt::Write, marker::PhantomData, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use rusqlite::{
    Connection, OptionalExtension, Transaction, config::DbConfig, params_from_iter, types::Value,
};
use store::Position;
use uuid::Uuid;

use crate::{Key, Projection};

/// Of the tables that the runner itself keeps, not of a projection's rows.
const FORMAT: i64 = 1;
/// Nobody else writes, but a switch of journal mode or a checkpoint may hold the file for a moment.
const BUSY: Duration = Duration::from_secs(5);

/// The one connection that writes.
pub(super) struct File<P> {
    pub(super) connection: Connection,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> File<P> {
    /// A new file that is to be filled at once: no journal and no syncs before [`File::finish`], no indexes either.
    pub(super) fn create(path: &Path, store: Uuid) -> Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("creating {}", path.display()))?;
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA cache_size = -16384;
             CREATE TABLE read_model (projection TEXT, store TEXT, format INTEGER, shape TEXT, checkpoint INTEGER);",
        )?;
        connection.execute(
            "INSERT INTO read_model VALUES (?1, ?2, ?3, ?4, 0)",
            (P::NAME, store.to_string(), FORMAT, shape::<P>()),
        )?;
        connection.execute_batch(&tables::<P>())?;
        Ok(Self::of(connection))
    }

    /// Adds the indexes and makes everything durable. The file is complete only once it was renamed.
    pub(super) fn finish(self, path: &Path) -> Result<()> {
        self.connection.execute_batch(&indexes::<P>())?;
        self.connection.close().map_err(|(_, error)| error)?;
        std::fs::File::open(path)?.sync_all()?;
        Ok(())
    }

    /// A complete file, to be followed with. An error says why it can't be used; it is then built anew.
    pub(super) fn open(path: &Path, store: Uuid) -> Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("opening {}", path.display()))?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 16777216;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -8192;",
        )?;
        plan_once(&connection)?;
        let (projection, of_store, format, its_shape): (String, String, i64, String) =
            connection.query_row("SELECT projection, store, format, shape FROM read_model", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        ensure!(projection == P::NAME, "it is of the projection {projection}");
        ensure!(format == FORMAT, "it has format {format}, not {FORMAT}");
        ensure!(of_store == store.to_string(), "it was made from the store {of_store}, this is {store}");
        ensure!(its_shape == shape::<P>(), "its tables have another shape");
        Ok(Self::of(connection))
    }

    fn of(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(3 * P::TABLES.len() + 4);
        Self { connection, projection: PhantomData }
    }

    pub(super) fn checkpoint(&self) -> Result<Position> {
        checkpoint(&self.connection)
    }

    /// The rows of all tables.
    pub(super) fn count(&self) -> Result<u64> {
        let mut rows = 0;
        for table in P::TABLES {
            let sql = format!("SELECT count(*) FROM {}", table.name);
            rows += self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned();
        }
        Ok(rows)
    }

    /// Leaves one file that has everything in it.
    pub(super) fn close(self) -> Result<()> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }

    pub(super) fn load(&self, key: &P::Key) -> Result<Option<P::Row>> {
        load::<P>(&self.connection, key)
    }

    /// Begins an update: what is read for it and what is written belong together, and take the file's locks once.
    pub(super) fn begin(&mut self) -> Result<Update<'_, P>> {
        Ok(Update { transaction: self.connection.transaction()?, projection: PhantomData })
    }
}

/// An update of rows that is not committed yet; without [`Update::write`] nothing of it stays.
pub(super) struct Update<'a, P> {
    pub(super) transaction: Transaction<'a>,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> Update<'_, P> {
    pub(super) fn load(&self, key: &P::Key) -> Result<Option<P::Row>> {
        load::<P>(&self.transaction, key)
    }

    /// The new rows (`None`: no longer there) and the position they are good for, together.
    pub(super) fn write<'a>(
        self,
        rows: impl Iterator<Item = (&'a P::Key, &'a Option<P::Row>)>,
        upto: Position,
    ) -> Result<()> {
        write_rows::<P>(&self.transaction, rows)?;
        let upto = i64::try_from(upto.0).context("a position beyond what SQLite can count")?;
        self.transaction.prepare_cached("UPDATE read_model SET checkpoint = ?1")?.execute([upto])?;
        self.transaction.commit()?;
        Ok(())
    }
}

/// A connection for readers. It could write, since a WAL needs its readers to, but refuses to.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    use rusqlite::OpenFlags;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening {}", path.display()))?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -512;")?;
    plan_once(&connection)?;
    Ok(connection)
}

/// Where an index is partial, `SQLite` would plan a statement anew for each value that is bound to it.
fn plan_once(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

pub(super) fn checkpoint(connection: &Connection) -> Result<Position> {
    let upto: i64 =
        connection.prepare_cached("SELECT checkpoint FROM read_model")?.query_row([], |row| row.get(0))?;
    Ok(Position(u64::try_from(upto).context("a checkpoint below zero")?))
}

pub(super) fn load<P: Projection>(connection: &Connection, key: &P::Key) -> Result<Option<P::Row>> {
    let table = P::TABLES[key.table()].name;
    let mut select = connection.prepare_cached(&format!("SELECT body FROM {table} WHERE key = ?1"))?;
    let body: Option<String> = select.query_row([key.text()], |row| row.get(0)).optional()?;
    body.map(|body| parse_body::<P>(&body)).transpose()
}

pub(super) fn parse_body<P: Projection>(body: &str) -> Result<P::Row> {
    serde_json::from_str(body).with_context(|| format!("a row of {} can't be read", P::NAME))
}

pub(super) fn write_rows<'a, P: Projection>(
    connection: &Connection,
    rows: impl Iterator<Item = (&'a P::Key, &'a Option<P::Row>)>,
) -> Result<()> {
    // In the order of the table its pages are visited once each, and a new file is filled from left to right (but for the index
    // of the keys, where the table is by age).
    let mut rows: Vec<_> = rows.map(|(key, row)| (age::<P>(key, row.as_ref()), key, row)).collect();
    rows.sort_unstable_by_key(|(age, key, _)| (key.table(), *age, *key));
    let statements: Vec<_> = P::TABLES.iter().map(|table| (upsert(table), delete(table))).collect();
    for (age, key, row) in rows {
        let (upsert, delete) = &statements[key.table()];
        if let Some(row) = row {
            let mut values = vec![Value::Text(key.text())];
            values.extend(age.map(Value::Integer));
            values.append(&mut P::columns(key, row));
            values.push(Value::Text(serde_json::to_string(row)?));
            connection.prepare_cached(upsert)?.execute(params_from_iter(values))?;
        } else {
            connection.prepare_cached(delete)?.execute([key.text()])?;
        }
    }
    Ok(())
}

fn age<P: Projection>(key: &P::Key, row: Option<&P::Row>) -> Option<i64> {
    P::TABLES[key.table()].age.and(row).map(|row| P::age(key, row))
}

/// An index is written again when a column of it is set, whether or not its value is another: so only those are set
/// that can be. An age that another row has is refused.
fn upsert(table: &crate::Table) -> String {
    let places = vec!["?"; 2 + table.between()].join(", ");
    let mut sql = format!("INSERT INTO {} VALUES ({places}) ON CONFLICT (key) DO UPDATE SET ", table.name);
    for column in &table.columns[table.fixed..] {
        let name = column.split_whitespace().next().unwrap_or_default();
        let _ = write!(sql, "{name} = excluded.{name}, ");
    }
    sql + "body = excluded.body"
}

fn delete(table: &crate::Table) -> String {
    format!("DELETE FROM {} WHERE key = ?1", table.name)
}

/// Keys are random. Rows that lie in their order are found through one tree, but those that change together lie on as many
/// pages, each of which is written; rows by age are found through two, and share pages.
fn tables<P: Projection>() -> String {
    P::TABLES.iter().fold(String::new(), |mut sql, table| {
        let (places, order) = match table.age {
            Some(age) => (format!("key TEXT NOT NULL UNIQUE, {age} INTEGER PRIMARY KEY"), ""),
            None => ("key TEXT PRIMARY KEY".to_owned(), " WITHOUT ROWID"),
        };
        let mut columns = vec![&*places];
        columns.extend(table.columns);
        columns.push("body TEXT NOT NULL");
        let _ = writeln!(sql, "CREATE TABLE {} ({}){order};", table.name, columns.join(", "));
        sql
    })
}

fn indexes<P: Projection>() -> String {
    P::TABLES.iter().fold(String::new(), |mut sql, table| {
        for (number, index) in table.indexes.iter().enumerate() {
            let _ = writeln!(sql, "CREATE INDEX {0}_{number} ON {0} {index};", table.name);
        }
        sql
    })
}

/// Kept with the rows, so that tables declared anew under an old name are noticed.
fn shape<P: Projection>() -> String {
    tables::<P>() + &indexes::<P>()
}
