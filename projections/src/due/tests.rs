//! What is due, and when; and that nothing is lost or done twice, whatever happens in a lane.

use std::collections::BTreeMap;

use domain::{
    Aggregate as _, Diagnosis,
    connection::{Connection, Event as OfConnection, ReauthorizationReason},
    lane::{Command, Lane, Outcome, RejectReason},
    sign_in::{By, ByClient, Event as OfSignIn, FailureReason, SignIn},
};
use uuid::Uuid;

use super::*;
use crate::{
    fixtures::{
        accepted, account, at, client, deferred, delivered, diagnosis, hub, in_lane, message, parked, person,
        resent, resumed, sealed, sign_in, started, told_at, unknown,
    },
    runner::testing::{Rows, Told, open_for_reading, rows_of},
};

mod activities;
mod consents;
mod walk;

/// Messages 1 and 2 for person 1, then these events in the person's lane.
fn lane_of_two(events: &[lane::Event]) -> Vec<Told> {
    let accepted = [accepted(1, 1), accepted(2, 1)];
    accepted.into_iter().chain(events.iter().map(|event| in_lane(1, event))).collect()
}

fn lane_row(rows: &Rows<Due>) -> LaneRow {
    match &rows[&Key::Lane(person(1).connection())] {
        Row::Lane(row) => row.clone(),
        other => panic!("{other:?}"),
    }
}

async fn lane(events: &[lane::Event]) -> LaneRow {
    lane_row(&rows_of::<Due>(&lane_of_two(events)).await)
}

/// The lane's head, as its task sees it once what was put off has come due.
async fn head(events: &[lane::Event]) -> (u64, Option<(MessageId, u32)>) {
    let open = open_for_reading::<Due>(&lane_of_two(events)).await;
    let head = queries::head(&open.model, person(1).connection(), at(60)).unwrap().expect("a lane");
    (head.row.pending, head.messages.front().map(|(id, _)| (*id, head.row.attempts(*id))))
}

#[tokio::test]
async fn a_lane_with_a_message_is_ready_at_once_and_without_one_never() {
    let row = lane(&[]).await;
    assert_eq!((row.pending, row.lane_revision, row.ready_at()), (2, None, Some(at(0))));
    assert_eq!(head(&[]).await, (2, Some((message(1), 0))));

    let row = lane(&[started(1, 1), delivered(1, 1), started(2, 1), delivered(2, 1)]).await;
    assert_eq!((row.pending, row.lane_revision, row.ready_at()), (0, Some(3), None));
}

#[tokio::test]
async fn a_lane_waits_while_a_delivery_is_open() {
    let row = lane(&[started(1, 1)]).await;
    let (surface, hub) = (Surface::Graph, hub());
    assert_eq!(row.open, Some(Open { message: message(1), attempt: 1, surface, hub, timeout_ms: 30_000 }));
    assert_eq!((row.pending, row.ready_at()), (2, None));
    assert_eq!(lane(&[started(1, 1), delivered(1, 1)]).await.ready_at(), Some(at(0)));
    assert_eq!(head(&[started(1, 1), delivered(1, 1)]).await, (1, Some((message(2), 0))));
}

#[tokio::test]
async fn a_deferred_message_keeps_its_place_and_the_lane_waits_for_it() {
    let row = lane(&[started(1, 1), deferred(1, 1, 60)]).await;
    assert_eq!((row.pending, row.ready_at()), (2, Some(at(60))));
    assert_eq!(head(&[started(1, 1), deferred(1, 1, 60)]).await, (2, Some((message(1), 1))));
    let row = lane(&[started(1, 1), deferred(1, 1, 60), started(1, 2), delivered(1, 2)]).await;
    assert_eq!((row.pending, row.ready_at()), (1, Some(at(0))));
}

#[tokio::test]
async fn the_lane_goes_on_after_unknown() {
    assert_eq!(head(&[started(1, 1), unknown(1, 1)]).await, (1, Some((message(2), 0))));
    // Word that it arrived after all takes nothing away from the others.
    let late = [started(1, 1), unknown(1, 1), started(2, 1), delivered(1, 1)];
    let row = lane(&late).await;
    assert_eq!((row.pending, row.open.map(|open| open.message)), (1, Some(message(2))));
}

