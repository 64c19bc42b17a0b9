//! What every vault is held to: `vault_contract!(an expression giving an Arc<dyn Vault>)` makes a test of each function.

use std::sync::Arc;

use crate::{
    cipher,
    vault::{Entry, EntryId, Kind, Vault, VaultError, Version},
};

/// One test for each rule; the expression is evaluated anew, and may await, in each.
#[macro_export]
macro_rules! vault_contract {
    ($vault:expr) => {
        $crate::vault_contract!($vault;
            a_value_is_read_as_it_was_put
            an_equal_version_is_a_success_only_with_the_same_bytes
            an_older_claim_is_refused
            a_later_claim_replaces_the_newest_generation
            generations_follow_each_other_from_one
            ids_and_kinds_are_apart
            forgetting_leaves_the_newest
            a_destroyed_id_refuses_every_later_put
            an_id_can_be_destroyed_before_its_first_put
            of_many_puts_at_once_one_wins
        );
    };
    ($vault:expr; $($rule:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::contract::$rule($vault).await;
            }
        )*
    };
}

pub async fn a_value_is_read_as_it_was_put(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    assert_eq!(vault.get(&id, None).await, Ok(None));
    assert_eq!(vault.get(&id, Some(1)).await, Ok(None));
    vault.put(&id, version(1, 7), b"first").await.unwrap();
    vault.put(&id, version(2, 3), b"second").await.unwrap();
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(2, 3, b"second"))));
    assert_eq!(vault.get(&id, Some(1)).await, Ok(Some(entry(1, 7, b"first"))));
    assert_eq!(vault.get(&id, Some(3)).await, Ok(None));
}

pub async fn an_equal_version_is_a_success_only_with_the_same_bytes(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.put(&id, version(1, 7), b"first").await.unwrap();
    assert_eq!(vault.put(&id, version(1, 7), b"first").await, Ok(()));
    assert_eq!(vault.put(&id, version(1, 7), b"other").await, Err(VaultError::Superseded));
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(1, 7, b"first"))));
}

pub async fn an_older_claim_is_refused(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.put(&id, version(1, 7), b"first").await.unwrap();
    assert_eq!(vault.put(&id, version(1, 6), b"late").await, Err(VaultError::Superseded));
    vault.put(&id, version(2, 8), b"second").await.unwrap();
    assert_eq!(vault.put(&id, version(1, 9), b"late").await, Err(VaultError::Superseded));
    assert_eq!(vault.put(&id, version(1, 7), b"first").await, Err(VaultError::Superseded));
    assert_eq!(vault.get(&id, Some(1)).await, Ok(Some(entry(1, 7, b"first"))));
}

pub async fn a_later_claim_replaces_the_newest_generation(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.put(&id, version(1, 7), b"first").await.unwrap();
    vault.put(&id, version(1, 8), b"again").await.unwrap();
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(1, 8, b"again"))));
    assert_eq!(vault.get(&id, Some(1)).await, Ok(Some(entry(1, 8, b"again"))));
}

pub async fn generations_follow_each_other_from_one(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    for generation in [0, 2, u64::MAX] {
        assert_eq!(vault.put(&id, version(generation, 1), b"").await, Err(VaultError::OutOfOrder));
    }
    vault.put(&id, version(1, 1), b"").await.unwrap();
    assert_eq!(vault.put(&id, version(3, 1), b"").await, Err(VaultError::OutOfOrder));
    assert_eq!(vault.put(&id, version(2, 1), b"").await, Ok(()));
}

pub async fn ids_and_kinds_are_apart(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    let same_id = EntryId { kind: Kind::Person, ..id.clone() };
    vault.put(&id, version(1, 1), b"grant").await.unwrap();
    vault.put(&same_id, version(1, 1), b"person").await.unwrap();
    vault.put(&fresh(Kind::Grant), version(1, 1), b"other").await.unwrap();
    vault.destroy(&same_id).await.unwrap();
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(1, 1, b"grant"))));
}

pub async fn forgetting_leaves_the_newest(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.forget_before(&id, 5).await.unwrap();
    for generation in 1..=3 {
        vault.put(&id, version(generation, 1), b"tokens").await.unwrap();
    }
    vault.forget_before(&id, 2).await.unwrap();
    assert_eq!(vault.get(&id, Some(1)).await, Ok(None));
    assert_eq!(vault.get(&id, Some(2)).await, Ok(Some(entry(2, 1, b"tokens"))));
    vault.forget_before(&id, u64::MAX).await.unwrap();
    assert_eq!(vault.get(&id, Some(2)).await, Ok(None));
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(3, 1, b"tokens"))));
    assert_eq!(vault.put(&id, version(1, 9), b"late").await, Err(VaultError::Superseded));
}

pub async fn a_destroyed_id_refuses_every_later_put(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.put(&id, version(1, 7), b"first").await.unwrap();
    vault.destroy(&id).await.unwrap();
    vault.destroy(&id).await.unwrap();
    vault.forget_before(&id, 1).await.unwrap();
    assert_eq!(vault.get(&id, None).await, Err(VaultError::Destroyed));
    assert_eq!(vault.get(&id, Some(1)).await, Err(VaultError::Destroyed));
    for version in [version(1, 7), version(1, 8), version(2, 9)] {
        assert_eq!(vault.put(&id, version, b"first").await, Err(VaultError::Destroyed));
    }
}

pub async fn an_id_can_be_destroyed_before_its_first_put(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Grant);
    vault.destroy(&id).await.unwrap();
    assert_eq!(vault.put(&id, version(1, 1), b"late").await, Err(VaultError::Destroyed));
}

pub async fn of_many_puts_at_once_one_wins(vault: Arc<dyn Vault>) {
    let id = fresh(Kind::Month);
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..16_u8 {
        let (vault, id) = (Arc::clone(&vault), id.clone());
        racers.spawn(async move { (racer, vault.put(&id, version(1, 0), &[racer]).await) });
    }
    let outcomes = racers.join_all().await;
    let winners: Vec<u8> = outcomes.iter().filter(|(_, put)| put.is_ok()).map(|(racer, _)| *racer).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|(_, put)| matches!(put, Ok(()) | Err(VaultError::Superseded))),
        "{outcomes:?}"
    );
    assert_eq!(vault.get(&id, None).await, Ok(Some(entry(1, 0, &winners))));
}

/// An id that was never used, also in a vault that outlives the test.
fn fresh(kind: Kind) -> EntryId {
    EntryId::new(kind, uuid::Builder::from_random_bytes(cipher::random()).into_uuid().to_string())
}

fn version(generation: u64, claim: u64) -> Version {
    Version { generation, claim }
}

fn entry(generation: u64, claim: u64, wrapped: &[u8]) -> Entry {
    Entry { version: version(generation, claim), wrapped: wrapped.to_vec() }
}
