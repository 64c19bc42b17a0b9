//! Which activities wait to be handled, and in what order.

use domain::{
    ShardId,
    activity::{Activity, Event, Kind, Outcome, Received},
};

use super::*;

fn came(n: u128, of: u128) -> Told {
    let received = Received {
        activity_id: n.to_string(),
        conversation_id: "a:1".into(),
        kind: Kind::Message,
        command: None,
        person: person(of),
        inbox: Uuid::from_u128(n),
        at: at(0),
    };
    told_at::<Activity>(1, ActivityId(Uuid::from_u128(n)), &Event::Received(received))
}

fn handled(n: u128) -> Told {
    let event = Event::Handled { inbox: Uuid::from_u128(n), outcome: Outcome::Noted, obstacle: None };
    told_at::<Activity>(2, ActivityId(Uuid::from_u128(n)), &event)
}

async fn waiting(events: &[Told], shards: Option<Vec<ShardId>>) -> Vec<ConnectionId> {
    let open = open_for_reading::<Due>(events).await;
    queries::people_waiting(&open.model, shards).await.unwrap()
}

/// What the person did first that is not handled, by its number.
async fn first(events: &[Told], of: u128) -> Option<u128> {
    let open = open_for_reading::<Due>(events).await;
    let found = queries::first_activity(&open.model, person(of).connection()).await.unwrap();
    found.map(|(id, row)| {
        assert_eq!((id.0, row.person), (row.inbox, person(of)));
        id.0.as_u128()
    })
}

#[tokio::test]
async fn of_each_person_the_first_that_is_not_handled_is_due() {
    let people = [1, 2].map(|n| person(n).connection());
    let events = [came(9, 1), came(2, 1), came(3, 2)];
    assert_eq!(waiting(&events, None).await, people);
    assert_eq!((first(&events, 1).await, first(&events, 2).await), (Some(9), Some(3)));
    let later: Vec<_> = events.into_iter().chain([handled(9), handled(3)]).collect();
    assert_eq!(waiting(&later, None).await, people[..1]);
    assert_eq!((first(&later, 1).await, first(&later, 2).await), (Some(2), None));
}

#[tokio::test]
async fn who_is_behind_an_activity_is_known_until_it_is_handled() {
    let open = open_for_reading::<Due>(&[came(1, 1), came(2, 2), handled(2)]).await;
    let ids = [1, 2, 3].map(|n| ActivityId(Uuid::from_u128(n)));
    let people = queries::people_behind(&open.model, ids.to_vec()).await.unwrap();
    assert_eq!(people, [person(1).connection()]);
}

#[tokio::test]
async fn what_was_handled_and_came_again_is_due_again() {
    assert_eq!(first(&[came(1, 1), handled(1), came(1, 1)], 1).await, Some(1));
}

#[tokio::test]
async fn only_people_of_the_named_shards_are_looked_at() {
    let ours = person(1).connection();
    assert_ne!(ours.shard(), person(2).connection().shard());
    assert_eq!(waiting(&[came(1, 1), came(2, 2)], Some(vec![ours.shard()])).await, [ours]);
}
