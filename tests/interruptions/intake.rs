//! What was submitted through the store is answered once, wherever the hub is stopped on answering it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use domain::client::Role;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::harness::{
    PATIENCE, World,
    faltering::{Faltering, Way},
    intake::{answers, event, message, submit, submitted},
    log::Event,
    microsoft::{ADA, BRUNO},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_hub_stops_what_was_submitted_is_answered_once_and_in_order() {
    for way in [Way::StopBefore, Way::StopAfter, Way::RefuseOnce, Way::LoseAnswerOnce] {
        let mut at = 1;
        while join_all((at..at + 4).map(|at| tokio::spawn(answered_with(way, at))))
            .await
            .iter()
            .all(|it| *it.as_ref().unwrap())
        {
            at += 4;
        }
        assert!(at > 4, "{way:?}: answering takes less than {at} appends");
    }
}

/// Submits while the hub is down and starts it with this append going wrong. False where there is no such append.
async fn answered_with(way: Way, at: usize) -> bool {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.link("u-2", BRUNO).await;
    world.client("shop", Role::Service).await;
    world.end(PATIENCE).await;
    let sound = world.store().await;
    let ids = submit(
        sound.as_ref(),
        5,
        vec![
            submitted(&message("shop", "1", "u-1", "First")),
            event("message.submitted.v1", "nonsense"),
            submitted(&message("shop", "2", "u-1", "Second")),
            submitted(&message("shop", "1", "u-1", "Other content")),
            submitted(&message("shop", "3", "u-2", "Elsewhere")),
            submitted(&message("shop", "4", "u-404", "To nobody")),
            submitted(&message("shop", "5", "u-1", "Third")),
        ],
    )
    .await;
    let faltering = Arc::new(Faltering::new(sound.clone(), way, at));
    world.begin(faltering.clone()).await;
    let told = tokio::select! {
        () = holds(&world, &ids) => true,
        () = faltering.stopped.cancelled() => false,
    };
    if !told {
        world.end(Duration::ZERO).await;
        world.begin(sound).await;
        holds(&world, &ids).await;
    }
    faltering.failed()
}

async fn holds(world: &World, ids: &[Uuid]) {
    let all = |events: &[_]| ids.iter().all(|id| !answers(events, *id).is_empty());
    let events = world.until("all are answered", all).await;
    let told: Vec<_> = ids.iter().map(|id| answers(&events, *id)).collect();
    assert!(told.iter().all(|answers| answers.len() == 1), "{told:?}");
    let told: Vec<_> = told.iter().map(|answers| answers[0].0.as_str()).collect();
    let reused = "idempotency_key_reused";
    assert_eq!(
        told,
        ["accepted", "not_json", "accepted", reused, "accepted", "recipient_not_linked", "accepted"]
    );
    // A message that is unknown may turn out to be delivered, and has two events then.
    let ended = |events: &[Event]| {
        let ends = events.iter().filter(|it| ["lane.delivered.v1", "lane.unknown.v1"].contains(&&*it.name));
        ends.map(|it| it.data["message"].as_str()).collect::<HashSet<_>>().len() == 4
    };
    world.until("all have come to an end", ended).await;
    let arrived = world.microsoft.texts(ADA);
    let places = ["First", "Second", "Third"].map(|text| arrived.iter().position(|it| it == text));
    assert!(places.iter().flatten().is_sorted() && arrived.len() <= 3, "{arrived:?}");
}
