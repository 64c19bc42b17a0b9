//! What there is to do, and when: the only thing that processors look at.
//!
//! A row is put here by one event and taken away by another, so rebuilding this read model sends nothing twice. Lanes and
//! connections share their id, which is how a new grant finds the lane that waits for it.
//!
//! **Invariant.** A lane's row keeps the lane's revision that it was folded from; an intent is appended at that revision,
//! so a stale row leads to a refused append, never to a wrong send.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    ActivityId, ConnectionId, MessageId, PersonId, SignInId, Surface, SurfaceChoice, TenantId, Timestamp,
    connection::{self, Status},
    lane::{self, Open, Parked},
};
use serde::{Deserialize, Serialize};
use store::Filter;
use uuid::Uuid;

pub use self::events::Event;
use self::fold::{
    evolve_activity, evolve_connection, evolve_consent, evolve_lane, evolve_message, evolve_sign_in,
};
use crate::{
    EventRef, Projection, Table, Unreadable, Value,
    ways::{bits, ways_of},
};

mod events;
mod fold;
pub mod queries;

/// What there is to do.
pub struct Due;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Lane(ConnectionId),
    /// Messages of one lane lie together, since they are done with one after the other.
    Message(ConnectionId, MessageId),
    Connection(ConnectionId),
    SignIn(SignInId),
    Activity(ActivityId),
    Consent(TenantId),
}

impl crate::Key for Key {
    fn table(&self) -> usize {
        match self {
            Self::Lane(_) => 0,
            Self::Message(..) => 1,
            Self::Connection(_) => 2,
            Self::SignIn(_) => 3,
            Self::Activity(_) => 4,
            Self::Consent(_) => 5,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Lane(id) | Self::Connection(id) => id.to_string(),
            Self::Message(lane, id) => format!("{lane}/{id}"),
            Self::SignIn(id) => id.to_string(),
            Self::Activity(id) => id.to_string(),
            Self::Consent(id) => id.to_string(),
        }
    }

    fn parse(table: usize, text: &str) -> Option<Self> {
        match table {
            0 => text.parse().ok().map(Self::Lane),
            1 => {
                let (lane, id) = text.split_once('/')?;
                Some(Self::Message(lane.parse().ok()?, id.parse().ok()?))
            }
            2 => text.parse().ok().map(Self::Connection),
            3 => text.parse().ok().map(Self::SignIn),
            4 => text.parse().ok().map(Self::Activity),
            5 => text.parse().ok().map(Self::Consent),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    Lane(LaneRow),
    Message(MessageRow),
    Connection(ConnectionRow),
    SignIn(SignInRow),
    Activity(ActivityRow),
    Consent(ConsentRow),
}

/// A lane that has had a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneRow {
    pub person: PersonId,
    /// Of the last event in the lane's own stream; `None` where there is none yet.
    pub lane_revision: Option<u64>,
    /// Messages accepted and not concluded.
    pub pending: u64,
    pub open: Option<Open>,
    /// The ways out that are closed until something happens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked: BTreeMap<Surface, Parked>,
    /// The ways out that are put off, until something was delivered or decided by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deferred: BTreeMap<Surface, Deferral>,
    /// The newest revision of the connection by which the bot may write again: it was installed, or the person linked. Of
    /// what was recorded since the lane had its first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_opened: Option<u64>,
    /// Unknown ones that go again, until they are concluded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub again: BTreeSet<MessageId>,
    /// How many deliveries were begun of those that went and are to go again, until they are concluded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub begun: BTreeMap<MessageId, u32>,
    /// The open one is known to have arrived by an earlier attempt; it is no longer among the pending.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub arrived: bool,
    /// When a way out of the lane was last parked no longer; what waited then is not too old before its time has passed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
}

/// A way out of a lane is put off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deferral {
    pub until: Timestamp,
    /// So often in a row, for the back-off.
    pub times: u32,
}

/// A message that is not concluded. What it says is read from its own stream when its turn comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRow {
    pub lane: ConnectionId,
    /// Its place in the lane: the position of its acceptance, or 0 for the front, where it goes again.
    pub position: u64,
    pub surface: SurfaceChoice,
}

