//! What became of messages.

use domain::lane::ParkReason;

use super::{queries::Wanted, *};
use crate::{
    fixtures::{
        accepted, accepted_for, at, client, deferred, delivered, diagnosis, in_lane, message, parked, person,
        resent, resumed, started, tenant, told_at, unknown,
    },
    runner::testing::{Told, open_for_reading, rows_of},
};

/// What became of message 1, after these events in its lane.
async fn after(events: &[lane::Event]) -> MessageRow {
    let told: Vec<_> =
        std::iter::once(accepted(1, 1)).chain(events.iter().map(|event| in_lane(1, event))).collect();
    match rows_of::<Messages>(&told).await.remove(&Key::Message(message(1))) {
        Some(Row::Message(row)) => *row,
        other => panic!("{other:?}"),
    }
}

async fn status(events: &[lane::Event]) -> Status {
    after(events).await.status
}

#[tokio::test]
async fn a_message_is_pending_then_sending_then_delivered() {
    let row = after(&[]).await;
    assert_eq!((row.status, row.attempts, row.position), (Status::Pending, 0, 1));
    assert_eq!((row.accepted_at, row.changed_at, row.client), (at(1), at(1), client("okr")));
    let row = after(&[started(1, 1)]).await;
    assert_eq!((row.status, row.attempts, row.changed_at), (Status::Sending, 1, at(2)));
    let row = after(&[started(1, 1), delivered(1, 1)]).await;
    assert_eq!(
        (row.status, row.provider_message_id.as_deref(), row.diagnosis),
        (Status::Delivered, Some("provider-1"), None)
    );
}

#[tokio::test]
async fn a_deferred_message_says_until_when_and_why_until_it_goes_on() {
    let row = after(&[started(1, 1), deferred(1, 1, 60)]).await;
    assert_eq!((row.status, row.deferred), (Status::Deferred, Some((at(60), DeferReason::Throttled))));
    assert_eq!(row.diagnosis, Some(diagnosis("429")));
    let row = after(&[started(1, 1), deferred(1, 1, 60), started(1, 2)]).await;
    assert_eq!((row.status, row.deferred, row.diagnosis), (Status::Sending, None, None));
    assert_eq!(row.attempts, 2);
}

#[tokio::test]
async fn what_is_accepted_anew_keeps_its_place() {
    // As after its stream was deleted underneath.
    let told = [accepted(1, 1), accepted(2, 1), in_lane(1, &started(1, 1)), accepted(1, 1)];
    let rows = rows_of::<Messages>(&told).await;
    let Some(Row::Message(row)) = rows.get(&Key::Message(message(1))) else { panic!("{rows:?}") };
    assert_eq!((row.status, row.position), (Status::Pending, 1));
}

#[tokio::test]
async fn what_is_unknown_may_arrive_later_or_go_again() {
    let lost = [started(1, 1), unknown(1, 1)];
    assert_eq!(status(&lost).await, Status::Unknown);
    assert_eq!(status(&[&lost[..], &[delivered(1, 1)]].concat()).await, Status::Delivered);
    assert_eq!(status(&[&lost[..], &[resent(1, 1)]].concat()).await, Status::Pending);
}

#[tokio::test]
async fn what_arrived_stays_delivered_whatever_comes_of_a_later_attempt() {
    let arrived = [started(1, 1), unknown(1, 1), resent(1, 1), started(1, 2), delivered(1, 1)];
    for later in [deferred(1, 2, 60), unknown(1, 2), parked(1, 2, 1), delivered(1, 2)] {
        let row = after(&[&arrived[..], &[later]].concat()).await;
        assert_eq!(row.status, Status::Delivered);
        assert_eq!(row.provider_message_id.as_deref(), Some("provider-1"));
    }
}

#[tokio::test]
async fn an_end_without_delivery_says_why() {
    let (message, attempt, why) = (message(1), 0, RejectReason::AccountChanged);
    let rejected = lane::Event::Rejected { message, attempt, why, diagnosis: diagnosis("400") };
    let row = after(&[rejected]).await;
    assert_eq!((row.status, row.rejected), (Status::Rejected, Some(RejectReason::AccountChanged)));
    let dead = lane::Event::DeadLettered { message, attempt, diagnosis: diagnosis("400") };
    assert_eq!(status(&[dead]).await, Status::DeadLettered);
    assert_eq!(status(&[lane::Event::Expired { message, attempt }]).await, Status::Expired);
}

