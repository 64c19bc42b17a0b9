//! What a read model says about itself: its tables, and the fold from events to rows.

use std::{fmt, hash::Hash, ops::Deref, str::FromStr, time::Duration};

use domain::{ClientId, TenantId, Timestamp, aggregate::Aggregate};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{Filter, RecordedRef};

/// A fold from events to rows by key, without effects: following, rebuilding and verifying are this same fold.
pub trait Projection: Send + Sync + 'static {
    /// Names the files. A new shape or a new meaning of rows is a new name (`connections.v1`), hence a new file.
    const NAME: &'static str;
    const TABLES: &'static [Table];
    /// At most one transaction in this time while events keep coming, and in up to a quarter of a second while many come and
    /// nobody waits for them; what comes after a rest is written at once. Longer, more events share a transaction, and
    /// the newest wait longer to be seen.
    const PAUSE: Duration = Duration::from_millis(20);

    type Key: Key;
    /// Kept as JSON beside the columns. Where there are several tables, an enum.
    type Row: Serialize + DeserializeOwned + Clone + fmt::Debug + PartialEq + Send + 'static;
    /// What the fold needs to know of an event, decoded once for all the rows it touches.
    type Event: Send + 'static;

    /// The streams it looks at.
    fn filter() -> Filter;

    /// `None` when the event is not this projection's business. An error means that it is, and can't be read: the
    /// projection stops there.
    fn read(event: EventRef<'_>) -> Result<Option<Self::Event>, Unreadable>;

    /// Pushes the keys of the rows that the event touches, each once.
    fn keys(event: &Self::Event, keys: &mut Vec<Self::Key>);

    /// The row after the event; `None` when there is none.
    fn evolve(key: &Self::Key, row: Option<Self::Row>, event: &Self::Event) -> Option<Self::Row>;

    /// Where the row lies in a table that has an [`age`](Table::age): a number that is its alone, and stays so.
    fn age(_key: &Self::Key, _row: &Self::Row) -> i64 {
        0
    }

    /// The values of the columns that the key's table declares, in their order.
    fn columns(_key: &Self::Key, _row: &Self::Row) -> Vec<Value> {
        Vec::new()
    }
}

/// A table: the columns `key` and `body` (the row as JSON), and between them what queries select or sort by.
pub struct Table {
    pub name: &'static str,
    /// As SQL declares them: `"due_us INTEGER NOT NULL"`.
    pub columns: &'static [&'static str],
    /// How many of the columns, from the first on, stay as they are for as long as the row is there. Indexes of these alone
    /// are not written again when the row changes.
    pub fixed: usize,
    /// The column of [`Projection::age`], where rows lie in that order rather than in that of their keys: for those that
    /// change soon after they came and hardly ever again, so that what changes together lies together.
    pub age: Option<&'static str>,
    /// What follows `ON <table>`: `"(tenant, due_us)"`, `"(due_us) WHERE due_us NOT NULL"`. The key need not be named:
    /// every index ends with it, or where rows lie by age, with that.
    pub indexes: &'static [&'static str],
}

impl Table {
    /// How many columns stand between the key and the body.
    pub(crate) fn between(&self) -> usize {
        self.columns.len() + usize::from(self.age.is_some())
    }
}

/// What names a row. Anything that can be displayed and parsed back is the key of a single table; several tables need an
/// enum of their keys, ordered like the tables, which implements this by hand.
pub trait Key: Clone + fmt::Debug + Eq + Hash + Ord + Send + Sync + 'static {
    /// The index of the row's table in [`Projection::TABLES`].
    fn table(&self) -> usize;
    /// The key as its table keeps it.
    fn text(&self) -> String;
    /// Reads back what [`Key::text`] gave.
    fn parse(table: usize, text: &str) -> Option<Self>;
}

impl<T> Key for T
where
    T: fmt::Display + FromStr + Clone + fmt::Debug + Eq + Hash + Ord + Send + Sync + 'static,
{
    fn table(&self) -> usize {
        0
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(_table: usize, text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A recorded event as the fold is shown it: the store's fields, and what of them can be read.
#[derive(Clone, Copy)]
pub struct EventRef<'a>(pub RecordedRef<'a>);

impl<'a> Deref for EventRef<'a> {
    type Target = RecordedRef<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> EventRef<'a> {
    /// What stands before the first `-` of the stream's name.
    pub fn category(&self) -> &'a str {
        self.stream.split_once('-').map_or(self.stream, |(category, _)| category)
    }

    /// What stands behind the first `-` of the stream's name, parsed.
    pub fn stream_id<T: FromStr>(&self) -> Result<T, Unreadable> {
        let id = self.stream.split_once('-').map_or("", |(_, id)| id);
        id.parse().map_err(|_| Unreadable("the stream's name does not end in an id of its kind".to_owned()))
    }

    /// The event, if it stands in a stream of `A`.
    pub fn decode<A: Aggregate>(&self) -> Result<Option<A::Event>, Unreadable> {
        if self.category() != A::CATEGORY {
            return Ok(None);
        }
        match domain::aggregate::decode::<A>(self.name, self.data) {
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(Unreadable(error.why)),
        }
    }

    /// Parses the metadata, which costs about as much as the event itself: ask only where a row needs it.
    pub fn about(&self) -> Result<About, Unreadable> {
        serde_json::from_slice(self.metadata).map_err(|error| {
            Unreadable(format!("metadata: {:?} at column {}", error.classify(), error.column()))
        })
    }
}

/// What rows keep of an event's metadata.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct About {
    /// The hub's clock.
    pub recorded_at: Timestamp,
    #[serde(default)]
    pub tenant: Option<TenantId>,
    #[serde(default)]
    pub client: Option<ClientId>,
}

/// Mine, but unreadable. Says what was expected where, never the data itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);