/// A connection with a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    pub person: PersonId,
    pub status: Status,
    pub grant: SignInId,
    pub grant_number: u64,
    pub generation: u64,
    pub expires_at: Timestamp,
    pub expired: bool,
    /// When the newest generation came.
    pub issued_at: Timestamp,
    pub claim_open: bool,
    pub refresh_not_before: Option<Timestamp>,
    /// Unlinked, and the vault still has the tokens as far as is known.
    pub to_destroy: bool,
}

/// A sign-in of which something is still to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignInRow {
    pub lapses_at: Timestamp,
    /// It has ended, and what follows from that is not done yet.
    pub ended: bool,
}

/// Something done to the bot that is not handled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivityRow {
    pub person: PersonId,
    /// Where in the vault its payload lies.
    pub inbox: Uuid,
    /// Its place among what the person did.
    pub position: u64,
}

/// A tenant with word of an administrator's consent that is to be passed on to those who wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentRow {
    /// The newest report.
    pub report: u32,
}

impl Projection for Due {
    const NAME: &'static str = "due.v7";
    /// The outbox waits for what others recorded to be here.
    const PAUSE: Duration = Duration::from_millis(5);
    const TABLES: &'static [Table] = &[
        Table {
            name: "lanes",
            // When to look at the lane; NULL when there is nothing to do before something else happens.
            // And, where ways out are closed or put off: which, in bits, and the grant that was of no use to Graph.
            columns: &["ready_us INTEGER", "open INTEGER NOT NULL", "closed INTEGER", "parked_grant INTEGER"],
            fixed: 0,
            age: None,
            indexes: &[
                "(ready_us) WHERE ready_us NOT NULL",
                "(open) WHERE open",
                "(closed) WHERE closed NOT NULL",
                "(parked_grant) WHERE parked_grant NOT NULL",
            ],
        },
        Table {
            name: "messages",
            // The ways that it may go, in bits.
            columns: &["lane TEXT NOT NULL", "ways INTEGER NOT NULL", "position INTEGER NOT NULL"],
            // What goes again has another place, at the front, and goes one way.
            fixed: 1,
            age: None,
            // From which alone the head of a lane is read.
            indexes: &["(lane, ways, position)"],
        },
        Table {
            name: "connections",
            columns: &[
                "grant_number INTEGER NOT NULL",
                "expires_us INTEGER",
                "issued_us INTEGER",
                "claim_open INTEGER NOT NULL",
                // A refresh is not to be tried before.
                "not_before_us INTEGER",
                "to_destroy INTEGER NOT NULL",
                // The tenant, where the person's link waits for its consent.
                "awaits_tenant TEXT",
            ],
            fixed: 0,
            age: None,
            indexes: &[
                "(expires_us) WHERE expires_us NOT NULL",
                "(issued_us) WHERE issued_us NOT NULL",
                "(claim_open) WHERE claim_open",
                "(to_destroy) WHERE to_destroy",
                "(awaits_tenant) WHERE awaits_tenant NOT NULL",
            ],
        },
        Table {
            name: "sign_ins",
            columns: &["due_us INTEGER NOT NULL"],
            fixed: 0,
            age: None,
            indexes: &["(due_us)"],
        },
        Table {
            name: "activities",
            columns: &["connection TEXT NOT NULL", "position INTEGER NOT NULL"],
            fixed: 1,
            age: None,
            indexes: &["(connection, position)"],
        },
        Table { name: "consents", columns: &[], fixed: 0, age: None, indexes: &[] },
    ];

    type Key = Key;
    type Row = Row;
    type Event = Event;

    fn filter() -> Filter {
        // Of shards nothing is folded; but a hub that took one waits until this read model has come past that event.
        Filter::categories(["message", "lane", "connection", "signin", "activity", "tenant", "shard"])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Event>, Unreadable> {
        events::read(event)
    }

    fn keys(event: &Event, keys: &mut Vec<Key>) {
        match event {
            Event::Accepted { message, lane, .. } => {
                keys.extend([Key::Message(*lane, *message), Key::Lane(*lane)]);
            }
            Event::Lane { lane, event, .. } => {
                keys.push(Key::Lane(*lane));
                let moved = message_of(event).filter(|_| moves_message(event));
                keys.extend(moved.map(|message| Key::Message(*lane, message)));
            }
            Event::Connection { connection, event, .. } => {
                keys.push(Key::Connection(*connection));
                if opens_bot(event) {
                    keys.push(Key::Lane(*connection));
                }
            }
            Event::SignIn { sign_in, .. } => keys.push(Key::SignIn(*sign_in)),
            Event::Activity { activity, .. } => keys.push(Key::Activity(*activity)),
            Event::Consent { tenant, .. } => keys.push(Key::Consent(*tenant)),
        }
    }

    fn evolve(key: &Key, row: Option<Row>, event: &Event) -> Option<Row> {
        match (key, row) {
            (Key::Lane(_), Some(Row::Lane(row))) => evolve_lane(Some(row), event).map(Row::Lane),
            (Key::Lane(_), _) => evolve_lane(None, event).map(Row::Lane),
            (Key::Message(..), Some(Row::Message(row))) => evolve_message(Some(row), event).map(Row::Message),
            (Key::Message(..), _) => evolve_message(None, event).map(Row::Message),
            (Key::Connection(_), Some(Row::Connection(row))) => {
                evolve_connection(Some(row), event).map(Row::Connection)
            }
            (Key::Connection(_), _) => evolve_connection(None, event).map(Row::Connection),
            (Key::SignIn(_), Some(Row::SignIn(row))) => evolve_sign_in(Some(row), event).map(Row::SignIn),
            (Key::SignIn(_), _) => evolve_sign_in(None, event).map(Row::SignIn),
            (Key::Activity(_), _) => evolve_activity(event).map(Row::Activity),
            (Key::Consent(_), Some(Row::Consent(row))) => evolve_consent(Some(row), event).map(Row::Consent),
            (Key::Consent(_), _) => evolve_consent(None, event).map(Row::Consent),
        }
    }

    fn columns(_: &Key, row: &Row) -> Vec<Value> {
        let micros = |at: Timestamp| Value::Integer(at.as_micros());
        let number = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let tenant = |row: &ConnectionRow| Value::Text(row.person.tenant.to_string());
        let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
        match row {
            Row::Lane(row) => vec![
                or_null(row.ready_at().map(micros)),
                Value::Integer(row.open.is_some().into()),
                or_null(row.closed().map(Value::Integer)),
                or_null(row.waits_for_grant().map(|parked| number(parked.grant_number))),
            ],
            Row::Message(row) => {
                let ways = Value::Integer(ways_of(row.surface));
                vec![Value::Text(row.lane.to_string()), ways, number(row.position)]
            }
            Row::Connection(row) => {
                let live = !matches!(row.status, Status::Unlinked | Status::Linked) && !row.expired;
                let active = row.status == Status::Active;
                vec![
                    number(row.grant_number),
                    or_null(live.then(|| micros(row.expires_at))),
                    or_null(active.then(|| micros(row.issued_at))),
                    Value::Integer(row.claim_open.into()),
                    or_null(row.refresh_not_before.map(micros)),
                    Value::Integer(row.to_destroy.into()),
                    or_null((row.status == Status::ConsentRequired).then(|| tenant(row))),
                ]
            }
            Row::SignIn(row) => vec![if row.ended { Value::Integer(0) } else { micros(row.lapses_at) }],
            Row::Activity(row) => {
                vec![Value::Text(row.person.connection().to_string()), number(row.position)]
            }
            Row::Consent(_) => vec![],
        }
    }
}

