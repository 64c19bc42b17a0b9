//! The Bot Connector: the bot's token, what it may say where, and each way of being refused.

use std::time::Duration;

use chancery_microsoft_simulator::control::{Author, DialsChange, PersonChange};
use chancery_microsoft_simulator::{CONTOSO, Complaint, Kind};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bot::hello_activity;
use crate::harness::*;

fn code((status, body): (StatusCode, Value)) -> (u16, String) {
    (status.as_u16(), text(&body["error"], "code"))
}

fn card() -> Value {
    json!({
        "type": "message",
        "summary": "Sign in",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": { "type": "AdaptiveCard", "version": "1.5", "body": [{ "type": "TextBlock", "text": "Sign in" }] },
        }],
    })
}

#[tokio::test]
async fn the_bot_gets_a_token_of_its_own() {
    let microsoft = Microsoft::start().await;
    let contoso = CONTOSO.to_string();
    for tenant in ["botframework.com", "d6d49420-f39b-4df7-a1dc-d59a935871db", "contoso.example", &contoso] {
        let (status, answer) = microsoft.app_token_for(&[("tenant", tenant)]).await;
        assert_eq!((status.as_u16(), &answer["expires_in"]), (200, &json!(3600)), "{tenant}");
        assert_eq!((&answer["refresh_token"], &answer["id_token"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(microsoft.count("token.app", 200), 4);
    let sign_in_app = microsoft.settings.client_id.to_string();
    let cases = [
        ("tenant", "organizations", 9_001_023),
        ("tenant", "consumers", 9_001_023),
        ("tenant", "nowhere.example", 90002),
        ("client_id", sign_in_app.as_str(), 700_016),
        ("client_secret", "wrong", 7_000_215),
        ("client_secret", &microsoft.settings.client_secret, 7_000_215),
        ("client_secret", "", 7_000_218),
        ("scope", "", 900_144),
        ("scope", "https://api.botframework.com/Chat.Send", 1_002_012),
        ("scope", "https://graph.microsoft.com/.default", 500_011),
    ];
    for (field, value, expected) in cases {
        assert_eq!(aadsts(&microsoft.app_token_for(&[(field, value)]).await), expected, "{field}={value}");
    }
    microsoft.fault("token.app", Kind::Aadsts { code: 7_000_222 });
    assert_eq!(aadsts(&microsoft.app_token_for(&[]).await), 7_000_222);
}

#[tokio::test]
async fn only_the_bots_own_token_opens_the_connector_and_only_for_its_time() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let of_a_person = microsoft.access_token(ADA).await;
    for wrong in ["", "wrong", of_a_person.as_str()] {
        let refused = code(asked(microsoft.bot_says(wrong, ADA, &hello_activity())).await);
        assert_eq!(refused, (401, "BotNotRegistered".into()));
    }
    assert_eq!(asked(microsoft.get(&token, "/me")).await.0, 401, "and it opens nothing of Graph");
    assert_eq!(asked(microsoft.bot_says(&token, ADA, &hello_activity())).await.0, 201);
    microsoft.simulator.advance_clock(Duration::from_hours(1));
    assert_eq!(code(asked(microsoft.bot_says(&token, ADA, &hello_activity())).await).0, 401);
}

#[tokio::test]
async fn what_the_bot_says_can_be_answered_changed_and_taken_back() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let (_, said) = asked(microsoft.bot_says(&token, ADA, &card())).await;
    let id = text(&said, "id");
    let path = format!("/{}/activities/{id}", escaped(&microsoft.conversation(ADA)));
    let answer = microsoft.connector(&token, Method::POST, &path).json(&hello_activity());
    assert_eq!(asked(answer).await.0, 201);
    let change = json!({ "type": "message", "text": "Signed in" });
    let (status, changed) = asked(microsoft.connector(&token, Method::PUT, &path).json(&change)).await;
    assert_eq!((status.as_u16(), text(&changed, "id")), (200, id.clone()));

    let said = microsoft.simulator.said(Some(Author::Bot), None, Some(microsoft.oid(ADA)));
    assert_eq!(
        (said[0].content.as_str(), said[0].edited, said[0].reply_to.as_deref()),
        ("Signed in", true, None)
    );
    assert_eq!((said[1].content.as_str(), said[1].reply_to.as_deref()), ("Hello", Some(id.as_str())));
    assert_eq!(microsoft.simulator.messages(None, None).len(), 0, "Graph posted none of them");

    let delete = || microsoft.connector(&token, Method::DELETE, &path).send();
    assert_eq!(delete().await.unwrap().status(), 200);
    assert_eq!(code(read(delete().await.unwrap()).await), (404, "ActivityNotFoundInConversation".into()));
}

#[tokio::test]
async fn the_bot_does_not_change_what_others_said() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let posted = microsoft.post(&microsoft.access_token(ADA).await, &microsoft.chat(ADA), &hello());
    let id = text(&asked(posted).await.1, "id");
    let path = format!("/{}/activities/{id}", escaped(&microsoft.conversation(ADA)));
    for method in [Method::PUT, Method::DELETE] {
        let refused = asked(microsoft.connector(&token, method, &path).json(&hello_activity())).await;
        assert_eq!(code(refused), (403, "NotEnoughPermissions".into()));
    }
}

#[tokio::test]
async fn graph_shows_what_the_bot_said_as_the_bots() {
    let microsoft = Microsoft::start().await;
    asked(microsoft.bot_says(&microsoft.app_token().await, ADA, &card())).await;
    let path = format!("/chats/{}/messages", escaped(&microsoft.chat(ADA)));
    let (_, listed) = asked(microsoft.get(&microsoft.access_token(ADA).await, &path)).await;
    let from = &listed["value"][0]["from"];
    assert_eq!(from["application"]["id"], microsoft.settings.bot_app_id.to_string());
    assert_eq!(from["user"], Value::Null);
    assert!(text(&listed["value"][0]["attachments"][0], "content").contains("AdaptiveCard"));
}

#[tokio::test]
async fn where_the_bot_is_not_wanted_it_says_nothing() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let say = async |upn: &str| code(asked(microsoft.bot_says(&token, upn, &hello_activity())).await);
    assert_eq!(say(DMITRI).await, (403, "BotNotInConversationRoster".into()));
    microsoft.change(ADA, PersonChange { bot_blocked: Some(true), ..PersonChange::default() });
    assert_eq!(say(ADA).await, (403, "ConversationBlockedByUser".into()));
    let old = microsoft.conversation(BRUNO);
    microsoft.change(BRUNO, PersonChange { new_chat: Some(true), ..PersonChange::default() });
    for unknown in [old.as_str(), "a:1nobody", &microsoft.chat(BRUNO)] {
        let path = format!("/{}/activities", escaped(unknown));
        let refused = asked(microsoft.connector(&token, Method::POST, &path).json(&hello_activity())).await;
        assert_eq!(code(refused), (404, "ConversationNotFound".into()), "{unknown}");
    }
    assert!(microsoft.simulator.said(None, None, None).is_empty());
    let answer = microsoft.bot_says(&token, BRUNO, &hello_activity()).send().await.unwrap();
    assert!(answer.headers().contains_key("ms-cv"));
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn graphs_list_of_apps_agrees_with_the_bot() {
    let microsoft = Microsoft::start().await;
    let (token, graph) = (microsoft.app_token().await, microsoft.access_token(ADA).await);
    for (installed, apps, status) in [(false, 1, 403), (true, 2, 201)] {
        microsoft.change(ADA, PersonChange { app_installed: Some(installed), ..PersonChange::default() });
        let (_, list) = asked(microsoft.get(&graph, "/me/teamwork/installedApps")).await;
        assert_eq!(list["value"].as_array().unwrap().len(), apps);
        assert_eq!(asked(microsoft.bot_says(&token, ADA, &hello_activity())).await.0, status);
    }
}

#[tokio::test]
async fn a_conversation_with_somebody_is_always_the_same_one() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let user = microsoft.person(ADA, |ada| ada.user_id.clone());
    let create = |bot: &str, member: &str, tenant: &str| {
        let body = json!({
            "isGroup": false,
            "bot": { "id": bot },
            "members": [{ "id": member }],
            "tenantId": tenant,
            "channelData": { "tenant": { "id": tenant } },
        });
        asked(microsoft.connector(&token, Method::POST, "").json(&body))
    };
    let (bot, contoso) = (microsoft.simulator.bot_id(), CONTOSO.to_string());
    for member in [&user, &microsoft.oid(ADA).to_string()] {
        let (status, made) = create(&bot, member, &contoso).await;
        assert_eq!((status.as_u16(), text(&made, "id")), (201, microsoft.conversation(ADA)));
        assert_eq!(text(&made, "serviceUrl"), microsoft.simulator.service_url());
    }
    let fabrikam = microsoft.person(ADA_OF_FABRIKAM, |ada| ada.tid).to_string();
    assert_eq!(code(create(&bot, &user, &fabrikam).await), (400, "BadArgument".into()));
    assert_eq!(code(create(&bot, "29:1nobody", &contoso).await), (400, "BadArgument".into()));
    assert_eq!(code(create("28:other", &user, &contoso).await), (401, "BotNotRegistered".into()));
    let dmitri = microsoft.person(DMITRI, |it| it.user_id.clone());
    assert_eq!(code(create(&bot, &dmitri, &contoso).await), (403, "BotNotInConversationRoster".into()));
}

