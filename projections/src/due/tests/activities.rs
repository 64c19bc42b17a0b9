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
    let event = Event::Handled { inbox: Uuid::from_u128(n), outcome: Outcome::Noted };
    told_at::<Activity>(2, ActivityId(Uuid::from_u128(n)), &event)
}

async fn first(events: &[Told], shards: Option<Vec<ShardId>>, limit: usize) -> Vec<u128> {
    let open = open_for_reading::<Due>(events).await;
    let found = queries::first_activities(&open.model, shards, limit).await.unwrap();
    found
        .into_iter()
        .map(|(id, row)| {
            assert_eq!(id.0, row.inbox);
            id.0.as_u128()
        })
        .collect()
}

#[tokio::test]
async fn of_each_person_the_first_that_is_not_handled_is_due() {
    let events = [came(9, 1), came(2, 1), came(3, 2)];
    assert_eq!(first(&events, None, 10).await, [9, 3]);
    assert_eq!(first(&events, None, 1).await, [9]);
    let later: Vec<_> = events.into_iter().chain([handled(9), handled(3)]).collect();
    assert_eq!(first(&later, None, 10).await, [2]);
}

#[tokio::test]
async fn what_was_handled_and_came_again_is_due_again() {
    assert_eq!(first(&[came(1, 1), handled(1), came(1, 1)], None, 10).await, [1]);
}

#[tokio::test]
async fn only_people_of_the_named_shards_are_looked_at() {
    let ours = person(1).connection().shard();
    assert_ne!(ours, person(2).connection().shard());
    assert_eq!(first(&[came(1, 1), came(2, 2)], Some(vec![ours]), 10).await, [1]);
}
