//! What Teams tells several hubs of is received once, and answered once.

use chancery::{
    bot::{
        catalogue::Notice,
        notices::{self, Told},
    },
    commands::Context,
    services::consent,
};
use domain::{
    CommandId, HubId, NoticeId,
    notice::{self, Kind},
};
use futures_util::future::join_all;
use microsoft_simulator::activities::Act;
use reqwest::Method;
use uuid::Uuid;

use crate::{
    harness::{
        browser::Browser,
        cluster::{Cluster, until},
        log::{count, read},
        microsoft::{ADA, HOUR},
    },
    process::Server,
    served,
};

#[tokio::test]
async fn the_same_activity_ten_times_at_once_at_two_hubs_is_answered_once() {
    ten_times_at_once(&Cluster::start(2, 0, &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_protocol_of_eventstoredb_as_well() {
    let server = Server::start(&["--insecure"]);
    ten_times_at_once(&served::cluster(&server, 2).await).await;
}

async fn ten_times_at_once(cluster: &Cluster) {
    cluster.until_shares_are(&[128, 128]).await;
    // Nobody listens there; what would be sent is what counts.
    cluster.microsoft.listen("http://localhost:9");
    let unheard = cluster.microsoft.send(ADA, Act::Text("help".to_owned()), |_| {}).await.remove(0);
    let simulator = &cluster.microsoft.simulator;
    let token = simulator.bot_token(&simulator.service_url(), None).unwrap();
    let posts = (0..10).map(|n| {
        let api = cluster.hubs[n % 2].api.with_key(&token);
        let request = api.request(Method::POST, "/api/messages").json(&unheard.activity);
        async move { request.send().await.unwrap().status().as_u16() }
    });
    assert_eq!(join_all(posts).await, [200; 10]);
    let mut log = cluster.log();
    log.until("it is handled", |log| count(&log.events, "activity.handled.v1") == 1).await;
    for name in ["activity.received.v1", "notice.started.v1", "notice.sent.v1"] {
        assert_eq!(count(&log.events, name), 1, "{name}");
    }
    assert_eq!(cluster.microsoft.heard(ADA).len(), 1);
}

/// Two hubs, and Ada with the bot.
async fn with_ada(overrides: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::start(2, 0, overrides).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.microsoft.listen(&cluster.hubs[0].url);
    assert_eq!(cluster.microsoft.say(ADA, "help").await, 200);
    cluster.log().until("she is met", |log| log.count("activity.handled.v1") == 1).await;
    cluster
}

/// One of the hubs tells Ada that there is word of consent.
async fn tell(cluster: &Cluster, hub: usize) -> Told {
    let ada = cluster.microsoft.person(ADA);
    notices::tell(&cluster.hubs[hub].hub, ada, Uuid::from_u128(1), &Notice::ConsentReported).await.unwrap()
}

#[tokio::test]
async fn what_another_hub_is_saying_is_left_to_it_for_its_time_whatever_the_clock_says() {
    let cluster = with_ada(&[]).await;
    let (line, clock) = (&cluster.hubs[0].line, &cluster.hubs[1].clock);
    line.hold_up_after("notice.started.v1");
    let others = async {
        line.held_up().await;
        assert!(matches!(tell(&cluster, 1).await, Told::Later(_)));
        clock.advance(5 * HOUR);
        assert!(matches!(tell(&cluster, 1).await, Told::Later(_)));
        assert!(line.let_go());
    };
    let (told, ()) = tokio::join!(tell(&cluster, 0), others);
    assert_eq!((told, tell(&cluster, 1).await), (Told::Said, Told::Before));
    let events = read(cluster.store.as_ref()).await;
    assert_eq!((count(&events, "notice.sent.v1"), count(&events, "notice.unknown.v1")), (2, 0));
}

#[tokio::test]
async fn what_another_hub_began_and_did_not_end_in_its_time_is_unknown_and_not_said_by_anybody() {
    let cluster =
        with_ada(&[("OUTBOUND__REQUEST_TIMEOUT_MS", "1000"), ("OUTBOUND__CONNECT_TIMEOUT_MS", "500")]).await;
    let line = &cluster.hubs[0].line;
    line.hold_up_after("notice.started.v1");
    let others = async {
        line.held_up().await;
        let judged = until(async || tell(&cluster, 1).await == Told::Before).await;
        assert!(judged, "the other hub waits for ever");
        assert!(line.let_go());
    };
    let (told, ()) = tokio::join!(tell(&cluster, 0), others);
    assert_eq!(told, Told::Unsaid, "it comes too late");
    let events = read(cluster.store.as_ref()).await;
    assert_eq!((count(&events, "notice.unknown.v1"), count(&events, "notice.failed.v1")), (1, 0));
    assert_eq!(cluster.microsoft.heard(ADA).len(), 1);
}

#[tokio::test]
async fn another_hub_has_the_time_that_it_gave_itself_however_little_this_one_would_need() {
    let cluster = with_ada(&[]).await;
    let (hub, person, kind) = (&cluster.hubs[0].hub, cluster.microsoft.person(ADA), Kind::ConsentReported);
    let cause = [Uuid::from_u128(1).to_string(), serde_json::to_string(&kind).unwrap()];
    let id = NoticeId(hub.custody.name_of("notice", &[&cause[0], &cause[1]]));
    let (now, timeout_ms) = (hub.clock.now(), 3_600_000);
    let other = HubId(Uuid::from_u128(7));
    let start = notice::Command::Start {
        person,
        kind,
        hub: other,
        now,
        timeout_ms,
        again_after: None,
        failures_max: 1,
    };
    let (command_id, context) = (CommandId::new("start".to_owned()), Context::hub("test", "notice"));
    hub.commands.execute::<notice::Notice>(id, &command_id, &context, start).await.unwrap();
    let Told::Later(at) = tell(&cluster, 0).await else { panic!("it is the other hub's to say") };
    assert!(at.since(now) > HOUR / 2, "{at:?}");
}

#[tokio::test]
async fn word_of_consent_that_a_hub_could_not_pass_on_before_it_died_is_passed_on_by_the_next_once() {
    let mut cluster = with_ada(&[("HUBS__LEASE_MS", "3000")]).await;
    let ada = cluster.microsoft.person(ADA);
    let link = cluster.microsoft.login_at(&cluster.hubs[0].hub, ADA, Uuid::from_u128(1)).await;
    cluster.microsoft.deny("token.code", 90_094);
    Browser::new().sign_in(link.url.as_str(), ADA).await;
    let throttled = microsoft_simulator::Kind::Status { status: 429, retry_after_seconds: Some(60) };
    cluster.microsoft.faults("connector.send", 1000, throttled);

    let page = format!("{}{}", cluster.hubs[0].url, consent::link(&cluster.hubs[0].hub, ada.tenant));
    let mut admin = Browser::new();
    let csrf = admin.get(&page).await.csrf().unwrap();
    let asked = admin.post(&page, &[("csrf", &csrf)]).await.location.unwrap();
    let back = admin.at_microsoft(&asked, &[("consent", "accept")]).await;
    assert_eq!(admin.get(&back).await.title(), "Thank you");

    let mut log = cluster.log();
    log.until("it is put off", |log| log.count("notice.failed.v1") == 1).await;
    let owner = usize::from(cluster.hubs[1].hub.shards.holds(ada.tenant.shard()));
    cluster.kill(owner).await;
    cluster.microsoft.simulator.clear_faults();
    cluster.advance(HOUR);
    log.until("all are told", |log| log.count("tenant.consent-told.v1") == 1).await;
    assert_eq!(cluster.microsoft.heard(ADA).len(), 2, "once, and the help of before");
}