#[tokio::test]
async fn members_are_listed_page_by_page() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let get = async |path: String| asked(microsoft.connector(&token, Method::GET, &path)).await;
    let ada = escaped(&microsoft.conversation(ADA));
    let (_, members) = get(format!("/{ada}/members")).await;
    assert_eq!((&members[0]["aadObjectId"], &members[1]), (&json!(microsoft.oid(ADA)), &Value::Null));
    let (_, member) = get(format!("/{ada}/members/{}", escaped(&text(&members[0], "id")))).await;
    assert_eq!(member, members[0]);
    let stranger = microsoft.person(BRUNO, |bruno| bruno.user_id.clone());
    let refused = get(format!("/{ada}/members/{}", escaped(&stranger))).await;
    assert_eq!(code(refused), (404, "MemberNotFoundInConversation".into()));

    let group = escaped(&format!("19:{}@thread.v2", CONTOSO.simple()));
    let (_, first) = get(format!("/{group}/pagedmembers?pageSize=3")).await;
    let next = text(&first, "continuationToken");
    let (_, second) = get(format!("/{group}/pagedmembers?pageSize=3&continuationToken={next}")).await;
    let count = |page: &Value| page["members"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), &second["continuationToken"]), (3, 1, &Value::Null));
}

#[tokio::test]
async fn a_conversation_takes_so_much_and_then_says_when() {
    let microsoft = Microsoft::start().await;
    microsoft.turn(DialsChange { throttle: Some(true), ..DialsChange::default() });
    let token = microsoft.app_token().await;
    let say = || microsoft.bot_says(&token, ADA, &hello_activity()).send();
    let mut refused = None;
    for _ in 0..9 {
        let answer = say().await.unwrap();
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("more than eight within two seconds");
    assert!(["1", "2"].contains(&refused.headers()["retry-after"].to_str().unwrap()));
    assert_eq!(code(read(refused).await), (429, "Throttled".into()));
    microsoft.turn(DialsChange { retry_after: Some(false), ..DialsChange::default() });
    let refused = say().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().get("retry-after")), (429, None));
    microsoft.simulator.advance_clock(Duration::from_secs(2));
    assert_eq!(say().await.unwrap().status(), 201);
}

