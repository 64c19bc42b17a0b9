//! Hubs are killed, held up and stopped while messages come in, again and again: each message is posted once, or recorded
//! as unknown, and all shards are worked again.
//!
//! `CHANCERY_HUB_ROUNDS=200` makes it 200 rounds.

use std::collections::{HashMap, HashSet};

use crate::harness::{
    api::{Answer, text, to_account},
    cluster::{Cluster, Log, until, upn},
    microsoft::HOUR,
};

/// Rounds if nothing is said.
const ROUNDS: usize = 20;
/// Two of each kind.
const ROUNDS_OF_THE_BOT: usize = 8;
pub(crate) const PEOPLE: u32 = 20;

/// The lease ends, but not where all stands still for a moment.
const ENDING: (&str, &str) = ("HUBS__LEASE_MS", "3000");

/// What a hub had begun is taken for abandoned after twice as long as its call may take. Where that happens in every other
/// round it has to be soon; calls that come too late for it are allowed for.
const SOON: &[(&str, &str)] = &[
    ("HUBS__LEASE_MS", "1500"),
    ("OUTBOUND__CONNECT_TIMEOUT_MS", "500"),
    ("OUTBOUND__REQUEST_TIMEOUT_MS", "1000"),
    ("TOKENS__REFRESH_TIMEOUT_MS", "1000"),
];

/// A message that was acknowledged.
pub(crate) struct Said {
    pub(crate) id: String,
    person: u32,
    content: String,
}

/// Sends each person's next messages, at this hub.
pub(crate) async fn say(cluster: &Cluster, at: usize, said: &mut Vec<Said>, times: usize, what: &str) {
    for time in 0..times {
        for person in 1..=PEOPLE {
            let content = format!("{what}, {time}, to {person}");
            let body = to_account(&format!("u-{person}"), &content);
            // Under one key until it is acknowledged, as a careful backend does.
            let key = content.replace(' ', "_");
            let mut id = String::new();
            let acknowledged = until(async || {
                match cluster.hubs[at].api.post("/v1/messages", &key, &body).await {
                    Answer { status: 202, body, .. } => id = text(&body["id"]),
                    Answer { status: 503, .. } => return false,
                    other => panic!("{other:?}"),
                }
                true
            });
            assert!(acknowledged.await, "{content}: it is not acknowledged");
            said.push(Said { id, person, content });
        }
    }
}

pub(crate) async fn until_all_have_ended(log: &mut Log, said: &[Said], what: &str) {
    log.until(what, |log| said.iter().all(|message| log.ends.contains_key(&message.id))).await;
}

/// Once where it is said to be delivered, at most once where that is unknown, and each person's in order; but for what was
/// taken for unknown, which a hub that thaws between intent and post may still bring.
pub(crate) fn hold(cluster: &Cluster, log: &Log, said: &[Said]) -> usize {
    let were_unknown = log.events.iter().filter(|event| event.name == "lane.unknown.v1");
    let were_unknown: HashSet<_> = were_unknown.map(|event| text(&event.data["message"])).collect();
    let mut unknown = 0;
    for person in 1..=PEOPLE {
        // Each person is written to one way.
        let arrived = [cluster.microsoft.texts(&upn(person)), cluster.microsoft.said(&upn(person))].concat();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, content) in arrived.iter().enumerate() {
            places.entry(content).or_default().push(place);
        }
        let mut last = None;
        for message in said.iter().filter(|message| message.person == person) {
            let times = places.get(message.content.as_str()).map_or(&[][..], Vec::as_slice);
            if log.ends[&message.id] == "lane.delivered.v1" {
                assert_eq!(times.len(), 1, "{}", message.content);
                if !were_unknown.contains(&message.id) {
                    assert!(last < times.first(), "{} came out of order", message.content);
                    last = times.first();
                }
            } else {
                unknown += 1;
                assert!(times.len() <= 1, "{} came {} times", message.content, times.len());
            }
        }
    }
    unknown
}

