//! What Graph may answer to a message, and what becomes of the message and of those behind it.

use std::time::Duration;

use microsoft_simulator::{Garbage, Kind, control::PersonChange};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    World,
    api::{answer, by_person, drawn, text},
    log::count,
    microsoft::{ADA, BRUNO, HOUR},
};

const SECOND: Duration = Duration::from_secs(1);

/// A hub in whose way no breaker stands, and which does not wait long for an answer.
const UNBROKEN: &[(&str, &str)] = &[
    ("DELIVERY__BREAKER_UNKNOWNS", "1000"),
    ("OUTBOUND__REQUEST_TIMEOUT_MS", "700"),
    ("OUTBOUND__CONNECT_TIMEOUT_MS", "600"),
];

fn throttled(retry_after_seconds: Option<u32>) -> Kind {
    Kind::Status { status: 429, retry_after_seconds }
}

fn status(status: u16) -> Kind {
    Kind::Status { status, retry_after_seconds: None }
}

#[tokio::test]
async fn a_throttled_message_waits_as_long_as_graph_says_and_those_behind_it_wait_too() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.link("u-2", BRUNO).await;
    world.microsoft.fault("graph.post", throttled(Some(120)));
    let first = world.api.send("u-1", "First").await;
    let waiting = world.until_message_is(&first, "deferred").await;
    assert_eq!(waiting["why"], "throttled");
    let second = world.api.send("u-1", "Second").await;
    world.advance(100 * SECOND);
    // Somebody else is not held up. By then the lane was looked at again, since something was added to it.
    world.deliver("u-2", "Hello, Bruno.").await;
    assert!(world.microsoft.texts(ADA).is_empty());
    assert_eq!(world.microsoft.count("graph.post"), 2);

    world.advance(21 * SECOND);
    world.until_message_is(&second, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["First", "Second"]);
    assert_eq!(world.api.message(&first).await["attempts"], 2);
}

#[tokio::test]
async fn what_is_known_not_to_have_happened_is_tried_again_and_the_order_is_kept() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let unavailable = Kind::Status { status: 503, retry_after_seconds: Some(5) };
    for (number, fault) in [throttled(None), status(423), unavailable].into_iter().enumerate() {
        world.microsoft.fault("graph.post", fault);
        let first = world.api.send("u-1", &format!("{number} first")).await;
        world.until_message_is(&first, "deferred").await;
        let second = world.api.send("u-1", &format!("{number} second")).await;
        world.advance(HOUR / 2);
        world.until_message_is(&second, "delivered").await;
    }
    let texts = world.microsoft.texts(ADA);
    assert_eq!(texts, ["0 first", "0 second", "1 first", "1 second", "2 first", "2 second"]);
}

#[tokio::test]
async fn a_token_that_graph_refuses_is_refreshed_once_and_the_message_sent_once_more() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.microsoft.fault("graph.post", status(401));
    let delivered = world.deliver("u-1", "Hello").await;
    assert_eq!(delivered["attempts"], 2);
    assert_eq!(world.microsoft.count("token.refresh"), 1);

    world.microsoft.faults("graph.post", 2, status(401));
    let message = world.api.send("u-1", "Again").await;
    world.microsoft.called("graph.post", 4).await;
    let events = world.until("deferred twice", |events| {
        events.iter().filter(|event| event.is("lane.deferred.v1", &message)).count() == 2
    });
    events.await;
    assert_eq!(world.recorded("connection.reauthorization-required.v1").await, 0);
    world.advance(HOUR / 4);
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["Hello", "Again"]);
}

#[tokio::test]
async fn where_graph_asks_for_claims_only_a_sign_in_helps() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.microsoft.fault("graph.post", Kind::ClaimsChallenge);
    let message = world.api.send("u-1", "Hello").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "reauthorization_required");
    assert_eq!(world.microsoft.count("token.refresh"), 0);
    world.link("u-1", ADA).await;
    world.until_message_is(&message, "delivered").await;
}

#[tokio::test]
async fn a_chat_that_is_gone_is_looked_for_anew() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.deliver("u-1", "To the old chat").await;
    world.microsoft.change(ADA, PersonChange { new_chat: Some(true), ..PersonChange::default() });
    let message = world.api.send("u-1", "To the new chat").await;
    world.until_message_is(&message, "deferred").await;
    world.advance(HOUR / 4);
    let delivered = world.until_message_is(&message, "delivered").await;
    assert_eq!(delivered["attempts"], 2);
    let events = world.events().await;
    assert_eq!(
        (count(&events, "connection.chat-lost.v1"), count(&events, "connection.chat-found.v1")),
        (1, 2)
    );
}

