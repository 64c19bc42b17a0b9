//! Graph: apps, chats, messages, and who may do what.

use std::time::Duration;

use chancery_microsoft_simulator::control::{DialsChange, Distribution, PersonChange};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::*;

fn code((status, body): &(StatusCode, Value)) -> (u16, String) {
    for field in ["date", "request-id", "client-request-id"] {
        assert!(body["error"]["innerError"][field].is_string(), "{body}");
    }
    (status.as_u16(), text(&body["error"], "code"))
}

fn card(id: &str, size: usize) -> Value {
    let card = json!({
        "type": "AdaptiveCard",
        "version": "1.5",
        "body": [
            { "type": "TextBlock", "text": "Key result <b>".to_owned() + &"x".repeat(size), "weight": "Bolder" },
            { "type": "FactSet", "facts": [{ "title": "Target", "value": "12.50 %" }] },
        ],
        "actions": [{ "type": "Action.OpenUrl", "title": "Check in", "url": "https://product.example/k/1" }],
    });
    json!({
        "body": { "contentType": "html", "content": format!("<attachment id=\"{id}\"></attachment>") },
        "attachments": [{
            "id": id,
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card.to_string(),
            "name": null,
            "thumbnailUrl": null,
        }],
    })
}

#[tokio::test]
async fn the_chat_is_found_through_the_installed_app() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let me = microsoft.oid(ADA);
    let manifest = &microsoft.settings.teams_app_id;
    for root in ["/me".to_owned(), format!("/users/{me}")] {
        let apps = format!("{root}/teamwork/installedApps");
        let (_, all) = asked(microsoft.get(&token, &apps)).await;
        assert_eq!(all["value"].as_array().unwrap().len(), 2);
        assert_eq!(all["value"][0]["teamsApp"], Value::Null, "only what is expanded is there");
        let filter = format!("teamsApp/externalId eq '{manifest}'");
        let query = [("$filter", filter.as_str()), ("$expand", "teamsApp")];
        let (_, ours) = asked(microsoft.get(&token, &apps).query(&query)).await;
        assert_eq!(ours["value"].as_array().unwrap().len(), 1);
        assert_eq!(text(&ours["value"][0]["teamsApp"], "externalId"), *manifest);
        let id = escaped(&text(&ours["value"][0], "id"));
        let (_, chat) = asked(microsoft.get(&token, &format!("{apps}/{id}/chat"))).await;
        assert_eq!(text(&chat, "id"), microsoft.chat(ADA));
        assert_eq!(chat["chatType"], "oneOnOne");
        let other = escaped(&text(&all["value"][0], "id"));
        assert_eq!(code(&asked(microsoft.get(&token, &format!("{apps}/{other}/chat"))).await).0, 404);
    }
    let others = format!("/users/{}/teamwork/installedApps", microsoft.oid(BRUNO));
    assert_eq!(code(&asked(microsoft.get(&token, &others)).await), (403, "Forbidden".into()));
    let odd = [("$filter", "startswith(id, 'x')")];
    assert_eq!(code(&asked(microsoft.get(&token, "/me/teamwork/installedApps").query(&odd)).await).0, 400);
}

#[tokio::test]
async fn an_app_of_the_store_has_no_external_id() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft
        .simulator
        .turn(DialsChange { distribution: Some(Distribution::Store), ..DialsChange::default() });
    let manifest = &microsoft.settings.teams_app_id;
    for (property, count) in [("externalId", 0), ("id", 1)] {
        let query = [("$filter", format!("teamsApp/{property} eq '{manifest}'"))];
        let (_, apps) = asked(microsoft.get(&token, "/me/teamwork/installedApps").query(&query)).await;
        assert_eq!(apps["value"].as_array().unwrap().len(), count, "{property}");
    }
}

#[tokio::test]
async fn a_posted_message_is_from_the_person() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    let id = "0a1b2c3d-1111-4222-8333-444455556666";
    let answer =
        microsoft.post(&token, &chat, &hello()).header("client-request-id", id).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["client-request-id"], id);
    assert!(answer.headers().contains_key("request-id") && answer.headers().contains_key("date"));
    let message: Value = answer.json().await.unwrap();
    assert_eq!(message["from"]["user"]["id"], microsoft.oid(ADA).to_string());
    assert_eq!(message["body"], json!({ "contentType": "text", "content": "Hello" }));
    assert_eq!((text(&message, "chatId"), text(&message, "messageType")), (chat.clone(), "message".into()));
    assert_eq!((&message["attachments"], &message["from"]["application"]), (&json!([]), &Value::Null));
    let epoch_ms: u64 = text(&message, "id").parse().unwrap();
    assert!(epoch_ms > 1_700_000_000_000);

    let stored = microsoft.simulator.messages(Some(&chat), None);
    assert_eq!(
        (stored.len(), stored[0].content.as_str(), stored[0].from),
        (1, "Hello", Some(microsoft.oid(ADA)))
    );
    assert_eq!(stored[0].client_request_id.as_deref(), Some(id));

    let path = format!("/chats/{}/messages/{epoch_ms}", escaped(&chat));
    assert_eq!(asked(microsoft.get(&token, &path)).await, (StatusCode::OK, message));
}

