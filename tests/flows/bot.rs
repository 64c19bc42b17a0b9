//! What people do to the bot in Teams, and what comes of it.

use std::time::Duration;

use microsoft_simulator::{
    Complaint, Kind,
    activities::{Act, Sending, TokenFlaw},
    control::DialsChange,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    World,
    api::drawn,
    log::count,
    microsoft::{ADA, BRUNO, DMITRI, EMEKA},
    teams::{card, pressed},
};

/// A hub whose bot hears.
async fn world() -> World {
    let world = World::start().await;
    world.listen();
    world
}

/// Says something and waits until the bot has answered `times` in all; answers what it said last.
async fn ask(world: &World, upn: &str, text: &str, times: usize) -> String {
    assert_eq!(world.microsoft.say(upn, text).await, 200);
    world.microsoft.until_heard(upn, times).await.pop().unwrap()
}

#[tokio::test]
async fn who_installs_the_bot_is_greeted_once_and_who_removes_it_is_known_to() {
    for order in ["conversation_update_first", "installation_update_first"] {
        let world = world().await;
        let order = serde_json::from_value(json!(order)).unwrap();
        world.microsoft.turn(DialsChange { install_order: Some(order), ..DialsChange::default() });
        world.microsoft.simulator.install(world.microsoft.oid(DMITRI), true).await;
        let events = world.until_recorded("activity.handled.v1", 2).await;
        // Teams tells twice, at one moment or two.
        assert!((1..=2).contains(&count(&events, "connection.bot-installed.v1")));
        assert!(world.microsoft.until_heard(DMITRI, 1).await[0].contains("login"));
        assert_eq!(world.microsoft.heard(DMITRI).len(), 1);

        world.microsoft.simulator.install(world.microsoft.oid(DMITRI), false).await;
        let events = world.until_recorded("activity.handled.v1", 4).await;
        assert_eq!(count(&events, "connection.bot-removed.v1"), 1);
        assert_eq!(world.microsoft.heard(DMITRI).len(), 1);
    }
}

#[tokio::test]
async fn login_brings_a_card_that_opens_the_panel() {
    let world = world().await;
    let said = ask(&world, ADA, " LogIn\u{a0}", 1).await;
    assert!(!said.contains("http"), "{said}");
    let heard = world.microsoft.heard(ADA);
    let card = card(&heard[0]);
    assert_eq!((card["type"].as_str(), card["version"].as_str()), (Some("AdaptiveCard"), Some("1.4")));
    let url = card["actions"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/sign-in/", world.url)), "{card:#}");
    assert!(card["fallbackText"].as_str().unwrap().ends_with(url));
    assert_eq!(world.recorded("signin.requested.v2").await, 1);
}

#[tokio::test]
async fn status_logout_and_help_are_answered_and_the_rest_gets_help_once_in_ten_minutes() {
    let world = world().await;
    assert!(ask(&world, ADA, "status", 1).await.contains("not connected"));
    assert!(ask(&world, ADA, "logout", 2).await.contains("nothing to disconnect"));
    assert!(ask(&world, ADA, "help", 3).await.contains("logout"));
    assert!(ask(&world, ADA, "what can you do?", 4).await.contains("logout"));
    assert_eq!(world.microsoft.say(ADA, "hello").await, 200);
    // Nobody waits for a code, so this is a text like any other.
    assert_eq!(world.microsoft.say(ADA, "0123-abcd").await, 200);
    world.until_recorded("activity.handled.v1", 6).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 4);
    world.advance(Duration::from_mins(10));
    assert!(ask(&world, ADA, "hello?", 5).await.contains("logout"));
}

#[tokio::test]
async fn who_is_linked_hears_it_and_can_end_it() {
    let world = world().await;
    world.link("u-1", ADA).await;
    assert!(ask(&world, ADA, "status", 1).await.contains("u-1"));
    assert!(ask(&world, ADA, "logout", 2).await.contains("disconnected"));
    assert!(ask(&world, ADA, "status", 3).await.contains("not connected"));
    let events = world.events().await;
    assert_eq!((count(&events, "account.unlinked.v1"), count(&events, "connection.unlinked.v1")), (1, 1));
}

#[tokio::test]
async fn the_bot_speaks_the_language_of_the_person() {
    let world = world().await;
    let german = |sending: &mut Sending| {
        sending.change = json!({ "locale": "de-AT" });
    };
    world.microsoft.send(ADA, Act::Text("status".to_owned()), german).await;
    assert!(world.microsoft.until_heard(ADA, 1).await[0].starts_with("Sie sind nicht verbunden"));
}

#[tokio::test]
async fn in_a_group_the_bot_leads_to_the_personal_chat_and_tells_nothing() {
    let world = world().await;
    world.link("u-1", ADA).await;
    let oid = world.microsoft.oid(ADA);
    for (text, times) in [("login", 1), ("status", 2)] {
        assert_eq!(world.microsoft.simulator.say_in_group(oid, text).await.unwrap().status, Some(200));
        let said = world.microsoft.until_heard(ADA, times).await.pop().unwrap();
        assert!(said.contains("your own chat") && !said.contains("u-1"), "{said}");
    }
    world.microsoft.simulator.say_in_group(oid, "hello everybody").await.unwrap();
    let events = world.until_recorded("activity.handled.v1", 3).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 2);
    assert_eq!(count(&events, "connection.bot-installed.v1"), 0, "a group is no personal chat");
}