#[tokio::test]
async fn what_is_resent_goes_first_and_not_at_all_once_it_arrived() {
    let again = [started(1, 1), unknown(1, 1), resent(1, 1)];
    assert_eq!(head(&again).await, (2, Some((message(1), 1))));
    assert_eq!(lane(&again).await.ready_at(), Some(at(0)));

    let arrived = [&again[..], &[delivered(1, 1)]].concat();
    assert_eq!(head(&arrived).await, (1, Some((message(2), 0))));
}

#[tokio::test]
async fn word_of_an_earlier_attempt_while_the_next_is_open_concludes_the_message_once() {
    let open = [started(1, 1), unknown(1, 1), resent(1, 1), started(1, 2), delivered(1, 1)];
    let row = lane(&open).await;
    assert_eq!((row.pending, row.ready_at(), row.open.map(|open| open.attempt)), (1, None, Some(2)));
    for end in [delivered(1, 2), unknown(1, 2), deferred(1, 2, 60)] {
        let events = [&open[..], &[end]].concat();
        assert_eq!(head(&events).await, (1, Some((message(2), 0))), "{events:?}");
        assert!(lane(&events).await.ready_at().is_some());
    }
    // Also when the second attempt had been put off before.
    let put_off =
        [started(1, 1), unknown(1, 1), resent(1, 1), started(1, 2), deferred(1, 2, 60), delivered(1, 1)];
    assert_eq!(head(&put_off).await, (1, Some((message(2), 0))));
}

#[tokio::test]
async fn a_decision_without_a_delivery_concludes_a_message() {
    let (first, attempt, why) = (message(1), 0, RejectReason::AccountChanged);
    let ends = [
        lane::Event::Rejected { message: first, attempt, why, diagnosis: Diagnosis::default() },
        lane::Event::DeadLettered { message: first, attempt, diagnosis: Diagnosis::default() },
        lane::Event::Expired { message: first, attempt },
    ];
    for end in ends {
        assert_eq!(head(&[end]).await, (1, Some((message(2), 0))));
    }
}

#[tokio::test]
async fn a_parked_lane_is_ready_when_resumed_or_when_it_is_time_to_look_again() {
    let row = lane(&[started(1, 1), parked(1, 1, 1)]).await;
    assert_eq!((row.pending, row.ready_at()), (2, None));
    assert_eq!(lane(&[started(1, 1), parked(1, 1, 1), resumed()]).await.ready_at(), Some(at(0)));

    let lane::Event::Parked { message, attempt, parked: wait, diagnosis } = parked(1, 1, 1) else { panic!() };
    let wait = Parked { look_again_at: Some(at(90)), ..wait };
    let looks = lane::Event::Parked { message, attempt, parked: wait, diagnosis };
    assert_eq!(lane(&[started(1, 1), looks]).await.ready_at(), Some(at(90)));
}

fn in_connection(n: u128, seconds: i64, event: &OfConnection) -> Told {
    told_at::<Connection>(seconds, person(n).connection(), event)
}

fn linked(n: u128) -> Told {
    let (person, profile) = (person(n), sealed("profile"));
    let person_key = Uuid::from_u128(1);
    in_connection(n, 10, &OfConnection::Linked { person, person_key, profile, sign_in: sign_in(n) })
}

/// Issued at 10, expires at `expires`.
fn issued(n: u128, grant_number: u64, expires: i64) -> Told {
    let (grant, expires_at) = (sign_in(n), at(expires));
    let event = OfConnection::TokenIssued { grant, grant_number, generation: 1, scopes: vec![], expires_at };
    in_connection(n, 10, &event)
}

#[tokio::test]
async fn a_parked_lane_is_ready_once_its_person_signed_in_again() {
    let ready = async |events: &[Told]| {
        let open = open_for_reading::<Due>(events).await;
        queries::ready_lanes(&open.model).await.unwrap()
    };
    let lane = person(1).connection();
    let mut events = vec![linked(1), issued(1, 1, 3_600)];
    events.extend(lane_of_two(&[started(1, 1), parked(1, 1, 1)]));
    assert_eq!(ready(&events).await, []);
    events.push(issued(1, 2, 7_200));
    assert_eq!(ready(&events).await, [(lane, at(0))]);

    // Where nothing is pending there is nothing to be ready for.
    let none = [in_lane(1, &resumed()), in_lane(1, &started(1, 2)), in_lane(1, &delivered(1, 2))];
    events.extend(none);
    assert_eq!(ready(&events).await, [(lane, at(0))], "of the second message");
    let expired = lane::Event::Expired { message: message(2), attempt: 0 };
    events.extend([in_lane(1, &parked(2, 0, 1)), in_lane(1, &expired)]);
    assert_eq!(ready(&events).await, []);
}