impl LaneRow {
    /// When the head of the lane is to be looked at; `None` where something else has to happen first.
    pub fn ready_at(&self) -> Option<Timestamp> {
        if self.pending == 0 || self.open.is_some() {
            None
        } else if self.parked.is_empty() && self.deferred.is_empty()
            || self.parked.values().any(|parked| self.was_opened(parked))
        {
            Some(Timestamp::default())
        } else {
            // What may go another way is found by the ways of the messages; see `queries::ready_lanes`.
            let looks = self.parked.values().filter_map(|parked| parked.look_again_at);
            looks.chain(self.deferred.values().map(|deferral| deferral.until)).min()
        }
    }

    /// Whether this way out is closed at `now`, for who knows the person's newest grant.
    pub fn is_closed(&self, way: Surface, newest_grant: u64, now: Timestamp) -> bool {
        self.parked.get(&way).is_some_and(|parked| {
            let over = match way {
                Surface::Graph => newest_grant > parked.grant_number,
                Surface::Bot => self.was_opened(parked),
            };
            !over && parked.look_again_at.is_none_or(|at| at > now)
        })
    }

    /// How many deliveries of the message were begun.
    pub fn attempts(&self, message: MessageId) -> u32 {
        self.begun.get(&message).copied().unwrap_or_default()
    }

