//! What is known of clients and their keys.

use domain::client::{Client, Event, Role};
use uuid::Uuid;

use super::*;
use crate::{
    fixtures::{at, client, tenant, told_at},
    runner::testing::{Rows, Told, open_for_reading, rows_of},
};

fn of(name: &str, seconds: i64, event: &Event) -> Told {
    told_at::<Client>(seconds, name, event)
}

fn created(name: &str) -> Told {
    let (tenants, return_urls) = (Some(vec![tenant(1)]), vec!["https://product.example/back".into()]);
    of(name, 1, &Event::Created { role: Role::Service, tenants, return_urls })
}

fn key_created(n: u128) -> Event {
    Event::KeyCreated { key: Uuid::from_u128(n), hash: format!("hash-{n}"), expires_at: None }
}

async fn row_of(events: &[Told]) -> ClientRow {
    let rows: Rows<Clients> = rows_of::<Clients>(events).await;
    rows.into_iter().next().expect("a client").1
}

#[tokio::test]
async fn a_client_is_what_was_said_when_it_was_created() {
    let row = row_of(&[created("okr")]).await;
    assert_eq!((row.role, row.tenants, row.created_at), (Role::Service, Some(vec![tenant(1)]), at(1)));
    assert_eq!(row.return_urls, ["https://product.example/back"]);
    assert!(row.keys.is_empty());
}

#[tokio::test]
async fn a_rotated_key_ends_at_the_stated_time_and_never_later_than_it_would_have() {
    let rotated = |n, replaces, until| {
        let (key, replaces) = (Uuid::from_u128(n), Uuid::from_u128(replaces));
        Event::KeyRotated {
            key,
            hash: format!("hash-{n}"),
            expires_at: None,
            replaces,
            replaced_until: at(until),
        }
    };
    let events = [
        created("okr"),
        of("okr", 2, &key_created(1)),
        of("okr", 3, &rotated(2, 1, 100)),
        of("okr", 4, &rotated(3, 1, 200)),
    ];
    let keys = row_of(&events).await.keys;
    let first = &keys[&Uuid::from_u128(1)];
    assert_eq!((first.created_at, first.expires_at), (at(2), Some(at(100))));
    assert!(first.is_good(at(99)) && !first.is_good(at(100)));
    assert_eq!(keys[&Uuid::from_u128(3)].hash, "hash-3");
    assert!(keys[&Uuid::from_u128(3)].is_good(at(1_000_000)));
}

#[tokio::test]
async fn a_revoked_key_is_no_good_from_then_on() {
    let revoked = Event::KeyRevoked { key: Uuid::from_u128(1) };
    let events = [created("okr"), of("okr", 2, &key_created(1)), of("okr", 3, &revoked)];
    let key = row_of(&events).await.keys.remove(&Uuid::from_u128(1)).expect("the key");
    assert_eq!(key.revoked_at, Some(at(3)));
    assert!(!key.is_good(at(3)));
}

#[tokio::test]
async fn a_role_changes_and_keys_stay() {
    let changed = Event::RoleChanged { role: Role::Operator };
    let row = row_of(&[created("okr"), of("okr", 2, &key_created(1)), of("okr", 3, &changed)]).await;
    assert_eq!((row.role, row.keys.len()), (Role::Operator, 1));
}

#[tokio::test]
async fn all_clients_come_by_name() {
    let open = open_for_reading::<Clients>(&[created("okr"), created("admin")]).await;
    let names: Vec<_> = all(&open.model).await.unwrap().into_iter().map(|(client, _)| client).collect();
    assert_eq!(names, [client("admin"), client("okr")]);
}
