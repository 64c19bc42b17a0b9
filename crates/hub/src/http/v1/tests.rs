//! The API of a whole hub over real sockets, for what needs no Microsoft: people are linked by hand.

mod support;

use domain::{SignInId, TenantId, client::Role, tenant};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use self::support::{HERE, Running, answer, hello, once, start};
use crate::{app, commands::Context};

#[tokio::test]
async fn a_message_is_accepted_once_for_each_key() {
    let running = start().await;
    let person = running.link("u-1", 1).await;
    let service = running.key(Role::Service).await;

    let (status, first) = service.send("k-1", &hello("u-1")).await;
    assert_eq!(status, 202, "{first}");
    assert_eq!(service.send("k-1", &hello("u-1")).await, (202, first.clone()));
    let other = json!({ "recipient": { "account": "u-1" }, "content": { "type": "text", "text": "other" } });
    let (status, problem) = service.send("k-1", &other).await;
    assert_eq!((status, &problem["type"]), (422, &json!("/problems/idempotency-key-reused")));

    let path = format!("/v1/messages/{}", first["id"].as_str().unwrap());
    let (status, shown) = service.get_now(&path).await;
    assert_eq!((status, &shown["position"], &shown["by_account"]), (200, &first["position"], &json!(true)));
    assert_eq!(shown["recipient"]["object_id"], json!(person.object_id));
    assert!(!shown.to_string().contains("hello"));
}

#[tokio::test]
async fn who_was_never_linked_gets_nothing() {
    let running = start().await;
    let service = running.key(Role::Service).await;
    let (status, problem) = service.send("k-1", &hello("stranger")).await;
    assert_eq!((status, &problem["type"]), (404, &json!("/problems/recipient-not-linked")));
    let (status, problem) = service.post("/v1/messages", &hello("stranger")).await;
    assert_eq!((status, &problem["type"]), (400, &json!("/problems/idempotency-key-missing")));
    let both = json!({ "recipient": { "account": "u", "tenant": HERE }, "content": {} });
    assert_eq!(service.send("k-2", &both).await.1["field"], "recipient");
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_also_after_the_recipient_was_unlinked() {
    let running = start().await;
    running.link("u-1", 1).await;
    let service = running.key(Role::Service).await;
    let first = service.send("k-1", &hello("u-1")).await;
    assert_eq!(service.post("/v1/accounts/u-1/unlink", &json!({})).await.0, 202);
    assert_eq!(service.send("k-1", &hello("u-1")).await, first);
    assert_eq!(service.send("k-1", &hello("u-2")).await.0, 422);
    assert_eq!(service.send("k-2", &hello("u-1")).await.0, 404);
}

#[tokio::test]
async fn a_client_of_another_tenant_may_not_write() {
    let running = start().await;
    running.link("u-1", 1).await;
    let elsewhere = vec![TenantId(Uuid::from_u128(2))];
    let service = running.key_of("elsewhere", Role::Service, Some(elsewhere)).await;
    assert_eq!(service.send("k-1", &hello("u-1")).await.0, 403);
}

#[tokio::test]
async fn each_line_of_a_batch_has_its_own_answer() {
    let running = start().await;
    running.link("u-1", 1).await;
    let service = running.key(Role::Service).await;
    let line = |key: &str, text: &str, account: &str| {
        json!({
            "idempotency_key": key, "recipient": { "account": account },
            "content": { "type": "text", "text": text },
        })
    };
    let lines = [
        line("a", "one", "u-1"),
        line("b", " ", "u-1"),
        line("a", "one", "u-1"),
        line("a", "two", "u-1"),
        line("c", "one", "stranger"),
        line("d", "one", "u-1"),
    ];
    let (status, first) = service.post("/v1/messages:batch", &json!({ "messages": lines })).await;
    let results = first["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!((status, statuses), (200, vec![202, 400, 202, 422, 404, 202]));
    assert_eq!(results[0], results[2]);
    assert_eq!(results[1]["problem"]["field"], "content.text");

    let lines = lines.map(|line| line.to_string()).join("\n");
    let request = service.request(Method::POST, "/v1/messages:batch").body(lines);
    let again = request.header("content-type", "application/x-ndjson").send().await.unwrap();
    assert_eq!(answer(again).await, (200, first));
    assert_eq!(service.post("/v1/messages:batch", &json!({ "messages": [] })).await.0, 400);
}

#[tokio::test]
async fn lists_are_paged_and_a_service_sees_only_its_own() {
    let running = start().await;
    running.link("u-1", 1).await;
    let (mine, other) =
        (running.key(Role::Service).await, running.key_of("other", Role::Service, None).await);
    for key in ["k-1", "k-2", "k-3"] {
        mine.send(key, &hello("u-1")).await;
    }
    let theirs = other.send("k-1", &hello("u-1")).await.1;
    let auditor = running.key(Role::Auditor).await;
    assert_eq!(auditor.get_now("/v1/messages").await.1["items"].as_array().unwrap().len(), 4);

    let first = mine.get_now("/v1/messages?limit=2&recipient_account=u-1").await.1;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = format!("/v1/messages?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = mine.get(&next).await.1;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next_cursor"]), (1, &Value::Null));
    let hidden = format!("/v1/messages/{}", theirs["id"].as_str().unwrap());
    assert_eq!((mine.get_now(&hidden).await.0, other.get_now(&hidden).await.0), (404, 200));

    assert_eq!(mine.get("/v1/messages?cursor=nonsense").await.1["field"], "cursor");
    assert_eq!(mine.get("/v1/messages?limit=201").await.1["field"], "limit");
    assert_eq!(mine.get("/v1/messages?after=nonsense").await.1["field"], "after");
    let elsewhere = format!("/v1/messages?after={}:1", Uuid::from_u128(1));
    assert_eq!(mine.get(&elsewhere).await.1["type"], "/problems/position-of-another-store");
}

