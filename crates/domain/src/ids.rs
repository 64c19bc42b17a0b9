//! Names of things: parsed once, at the edge, and known to be good from then on.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

/// The text is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct NotAnId {
    pub what: &'static str,
    pub problem: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| NotAnId { what: $what, problem: "must be a UUID such as 3f0e8a52-6c1d-4b7e-9a43-5d2f1c0b9e87" })
            }
        }
    };
}

uuid_id!(
    /// A Microsoft Entra tenant (`tid`).
    TenantId, "a tenant id"
);
uuid_id!(
    /// A person within a tenant (`oid`); the same human has another one in each tenant.
    ObjectId, "an object id"
);
uuid_id!(
    /// A person's link to Microsoft; also the name of that person's lane. See [`PersonId::connection`].
    ConnectionId, "a connection id"
);
uuid_id!(
    /// An interactive sign-in, and, once it brought tokens, the grant they belong to.
    SignInId, "a sign-in id"
);
uuid_id!(
    /// A message of the product to a person.
    MessageId, "a message id"
);
uuid_id!(
    /// Something that somebody did to the bot in Teams.
    ActivityId, "an activity id"
);
uuid_id!(
    /// Something that the bot says of its own.
    NoticeId, "a notice id"
);
uuid_id!(
    /// One running process of the hub.
    HubId, "a hub id"
);

/// One of the 256 parts into which lanes, connections and sign-ins are spread over the hubs. A part is one hub's at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

impl ShardId {
    pub const COUNT: usize = 256;

    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Ids are random or hashes, so any byte of them spreads evenly. It can't be changed while hubs of both kinds run.
    fn of(id: Uuid) -> Self {
        Self(id.as_bytes()[15])
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ShardId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let problem = "must be a number from 0 to 255";
        text.parse().map(Self).map_err(|_| NotAnId { what: "a shard", problem })
    }
}

impl ConnectionId {
    pub fn shard(self) -> ShardId {
        ShardId::of(self.0)
    }
}

impl SignInId {
    pub fn shard(self) -> ShardId {
        ShardId::of(self.0)
    }
}

impl TenantId {
    /// Where Microsoft keeps personal accounts; no Teams call works for them.
    pub const PERSONAL_ACCOUNTS: Self = Self(Uuid::from_u128(0x9188_040d_6c67_4c5b_b112_36a3_04b6_6dad));

    pub fn shard(self) -> ShardId {
        ShardId::of(self.0)
    }
}

/// Names our UUIDv5 ids; drawn once, never to change, since streams are named by what comes of it.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d2c_55f0_27c4_4f5b_9f0b_6c1a_4e7d_3b92);

/// Who a person is: tenant and object id, never an e-mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PersonId {
    pub tenant: TenantId,
    pub object_id: ObjectId,
}

impl PersonId {
    /// UUIDv5 of `tid` and `oid`: anyone who knows the person can find the stream.
    pub fn connection(self) -> ConnectionId {
        let mut name = [0; 32];
        name[..16].copy_from_slice(self.tenant.0.as_bytes());
        name[16..].copy_from_slice(self.object_id.0.as_bytes());
        ConnectionId(Uuid::new_v5(&NAMESPACE, &name))
    }
}

impl ConnectionId {
    /// The name of the first key under which this person's data is sealed. Everybody who links the person names the same
    /// one; once it is destroyed the next one has another number.
    pub fn first_person_key(self) -> Uuid {
        Uuid::new_v5(&self.0, b"person-key-1")
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.object_id)
    }
}

/// A keyed hash of something personal, with the key's name in front: `naming-1:9f86d0…` (HMAC-SHA-256, hex).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct KeyedHash(pub Arc<str>);

impl fmt::Display for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keyed hash under which an account's stream is named: 64 hex digits under the naming key, which never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AccountHash(pub Arc<str>);

impl fmt::Display for AccountHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The product's own user id: opaque, 1 to 256 bytes, no control characters. Personal data, so never in clear in an event.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct AccountId(Arc<str>);

impl AccountId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountId(…)")
    }
}

impl FromStr for AccountId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let problem = if text.is_empty() || text.len() > 256 {
            "must have 1 to 256 bytes"
        } else if text.chars().any(char::is_control) {
            "must not contain control characters"
        } else {
            return Ok(Self(text.into()));
        };
        Err(NotAnId { what: "an account", problem })
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A backend of the product that calls the API: 1 to 64 of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ClientId(Arc<str>);

impl ClientId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClientId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let good = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if good {
            return Ok(Self(text.into()));
        }
        Err(NotAnId {
            what: "a client id",
            problem: "must have 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter",
        })
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What makes a command happen once: stored with its events, looked for on loading. 1 to 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// # Panics
    /// When empty or longer than 200 bytes: command ids are composed by our own code.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        assert!((1..=200).contains(&text.len()), "a command id has 1 to 200 bytes");
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_named_by_tenant_and_object_id_for_ever() {
        let person =
            PersonId { tenant: TenantId(Uuid::from_u128(1)), object_id: ObjectId(Uuid::from_u128(2)) };
        assert_eq!(person.connection().to_string(), "c5515040-5eaa-5ba8-a37a-f0fa243ba37d");
    }

    #[test]
    fn client_ids_are_lower_case_names() {
        assert!("okr-backend".parse::<ClientId>().is_ok());
        for bad in ["", "1a", "A", "a b", "ä"] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_account_does_not_show_in_debug_output() {
        let account: AccountId = "alice@example.com".parse().unwrap();
        assert!(!format!("{account:?}").contains("alice"));
    }
}
