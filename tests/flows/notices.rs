//! What the bot says while the store does not take what is recorded of it.

use std::sync::Arc;

use crate::harness::{
    PATIENCE, World,
    faltering::{Faltering, Way},
    log::{Event, count},
    microsoft::ADA,
};

/// Ada asks for help while an append to the notice's stream goes wrong. Answers the log once she has her answer.
async fn asked_while(way: Way, at: usize) -> (World, Vec<Event>) {
    let mut world = World::start().await;
    world.listen();
    world.end(PATIENCE).await;
    let store = world.store().await;
    let faltering = Arc::new(Faltering::at_nth(store, way, "notice-", at));
    world.begin(faltering.clone()).await;
    assert_eq!(world.microsoft.say(ADA, "help").await, 200);
    world.microsoft.until_heard(ADA, 1).await;
    let events = world.until_recorded("activity.handled.v1", 1).await;
    assert!(faltering.failed());
    (world, events)
}

#[tokio::test]
async fn an_outcome_that_the_store_did_not_take_at_first_is_recorded_all_the_same() {
    for way in [Way::RefuseOnce, Way::LoseAnswers] {
        let (world, events) = asked_while(way, 2).await;
        let counts =
            ["notice.started.v1", "notice.sent.v1", "notice.unknown.v1"].map(|it| count(&events, it));
        assert_eq!(counts, [1, 1, 0], "{way:?}");
        assert_eq!(world.microsoft.heard(ADA).len(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn an_intent_of_which_the_store_did_not_tell_is_not_acted_on_and_the_notice_is_said_later() {
    let (world, events) = asked_while(Way::LoseAnswers, 1).await;
    let counts = ["notice.started.v1", "notice.failed.v1", "notice.sent.v1"].map(|it| count(&events, it));
    assert_eq!(counts, [2, 1, 1]);
    let failed = events.iter().find(|event| event.name == "notice.failed.v1").unwrap();
    assert_eq!((&failed.data["attempt"], &failed.data["class"]), (&1.into(), &"not_sent".into()));
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
    assert_eq!(world.microsoft.count("connector.send"), 1);
}
