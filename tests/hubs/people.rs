//! What people do at one hub counts at the others.

use domain::account::Account;
use futures_util::future::join_all;
use microsoft_simulator::Kind;
use reqwest::Method;
use uuid::Uuid;

use crate::harness::{
    api::{answer, drawn, to_account},
    browser::Browser,
    cluster::{Cluster, until, upn},
    microsoft::{ADA, HOUR},
    panel::{Endpoint, to_next_stretch},
};

#[tokio::test]
async fn a_thousand_guesses_spread_over_two_hubs_are_five() {
    let product = Endpoint::start().await;
    product.answers(200, r#"{"result":"wrong"}"#);
    let mut cluster = Cluster::start(
        2,
        0,
        &[
            ("PASSWORD__KIND", "endpoint"),
            ("PASSWORD__ENDPOINT_URL", &product.url),
            ("PASSWORD__ENDPOINT_SECRET", "shared"),
            ("SIGN_IN__LINK_LIFE_MINUTES", "60"),
        ],
    )
    .await;
    cluster.advance(to_next_stretch(&cluster.hubs[0].hub));
    let [one, other] = &cluster.hubs[..] else { panic!("two hubs") };
    let link = cluster.microsoft.login_at(&one.hub, ADA, Uuid::from_u128(1)).await.url.to_string();
    let mut browser = Browser::new();
    let token = browser.get(&link).await.csrf().unwrap();
    let doors = [&one.url, &other.url].map(|url| format!("{}/password", link.replace(&one.url, url)));
    for round in 0..125 {
        // At each hub four at once, each from a window of its own.
        let guesses = (0..8).map(|guess| {
            let (mut window, door) = (browser.clone(), &doors[guess % 2]);
            let (password, token) = (format!("guess-{round}-{guess}"), &token);
            async move {
                window.post(door, &[("csrf", token), ("name", "ada"), ("password", &password)]).await.status
            }
        });
        let statuses = join_all(guesses).await;
        assert!(round == 0 || statuses == [429; 8], "round {round}: {statuses:?}");
    }
    assert_eq!(product.asked().len(), 5);
    cluster.hubs.iter().for_each(|member| _ = member.clock.advance(HOUR / 4));
    browser.post(&doors[1], &[("csrf", &token), ("name", "ada"), ("password", "anew")]).await;
    assert_eq!(product.asked().len(), 6, "in the next stretch there are tries again");
}

#[tokio::test]
async fn who_is_unlinked_at_one_hub_is_not_written_to_by_the_other() {
    let mut cluster = Cluster::start(2, 1, &[]).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(1).await;
    let (mut log, shard) = (cluster.log(), cluster.microsoft.person(&upn(1)).connection().shard());
    let owner = usize::from(cluster.hubs[1].hub.shards.holds(shard));
    let [ours, theirs] = [1 - owner, owner].map(|at| cluster.hubs[at].api.clone());
    let before = theirs.send("u-1", "Before").await;
    log.until("it arrives", |log| log.ends.contains_key(&before)).await;
    cluster.microsoft.fault("graph.post", Kind::Status { status: 429, retry_after_seconds: Some(60) });
    theirs.send("u-1", "After").await;
    log.until("it waits", |log| log.count("lane.deferred.v1") == 1).await;
    assert_eq!(answer(ours.request(Method::POST, "/v1/accounts/u-1/unlink")).await.status, 202);
    // For a moment the other hub may go by what it heard before.
    let hub = &cluster.hubs[owner].hub;
    let account = hub.custody.name_account(&"u-1".parse().unwrap());
    let heard = until(async || {
        let linked = |account: &Account| account.linked.is_some();
        !linked(&hub.commands.recall::<Account>(&account, linked).await.unwrap().state)
    });
    assert!(heard.await, "the other hub does not hear of it");
    cluster.advance(HOUR / 30);
    log.until("it is rejected", |log| log.count("lane.rejected.v1") == 1).await;
    assert_eq!(cluster.microsoft.texts(&upn(1)), ["Before"]);
    for api in [ours, theirs] {
        assert_eq!(api.post("/v1/messages", &drawn(), &to_account("u-1", "Again")).await.status, 404);
    }
}
