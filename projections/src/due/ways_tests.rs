//! Several ways out of one lane: each closes and opens on its own, and what may go another way is not held up.

use super::*;
use crate::{
    fixtures::{
        accepted_for, at, delivered, diagnosis, in_lane, message, parked, person, resumed, started, unknown,
    },
    runner::testing::{Rows, Told, cost_of, open_for_reading, rows_of},
};

/// Messages 1 to 3 for person 1, by Graph, by the bot and by whichever will do.
fn three() -> Vec<Told> {
    let choices = [SurfaceChoice::Graph, SurfaceChoice::Bot, SurfaceChoice::Auto];
    (1..).zip(choices).map(|(n, choice)| accepted_for(choice, n, 1)).collect()
}

fn with(events: &[lane::Event]) -> Vec<Told> {
    let events = events.iter().map(|event| in_lane(1, event));
    three().into_iter().chain(events).collect()
}

/// The bot was of no use at revision 3 of the connection.
fn bot_parked() -> lane::Event {
    let parked = Parked {
        surface: Surface::Bot,
        why: lane::ParkReason::BotNotInstalled,
        grant_number: 0,
        connection_revision: Some(3),
        look_again_at: None,
        looks: 0,
    };
    lane::Event::Parked { message: message(2), attempt: 0, parked, diagnosis: diagnosis("403") }
}

/// The messages at the head of the lane, and whether it is found by who looks for lanes to work.
async fn head(events: &[lane::Event]) -> (Vec<MessageId>, bool) {
    let open = open_for_reading::<Due>(&with(events)).await;
    let head = queries::head(&open.model, person(1).connection(), at(2)).unwrap().expect("a lane");
    let ready = queries::ready_lanes(&open.model).await.unwrap();
    (head.messages.into_iter().map(|(id, _)| id).collect(), !ready.is_empty())
}

#[tokio::test]
async fn what_may_go_another_way_passes_by_what_waits() {
    let [graph, bot, auto] = [message(1), message(2), message(3)];
    assert_eq!(head(&[]).await, (vec![graph, bot, auto], true));
    assert_eq!(head(&[parked(1, 0, 1)]).await, (vec![bot, auto], true));
    assert_eq!(head(&[bot_parked()]).await, (vec![graph, auto], true));
    assert_eq!(head(&[parked(1, 0, 1), bot_parked()]).await, (vec![], false));
    assert_eq!(head(&[parked(1, 0, 1), bot_parked(), resumed()]).await, (vec![graph, auto], true));
    let rest = [parked(1, 0, 1), bot_parked(), started(3, 1), delivered(3, 1)];
    assert_eq!(head(&rest).await, (vec![], false));
}

fn started_by(way: Surface, n: u128) -> lane::Event {
    let mut started = started(n, 1);
    if let lane::Event::DeliveryStarted { surface, .. } = &mut started {
        *surface = way;
    }
    started
}

async fn lane_row(events: Vec<lane::Event>) -> LaneRow {
    match rows_of::<Due>(&with(&events)).await.remove(&Key::Lane(person(1).connection())) {
        Some(Row::Lane(row)) => row,
        other => panic!("{other:?}"),
    }
}

/// This way is put off for a minute by this message's attempt.
fn put_off(way: Surface, n: u128) -> [lane::Event; 2] {
    let (message, attempt, why) = (message(n), 1, lane::DeferReason::Throttled);
    let (surface, until, diagnosis) = (Some(way), at(60), diagnosis("429"));
    [started_by(way, n), lane::Event::Deferred { message, attempt, surface, until, why, diagnosis }]
}

#[tokio::test]
async fn a_way_that_is_put_off_holds_up_what_goes_it_and_nothing_else() {
    let [graph, bot, auto] = [message(1), message(2), message(3)];
    let [by_graph, by_bot] = [put_off(Surface::Graph, 1), put_off(Surface::Bot, 2)];
    assert_eq!(head(&by_graph).await, (vec![bot], true), "what may go either way waits with the others");
    assert_eq!(head(&by_bot).await, (vec![graph, auto], true));
    assert_eq!(head(&[by_graph.clone(), by_bot.clone()].concat()).await, (vec![], true));
    let closed = [vec![parked(1, 0, 1)], by_bot.to_vec()].concat();
    assert_eq!(head(&closed).await, (vec![], true), "Graph is closed, and the bot put off");

    let rest = [started_by(Surface::Bot, 2), delivered(2, 1)];
    let row = lane_row([&by_graph[..], &by_graph, &rest].concat()).await;
    let deferral = Deferral { until: at(60), times: 2 };
    assert_eq!(row.deferred, BTreeMap::from([(Surface::Graph, deferral)]), "a delivery ends its own way's");
    let row = lane_row([&by_graph[..], &[started(1, 2), delivered(1, 2)]].concat()).await;
    assert_eq!(row.deferred, BTreeMap::new());
}

#[tokio::test]
async fn what_perhaps_arrived_one_way_goes_no_other() {
    let surface = Some(Surface::Bot);
    let again = [unknown(3, 1), lane::Event::Resent { message: message(3), attempt: 1, surface }];
    let events = [&[started(3, 1)], &again[..], &[bot_parked()]].concat();
    assert_eq!(head(&events).await, (vec![message(1)], true));
}

/// A lane whose way by Graph is closed, with so many messages that wait for it and one behind them for the bot.
async fn waiting(messages: u128) -> Rows<Due> {
    let told = with(&[parked(1, 0, 1)]);
    let mut rows = rows_of::<Due>(&told).await;
    let lane = person(1).connection();
    rows.retain(|key, _| matches!(key, Key::Lane(_)));
    rows.extend((1..=messages + 1).zip(1..).map(|(n, position)| {
        let surface = if n > messages { SurfaceChoice::Bot } else { SurfaceChoice::Graph };
        (Key::Message(lane, message(n)), Row::Message(MessageRow { lane, position, surface }))
    }));
    rows
}

#[tokio::test]
async fn what_waits_costs_nothing_to_pass_by() {
    let lane = person(1).connection().to_string();
    let head = async |messages| {
        let by_bot = (&lane, 16, false, true, true);
        cost_of::<Due>(waiting(messages).await, queries::HEAD, by_bot)
    };
    let ready = async |messages| cost_of::<Due>(waiting(messages).await, queries::READY, []);
    assert_eq!(head(50_000).await, head(10).await);
    assert_eq!(ready(50_000).await, ready(10).await);
    assert_eq!((head(10).await.0, ready(10).await.0), (1, 1));
}

#[tokio::test]
async fn of_a_long_lane_only_the_head_is_read() {
    let lane = person(1).connection().to_string();
    let head = async |messages| {
        let all = (&lane, 16, true, true, true);
        cost_of::<Due>(waiting(messages).await, queries::HEAD, all)
    };
    assert_eq!(head(50_000).await, head(100).await);
}
