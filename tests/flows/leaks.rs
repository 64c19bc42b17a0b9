//! No secret is anywhere but in the vault, sealed: not in the log, the read models, the logs, the metrics or an answer.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use microsoft_simulator::{
    Flaw, Garbage, Kind,
    activities::{Act, TokenFlaw},
};
use serde_json::json;

use crate::harness::{
    World,
    api::{answer, by_person},
    browser::{Browser, query},
    log_file,
    microsoft::{ADA, BRUNO, HOUR, Microsoft},
    panel::Endpoint,
    process::{Home, two_free_ports},
    secrets::{Needle, found, hold_files_free, hold_free, issued},
    teams::card,
};

/// What was said in messages and to sign in; sealed, so not to be found either.
const SAID: &str = "The quarterly numbers are confidential.";

#[test]
fn what_is_there_is_found_in_every_form() {
    let secret = "Zm9vYmFy-geheim~42";
    let needles = [Needle::new("secret", secret)];
    let longer = format!("x={secret}&y");
    for text in [
        longer.clone(),
        hex::encode(&longer),
        BASE64_STANDARD.encode(&longer),
        BASE64_URL_SAFE_NO_PAD.encode(&longer),
    ] {
        assert_eq!(found(&text, &needles), ["secret"], "{text}");
    }
    hold_free("a text", "nothing of the kind", &needles);
}

#[tokio::test]
async fn no_secret_is_in_any_file_log_or_answer() {
    let logged_before = std::fs::read(log_file()).map_or(0, |log| log.len());
    let world = World::start().await;
    let mut needles = vec![Needle::new("API key", &world.api.key), Needle::new("content", SAID)];

    world.microsoft.flaw(Flaw::WrongNonce);
    let link = world.api.invite("u-account-1001", None).await;
    let mut browser = Browser::new();
    browser.sign_in(&link.url, ADA).await;
    world.microsoft.fault("token.code", Kind::Garbage { form: Garbage::Truncated });
    browser.sign_in(&link.url, ADA).await;
    let authorize = browser.press(&link.url).await;
    let callback = browser.at_microsoft(&authorize, &[("person", ADA), ("consent", "accept")]).await;
    let code = browser.get(&callback).await.code();
    assert_eq!(world.api.confirm(&link.id, &code).await.status, 204);
    let message = world.deliver("u-account-1001", SAID).await;
    world.advance(2 * HOUR);
    world.microsoft.fault("token.refresh", Kind::Garbage { form: Garbage::Truncated });
    world.microsoft.fault("graph.post", Kind::Status { status: 401, retry_after_seconds: None });
    let last = world.api.send("u-account-1001", "Another one").await;
    world.until_recorded("connection.refresh-failed.v1", 1).await;
    world.advance(HOUR);
    world.until_message_is(&last, "delivered").await;

    needles.extend(issued(&world.microsoft.simulator));
    let kinds = ["code", "code_verifier", "access_token", "refresh_token", "id_token", "client_secret"];
    let given: Vec<_> = world.microsoft.simulator.secrets().iter().map(|secret| secret.kind).collect();
    assert!(kinds.iter().all(|kind| given.contains(kind)), "{given:?}");
    let metrics = world.api.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    hold_free("/metrics", &metrics.text().await.unwrap(), &needles);
    let person = by_person(world.person(ADA));
    let history = format!(
        "/v1/tenants/{}/connections/{}/history",
        person["tenant"].as_str().unwrap(),
        person["object_id"].as_str().unwrap(),
    );
    for path in [history, format!("/v1/messages/{}", message["id"].as_str().unwrap())] {
        let shown = world.api.get(&path).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        hold_free(&path, &shown.body.to_string(), &needles);
    }

    // What only the browser and the product were given.
    let state = query(&authorize, "state").unwrap();
    needles.extend([
        Needle::new("cookie", browser.cookie.as_deref().unwrap().split_once('=').unwrap().1),
        Needle::new("link", link.url.rsplit_once('.').unwrap().1),
        Needle::new("state", state.rsplit_once('.').unwrap().1),
        Needle::new("nonce", &query(&authorize, "nonce").unwrap()),
        Needle::new("confirmation code", &code),
        Needle::new("account", "u-account-1001"),
        Needle::new("user principal name", ADA),
        Needle::new("name", "Bergström"),
    ]);
    assert!(hold_files_free(&world.data(), &needles) > 5);
    let log = std::fs::read(log_file()).unwrap();
    hold_free("the log", &String::from_utf8_lossy(&log[logged_before..]), &needles[..needles.len() - 3]);
}