    /// Whether this way out is put off at `now`.
    pub fn is_deferred(&self, way: Surface, now: Timestamp) -> bool {
        self.deferred.get(&way).is_some_and(|deferral| deferral.until > now)
    }

    /// Whether the bot may write again since it was of no use.
    fn was_opened(&self, parked: &Parked) -> bool {
        parked.surface == Surface::Bot && self.bot_opened > parked.connection_revision
    }

    /// What a grant later than the one it names would end.
    fn waits_for_grant(&self) -> Option<&Parked> {
        self.parked.get(&Surface::Graph).filter(|_| self.pending > 0)
    }

    /// The ways out that are closed or put off, in bits, if any.
    fn closed(&self) -> Option<i64> {
        let closed = bits(|way| self.parked.contains_key(&way) || self.deferred.contains_key(&way));
        (closed != 0 && self.pending > 0).then_some(closed)
    }

    /// What was begun of the message came to nothing, and it keeps its place; unless it had arrived before.
    fn goes_again(&mut self, message: MessageId, attempt: u32) {
        self.open = None;
        if !std::mem::take(&mut self.arrived) && attempt > 0 {
            self.begun.insert(message, attempt);
        }
    }

    /// Nothing more is to be done for the message.
    fn conclude(&mut self, message: MessageId) {
        self.begun.remove(&message);
        if let Some(open) = self.open.take() {
            self.deferred.remove(&open.surface);
        }
        if !std::mem::take(&mut self.arrived) {
            self.pending = self.pending.saturating_sub(1);
            self.again.remove(&message);
        }
    }
}

/// Whether the bot may write to the person from then on, if it could not before.
fn opens_bot(event: &connection::Event) -> bool {
    matches!(event, connection::Event::BotInstalled { .. } | connection::Event::Linked { .. })
}

/// Whether the message leaves its place in the lane: it is concluded, or goes again at the front.
fn moves_message(event: &lane::Event) -> bool {
    match event {
        lane::Event::Delivered { .. }
        | lane::Event::Unknown { .. }
        | lane::Event::Resent { .. }
        | lane::Event::Rejected { .. }
        | lane::Event::DeadLettered { .. }
        | lane::Event::Expired { .. } => true,
        lane::Event::DeliveryStarted { .. }
        | lane::Event::Deferred { .. }
        | lane::Event::Parked { .. }
        | lane::Event::Resumed { .. } => false,
    }
}

/// The message that an event in a lane is about.
pub(crate) fn message_of(event: &lane::Event) -> Option<MessageId> {
    match event {
        lane::Event::DeliveryStarted { message, .. }
        | lane::Event::Delivered { message, .. }
        | lane::Event::Deferred { message, .. }
        | lane::Event::Unknown { message, .. }
        | lane::Event::Resent { message, .. }
        | lane::Event::Parked { message, .. }
        | lane::Event::Rejected { message, .. }
        | lane::Event::DeadLettered { message, .. }
        | lane::Event::Expired { message, .. } => Some(*message),
        lane::Event::Resumed { .. } => None,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_tests;
