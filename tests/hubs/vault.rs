//! A vault that does not take what it is given, or does not say that it did, at each of its appends: nobody loses a grant by
//! it, and nothing is left half-done.

use std::sync::Arc;

use microsoft_simulator::control::{DialsChange, Rotation};
use store::{Keeping, embedded::EmbeddedStore};

use crate::harness::{
    api::{Api, text, to_account, wish},
    browser::{Browser, Page},
    cluster::{Cluster, until, upn},
    faltering::{Faltering, Way},
    microsoft::HOUR,
};

#[tokio::test]
async fn whenever_the_vault_refuses_or_does_not_answer_nobody_loses_a_grant() {
    for way in [Way::RefuseOnce, Way::LoseAnswerOnce] {
        let mut at = 1;
        while told_with(way, at).await {
            at += 1;
        }
        assert!(at > 4, "{way:?}: the story has {at} appends to the vault at most");
    }
}

/// A sign-in, a message, an hour or two, and another message, where refresh tokens are good for one use. False where the
/// vault has no such append in it.
async fn told_with(way: Way, at: usize) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path(), store::embedded::Options::default()).unwrap();
    let vault = Arc::new(Faltering::at_nth(Arc::new(store), way, "vault-", usize::MAX));
    let shared = vault.clone();
    let open = Box::new(move || shared.clone() as Arc<dyn Keeping>);
    let mut cluster = Cluster::on(open, 1, &[], directory);
    let api = cluster.join().await.api.clone();
    cluster.until_shares_are(&[256]).await;
    cluster.microsoft.turn(DialsChange { rotation: Some(Rotation::Strict), ..DialsChange::default() });
    vault.fail_at(at);

    let body = wish("u-1", Some(cluster.microsoft.person(&upn(1))));
    let link = text(&acknowledged(&api, "/v1/sign-ins", "link", &body).await["url"]);
    let mut browser = Browser::new();
    // What was brought may be finished behind the browser's back.
    let connected = until(async || {
        let is_connected = |page: Page| page.title() == "You are connected";
        is_connected(browser.get(&link).await) || is_connected(browser.sign_in(&link, &upn(1)).await)
    });
    assert!(connected.await, "{way:?} at {at}: nobody can sign in");
    for content in ["One", "Two"] {
        let body = to_account("u-1", content);
        let message = text(&acknowledged(&api, "/v1/messages", content, &body).await["id"]);
        let delivered = until(async || api.message(&message).await["status"] == "delivered").await;
        assert!(delivered, "{way:?} at {at}: {:#}", api.message(&message).await);
        cluster.advance(2 * HOUR);
    }
    let mut log = cluster.log();
    log.until("both are delivered", |log| log.ends.len() == 2).await;
    for (name, times) in [
        ("account.linked.v1", 1),
        ("connection.linked.v1", 1),
        ("connection.reauthorization-required.v1", 0),
        ("lane.unknown.v1", 0),
    ] {
        assert_eq!(log.count(name), times, "{way:?} at {at}: {name}");
    }
    assert_eq!(cluster.microsoft.texts(&upn(1)), ["One", "Two"], "{way:?} at {at}");
    vault.failed()
}

/// Asks with the same key until it is acknowledged.
async fn acknowledged(api: &Api, path: &str, key: &str, body: &serde_json::Value) -> serde_json::Value {
    let mut answer = serde_json::Value::Null;
    let acknowledged = until(async || {
        let answered = api.post(path, key, body).await;
        // Nothing was recorded, or it is not known; or the account's link is not finished yet.
        let waits = [404, 503].contains(&answered.status);
        assert!(waits || answered.status < 300, "{answered:?}");
        answer = answered.body;
        !waits
    });
    assert!(acknowledged.await, "{path} is not acknowledged");
    answer
}