#[tokio::test]
async fn lanes_are_found_by_what_they_wait_for() {
    let mut events = vec![accepted(1, 1), accepted(2, 2), accepted(3, 3)];
    events.extend([in_lane(2, &started(2, 1)), in_lane(3, &started(3, 1)), in_lane(3, &deferred(3, 1, 60))]);
    let open = open_for_reading::<Due>(&events).await;
    let ready = queries::ready_lanes(&open.model).await.unwrap();
    assert_eq!(ready, [(person(1).connection(), at(0)), (person(3).connection(), at(60))]);
    let opens = queries::open_lanes(&open.model).await.unwrap();
    assert_eq!(opens.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [person(2).connection()]);
    assert_eq!(queries::head(&open.model, person(4).connection(), at(2)).unwrap(), None);
}

#[tokio::test]
async fn of_ready_lanes_that_of_the_oldest_message_comes_first() {
    for order in [[1, 2, 3], [2, 3, 1], [3, 1, 2]] {
        let open = open_for_reading::<Due>(&order.map(|n| accepted(n, n))).await;
        let ready = queries::ready_lanes(&open.model).await.unwrap();
        assert_eq!(ready, order.map(|n| (person(n).connection(), at(0))));
    }
}

async fn connection(events: &[Told]) -> Option<ConnectionRow> {
    match rows_of::<Due>(events).await.remove(&Key::Connection(person(1).connection())) {
        Some(Row::Connection(row)) => Some(row),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn claimed(n: u128) -> Told {
    let event = OfConnection::RefreshStarted {
        grant: sign_in(n),
        generation: 2,
        claim: 1,
        hub: hub(),
        timeout_ms: 10_000,
    };
    in_connection(n, 20, &event)
}

fn refresh_failed(n: u128) -> Told {
    let event = OfConnection::RefreshFailed {
        grant: sign_in(n),
        generation: 2,
        claim: 1,
        class: connection::FailureClass::Transient,
        diagnosis: diagnosis("503"),
        not_before: Some(at(80)),
    };
    in_connection(n, 21, &event)
}

#[tokio::test]
async fn a_connection_follows_its_grant_and_the_claims_to_refresh_it() {
    let mut events = vec![linked(1), issued(1, 1, 3_600)];
    let row = connection(&events).await.expect("a row");
    assert_eq!((row.status, row.grant_number, row.generation), (Status::Active, 1, 1));
    assert_eq!((row.issued_at, row.expires_at, row.expired), (at(10), at(3_600), false));

    events.push(claimed(1));
    assert!(connection(&events).await.is_some_and(|row| row.claim_open));
    events.push(refresh_failed(1));
    let row = connection(&events).await.expect("a row");
    assert_eq!((row.claim_open, row.refresh_not_before), (false, Some(at(80))));

    let (grant, expires_at) = (sign_in(1), at(7_200));
    let refreshed =
        OfConnection::TokenRefreshed { grant, generation: 2, claim: 1, scopes: vec![], expires_at };
    events.push(in_connection(1, 90, &refreshed));
    let row = connection(&events).await.expect("a row");
    assert_eq!((row.generation, row.issued_at, row.expires_at), (2, at(90), at(7_200)));
    assert_eq!((row.claim_open, row.refresh_not_before), (false, None));
}

#[tokio::test]
async fn connections_are_found_by_what_is_due() {
    let (grant, generation) = (sign_in(4), 1);
    let (why, diagnosis) = (ReauthorizationReason::GrantDead, diagnosis("invalid_grant"));
    let dead = OfConnection::ReauthorizationRequired { grant, generation, why, diagnosis };
    let expired = OfConnection::TokenExpired { grant: sign_in(3), generation: 1, expired_at: at(100) };
    let mut events = Vec::new();
    for (n, expires) in [(1, 300), (2, 200), (3, 100), (4, 400), (5, 500)] {
        events.extend([linked(n), issued(n, 1, expires)]);
    }
    events.extend([claimed(1), in_connection(3, 101, &expired), claimed(4), in_connection(4, 30, &dead)]);
    events.push(in_connection(5, 30, &OfConnection::Unlinked {}));
    let open = open_for_reading::<Due>(&events).await;
    let model = &open.model;
    let ids =
        |found: Vec<(ConnectionId, ConnectionRow)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let of = |n: u128| person(n).connection();

    // Soonest first; what is recorded as expired, and what is unlinked, is done with.
    assert_eq!(
        ids(queries::expired_connections(model, at(1_000), None, 9).await.unwrap()),
        [of(2), of(1), of(4)]
    );
    assert_eq!(ids(queries::expired_connections(model, at(300), None, 1).await.unwrap()), [of(2)]);
    assert_eq!(ids(queries::expired_connections(model, at(199), None, 9).await.unwrap()), []);
    assert_eq!(queries::next_expiry_at(model, at(200)).await.unwrap(), Some(at(300)));
    // Of another hub's shards nothing is told, nor does it take anybody's place.
    let of_shard =
        async |shards| queries::expired_connections(model, at(1_000), Some(shards), 1).await.unwrap();
    assert_eq!(ids(of_shard(vec![of(1).shard()]).await), [of(1)]);
    assert_eq!(ids(of_shard(vec![]).await), []);
    let of_shard = queries::stale_connections(model, at(10), at(10), Some(vec![of(3).shard()]), 9);
    assert_eq!(ids(of_shard.await.unwrap()), [of(3)]);
    assert_eq!(queries::next_expiry_at(model, at(400)).await.unwrap(), None);

    // Only what is active grows stale; only an open claim is one.
    let mut stale = ids(queries::stale_connections(model, at(10), at(10), None, 9).await.unwrap());
    stale.sort_unstable();
    let mut active = [of(1), of(2), of(3)];
    active.sort_unstable();
    assert_eq!(stale, active);
    assert_eq!(queries::oldest_issue_at(model).await.unwrap(), Some(at(10)));
    assert_eq!(ids(queries::claimed_connections(model).await.unwrap()), [of(1)]);
}

fn in_sign_in(n: u128, event: &OfSignIn) -> Told {
    told_at::<SignIn>(1, sign_in(n), event)
}

fn requested(n: u128, lapses: i64) -> Told {
    let by = ByClient {
        client: client("okr"),
        account_hash: account("alice"),
        account: sealed("alice"),
        expected: None,
        return_url: None,
        request_hash: domain::KeyedHash("k:1".into()),
    };
    let event = OfSignIn::Requested { by: By::Client(Box::new(by)), lapses_at: at(lapses) };
    in_sign_in(n, &event)
}

#[tokio::test]
async fn a_sign_in_is_due_when_it_ends_or_its_time_is_over_until_it_is_settled() {
    let completed = |n| in_sign_in(n, &OfSignIn::Completed { person: person(n) });
    let failed = |n, why| {
        let (attempt, diagnosis) = (1, diagnosis("access_denied"));
        in_sign_in(n, &OfSignIn::Failed { attempt, why, diagnosis, came: None })
    };
    let events = [
        requested(1, 600),
        requested(2, 500),
        requested(3, 400),
        requested(4, 300),
        requested(5, 200),
        completed(2),
        completed(3),
        linked(3),
        issued(3, 1, 3_600),
        in_sign_in(4, &OfSignIn::Lapsed {}),
        completed(5),
        failed(5, FailureReason::AccountLinkedElsewhere),
        in_sign_in(3, &OfSignIn::Settled {}),
        in_sign_in(4, &OfSignIn::Settled {}),
        failed(1, FailureReason::Declined),
    ];
    let rows = rows_of::<Due>(&events).await;
    let left: BTreeMap<_, _> = rows
        .into_iter()
        .filter_map(|(key, row)| if let Row::SignIn(row) = row { Some((key, row.ended)) } else { None })
        .collect();
    let expected =
        [(Key::SignIn(sign_in(1)), false), (Key::SignIn(sign_in(2)), true), (Key::SignIn(sign_in(5)), true)];
    assert_eq!(left, BTreeMap::from(expected));

    let open = open_for_reading::<Due>(&events).await;
    let due = async |now| {
        let found = queries::due_sign_ins(&open.model, at(now), None, 9).await.unwrap();
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(due(1).await, [sign_in(2), sign_in(5)]);
    assert_eq!(due(600).await, [sign_in(2), sign_in(5), sign_in(1)]);
    assert_eq!(queries::next_lapse_at(&open.model, at(1)).await.unwrap(), Some(at(600)));
    let of_shard =
        queries::due_sign_ins(&open.model, at(600), Some(vec![sign_in(1).shard()]), 9).await.unwrap();
    assert_eq!(of_shard.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [sign_in(1)]);
}
