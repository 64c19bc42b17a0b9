//! What processors ask of `due`.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context as _, Result, bail};
use domain::{
    ActivityId, ConnectionId, MessageId, ShardId, SignInId, Surface, SurfaceChoice, TenantId, Timestamp,
};

use super::{ActivityRow, ConnectionRow, Due, Key, LaneRow, MessageRow, Row, SignInRow};
use crate::{ReadModel, Reader, ways::choice_of};

/// Messages at a lane's head that are read together.
pub const HEAD_MAX: usize = 16;

/// The first messages of a lane, of those by Graph, by the bot and by whichever will do as far as the parameters say that they
/// go. They lie in their order and are merged as they are read, so that those which wait, however many, are not looked at.
pub(super) const HEAD: &str = "SELECT key, ways, position FROM messages WHERE lane = ?1 AND ways = 1 AND ?3
    UNION ALL SELECT key, ways, position FROM messages WHERE lane = ?1 AND ways = 2 AND ?4
    UNION ALL SELECT key, ways, position FROM messages WHERE lane = ?1 AND ways = 3 AND ?5
    ORDER BY position LIMIT ?2";

/// Lanes that are ready by themselves, by a later grant, and by a message that may go a way which is neither closed nor
/// put off (or looks so: what may go either way still waits while the first of them is put off). Of those ready by
/// themselves, which after an outage may be most, that whose first message is the oldest comes first: nobody waits behind
/// who came later.
pub(super) const READY: &str = "SELECT key, ready_us,
      (SELECT position FROM messages WHERE lane = lanes.key ORDER BY ways, position LIMIT 1) AS first
      FROM lanes WHERE ready_us NOT NULL
    UNION ALL SELECT lanes.key, 0, 0 FROM lanes JOIN connections USING (key)
      WHERE parked_grant NOT NULL AND grant_number > parked_grant AND NOT open
    UNION ALL SELECT key, 0, 0 FROM lanes WHERE closed NOT NULL AND NOT open
      AND EXISTS (SELECT 1 FROM (VALUES (1), (2), (3)) AS choice CROSS JOIN messages
        WHERE choice.column1 & ~closed AND lane = lanes.key AND ways = choice.column1)
    ORDER BY ready_us, first";

/// A lane with the messages whose turn it is, read at one moment; where none is pending, the row alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub row: LaneRow,
    /// Those whose way is open and not put off, in their order, [`HEAD_MAX`] at most.
    pub messages: VecDeque<(MessageId, MessageRow)>,
    /// The ways that are closed.
    pub closed: BTreeSet<Surface>,
    /// The ways that are put off: what would go one of them waits, and goes no other.
    pub deferred: BTreeSet<Surface>,
}

impl Head {
    /// When to look whether a way has opened, or its time has come; `None` where somebody tells.
    pub fn look_again_at(&self) -> Option<Timestamp> {
        let closed = self.row.parked.iter().filter(|(way, _)| self.closed.contains(way));
        let deferred = self.row.deferred.iter().filter(|(way, _)| self.deferred.contains(way));
        let untils = deferred.map(|(_, deferral)| deferral.until);
        closed.filter_map(|(_, parked)| parked.look_again_at).chain(untils).min()
    }
}

/// Every lane that can be worked without anything else happening first, and from when on: those whose turn comes by
/// itself, and parked ones whose person signed in since, or that have messages which may go another way.
pub async fn ready_lanes(due: &ReadModel<Due>) -> Result<Vec<(ConnectionId, Timestamp)>> {
    due.query(move |reader| {
        let mut statement = reader.prepare_cached(READY)?;
        let mut found = statement.query([])?;
        let mut lanes = Vec::new();
        while let Some(row) = found.next()? {
            let lane = row.get_ref(0)?.as_str()?.parse()?;
            lanes.push((lane, Timestamp::from_micros(row.get(1)?)));
        }
        Ok(lanes)
    })
    .await
}

/// The lane and the messages at its head at `now`; `None` where the lane has never had one.
pub fn head(due: &ReadModel<Due>, lane: ConnectionId, now: Timestamp) -> Result<Option<Head>> {
    due.look(|reader| {
        let Some(Row::Lane(row)) = reader.get(&Key::Lane(lane))? else { return Ok(None) };
        if row.pending == 0 {
            let (messages, closed, deferred) = Default::default();
            return Ok(Some(Head { row, messages, closed, deferred }));
        }
        let closed = closed_ways(reader, lane, &row, now)?;
        let deferred = Surface::ALL.into_iter().filter(|way| row.is_deferred(*way, now)).collect();
        let goes = |choice: SurfaceChoice| {
            let way = choice.open_way(|way| closed.contains(&way));
            way.is_some_and(|way| !row.is_deferred(way, now))
        };
        let [graph, bot, either] = [SurfaceChoice::Graph, SurfaceChoice::Bot, SurfaceChoice::Auto].map(goes);
        let params = (lane.to_string(), HEAD_MAX.cast_signed(), graph, bot, either);
        let mut statement = reader.prepare_cached(HEAD)?;
        let mut found = statement.query(params)?;
        let mut messages = VecDeque::new();
        while let Some(message) = found.next()? {
            let surface = choice_of(message.get(1)?).context("a message that goes no way")?;
            let position = message.get::<_, i64>(2)?.cast_unsigned();
            let key = message.get_ref(0)?.as_str()?;
            let Some(Key::Message(_, id)) = <Key as crate::Key>::parse(1, key) else {
                bail!("a message of no lane")
            };
            messages.push_back((id, MessageRow { lane, position, surface }));
        }
        Ok(Some(Head { row, messages, closed, deferred }))
    })
}