pub(crate) fn of_claims(cluster: &Cluster, log: &Log) {
    let claims = log.count("connection.refresh-started.v1");
    let calls = cluster.microsoft.count("token.refresh");
    assert!(calls <= claims as u64, "{calls} calls for {claims} claims");
    assert_eq!(log.count("connection.reauthorization-required.v1"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_messages_each_is_posted_once_though_a_hub_dies_among_them() {
    let mut cluster = Cluster::start(2, PEOPLE, &[ENDING]).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    let (mut said, mut log) = (Vec::new(), cluster.log());
    say(&cluster, 1, &mut said, 5, "before").await;
    cluster.kill(0).await;
    say(&cluster, 0, &mut said, 5, "after").await;
    cluster.until_shares_are(&[256]).await;
    until_all_have_ended(&mut log, &said, "all have ended").await;
    let unknown = hold(&cluster, &log, &said);
    assert!(unknown <= 20, "{unknown} are unknown");
    of_claims(&cluster, &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_after_round_nothing_is_lost_and_nothing_sent_twice() {
    disturbed(ROUNDS, "graph").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_after_round_the_bot_says_all_of_it_and_nothing_twice() {
    disturbed(ROUNDS_OF_THE_BOT, "bot").await;
}

/// So many rounds, unless the environment says otherwise, with everybody written to that way.
async fn disturbed(rounds: usize, surface: &str) {
    let rounds = std::env::var("CHANCERY_HUB_ROUNDS").map_or(rounds, |text| text.parse().unwrap());
    let mut cluster = Cluster::start(2, PEOPLE, &[SOON, &[("DELIVERY__SURFACE", surface)]].concat()).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    if surface == "bot" {
        cluster.install_crowd(PEOPLE).await;
    }
    let (mut said, mut log, mut sprung) = (Vec::new(), cluster.log(), 0);
    for round in 0..rounds {
        let what = format!("round {round}");
        say(&cluster, 1, &mut said, 1, &what).await;
        if round % 5 == 4 {
            // Tokens have to be refreshed.
            cluster.advance(2 * HOUR);
        }
        match round % 4 {
            0 => cluster.kill(0).await,
            1 => cluster.stop(0).await,
            2 => cluster.hubs[0].line.hold_up(),
            _ => cluster.hubs[0].line.hold_up_after("lane.delivery-started.v1"),
        }
        let survivor = cluster.hubs.len() - 1;
        say(&cluster, survivor, &mut said, 1, &format!("{what}, disturbed")).await;
        match round % 4 {
            0 | 1 => {
                cluster.until_shares_are(&[256]).await;
                cluster.join().await;
            }
            2 => {
                cluster.until_shares_are(&[0, 256]).await;
                assert!(cluster.hubs[0].line.let_go());
            }
            _ => {
                until_all_have_ended(&mut log, &said, &format!("{what}: without the first")).await;
                // A hub that was not sure of its shards just then sent nothing, and the trap did not spring.
                sprung += usize::from(cluster.hubs[0].line.let_go());
            }
        }
        cluster.until_shares_are(&[128, 128]).await;
        until_all_have_ended(&mut log, &said, &what).await;
    }
    let unknown = hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
    println!(
        "{rounds} rounds, {} messages, {unknown} unknown, {sprung} traps sprung, {} shards taken",
        said.len(),
        log.count("shard.taken.v1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_learns_too_late_that_it_may_send_does_not() {
    let cluster = Cluster::start(2, PEOPLE, &[ENDING, ("DELIVERY__UNKNOWN", "resend")]).await;
    cluster.link_crowd(PEOPLE).await;
    let shard = |person: u32| cluster.microsoft.person(&upn(person)).connection().shard();
    cluster.until_shares_are(&[128, 128]).await;
    let person = (1..=PEOPLE).find(|person| cluster.hubs[0].hub.shards.holds(shard(*person))).unwrap();
    let mut log = cluster.log();
    cluster.hubs[0].line.hold_up_after("lane.delivery-started.v1");
    let id = cluster.hubs[1].api.send(&format!("u-{person}"), "Once").await;
    cluster.hubs[0].line.held_up().await;
    log.until("the other hub sends it", |log| {
        log.ends.get(&id).is_some_and(|end| end == "lane.delivered.v1")
    })
    .await;
    assert!(cluster.hubs[0].line.let_go());
    cluster.until_shares_are(&[128, 128]).await;
    // One more by each, so that whatever the first hub had begun is over.
    for number in 1..=PEOPLE {
        let id = cluster.hubs[0].api.send(&format!("u-{number}"), "After").await;
        log.until("an outcome", |log| log.ends.contains_key(&id)).await;
    }
    assert_eq!(cluster.microsoft.texts(&upn(person)), ["Once", "After"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_learns_too_late_that_it_may_refresh_leaves_it_to_the_next_claim() {
    let mut cluster = Cluster::start(2, PEOPLE, &[ENDING]).await;
    cluster.link_crowd(PEOPLE).await;
    let shard = |person: u32| cluster.microsoft.person(&upn(person)).connection().shard();
    cluster.until_shares_are(&[128, 128]).await;
    let person = (1..=PEOPLE).find(|person| cluster.hubs[0].hub.shards.holds(shard(*person))).unwrap();
    let mut log = cluster.log();
    cluster.advance(2 * HOUR);
    cluster.hubs[0].line.hold_up_after("connection.refresh-started.v1");
    let id = cluster.hubs[1].api.send(&format!("u-{person}"), "Once").await;
    cluster.hubs[0].line.held_up().await;
    assert_eq!(cluster.microsoft.count("token.refresh"), 0);
    log.until("the other hub sends it", |log| log.ends.contains_key(&id)).await;
    assert!(cluster.hubs[0].line.let_go());
    cluster.until_shares_are(&[128, 128]).await;
    let after = cluster.hubs[1].api.send(&format!("u-{person}"), "After").await;
    log.until("it goes on", |log| log.ends.contains_key(&after)).await;
    assert_eq!(cluster.microsoft.texts(&upn(person)), ["Once", "After"]);
    let (claims, calls) =
        (log.count("connection.refresh-started.v1"), cluster.microsoft.count("token.refresh"));
    assert_eq!((claims, calls), (2, 1));
}