#[tokio::test]
async fn a_hub_alone_works_all_shards() {
    let running = start().await;
    let auditor = running.key(Role::Auditor).await;
    while running.hub.shards.count() == 0 {
        tokio::task::yield_now().await;
    }
    let (status, told) = auditor.get("/v1/hubs").await;
    let only = json!([{
        "id": running.hub.id, "this": true, "epoch": 1, "state": "working", "shards": 256
    }]);
    assert_eq!((status, &told["items"], &told["shards_free"]), (200, &only, &json!(0)));
    assert_eq!(running.key(Role::Service).await.get("/v1/hubs").await.0, 403);
}

#[tokio::test]
async fn a_tenant_is_admitted_and_blocked() {
    let running = start().await;
    let operator = running.key(Role::Operator).await;
    let path = format!("/v1/tenants/{HERE}");
    assert_eq!(operator.get(&path).await.0, 404);
    for (verb, admission) in [("admit", "admitted"), ("block", "blocked"), ("block", "blocked")] {
        let (status, recorded) = operator.post(&format!("{path}/{verb}"), &json!({})).await;
        let after = recorded["position"].as_str().unwrap();
        assert_eq!(status, 202);
        assert_eq!(operator.get(&format!("{path}?after={after}")).await.1["admission"], admission);
    }
    assert_eq!(operator.get_now("/v1/tenants").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn personal_data_is_shown_to_few_and_never_unrecorded() {
    let running = start().await;
    let person = running.link("u-1", 1).await;
    let path = format!("/v1/tenants/{HERE}/connections/{}", person.object_id);
    let (auditor, operator) = (running.key(Role::Auditor).await, running.key(Role::Operator).await);
    let plain = auditor.get_now(&path).await.1.to_string();
    assert!(!plain.contains("alice") && !plain.contains("u-1"), "{plain}");
    assert_eq!(operator.get(&format!("{path}?reveal=profile")).await.0, 403);
    let before = audited(&running, "audit.content-revealed.v1").await;
    let shown = auditor.get(&format!("{path}?reveal=profile")).await.1;
    assert_eq!(shown["profile"]["email"], "alice@example.com");
    assert_eq!(shown["profile"]["accounts"], json!(["u-1"]));
    assert_eq!((before, audited(&running, "audit.content-revealed.v1").await), (0, 1));
    let list = operator.get(&format!("/v1/tenants/{HERE}/connections")).await.1;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

async fn audited(running: &Running, name: &str) -> usize {
    let filter = store::Filter::categories(["audit"]);
    let page = running.hub.store.read_all(store::Position::START, &filter, 1000).await.unwrap();
    page.events.iter().filter(|event| &*event.name == name).count()
}

#[tokio::test]
async fn a_history_is_the_same_in_pages_of_any_size_and_recorded_once() {
    let running = start().await;
    let person = running.link("u/1", 1).await;
    let (service, auditor) = (running.key(Role::Service).await, running.key(Role::Auditor).await);
    service.send("k-1", &hello("u/1")).await;
    let path = format!("/v1/tenants/{HERE}/connections/{}/history", person.object_id);
    let event = |item: &Value| item["event"].as_str().unwrap().to_owned();
    let told = |answer: &Value| answer["items"].as_array().unwrap().iter().map(event).collect::<Vec<_>>();

    // What the outbox makes of the message meanwhile comes on top.
    let whole = told(&auditor.get_now(&path).await.1);
    let beginning = &whole[whole.len() - 4..];
    let linked = ["connection.token-issued.v1", "connection.linked.v1", "account.linked.v1"];
    assert_eq!(beginning, [&["message.accepted.v1"], &linked[..]].concat());
    assert_eq!(audited(&running, "audit.history-read.v1").await, 1);

    let mut pages = Vec::new();
    let mut next = format!("{path}?limit=1");
    loop {
        let page = auditor.get(&next).await.1;
        pages.extend(told(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}?limit=1&cursor={cursor}");
    }
    assert!(pages.ends_with(beginning), "{pages:?}");
    assert_eq!(audited(&running, "audit.history-read.v1").await, 2);
    let by_account = told(&auditor.get_now("/v1/accounts/u%2F1/history").await.1);
    assert!(by_account.ends_with(beginning), "{by_account:?}");
}

#[tokio::test]
async fn a_history_ends_where_it_is_asked_to_and_its_cursor_cannot_be_made_up() {
    let running = start().await;
    let person = running.link("u-1", 1).await;
    let auditor = running.key(Role::Auditor).await;
    let path = format!("/v1/tenants/{HERE}/connections/{}/history", person.object_id);
    let before = auditor.get_now(&format!("{path}?as_of=2020-01-01T00:00:00Z")).await.1;
    assert_eq!(before, json!({ "items": [] }));
    let cursor = super::paging::to_cursor(&json!({
        "cursor": { "before": 99, "connection": 9, "lane": 9, "accounts": [], "sign_ins": [] }, "tag": "lookup-1:00",
    }));
    let (status, problem) = auditor.get(&format!("{path}?cursor={cursor}")).await;
    assert_eq!((status, &problem["field"]), (400, &json!("cursor")));
    assert_eq!(auditor.get("/v1/accounts/stranger/history").await.0, 404);
}

#[tokio::test]
async fn the_last_account_takes_the_person_and_the_tokens_with_it() {
    let running = start().await;
    let person = running.link("u-1", 1).await;
    running.link("u-2", 1).await;
    let operator = running.key(Role::Operator).await;
    let path = format!("/v1/tenants/{HERE}/connections/{}", person.object_id);
    assert_eq!(operator.post("/v1/accounts/stranger/unlink", &json!({})).await.0, 404);

    assert_eq!(operator.post("/v1/accounts/u-1/unlink", &json!({})).await.0, 202);
    assert_ne!(operator.get_now(&path).await.1["status"], "unlinked");
    let (status, first) = operator.post("/v1/accounts/u-2/unlink", &json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(operator.get_now(&path).await.1["status"], "unlinked");
    assert!(!matches!(running.hub.custody.get_tokens(SignInId(Uuid::from_u128(1))).await, Ok(Some(_))));
    assert_eq!(operator.post("/v1/accounts/u-2/unlink", &json!({})).await, (202, first));
    assert_eq!(operator.send("k", &hello("u-2")).await.0, 403);
    let service = running.key(Role::Service).await;
    assert_eq!(service.send("k", &hello("u-2")).await.0, 404);
}

/// Reads a tail until `wanted` events came.
async fn read(mut tail: Response, wanted: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    let mut events = Vec::new();
    while events.len() < wanted {
        let chunk = tail.chunk().await.unwrap().expect("the tail goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                events.push((id.to_owned(), serde_json::from_str(data).unwrap()));
            }
            text = rest.to_owned();
        }
    }
    events
}

#[tokio::test]
async fn a_tail_tells_a_service_what_is_its_own_and_goes_on_where_it_was_left() {
    let running = start().await;
    running.link("u-1", 1).await;
    let (mine, other) =
        (running.key(Role::Service).await, running.key_of("other", Role::Service, None).await);
    other.send("k-1", &hello("u-1")).await;
    let first = mine.send("k-1", &hello("u-1")).await.1;
    let second = mine.send("k-2", &hello("u-1")).await.1;
    let path = "/v1/events?categories=message";
    let events = read(mine.request(Method::GET, path).send().await.unwrap(), 2).await;
    let ids: Vec<_> = events.iter().map(|(id, _)| json!(id)).collect();
    assert_eq!(ids, [first["position"].clone(), second["position"].clone()]);
    assert_eq!(events[0].1["metadata"]["client"], "service");
    assert_eq!(audited(&running, "audit.exported.v1").await, 1);

    let place_is_free = async || loop {
        let request = mine.request(Method::GET, path).header("last-event-id", &events[0].0);
        let tail = request.send().await.unwrap();
        // The former tail's place is given back once the hub has noticed that its reader is gone.
        if tail.status() != 429 {
            return tail;
        }
    };
    let again = read(place_is_free().await, 1).await;
    assert_eq!(json!(again[0].0), second["position"]);
}

#[tokio::test]
async fn there_are_only_so_many_tails_and_they_end_with_the_hub() {
    let running = start().await;
    let auditor = running.key(Role::Auditor).await;
    let mut open = auditor.request(Method::GET, "/v1/events").send().await.unwrap();
    assert_eq!(open.status(), 200);
    let full = auditor.request(Method::GET, "/v1/events").send().await.unwrap();
    assert_eq!((full.status().as_u16(), full.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    running.lifecycle.stop();
    while open.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn what_a_client_may_not_see_is_not_there() {
    let running = start().await;
    let person = running.link("u-1", 1).await;
    let context = Context::hub("test", "test");
    running
        .hub
        .commands
        .execute::<tenant::Tenant>(HERE, &once(), &context, tenant::Command::See)
        .await
        .unwrap();
    let elsewhere = Some(vec![TenantId(Uuid::from_u128(2))]);
    let admin = running.key_of("elsewhere", Role::Admin, elsewhere).await;
    let connection = format!("/v1/tenants/{HERE}/connections/{}", person.object_id);
    for path in [
        format!("/v1/tenants/{HERE}"),
        format!("/v1/tenants/{HERE}/connections"),
        connection.clone(),
        format!("{connection}/history"),
        "/v1/accounts/u-1/history".to_owned(),
    ] {
        assert_eq!(admin.get_now(&path).await.0, 404, "{path}");
    }
    assert_eq!(admin.get_now("/v1/tenants").await.1, json!({ "items": [] }));
    assert_eq!(admin.post("/v1/accounts/u-1/unlink", &json!({})).await.0, 404);
    assert_eq!(admin.post(&format!("/v1/tenants/{HERE}/admit"), &json!({})).await.0, 404);
    let service = running.key(Role::Service).await;
    assert_eq!(service.get(&connection).await.0, 403);
}

#[tokio::test]
async fn an_operator_may_say_what_an_organisation_is_called() {
    let running = start().await;
    let operator = running.key(Role::Operator).await;
    let (admit, shown) = (format!("/v1/tenants/{HERE}/admit"), format!("/v1/tenants/{HERE}"));
    for refused in [json!({ "name": "" }), json!({ "name": "Con\ntoso" }), json!({ "title": "Contoso" })] {
        assert_eq!(operator.post(&admit, &refused).await.0, 400, "{refused}");
    }
    let bare = async || answer(operator.request(Method::POST, &admit).send().await.unwrap()).await.0;
    assert_eq!(bare().await, 202);
    assert_eq!(operator.get_now(&shown).await.1.get("name"), None);
    assert_eq!(operator.post(&admit, &json!({ "name": "Contoso" })).await.0, 202);
    assert_eq!(bare().await, 202);
    assert_eq!(operator.get_now(&shown).await.1["name"], "Contoso", "it is kept where none is given");
    let other = operator.request(Method::POST, &admit).header("content-type", "text/plain").body("Contoso");
    assert_eq!(answer(other.send().await.unwrap()).await.0, 415);
}

#[test]
fn every_route_of_the_api_has_a_rule_and_a_name_of_its_own() {
    let description = app::openapi();
    let mut names = std::collections::HashSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_ascii_uppercase().parse().unwrap();
            assert!(crate::http::access::of(&method, path).is_ok(), "{method} {path}");
            assert!(names.insert(operation["operationId"].to_string()), "{method} {path}");
        }
    }
    let described = |path: &str| !description["paths"][path].is_null();
    assert!(described("/v1/messages:batch") && described("/v1/events"));
    for (_, path, _) in crate::http::access::TABLE.iter().filter(|(_, path, _)| path.starts_with("/v1/")) {
        assert!(described(path), "{path}");
    }
}
