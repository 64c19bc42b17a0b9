//! Messages that a client submits through the store: answered one by one, whatever they are.

use domain::client::Role;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{
    PATIENCE, World,
    api::{answer, by_person, drawn, text, to_account},
    intake::{answers, event, message, of_account, submit, submitted},
    log::count,
    microsoft::{ADA, BRUNO, EMEKA},
    secrets::{Needle, hold_files_free},
};

/// A world in which Ada is linked and `shop` may submit.
async fn shop() -> World {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.client("shop", Role::Service).await;
    world
}

#[tokio::test]
async fn what_is_submitted_to_the_store_arrives_in_teams() {
    let world = shop().await;
    let to_person = json!({
        "client": "shop",
        "idempotency_key": "by-person",
        "recipient": by_person(world.person(ADA)),
        "content": { "type": "html", "html": "<p>By <b>person</b></p>" },
    });
    let first = submitted(&message("shop", "by-account", "u-1", "By account"));
    let first = world.submit(of_account("u-1"), vec![first]).await[0];
    let (how, _, accepted) = world.answer_to(first).await;
    assert_eq!(how, "accepted");
    assert_eq!(accepted.metadata["actor"], "client/shop");
    assert_eq!(accepted.metadata["client"], "shop");
    let id = accepted.stream.strip_prefix("message-").unwrap();
    world.until_message_is(id, "delivered").await;

    // Any of the streams will do where the order does not matter.
    let second = world.submit(15, vec![submitted(&to_person)]).await[0];
    let (_, _, accepted) = world.answer_to(second).await;
    world.until_message_is(accepted.stream.strip_prefix("message-").unwrap(), "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["By account", "<p>By <b>person</b></p>"]);
}

#[tokio::test]
async fn what_is_wrong_is_rejected_by_reason_and_field_and_nothing_of_it_is_kept() {
    let world = shop().await;
    let other = json!({ "id": "other", "role": "service", "tenants": [world.person(EMEKA).tenant] });
    assert_eq!(world.api.post("/v1/clients", &drawn(), &other).await.status, 201);
    assert_eq!(world.api.post("/v1/clients/other/keys", &drawn(), &json!({})).await.status, 201);
    let idle = json!({ "id": "idle", "role": "service" });
    assert_eq!(world.api.post("/v1/clients", &drawn(), &idle).await.status, 201);

    let with = |pointer: &str, value: Value| {
        let mut message = message("shop", &drawn(), "u-1", "SECRET");
        match pointer.rsplit_once('/') {
            Some((parent, name)) => message.pointer_mut(parent).unwrap()[name] = value,
            None => message = value,
        }
        submitted(&message)
    };
    let huge = "x".repeat(1024 * 1024 - 512);
    let cases = [
        (event("message.submitted.v1", "SECRET"), "not_json", None),
        (event("message.submitted.v1", [0xff, 0x00]), "not_json", None),
        (event("message.submitted.v1", ""), "not_json", None),
        (event("message.submitted.v1", "[1,2]"), "invalid", None),
        (event("message.submitted.v1", "{}"), "invalid", None),
        (event("connection.linked.v1", "{}"), "unknown_type", None),
        (
            event("message.submitted.v2", message("shop", "k", "u-1", "SECRET").to_string()),
            "unknown_type",
            None,
        ),
        (event("message.submitted.v1", &huge), "not_json", None),
        (with("/ada@contoso.example", json!(1)), "unknown_field", None),
        (with("/recipient/ada@contoso.example", json!(1)), "unknown_field", Some("recipient")),
        (with("/client", json!("SECRET client")), "invalid", Some("client")),
        (with("/client", json!("nobody")), "unknown_client", None),
        (with("/client", json!("product")), "client_not_allowed", None),
        (with("/client", json!("idle")), "client_not_allowed", None),
        (with("/client", json!("other")), "tenant_not_allowed", None),
        (with("/idempotency_key", json!("a b")), "invalid", Some("idempotency_key")),
        (with("/recipient/account", json!("u-404")), "recipient_not_linked", None),
        (with("/recipient/tenant", json!(drawn())), "invalid", Some("recipient")),
        (with("/content/type", json!("poem")), "invalid", Some("content.type")),
        (with("/content/text", json!("")), "invalid", Some("content.text")),
        (with("/content/text", json!("Login")), "bot_command", None),
        (with("/surface", json!("pigeon")), "invalid", Some("surface")),
        (with("/content/text", json!("x".repeat(20_000))), "too_large", None),
        (with("/content/text", json!("x".repeat(1024 * 1024 - 512))), "too_large", None),
    ];
    let (events, wanted): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(it, why, field)| (it, (why, field))).unzip();
    let ids = world.submit(3, events).await;
    let good = world.submit(3, vec![with("/content/text", json!("Hello"))]).await[0];
    assert_eq!(world.answer_to(good).await.0, "accepted");

    let answered = |events: &[_]| ids.iter().all(|id| !answers(events, *id).is_empty());
    let events = world.until("all are answered", answered).await;
    for (place, (id, wanted)) in ids.iter().zip(wanted).enumerate() {
        let answers = answers(&events, *id);
        let told: Vec<_> = answers.iter().map(|(why, field, _)| (why.as_str(), field.as_deref())).collect();
        assert_eq!(told, [wanted], "at {place}");
        let rejection = &answers[0].2;
        assert_eq!(rejection.stream, format!("rejection-{id}"));
        assert_eq!((&rejection.data["intake"], &rejection.data["revision"]), (&json!(3), &json!(place)));
        let said = rejection.data.to_string() + &rejection.metadata.to_string();
        assert!(!said.contains("SECRET") && !said.contains("ada@") && !said.contains("nobody"), "{said}");
    }
    assert_eq!(count(&events, "message.accepted.v1"), 1);
    until_counted(
        &world,
        &[
            "chancery_intake_total{answer=\"rejected\"} 24",
            "chancery_intake_total{answer=\"accepted\"} 1",
            "chancery_intake_waiting 0",
        ],
    )
    .await;
}

