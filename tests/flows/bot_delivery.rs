//! Delivery by the bot: in its own voice, by its own token, into the chat that it was told of; what the Bot Connector's
//! answers mean, and which way a message goes.

use chancery::services::{echoes, sign_ins::CodeTried};
use microsoft_simulator::{
    Complaint, Garbage, Kind,
    control::{DialsChange, Echo},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    World,
    api::{answer, drawn, text, to_account},
    browser::Browser,
    log::count,
    microsoft::{ADA, HOUR},
    panel::PASSWORD,
};

/// Nothing holds up those that come after an unknown outcome, and no answer is waited for long.
const UNBROKEN: &[(&str, &str)] = &[
    ("DELIVERY__BREAKER_UNKNOWNS", "1000"),
    ("OUTBOUND__REQUEST_TIMEOUT_MS", "700"),
    ("OUTBOUND__CONNECT_TIMEOUT_MS", "600"),
];

impl World {
    async fn set_policy(&self, policy: Value) {
        let path = format!("/v1/tenants/{}/policy", self.person(ADA).tenant);
        let set = answer(self.api.request(Method::PUT, &path).json(&policy)).await;
        assert_eq!(set.status, 202, "{set:?}");
        let (tenant, after) = (self.person(ADA).tenant, text(&set.body["position"]));
        let shown = self.api.get(&format!("/v1/tenants/{tenant}?after={after}")).await;
        assert_eq!(shown.body["policy"], policy);
    }
}

fn status(status: u16) -> Kind {
    Kind::Status { status, retry_after_seconds: None }
}

#[tokio::test]
async fn the_bot_speaks_in_its_own_voice_without_a_token_of_the_person() {
    let world = World::with_bot(&[]).await;
    let message = world.send_by("bot", "Your check-in is due.").await;
    let delivered = world.until_message_is(&message, "delivered").await;
    assert_eq!((&delivered["surface"], &delivered["sent_by"]), (&json!("bot"), &json!("bot")));
    assert_eq!(
        (world.said(), world.microsoft.texts(ADA).len()),
        (vec!["Your check-in is due.".to_owned()], 0)
    );

    let data = json!({ "title": "Revenue", "start": "0", "target": "10", "current": "7.5", "unit": "M" });
    let content = json!({ "type": "template", "template": "key_result_progress", "data": data });
    let body = json!({ "recipient": { "account": "u-1" }, "content": content, "surface": "bot" });
    let message = text(&world.api.post("/v1/messages", &drawn(), &body).await.body["id"]);
    world.until_message_is(&message, "delivered").await;
    let events = world.events().await;
    let started: Vec<_> = events.iter().filter(|event| event.name == "lane.delivery-started.v1").collect();
    assert!(started.iter().all(|event| event.data["surface"] == "bot" && event.data["grant"].is_null()));
    assert_eq!(started[1].data["template"], json!({ "name": "key_result_progress", "version": 1 }));
    let accepted = events.iter().rfind(|event| event.name == "message.accepted.v1").unwrap();
    assert_eq!(started[1].data["content_hash"], accepted.data["content_hash"]);
    assert_eq!((world.microsoft.count("graph.post"), world.microsoft.count("token.app")), (0, 1));
}

#[tokio::test]
async fn who_has_not_the_bot_gets_all_of_it_in_order_once_they_have_and_graph_is_not_held_up() {
    let world = World::with(&[]).await;
    world.link("u-1", ADA).await;
    let first = world.send_by("bot", "first").await;
    assert_eq!(world.until_message_is(&first, "parked").await["why"], "bot_not_installed");
    world.send_by("bot", "second").await;
    let by_graph = world.send_by("graph", "by Graph").await;
    world.until_message_is(&by_graph, "delivered").await;
    assert_eq!(world.until_message_is(&first, "parked").await["attempts"], 0);
    world.install(ADA).await;
    world.until_recorded("lane.delivered.v1", 3).await;
    assert_eq!(
        (world.said(), world.microsoft.texts(ADA)),
        (vec!["first".into(), "second".into()], vec!["by Graph".into()])
    );
    assert_eq!(world.recorded("lane.resumed.v1").await, 1);
}

