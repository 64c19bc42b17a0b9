//! Who works what, as hubs come and go.

use microsoft_simulator::Kind;
use reqwest::Method;
use serde_json::json;

use store::{Filter, Position};

use crate::harness::{
    api::{answer, drawn, text},
    browser::Browser,
    cluster::{Cluster, Log, Member, until, upn},
    intake::{answers, event, message, of_account, submit, submitted},
    microsoft::{ADA, HOUR},
    secrets::{Needle, hold_files_free, hold_free, issued},
};

/// The lease ends, but not where all stands still for a moment.
const ENDING: &[(&str, &str)] = &[("HUBS__LEASE_MS", "3000")];

#[tokio::test]
async fn hubs_that_come_get_their_part_and_hubs_that_go_give_theirs_back_at_once() {
    let mut cluster = Cluster::start(1, 0, &[]).await;
    cluster.until_shares_are(&[256]).await;
    cluster.join().await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.join().await;
    let mut log = cluster.log();
    until_even(&cluster, 3).await;
    cluster.stop(1).await;
    until_even(&cluster, 2).await;
    cluster.stop(0).await;
    cluster.until_shares_are(&[256]).await;
    let hubs = cluster.hubs[0].hub.shards.hubs();
    let working: Vec<_> = hubs.iter().filter(|hub| hub.shards > 0).map(|hub| (hub.id, hub.shards)).collect();
    assert_eq!(working, [(cluster.hubs[0].hub.id, 256)]);
    log.until("two have left", |log| {
        log.events.iter().filter(|event| event.data["leaving"] == true).count() == 2
    })
    .await;
}

/// Waits until so many hubs have all shards, none more than one more than another.
async fn until_even(cluster: &Cluster, hubs: usize) {
    let least = 256 / hubs;
    let even = until(async || {
        let shares = cluster.shares();
        shares.iter().sum::<usize>() == 256 && shares.iter().all(|share| *share >= least)
    });
    assert!(even.await, "{:?}", cluster.shares());
}

#[tokio::test]
async fn what_a_dead_hub_had_is_worked_by_the_others() {
    let mut cluster = Cluster::start(3, 0, ENDING).await;
    until_even(&cluster, 3).await;
    cluster.kill(0).await;
    until_even(&cluster, 2).await;
    cluster.kill(0).await;
    cluster.until_shares_are(&[256]).await;
}

#[tokio::test]
async fn a_hub_that_is_cut_off_works_nothing_says_so_and_comes_back() {
    // Ten leases have to go by in it.
    let cluster = Cluster::start(2, 0, &[("HUBS__LEASE_MS", "1000")]).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.hubs[0].line.hold_up();
    cluster.until_shares_are(&[0, 256]).await;
    // At once: who is silent for long is forgotten.
    let told = until(async || states(&cluster.hubs[1]).await == ["working", "silent"]).await;
    assert!(told, "the other hub does not tell");
    let ready = cluster.hubs[0].api.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    let failing = ready.body["checks"].as_array().unwrap().iter().find(|check| check["ready"] == false);
    assert_eq!(failing.unwrap()["name"], "heartbeat");
    // In the end a key may have been revoked meanwhile; what the hub knows of itself it tells all the same.
    let refused = until(async || cluster.hubs[0].api.get("/v1/tenants").await.status == 503).await;
    assert!(refused, "keys are still good");
    cluster.hubs[0].api.get("/v1/tenants").await.is_problem(503, "unavailable");
    assert_eq!(states(&cluster.hubs[0]).await, ["silent", "working"]);
    assert!(cluster.hubs[0].line.let_go());
    cluster.until_shares_are(&[128, 128]).await;
}

/// What a hub says of itself, and of the other one.
async fn states(of: &Member) -> [String; 2] {
    let answer = of.api.get("/v1/hubs").await;
    let items = answer.body["items"].as_array().unwrap();
    let state = |this| text(&items.iter().find(|item| item["this"] == this).unwrap()["state"]);
    [state(true), state(false)]
}

