//! The hub is stopped at every step, and its process is killed at random: what was acknowledged has an end, and nothing
//! is sent twice.

#[path = "interruptions/bot.rs"]
mod bot;
#[allow(dead_code, reason = "each test binary uses a part of the harness")]
mod harness;
#[path = "interruptions/intake.rs"]
mod intake;
#[path = "interruptions/kills.rs"]
mod kills;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use microsoft_simulator::Kind;
use serde_json::Value;
use store::StreamName;

use harness::{
    PATIENCE, World,
    api::{Answer, Api, text, to_account, wish},
    browser::Browser,
    faltering::{Faltering, Way},
    log::count,
    microsoft::{ADA, BRUNO, HOUR},
};

/// Stories told at once.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_hub_dies_the_story_ends_as_it_should() {
    every_append(Way::StopBefore).await;
    every_append(Way::StopAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_store_refuses_or_does_not_answer_the_story_ends_as_it_should() {
    every_append(Way::RefuseOnce).await;
    every_append(Way::LoseAnswerOnce).await;
}

#[tokio::test]
async fn an_outcome_is_recorded_though_what_follows_from_it_could_not_be() {
    let status = |status| Kind::Status { status, retry_after_seconds: None };
    for (fault, stream) in
        [(status(504), "tenant-"), (status(404), "connection-"), (status(401), "connection-")]
    {
        let mut world = World::with(&[("DELIVERY__BREAKER_UNKNOWNS", "1")]).await;
        world.link("u-1", ADA).await;
        world.deliver("u-1", "Before").await;
        world.end(PATIENCE).await;
        let sound = world.store().await;
        let faltering = Arc::new(Faltering::at_next(sound, Way::RefuseOnce, stream));
        world.begin(faltering.clone()).await;
        world.microsoft.fault("graph.post", fault);
        let message = world.api.send("u-1", "Meanwhile").await;
        world
            .until("an outcome", |events| {
                let outcomes = ["lane.unknown.v1", "lane.deferred.v1"];
                events.iter().any(|event| outcomes.iter().any(|name| event.is(name, &message)))
            })
            .await;
        world.advance(HOUR / 2);
        world.until_concluded(&world.api, &message).await;
        assert!(faltering.failed(), "{stream}");
    }
}

#[tokio::test]
async fn an_intent_of_which_the_store_did_not_tell_ends_as_not_sent_though_that_is_refused_at_first() {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.deliver("u-1", "Before").await;
    world.end(PATIENCE).await;
    // The intent is appended six times without an answer, and then its outcome.
    let silent = Arc::new(Faltering::at_next(world.store().await, Way::LoseAnswers, "lane-"));
    let refusing = Arc::new(Faltering::at_nth(silent.clone(), Way::RefuseOnce, "lane-", 7));
    world.begin(refusing.clone()).await;
    let message = world.api.send("u-1", "Meanwhile").await;
    assert_eq!(world.until_message_is(&message, "deferred").await["why"], "not_sent");
    assert!(silent.failed() && refusing.failed());
    world.advance(HOUR / 4);
    assert_eq!(world.until_message_is(&message, "delivered").await["attempts"], 2);
    assert_eq!(world.microsoft.texts(ADA), ["Before", "Meanwhile"]);
    assert_eq!(world.recorded("lane.unknown.v1").await, 0);
}

/// Three messages wait in a lane. That one arrived is recorded with the intent to send the next, and what goes wrong with
/// that costs none of them.
#[tokio::test]
async fn an_outcome_and_the_next_intent_are_recorded_together_and_neither_is_lost() {
    // The first try of the first message takes two appends, then come its second try, two for an outcome and the next
    // intent, and the last outcome: six.
    for (way, at, attempts) in [
        (Way::RefuseOnce, 7, 1),
        (Way::RefuseOnce, 4, 1),
        (Way::LoseAnswerOnce, 4, 1),
        (Way::LoseAnswers, 4, 2),
    ] {
        let mut world = World::start().await;
        world.link("u-1", ADA).await;
        world.deliver("u-1", "Before").await;
        world.end(PATIENCE).await;
        let faltering = Arc::new(Faltering::at_nth(world.store().await, way, "lane-", at));
        world.begin(faltering.clone()).await;
        world.microsoft.fault("graph.post", Kind::Status { status: 429, retry_after_seconds: Some(60) });
        let first = world.api.send("u-1", "First").await;
        world.until_message_is(&first, "deferred").await;
        let (second, third) = (world.api.send("u-1", "Second").await, world.api.send("u-1", "Third").await);
        let hub = world.hub();
        hub.due.wait_for(hub.store.head().await.unwrap(), PATIENCE).await.unwrap();
        world.advance(HOUR / 30);
        if attempts > 1 {
            assert_eq!(world.until_message_is(&second, "deferred").await["why"], "not_sent", "{way:?}");
            world.advance(HOUR / 4);
        }
        world.until_message_is(&third, "delivered").await;
        assert_eq!(world.until_message_is(&second, "delivered").await["attempts"], attempts, "{way:?}");
        assert_eq!(world.microsoft.texts(ADA), ["Before", "First", "Second", "Third"], "{way:?}");
        assert_eq!(world.recorded("lane.unknown.v1").await, 0, "{way:?}");
        assert_eq!(faltering.failed(), at < 7, "{way:?}");
    }
}

#[tokio::test]
async fn a_lane_whose_stream_was_deleted_underneath_sends_nothing_and_holds_up_nobody_else() {
    let mut world = World::start().await;
    for (account, upn) in [("u-1", ADA), ("u-2", BRUNO)] {
        world.link(account, upn).await;
        world.deliver(account, "Before").await;
    }
    let lane = StreamName::new(format!("lane-{}", world.person(ADA).connection()));
    world.hub().store.delete_for_good(&lane).await.unwrap();
    let lost = world.api.send("u-1", "Into nothing").await;
    world.deliver("u-2", "Goes on").await;
    world.restart(&[]).await;
    world.deliver("u-2", "Still goes on").await;
    assert_eq!(world.api.get("/health/ready").await.status, 200);
    assert_eq!(world.api.message(&lost).await["status"], "pending");
    assert_eq!(world.microsoft.texts(ADA), ["Before"]);
}

/// Tells the story with the first append going wrong, then with the second one, until it has no more.
async fn every_append(way: Way) {
    let mut at = 1;
    loop {
        let told = join_all((at..at + AT_ONCE).map(|at| tokio::spawn(told_with(way, at)))).await;
        let failed: Vec<bool> = told.into_iter().map(Result::unwrap).collect();
        if !failed.contains(&true) {
            break;
        }
        at += AT_ONCE;
    }
    assert!(at > 15, "{way:?}: the story has less than {at} appends");
}

/// Tells the story with this append going wrong, and holds its end to the rules. False where it has no such append.
async fn told_with(way: Way, at: usize) -> bool {
    let mut world = World::with(&[("DELIVERY__BREAKER_UNKNOWNS", "1")]).await;
    world.end(PATIENCE).await;
    let sound = world.store().await;
    let faltering = Arc::new(Faltering::new(sound.clone(), way, at));
    world.begin(faltering.clone()).await;
    let mut story = Story::default();
    let told = tokio::select! {
        told = story.tell(&world) => Some(told),
        () = faltering.stopped.cancelled() => None,
    };
    let told = if let Some(told) = told {
        told
    } else {
        world.end(Duration::ZERO).await;
        world.begin(sound).await;
        story.tell(&world).await
    };
    holds(&world, &told, &format!("{way:?} at append {at}")).await;
    faltering.failed()
}

/// What was said, and what became of it.
type Told = Vec<(&'static str, Value)>;

async fn holds(world: &World, told: &Told, when: &str) {
    let arrived = world.microsoft.texts(ADA);
    let mut places = Vec::new();
    for (content, message) in told {
        let times = arrived.iter().filter(|text| text == content).count();
        match message["status"].as_str() {
            Some("delivered") => assert_eq!(times, 1, "{when}: {content}"),
            Some("unknown") => assert!(times <= 1, "{when}: {content}"),
            status => panic!("{when}: {content} is {status:?}"),
        }
        places.extend(arrived.iter().position(|text| text == content));
    }
    assert!(places.is_sorted(), "{when}: {arrived:?}");
    let events = world.events().await;
    for name in ["account.linked.v1", "connection.linked.v1", "signin.completed.v1"] {
        assert_eq!(count(&events, name), 1, "{when}: {name}");
    }
    let claims = count(&events, "connection.refresh-started.v1");
    assert!(world.microsoft.count("token.refresh") <= claims as u64, "{when}");
    assert_eq!(count(&events, "connection.reauthorization-required.v1"), 0, "{when}");
}

/// A sign-in, two messages, an hour or two, and another message. It can be told again from the beginning, and then goes
/// on where it was interrupted, as people and backends do.
struct Story {
    browser: Browser,
    /// The second message meets a Graph that takes it but does not say so.
    doubt: bool,
    later: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self { browser: Browser::new(), doubt: false, later: false }
    }
}

impl Story {
    async fn tell(&mut self, world: &World) -> Told {
        // Sockets of a former hub are of no use.
        let api = Api::new(&world.url, &world.api.key);
        self.browser = self.browser.again();
        self.sign_in(&api).await;
        let first = said(world, &api, "First").await;
        if !std::mem::replace(&mut self.doubt, true) {
            world.microsoft.fault("graph.post", Kind::AcceptThenStatus { status: 504 });
        }
        let second = said(world, &api, "Second").await;
        if !std::mem::replace(&mut self.later, true) {
            world.advance(2 * HOUR);
        }
        let third = said(world, &api, "Third").await;
        vec![("First", first), ("Second", second), ("Third", third)]
    }

    async fn sign_in(&mut self, api: &Api) {
        let link = accepted(api, "/v1/sign-ins", "link", &wish("u-1", None)).await;
        let (id, url) = (text(&link["id"]), text(&link["url"]));
        let mut code = None;
        loop {
            match api.sign_in(&id).await["status"].as_str() {
                Some("completed") => return,
                Some("provisional") if code.is_some() => {
                    api.confirm(&id, code.as_deref().unwrap_or_default()).await;
                }
                _ => code = self.follow(&url).await,
            }
        }
    }

    /// Once through the link; without a code where something went wrong on the way.
    async fn follow(&mut self, link: &str) -> Option<String> {
        let csrf = self.browser.get(link).await.csrf()?;
        let authorize = self.browser.press_with(link, &csrf, &[]).await.location?;
        let form = [("person", ADA), ("consent", "accept")];
        let callback = self.browser.at_microsoft(&authorize, &form).await;
        let page = self.browser.get(&callback).await;
        page.location.is_some().then(|| page.code())
    }
}

/// Says it until it is acknowledged, and waits until it has come to an end.
async fn said(world: &World, api: &Api, content: &str) -> Value {
    let id = text(&accepted(api, "/v1/messages", content, &to_account("u-1", content)).await["id"]);
    world.until_concluded(api, &id).await
}

/// Asks with the same key until it is acknowledged.
async fn accepted(api: &Api, path: &str, key: &str, body: &Value) -> Value {
    loop {
        match api.post(path, key, body).await {
            Answer { status: 200..300, body, .. } => return body,
            // Nothing was recorded, or it is not known; or the account's link is not finished yet.
            Answer { status: 503 | 404, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
