//! A server in a process of its own that is killed and started again while clients write.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chancery_eventstoredb_server::serve;
use futures_util::{StreamExt, future::join_all};
use store::{
    Direction, EventStore, Expected, Filter, Position, StoreError, StreamName,
    embedded::{EmbeddedStore, Options},
    eventstoredb::{self, EventStoreDb},
};
use tokio_util::sync::CancellationToken;

use super::event;
use crate::{listen_again, until};

const TEST: &str = "adapter::killed::what_was_acknowledged_outlives_a_server_that_is_killed_under_load";
/// Tells the copy of this test that it is the server: where its store is, and at which address it serves.
const SERVER: &str = "CHANCERY_TEST_SERVER";

const WRITERS: u64 = 16;
const KILLS: u64 = 3;
/// Appends between one kill and the next.
const APPENDS: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_server_that_is_killed_under_load() {
    if let Ok(server) = env::var(SERVER) {
        return serve_until_killed(&server).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut server, address) = start(dir.path(), "127.0.0.1:0".parse().unwrap());
    let string = format!("esdb://{address}?tls=false").parse().unwrap();
    let store = Arc::new(EventStoreDb::new(string, eventstoredb::Options::default()).unwrap());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers = (0..WRITERS).map(|writer| write(Arc::clone(&store), Arc::clone(&acknowledged), writer));
    let writing = tokio::spawn(join_all(writers));
    for kill in 1..=KILLS {
        until("enough is acknowledged", || acknowledged.load(Ordering::SeqCst) >= kill * APPENDS).await;
        server.kill().unwrap();
        server.wait().unwrap();
        server = start(dir.path(), address).0;
    }
    writing.await.unwrap();

    // A follower that began at the beginning sees what the streams have, each event once.
    let mut pages = store.follow(Position::START, Filter::categories(["thing"]));
    let mut followed = 0;
    while followed < WRITERS * per_writer() {
        followed += pages.next().await.unwrap().unwrap().events.len() as u64;
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let store = EmbeddedStore::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.head().await.unwrap().0, WRITERS * per_writer());
    for writer in 0..WRITERS {
        let events = store.read_stream(&stream(writer), Direction::Forward, 0, 1000).await.unwrap();
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids, (0..per_writer()).map(|number| id(writer, number)).collect::<Vec<_>>());
    }
}

/// Enough that they write on behind the last kill.
fn per_writer() -> u64 {
    (KILLS + 1) * APPENDS / WRITERS
}

async fn write(store: Arc<EventStoreDb>, acknowledged: Arc<AtomicU64>, writer: u64) {
    for number in 0..per_writer() {
        let expected = number.checked_sub(1).map_or(Expected::NoStream, Expected::Revision);
        let appended = loop {
            let events = vec![event(u128::from(writer << 32 | number))];
            match store.append(&stream(writer), expected, events).await {
                Ok(appended) => break appended,
                Err(StoreError::Unavailable(_) | StoreError::Uncertain(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(appended.revision, number);
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

fn stream(writer: u64) -> StreamName {
    StreamName::new(format!("thing-{writer}"))
}

fn id(writer: u64, number: u64) -> uuid::Uuid {
    event(u128::from(writer << 32 | number)).id
}

/// Runs this test's copy as the server, until it says where it serves.
fn start(dir: &Path, address: SocketAddr) -> (Child, SocketAddr) {
    let mut server = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(SERVER, format!("{address} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("serving ")?.parse().ok()).unwrap();
    (server, address)
}

async fn serve_until_killed(server: &str) {
    let (address, dir) = server.split_once(' ').unwrap();
    let store = Arc::new(EmbeddedStore::open(Path::new(dir), Options::default()).unwrap());
    let listener = listen_again(address.parse().unwrap()).await;
    // In a line of its own, whatever the test's harness has begun to say.
    println!("\nserving {}", listener.local_addr().unwrap());
    serve(listener, store, CancellationToken::new()).await.unwrap();
}
