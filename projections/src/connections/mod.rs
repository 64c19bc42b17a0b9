//! The current view of tenants and tokens: who is linked, by what grant, until when.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    AccountHash, ConnectionId, Diagnosis, PersonId, Sealed, SignInId, Surface, TenantId, Timestamp,
    account::{self, Account},
    connection::{self, Connection, Reachable, ReauthorizationReason, Status},
    tenant::{self, Admission, Name, Policy, Tenant},
};
use serde::{Deserialize, Serialize};
use store::Filter;

use crate::{EventRef, Projection, Table, Unreadable, Value};

pub mod queries;

/// Tenants and the connections of their people.
pub struct Connections;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Connection(ConnectionId),
    Tenant(TenantId),
}

impl crate::Key for Key {
    fn table(&self) -> usize {
        match self {
            Self::Connection(_) => 0,
            Self::Tenant(_) => 1,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Connection(id) => id.to_string(),
            Self::Tenant(id) => id.to_string(),
        }
    }

    fn parse(table: usize, text: &str) -> Option<Self> {
        match table {
            0 => text.parse().ok().map(Self::Connection),
            1 => text.parse().ok().map(Self::Tenant),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    Connection(Box<ConnectionRow>),
    Tenant(TenantRow),
}

/// A person's link to Microsoft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    pub person: PersonId,
    pub status: Status,
    /// Why the status is what it is, where Microsoft said so.
    pub why: Option<ReauthorizationReason>,
    pub diagnosis: Option<Diagnosis>,
    pub grant: Option<GrantRow>,
    pub linked_at: Timestamp,
    pub changed_at: Timestamp,
    pub chat_known: bool,
    /// Whether the bot may write to the person; `None` before it was ever there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<Reachable>,
    /// Name, user principal name and e-mail, sealed; `None` before the connection's own first event.
    pub profile: Option<Sealed>,
    /// The product's accounts of this person, each sealed.
    pub accounts: BTreeMap<AccountHash, Sealed>,
}

/// The grant in force, or the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantRow {
    pub id: SignInId,
    pub number: u64,
    pub generation: u64,
    pub scopes: Vec<String>,
    /// When the newest generation came.
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub expired: bool,
}

/// An organisation that somebody signed in from, or that an operator named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantRow {
    pub admission: Admission,
    /// What people call it, where an operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    pub policy: Policy,
    pub first_seen_at: Option<Timestamp>,
    /// The ways out that are held back.
    pub breakers: BTreeSet<Surface>,
}

/// An event that this projection folds.
pub enum Event {
    Connection { connection: ConnectionId, event: connection::Event, at: Timestamp },
    Account { hash: AccountHash, event: account::Event, at: Timestamp },
    Tenant { tenant: TenantId, event: tenant::Event, at: Timestamp },
}