#[tokio::test]
async fn where_posting_is_forbidden_the_lane_parks_and_is_looked_at_again() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.microsoft.faults("graph.post", 2, status(403));
    let message = world.api.send("u-1", "Hello").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "forbidden");
    world.advance(HOUR);
    world.until_recorded("lane.parked.v1", 2).await;
    world.advance(6 * HOUR);
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["Hello"]);
}

#[tokio::test]
async fn a_message_that_graph_refuses_for_good_is_rejected_and_the_lane_goes_on() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    for (code, why) in [(413, "too_large"), (400, "refused_by_provider"), (409, "refused_by_provider")] {
        world.microsoft.fault("graph.post", status(code));
        let message = world.api.send("u-1", "No").await;
        let rejected = world.until_message_is(&message, "rejected").await;
        assert_eq!((&rejected["why"], &rejected["diagnosis"]["http_status"]), (&json!(why), &json!(code)));
        world.deliver("u-1", &format!("After {code}")).await;
    }
    assert_eq!(world.microsoft.texts(ADA), ["After 413", "After 400", "After 409"]);
}

/// What leaves it open whether the message arrived, and whether it did.
const AMBIGUOUS: [(Kind, bool); 11] = [
    (Kind::Status { status: 500, retry_after_seconds: None }, false),
    (Kind::Status { status: 502, retry_after_seconds: None }, false),
    (Kind::Status { status: 504, retry_after_seconds: None }, false),
    (Kind::Reset, false),
    (Kind::Hang, false),
    (Kind::AcceptThenStatus { status: 504 }, true),
    (Kind::AcceptThenReset, true),
    (Kind::AcceptThenHang, true),
    (Kind::AcceptLate { delay_ms: 1500 }, true),
    (Kind::Garbage { form: Garbage::Html }, true),
    (Kind::Garbage { form: Garbage::Truncated }, true),
];

#[tokio::test]
async fn what_may_have_arrived_is_unknown_and_by_default_not_sent_again() {
    let world = World::with(UNBROKEN).await;
    world.link("u-1", ADA).await;
    let mut expected = Vec::new();
    for (number, (fault, arrives)) in AMBIGUOUS.into_iter().enumerate() {
        world.microsoft.fault("graph.post", fault);
        let doubtful = format!("{number} doubtful");
        let message = world.api.send("u-1", &doubtful).await;
        let after = format!("{number} after");
        world.deliver("u-1", &after).await;
        let unknown = world.api.message(&message).await;
        assert_eq!((&unknown["status"], &unknown["attempts"]), (&json!("unknown"), &json!(1)), "{fault:?}");
        expected.extend(arrives.then_some(doubtful));
        expected.push(after);
    }
    assert_eq!(world.microsoft.texts(ADA), expected);
}

#[tokio::test]
async fn where_it_is_so_set_what_may_have_arrived_is_sent_again_in_its_place() {
    let world = World::with(&[UNBROKEN, &[("DELIVERY__UNKNOWN", "resend")]].concat()).await;
    world.link("u-1", ADA).await;
    let mut expected = Vec::new();
    for (number, (fault, arrives)) in AMBIGUOUS.into_iter().enumerate() {
        world.microsoft.fault("graph.post", fault);
        let (doubtful, after) = (format!("{number} doubtful"), format!("{number} after"));
        let message = world.api.send("u-1", &doubtful).await;
        world.deliver("u-1", &after).await;
        let delivered = world.api.message(&message).await;
        assert_eq!(
            (&delivered["status"], &delivered["attempts"]),
            (&json!("delivered"), &json!(2)),
            "{fault:?}"
        );
        expected.extend(arrives.then(|| doubtful.clone()));
        expected.extend([doubtful, after]);
    }
    assert_eq!(world.microsoft.texts(ADA), expected);
}

