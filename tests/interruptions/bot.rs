//! Somebody asks the bot while the hub dies, or its store fails, at every step: it is answered once.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use microsoft_simulator::activities::Act;
use serde_json::json;

use crate::harness::{
    PATIENCE, World,
    faltering::{Faltering, Way},
    log::count,
    microsoft::ADA,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_bot_answers_once() {
    for way in [Way::StopBefore, Way::StopAfter, Way::RefuseOnce, Way::LoseAnswerOnce] {
        // To receive it, to know the chat, to begin the answer, its outcome, and the end; and one beyond.
        let asked = join_all((1..=6).map(|at| tokio::spawn(asked_with(way, at)))).await;
        let failed: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
        assert_eq!(failed, [true, true, true, true, true, false], "{way:?}");
    }
}

/// Asks with this append going wrong, and looks at the end. False where there is no such append.
async fn asked_with(way: Way, at: usize) -> bool {
    let mut world = World::start().await;
    world.listen();
    world.end(PATIENCE).await;
    let sound = world.store().await;
    let faltering = Arc::new(Faltering::new(sound.clone(), way, at));
    world.begin(faltering.clone()).await;
    let died = tokio::select! {
        () = ask(&world) => false,
        () = faltering.stopped.cancelled() => true,
    };
    if died {
        world.end(Duration::ZERO).await;
        world.begin(sound).await;
        ask(&world).await;
    }
    let (events, when) = (world.events().await, format!("{way:?} at append {at}"));
    assert_eq!(count(&events, "activity.received.v1"), 1, "{when}");
    assert_eq!(count(&events, "activity.handled.v1"), 1, "{when}");
    assert_eq!(count(&events, "notice.started.v1"), 1, "{when}");
    let heard = world.microsoft.heard(ADA).len();
    let unknown = count(&events, "notice.unknown.v1");
    assert!(heard == 1 || (heard == 0 && unknown == 1), "{when}: {heard}, {unknown}");
    faltering.failed()
}

/// Sends the same activity until it is taken, as Teams does, and waits until it is handled.
async fn ask(world: &World) {
    let mut status = None;
    while status != Some(200) {
        let help = Act::Text("help".to_owned());
        let sent =
            world.microsoft.send(ADA, help, |sending| sending.change = json!({ "id": "1732365000123" }));
        status = sent.await[0].status;
    }
    world.until_recorded("activity.handled.v1", 1).await;
}