impl Projection for Connections {
    const NAME: &'static str = "connections.v3";
    const TABLES: &'static [Table] = &[
        Table {
            name: "connections",
            columns: &["tenant TEXT NOT NULL", "object_id TEXT NOT NULL", "status TEXT NOT NULL"],
            fixed: 2,
            age: None,
            indexes: &["(tenant, object_id)", "(status)"],
        },
        Table { name: "tenants", columns: &[], fixed: 0, age: None, indexes: &[] },
    ];

    type Key = Key;
    type Row = Row;
    type Event = Event;

    fn filter() -> Filter {
        Filter::categories(["connection", "account", "tenant"])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Event>, Unreadable> {
        if let Some(of_connection) = event.decode::<Connection>()? {
            let (connection, at) = (event.stream_id()?, event.about()?.recorded_at);
            return Ok(Some(Event::Connection { connection, event: of_connection, at }));
        }
        if let Some(of_account) = event.decode::<Account>()? {
            let hash = event.stream.split_once('-').map_or("", |(_, hash)| hash);
            let (hash, at) = (AccountHash(hash.into()), event.about()?.recorded_at);
            return Ok(Some(Event::Account { hash, event: of_account, at }));
        }
        Ok(match event.decode::<Tenant>()? {
            Some(of_tenant) => Some(Event::Tenant {
                tenant: event.stream_id()?,
                event: of_tenant,
                at: event.about()?.recorded_at,
            }),
            None => None,
        })
    }

    fn keys(event: &Event, keys: &mut Vec<Key>) {
        keys.push(match event {
            Event::Connection { connection, .. } => Key::Connection(*connection),
            Event::Account { event: account::Event::Linked { person, .. }, .. }
            | Event::Account { event: account::Event::Unlinked { person }, .. } => {
                Key::Connection(person.connection())
            }
            Event::Account { event: account::Event::LinkRefused { .. }, .. } => return,
            Event::Tenant { tenant, .. } => Key::Tenant(*tenant),
        });
    }

    fn evolve(_: &Key, row: Option<Row>, event: &Event) -> Option<Row> {
        match (row, event) {
            (Some(Row::Tenant(row)), Event::Tenant { event, at, .. }) => {
                Some(Row::Tenant(row.after(event, *at)))
            }
            (_, Event::Tenant { event, at, .. }) => Some(Row::Tenant(TenantRow::default().after(event, *at))),
            (Some(Row::Connection(row)), Event::Connection { event, at, .. }) => {
                Some(Row::Connection(row.after(event, *at)))
            }
            (Some(Row::Connection(row)), Event::Account { hash, event, at }) => {
                row.with_account(hash, event, *at).map(Row::Connection)
            }
            (
                None,
                Event::Connection { event: connection::Event::Linked { person, profile, .. }, at, .. },
            ) => {
                let row = ConnectionRow {
                    profile: Some(profile.clone()),
                    status: Status::Linked,
                    ..ConnectionRow::new(*person, *at)
                };
                Some(Row::Connection(Box::new(row)))
            }
            // The bot is there before anybody signs in.
            (None, Event::Connection { event: connection::Event::BotInstalled { person, .. }, at, .. }) => {
                let row =
                    ConnectionRow { bot: Some(Reachable::Installed), ..ConnectionRow::new(*person, *at) };
                Some(Row::Connection(Box::new(row)))
            }
            // A completed sign-in is recorded in the account's stream first, then in the connection's.
            (None, Event::Account { hash, event: account::Event::Linked { person, account, .. }, at }) => {
                let accounts = BTreeMap::from([(hash.clone(), account.clone())]);
                let row = ConnectionRow { accounts, ..ConnectionRow::new(*person, *at) };
                Some(Row::Connection(Box::new(row)))
            }
            (row, _) => row,
        }
    }

    fn columns(_: &Key, row: &Row) -> Vec<Value> {
        match row {
            Row::Connection(row) => vec![
                Value::Text(row.person.tenant.to_string()),
                Value::Text(row.person.object_id.to_string()),
                Value::Text(status_name(row.status).to_owned()),
            ],
            Row::Tenant(_) => vec![],
        }
    }
}

/// The status as the API and the columns spell it.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Absent => "absent",
        Status::Linked => "linked",
        Status::Active => "active",
        Status::ReauthorizationRequired => "reauthorization_required",
        Status::ConsentRequired => "consent_required",
        Status::Suspended => "suspended",
        Status::Unlinked => "unlinked",
    }
}

impl TenantRow {
    fn after(mut self, event: &tenant::Event, at: Timestamp) -> Self {
        match event {
            tenant::Event::Seen {} => self.first_seen_at = Some(at),
            tenant::Event::Admitted { name } => {
                self.admission = Admission::Admitted;
                self.name = name.clone().or(self.name);
            }
            tenant::Event::Blocked {} => self.admission = Admission::Blocked,
            tenant::Event::PolicyChanged(policy) => self.policy = *policy,
            tenant::Event::BreakerOpened { surface, .. } => _ = self.breakers.insert(*surface),
            tenant::Event::BreakerClosed { surface } => _ = self.breakers.remove(surface),
            tenant::Event::ConsentAwaited { .. }
            | tenant::Event::ConsentReported { .. }
            | tenant::Event::ConsentTold { .. }
            | tenant::Event::ConsentGranted { .. } => {}
        }
        self
    }
}

