//! What the token endpoint may answer to a refresh, and what that means for the person and for the messages.

use std::time::Duration;

use microsoft_simulator::{
    Garbage, Kind,
    control::{DialsChange, Rotation},
};

use crate::harness::{
    World,
    log::count,
    microsoft::{ADA, BRUNO, DAY, HOUR},
};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_grant_that_entra_calls_dead_is_dead_at_once_and_not_asked_about_again() {
    for (aadsts, event, why) in [
        (50173, "connection.reauthorization-required.v1", "reauthorization_required"),
        (70000, "connection.reauthorization-required.v1", "reauthorization_required"),
        (700_082, "connection.reauthorization-required.v1", "reauthorization_required"),
        (70043, "connection.reauthorization-required.v1", "reauthorization_required"),
        (50076, "connection.reauthorization-required.v1", "reauthorization_required"),
        (53003, "connection.reauthorization-required.v1", "reauthorization_required"),
        (65001, "connection.consent-required.v1", "consent_required"),
        (50057, "connection.suspended.v1", "suspended"),
    ] {
        let world = World::start().await;
        world.link("u-1", ADA).await;
        world.advance(2 * HOUR);
        world.microsoft.deny("token.refresh", aadsts);
        let message = world.api.send("u-1", "Hello").await;
        assert_eq!(world.until_message_is(&message, "parked").await["why"], why, "{aadsts}");
        let events = world.events().await;
        let recorded = events.iter().find(|it| it.name == event).unwrap_or_else(|| panic!("{aadsts}"));
        assert_eq!(recorded.data["diagnosis"]["aadsts"], aadsts);
        let another = world.api.send("u-1", "And another").await;
        world.until_message_is(&another, "parked").await;
        assert_eq!(world.microsoft.count("token.refresh"), 1);

        world.link("u-1", ADA).await;
        world.until_message_is(&another, "delivered").await;
        assert_eq!(world.microsoft.texts(ADA), ["Hello", "And another"]);
    }
}

#[tokio::test]
async fn trouble_between_the_hub_and_entra_costs_nobody_their_grant() {
    let quick = [("TOKENS__REFRESH_TIMEOUT_MS", "600")];
    let world = World::with(&quick).await;
    world.link("u-1", ADA).await;
    let faults = [
        Kind::Status { status: 429, retry_after_seconds: Some(30) },
        Kind::Status { status: 500, retry_after_seconds: None },
        Kind::Status { status: 503, retry_after_seconds: Some(30) },
        Kind::Aadsts { code: 90033 },
        Kind::Aadsts { code: 50196 },
        Kind::Reset,
        Kind::Hang,
        Kind::AcceptThenReset,
        Kind::Garbage { form: Garbage::Html },
        Kind::Garbage { form: Garbage::Truncated },
        Kind::Garbage { form: Garbage::Empty },
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        world.advance(2 * HOUR);
        world.microsoft.fault("token.refresh", fault);
        let message = world.api.send("u-1", &number.to_string()).await;
        world.until_recorded("connection.refresh-failed.v1", number + 1).await;
        world.advance(HOUR / 2);
        world.until_message_is(&message, "delivered").await;
    }
    let events = world.events().await;
    assert_eq!(count(&events, "connection.reauthorization-required.v1"), 0);
    assert_eq!(count(&events, "connection.refresh-failed.v1"), faults.len());
    assert_eq!(world.microsoft.texts(ADA).len(), faults.len());
}