/// What is counted is so a moment after it was recorded.
async fn until_counted(world: &World, lines: &[&str]) {
    let mut metrics = String::new();
    let counted = async {
        while !lines.iter().all(|line| metrics.contains(line)) {
            let answer = world.api.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
            metrics = answer.text().await.unwrap();
        }
    };
    let counted = timeout(PATIENCE, counted).await;
    assert!(counted.is_ok(), "not all of {lines:?} are in {metrics}");
}

#[tokio::test]
async fn a_blocked_tenant_and_a_revoked_client_are_rejected_as_the_api_refuses_them() {
    let world = shop().await;
    let client = json!({ "id": "revoked", "role": "service" });
    assert_eq!(world.api.post("/v1/clients", &drawn(), &client).await.status, 201);
    let key = world.api.post("/v1/clients/revoked/keys", &drawn(), &json!({})).await;
    let submit = async |client: &str, text: &str| {
        let events = vec![submitted(&message(client, &drawn(), "u-1", text))];
        world.answer_to(world.submit(of_account("u-1"), events).await[0]).await.0
    };
    assert_eq!(submit("revoked", "Before").await, "accepted");
    let path = format!("/v1/clients/revoked/keys/{}", text(&key.body["key_id"]));
    assert!(answer(world.api.request(reqwest::Method::DELETE, &path)).await.status < 300);
    assert_eq!(submit("revoked", "After").await, "client_not_allowed");

    let path = format!("/v1/tenants/{}/block", world.person(ADA).tenant);
    assert_eq!(answer(world.api.request(reqwest::Method::POST, &path)).await.status, 202);
    assert_eq!(submit("shop", "Blocked").await, "tenant_blocked");
}

#[tokio::test]
async fn messages_to_one_recipient_arrive_in_the_order_in_which_they_were_submitted() {
    let world = shop().await;
    world.link("u-2", BRUNO).await;
    let (mut to_ada, mut to_bruno) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let text = format!("Number {number}");
        world.submit(of_account("u-1"), vec![submitted(&message("shop", &drawn(), "u-1", &text))]).await;
        // One that is wrong keeps nothing behind it waiting.
        world.submit(of_account("u-1"), vec![event("message.submitted.v1", "nonsense")]).await;
        world.submit(of_account("u-2"), vec![submitted(&message("shop", &drawn(), "u-2", &text))]).await;
        to_ada.push(text.clone());
        to_bruno.push(text);
    }
    world.until_recorded("lane.delivered.v1", 80).await;
    assert_eq!(world.microsoft.texts(ADA), to_ada);
    assert_eq!(world.microsoft.texts(BRUNO), to_bruno);
}

#[tokio::test]
async fn a_key_names_one_message_however_it_is_sent() {
    let world = shop().await;
    let shop = world.client("till", Role::Service).await;
    let once = || submitted(&message("till", "key", "u-1", "Once"));
    let other = submitted(&message("till", "key", "u-1", "Another"));
    let ids = world.submit(1, vec![once(), once(), other]).await;
    assert_eq!(world.answer_to(ids[2]).await.0, "idempotency_key_reused");
    let elsewhere = world.submit(2, vec![once(), event("bad", "")]).await;
    world.answer_to(elsewhere[1]).await;
    let posted = shop.post("/v1/messages", "key", &to_account("u-1", "Once")).await;
    assert_eq!(posted.status, 202);
    let events = world.until_recorded("lane.delivered.v1", 1).await;
    assert_eq!(count(&events, "message.accepted.v1"), 1);
    assert_eq!(answers(&events, ids[0])[0].2.stream, format!("message-{}", text(&posted.body["id"])));
    assert!(answers(&events, ids[1]).is_empty() && answers(&events, elsewhere[0]).is_empty());
    assert_eq!(world.microsoft.texts(ADA), ["Once"]);
}