#[tokio::test]
async fn odd_activities_are_refused_in_the_connectors_words() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let mut broken_card = card();
    broken_card["attachments"][0]["content"]["type"] = "Card".into();
    let cases = [
        (json!({ "type": "message" }), (400, "BadArgument")),
        (json!({ "type": "trace", "text": "x" }), (400, "BadArgument")),
        (json!({ "text": "x" }), (400, "BadArgument")),
        (broken_card, (400, "BadArgument")),
        (json!({ "type": "message", "text": "x".repeat(51 * 1024) }), (413, "MessageSizeTooBig")),
        (json!({ "type": "message", "text": "x".repeat(3 * 1024 * 1024) }), (413, "MessageSizeTooBig")),
    ];
    for (activity, (status, expected)) in cases {
        let refused = code(asked(microsoft.bot_says(&token, ADA, &activity)).await);
        assert_eq!(refused, (status, expected.into()));
    }
    assert_eq!(asked(microsoft.bot_says(&token, ADA, &json!({ "type": "typing" }))).await.0, 201);
    assert!(microsoft.simulator.said(None, None, None).is_empty());
}

#[tokio::test]
async fn every_complaint_can_be_asked_for() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let say = || microsoft.bot_says(&token, ADA, &hello_activity());
    for status in [400, 401, 403, 404, 412, 413, 429, 500, 502, 503, 504] {
        microsoft.fault("connector.send", Kind::Status { status, retry_after_seconds: None });
        assert_eq!(code(asked(say()).await).0, status);
    }
    for (complaint, status) in [
        (Complaint::BotDisabledByAdmin, 403),
        (Complaint::InvalidBotApiHost, 403),
        (Complaint::ConversationBlockedByUser, 403),
        (Complaint::PreconditionFailed, 412),
    ] {
        microsoft.fault("connector", Kind::Connector(complaint));
        assert_eq!(code(asked(say()).await), (status, format!("{complaint:?}")));
    }
    microsoft.fault("connector.send", Kind::Connector(Complaint::MessageWritesBlocked));
    let (status, body) = asked(say()).await;
    assert_eq!((status.as_u16(), &body["errorCode"]), (403, &json!(209)));
    let inner: Value = serde_json::from_str(&text(&body, "message")).unwrap();
    assert_eq!(inner["subCode"], "MessageWritesBlocked");
    assert!(microsoft.simulator.said(None, None, None).is_empty());
}

#[tokio::test]
async fn what_the_connector_accepted_is_there_whatever_it_answers() {
    let microsoft = Microsoft::start().await;
    let token = microsoft.app_token().await;
    let say = || microsoft.bot_says(&token, ADA, &hello_activity());
    microsoft.fault("connector.send", Kind::AcceptThenStatus { status: 504 });
    assert_eq!(asked(say()).await.0, 504);
    microsoft.fault("connector.send", Kind::AcceptThenReset);
    assert!(say().send().await.is_err());
    microsoft.fault("connector.send", Kind::AcceptLate { delay_ms: 1 });
    assert_eq!(asked(say()).await.0, 201);
    assert_eq!(microsoft.simulator.said(Some(Author::Bot), None, None).len(), 3);
}
