//! A backend of the product that calls the API: its role, what it may see, and its keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Aggregate, TenantId, Timestamp};

/// What a client may do; each route names the roles that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Appends messages and sign-ins, and sees its own.
    Service,
    /// Reads everything but content, and changes nothing.
    Auditor,
    /// Looks after deliveries, tenants and read models.
    Operator,
    /// Looks after clients and their keys.
    Admin,
}

/// A client as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    pub profile: Option<Profile>,
    pub keys: BTreeMap<Uuid, Key>,
}

/// What was said when the client was created, with the role as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub role: Role,
    /// `None`: every tenant.
    pub tenants: Option<Vec<TenantId>>,
    /// Where a browser may be sent after a sign-in that this client began.
    pub return_urls: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub hash: String,
    pub expires_at: Option<Timestamp>,
    pub revoked: bool,
}

impl Key {
    fn is_good(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Client {
    /// The role, when one of the client's keys has this hash and is good at `now`.
    pub fn authenticates(&self, hash: &str, now: Timestamp) -> Option<&Profile> {
        let good = |key: &Key| key.hash == hash && key.is_good(now);
        self.keys.values().any(good).then_some(self.profile.as_ref()).flatten()
    }

    /// One of its keys is good: without one it can do nothing, and revoking them all ends what it may.
    pub fn has_good_key(&self, now: Timestamp) -> bool {
        self.keys.values().any(|key| key.is_good(now))
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Create {
        role: Role,
        tenants: Option<Vec<TenantId>>,
        return_urls: Vec<String>,
    },
    CreateKey {
        key: Uuid,
        hash: String,
        expires_at: Option<Timestamp>,
    },
    /// The replaced key stays good until `replaced_until`, so that it can be changed everywhere first.
    RotateKey {
        key: Uuid,
        hash: String,
        expires_at: Option<Timestamp>,
        replaces: Uuid,
        replaced_until: Timestamp,
    },
    RevokeKey {
        key: Uuid,
    },
    ChangeRole {
        role: Role,
    },
}

/// What can happen to a client, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "client.created.v1")]
    Created {
        role: Role,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenants: Option<Vec<TenantId>>,
        return_urls: Vec<String>,
    },
    #[serde(rename = "client.key-created.v1")]
    KeyCreated {
        key: Uuid,
        /// SHA-256 of the key, hex.
        hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    #[serde(rename = "client.key-rotated.v1")]
    KeyRotated {
        key: Uuid,
        hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        replaces: Uuid,
        replaced_until: Timestamp,
    },
    #[serde(rename = "client.key-revoked.v1")]
    KeyRevoked { key: Uuid },
    #[serde(rename = "client.role-changed.v1")]
    RoleChanged { role: Role },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is a client of this name already")]
    Exists,
    #[error("there is no such client")]
    NoSuchClient,
    #[error("the client has no such key, or it is revoked")]
    NoSuchKey,
}

impl Aggregate for Client {
    const CATEGORY: &'static str = "client";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Some(profile) = &self.profile else {
            return match command {
                Command::Create { role, tenants, return_urls } => {
                    Ok(vec![Event::Created { role, tenants, return_urls }])
                }
                _ => Err(Refusal::NoSuchClient),
            };
        };
        let live = |key: &Uuid| self.keys.get(key).is_some_and(|key| !key.revoked);
        match command {
            Command::Create { .. } => Err(Refusal::Exists),
            Command::CreateKey { key, hash, expires_at } => {
                Ok(vec![Event::KeyCreated { key, hash, expires_at }])
            }
            Command::RotateKey { key, hash, expires_at, replaces, replaced_until } if live(&replaces) => {
                Ok(vec![Event::KeyRotated { key, hash, expires_at, replaces, replaced_until }])
            }
            Command::RevokeKey { key } if live(&key) => Ok(vec![Event::KeyRevoked { key }]),
            Command::RotateKey { .. } | Command::RevokeKey { .. } => Err(Refusal::NoSuchKey),
            Command::ChangeRole { role } if role == profile.role => Ok(vec![]),
            Command::ChangeRole { role } => Ok(vec![Event::RoleChanged { role }]),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Created { role, tenants, return_urls } => {
                self.profile = Some(Profile { role, tenants, return_urls });
            }
            Event::KeyCreated { key, hash, expires_at } => {
                self.keys.insert(key, Key { hash, expires_at, revoked: false });
            }
            Event::KeyRotated { key, hash, expires_at, replaces, replaced_until } => {
                if let Some(old) = self.keys.get_mut(&replaces) {
                    old.expires_at =
                        Some(old.expires_at.map_or(replaced_until, |end| end.min(replaced_until)));
                }
                self.keys.insert(key, Key { hash, expires_at, revoked: false });
            }
            Event::KeyRevoked { key } => {
                if let Some(key) = self.keys.get_mut(&key) {
                    key.revoked = true;
                }
            }
            Event::RoleChanged { role } => {
                if let Some(profile) = &mut self.profile {
                    profile.role = role;
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;

    fn created() -> Event {
        Event::Created { role: Role::Service, tenants: None, return_urls: vec![] }
    }

    fn key(n: u128) -> Event {
        Event::KeyCreated { key: Uuid::from_u128(n), hash: format!("hash-{n}"), expires_at: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_client_is_created_once() {
        let create = Command::Create { role: Role::Admin, tenants: None, return_urls: vec![] };
        given::<Client>([created()]).when(create).refused(Refusal::Exists);
        given::<Client>([])
            .when(Command::RevokeKey { key: Uuid::from_u128(1) })
            .refused(Refusal::NoSuchClient);
    }

    #[test]
    fn a_rotated_key_is_good_until_its_time_is_over() {
        let rotated = Event::KeyRotated {
            key: Uuid::from_u128(2),
            hash: "hash-2".into(),
            expires_at: None,
            replaces: Uuid::from_u128(1),
            replaced_until: at(100),
        };
        let client = [created(), key(1), rotated].into_iter().fold(Client::default(), Client::evolve);
        assert!(client.authenticates("hash-1", at(99)).is_some());
        assert!(client.authenticates("hash-1", at(100)).is_none());
        assert!(client.authenticates("hash-2", at(100)).is_some());
        assert!(client.authenticates("hash-3", at(0)).is_none());
        assert!(client.has_good_key(at(100)));
    }

    #[test]
    fn a_revoked_key_opens_nothing_and_cannot_be_rotated() {
        let revoked = Event::KeyRevoked { key: Uuid::from_u128(1) };
        let client = [created(), key(1), revoked.clone()].into_iter().fold(Client::default(), Client::evolve);
        assert!(client.authenticates("hash-1", at(0)).is_none());
        assert!(!client.has_good_key(at(0)));
        assert!(!Client::default().evolve(created()).has_good_key(at(0)));
        given::<Client>([created(), key(1), revoked])
            .when(Command::RevokeKey { key: Uuid::from_u128(1) })
            .refused(Refusal::NoSuchKey);
    }
}