#[tokio::test]
async fn of_what_people_do_whose_tenant_is_not_let_in_nothing_is_kept_and_they_are_told_once() {
    let world = World::with(&[("SIGN_IN__TENANTS", "listed")]).await;
    world.listen();
    let tenant = world.person(EMEKA).tenant;
    let ids =
        |sent: &Value| [&sent["conversation"]["id"], &sent["id"]].map(|id| id.as_str().unwrap().to_owned());
    let login = async || {
        let sent = world.microsoft.send(EMEKA, Act::Text("login".to_owned()), |_| {}).await.remove(0);
        assert_eq!(sent.status, Some(200));
        let [conversation, id] = ids(&sent.activity);
        let inbox = world.hub().custody.name_of("activity", &[&conversation, &id]);
        world.hub().custody.get_inbox(inbox).await
    };
    let decide = async |what: &str| {
        let request = world.api.request(Method::POST, &format!("/v1/tenants/{tenant}/{what}"));
        let request = request.header("idempotency-key", drawn());
        assert_eq!(request.send().await.unwrap().status(), 202);
    };
    for _ in 0..2 {
        assert!(matches!(login().await, Ok(None)), "a payload that was destroyed had been kept");
    }
    assert!(world.microsoft.until_heard(EMEKA, 1).await[0].contains("does not use this service yet"));
    let events = world.events().await;
    assert_eq!((count(&events, "activity.received.v1"), count(&events, "tenant.seen.v1")), (0, 1));

    decide("admit").await;
    login().await.ok();
    world.microsoft.until_heard(EMEKA, 2).await;
    let events = world.until_recorded("activity.handled.v1", 1).await;
    assert_eq!(count(&events, "activity.received.v1"), 1);

    decide("block").await;
    assert!(matches!(login().await, Ok(None)));
    assert_eq!(world.recorded("activity.received.v1").await, 1);
    assert_eq!(world.microsoft.heard(EMEKA).len(), 2, "it was told there before");
}