#[tokio::test]
async fn a_lane_is_shown_as_parked_from_the_first_time_until_it_is_resumed() {
    let park = |seconds| told_at::<Lane>(seconds, person(1).connection(), &parked(1, 1, 1));
    let mut events = vec![accepted(1, 1), in_lane(1, &started(1, 1)), park(50), park(80)];
    let rows = rows_of::<Messages>(&events).await;
    let Row::Lane(lane) = &rows[&Key::Lane(person(1).connection())] else { panic!("{rows:?}") };
    let of_graph = &lane.parked[&Surface::Graph];
    assert_eq!((of_graph.since, of_graph.parked.why), (at(50), ParkReason::ReauthorizationRequired));
    let Row::Message(row) = &rows[&Key::Message(message(1))] else { panic!("{rows:?}") };
    assert_eq!((row.status, &row.diagnosis), (Status::Pending, &Some(diagnosis("AADSTS50173"))));

    events.push(in_lane(1, &resumed()));
    assert!(!rows_of::<Messages>(&events).await.contains_key(&Key::Lane(person(1).connection())));
}

/// Of messages 1 to 4, by turns to persons 1 and 2: 1 delivered, 2 deferred in a parked lane, the others pending.
fn four() -> Vec<Told> {
    let mut events = vec![accepted(1, 1), accepted(2, 2), accepted(3, 1), accepted(4, 2)];
    events.extend([in_lane(1, &started(1, 1)), in_lane(1, &delivered(1, 1))]);
    events.extend([
        in_lane(2, &started(2, 1)),
        in_lane(2, &parked(2, 1, 1)),
        in_lane(2, &deferred(2, 1, 60)),
    ]);
    events
}

#[tokio::test]
async fn messages_are_listed_newest_first_by_what_is_wanted() {
    let open = open_for_reading::<Messages>(&four()).await;
    let listed = async |wanted: Wanted, limit: usize| {
        let found = queries::list(&open.model, wanted, limit).await.unwrap();
        found.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    let all = Wanted::default;
    assert_eq!(listed(all(), 2).await, [message(4), message(3)]);
    assert_eq!(listed(Wanted { before: Some(3), ..all() }, 9).await, [message(2), message(1)]);
    let lane = Some(person(1).connection());
    assert_eq!(listed(Wanted { lane, ..all() }, 9).await, [message(3), message(1)]);
    let status = Some(Status::Delivered);
    assert_eq!(listed(Wanted { status, ..all() }, 9).await, [message(1)]);
    assert_eq!(listed(Wanted { lane, status, before: Some(1), ..all() }, 9).await, []);
    assert_eq!(listed(Wanted { parked: true, ..all() }, 9).await, [message(4), message(2)]);
    for (name, tenants, found) in
        [("okr", vec![tenant(100)], 4), ("okr", vec![tenant(1)], 0), ("crm", vec![], 0)]
    {
        let wanted = Wanted { client: Some(client(name)), tenants: Some(tenants), ..all() };
        assert_eq!(listed(wanted, 9).await.len(), found);
    }
}

#[tokio::test]
async fn a_message_is_shown_with_what_its_lane_waits_for() {
    let open = open_for_reading::<Messages>(&four()).await;
    let show = async |n| queries::show(&open.model, message(n)).await.unwrap();
    let since = |found: queries::Found| found.held_up().map(|parked| parked.since);
    assert_eq!(show(4).await.and_then(since), Some(at(2)));
    assert!(show(3).await.is_some_and(|found| found.lane.is_none()));
    assert!(show(5).await.is_none());
    let auto = accepted_for(SurfaceChoice::Auto, 5, 2);
    let open = open_for_reading::<Messages>(&[four(), vec![auto]].concat()).await;
    let show = async |n| queries::show(&open.model, message(n)).await.unwrap();
    assert!(show(5).await.is_some_and(|found| found.lane.is_some() && found.held_up().is_none()));
    let parked = Wanted { parked: true, ..Wanted::default() };
    assert_eq!(
        queries::list(&open.model, parked, 9).await.unwrap().len(),
        2,
        "what may go another way is not"
    );
    let counts = queries::count_by_status(&open.model).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|(status, count)| (status.as_str(), *count)).collect();
    assert_eq!(counts, [("deferred", 1), ("delivered", 1), ("pending", 3)]);
}