#[tokio::test]
async fn where_the_bot_may_not_write_the_lane_waits_until_it_is_installed_again() {
    let world = World::with_bot(&[]).await;
    let (blocked, removed) = ("bot_blocked", "bot_not_installed");
    for (number, (complaint, why)) in [
        (Complaint::ConversationBlockedByUser, blocked),
        (Complaint::MessageWritesBlocked, blocked),
        (Complaint::BotNotInConversationRoster, removed),
        (Complaint::ConversationNotFound, removed),
    ]
    .into_iter()
    .enumerate()
    {
        world.microsoft.fault("connector.send", Kind::Connector(complaint));
        let message = world.send_by("bot", &format!("message {number}")).await;
        assert_eq!(world.until_message_is(&message, "parked").await["why"], why, "{complaint:?}");
        let next = world.send_by("bot", &format!("next {number}")).await;
        world.advance(HOUR / 6);
        let waits = world.until_message_is(&next, "parked").await;
        assert_eq!((&waits["attempts"], &waits["why"]), (&json!(0), &json!(why)));
        world.install(ADA).await;
        world.until_message_is(&next, "delivered").await;
        assert_eq!(world.api.message(&message).await["attempts"], 2);
    }
    let expected: Vec<_> = (0..4).flat_map(|n| [format!("message {n}"), format!("next {n}")]).collect();
    assert_eq!(world.said(), expected);
    let events = world.events().await;
    let lost = ["connection.bot-blocked.v1", "connection.bot-removed.v1"].map(|name| count(&events, name));
    assert_eq!(
        (lost, count(&events, "lane.parked.v1"), world.microsoft.count("connector.send")),
        ([2, 2], 4, 12)
    );
}

#[tokio::test]
async fn what_is_known_not_to_have_been_said_is_said_later_and_once() {
    let world = World::with_bot(&[]).await;
    let retry_after = |status| Kind::Status { status, retry_after_seconds: Some(30) };
    let mut expected = Vec::new();
    for (fault, why) in [
        (Kind::Connector(Complaint::PreconditionFailed), "not_sent"),
        (retry_after(429), "throttled"),
        (status(429), "throttled"),
        (retry_after(503), "not_sent"),
        (Kind::Connector(Complaint::ServiceUnavailable), "not_sent"),
    ] {
        world.microsoft.fault("connector.send", fault);
        let content = format!("{fault:?}");
        let message = world.send_by("bot", &content).await;
        assert_eq!(world.until_message_is(&message, "deferred").await["why"], why, "{content}");
        world.advance(HOUR / 4);
        assert_eq!(world.until_message_is(&message, "delivered").await["attempts"], 2, "{content}");
        expected.push(content);
    }
    assert_eq!(world.said(), expected);
}

#[tokio::test]
async fn a_way_that_is_put_off_does_not_hold_up_the_other() {
    let world = World::with_bot(&[]).await;
    let ways = [("graph", "graph.post", "bot"), ("bot", "connector.send", "graph")];
    for (put_off, call, other) in ways {
        world.microsoft.fault(call, Kind::Status { status: 429, retry_after_seconds: Some(120) });
        let waits = world.send_by(put_off, "first").await;
        assert_eq!(world.until_message_is(&waits, "deferred").await["why"], "throttled");
        let behind = world.send_by(put_off, "second").await;
        let passes = world.send_by(other, "by the other way").await;
        world.until_message_is(&passes, "delivered").await;
        assert_eq!(world.api.message(&waits).await["status"], "deferred");
        assert_eq!(world.api.message(&behind).await["attempts"], 0);
        world.advance(HOUR / 4);
        world.until_message_is(&behind, "delivered").await;
    }
    assert_eq!(world.microsoft.texts(ADA), ["first", "second", "by the other way"]);
    assert_eq!(world.said(), ["by the other way", "first", "second"]);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_once_and_a_refused_bot_is_the_hubs_own_trouble() {
    let world = World::with_bot(&[]).await;
    world.microsoft.fault("connector.send", Kind::Connector(Complaint::BotNotRegistered));
    let message = world.send_by("bot", "Again at once").await;
    assert_eq!(world.until_message_is(&message, "delivered").await["attempts"], 1);
    assert_eq!(world.microsoft.count("token.app"), 2);
    world.microsoft.faults("connector.send", 2, Kind::Connector(Complaint::BotNotRegistered));
    let message = world.send_by("bot", "Later").await;
    let deferred = world.until_message_is(&message, "deferred").await;
    assert_eq!((&deferred["why"], &deferred["attempts"]), (&json!("token_unavailable"), &json!(1)));
    world.advance(HOUR / 4);
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.said(), ["Again at once", "Later"]);
}

#[tokio::test]
async fn what_the_connector_refuses_for_good_is_rejected_and_the_lane_goes_on() {
    let world = World::with_bot(&[]).await;
    for (complaint, why) in [
        (Complaint::MessageSizeTooBig, "too_large"),
        (Complaint::BadArgument, "refused_by_provider"),
        (Complaint::NotEnoughPermissions, "refused_by_provider"),
    ] {
        world.microsoft.fault("connector.send", Kind::Connector(complaint));
        let message = world.send_by("bot", "Never said").await;
        assert_eq!(world.until_message_is(&message, "rejected").await["why"], why, "{complaint:?}");
    }
    world.microsoft.fault("connector.send", Kind::Connector(Complaint::BotDisabledByAdmin));
    let message = world.send_by("bot", "Said in the end").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "forbidden");
    world.advance(HOUR);
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.said(), ["Said in the end"]);
}

