//! Things with short names, for the tests of the read models.

use domain::{
    AccountHash, ClientId, Diagnosis, HubId, KeyedHash, MessageId, ObjectId, PersonId, Sealed, SignInId,
    SurfaceChoice, TenantId, Timestamp,
    aggregate::Aggregate,
    lane::{self, DeferReason, ParkReason, Parked, Surface},
    message::{self, Kind},
};
use uuid::Uuid;

use crate::runner::testing::{Told, told};

pub(crate) fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::from_u128(n))
}

/// Of tenant 100.
pub(crate) fn person(n: u128) -> PersonId {
    PersonId { tenant: tenant(100), object_id: ObjectId(Uuid::from_u128(n)) }
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

pub(crate) fn client(name: &str) -> ClientId {
    name.parse().expect("a good name")
}

pub(crate) fn account(name: &str) -> AccountHash {
    AccountHash(name.into())
}

/// So many seconds after the epoch.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub(crate) fn sealed(text: &str) -> Sealed {
    Sealed { key: "person/1".into(), algorithm: "A256GCM".into(), nonce: "n".into(), ciphertext: text.into() }
}

/// A code of Microsoft's, to be found again.
pub(crate) fn diagnosis(code: &str) -> Diagnosis {
    Diagnosis { code: Some(code.into()), ..Diagnosis::default() }
}

/// [`told`], so many seconds after the epoch.
pub(crate) fn told_at<A: Aggregate>(seconds: i64, id: impl std::fmt::Display, event: &A::Event) -> Told {
    let mut told = told::<A>(id, event);
    told.metadata.recorded_at = at(seconds);
    told
}

/// Message `n` to [`person`] `to`, from the client `okr`.
pub(crate) fn accepted(n: u128, to: u128) -> Told {
    accepted_for(SurfaceChoice::Graph, n, to)
}

pub(crate) fn accepted_for(surface: SurfaceChoice, n: u128, to: u128) -> Told {
    let person = person(to);
    let accepted = message::Accepted {
        lane: person.connection(),
        person,
        account_hash: None,
        client: client("okr"),
        kind: Kind::Text,
        content: sealed("content"),
        content_hash: KeyedHash("k:1".into()),
        request_hash: KeyedHash("k:2".into()),
        expires_at: at(1_000_000),
        surface: Some(surface),
    };
    told_at::<message::Message>(1, message(n), &message::Event::Accepted(Box::new(accepted)))
}

/// An event in the lane of [`person`] `of`.
pub(crate) fn in_lane(of: u128, event: &lane::Event) -> Told {
    told_at::<lane::Lane>(2, person(of).connection(), event)
}

pub(crate) fn started(n: u128, attempt: u32) -> lane::Event {
    lane::Event::DeliveryStarted {
        message: message(n),
        attempt,
        surface: Surface::Graph,
        grant: Some(sign_in(1)),
        generation: Some(1),
        template: None,
        content_hash: None,
        hub: hub(),
        epoch: 1,
        timeout_ms: 30_000,
        client_request_id: Uuid::from_u128(9),
    }
}

pub(crate) fn delivered(n: u128, attempt: u32) -> lane::Event {
    lane::Event::Delivered {
        message: message(n),
        attempt,
        chat_id: "19:chat".into(),
        provider_message_id: Some(format!("provider-{attempt}")),
        provider_request_id: None,
    }
}

pub(crate) fn unknown(n: u128, attempt: u32) -> lane::Event {
    lane::Event::Unknown { message: message(n), attempt, diagnosis: diagnosis("timeout") }
}

pub(crate) fn resent(n: u128, attempt: u32) -> lane::Event {
    lane::Event::Resent { message: message(n), attempt, surface: None }
}

/// Until `seconds` after the epoch.
pub(crate) fn deferred(n: u128, attempt: u32, seconds: i64) -> lane::Event {
    let (message, why) = (message(n), DeferReason::Throttled);
    let (surface, until, diagnosis) = (None, at(seconds), diagnosis("429"));
    lane::Event::Deferred { message, attempt, surface, until, why, diagnosis }
}

/// For want of a grant later than this one.
pub(crate) fn parked(n: u128, attempt: u32, grant_number: u64) -> lane::Event {
    lane::Event::Parked {
        message: message(n),
        attempt,
        parked: Parked {
            surface: Surface::Graph,
            why: ParkReason::ReauthorizationRequired,
            grant_number,
            connection_revision: None,
            look_again_at: None,
            looks: 0,
        },
        diagnosis: diagnosis("AADSTS50173"),
    }
}

pub(crate) fn resumed() -> lane::Event {
    lane::Event::Resumed { surface: Surface::Graph }
}