#[tokio::test]
async fn nothing_that_people_type_to_the_bot_or_on_the_panel_is_in_any_file_log_event_or_metric() {
    let logged_before = std::fs::read(log_file()).map_or(0, |log| log.len());
    let endpoint = Endpoint::start().await;
    let mut needles = Vec::new();
    let mut typed = |what: &str| {
        let text = format!("{what}, which is for nobody to find");
        needles.push(Needle::new(what, &text));
        text
    };
    let secret = typed("the product's secret");
    let world = World::with(&[
        ("PASSWORD__KIND", "endpoint"),
        ("PASSWORD__ENDPOINT_URL", &endpoint.url),
        ("PASSWORD__ENDPOINT_SECRET", &secret),
    ])
    .await;
    world.listen();
    let microsoft = &world.microsoft;

    // To the bot: what it answers, can't answer, does not know or does not believe.
    microsoft.say(ADA, &typed("a text")).await;
    microsoft.until_heard(ADA, 1).await;
    microsoft.fault("connector.send", Kind::Status { status: 500, retry_after_seconds: None });
    microsoft.say(BRUNO, &typed("a text without an answer")).await;
    world.until_recorded("notice.unknown.v1", 1).await;
    microsoft.simulator.say_in_group(microsoft.oid(ADA), &typed("a text in a group")).await.unwrap();
    let value = json!({ "command": "status", "comment": typed("a comment on a card") });
    microsoft.send(ADA, Act::Submit { reply_to: "1732365000987".to_owned(), value }, |_| {}).await;
    let value = json!({ "state": typed("a state") });
    microsoft.send(ADA, Act::Invoke { name: "signin/verifyState".to_owned(), value }, |_| {}).await;
    for (token, change) in [(Some(TokenFlaw::WrongKey), json!({})), (None, json!({ "type": 7 }))] {
        let text = Act::Text(typed("a text that is refused"));
        microsoft.send(ADA, text, |it| (it.token, it.change) = (token, change)).await;
    }
    // On the panel, and the code in the chat.
    microsoft.say(ADA, "login").await;
    microsoft.until_heard(ADA, 3).await;
    let link = card(&microsoft.heard(ADA)[2])["actions"][0]["url"].as_str().unwrap().to_owned();
    let (name, mut browser) = (typed("a name"), Browser::new());
    for (status, answer) in
        [(200, r#"{"result":"wrong"}"#), (500, ""), (200, r#"{"result":"second_factor"}"#)]
    {
        endpoint.answers(status, answer);
        browser.type_password(&link, &name, &typed("a password")).await;
    }
    let (shown, account) = (typed("a display name"), typed("an account"));
    endpoint.answers(200, &json!({ "result": "ok", "account": account, "display_name": shown }).to_string());
    let (password, factor) = (typed("the right password"), typed("a second factor"));
    let fields = [("name", name.as_str()), ("password", &password), ("second_factor", &factor)];
    assert_eq!(browser.submit(&link, "password", &fields).await.status, 303);
    let code = browser.get(&link).await.typed_code().unwrap();
    microsoft.say(ADA, &code).await;
    world.until_recorded("account.linked.v1", 1).await;
    let events = world.until_recorded("activity.handled.v1", 6).await;

    let plain = code.replace('-', "");
    needles.extend([Needle::short("code", &code), Needle::short("code without its dash", &plain)]);
    needles.extend(issued(&microsoft.simulator));
    let given: Vec<_> = microsoft.simulator.secrets().iter().map(|secret| secret.kind).collect();
    let kinds = ["activity_token", "app_token", "bot_secret"];
    assert!(kinds.iter().all(|kind| given.contains(kind)), "{given:?}");
    needles.extend([
        Needle::new("cookie", browser.cookie.as_deref().unwrap().split_once('=').unwrap().1),
        Needle::new("link", link.rsplit_once('.').unwrap().1),
    ]);
    hold_free("the events", &format!("{events:?}"), &needles);
    let metrics = world.api.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    hold_free("/metrics", &metrics.text().await.unwrap(), &needles);
    assert!(hold_files_free(&world.data(), &needles) > 5);
    let log = std::fs::read(log_file()).unwrap();
    hold_free("the log", &String::from_utf8_lossy(&log[logged_before..]), &needles);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_itself_logs_no_secret_and_leaves_none_in_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let port = two_free_ports();
    let microsoft = Arc::new(Microsoft::start(&format!("http://localhost:{port}")));
    let settings = &microsoft.settings;
    let metadata = format!("{}/botframework/v1/.well-known/openidconfiguration", microsoft.url);
    let more = [
        ("LOG__LEVEL", "trace"),
        ("BOT__APP_ID", &settings.bot_app_id.to_string()),
        ("BOT__APP_SECRET", &settings.bot_app_secret),
        ("BOT__METADATA_URL", &metadata),
    ];
    let home = Home::new(directory.path(), port, &microsoft, &more);
    let hub = home.start();
    let api = home.api();
    let link = api.invite("u-account-1001", Some(microsoft.person(BRUNO))).await;
    let mut browser = Browser::new();
    let callback = browser.callback(&link.url, BRUNO).await;
    assert_eq!(browser.get(&callback).await.title(), "You are connected");
    api.send("u-account-1001", SAID).await;
    microsoft.called("graph.post", 1).await;
    microsoft.simulator.advance_clock(2 * HOUR);
    let control = api.with_key(home.dev_file()["control_token"].as_str().unwrap());
    let advance = control.request(reqwest::Method::POST, "/dev/clock/advance");
    assert_eq!(answer(advance.json(&json!({ "seconds": 7200 }))).await.status, 200);
    api.send("u-account-1001", SAID).await;
    microsoft.called("graph.post", 2).await;
    microsoft.listen(&home.url);
    let typed = "what Bruno types, which is for nobody to find";
    assert_eq!(microsoft.say(BRUNO, typed).await, 200);
    microsoft.until_heard(BRUNO, 1).await;
    hub.kill();

    let mut needles = issued(&microsoft.simulator);
    needles.extend([
        Needle::new("content", SAID),
        Needle::new("what was typed", typed),
        Needle::new("cookie", browser.cookie.as_deref().unwrap().split_once('=').unwrap().1),
        Needle::new("link", link.url.rsplit_once('.').unwrap().1),
        Needle::new("state", query(&callback, "state").unwrap().rsplit_once('.').unwrap().1),
    ]);
    hold_free("standard error", &home.said(), &needles);
    // Its greeting shows the key, as it should; nothing else does.
    needles.push(Needle::new("API key", &api.key));
    assert!(hold_files_free(&home.data(), &needles) > 5);
}