#[tokio::test]
async fn a_card_is_an_attachment_that_the_body_names() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    let good = card("74d20c7f34aa4a7fb74e2b30004247c5", 10);
    let (status, message) = asked(microsoft.post(&token, &chat, &good)).await;
    assert_eq!(status, 201);
    assert_eq!(message["attachments"], good["attachments"]);
    let page = microsoft
        .client
        .get(format!("{}/teams/{}/messages", microsoft.base, microsoft.oid(ADA)))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    for shown in
        ["Key result &lt;b&gt;", "<dt>Target</dt>", "12.50 %", "href=\"https://product.example/k/1\""]
    {
        assert!(page.contains(shown), "{shown} in {page}");
    }

    let mut unnamed = good.clone();
    unnamed["body"]["content"] = json!("<p>no card</p>");
    let mut object = good.clone();
    object["attachments"][0]["content"] = json!({ "type": "AdaptiveCard" });
    let mut no_card = good.clone();
    no_card["attachments"][0]["content"] = json!("{}");
    let mut as_text = good.clone();
    as_text["body"]["contentType"] = json!("text");
    for bad in [unnamed, object, no_card, as_text] {
        assert_eq!(
            code(&asked(microsoft.post(&token, &chat, &bad)).await),
            (400, "BadRequest".into()),
            "{bad}"
        );
    }
    assert_eq!(microsoft.stored(ADA), 1);
}

#[tokio::test]
async fn wrong_shapes_and_sizes_are_refused() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    let sized = |letters: usize| json!({ "body": { "content": "é".repeat(letters) } });
    let cases = [
        (json!({}), 400, "BadRequest"),
        (json!({ "body": { "content": "" } }), 400, "BadRequest"),
        (json!({ "body": { "content": "x", "contentType": "markdown" } }), 400, "BadRequest"),
        (json!({ "body": { "content": "x" }, "clientMessageId": "1" }), 400, "BadRequest"),
        (json!({ "body": { "content": "x" }, "attachments": [{}] }), 400, "BadRequest"),
        (sized(14 * 1024 + 1), 413, "RequestEntityTooLarge"),
        (sized(4_000_000), 413, "RequestEntityTooLarge"),
        (card("x", 14 * 1024), 413, "RequestEntityTooLarge"),
    ];
    for (body, status, expected) in cases {
        assert_eq!(code(&asked(microsoft.post(&token, &chat, &body)).await), (status, expected.into()));
    }
    assert_eq!(asked(microsoft.post(&token, &chat, &sized(14 * 1024))).await.0, 201);
    assert_eq!(microsoft.stored(ADA), 1);
}

#[tokio::test]
async fn each_call_has_its_scope() {
    let microsoft = Microsoft::start().await;
    let chat = escaped(&microsoft.chat(ADA));
    let sign_in = microsoft.code(ADA, &[("scope", "openid")]).await;
    let token = text(&microsoft.redeem(&sign_in, &[]).await.1, "access_token");
    let (messages, chat_path) = (format!("/chats/{chat}/messages"), format!("/chats/{chat}"));
    for path in
        ["/me", "/me/teamwork/installedApps", "/me/teamwork/installedApps/x/chat", &messages, &chat_path]
    {
        assert_eq!(code(&asked(microsoft.get(&token, path)).await), (403, "Forbidden".into()), "{path}");
    }
    let answer = asked(microsoft.post(&token, &microsoft.chat(ADA), &hello())).await;
    assert_eq!(code(&answer), (403, "Forbidden".into()));
}

#[tokio::test]
async fn an_expired_or_unknown_token_is_challenged() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    microsoft.simulator.advance_clock(Duration::from_mins(90));
    for token in [token.as_str(), "EwBunknown"] {
        let answer = microsoft.get(token, "/me").send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(code(&read(answer).await), (401, "InvalidAuthenticationToken".into()));
    }
}

