//! Reading a read model's file: a query sees one moment of it and can change nothing.

use std::{
    marker::PhantomData,
    ops::Deref,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use rusqlite::{Connection, Params, Transaction};
use store::Position;

use super::{directory, file};
use crate::{Key, Projection};

/// Connections kept for the next query; each holds up to 0.5 MiB.
const IDLE_MAX: usize = 4;

/// What a query sees: the read model at one moment.
pub struct Reader<'a, P> {
    transaction: Transaction<'a>,
    projection: PhantomData<fn() -> P>,
}

impl<'a, P: Projection> Reader<'a, P> {
    pub(super) fn new(connection: &'a Connection) -> Result<Self> {
        Ok(Self { transaction: connection.unchecked_transaction()?, projection: PhantomData })
    }

    /// How far it is. Events of others behind it may have been seen without being noted here.
    pub fn checkpoint(&self) -> Result<Position> {
        file::checkpoint(&self.transaction)
    }

    pub fn get(&self, key: &P::Key) -> Result<Option<P::Row>> {
        file::load::<P>(&self.transaction, key)
    }

    /// The rows that a `SELECT key, body FROM <table> …` finds, in its order.
    pub fn select(&self, table: usize, sql: &str, params: impl Params) -> Result<Vec<(P::Key, P::Row)>> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let mut found = statement.query(params)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let key = row.get_ref(0)?.as_str()?;
            let key =
                P::Key::parse(table, key).with_context(|| format!("a key of {} can't be read", P::NAME))?;
            rows.push((key, file::parse_body::<P>(row.get_ref(1)?.as_str()?)?));
        }
        Ok(rows)
    }
}

/// For queries that want something else than whole rows.
impl<P> Deref for Reader<'_, P> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

/// The readers of one file.
pub(super) struct Pool {
    pub(super) path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    superseded: AtomicBool,
}

impl Pool {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), superseded: AtomicBool::new(false) }
    }

    /// The file goes with the last query that reads it.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| file::open_reader(&self.path), Ok)
    }

    pub(super) fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.superseded.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = directory::remove(&self.path) {
            let why = format!("{error:#}");
            tracing::warn!(error = why, "A read model that was replaced stays until the next start.");
        }
    }
}
