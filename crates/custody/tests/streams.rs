//! The vault in streams, on the embedded store and on a store that is reached over the wire.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use chancery_custody::{Entry, EntryId, Kind, StreamVault, Vault, VaultError, Version};
use futures_util::stream::BoxStream;
use store::{
    Append, Appended, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, Recorded,
    StoreError, StreamName,
    embedded::{EmbeddedStore, Options},
    eventstoredb::{self, EventStoreDb},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The directory goes when it is dropped, the open file stays.
fn embedded(directory: &Path) -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::open(directory, Options::default()).unwrap())
}

/// A connection string to a server that ends with the test.
async fn served() -> String {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = eventstoredb_server::serve(listener, store, CancellationToken::new());
    tokio::spawn(async move { (serving.await.unwrap(), directory) });
    format!("esdb://{address}?tls=false")
}

fn connect(server: &str) -> Arc<dyn Keeping> {
    Arc::new(EventStoreDb::new(server.parse().unwrap(), eventstoredb::Options::default()).unwrap())
}

mod on_the_embedded_store {
    use super::*;

    chancery_custody::vault_contract!(Arc::new(StreamVault::new(embedded(
        tempfile::tempdir().unwrap().path()
    ))));
}

mod over_the_wire {
    use super::*;

    chancery_custody::vault_contract!(Arc::new(StreamVault::new(connect(&served().await))));
}

fn grant() -> EntryId {
    EntryId::new(Kind::Grant, "0192d0c5")
}

fn version(generation: u64, claim: u64) -> Version {
    Version { generation, claim }
}

/// Whether the bytes are found in any file of the directory.
fn holds(directory: &TempDir, bytes: &[u8]) -> bool {
    directory.path().read_dir().unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn two_values_are_kept_until_the_former_is_forgotten() {
    let store = connect(&served().await);
    let vault = StreamVault::new(store.clone());
    for generation in 1..=5 {
        vault.put(&grant(), version(generation, generation), b"tokens").await.unwrap();
    }
    let stream = StreamName::new("vault-grant-0192d0c5");
    let revisions = async || -> Vec<u64> {
        let events = store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap();
        events.iter().map(|event| event.revision).collect()
    };
    assert_eq!(revisions().await, [3, 4]);
    vault.forget_before(&grant(), 4).await.unwrap();
    assert_eq!(revisions().await, [3, 4]);
    vault.forget_before(&grant(), 5).await.unwrap();
    assert_eq!(revisions().await, [4]);
}

#[tokio::test]
async fn no_file_of_the_embedded_store_holds_what_was_forgotten_or_destroyed() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StreamVault::new(embedded(directory.path()));
    vault.put(&grant(), version(1, 1), b"the first, wrapped").await.unwrap();
    vault.put(&grant(), version(2, 2), b"the second, wrapped").await.unwrap();
    assert!(holds(&directory, b"the first, wrapped"));
    vault.forget_before(&grant(), 2).await.unwrap();
    assert!(!holds(&directory, b"the first, wrapped") && holds(&directory, b"the second, wrapped"));
    vault.destroy(&grant()).await.unwrap();
    assert!(!holds(&directory, b"the second, wrapped"));
}

/// Both draw from one claim counter in life; here they hold the same claim, the hardest case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hubs_that_put_at_once_one_wins_and_the_other_is_told() {
    let server = served().await;
    let hubs = [StreamVault::new(connect(&server)), StreamVault::new(connect(&server))];
    let values: [&[u8]; 2] = [b"of the one", b"of the other"];
    for generation in 1..=50 {
        let id = grant();
        let at = version(generation, 7);
        let puts = tokio::join!(hubs[0].put(&id, at, values[0]), hubs[1].put(&id, at, values[1]));

        let winner = match puts {
            (Ok(()), Err(VaultError::Superseded)) => values[0],
            (Err(VaultError::Superseded), Ok(())) => values[1],
            both => panic!("{both:?}"),
        };
        let there = Entry { version: at, wrapped: winner.to_vec() };
        for hub in &hubs {
            assert_eq!(hub.get(&id, None).await, Ok(Some(there.clone())));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_never_outlives_a_destruction_by_another_hub() {
    let server = served().await;
    let (one, other) = (StreamVault::new(connect(&server)), StreamVault::new(connect(&server)));
    for number in 0..20 {
        let id = EntryId::new(Kind::Person, number.to_string());
        let (put, destroyed) = tokio::join!(one.put(&id, version(1, 1), b"key"), other.destroy(&id));
        assert!(matches!(put, Ok(()) | Err(VaultError::Destroyed)), "{put:?}");
        assert_eq!(destroyed, Ok(()));
        assert_eq!(one.get(&id, None).await, Err(VaultError::Destroyed));
        assert_eq!(one.put(&id, version(1, 2), b"key").await, Err(VaultError::Destroyed));
    }
}

/// Loses the answer to every other append.
struct Forgetful {
    store: Arc<EmbeddedStore>,
    forgets: AtomicBool,
}

#[async_trait]
impl EventStore for Forgetful {
    fn id(&self) -> uuid::Uuid {
        self.store.id()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let appended = self.store.append(stream, expected, events).await;
        let forgets = !self.forgets.fetch_not(Ordering::SeqCst);
        if forgets { Err(StoreError::Uncertain("the answer was lost".into())) } else { appended }
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        self.store.append_many(appends).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.store.read_stream(stream, direction, from, limit).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.store.read_all(after, filter, limit).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.store.head().await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        self.store.follow(after, filter)
    }
}

#[async_trait]
impl Keeping for Forgetful {
    async fn keep_newest(&self, stream: &StreamName, count: u64) -> Result<(), StoreError> {
        self.store.keep_newest(stream, count).await
    }

    async fn truncate_before(&self, stream: &StreamName, revision: u64) -> Result<(), StoreError> {
        self.store.truncate_before(stream, revision).await
    }

    async fn delete_for_good(&self, stream: &StreamName) -> Result<(), StoreError> {
        self.store.delete_for_good(stream).await
    }
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_known_to_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded(directory.path());
    let forgetful = Forgetful { store: store.clone(), forgets: AtomicBool::new(false) };
    let vault = StreamVault::new(Arc::new(forgetful));
    for generation in 1..=4 {
        vault.put(&grant(), version(generation, 1), b"tokens").await.unwrap();
    }
    assert_eq!(store.head().await.unwrap().0, 4, "each was recorded once");
    let newest = vault.get(&grant(), None).await.unwrap().unwrap();
    assert_eq!(newest.version, version(4, 1));
}
