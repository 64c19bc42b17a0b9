//! The adapter where the network or the server fails it.

use std::{sync::Arc, time::Duration};

use chancery_eventstoredb_server::{Access, Cost, PasswordHash, Role, User, Users};
use futures_util::{StreamExt, future::join_all, stream::BoxStream};
use ring::rand::SystemRandom;
use store::{
    APPEND_BYTES_MAX, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, StoreError,
    StreamName,
    eventstoredb::{EventStoreDb, Options},
};
use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use super::{event, proxy::Proxy};
use crate::{PATIENCE, PAUSE, Served, until, users};

/// Gives up soon, where a test waits for that. Whether an answer comes within it is up to the machine.
const SHORT: Options = Options { patience: Duration::from_millis(600), silence: Duration::from_millis(200) };

/// Notices silence soon, and has time for what has to succeed.
const PATIENT: Options = Options { patience: Duration::from_secs(6), silence: Duration::from_millis(200) };

fn connect(string: &str, options: Options) -> EventStoreDb {
    EventStoreDb::new(string.parse().unwrap(), options).unwrap()
}

async fn behind_a_proxy(options: Options) -> (EventStoreDb, Proxy, Served) {
    let served = Served::new().await;
    let proxy = Proxy::to(served.address).await;
    let store = connect(&proxy.string(), options);
    (store, proxy, served)
}

fn thing(number: impl std::fmt::Display) -> StreamName {
    StreamName::new(format!("thing-{number}"))
}

fn large(number: u128, bytes: usize) -> NewEvent {
    NewEvent { content_type: store::ContentType::Octets, data: vec![7; bytes].into(), ..event(number) }
}

async fn revisions(store: &dyn EventStore, stream: &StreamName) -> Vec<u64> {
    let events = store.read_stream(stream, Direction::Forward, 0, 1000).await.unwrap();
    events.iter().map(|event| event.revision).collect()
}

type Pages = BoxStream<'static, Result<Page, StoreError>>;

async fn next_revisions(pages: &mut Pages) -> Vec<u64> {
    loop {
        let page = timeout(PATIENCE, pages.next()).await.expect("there is a page");
        let page = page.unwrap().unwrap();
        if !page.events.is_empty() {
            return page.events.iter().map(|event| event.revision).collect();
        }
    }
}

/// Waits until the store itself has that many events.
async fn recorded(served: &Served, events: u64) {
    let mut pages = served.store.follow(Position::START, Filter::all());
    while served.store.head().await.unwrap().0 < events {
        timeout(PATIENCE, pages.next()).await.expect("more is recorded").unwrap().unwrap();
    }
}