#[tokio::test]
async fn a_wrong_client_secret_is_the_hubs_problem_and_nobody_elses() {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.link("u-2", BRUNO).await;
    world.advance(2 * HOUR);
    world.microsoft.turn(DialsChange { secret_expired: Some(true), ..DialsChange::default() });
    let to_ada = world.api.send("u-1", "Hello, Ada.").await;
    world.until_message_is(&to_ada, "deferred").await;
    // Once is enough to know; Bruno's grant is not tried before an operator had time to do something.
    let to_bruno = world.api.send("u-2", "Hello, Bruno.").await;
    world.microsoft.turn(DialsChange { secret_expired: Some(false), ..DialsChange::default() });
    world.restart(&[]).await;
    world.advance(2 * MINUTE);
    world.until_message_is(&to_ada, "delivered").await;
    world.until_message_is(&to_bruno, "delivered").await;
    let events = world.events().await;
    let failed: Vec<_> = events.iter().filter(|it| it.name == "connection.refresh-failed.v1").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0].data["class"], &failed[0].data["diagnosis"]["aadsts"]),
        (&"hub".into(), &7_000_222.into())
    );
    assert_eq!(count(&events, "connection.reauthorization-required.v1"), 0);
}

#[tokio::test]
async fn while_the_old_token_lasts_trouble_at_the_token_endpoint_holds_up_nothing() {
    let world = World::start().await;
    world.microsoft.turn(DialsChange { access_token_seconds: Some(Some(3600)), ..DialsChange::default() });
    world.link("u-1", ADA).await;
    world.advance(57 * MINUTE);
    world.microsoft.status("token.refresh", 503);
    let delivered = world.deliver("u-1", "With the old one").await;
    assert_eq!(delivered["attempts"], 1);
    assert_eq!(world.recorded("connection.refresh-failed.v1").await, 1);
}

#[tokio::test]
async fn one_refresh_serves_all_who_wait_for_it() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    world.advance(2 * HOUR);
    let mut last = String::new();
    for number in 0..10 {
        last = world.api.send("u-1", &number.to_string()).await;
    }
    world.until_message_is(&last, "delivered").await;
    assert_eq!(world.microsoft.count("token.refresh"), 1);
    let events = world.events().await;
    assert_eq!(count(&events, "connection.refresh-started.v1"), 1);
}

#[tokio::test]
async fn where_refresh_tokens_are_good_for_one_use_each_new_one_is_used() {
    let world = World::start().await;
    world.microsoft.turn(DialsChange { rotation: Some(Rotation::Strict), ..DialsChange::default() });
    world.link("u-1", ADA).await;
    for number in 0..4 {
        world.advance(2 * HOUR);
        world.deliver("u-1", &number.to_string()).await;
    }
    assert_eq!(world.microsoft.count("token.refresh"), 4);
    // An answer that is lost there costs the grant; that is said by Entra, not guessed by the hub.
    world.advance(2 * HOUR);
    world.microsoft.fault("token.refresh", Kind::AcceptThenReset);
    let message = world.api.send("u-1", "Lost").await;
    world.until_recorded("connection.refresh-failed.v1", 1).await;
    world.advance(HOUR);
    world.until_message_is(&message, "parked").await;
    let events = world.events().await;
    let classes: Vec<_> = events
        .iter()
        .filter(|event| event.name == "connection.refresh-failed.v1")
        .map(|event| event.data["class"].clone())
        .collect();
    assert_eq!(classes, ["ambiguous", "final"]);
}

#[tokio::test]
async fn a_grant_that_nobody_uses_is_kept_alive_and_expiry_is_recorded_once() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    for round in 1..=4 {
        world.advance(31 * DAY);
        world.until_recorded("connection.token-refreshed.v1", round).await;
    }
    let events = world.events().await;
    assert!(count(&events, "connection.token-expired.v1") <= 4);
    world.deliver("u-1", "After four months").await;
}

#[tokio::test]
async fn what_expired_while_the_hub_was_down_is_recorded_when_it_is_up() {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.end(crate::harness::PATIENCE).await;
    world.advance(3 * HOUR);
    world.restart(&[]).await;
    world.until_recorded("connection.token-expired.v1", 1).await;
    world.deliver("u-1", "Hello").await;
    assert_eq!(world.recorded("connection.token-expired.v1").await, 1);
}
