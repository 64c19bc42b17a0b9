//! What the API asks of `messages`.

use anyhow::Result;
use domain::{ClientId, ConnectionId, MessageId, TenantId};
use rusqlite::params_from_iter;

use super::{Key, LaneRow, MessageRow, Messages, ParkedSince, Row, Status};
use crate::{ReadModel, Value};

/// Which messages are wanted. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub client: Option<ClientId>,
    pub lane: Option<ConnectionId>,
    /// Of one of these tenants.
    pub tenants: Option<Vec<TenantId>>,
    pub status: Option<Status>,
    /// Waiting in a lane that is parked.
    pub parked: bool,
    /// Accepted before this position (exclusive), to read on from.
    pub before: Option<u64>,
}

/// A message and, where ways out of its lane are parked, why.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub message: MessageId,
    pub row: MessageRow,
    pub lane: Option<LaneRow>,
}

impl Found {
    /// What the message waits for in its lane; `None` where a way is open to it.
    pub fn held_up(&self) -> Option<&ParkedSince> {
        let lane = self.lane.as_ref()?;
        let held_up = self.row.surface.open_way(|way| lane.parked.contains_key(&way)).is_none();
        lane.parked
            .iter()
            .find(|(way, _)| held_up && self.row.surface.may_go(**way))
            .map(|(_, parked)| parked)
    }
}

/// Messages as wanted, the newest first.
pub async fn list(model: &ReadModel<Messages>, wanted: Wanted, limit: usize) -> Result<Vec<Found>> {
    model
        .query(move |reader| {
            let mut sql = "SELECT key, body FROM messages WHERE position < ?".to_owned();
            let before = wanted.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
            let mut params = vec![Value::Integer(before)];
            let mut also = |condition: &str, value: String| {
                sql.push_str(condition);
                params.push(Value::Text(value));
            };
            if let Some(client) = wanted.client {
                also(" AND client = ?", client.to_string());
            }
            if let Some(lane) = wanted.lane {
                also(" AND lane = ?", lane.to_string());
            }
            if let Some(status) = wanted.status {
                also(" AND status = ?", status.name().to_owned());
            }
            if let Some(tenants) = wanted.tenants {
                also(" AND tenant IN (SELECT value FROM json_each(?))", serde_json::to_string(&tenants)?);
            }
            if wanted.parked {
                sql.push_str(
                    " AND status IN ('pending', 'deferred')
                      AND EXISTS (SELECT 1 FROM lanes WHERE key = lane AND NOT ways & ~parked)",
                );
            }
            sql.push_str(" ORDER BY position DESC LIMIT ?");
            params.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
            let mut found = Vec::new();
            for row in reader.select(0, &sql, params_from_iter(params))? {
                let (Key::Message(message), Row::Message(row)) = row else { continue };
                let lane = match reader.get(&Key::Lane(row.lane))? {
                    Some(Row::Lane(lane)) => Some(lane),
                    _ => None,
                };
                found.push(Found { message, row: *row, lane });
            }
            Ok(found)
        })
        .await
}

/// One message.
pub async fn show(model: &ReadModel<Messages>, message: MessageId) -> Result<Option<Found>> {
    model
        .query(move |reader| {
            let Some(Row::Message(row)) = reader.get(&Key::Message(message))? else { return Ok(None) };
            let lane = match reader.get(&Key::Lane(row.lane))? {
                Some(Row::Lane(lane)) => Some(lane),
                _ => None,
            };
            Ok(Some(Found { message, row: *row, lane }))
        })
        .await
}

/// How many messages there are of each status.
pub async fn count_by_status(model: &ReadModel<Messages>) -> Result<Vec<(String, u64)>> {
    model
        .query(|reader| {
            let mut statement =
                reader.prepare_cached("SELECT status, count(*) FROM messages GROUP BY status")?;
            let counts = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            Ok(counts.collect::<Result<_, _>>()?)
        })
        .await
}