#[tokio::test]
async fn hubs_tell_who_works_how_much() {
    let cluster = Cluster::start(2, 0, &[]).await;
    cluster.until_shares_are(&[128, 128]).await;
    for Member { api, .. } in &cluster.hubs {
        // Each tells what it has read in the log of the other, which may be a moment behind.
        let mut body = json!(null);
        let listed = until(async || {
            body = api.get("/v1/hubs").await.body;
            let items = body["items"].as_array().unwrap();
            items.iter().map(|item| &item["shards"]).eq([128, 128]) && body["shards_free"] == 0
        });
        assert!(listed.await, "{body}");
        let mut metrics = String::new();
        let measured = until(async || {
            metrics = api.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
            let mut lines = ["chancery_shards_owned 128", "chancery_hubs_living 2"].into_iter();
            lines.all(|line| metrics.lines().any(|it| it == line))
        });
        assert!(measured.await, "{metrics}");
        assert!(metrics.contains("chancery_shard_moves_total{what=\"taken\"}"), "{metrics}");
    }
}

#[tokio::test]
async fn clocks_that_are_moved_by_hours_move_no_shard_and_send_nothing_twice() {
    let cluster = Cluster::start(2, 8, &[("HUBS__LEASE_MS", "10000")]).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(8).await;
    let mut log = cluster.log();
    let head = cluster.store.head().await.unwrap();
    log.until("the present", |log| log.events.last().is_some_and(|event| event.position >= head)).await;
    let moved = |log: &Log| log.count("shard.taken.v1") + log.count("shard.released.v1");
    let (before, beats) = (moved(&log), log.count("hub.heartbeat.v1"));
    cluster.hubs[1].clock.advance(5 * HOUR);
    for number in 1..=8 {
        let id = cluster.hubs[number as usize % 2].api.send(&format!("u-{number}"), "Once").await;
        log.until("it is delivered", |log| log.ends.get(&id).is_some_and(|end| end == "lane.delivered.v1"))
            .await;
        assert_eq!(cluster.microsoft.texts(&upn(number)), ["Once"]);
    }
    // By these clocks the other hub's lease is over at each of its beats.
    log.until("beats", |log| log.count("hub.heartbeat.v1") > beats + 40).await;
    cluster.until_shares_are(&[128, 128]).await;
    assert_eq!(moved(&log), before);
}

#[tokio::test]
async fn a_sign_in_begun_at_one_hub_is_finished_at_another() {
    let cluster = Cluster::start(2, 0, &[]).await;
    let [one, other] = &cluster.hubs[..] else { panic!("two hubs") };
    let at = |member: &Member, url: &str| url.replace(&one.url, &member.url);
    let link = one.api.invite("u-1", None).await;
    let mut browser = Browser::new();
    let callback = browser.callback(&at(other, &link.url), ADA).await;
    let page = browser.get(&at(one, &callback)).await;
    assert!(page.location.is_some(), "{}", page.text);
    assert_eq!(other.api.confirm(&link.id, &page.code()).await.status, 204);
    assert_eq!(one.api.sign_in(&link.id).await["status"], "completed");
    let id = other.api.send("u-1", "Hello").await;
    let mut log = cluster.log();
    log.until("the message arrives", |log| log.ends.contains_key(&id)).await;
    assert_eq!(cluster.microsoft.texts(ADA), ["Hello"]);
}

#[tokio::test]
async fn a_key_revoked_at_one_hub_is_refused_by_the_other() {
    let cluster = Cluster::start(2, 0, &[]).await;
    let [one, other] = &cluster.hubs[..] else { panic!("two hubs") };
    let create = serde_json::json!({ "id": "auditor", "role": "auditor" });
    assert_eq!(one.api.post("/v1/clients", &drawn(), &create).await.status, 201);
    let key =
        answer(one.api.request(Method::POST, "/v1/clients/auditor/keys").json(&serde_json::json!({}))).await;
    let auditor = other.api.with_key(&text(&key.body["key"]));
    let good = until(async || auditor.get("/v1/tenants").await.status == 200).await;
    assert!(good, "the key is not good at the other hub");
    let path = format!("/v1/clients/auditor/keys/{}", text(&key.body["key_id"]));
    assert_eq!(answer(one.api.request(Method::DELETE, &path)).await.status, 204);
    let refused = until(async || auditor.get("/v1/tenants").await.status == 401).await;
    assert!(refused, "the key is not refused at the other hub");
}

