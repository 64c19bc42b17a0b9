//! What people did to the bot, where it can't be kept or handled at once.

use std::{sync::Arc, time::Duration};

use custody::{CustodyError, EntryId, Kind as Secret, Version};
use domain::{
    ActivityId, CommandId, ObjectId, PersonId,
    activity::{self, Activity},
    connection::{Connection, Reachable},
};
use microsoft_simulator::{
    Kind,
    activities::{Act, Sent},
};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{
    PATIENCE, World,
    faltering::{Faltering, Way},
    log::count,
    microsoft::{ADA, BRUNO, DMITRI},
};

/// A hub whose bot hears.
async fn world() -> World {
    let world = World::start().await;
    world.listen();
    world
}

/// The connector puts the next message off.
fn throttle(world: &World) {
    world.microsoft.fault("connector.send", Kind::Status { status: 429, retry_after_seconds: Some(1) });
}

/// Where in the vault the payload of the first activity lies.
async fn first_inbox(world: &World) -> Uuid {
    let events = world.until_recorded("activity.received.v1", 1).await;
    let received = events.iter().find(|event| event.name == "activity.received.v1").unwrap();
    serde_json::from_value(received.data["inbox"].clone()).unwrap()
}

/// Puts into the vault what can't be opened, in place of a payload if there is one.
async fn damage(world: &World, inbox: Uuid) {
    let later = Version { generation: 1, claim: 1 };
    let entry = EntryId::new(Secret::Inbox, inbox.to_string());
    world.hub().custody.vault().put(&entry, later, b"no payload").await.unwrap();
}