fn closed_ways(
    reader: &Reader<'_, Due>,
    lane: ConnectionId,
    row: &LaneRow,
    now: Timestamp,
) -> Result<BTreeSet<Surface>> {
    if row.parked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let newest_grant = match reader.get(&Key::Connection(lane))? {
        Some(Row::Connection(connection)) => connection.grant_number,
        _ => 0,
    };
    Ok(Surface::ALL.into_iter().filter(|way| row.is_closed(*way, newest_grant, now)).collect())
}

/// Lanes with an intent whose outcome is missing.
pub async fn open_lanes(due: &ReadModel<Due>) -> Result<Vec<(ConnectionId, LaneRow)>> {
    due.query(|reader| {
        let rows = reader.select(0, "SELECT key, body FROM lanes WHERE open", [])?;
        Ok(rows
            .into_iter()
            .filter_map(|found| match found {
                (Key::Lane(lane), Row::Lane(row)) => Some((lane, row)),
                _ => None,
            })
            .collect())
    })
    .await
}

/// Connections whose newest access token has run out by `now`, which nobody has recorded yet. Of these shards; of all where
/// none are named.
pub async fn expired_connections(
    due: &ReadModel<Due>,
    now: Timestamp,
    shards: Option<Vec<ShardId>>,
    limit: usize,
) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    due.query(move |reader| {
        let sql = "SELECT key, body FROM connections WHERE expires_us NOT NULL AND expires_us <= ?1
                   AND (?3 IS NULL OR substr(key, 35) IN (SELECT value FROM json_each(?3)))
                   ORDER BY expires_us LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(connection_rows(reader.select(2, sql, (now.as_micros(), limit, endings(shards)))?))
    })
    .await
}

/// Connections whose newest generation came before `before`, to be refreshed lest the grant grows stale; without those
/// whose refresh failed and is not to be tried again before `now`. Of these shards; of all where none are named.
pub async fn stale_connections(
    due: &ReadModel<Due>,
    before: Timestamp,
    now: Timestamp,
    shards: Option<Vec<ShardId>>,
    limit: usize,
) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    due.query(move |reader| {
        let sql = "SELECT key, body FROM connections WHERE issued_us NOT NULL AND issued_us <= ?1
                   AND (not_before_us IS NULL OR not_before_us <= ?2)
                   AND (?4 IS NULL OR substr(key, 35) IN (SELECT value FROM json_each(?4)))
                   ORDER BY issued_us LIMIT ?3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let params = (before.as_micros(), now.as_micros(), limit, endings(shards));
        Ok(connection_rows(reader.select(2, sql, params)?))
    })
    .await
}

/// Connections with a claim to refresh whose outcome is missing.
pub async fn claimed_connections(due: &ReadModel<Due>) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    let sql = "SELECT key, body FROM connections WHERE claim_open";
    due.query(move |reader| Ok(connection_rows(reader.select(2, sql, [])?))).await
}

/// Unlinked connections whose tokens may still be in the vault.
pub async fn connections_to_destroy(due: &ReadModel<Due>) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    let sql = "SELECT key, body FROM connections WHERE to_destroy";
    due.query(move |reader| Ok(connection_rows(reader.select(2, sql, [])?))).await
}

/// When the next access token runs out, after `now`.
pub async fn next_expiry_at(due: &ReadModel<Due>, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(expires_us) FROM connections WHERE expires_us NOT NULL AND expires_us > ?1";
    due.query(move |reader| first_time(reader, sql, now)).await
}

/// When the newest generation came of the connection that has waited longest.
pub async fn oldest_issue_at(due: &ReadModel<Due>) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(issued_us) FROM connections WHERE issued_us NOT NULL AND issued_us > ?1";
    due.query(move |reader| first_time(reader, sql, Timestamp::default())).await
}

