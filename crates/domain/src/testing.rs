//! Things with short names, for the tests of the rules.

use uuid::Uuid;

use crate::{ClientId, HubId, MessageId, ObjectId, PersonId, Sealed, SignInId, TenantId, Timestamp};

pub(crate) fn person(n: u128) -> PersonId {
    PersonId { tenant: TenantId(Uuid::from_u128(100)), object_id: ObjectId(Uuid::from_u128(n)) }
}

pub(crate) fn sign_in(n: u128) -> SignInId {
    SignInId(Uuid::from_u128(n))
}

pub(crate) fn message(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

pub(crate) fn hub() -> HubId {
    HubId(Uuid::from_u128(500))
}

pub(crate) fn client() -> ClientId {
    "okr".parse().unwrap()
}

/// So many seconds after the epoch.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub(crate) fn sealed() -> Sealed {
    Sealed { key: "person/1".into(), algorithm: "A256GCM".into(), nonce: "n".into(), ciphertext: "c".into() }
}