/// Lets time pass until so many activities are handled.
async fn wait_out(world: &World, handled: usize) {
    let passing = async {
        while world.recorded("activity.handled.v1").await < handled {
            world.advance(Duration::from_mins(2));
            // No event tells that it has failed once more.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, passing).await.expect("it comes to an end");
}

#[tokio::test]
async fn what_can_never_be_handled_is_given_up_and_what_came_after_it_is_answered() {
    let world = world().await;
    throttle(&world);
    assert_eq!(world.microsoft.say(ADA, "help").await, 200);
    world.until_recorded("notice.failed.v1", 1).await;
    let inbox = first_inbox(&world).await;
    damage(&world, inbox).await;
    assert_eq!(world.microsoft.say(ADA, "status").await, 200);
    wait_out(&world, 2).await;

    let events = world.events().await;
    let handled: Vec<_> = events.iter().filter(|event| event.name == "activity.handled.v1").collect();
    assert_eq!(
        (&handled[0].data["outcome"], &handled[0].data["obstacle"]),
        (&"gave_up".into(), &"vault".into())
    );
    assert_eq!(handled[1].data["outcome"], "answered");
    assert!(world.microsoft.until_heard(ADA, 1).await[0].contains("not connected"));
    let kept = world.hub().custody.get_inbox(inbox).await;
    assert!(matches!(kept, Err(CustodyError::Destroyed { .. })), "{kept:?}");
    let metrics =
        world.api.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"chancery_activities_handled_total{outcome="gave_up"} 1"#), "{metrics}");
}

#[tokio::test]
async fn people_who_wait_hold_nobody_up() {
    let world = world().await;
    let tenant = world.person(ADA).tenant;
    for n in 0..300 {
        let id = Uuid::from_u128(n);
        damage(&world, id).await;
        let received = activity::Received {
            activity_id: n.to_string(),
            conversation_id: "a:1".to_owned(),
            kind: activity::Kind::Message,
            command: None,
            person: PersonId { tenant, object_id: ObjectId(id) },
            inbox: id,
            at: domain::Timestamp::default(),
        };
        let (context, receive) =
            (chancery::commands::Context::hub("test", n.to_string()), activity::Command::Receive(received));
        let command_id = CommandId::new(n.to_string());
        world
            .hub()
            .commands
            .execute::<Activity>(ActivityId(id), &command_id, &context, receive)
            .await
            .unwrap();
    }
    assert_eq!(world.microsoft.say(ADA, "help").await, 200);
    let events = world.until_recorded("activity.handled.v1", 1).await;
    assert_eq!(count(&events, "activity.handled.v1"), 1, "nothing but hers");
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
}

/// Says something, the same whenever it is said.
async fn say_once(world: &World) -> Sent {
    let id = json!({ "id": "1732365000123" });
    let help = Act::Text("help".to_owned());
    world.microsoft.send(ADA, help, |sending| sending.change = id).await.remove(0)
}

/// Where the payload of what was sent lies, or would.
fn inbox_of(world: &World, sent: &Sent) -> Uuid {
    let id = |value: &serde_json::Value| value["id"].as_str().unwrap().to_owned();
    let ids = [id(&sent.activity["conversation"]), id(&sent.activity)];
    world.hub().custody.name_of("activity", &[&ids[0], &ids[1]])
}

#[tokio::test]
async fn of_what_could_not_be_recorded_nothing_stays_in_the_vault() {
    let mut world = world().await;
    world.end(PATIENCE).await;
    let sound = world.store().await;
    world.begin(Arc::new(Faltering::at_next(sound, Way::RefuseOnce, "activity-"))).await;
    let sent = say_once(&world).await;
    assert_eq!(sent.status, Some(503));
    let inbox = inbox_of(&world, &sent);
    assert!(world.hub().custody.get_inbox(inbox).await.unwrap().is_none());

    assert_eq!(say_once(&world).await.status, Some(200));
    world.until_recorded("activity.handled.v1", 1).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
    let kept = world.hub().custody.get_inbox(inbox).await;
    assert!(matches!(kept, Err(CustodyError::Destroyed { .. })), "{kept:?}");
}

/// A hub that died between the event and the payload, and its successor.
async fn died_in_between() -> World {
    let mut world = world().await;
    world.end(PATIENCE).await;
    let sound = world.store().await;
    let faltering = Arc::new(Faltering::at_next(sound.clone(), Way::StopAfter, "activity-"));
    world.begin(faltering.clone()).await;
    tokio::select! {
        sent = say_once(&world) => panic!("{:?}", sent.status),
        () = faltering.stopped.cancelled() => {}
    }
    world.end(Duration::ZERO).await;
    world.begin(sound).await;
    world
}

#[tokio::test]
async fn a_payload_that_was_not_put_comes_when_teams_sends_it_again() {
    let world = died_in_between().await;
    let inbox = first_inbox(&world).await;
    assert!(world.hub().custody.get_inbox(inbox).await.unwrap().is_none());
    assert_eq!(say_once(&world).await.status, Some(200));
    let events = world.until_recorded("activity.handled.v1", 1).await;
    assert_eq!(count(&events, "activity.received.v1"), 1);
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
}

#[tokio::test]
async fn a_payload_that_never_comes_is_given_up_and_comes_too_late_then() {
    let world = died_in_between().await;
    wait_out(&world, 1).await;
    let events = world.events().await;
    let handled = events.iter().find(|event| event.name == "activity.handled.v1").unwrap();
    assert_eq!(handled.data["outcome"], "payload_lost");
    assert_eq!(say_once(&world).await.status, Some(200));
    let kept = world.hub().custody.get_inbox(first_inbox(&world).await).await;
    assert!(matches!(kept, Err(CustodyError::Destroyed { .. })), "{kept:?}");
    assert_eq!(world.microsoft.say(ADA, "status").await, 200);
    assert!(world.microsoft.until_heard(ADA, 1).await[0].contains("not connected"));
    assert_eq!(world.recorded("activity.received.v1").await, 2);
}

#[tokio::test]
async fn a_greeting_that_was_put_off_is_said_later() {
    let world = world().await;
    throttle(&world);
    world.microsoft.simulator.install(world.microsoft.oid(DMITRI), true).await;
    world.until_recorded("notice.failed.v1", 1).await;
    assert_eq!(
        world.recorded("connection.bot-installed.v1").await,
        1,
        "by the time of the second try it is known"
    );
    world.advance(Duration::from_mins(1));
    world.until_recorded("activity.handled.v1", 2).await;
    assert_eq!(world.microsoft.heard(DMITRI).len(), 1);
    assert!(world.microsoft.until_heard(DMITRI, 1).await[0].contains("login"));
}

#[tokio::test]
async fn who_logs_out_hears_the_truth_also_where_it_was_put_off() {
    let world = world().await;
    world.link("u-1", BRUNO).await;
    throttle(&world);
    assert_eq!(world.microsoft.say(BRUNO, "logout").await, 200);
    world.until_recorded("notice.failed.v1", 1).await;
    assert_eq!(world.recorded("connection.unlinked.v1").await, 1, "by the time of the second try it is done");
    world.advance(Duration::from_mins(1));
    let said = world.microsoft.until_heard(BRUNO, 1).await.remove(0);
    assert!(said.contains("disconnected") && !said.contains("nothing"), "{said}");
}

/// Teams tells that the bot was installed or removed so long after the test began.
async fn told(world: &World, installed: bool, after: Duration) {
    let action = if installed { "add" } else { "remove" }.to_owned();
    let at = domain::Timestamp::from_micros(1_795_435_200_000_000) + after;
    let change = json!({ "timestamp": at.to_string() });
    let sent =
        world.microsoft.send(ADA, Act::InstallationUpdate { action }, |sending| sending.change = change);
    assert_eq!(sent.await[0].status, Some(200));
}

#[tokio::test]
async fn a_removal_that_comes_after_the_next_installation_changes_nothing() {
    let world = world().await;
    let seconds = Duration::from_secs;
    told(&world, true, seconds(0)).await;
    told(&world, true, seconds(20)).await;
    told(&world, false, seconds(10)).await;
    told(&world, false, seconds(20)).await;
    let events = world.until_recorded("activity.handled.v1", 4).await;
    assert_eq!(count(&events, "connection.bot-removed.v1"), 0);
    let connection = async || {
        let id = world.person(ADA).connection();
        world.hub().commands.load::<Connection>(id).await.unwrap().state.bot.unwrap().reachable
    };
    assert_eq!(connection().await, Reachable::Installed);
    told(&world, false, seconds(21)).await;
    world.until_recorded("activity.handled.v1", 5).await;
    assert_eq!(connection().await, Reachable::Removed);
}

#[tokio::test]
async fn who_removed_the_bot_is_not_greeted_for_an_earlier_installation_that_comes_late() {
    let world = world().await;
    let seconds = Duration::from_secs;
    told(&world, true, seconds(0)).await;
    world.microsoft.until_heard(ADA, 1).await;
    told(&world, false, seconds(20)).await;
    world.until_recorded("activity.handled.v1", 2).await;
    // What the bot can do would be told again by now.
    world.advance(Duration::from_mins(11));
    told(&world, true, seconds(10)).await;
    world.until_recorded("activity.handled.v1", 3).await;
    assert_eq!(world.microsoft.heard(ADA).len(), 1);
    told(&world, true, seconds(30)).await;
    world.microsoft.until_heard(ADA, 2).await;
}