impl ConnectionRow {
    fn new(person: PersonId, at: Timestamp) -> Self {
        Self {
            person,
            status: Status::Absent,
            why: None,
            diagnosis: None,
            grant: None,
            linked_at: at,
            changed_at: at,
            chat_known: false,
            bot: None,
            profile: None,
            accounts: BTreeMap::new(),
        }
    }

    /// `None` where accounts were all there was of the connection.
    fn with_account(
        mut self: Box<Self>,
        hash: &AccountHash,
        event: &account::Event,
        at: Timestamp,
    ) -> Option<Box<Self>> {
        match event {
            account::Event::Linked { account, .. } => _ = self.accounts.insert(hash.clone(), account.clone()),
            account::Event::Unlinked { .. } => _ = self.accounts.remove(hash),
            account::Event::LinkRefused { .. } => {}
        }
        self.changed_at = at;
        (self.profile.is_some() || self.bot.is_some() || !self.accounts.is_empty()).then_some(self)
    }

    fn after(mut self: Box<Self>, event: &connection::Event, at: Timestamp) -> Box<Self> {
        self.changed_at = at;
        match event {
            connection::Event::Linked { profile, .. } => {
                self.profile = Some(profile.clone());
                if self.grant.is_none() {
                    self.linked_at = at;
                }
                if matches!(self.status, Status::Absent | Status::Unlinked) {
                    self.status = Status::Linked;
                }
            }
            connection::Event::TokenIssued { grant, grant_number, generation, scopes, expires_at } => {
                (self.status, self.why, self.diagnosis) = (Status::Active, None, None);
                self.grant = Some(GrantRow {
                    id: *grant,
                    number: *grant_number,
                    generation: *generation,
                    scopes: scopes.clone(),
                    issued_at: at,
                    expires_at: *expires_at,
                    expired: false,
                });
            }
            connection::Event::TokenRefreshed { generation, scopes, expires_at, .. } => {
                self.diagnosis = None;
                if let Some(grant) = &mut self.grant {
                    grant.generation = *generation;
                    grant.scopes.clone_from(scopes);
                    (grant.issued_at, grant.expires_at, grant.expired) = (at, *expires_at, false);
                }
            }
            connection::Event::TokenExpired { .. } | connection::Event::TokensRestored { .. } => {
                if let Some(grant) = &mut self.grant {
                    grant.expired = true;
                }
            }
            connection::Event::SignInBegun { .. }
            | connection::Event::RefreshStarted { .. }
            | connection::Event::TokensDestroyed { .. } => {}
            connection::Event::RefreshFailed { diagnosis, .. } => self.diagnosis = Some(diagnosis.clone()),
            connection::Event::ReauthorizationRequired { why, diagnosis, .. } => {
                self.end(Status::ReauthorizationRequired, Some(*why), Some(diagnosis));
            }
            connection::Event::ConsentRequired { diagnosis, .. } => {
                self.end(Status::ConsentRequired, None, Some(diagnosis));
            }
            connection::Event::Suspended { diagnosis, .. } => {
                self.end(Status::Suspended, None, Some(diagnosis));
            }
            connection::Event::Unlinked {} => self.end(Status::Unlinked, None, None),
            connection::Event::ChatFound { .. } => self.chat_known = true,
            connection::Event::ChatLost { .. } => self.chat_known = false,
            connection::Event::BotInstalled { .. } => self.bot = Some(Reachable::Installed),
            connection::Event::BotRemoved { .. } => self.bot = Some(Reachable::Removed),
            connection::Event::BotBlocked {} => self.bot = Some(Reachable::Blocked),
        }
        self
    }

    fn end(&mut self, status: Status, why: Option<ReauthorizationReason>, diagnosis: Option<&Diagnosis>) {
        (self.status, self.why, self.diagnosis) = (status, why, diagnosis.cloned());
    }
}

#[cfg(test)]
mod tests;