/// What leaves it open whether the message arrived, and whether it did.
const AMBIGUOUS: [(Kind, bool); 9] = [
    (Kind::Status { status: 408, retry_after_seconds: None }, false),
    (Kind::Status { status: 500, retry_after_seconds: None }, false),
    (Kind::Status { status: 502, retry_after_seconds: None }, false),
    (Kind::Status { status: 504, retry_after_seconds: None }, false),
    (Kind::Reset, false),
    (Kind::AcceptThenStatus { status: 504 }, true),
    (Kind::AcceptThenReset, true),
    (Kind::AcceptThenHang, true),
    (Kind::Garbage { form: Garbage::Html }, true),
];

#[tokio::test]
async fn what_may_have_been_said_is_unknown_once_and_not_said_again() {
    let world = World::with_bot(UNBROKEN).await;
    let mut expected = Vec::new();
    for (number, (fault, arrives)) in AMBIGUOUS.into_iter().enumerate() {
        world.microsoft.fault("connector.send", fault);
        let (doubtful, after) = (format!("{number} doubtful"), format!("{number} after"));
        let message = world.send_by("bot", &doubtful).await;
        let next = world.send_by("bot", &after).await;
        world.until_message_is(&next, "delivered").await;
        let unknown = world.api.message(&message).await;
        assert_eq!((&unknown["status"], &unknown["attempts"]), (&json!("unknown"), &json!(1)), "{fault:?}");
        expected.extend(arrives.then_some(doubtful));
        expected.push(after);
    }
    assert_eq!(world.said(), expected);
    assert_eq!(world.recorded("lane.unknown.v1").await, AMBIGUOUS.len());
}

#[tokio::test]
async fn a_few_unknown_outcomes_hold_back_the_bot_and_not_graph_until_the_connector_answers() {
    let world = World::with_bot(&[]).await;
    world.microsoft.faults("connector.send", 3, status(504));
    world.microsoft.faults("connector.members", 1000, status(503));
    for number in 0..4 {
        world.send_by("bot", &number.to_string()).await;
    }
    world.until_recorded("tenant.breaker-opened.v1", 1).await;
    world.microsoft.called("connector.members", 2).await;
    assert!(world.said().is_empty());
    world.microsoft.simulator.clear_faults();
    world.until_recorded("lane.delivered.v1", 1).await;
    assert_eq!(world.said(), ["3"]);
    assert_eq!(world.recorded("tenant.breaker-closed.v1").await, 1);
}

#[tokio::test]
async fn what_may_go_either_way_goes_by_the_bot_while_the_person_would_have_to_sign_in() {
    let world = World::with_bot(&[]).await;
    world.set_policy(json!({ "surface": "auto" })).await;
    world.deliver("u-1", "by Graph").await;
    world.microsoft.revoke(ADA);
    world.advance(2 * HOUR);
    let delivered = world.deliver("u-1", "by the bot").await;
    assert_eq!((&delivered["surface"], &delivered["sent_by"]), (&json!("auto"), &json!("bot")));
    let waits = world.send_by("graph", "for Graph").await;
    assert_eq!(world.until_message_is(&waits, "parked").await["why"], "reauthorization_required");
    world.deliver("u-1", "by the bot too").await;
    world.link("u-1", ADA).await;
    world.until_message_is(&waits, "delivered").await;
    world.deliver("u-1", "by Graph again").await;
    assert_eq!(world.microsoft.texts(ADA), ["by Graph", "for Graph", "by Graph again"]);
    assert_eq!(world.said(), ["by the bot", "by the bot too"]);
}

#[tokio::test]
async fn who_came_by_password_is_written_to_by_the_bot_and_by_graph_after_a_sign_in() {
    let world = World::with_passwords(&[("DELIVERY__SURFACE", "auto")]).await;
    world.install(ADA).await;
    let link = world.login(ADA).await;
    let page = Browser::new().type_password(link.url.as_str(), "Ada", PASSWORD).await;
    assert_eq!(world.type_code(ADA, &page.typed_code().unwrap()).await, CodeTried::Linked);
    let mut for_graph = to_account("u-1001", "for Graph");
    for_graph["surface"] = json!("graph");
    let waits = text(&world.api.post("/v1/messages", &drawn(), &for_graph).await.body["id"]);
    assert_eq!(world.until_message_is(&waits, "parked").await["why"], "reauthorization_required");
    world.deliver("u-1001", "by the bot").await;
    assert_eq!((world.said(), world.microsoft.count("graph.post")), (vec!["by the bot".to_owned()], 0));
    world.link("u-1001", ADA).await;
    world.until_message_is(&waits, "delivered").await;
    world.deliver("u-1001", "by Graph").await;
    assert_eq!(world.microsoft.texts(ADA), ["for Graph", "by Graph"]);
}

