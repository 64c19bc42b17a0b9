//! What the hub is for, from the first sign-in to the message after the last token.

use domain::client::Role;
use microsoft_simulator::control::PersonChange;
use serde_json::{Value, json};

use crate::harness::{
    World,
    api::{answer, by_person, drawn, text, to_account},
    browser::Browser,
    log::Event,
    microsoft::{ADA, DMITRI, HOUR},
};

#[tokio::test]
async fn a_person_is_linked_and_written_to_and_all_of_it_is_on_record() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    world.deliver("u-1001", "Your check-in is due today.").await;
    world.advance(2 * HOUR);
    world.until_recorded("connection.token-expired.v1", 1).await;
    world.deliver("u-1001", "Still due.").await;

    assert_eq!(world.microsoft.texts(ADA), ["Your check-in is due today.", "Still due."]);
    insta::assert_snapshot!(history(&world.events().await), @r#"
    signin.requested.v2 by client/product:
    signin.method-chosen.v1 by person: attempt=1 method="microsoft"
    signin.authorized.v1 by person: attempt=1 provisional=false
    signin.completed.v1 by person:
    tenant.seen.v1 by hub/sign-ins:
    account.linked.v1 by hub/sign-ins:
    connection.linked.v1 by hub/sign-ins:
    connection.token-issued.v1 by hub/sign-ins: generation=1 grant_number=1
    signin.settled.v1 by hub/sign-ins:
    message.accepted.v1 by client/product: client="product" kind="text" surface="graph"
    connection.chat-found.v1 by hub/outbox:
    lane.delivery-started.v1 by hub/outbox: attempt=1 epoch=1 generation=1 surface="graph" timeout_ms=40000
    lane.delivered.v1 by hub/outbox: attempt=1
    connection.token-expired.v1 by hub/tokens: generation=1
    message.accepted.v1 by client/product: client="product" kind="text" surface="graph"
    connection.refresh-started.v1 by hub/tokens: claim=1 generation=2 timeout_ms=40000
    connection.token-refreshed.v1 by hub/tokens: claim=1 generation=2
    lane.delivery-started.v1 by hub/outbox: attempt=1 epoch=1 generation=2 surface="graph" timeout_ms=40000
    lane.delivered.v1 by hub/outbox: attempt=1
    "#);
}

#[tokio::test]
async fn without_an_expected_person_the_product_says_whose_browser_it_was() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let page = Browser::new().sign_in(&link.url, ADA).await;
    assert_eq!(page.status, 303);
    assert_eq!(world.api.sign_in(&link.id).await["status"], "provisional");
    let refused = world.api.post("/v1/messages", &drawn(), &to_account("u-1001", "Too early.")).await;
    refused.is_problem(404, "recipient-not-linked");

    assert_eq!(world.api.confirm(&link.id, &page.code()).await.status, 204);
    let sign_in = world.api.sign_in(&link.id).await;
    assert_eq!(sign_in["status"], "completed");
    assert_eq!(sign_in["person"], by_person(world.person(ADA)));
    world.deliver("u-1001", "Hello, Ada.").await;
    // Said twice, done once.
    assert_eq!(world.api.confirm(&link.id, &page.code()).await.status, 204);
    assert_eq!(world.recorded("account.linked.v1").await, 1);
}

#[tokio::test]
async fn messages_go_by_account_by_person_in_batches_and_by_template_in_order() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    let to_person = json!({
        "recipient": by_person(world.person(ADA)),
        "content": { "type": "html", "html": "<p>By <b>person</b></p>" },
    });
    world.api.send("u-1001", "By account").await;
    assert_eq!(world.api.post("/v1/messages", &drawn(), &to_person).await.status, 202);
    let progress = json!({
        "idempotency_key": drawn(),
        "recipient": { "account": "u-1001" },
        "content": { "type": "template", "template": "key_result_progress", "data": {
            "title": "Revenue", "start": "0.1", "target": "0.3", "current": "0.2", "unit": "M€",
        } },
    });
    let mut line = to_account("u-1001", "First line");
    line["idempotency_key"] = drawn().into();
    let wrong = json!({ "idempotency_key": drawn(), "recipient": { "account": "u-2" }, "content": {
        "type": "text", "text": "For nobody" } });
    let batch = json!({ "messages": [line, wrong, progress] });
    let batch = world.api.post("/v1/messages:batch", "unused", &batch).await;
    let statuses: Vec<_> = batch.body["results"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
    assert_eq!(statuses, [202, 404, 202]);
    world.until_message_is(&text(&batch.body["results"][2]["id"]), "delivered").await;

    let arrived = world.microsoft.arrived(ADA);
    let texts: Vec<_> = arrived.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(texts[..3], ["By account", "<p>By <b>person</b></p>", "First line"]);
    let card: Vec<Value> = serde_json::from_str(arrived[3].attachments.as_ref().unwrap().get()).unwrap();
    let card: Value = serde_json::from_str(card[0]["content"].as_str().unwrap()).unwrap();
    assert!(arrived[3].content.starts_with("Revenue: 0.2 of 0.3 M€ (50 %)<attachment id="));
    assert!(card["fallbackText"].as_str().unwrap().contains("Current: 0.2 M€"), "{card}");
}

