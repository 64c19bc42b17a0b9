//! Trouble of the hub's own that keeps its bot silent: no token to be had, or settings that do not let it speak. What was
//! to be said waits, and is said once.

use microsoft_simulator::{Complaint, Kind};
use serde_json::json;

use crate::harness::{
    World,
    log::count,
    microsoft::{ADA, BRUNO, HOUR},
};

fn status(status: u16) -> Kind {
    Kind::Status { status, retry_after_seconds: None }
}

#[tokio::test]
async fn while_the_bot_gets_no_token_messages_wait_and_are_said_once_when_it_does() {
    for (fault, why) in [
        (status(503), "not_sent"),
        (status(429), "not_sent"),
        (Kind::Reset, "not_sent"),
        (Kind::AcceptThenReset, "not_sent"),
        (Kind::Aadsts { code: 7_000_215 }, "token_unavailable"),
    ] {
        let world = World::with_bot(&[]).await;
        world.microsoft.fault("token.app", fault);
        let message = world.send_by("bot", "Said in the end").await;
        assert_eq!(world.until_message_is(&message, "deferred").await["why"], why, "{fault:?}");
        assert_eq!(world.microsoft.count("connector.send"), 0);
        world.advance(HOUR / 4);
        world.until_message_is(&message, "delivered").await;
        assert_eq!(world.said(), ["Said in the end"], "{fault:?}");
    }
}

#[tokio::test]
async fn what_the_bot_was_asked_without_a_token_or_with_a_refused_one_is_answered_later_and_once() {
    for (operation, times, fault) in [
        ("token.app", 1, status(503)),
        ("token.app", 1, Kind::Reset),
        ("connector.send", 2, Kind::Connector(Complaint::BotNotRegistered)),
    ] {
        let world = World::start().await;
        world.listen();
        world.microsoft.faults(operation, times, fault);
        assert_eq!(world.microsoft.say(BRUNO, "help").await, 200);
        world.until_recorded("notice.failed.v1", 1).await;
        world.advance(HOUR / 4);
        let events = world.until_recorded("activity.handled.v1", 1).await;
        assert_eq!(
            (count(&events, "notice.sent.v1"), count(&events, "notice.unknown.v1")),
            (1, 0),
            "{fault:?}"
        );
        assert_eq!(world.microsoft.heard(BRUNO).len(), 1);
    }
}

#[tokio::test]
async fn what_waits_for_the_hubs_own_settings_is_said_once_they_are_right_though_nothing_else_happens() {
    let mut world = World::with_bot(&[]).await;
    let settings = world.microsoft.settings.clone();
    let (id, secret) = (settings.bot_app_id.to_string(), settings.bot_app_secret);
    world.microsoft.fault("connector.send", Kind::Status { status: 429, retry_after_seconds: Some(60) });
    let message = world.send_by("bot", "Said in the end").await;
    world.until_message_is(&message, "deferred").await;
    world.restart(&[("BOT__APP_ID", ""), ("BOT__APP_SECRET", "")]).await;
    world.advance(HOUR / 30);
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "bot_not_installed");
    world.restart(&[("BOT__APP_ID", &id), ("BOT__APP_SECRET", &secret)]).await;
    world.advance(HOUR / 4);
    let delivered = world.until_message_is(&message, "delivered").await;
    assert_eq!(delivered["attempts"], json!(2));
    assert_eq!(world.microsoft.said(ADA), ["Said in the end"]);
}
