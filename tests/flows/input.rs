//! Requests that make no sense: each is told what is wrong with it, and nothing is recorded.

use domain::client::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    World,
    api::{answer, drawn, to_account},
    faltering::{Faltering, Way},
    microsoft::ADA,
};

fn progress(current: &Value) -> Value {
    let data = json!({ "title": "Revenue", "start": "0", "target": "10", "current": current, "unit": "EUR" });
    let content = json!({ "type": "template", "template": "key_result_progress", "data": data });
    json!({ "recipient": { "account": "u-1" }, "content": content })
}

#[tokio::test]
async fn a_wrong_message_is_told_by_its_field_and_nothing_is_recorded() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let before = world.events().await.len();
    let mut unknown_field = to_account("u-1", "Hello");
    unknown_field["priority"] = "high".into();
    let to_both = json!({ "account": "u-1", "tenant": world.person(ADA).tenant });
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (body, field) in [
        (unknown_field, "priority"),
        (to_account("", "Hello"), "recipient.account"),
        (to_account("u-1", "  "), "content.text"),
        (json!({ "recipient": to_both, "content": { "type": "text", "text": "Hello" } }), "recipient"),
        (json!({ "recipient": { "account": 1 }, "content": {} }), "recipient.account"),
        (json!({ "recipient": { "account": "u-1" } }), ""),
        (progress(&json!("1e5")), "content.data.current"),
        (progress(&json!(0.1)), "content.data.current"),
        (progress(&json!("NaN")), "content.data.current"),
        (progress(&json!("1".repeat(40))), "content.data.current"),
    ] {
        let refused = world.api.post("/v1/messages", &drawn(), &body).await;
        refused.is_problem(400, "invalid-request");
        assert_eq!(refused.body["field"].as_str().unwrap_or_default(), field, "{body}: {refused:?}");
    }
    for text in [deep.as_str(), "{", "", "nonsense", "{\"recipient\":", "\u{feff}{}"] {
        let request = world.api.request(Method::POST, "/v1/messages").header("idempotency-key", drawn());
        let refused = answer(request.header("content-type", "application/json").body(text.to_owned())).await;
        refused.is_problem(400, "invalid-request");
    }
    assert_eq!(world.events().await.len(), before);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_recorded() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let before = world.events().await.len();
    let long = to_account("u-1", &"x".repeat(20_000));
    let refused = world.api.post("/v1/messages", &drawn(), &long).await;
    assert!(refused.is_problem(413, "too-large").contains("more than the 25600"));
    let huge = to_account("u-1", &"x".repeat(2 * 1024 * 1024));
    world.api.post("/v1/messages", &drawn(), &huge).await.is_problem(413, "too-large");
    assert_eq!(world.events().await.len(), before);
    // Counted in UTF-16: as many bytes, though fewer in UTF-8.
    world.deliver("u-1", &"x".repeat(12_000)).await;
}

#[tokio::test]
async fn only_who_may_write_can_and_only_to_who_is_linked() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let before = world.events().await.len();
    let body = to_account("u-1", "Hello");
    for key in ["", "nonsense", "chk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let api = world.api.with_key(key);
        api.post("/v1/messages", &drawn(), &body).await.is_problem(401, "unauthenticated");
    }
    let keyless = world.api.request(Method::POST, "/v1/messages").json(&body);
    answer(keyless).await.is_problem(400, "idempotency-key-missing");
    for key in ["", "with space", &"k".repeat(201)] {
        assert_eq!(world.api.post("/v1/messages", key, &body).await.status, 400, "{key:?}");
    }
    let nobody = world.api.post("/v1/messages", &drawn(), &to_account("u-404", "Hello")).await;
    nobody.is_problem(404, "recipient-not-linked");
    let stranger = json!({ "tenant": drawn(), "object_id": drawn() });
    let stranger = json!({ "recipient": stranger, "content": { "type": "text", "text": "Hello" } });
    let stranger = world.api.post("/v1/messages", &drawn(), &stranger).await;
    stranger.is_problem(404, "recipient-not-linked");
    assert_eq!(world.events().await.len(), before);
    let operator = world.client("operator", Role::Operator).await;
    operator.post("/v1/messages", &drawn(), &body).await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn a_key_names_one_message_for_ever() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let body = to_account("u-1", "Once");
    let (first, twin) = tokio::join!(
        world.api.post("/v1/messages", "key", &body),
        world.api.post("/v1/messages", "key", &body),
    );
    let again = world.api.post("/v1/messages", "key", &body).await;
    for answer in [&first, &twin, &again] {
        assert_eq!((answer.status, &answer.body), (202, &first.body));
    }
    let other = world.api.post("/v1/messages", "key", &to_account("u-1", "Another")).await;
    other.is_problem(422, "idempotency-key-reused");
    // Another client's key of the same name is another key.
    let service = world.client("service", Role::Service).await;
    let own = service.post("/v1/messages", "key", &body).await;
    assert_ne!(own.body["id"], first.body["id"]);
    let id = own.body["id"].as_str().unwrap();
    world.until_message_is(id, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["Once", "Once"]);
}

#[tokio::test]
async fn where_the_disk_is_full_the_client_is_told_to_come_back_and_its_key_is_not_spent() {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.end(crate::harness::PATIENCE).await;
    let store = world.store().await;
    let faltering = std::sync::Arc::new(Faltering::at_next(store, Way::RefuseOnce, "message-"));
    world.begin(faltering).await;
    let body = to_account("u-1", "Hello");
    let refused = world.api.post("/v1/messages", "key", &body).await;
    refused.is_problem(503, "unavailable");
    assert_eq!(refused.retry_after, Some(1));
    let accepted = world.api.post("/v1/messages", "key", &body).await;
    assert_eq!(accepted.status, 202);
    world.until_message_is(accepted.body["id"].as_str().unwrap(), "delivered").await;
}