#[tokio::test]
async fn messages_wait_for_a_new_sign_in_and_then_go_in_order() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    world.deliver("u-1001", "Before").await;
    world.microsoft.revoke(ADA);
    world.advance(2 * HOUR);
    let first = world.api.send("u-1001", "First").await;
    let second = world.api.send("u-1001", "Second").await;
    let parked = world.until_message_is(&first, "parked").await;
    assert_eq!(parked["why"], "reauthorization_required");
    world.until_message_is(&second, "parked").await;
    assert_eq!(world.recorded("connection.reauthorization-required.v1").await, 1);
    let refreshes = world.microsoft.count("token.refresh");

    world.link("u-1001", ADA).await;
    world.until_message_is(&second, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["Before", "First", "Second"]);
    assert_eq!(world.microsoft.count("token.refresh"), refreshes, "a dead grant is not asked about again");
}

#[tokio::test]
async fn a_message_waits_for_the_bot_to_be_installed_and_the_hub_looks_again() {
    let world = World::start().await;
    world.link("u-1004", DMITRI).await;
    let message = world.api.send("u-1004", "Are you there?").await;
    let parked = world.until_message_is(&message, "parked").await;
    assert_eq!(parked["why"], "bot_not_installed");
    world.advance(HOUR);
    world.until_recorded("lane.parked.v1", 2).await;
    world.microsoft.change(DMITRI, PersonChange { app_installed: Some(true), ..PersonChange::default() });
    world.advance(6 * HOUR);
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.microsoft.texts(DMITRI), ["Are you there?"]);
}

#[tokio::test]
async fn a_person_may_have_several_accounts_and_unlinking_one_leaves_the_others() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.link("u-2", ADA).await;
    world.deliver("u-1", "To the first").await;
    let unlink = answer(world.api.request(reqwest::Method::POST, "/v1/accounts/u-1/unlink")).await;
    assert_eq!(unlink.status, 202, "{unlink:?}");
    let refused = world.api.post("/v1/messages", &drawn(), &to_account("u-1", "To nobody")).await;
    refused.is_problem(404, "recipient-not-linked");
    world.deliver("u-2", "To the second").await;
    assert_eq!(world.microsoft.texts(ADA), ["To the first", "To the second"]);
}

#[tokio::test]
async fn a_service_sees_its_own_messages_only() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    let message = world.api.send("u-1001", "Mine").await;
    let service = world.client("other", Role::Service).await;
    service.get(&format!("/v1/messages/{message}")).await.is_problem(404, "not-found");
    let list = service.get("/v1/messages").await;
    assert_eq!(list.body["items"], json!([]));
    let auditor = world.client("auditor", Role::Auditor).await;
    assert_eq!(auditor.message(&message).await["id"], message.as_str());
    auditor.post("/v1/messages", &drawn(), &to_account("u-1001", "No")).await.is_problem(403, "forbidden");
}

/// One line per event, without what differs from run to run: ids, hashes, times, and what is sealed.
fn history(events: &[Event]) -> String {
    let line = |event: &Event| {
        let actor = event.metadata["actor"].as_str().unwrap();
        let fields = event.data.as_object().unwrap().iter().filter(|(name, value)| is_plain(name, value));
        let fields: Vec<_> = fields.map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{} by {actor}:{}\n", event.name, fields.concat())
    };
    events.iter().filter(|event| !event.stream.starts_with("client-")).map(line).collect()
}

fn is_plain(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() < 13 && !text.bytes().all(|b| b.is_ascii_digit()),
        // Microsoft does not promise how it writes scopes.
        Value::Object(_) => false,
        _ => name != "scopes",
    }
}

#[tokio::test]
async fn who_writes_and_then_looks_finds_what_was_written() {
    let world = World::start().await;
    for seen in 1..=10 {
        let path = format!("/v1/tenants/{}/admit", uuid::Uuid::from_u128(seen));
        assert_eq!(answer(world.api.request(reqwest::Method::POST, &path)).await.status, 202);
        let list = world.api.get("/v1/tenants").await;
        assert_eq!(list.body["items"].as_array().unwrap().len(), usize::try_from(seen).unwrap(), "{list:?}");
    }
}

#[tokio::test]
async fn what_the_hub_does_of_itself_names_the_event_that_it_follows_from() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    world.deliver("u-1001", "Hello").await;
    let events = world.events().await;
    let find = |name: &str| events.iter().find(|event| event.name == name).unwrap();
    for (effect, cause) in [
        ("account.linked.v1", "signin.completed.v1"),
        ("connection.linked.v1", "signin.completed.v1"),
        ("signin.settled.v1", "signin.completed.v1"),
        ("lane.delivery-started.v1", "message.accepted.v1"),
        ("lane.delivered.v1", "message.accepted.v1"),
    ] {
        assert_eq!(find(effect).metadata["$causationId"], find(cause).id.to_string(), "{effect}");
    }
}