#[tokio::test]
async fn an_activity_with_a_bad_token_is_refused_and_leaves_no_trace() {
    use TokenFlaw::{
        EmulatorIssuer, EntraKey, Expired, Garbage, Missing, NoServiceUrl, NotEndorsed, NotYetValid,
        OtherBot, UnknownKey, Unsigned, WrongAudience, WrongIssuer, WrongKey, WrongServiceUrl,
    };
    let world = world().await;
    let before = world.events().await.len();
    for flaw in [
        Missing,
        Garbage,
        WrongAudience,
        OtherBot,
        WrongIssuer,
        EmulatorIssuer,
        WrongKey,
        UnknownKey,
        NotEndorsed,
        EntraKey,
        WrongServiceUrl,
        NoServiceUrl,
        Expired,
        NotYetValid,
        Unsigned,
    ] {
        let sent = world.microsoft.send(ADA, Act::Text("login".to_owned()), |it| it.token = Some(flaw)).await;
        let status = if flaw == Missing { 401 } else { 403 };
        assert_eq!(sent[0].status, Some(status), "{flaw:?}: {}", sent[0].body);
        let body: Value = serde_json::from_str(&sent[0].body).unwrap();
        assert_eq!(body["status"], status, "{body}");
    }
    assert_eq!(world.events().await.len(), before);
    assert_eq!(world.microsoft.count("token.app") + world.microsoft.count("connector.send"), 0);
}

#[tokio::test]
async fn of_a_body_that_cannot_be_read_strangers_learn_nothing() {
    let world = world().await;
    for (flaw, status) in [(Some(TokenFlaw::Missing), 401), (Some(TokenFlaw::WrongKey), 403), (None, 400)] {
        let broken = |sending: &mut Sending| (sending.token, sending.change) = (flaw, json!({ "type": 7 }));
        let sent = world.microsoft.send(ADA, Act::Text("login".to_owned()), broken).await.remove(0);
        assert_eq!(sent.status, Some(status), "{}", sent.body);
        assert!(!sent.body.contains("::") && sent.body.contains("detail"), "{}", sent.body);
    }
}