#[tokio::test]
async fn a_breaker_that_one_hub_opened_holds_the_other_back_too() {
    let cluster = Cluster::start(2, 8, &[("DELIVERY__BREAKER_UNKNOWNS", "2")]).await;
    cluster.link_crowd(8).await;
    cluster.until_shares_are(&[128, 128]).await;
    let of = |at: usize| {
        let shard = |number: u32| cluster.microsoft.person(&upn(number)).connection().shard();
        (1..=8).find(|number| cluster.hubs[at].hub.shards.holds(shard(*number))).unwrap()
    };
    let (first, second) = (of(0), of(1));
    let api = &cluster.hubs[0].api;
    let mut log = cluster.log();
    // Both have asked once, and heard that nothing is wrong.
    for number in [first, second] {
        let id = api.send(&format!("u-{number}"), "Before").await;
        log.until("an outcome", |log| log.ends.contains_key(&id)).await;
    }
    cluster.microsoft.faults("graph.me", 1000, Kind::Status { status: 503, retry_after_seconds: None });
    cluster.microsoft.fault("graph.post", Kind::AcceptThenStatus { status: 504 });
    api.send(&format!("u-{first}"), "Doubted").await;
    log.until("the breaker", |log| log.count("tenant.breaker-opened.v1") == 1).await;
    let held = api.send(&format!("u-{second}"), "Held").await;
    // Nobody but the other hub has anything to ask for.
    cluster.microsoft.called("graph.me", 3).await;
    assert_eq!(cluster.microsoft.texts(&upn(second)), ["Before"]);
    cluster.microsoft.simulator.clear_faults();
    log.until("it goes on", |log| log.ends.contains_key(&held)).await;
    assert_eq!(log.count("tenant.breaker-opened.v1"), 1);
}

#[tokio::test]
async fn what_is_submitted_is_answered_once_and_in_order_though_its_hub_dies() {
    let mut cluster = Cluster::start(2, 4, ENDING).await;
    cluster.link_crowd(4).await;
    let (id, role) = ("shop", "service");
    let api = &cluster.hubs[1].api;
    assert_eq!(api.post("/v1/clients", &drawn(), &json!({ "id": id, "role": role })).await.status, 201);
    assert_eq!(api.post("/v1/clients/shop/keys", &drawn(), &json!({})).await.status, 201);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for number in 0..40 {
        for person in 1..=4 {
            let account = format!("u-{person}");
            let message = message("shop", &drawn(), &account, &format!("{number:02}"));
            let events = vec![submitted(&message), event("message.submitted.v1", "nonsense")];
            let ids = submit(cluster.store.as_ref(), of_account(&account), events).await;
            good.push(ids[0]);
            bad.push(ids[1]);
        }
        if number == 20 {
            cluster.kill(0).await;
        }
    }
    let mut log = cluster.log();
    log.until("all have come to an end", |log| log.ends.len() == good.len()).await;
    log.until("all are answered", |log| log.count("intake.rejected.v1") == bad.len()).await;
    for (ids, wanted) in [(&good, "accepted"), (&bad, "not_json")] {
        for id in ids {
            let told: Vec<_> = answers(&log.events, *id).into_iter().map(|(how, ..)| how).collect();
            assert_eq!(told, [wanted]);
        }
    }
    for person in 1..=4 {
        let arrived = cluster.microsoft.texts(&upn(person));
        assert!(arrived.is_sorted() && arrived.len() <= 40, "{arrived:?}");
    }
}

#[tokio::test]
async fn what_was_typed_and_what_opens_doors_is_in_no_event_of_a_shared_store_not_even_in_its_vault() {
    let cluster = Cluster::start(2, 1, &[]).await;
    cluster.link_crowd(1).await;
    cluster.microsoft.listen(&cluster.hubs[0].url);
    // It lies in the vault for as long as the answer has to wait.
    let wait = Kind::Status { status: 429, retry_after_seconds: Some(3600) };
    cluster.microsoft.fault("connector.send", wait);
    let typed = "a text that is for nobody to find";
    assert_eq!(cluster.microsoft.say(&upn(1), typed).await, 200);
    cluster.log().until("the answer waits", |log| log.count("notice.failed.v1") == 1).await;
    let mut needles = issued(&cluster.microsoft.simulator);
    needles.push(Needle::new("what was typed", typed));
    let page = cluster.store.read_all(Position::START, &Filter::all(), 10_000).await.unwrap();
    let of_vault = page.events.iter().filter(|event| event.stream.as_str().starts_with("vault-")).count();
    assert!(of_vault > 2, "tokens, keys and what was typed are there");
    for event in &page.events {
        let text = [&event.data[..], b" ", &event.metadata].concat();
        hold_free(event.stream.as_str(), &String::from_utf8_lossy(&text), &needles);
    }
    assert!(page.at_head && hold_files_free(cluster.directory(), &needles) > 10);
}
