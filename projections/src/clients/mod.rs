//! The clients of the API and the hashes of their keys: what requests are let in by.

use std::collections::BTreeMap;

use anyhow::Result;
use domain::{
    ClientId, TenantId, Timestamp,
    client::{self, Client, Role},
};
use serde::{Deserialize, Serialize};
use store::Filter;
use uuid::Uuid;

use crate::{EventRef, Projection, ReadModel, Table, Unreadable};

/// One row per client.
pub struct Clients;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRow {
    pub role: Role,
    /// `None`: every tenant.
    pub tenants: Option<Vec<TenantId>>,
    pub return_urls: Vec<String>,
    pub created_at: Timestamp,
    pub keys: BTreeMap<Uuid, KeyRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    pub hash: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl KeyRow {
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// An event that this projection folds.
pub struct Event {
    client: ClientId,
    what: client::Event,
    at: Timestamp,
}

impl Projection for Clients {
    const NAME: &'static str = "clients.v1";
    const TABLES: &'static [Table] =
        &[Table { name: "clients", columns: &[], fixed: 0, age: None, indexes: &[] }];

    type Key = ClientId;
    type Row = ClientRow;
    type Event = Event;

    fn filter() -> Filter {
        Filter::categories(["client"])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Event>, Unreadable> {
        Ok(match event.decode::<Client>()? {
            Some(of_client) => {
                Some(Event { client: event.stream_id()?, what: of_client, at: event.about()?.recorded_at })
            }
            None => None,
        })
    }

    fn keys(event: &Event, keys: &mut Vec<ClientId>) {
        keys.push(event.client.clone());
    }

    fn evolve(
        _: &ClientId,
        row: Option<ClientRow>,
        Event { what: event, at, .. }: &Event,
    ) -> Option<ClientRow> {
        let key = |hash: &String, expires_at: &Option<Timestamp>| KeyRow {
            hash: hash.clone(),
            created_at: *at,
            expires_at: *expires_at,
            revoked_at: None,
        };
        if let client::Event::Created { role, tenants, return_urls } = event {
            let (tenants, return_urls) = (tenants.clone(), return_urls.clone());
            return Some(ClientRow {
                role: *role,
                tenants,
                return_urls,
                created_at: *at,
                keys: BTreeMap::new(),
            });
        }
        let mut row = row?;
        match event {
            client::Event::Created { .. } => {}
            client::Event::KeyCreated { key: id, hash, expires_at } => {
                row.keys.insert(*id, key(hash, expires_at));
            }
            client::Event::KeyRotated { key: id, hash, expires_at, replaces, replaced_until } => {
                if let Some(old) = row.keys.get_mut(replaces) {
                    old.expires_at =
                        Some(old.expires_at.map_or(*replaced_until, |end| end.min(*replaced_until)));
                }
                row.keys.insert(*id, key(hash, expires_at));
            }
            client::Event::KeyRevoked { key } => {
                if let Some(key) = row.keys.get_mut(key) {
                    key.revoked_at = Some(*at);
                }
            }
            client::Event::RoleChanged { role } => row.role = *role,
        }
        Some(row)
    }
}

/// All clients, by name.
pub async fn all(model: &ReadModel<Clients>) -> Result<Vec<(ClientId, ClientRow)>> {
    model.query(|reader| reader.select(0, "SELECT key, body FROM clients ORDER BY key", [])).await
}

#[cfg(test)]
mod tests;