#[tokio::test]
async fn what_is_not_for_the_bot_is_answered_clearly() {
    let world = world().await;
    let status = async |act: Act, change: Value| {
        world.microsoft.send(ADA, act, |sending| sending.change = change).await.remove(0)
    };
    let text = || Act::Text("login".to_owned());
    let tenants = json!({ "channelData": { "tenant": { "id": uuid::Uuid::from_u128(1) } } });
    assert_eq!(status(text(), tenants).await.status, Some(403));
    assert_eq!(status(text(), json!({ "channelId": "webchat" })).await.status, Some(403));
    assert_eq!(status(text(), json!({ "from": { "aadObjectId": null } })).await.status, Some(200));
    assert_eq!(status(Act::Other("messageReaction".to_owned()), json!({})).await.status, Some(200));
    let invoke =
        |name: &str| Act::Invoke { name: name.to_owned(), value: json!({ "id": "7", "state": "123" }) };
    let verified = status(invoke("signin/verifyState"), json!({})).await;
    assert_eq!((verified.status, verified.body.as_str()), (Some(200), "{}"));
    let exchanged = status(invoke("signin/tokenExchange"), json!({})).await;
    assert!(exchanged.status == Some(412) && exchanged.body.contains(r#""id":"7""#), "{}", exchanged.body);
    assert_eq!(status(invoke("task/fetch"), json!({})).await.status, Some(501));
    assert_eq!(world.recorded("activity.received.v1").await, 0);
    assert_eq!(world.microsoft.heard(ADA).len(), 0);
}

#[tokio::test]
async fn the_bot_answers_only_to_hosts_on_the_list() {
    let world = world().await;
    let before = world.events().await.len();
    for url in [
        "https://evil.trafficmanager.net/emea/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/",
        "http://smba.trafficmanager.net/emea/",
    ] {
        let elsewhere = DialsChange { service_url: Some(Some(url.to_owned())), ..DialsChange::default() };
        world.microsoft.turn(elsewhere);
        // The token vouches for the same address, as Microsoft's would.
        assert_eq!(world.microsoft.say(ADA, "login").await, 403, "{url}");
    }
    assert_eq!(world.events().await.len(), before);
    assert_eq!(world.microsoft.count("token.app"), 0, "no token is asked for, so none goes there");
}

#[tokio::test]
async fn bodies_that_can_not_be_used_are_refused_as_problems() {
    let world = world().await;
    let simulator = &world.microsoft.simulator;
    let token = simulator.bot_token(&simulator.service_url(), None).unwrap();
    let post = async |body: String| {
        let request = world.api.with_key(&token).request(Method::POST, "/api/messages");
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind)
    };
    let problem = |status: u16| (status, "application/problem+json".to_owned());
    assert_eq!(post("x".repeat(1024 * 1024)).await, problem(413));
    for broken in ["", "{", "[]", r#"{"type":"message"}"#] {
        assert_eq!(post(broken.to_owned()).await, problem(400), "{broken}");
    }
    let head = world.api.request(Method::HEAD, "/api/messages").send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn the_same_activity_ten_times_at_once_is_received_and_answered_once() {
    let world = world().await;
    let sent = world.microsoft.send(ADA, Act::Text("help".to_owned()), |sending| sending.times = 10).await;
    assert!(sent.iter().all(|sent| sent.status == Some(200)));
    world.until_recorded("activity.handled.v1", 1).await;
    let again =
        microsoft_simulator::activities::What::Again(sent[0].activity["id"].as_str().unwrap().to_owned());
    let again = microsoft_simulator::activities::Sending::new(again);
    assert_eq!(world.microsoft.simulator.send(again).await.unwrap()[0].status, Some(200));
    let events = world.events().await;
    assert_eq!((count(&events, "activity.received.v1"), count(&events, "notice.sent.v1")), (1, 1));
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
}

#[tokio::test]
async fn a_card_submitted_again_at_once_counts_once_and_later_again() {
    let world = world().await;
    let submit = async || {
        let sent = world.microsoft.send(ADA, pressed("status"), |sending| {
            (sending.times, sending.new_ids) = (3, true);
        });
        assert!(sent.await.iter().all(|sent| sent.status == Some(200)));
    };
    submit().await;
    world.until_recorded("activity.handled.v1", 1).await;
    submit().await;
    assert_eq!(world.recorded("activity.received.v1").await, 1);
    world.advance(Duration::from_secs(10));
    submit().await;
    world.until_recorded("activity.handled.v1", 2).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 2);
}

#[tokio::test]
async fn a_card_pressed_again_while_the_first_press_waits_acts_once_and_leaves_no_payload() {
    let world = world().await;
    let wait = Kind::Status { status: 429, retry_after_seconds: Some(3600) };
    world.microsoft.fault("connector.send", wait);
    let press = async || {
        let sent = world.microsoft.send(ADA, pressed("status"), |it| it.new_ids = true).await;
        assert_eq!(sent[0].status, Some(200));
    };
    press().await;
    world.until_recorded("notice.failed.v1", 1).await;
    press().await;
    assert_eq!(world.recorded("activity.received.v1").await, 1, "Microsoft sends some twice");
    world.advance(Duration::from_secs(11));
    press().await;
    let events = world.until_recorded("activity.received.v1", 2).await;
    // As long as Microsoft said; others are answered.
    world.advance(Duration::from_mins(55));
    ask(&world, BRUNO, "help", 1).await;
    assert_eq!(world.microsoft.count("connector.send"), 2);
    world.advance(Duration::from_mins(5));
    world.until_recorded("activity.handled.v1", 2).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
    for received in events.iter().filter(|event| event.name == "activity.received.v1") {
        let inbox = serde_json::from_value(received.data["inbox"].clone()).unwrap();
        let kept = world.hub().custody.get_inbox(inbox).await;
        assert!(matches!(kept, Err(custody::CustodyError::Destroyed { .. })), "{kept:?}");
    }
}

#[tokio::test]
async fn who_logs_in_while_connected_hears_that_they_are() {
    let world = world().await;
    world.link("u-1", ADA).await;
    let said = ask(&world, ADA, "login", 1).await;
    assert!(said.contains("connected already (account: u-1)"), "{said}");
}

#[tokio::test]
async fn what_was_typed_stands_nowhere_once_it_is_handled() {
    let world = world().await;
    ask(&world, ADA, "my password is hunter2-8Q~abc", 1).await;
    let events = world.until_recorded("activity.handled.v1", 1).await;
    let text = format!("{events:?}");
    assert!(!text.contains("hunter2"), "{text}");
    let inbox =
        events.iter().find(|event| event.name == "activity.received.v1").unwrap().data["inbox"].clone();
    let inbox: uuid::Uuid = serde_json::from_value(inbox).unwrap();
    let kept = world.hub().custody.get_inbox(inbox).await;
    assert!(matches!(kept, Err(custody::CustodyError::Destroyed { .. })), "{kept:?}");
    let metrics = world.api.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"chancery_activities_total{kind="message",answer="received"} 1"#),
        "{metrics}"
    );
    assert!(!metrics.contains("hunter2"));
}