#[tokio::test]
async fn a_few_unknown_outcomes_in_a_row_hold_deliveries_back_until_a_probe_is_answered() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.deliver("u-1", "Before").await;
    world.microsoft.faults("graph.post", 3, status(504));
    world.microsoft.faults("graph.me", 2, status(503));
    for number in 0..5 {
        world.api.send("u-1", &number.to_string()).await;
    }
    world.until_recorded("tenant.breaker-opened.v1", 1).await;
    let events = world.until_recorded("lane.delivered.v1", 3).await;
    let order: Vec<_> = events
        .iter()
        .filter(|event| event.name.contains("breaker") || event.name.starts_with("lane.unknown"))
        .map(|event| event.name.as_str())
        .collect();
    let unknown = "lane.unknown.v1";
    assert_eq!(order.iter().filter(|name| **name == unknown).count(), 3, "{order:?}");
    assert_eq!(order.last(), Some(&"tenant.breaker-closed.v1"));
    assert_eq!(world.microsoft.count("graph.me"), 3);
    assert_eq!(world.microsoft.texts(ADA), ["Before", "3", "4"]);
}

#[tokio::test]
async fn a_breaker_that_was_open_is_open_after_a_restart() {
    let mut world = World::with(&[("DELIVERY__BREAKER_UNKNOWNS", "1")]).await;
    world.link("u-1", ADA).await;
    world.microsoft.fault("graph.post", status(504));
    world.microsoft.faults("graph.me", 1000, status(503));
    world.api.send("u-1", "Lost").await;
    world.until_recorded("tenant.breaker-opened.v1", 1).await;
    world.restart(&[]).await;
    let message = world.api.send("u-1", "Waits").await;
    world.microsoft.called("graph.me", world.microsoft.count("graph.me") + 2).await;
    assert!(world.microsoft.texts(ADA).is_empty());
    world.microsoft.simulator.clear_faults();
    world.until_message_is(&message, "delivered").await;
}

#[tokio::test]
async fn a_message_is_given_up_after_so_many_attempts_and_the_lane_goes_on() {
    let world = World::with(&[("DELIVERY__ATTEMPTS_MAX", "2")]).await;
    world.link("u-1", ADA).await;
    world.microsoft.faults("graph.post", 2, status(423));
    let message = world.api.send("u-1", "Locked out").await;
    world.until_message_is(&message, "deferred").await;
    world.advance(HOUR / 4);
    world.until_message_is(&message, "dead_lettered").await;
    world.deliver("u-1", "Next").await;
    assert_eq!(world.microsoft.texts(ADA), ["Next"]);
}

#[tokio::test]
async fn a_message_that_waited_too_long_is_not_sent_any_more() {
    let world = World::with(&[("DELIVERY__AGE_MAX_HOURS", "1")]).await;
    world.link("u-1", ADA).await;
    world.microsoft.fault("graph.post", throttled(Some(2 * 3600)));
    let message = world.api.send("u-1", "Too late").await;
    world.until_message_is(&message, "deferred").await;
    world.advance(3 * HOUR);
    world.until_message_is(&message, "expired").await;
    world.deliver("u-1", "In time").await;
    assert_eq!(world.microsoft.texts(ADA), ["In time"]);
}

#[tokio::test]
async fn what_was_for_an_account_that_was_unlinked_since_is_not_sent() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.link("u-2", ADA).await;
    world.microsoft.fault("graph.post", throttled(Some(60)));
    let first = world.api.send("u-1", "For u-1").await;
    world.until_message_is(&first, "deferred").await;
    let to_person = json!({ "recipient": by_person(world.person(ADA)), "content": { "type": "text", "text": "For Ada" } });
    let second = text(&world.api.post("/v1/messages", &drawn(), &to_person).await.body["id"]);
    let unlink = answer(world.api.request(Method::POST, "/v1/accounts/u-1/unlink")).await;
    assert_eq!(unlink.status, 202);
    world.advance(61 * SECOND);
    let rejected = world.until_message_is(&first, "rejected").await;
    assert_eq!(rejected["why"], "account_changed");
    world.until_message_is(&second, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["For Ada"]);
}

#[tokio::test]
async fn looking_for_the_chat_leaves_no_doubt_whatever_is_answered() {
    let world = World::with(UNBROKEN).await;
    world.link("u-1", ADA).await;
    for fault in [status(500), status(429), Kind::Reset, Kind::Hang, Kind::Garbage { form: Garbage::Html }] {
        world.microsoft.fault("graph.apps", fault);
    }
    let message = world.api.send("u-1", "Hello").await;
    for times in 1..=5 {
        world
            .until("deferred", |events| {
                events.iter().filter(|event| event.is("lane.deferred.v1", &message)).count() >= times
            })
            .await;
        world.advance(HOUR / 4);
    }
    let delivered = world.until_message_is(&message, "delivered").await;
    assert_eq!((&delivered["attempts"], world.microsoft.texts(ADA).len()), (&Value::from(1), 1));
}
