//! What became of each message, for those who sent it and those who look after deliveries. Never its content.

use std::collections::BTreeMap;

use domain::{
    AccountHash, ClientId, ConnectionId, Diagnosis, MessageId, PersonId, Surface, SurfaceChoice, Timestamp,
    lane::{self, DeferReason, Lane, Parked, RejectReason},
    message::{self, Kind, Message},
};
use serde::{Deserialize, Serialize};
use store::Filter;

use crate::{
    EventRef, Projection, Table, Unreadable, Value,
    due::message_of,
    ways::{bits, ways_of},
};

pub mod queries;

/// Messages, and whether their lanes are parked.
pub struct Messages;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Message(MessageId),
    Lane(ConnectionId),
}

impl crate::Key for Key {
    fn table(&self) -> usize {
        match self {
            Self::Message(_) => 0,
            Self::Lane(_) => 1,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Message(id) => id.to_string(),
            Self::Lane(id) => id.to_string(),
        }
    }

    fn parse(table: usize, text: &str) -> Option<Self> {
        match table {
            0 => text.parse().ok().map(Self::Message),
            1 => text.parse().ok().map(Self::Lane),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    Message(Box<MessageRow>),
    Lane(LaneRow),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted, and waiting for its turn.
    Pending,
    /// Recorded as being sent; what comes of it is not known yet.
    Sending,
    /// Waiting until a stated time.
    Deferred,
    Delivered,
    /// Perhaps delivered, perhaps not; not sent again.
    Unknown,
    Rejected,
    DeadLettered,
    /// Too old to be worth sending.
    Expired,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Sending,
        Self::Deferred,
        Self::Delivered,
        Self::Unknown,
        Self::Rejected,
        Self::DeadLettered,
        Self::Expired,
    ];

    /// As the API and the columns spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::DeadLettered => "dead_lettered",
            Self::Expired => "expired",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRow {
    pub lane: ConnectionId,
    pub position: u64,
    pub person: PersonId,
    pub account_hash: Option<AccountHash>,
    pub client: ClientId,
    pub kind: Kind,
    /// Which way it is to go.
    pub surface: SurfaceChoice,
    /// Which way it was sent last.
    pub went: Option<Surface>,
    pub status: Status,
    pub accepted_at: Timestamp,
    pub changed_at: Timestamp,
    pub attempts: u32,
    pub deferred: Option<(Timestamp, DeferReason)>,
    pub rejected: Option<RejectReason>,
    pub diagnosis: Option<Diagnosis>,
    pub provider_message_id: Option<String>,
}

/// Present while a way out of the lane is parked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneRow {
    pub parked: BTreeMap<Surface, ParkedSince>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParkedSince {
    pub parked: Parked,
    pub since: Timestamp,
}

/// An event that this projection folds.
pub enum Event {
    Accepted { message: MessageId, position: u64, accepted: Box<message::Accepted>, at: Timestamp },
    Lane { lane: ConnectionId, event: lane::Event, at: Timestamp },
}

impl Projection for Messages {
    const NAME: &'static str = "messages.v3";
    const TABLES: &'static [Table] = &[
        Table {
            name: "messages",
            columns: &[
                "lane TEXT NOT NULL",
                "client TEXT NOT NULL",
                "tenant TEXT NOT NULL",
                "status TEXT NOT NULL",
                // The ways that it may go, in bits.
                "ways INTEGER NOT NULL",
            ],
            fixed: 3,
            age: Some("position"),
            indexes: &["(lane)", "(client)", "(status)"],
        },
        // The ways out that are parked, in bits.
        Table { name: "lanes", columns: &["parked INTEGER NOT NULL"], fixed: 0, age: None, indexes: &[] },
    ];

    type Key = Key;
    type Row = Row;
    type Event = Event;

    fn filter() -> Filter {
        Filter::categories(["message", "lane"])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Event>, Unreadable> {
        if let Some(message::Event::Accepted(accepted)) = event.decode::<Message>()? {
            let (message, position) = (event.stream_id()?, event.position.0);
            return Ok(Some(Event::Accepted { message, position, accepted, at: event.about()?.recorded_at }));
        }
        Ok(match event.decode::<Lane>()? {
            Some(of_lane) => {
                Some(Event::Lane { lane: event.stream_id()?, event: of_lane, at: event.about()?.recorded_at })
            }
            None => None,
        })
    }

    fn keys(event: &Event, keys: &mut Vec<Key>) {
        match event {
            Event::Accepted { message, .. } => keys.push(Key::Message(*message)),
            Event::Lane { lane, event, .. } => {
                keys.extend(message_of(event).map(Key::Message));
                if matches!(event, lane::Event::Parked { .. } | lane::Event::Resumed { .. }) {
                    keys.push(Key::Lane(*lane));
                }
            }
        }
    }

    fn evolve(key: &Key, row: Option<Row>, event: &Event) -> Option<Row> {
        match (key, event, row) {
            (Key::Lane(_), Event::Lane { event: lane::Event::Parked { parked, .. }, at, .. }, row) => {
                let mut lane = if let Some(Row::Lane(lane)) = row { lane } else { LaneRow::default() };
                let since = lane.parked.get(&parked.surface).map_or(*at, |before| before.since);
                lane.parked.insert(parked.surface, ParkedSince { parked: parked.clone(), since });
                Some(Row::Lane(lane))
            }
            (
                Key::Lane(_),
                Event::Lane { event: lane::Event::Resumed { surface }, .. },
                Some(Row::Lane(mut lane)),
            ) => {
                lane.parked.remove(surface);
                (!lane.parked.is_empty()).then_some(Row::Lane(lane))
            }
            (Key::Lane(_), _, _) => None,
            (Key::Message(_), Event::Accepted { position, accepted, at, .. }, before) => {
                // Accepted anew, after its stream was deleted underneath, it keeps its place.
                let position =
                    if let Some(Row::Message(before)) = before { before.position } else { *position };
                Some(Row::Message(Box::new(MessageRow::accepted(position, accepted, *at))))
            }
            (Key::Message(_), Event::Lane { event, at, .. }, Some(Row::Message(row))) => {
                Some(Row::Message(row.after(event, *at)))
            }
            (_, _, row) => row,
        }
    }

    fn age(_: &Key, row: &Row) -> i64 {
        match row {
            Row::Message(row) => i64::try_from(row.position).unwrap_or(i64::MAX),
            Row::Lane(_) => 0,
        }
    }

    fn columns(_: &Key, row: &Row) -> Vec<Value> {
        match row {
            Row::Message(row) => vec![
                Value::Text(row.lane.to_string()),
                Value::Text(row.client.to_string()),
                Value::Text(row.person.tenant.to_string()),
                Value::Text(row.status.name().to_owned()),
                Value::Integer(ways_of(row.surface)),
            ],
            Row::Lane(row) => vec![Value::Integer(bits(|way| row.parked.contains_key(&way)))],
        }
    }
}

impl MessageRow {
    fn accepted(position: u64, accepted: &message::Accepted, at: Timestamp) -> Self {
        Self {
            lane: accepted.lane,
            position,
            person: accepted.person,
            account_hash: accepted.account_hash.clone(),
            client: accepted.client.clone(),
            kind: accepted.kind,
            surface: accepted.surface.unwrap_or_default(),
            went: None,
            status: Status::Pending,
            accepted_at: at,
            changed_at: at,
            attempts: 0,
            deferred: None,
            rejected: None,
            diagnosis: None,
            provider_message_id: None,
        }
    }

    fn after(mut self: Box<Self>, event: &lane::Event, at: Timestamp) -> Box<Self> {
        // It arrived; what comes of a later attempt, begun before that was known, takes nothing back.
        if self.status == Status::Delivered {
            return self;
        }
        self.changed_at = at;
        self.deferred = None;
        let (status, diagnosis) = match event {
            lane::Event::DeliveryStarted { attempt, surface, .. } => {
                (self.attempts, self.went) = (*attempt, Some(*surface));
                (Status::Sending, None)
            }
            lane::Event::Delivered { provider_message_id, .. } => {
                self.provider_message_id.clone_from(provider_message_id);
                (Status::Delivered, None)
            }
            lane::Event::Deferred { until, why, diagnosis, .. } => {
                self.deferred = Some((*until, *why));
                (Status::Deferred, Some(diagnosis))
            }
            lane::Event::Unknown { diagnosis, .. } => (Status::Unknown, Some(diagnosis)),
            lane::Event::Parked { diagnosis, .. } => (Status::Pending, Some(diagnosis)),
            lane::Event::Rejected { why, diagnosis, .. } => {
                self.rejected = Some(*why);
                (Status::Rejected, Some(diagnosis))
            }
            lane::Event::DeadLettered { diagnosis, .. } => (Status::DeadLettered, Some(diagnosis)),
            lane::Event::Expired { .. } => (Status::Expired, None),
            lane::Event::Resent { surface, .. } => {
                self.surface = surface.map_or(SurfaceChoice::Graph, SurfaceChoice::from);
                (Status::Pending, None)
            }
            lane::Event::Resumed { .. } => (Status::Pending, None),
        };
        (self.status, self.diagnosis) = (status, diagnosis.cloned());
        self
    }
}

#[cfg(test)]
mod tests;
