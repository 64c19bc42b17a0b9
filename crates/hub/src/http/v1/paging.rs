//! What all lists have in common: a cursor, a limit, and waiting for what the client has just done.

use std::{num::NonZeroU16, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use projections::{Projection, ReadModel};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::Position;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    http::{
        extract::invalid,
        problem::{ApiError, Kind},
    },
    hub::Hub,
};

/// How long `?after=` waits before it answers that the read model is behind.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Gives the next part when it is sent as `cursor`; absent on the last part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Of rows of which one more than `limit` was asked for: it shows that there is more. `cursor` says how to go on
    /// behind a row.
    pub fn of<R, C: Serialize>(
        mut rows: Vec<R>,
        limit: Limit,
        cursor: impl FnOnce(&R) -> C,
        item: impl FnMut(R) -> T,
    ) -> Self {
        let more = rows.len() > limit.rows();
        rows.truncate(limit.rows());
        let next_cursor = rows.last().filter(|_| more).map(|last| to_cursor(&cursor(last)));
        Self { items: rows.into_iter().map(item).collect(), next_cursor }
    }
}

/// How many items are wanted: 1 to 200, 50 if nothing is said.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(NonZeroU16);

impl Limit {
    const MAX: u16 = 200;

    pub fn rows(self) -> usize {
        self.0.get().into()
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(const { NonZeroU16::new(50).expect("not zero") })
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let number = text.parse().ok().filter(|number: &NonZeroU16| number.get() <= Self::MAX);
        number.map(Self).ok_or("must be a whole number from 1 to 200")
    }
}

/// Where a list goes on, in a form that only the hub reads.
pub fn to_cursor(place: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).expect("a place in a list serializes"))
}

/// Reads a cursor of this list. Its type should deny unknown fields, so that another list's is refused.
pub fn from_cursor<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let read = |cursor| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok();
    cursor
        .map(|cursor| read(cursor).ok_or_else(|| invalid("cursor", "must be a `next_cursor` of this list")))
        .transpose()
}

/// Reads a position as [`Hub::position`] gives it out; it must be of this store.
pub fn position(field: &str, text: &str, store: Uuid) -> Result<Position, ApiError> {
    let parsed = text.split_once(':').and_then(|(of, commit)| {
        let digits = commit.bytes().all(|b| b.is_ascii_digit());
        Some((Uuid::try_parse(of).ok()?, commit.parse().ok().filter(|_| digits)?))
    });
    match parsed {
        Some((of, commit)) if of == store => Ok(Position(commit)),
        Some(_) => Err(ApiError::new(
            Kind::PositionOfAnotherStore,
            "The position was given out by another store: it means nothing here.",
        )
        .with("field", field)),
        None => Err(invalid(field, "must be a position as an earlier answer gave it")),
    }
}

/// Waits until the read model has what the client saw acknowledged, for a short while.
pub async fn wait_for<P: Projection>(
    hub: &Hub,
    model: &ReadModel<P>,
    after: Option<&str>,
) -> Result<(), ApiError> {
    let Some(after) = after else { return Ok(()) };
    let position = position("after", after, hub.store.id())?;
    model.wait_for(position, WAIT_MAX).await.map_err(|behind| {
        tracing::warn!(projection = P::NAME, "{behind}");
        let detail =
            "What was recorded up to that position can't be read yet. Try again, or without `after`.";
        ApiError::new(Kind::Behind, detail).retry_after(Duration::from_secs(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Before {
        before: u64,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Behind {
        tenant: Uuid,
    }

    #[test]
    fn a_cursor_is_read_back_by_its_own_list_only() {
        let cursor = to_cursor(&Before { before: 7 });
        assert_eq!(from_cursor(Some(&cursor)).unwrap(), Some(Before { before: 7 }));
        assert!(from_cursor::<Before>(None).unwrap().is_none());
        for bad in [cursor.as_str(), "", "!", "e30"] {
            let error = from_cursor::<Behind>(Some(bad)).unwrap_err();
            assert_eq!(error.problem().more["field"], "cursor", "{bad:?}");
        }
    }

    #[test]
    fn a_position_is_of_one_store() {
        let (here, elsewhere) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(position("after", &format!("{here}:12"), here).unwrap(), Position(12));
        let error = position("after", &format!("{elsewhere}:12"), here).unwrap_err();
        assert_eq!(error.kind(), Kind::PositionOfAnotherStore);
        for bad in ["", "12", &format!("{here}:"), &format!("{here}:+1"), &format!("{here}:-1"), "x:1"] {
            assert_eq!(position("after", bad, here).unwrap_err().kind(), Kind::InvalidRequest, "{bad:?}");
        }
    }

    #[test]
    fn the_row_too_many_becomes_a_cursor_and_no_item() {
        let limit = Limit::try_from("2".to_owned()).unwrap();
        let page = |rows: Vec<u64>| Page::of(rows, limit, |row| Before { before: *row }, |row| row);
        assert_eq!(page(vec![9, 8]).next_cursor, None);
        let first = page(vec![9, 8, 7]);
        assert_eq!(first.items, [9, 8]);
        assert_eq!(from_cursor(first.next_cursor.as_deref()).unwrap(), Some(Before { before: 8 }));
        for bad in ["0", "201", "-1", "many", ""] {
            assert!(Limit::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