#[tokio::test]
async fn what_perhaps_arrived_one_way_never_goes_the_other() {
    let world = World::with_bot(&[UNBROKEN, &[("DELIVERY__UNKNOWN", "resend")]].concat()).await;
    world.microsoft.fault("graph.post", Kind::AcceptThenStatus { status: 504 });
    world.microsoft.fault("graph.post", status(403));
    let message = world.send_by("auto", "perhaps").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "forbidden");
    let next = world.send_by("auto", "next").await;
    world.until_message_is(&next, "delivered").await;
    world.advance(HOUR);
    world.until_message_is(&message, "delivered").await;
    assert_eq!((world.said(), world.microsoft.texts(ADA)), (vec!["next".into()], vec!["perhaps".into(); 2]));
}

#[tokio::test]
async fn what_graph_posted_is_known_again_also_before_graph_answers() {
    let world = World::with_bot(UNBROKEN).await;
    let ada = world.person(ADA);
    let is_echo = async |text: &str| echoes::is_echo(world.hub(), ada, text).await.unwrap();
    world.deliver("u-1", "Your check-in is due.").await;
    assert!(is_echo("<p>Your check-in&nbsp;is due.</p>").await && !is_echo("Your check-in is over.").await);
    world.microsoft.fault("graph.post", Kind::AcceptThenHang);
    let open = world.api.send("u-1", "Still on its way").await;
    world.microsoft.called("graph.post", 2).await;
    assert!(is_echo("Still on its way").await);
    world.until_message_is(&open, "unknown").await;
    world.advance(HOUR);
    assert!(is_echo("Still on its way").await && !is_echo("Your check-in is due.").await);
    let by_bot = world.send_by("bot", "The bot's own").await;
    world.until_message_is(&by_bot, "delivered").await;
    assert!(!is_echo("The bot's own").await);
}

#[tokio::test]
async fn the_bot_reacts_to_nothing_that_graph_posted_before_or_after_graph_answers() {
    for echo in [Echo::Before, Echo::After] {
        let world = World::with(&[]).await;
        world.listen();
        world.microsoft.turn(DialsChange { echo: Some(echo), ..DialsChange::default() });
        world.link("u-1", ADA).await;
        for (number, content) in ["Your check-in is due.", "Good work"].into_iter().enumerate() {
            world.deliver("u-1", content).await;
            let events = world.until_recorded("activity.handled.v1", number + 1).await;
            let handled = events.iter().rfind(|event| event.name == "activity.handled.v1").unwrap();
            assert_eq!(handled.data["outcome"], "echo", "{echo:?}");
            assert_eq!(count(&events, "connection.bot-installed.v1"), 0);
        }
        assert!(world.said().is_empty());
    }
}

#[tokio::test]
async fn a_message_that_the_bot_would_obey_is_not_accepted() {
    let world = World::with_bot(&[]).await;
    for content in ["login", " Status ", "HELP", "logout", "0123-ABCD"] {
        let refused = world.api.post("/v1/messages", &drawn(), &to_account("u-1", content)).await;
        assert!(refused.is_problem(422, "bot-command").contains("command"), "{content}");
        assert_eq!(refused.body["field"], "content");
    }
    let mut line = to_account("u-1", "login");
    line["idempotency_key"] = json!("k");
    let batch = world.api.post("/v1/messages:batch", &drawn(), &json!({ "messages": [line] })).await;
    assert_eq!(batch.body["results"][0]["status"], 422);
    world.deliver("u-1", "Please login to Teams").await;
}

#[tokio::test]
async fn a_hub_without_a_bot_takes_nothing_for_it() {
    let world = World::with(&[("BOT__APP_ID", ""), ("BOT__APP_SECRET", "")]).await;
    world.link("u-1", ADA).await;
    let mut message = to_account("u-1", "Hello");
    message["surface"] = json!("bot");
    let refused = world.api.post("/v1/messages", &drawn(), &message).await;
    refused.is_problem(400, "invalid-request");
    assert_eq!(refused.body["field"], "surface");
    let either = world.send_by("auto", "Hello").await;
    assert_eq!(world.until_message_is(&either, "delivered").await["surface"], "graph");
}