#[tokio::test]
async fn other_peoples_chats_are_closed_and_gone_ones_are_not_found() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let bruno = microsoft.chat(BRUNO);
    assert_eq!(code(&asked(microsoft.post(&token, &bruno, &hello())).await), (403, "Forbidden".into()));
    assert_eq!(code(&asked(microsoft.post(&token, "19:none@unq.gbl.spaces", &hello())).await).0, 404);

    let old = microsoft.chat(ADA);
    microsoft.change(ADA, PersonChange { new_chat: Some(true), ..PersonChange::default() });
    let new = microsoft.chat(ADA);
    assert_ne!(old, new);
    assert_eq!(code(&asked(microsoft.post(&token, &old, &hello())).await), (404, "NotFound".into()));
    assert_eq!(asked(microsoft.post(&token, &new, &hello())).await.0, 201);

    microsoft.change(ADA, PersonChange { app_installed: Some(false), ..PersonChange::default() });
    assert_eq!(code(&asked(microsoft.post(&token, &new, &hello())).await).0, 404);
    let token = microsoft.access_token(DMITRI).await;
    let (_, apps) = asked(microsoft.get(&token, "/me/teamwork/installedApps")).await;
    assert_eq!(apps["value"].as_array().unwrap().len(), 1, "only the app that everybody has");
}

#[tokio::test]
async fn a_chat_takes_one_message_a_second() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    microsoft.simulator.turn(DialsChange { throttle: Some(true), ..DialsChange::default() });
    let post = async || microsoft.post(&token, &chat, &hello()).send().await.unwrap();
    assert_eq!(post().await.status(), 201);
    // On a busy machine a second may pass between two calls, so this asks until two fall into one.
    let mut throttled = post().await;
    while throttled.status() != 429 {
        throttled = post().await;
    }
    assert_eq!(throttled.headers()["retry-after"], "1");
    assert_eq!(code(&read(throttled).await), (429, "TooManyRequests".into()));
    microsoft.simulator.advance_clock(Duration::from_secs(1));
    assert_eq!(post().await.status(), 201);

    microsoft.simulator.turn(DialsChange { retry_after: Some(false), ..DialsChange::default() });
    let mut throttled = post().await;
    while throttled.status() != 429 {
        throttled = post().await;
    }
    assert!(!throttled.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn messages_are_listed_newest_first_by_graphs_rules() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    let chat = microsoft.chat(ADA);
    for number in 0..25 {
        let body = json!({ "body": { "content": number.to_string() } });
        assert_eq!(asked(microsoft.post(&token, &chat, &body)).await.0, 201);
    }
    let path = format!("/chats/{}/messages", escaped(&chat));
    let list = async |query: &[(&str, &str)]| asked(microsoft.get(&token, &path).query(query)).await;
    let contents = |page: &Value| -> Vec<String> {
        page["value"].as_array().unwrap().iter().map(|it| text(&it["body"], "content")).collect()
    };
    let (_, first) = list(&[]).await;
    assert_eq!((contents(&first).len(), contents(&first)[0].as_str()), (20, "24"));
    let (_, second) = asked(microsoft.client.get(text(&first, "@odata.nextLink")).bearer_auth(&token)).await;
    assert_eq!(contents(&second), ["4", "3", "2", "1", "0"]);
    assert_eq!(second["@odata.nextLink"], Value::Null);

    let middle = text(&first["value"][10], "createdDateTime");
    let (below, above) =
        (format!("createdDateTime lt {middle}"), format!("lastModifiedDateTime gt {middle}"));
    let created = ("$orderby", "createdDateTime desc");
    let modified = ("$orderby", "lastModifiedDateTime desc");
    assert_eq!(contents(&list(&[created, ("$filter", &below), ("$top", "50")]).await.1).len(), 14);
    assert_eq!(contents(&list(&[modified, ("$filter", &above)]).await.1).len(), 10);

    let refused: [&[(&str, &str)]; 6] = [
        &[("$top", "51")],
        &[("$top", "0")],
        &[("$orderby", "createdDateTime asc")],
        &[("$orderby", "id desc")],
        &[("$filter", &below)],
        &[created, ("$filter", "createdDateTime gt 2026-01-01T00:00:00Z")],
    ];
    for query in refused {
        assert_eq!(code(&list(query).await).0, 400, "{query:?}");
    }
}

#[tokio::test]
async fn what_graph_does_not_have_is_a_bad_request() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.access_token(ADA).await;
    assert_eq!(code(&asked(microsoft.get(&token, "/me/chats/x/messages")).await), (400, "BadRequest".into()));
}
