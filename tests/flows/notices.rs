//! What the bot says while the store does not take what is recorded of it, or while it is being said already.

use std::sync::Arc;

use chancery::bot::{
    catalogue::Notice,
    notices::{Told, tell},
};
use microsoft_simulator::{Complaint, Kind};
use uuid::Uuid;

use crate::harness::{
    PATIENCE, World,
    faltering::{Faltering, Way},
    log::{Event, count},
    microsoft::ADA,
};

/// A world whose store fails in this way at the n-th append to such a stream.
async fn faltering(way: Way, stream: &'static str, at: usize) -> (World, Arc<Faltering>) {
    let mut world = World::start().await;
    world.listen();
    world.end(PATIENCE).await;
    let store = world.store().await;
    let faltering = Arc::new(Faltering::at_nth(store, way, stream, at));
    world.begin(faltering.clone()).await;
    (world, faltering)
}

/// Ada asks for help while an append to the notice's stream goes wrong. Answers the log once she has her answer.
async fn asked_while(way: Way, at: usize) -> (World, Vec<Event>) {
    let (world, faltering) = faltering(way, "notice-", at).await;
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

#[tokio::test]
async fn that_the_bot_is_blocked_is_recorded_however_long_the_store_takes_and_so_is_the_failure() {
    for way in [Way::RefuseOnce, Way::LoseAnswers] {
        // The first is where the bot reaches her.
        let (world, faltering) = faltering(way, "connection-", 2).await;
        world.microsoft.fault("connector.send", Kind::Connector(Complaint::ConversationBlockedByUser));
        assert_eq!(world.microsoft.say(ADA, "help").await, 200);
        let events = world.until_recorded("activity.handled.v1", 1).await;
        assert!(faltering.failed());
        let counts =
            ["connection.bot-blocked.v1", "notice.started.v1", "notice.failed.v1", "notice.unknown.v1"]
                .map(|it| count(&events, it));
        assert_eq!(counts, [1, 1, 1, 0], "{way:?}");
    }
}

#[tokio::test]
async fn what_is_being_said_is_not_judged_by_who_would_say_the_same_in_the_same_hub() {
    let world = World::start().await;
    world.install(ADA).await;
    let (hub, ada) = (world.hub(), world.person(ADA));
    let say = async || tell(hub, ada, Uuid::from_u128(1), &Notice::ConsentReported).await.unwrap();
    let told = tokio::join!(say(), say());
    assert!(matches!(told, (Told::Said, _) | (_, Told::Said)), "{told:?}");
    let events = world.events().await;
    let counts = ["notice.started.v1", "notice.sent.v1", "notice.unknown.v1"].map(|it| count(&events, it));
    assert_eq!(counts, [1, 1, 0], "{told:?}");
    assert_eq!((say().await, world.microsoft.heard(ADA).len()), (Told::Before, 1));
}
