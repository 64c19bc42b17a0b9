//! A process that is killed while it writes loses nothing that it had acknowledged.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use chancery_store::{
    ContentType, Direction, EventStore, Expected, Filter, NewEvent, Position, StreamName,
    embedded::{EmbeddedStore, Options},
};
use futures_util::future::join_all;
use uuid::Uuid;

const TEST: &str = "what_was_acknowledged_survives_a_kill";
/// Tells the copy of this test that it is the one to be killed, and where to write.
const VICTIM: &str = "CHANCERY_TEST_VICTIM";

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Some(dir) = env::var_os(VICTIM) {
        write_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let acknowledged = kill_after(200, dir.path());
        let store = EmbeddedStore::open(dir.path(), Options::default()).unwrap();
        for (stream, revision, position) in acknowledged {
            let read = store.read_stream(&stream, Direction::Forward, revision, 1).await.unwrap();
            assert_eq!(read[0].position, position, "{stream} at {revision}");
        }
        nothing_is_torn(&store).await;
    }
}

/// Runs this test's copy until it has acknowledged so much, and answers with all that it said until it was dead.
fn kill_after(count: usize, dir: &Path) -> Vec<(StreamName, u64, Position)> {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(VICTIM, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = Vec::new();
    for line in lines {
        // The last line may have been cut.
        if let ["ack", stream, revision, position, "."] = line.split(' ').collect::<Vec<_>>()[..] {
            let position = Position(position.parse().unwrap());
            acknowledged.push((StreamName::new(stream), revision.parse().unwrap(), position));
        }
        if acknowledged.len() == count {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    assert!(acknowledged.len() >= count);
    acknowledged
}

async fn write_until_killed(dir: &Path) {
    let store = Arc::new(EmbeddedStore::open(dir, Options::default()).unwrap());
    let round = store.head().await.unwrap();
    let writers = (0..16_u64).map(|writer| {
        let (store, stream) = (Arc::clone(&store), StreamName::new(format!("thing-{round}.{writer}")));
        tokio::spawn(async move {
            let mut expected = Expected::NoStream;
            for number in 0.. {
                let pair = vec![event(writer << 32 | number << 1), event(writer << 32 | number << 1 | 1)];
                let appended = store.append(&stream, expected, pair).await.unwrap();
                println!("ack {stream} {} {} .", appended.revision, appended.position);
                expected = Expected::Revision(appended.revision);
            }
        })
    });
    join_all(writers).await;
}

/// Appends are there in pairs, revisions and positions without fault.
async fn nothing_is_torn(store: &EmbeddedStore) {
    let (mut after, mut streams) = (Position::START, std::collections::HashMap::<StreamName, u64>::new());
    loop {
        let page = store.read_all(after, &Filter::all(), 1000).await.unwrap();
        for event in page.events {
            assert!(event.position > after);
            after = event.position;
            let next = streams.entry(event.stream).or_default();
            assert_eq!(event.revision, *next);
            *next += 1;
        }
        if page.at_head {
            assert!(streams.values().all(|count| count % 2 == 0));
            return;
        }
    }
}

fn event(number: u64) -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(number.into()),
        name: "thing.happened.v1".into(),
        content_type: ContentType::Octets,
        data: vec![7; 500].into(),
        metadata: "{}".into(),
    }
}