#[tokio::test]
async fn ten_thousand_bad_ones_in_a_row_do_not_stop_what_comes_behind_them() {
    let world = shop().await;
    let bad = (0..10_000).map(|number| event("message.submitted.v1", format!("{{\"no\":{number}"))).collect();
    world.submit(7, bad).await;
    let good = world.submit(7, vec![submitted(&message("shop", "good", "u-1", "Good"))]).await[0];
    assert_eq!(world.answer_to(good).await.0, "accepted");
    let events = world.until_recorded("intake.rejected.v1", 10_000).await;
    assert_eq!(count(&events, "intake.rejected.v1"), 10_000);
}

#[tokio::test]
async fn what_was_submitted_while_the_hub_was_down_is_answered_once_it_is_back() {
    let mut world = shop().await;
    let before = world.submit(4, vec![submitted(&message("shop", "1", "u-1", "Before"))]).await[0];
    let refused = world.submit(4, vec![submitted(&message("shop", "2", "u-2", "To nobody yet"))]).await[0];
    assert_eq!(world.answer_to(refused).await.0, "recipient_not_linked");
    // What is rejected stays so.
    world.link("u-2", BRUNO).await;
    world.end(PATIENCE).await;
    let store = world.store().await;
    let meanwhile = vec![event("bad", "x"), submitted(&message("shop", "3", "u-1", "Meanwhile"))];
    let meanwhile = submit(store.as_ref(), 4, meanwhile).await;
    world.begin(store).await;
    assert_eq!(world.answer_to(meanwhile[1]).await.0, "accepted");
    world.until_recorded("lane.delivered.v1", 2).await;

    world.restart(&[]).await;
    let last = world.submit(4, vec![submitted(&message("shop", "4", "u-1", "After"))]).await[0];
    world.answer_to(last).await;
    let events = world.until_recorded("lane.delivered.v1", 3).await;
    for id in [before, refused, meanwhile[0], meanwhile[1], last] {
        assert_eq!(answers(&events, id).len(), 1);
    }
    assert_eq!(world.microsoft.texts(ADA), ["Before", "Meanwhile", "After"]);
    assert_eq!(world.microsoft.texts(BRUNO), [""; 0]);
}

#[tokio::test]
async fn once_it_is_answered_what_was_submitted_is_in_no_file_any_more() {
    let mut world = shop().await;
    let said = "The quarterly numbers are confidential.";
    let accepted = submitted(&message("shop", &drawn(), "u-1", said));
    let refused = submitted(&message("shop", &drawn(), "u-404-confidential", said));
    let ids = world.submit(6, vec![accepted, refused, event("message.submitted.v1", said)]).await;
    for id in ids {
        world.answer_to(id).await;
    }
    world.end(PATIENCE).await;
    let needles = [Needle::new("content", said), Needle::new("account", "u-404-confidential")];
    assert!(hold_files_free(&world.data(), &needles) > 5);
    // The next one is answered all the same.
    let store = world.store().await;
    let next = submit(store.as_ref(), 6, vec![submitted(&message("shop", &drawn(), "u-1", "Next"))]).await;
    world.begin(store).await;
    assert_eq!(world.answer_to(next[0]).await.0, "accepted");
}

#[tokio::test]
async fn a_tail_shows_a_client_its_rejections_and_nobody_what_was_submitted() {
    let world = World::start().await;
    let shop = world.client("shop", Role::Service).await;
    world.client("other", Role::Service).await;
    let mine = submitted(&message("shop", &drawn(), "u-1", "SECRET"));
    let not_mine = submitted(&message("other", &drawn(), "u-1", "SECRET"));
    let ids = world.submit(9, vec![not_mine, mine]).await;
    world.answer_to(ids[1]).await;
    let auditor = world.client("auditor", Role::Auditor).await;
    for (api, shown) in [(&shop, [false, true]), (&auditor, [true, true])] {
        let mut tail = api.request(reqwest::Method::GET, "/v1/events").send().await.unwrap();
        let mut seen = String::new();
        while !seen.contains(&format!("rejection-{}", ids[1])) {
            let chunk = timeout(PATIENCE, tail.chunk()).await.expect("the tail goes on");
            seen += &String::from_utf8_lossy(&chunk.unwrap().unwrap());
        }
        for (id, shown) in ids.iter().zip(shown) {
            assert_eq!(seen.contains(&format!("rejection-{id}")), shown, "{seen}");
        }
        assert!(
            !seen.contains("SECRET") && !seen.contains("intake-9") && !seen.contains("message.submitted")
        );
    }
}