/// Sign-ins to be finished, and those whose time is over by `now`. Of these shards; of all where none are named.
pub async fn due_sign_ins(
    due: &ReadModel<Due>,
    now: Timestamp,
    shards: Option<Vec<ShardId>>,
    limit: usize,
) -> Result<Vec<(SignInId, SignInRow)>> {
    due.query(move |reader| {
        let sql = "SELECT key, body FROM sign_ins WHERE due_us <= ?1
                   AND (?3 IS NULL OR substr(key, 35) IN (SELECT value FROM json_each(?3)))
                   ORDER BY due_us LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = reader.select(3, sql, (now.as_micros(), limit, endings(shards)))?;
        Ok(rows
            .into_iter()
            .filter_map(|found| match found {
                (Key::SignIn(id), Row::SignIn(row)) => Some((id, row)),
                _ => None,
            })
            .collect())
    })
    .await
}

/// When the next sign-in lapses, after `now`.
pub async fn next_lapse_at(due: &ReadModel<Due>, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(due_us) FROM sign_ins WHERE due_us > ?1";
    due.query(move |reader| first_time(reader, sql, now)).await
}

/// Everybody who did something that is not handled, who has waited longest first. Of the people in these shards; of all
/// where none are named. This walks the whole backlog.
pub async fn people_waiting(due: &ReadModel<Due>, shards: Option<Vec<ShardId>>) -> Result<Vec<ConnectionId>> {
    due.query(move |reader| {
        let sql = "SELECT connection FROM activities
                   WHERE ?1 IS NULL OR substr(connection, 35) IN (SELECT value FROM json_each(?1))
                   GROUP BY connection ORDER BY min(position)";
        let mut statement = reader.prepare_cached(sql)?;
        let mut found = statement.query([endings(shards)])?;
        let mut people = Vec::new();
        while let Some(row) = found.next()? {
            people.push(row.get_ref(0)?.as_str()?.parse()?);
        }
        Ok(people)
    })
    .await
}

/// Who did those of the activities that are not handled.
pub async fn people_behind(due: &ReadModel<Due>, activities: Vec<ActivityId>) -> Result<Vec<ConnectionId>> {
    due.query(move |reader| {
        let mut people = Vec::new();
        for id in activities {
            if let Some(Row::Activity(row)) = reader.get(&Key::Activity(id))? {
                people.push(row.person.connection());
            }
        }
        Ok(people)
    })
    .await
}

/// What the person did first of all that is not handled.
pub async fn first_activity(
    due: &ReadModel<Due>,
    person: ConnectionId,
) -> Result<Option<(ActivityId, ActivityRow)>> {
    due.query(move |reader| {
        let sql = "SELECT key, body FROM activities WHERE connection = ?1 ORDER BY position LIMIT 1";
        let activity = |found| match found {
            (Key::Activity(id), Row::Activity(row)) => Some((id, row)),
            _ => None,
        };
        Ok(reader.select(4, sql, [person.to_string()])?.into_iter().find_map(activity))
    })
    .await
}

/// Tenants with word of consent that is to be passed on. Of these shards; of all where none are named.
pub async fn reported_consents(due: &ReadModel<Due>, shards: Option<Vec<ShardId>>) -> Result<Vec<TenantId>> {
    due.query(move |reader| {
        let sql = "SELECT key FROM consents
                   WHERE ?1 IS NULL OR substr(key, 35) IN (SELECT value FROM json_each(?1)) ORDER BY key";
        let mut statement = reader.prepare_cached(sql)?;
        let mut found = statement.query([endings(shards)])?;
        let mut tenants = Vec::new();
        while let Some(row) = found.next()? {
            tenants.push(row.get_ref(0)?.as_str()?.parse()?);
        }
        Ok(tenants)
    })
    .await
}

/// Connections behind `after` whose link waits for consent of this tenant, in the order of their ids.
pub async fn connections_awaiting(
    due: &ReadModel<Due>,
    tenant: TenantId,
    after: Option<ConnectionId>,
    limit: usize,
) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    due.query(move |reader| {
        let sql = "SELECT key, body FROM connections WHERE awaits_tenant = ?1 AND key > ?2
                   ORDER BY key LIMIT ?3";
        let after = after.map_or(String::new(), |id| id.to_string());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(connection_rows(reader.select(2, sql, (tenant.to_string(), after, limit))?))
    })
    .await
}

/// The shards as SQL can look for them: a list of the last two digits of the ids that are in them.
fn endings(shards: Option<Vec<ShardId>>) -> Option<String> {
    let ending = |shard: ShardId| format!("\"{:02x}\"", shard.0);
    shards.map(|shards| format!("[{}]", shards.into_iter().map(ending).collect::<Vec<_>>().join(",")))
}

fn connection_rows(rows: Vec<(Key, Row)>) -> Vec<(ConnectionId, ConnectionRow)> {
    let connection = |found| match found {
        (Key::Connection(id), Row::Connection(row)) => Some((id, row)),
        _ => None,
    };
    rows.into_iter().filter_map(connection).collect()
}

fn first_time(reader: &Reader<'_, Due>, sql: &str, after: Timestamp) -> Result<Option<Timestamp>> {
    let micros: Option<i64> = reader.prepare_cached(sql)?.query_row([after.as_micros()], |row| row.get(0))?;
    Ok(micros.map(Timestamp::from_micros))
}