#[tokio::test]
async fn a_person_who_blocks_the_bot_is_known_to_until_they_write_again() {
    for (complaint, lost) in [
        (Complaint::ConversationBlockedByUser, "connection.bot-blocked.v1"),
        (Complaint::MessageWritesBlocked, "connection.bot-blocked.v1"),
        (Complaint::BotNotInConversationRoster, "connection.bot-removed.v1"),
        (Complaint::ConversationNotFound, "connection.bot-removed.v1"),
    ] {
        let world = world().await;
        world.microsoft.fault("connector.send", Kind::Connector(complaint));
        assert_eq!(world.microsoft.say(BRUNO, "help").await, 200);
        let events = world.until_recorded("activity.handled.v1", 1).await;
        assert_eq!((count(&events, lost), count(&events, "notice.failed.v1")), (1, 1), "{complaint:?}");
        ask(&world, BRUNO, "help", 1).await;
        assert_eq!(world.recorded("connection.bot-installed.v1").await, 2, "{complaint:?}");
    }
}

#[tokio::test]
async fn what_was_surely_not_said_is_said_later_and_what_may_have_been_is_not_said_again() {
    let status = |status| Kind::Status { status, retry_after_seconds: Some(1) };
    for fault in [status(429), status(412), status(503), Kind::Connector(Complaint::Throttled)] {
        let world = world().await;
        world.microsoft.fault("connector.send", fault);
        assert_eq!(world.microsoft.say(ADA, "help").await, 200);
        world.until_recorded("notice.failed.v1", 1).await;
        world.advance(Duration::from_mins(1));
        let events = world.until_recorded("activity.handled.v1", 1).await;
        assert_eq!((count(&events, "notice.started.v1"), count(&events, "notice.sent.v1")), (2, 1));
        assert_eq!(world.microsoft.heard(ADA).len(), 1);
    }
    for (fault, heard) in [
        (Kind::AcceptThenStatus { status: 504 }, 1),
        (Kind::AcceptThenReset, 1),
        (Kind::Connector(Complaint::ServiceError), 0),
    ] {
        let world = world().await;
        world.microsoft.fault("connector.send", fault);
        assert_eq!(world.microsoft.say(ADA, "help").await, 200);
        let events = world.until_recorded("activity.handled.v1", 1).await;
        assert_eq!((count(&events, "notice.unknown.v1"), count(&events, "notice.started.v1")), (1, 1));
        assert_eq!(world.microsoft.heard(ADA).len(), heard);
    }
}

#[tokio::test]
async fn what_microsoft_refuses_for_good_is_given_up() {
    for complaint in [Complaint::BotDisabledByAdmin, Complaint::BadArgument, Complaint::MessageSizeTooBig] {
        let world = world().await;
        world.microsoft.fault("connector.send", Kind::Connector(complaint));
        assert_eq!(world.microsoft.say(ADA, "help").await, 200);
        let events = world.until_recorded("activity.handled.v1", 1).await;
        let handled = events.iter().find(|event| event.name == "activity.handled.v1").unwrap();
        assert_eq!(handled.data["outcome"], "unanswered", "{complaint:?}");
        assert_eq!(count(&events, "notice.started.v1"), 1);
    }
}