/// Asks until there is an answer, as those do who are told that there was none.
async fn answered<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let asking = async {
        loop {
            match ask().await {
                Err(StoreError::Unavailable(_) | StoreError::Uncertain(_)) => sleep(PAUSE).await,
                answer => return answer.unwrap(),
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("there is an answer")
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_sent_again_and_recorded_once() {
    let (store, proxy, served) = behind_a_proxy(Options::default()).await;
    store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    for number in 1..10 {
        proxy.lose_answers(true);
        let stream = thing(1);
        let appending = store.append(&stream, Expected::Revision(number - 1), vec![event(number.into())]);
        let cutting = async {
            recorded(&served, number + 1).await;
            proxy.lose_answers(false);
            proxy.cut();
        };
        let (appended, ()) = tokio::join!(appending, cutting);
        assert_eq!(appended.unwrap().revision, number);
    }
    assert_eq!(served.store.head().await.unwrap().0, 10);
}

#[tokio::test]
async fn an_append_cut_on_its_way_is_sent_again_and_recorded_once() {
    let (store, proxy, served) = behind_a_proxy(Options::default()).await;
    store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    proxy.break_after(300_000);
    let before = proxy.connections();
    let stream = thing(1);
    let appending = store.append(&stream, Expected::Revision(0), vec![large(2, 900_000)]);
    let mending = async {
        until("there is another connection", || proxy.connections() > before).await;
        proxy.break_after(u64::MAX);
    };
    let (appended, ()) = tokio::join!(appending, mending);
    assert_eq!(appended.unwrap().revision, 1);
    assert_eq!(served.store.head().await.unwrap().0, 2);
}

/// Every connection breaks after a while, in the middle of whatever it carries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_network_that_breaks_all_the_time_every_answer_is_true() {
    let (store, proxy, served) = behind_a_proxy(Options::default()).await;
    proxy.break_after(20_000);
    let writers = (0..16_u64).map(|writer| {
        let store = &store;
        async move {
            for number in 0..20_u64 {
                let expected = number.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
                let events = vec![large(u128::from(writer << 32 | number), 500)];
                let done = store.append(&thing(writer), expected, events).await.unwrap();
                assert_eq!(done.revision, number);
            }
        }
    });
    join_all(writers).await;
    assert_eq!(served.store.head().await.unwrap().0, 16 * 20);
    assert!(proxy.connections() > 10, "{}", proxy.connections());
}

#[tokio::test]
async fn a_slow_network_only_takes_longer() {
    let (store, proxy, _served) = behind_a_proxy(Options::default()).await;
    proxy.slow_down(Duration::from_millis(20));
    let mut pages = store.follow(Position::START, Filter::all());
    store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    let late = store.append(&thing(1), Expected::NoStream, vec![event(2)]).await;
    assert!(matches!(late, Err(StoreError::Conflict { actual: Some(0), .. })), "{late:?}");
    assert_eq!(next_revisions(&mut pages).await, [0]);
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_given_up_and_an_append_gets_through() {
    let (store, proxy, served) = behind_a_proxy(PATIENT).await;
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    assert_eq!(next_revisions(&mut pages).await, [0]);

    proxy.fall_silent();
    let done = store.append(&thing(1), Expected::Revision(0), vec![event(2)]).await.unwrap();
    assert_eq!(done.revision, 1);
    assert_eq!(next_revisions(&mut pages).await, [1]);
    assert_eq!(served.store.head().await.unwrap().0, 2);
}

#[tokio::test]
async fn a_subscription_cut_off_without_a_word_goes_on_by_another_connection() {
    let (store, proxy, served) = behind_a_proxy(PATIENT).await;
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    for number in 0..3 {
        let expected = u64::checked_sub(number, 1).map_or(Expected::NoStream, Expected::Revision);
        served.store.append(&thing(1), expected, vec![event(number.into())]).await.unwrap();
        assert_eq!(next_revisions(&mut pages).await, [number]);
        proxy.fall_silent();
    }
    assert!(proxy.connections() > 2);
}

#[tokio::test]
async fn a_subscription_goes_along_when_a_call_finds_its_connection_dead() {
    let served = Served::new().await;
    let proxy = Proxy::to(served.address).await;
    // Nothing else would find out in the time of this test.
    let options = Options { silence: Duration::from_hours(1), ..SHORT };
    let store = connect(&format!("{}&keepAliveInterval=-1", proxy.string()), options);
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    served.store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    assert_eq!(next_revisions(&mut pages).await, [0]);
    proxy.fall_silent();
    served.store.append(&thing(1), Expected::Revision(0), vec![event(2)]).await.unwrap();
    let read = store.read_stream(&thing(1), Direction::Forward, 0, 9).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert_eq!(next_revisions(&mut pages).await, [1]);
}

#[tokio::test]
async fn without_an_answer_an_append_is_uncertain_and_can_be_repeated() {
    let (store, proxy, served) = behind_a_proxy(SHORT).await;
    let stream = thing(1);
    answered(|| store.append(&stream, Expected::NoStream, vec![event(1)])).await;
    proxy.lose_answers(true);
    let appended = store.append(&thing(1), Expected::Revision(0), vec![event(2)]).await;
    assert!(matches!(appended, Err(StoreError::Uncertain(_))), "{appended:?}");
    let read = store.read_stream(&thing(1), Direction::Forward, 0, 9).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");

    proxy.lose_answers(false);
    let again = answered(|| store.append(&stream, Expected::Revision(0), vec![event(2)])).await;
    assert_eq!(again.revision, 1);
    assert_eq!(served.store.head().await.unwrap().0, 2);
}

#[tokio::test]
async fn a_server_that_was_absent_at_the_start_is_used_when_it_comes() {
    let mut served = Served::new().await;
    served.shutdown.cancel();
    (&mut served.serving).await.unwrap().unwrap();
    // Nobody listens there, and no other test is given the port.
    let held = TcpSocket::new_v4().unwrap();
    held.bind(served.address).unwrap();
    let store = connect(&format!("esdb://{}?tls=false", served.address), SHORT);
    let unavailable = |answer: Result<(), StoreError>| {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    };
    for _ in 0..2 {
        unavailable(store.identify().await.map(drop));
        unavailable(store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.map(drop));
        unavailable(store.keep_newest(&thing(1), 1).await);
        let mut pages = store.follow(Position::START, Filter::all());
        unavailable(pages.next().await.unwrap().map(drop));
        assert!(pages.next().await.is_none());
    }

    drop(held);
    served.serve_again().await;
    assert_eq!(answered(|| store.identify()).await, store.id());
    let stream = thing(1);
    answered(|| store.append(&stream, Expected::NoStream, vec![event(1)])).await;
}

#[tokio::test]
async fn a_stream_deleted_underneath_is_said_to_be_and_harms_no_other() {
    let (store, _proxy, served) = behind_a_proxy(Options::default()).await;
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    for number in 1..=2_u8 {
        store.append(&thing(number), Expected::NoStream, vec![event(number.into())]).await.unwrap();
        next_revisions(&mut pages).await;
    }
    served.store.delete_for_good(&thing(1)).await.unwrap();

    let (gone, there) = (thing(1), thing(2));
    let (appended, neighbour) = tokio::join!(
        store.append(&gone, Expected::Revision(0), vec![event(3)]),
        store.append(&there, Expected::Revision(0), vec![event(4)]),
    );
    assert!(matches!(appended, Err(StoreError::Deleted(stream)) if stream == gone));
    assert_eq!(neighbour.unwrap().revision, 1);
    assert!(matches!(store.read_stream(&gone, Direction::Forward, 0, 9).await, Err(StoreError::Deleted(_))));
    let mut seen = next_revisions(&mut pages).await;
    while !seen.contains(&1) {
        seen = next_revisions(&mut pages).await;
    }
}

#[tokio::test]
async fn an_append_over_the_limit_is_refused_and_one_at_the_limit_is_taken() {
    let (store, _proxy, _served) = behind_a_proxy(Options::default()).await;
    // The metadata count too.
    let too_large = store.append(&thing(1), Expected::NoStream, vec![large(1, APPEND_BYTES_MAX - 1)]).await;
    assert!(matches!(too_large, Err(StoreError::TooLarge { .. })), "{too_large:?}");
    store.append(&thing(1), Expected::NoStream, vec![large(2, APPEND_BYTES_MAX - 2)]).await.unwrap();
    assert_eq!(revisions(&store, &thing(1)).await, [0]);
}

#[tokio::test]
async fn a_password_with_any_character_opens_and_a_wrong_one_is_said_to_be_wrong_without_being_repeated() {
    let user = User {
        name: "hub".into(),
        role: Role::Hub,
        password: PasswordHash::of("p@ss:w/o?r#d%", [7; 16], Cost::Drawn),
    };
    let users = Users::new([user], &SystemRandom::new());
    let access = Access::Users { users, rules: &users::RULES, audit: Arc::new(users::Records::default()) };
    let served = Served::to(access, None).await;
    let by = |password: &str| format!("esdb://hub:{password}@{}?tls=false", served.address);

    let right = connect(&by("p%40ss%3Aw%2Fo%3Fr%23d%25"), Options::default());
    right.identify().await.unwrap();
    right.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    right.keep_newest(&thing(1), 1).await.unwrap();
    assert_eq!(next_revisions(&mut right.follow(Position::START, Filter::categories(["thing"]))).await, [0]);

    let wrong = connect(&by("hunter2"), Options::default());
    let mut pages = wrong.follow(Position::START, Filter::all());
    for refused in [
        wrong.identify().await.map(drop),
        wrong.append(&thing(1), Expected::Revision(0), vec![event(2)]).await.map(drop),
        wrong.delete_for_good(&thing(1)).await,
        pages.next().await.unwrap().map(drop),
    ] {
        let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("password") && !why.contains("hunter2"), "{why}");
    }
    assert_eq!(revisions(&right, &thing(1)).await, [0]);
}

#[tokio::test]
async fn a_client_and_a_server_that_disagree_on_tls_have_no_connection() {
    let plain = Served::new().await;
    // On a loopback address it would take both.
    let by_tls = Served::at("0.0.0.0:0", users::users(&Arc::default()), Some(users::tls())).await;
    let at = |served: &Served| format!("esdb://hub:hub-password@localhost:{}", served.address.port());
    for string in [at(&plain), format!("{}?tls=false", at(&by_tls)), at(&by_tls)] {
        let store = connect(&string, SHORT);
        for refused in [
            store.head().await.map(drop),
            store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.map(drop),
        ] {
            let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains("localhost") && !why.contains("hub-password"), "{why}");
        }
    }
    let trusting = format!("{}?tlsCAFile={}/test-authority.pem", at(&by_tls), users::KEYS);
    connect(&trusting, Options::default()).identify().await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_found_by_its_gossip() {
    let served = Served::new().await;
    let store = connect(&format!("esdb+discover://{}?tls=false", served.address), Options::default());
    store.append(&thing(1), Expected::NoStream, vec![event(1)]).await.unwrap();
    assert_eq!(revisions(&store, &thing(1)).await, [0]);
}
