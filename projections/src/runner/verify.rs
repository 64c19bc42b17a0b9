//! Looking at a read model. Verifying: the log is folded anew into a file beside the read model, and the two are compared row by row.

use std::{cmp::Ordering, ops::ControlFlow, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, Rows, types::Value};
use store::{EventStore, Position};
use tokio::runtime::Handle;

use super::{
    directory::{self, Directory},
    file::{File, checkpoint, open_reader, parse_body},
    rebuild::{Progress, build},
};
use crate::{Projection, Table};

/// Differences that are told in detail; the rest is counted.
const TOLD_MAX: usize = 20;

/// What a comparison with the log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Up to here.
    pub position: Position,
    /// That are as the log says.
    pub rows_equal: u64,
    pub rows_different: u64,
    /// The first of those that are not.
    pub first: Vec<Difference>,
}

/// A row that is not as the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: &'static str,
    pub key: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Missing,
    ShouldNotBe,
    Other,
}

impl Verification {
    pub fn is_good(&self) -> bool {
        self.rows_different == 0
    }
}

/// Verifies the read model `P` in the data directory of a hub that is not running.
pub async fn verify<P: Projection>(store: Arc<dyn EventStore>, data: &Path) -> Result<Verification> {
    let runtime = Handle::current();
    let directory = Directory::take(data, P::NAME)?;
    let verifying = tokio::task::spawn_blocking(move || {
        let Some(path) = directory.current()? else { bail!("there is no read model {}", P::NAME) };
        verify_file::<P>(&path, &directory.building()?, &*store, &runtime, &mut |_| ControlFlow::Continue(()))
    });
    verifying.await.context("verifying ended before its time")?
}

/// How far the read model `P` has come in the data directory of a hub that is not running. `None` where there is none that
/// fits this program and this store; it is then built at the next start.
pub fn position<P: Projection>(store: &dyn EventStore, data: &Path) -> Result<Option<Position>> {
    let directory = Directory::take(data, P::NAME)?;
    let file = directory.current()?.and_then(|path| File::<P>::open(&path, store.id()).ok());
    file.map(|file| file.checkpoint()).transpose()
}

pub(super) fn verify_file<P: Projection>(
    path: &Path,
    scratch: &Path,
    store: &dyn EventStore,
    runtime: &Handle,
    progress: Progress<'_>,
) -> Result<Verification> {
    let found = open_reader(path)?;
    // One view, so that what follows meanwhile does not show.
    let found = found.unchecked_transaction()?;
    let position = checkpoint(&found)?;
    let built = build::<P>(scratch, store, runtime, position, progress);
    let compared = built.and_then(|built| {
        built.complete()?;
        compare::<P>(position, &open_reader(scratch)?, &found)
    });
    directory::remove(scratch)?;
    compared
}

fn compare<P: Projection>(
    position: Position,
    expected: &Connection,
    found: &Connection,
) -> Result<Verification> {
    let mut verification = Verification { position, rows_equal: 0, rows_different: 0, first: Vec::new() };
    for table in P::TABLES {
        let sql = format!("SELECT * FROM {} ORDER BY key", table.name);
        let (mut expected, mut found) = (expected.prepare(&sql)?, found.prepare(&sql)?);
        let (mut expected, mut found) = (expected.query([])?, found.query([])?);
        let (mut left, mut right) = (next::<P>(&mut expected, table)?, next::<P>(&mut found, table)?);
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(left), Some(right)) => left.key.cmp(&right.key),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let kind = match order {
                Ordering::Less => Some(Kind::Missing),
                Ordering::Greater => Some(Kind::ShouldNotBe),
                Ordering::Equal => (left != right).then_some(Kind::Other),
            };
            let key = if order.is_gt() { &right } else { &left };
            verification.note(table.name, key.as_ref().map_or("", |row| &row.key), kind);
            if order.is_le() {
                left = next::<P>(&mut expected, table)?;
            }
            if order.is_ge() {
                right = next::<P>(&mut found, table)?;
            }
        }
    }
    Ok(verification)
}

impl Verification {
    fn note(&mut self, table: &'static str, key: &str, kind: Option<Kind>) {
        let Some(kind) = kind else {
            self.rows_equal += 1;
            return;
        };
        self.rows_different += 1;
        if self.first.len() < TOLD_MAX {
            self.first.push(Difference { table, key: key.to_owned(), kind });
        }
    }
}

/// A row with everything the table keeps of it. The body is compared as what it means, not as text.
#[derive(PartialEq)]
struct Whole<R> {
    key: String,
    columns: Vec<Value>,
    row: R,
}

fn next<P: Projection>(rows: &mut Rows<'_>, table: &Table) -> Result<Option<Whole<P::Row>>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let body = 1 + table.between();
    Ok(Some(Whole {
        key: row.get(0)?,
        columns: (1..body).map(|column| row.get(column)).collect::<Result<_, _>>()?,
        row: parse_body::<P>(row.get_ref(body)?.as_str()?)?,
    }))
}
