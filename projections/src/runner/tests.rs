//! The runner with a toy projection.

mod gathering;
mod toy;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use store::{
    Append, Appended, Direction, EventStore, Expected, Filter, Keeping, NewEvent, Page, Position, Recorded,
    StoreError, StreamName, embedded::EmbeddedStore,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    model::{Change, ReadModel, State},
    rebuild::rebuild,
    testing::{self, PATIENCE, Rows},
};
use toy::{ToyKey, ToyRow, Toys, balance, closed, foreign, opened, paid_in, some_events, unreadable};

/// A read model that is followed until the end of the test.
struct Running {
    model: ReadModel<Toys>,
    stop: CancellationToken,
    following: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(data: &Path, store: Arc<dyn EventStore>) -> Self {
        let (model, follower) = ReadModel::open(data, store).expect("it opens");
        let stop = CancellationToken::new();
        let following = tokio::spawn(follower.run(stop.clone()));
        Self { model, stop, following }
    }

    async fn rows_at(&self, position: Position) -> Rows<Toys> {
        self.model.wait_for(position, PATIENCE).await.expect("it gets there");
        testing::read_all(&self.model).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.following.await.expect("it ends").expect("it ends well");
    }
}

fn files(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("read-models")).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".sqlite") || name.ends_with(".building"));
    names.sort();
    names
}

#[tokio::test]
async fn rebuilding_equals_following_whatever_happened() {
    for seed in 1..=5 {
        testing::rows_of::<Toys>(&some_events(seed, 60)).await;
    }
}

#[tokio::test]
async fn one_event_can_touch_rows_of_several_tables() {
    let rows = testing::rows_of::<Toys>(&[opened(1), opened(6), paid_in(6, 7), closed(1)]).await;
    assert_eq!(balance(&rows, 1), None);
    assert_eq!(rows[&ToyKey::Account(6)], ToyRow::Account { balance: 7, revision: 1 });
    assert_eq!(rows[&ToyKey::Owner("owner 1".into())], ToyRow::Owner { accounts: 1 });
}

#[tokio::test]
async fn what_is_appended_shows_and_is_told() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let running = Running::start(data.path(), store.clone());
    testing::state(&running.model, |state| *state == State::Live).await;
    let mut changes = running.model.changes();

    let position = testing::append(&*store, &[foreign(1), opened(3)]).await;

    let Some(Change::Rows(keys)) = changes.next().await else { panic!("rows were touched") };
    assert!(keys.contains(&ToyKey::Account(3)));
    running.model.wait_for(position, PATIENCE).await.unwrap();
    let row = running.model.get(ToyKey::Account(3)).await.unwrap();
    assert_eq!(row, Some(ToyRow::Account { balance: 0, revision: 0 }));
    running.stop().await;
}

#[tokio::test]
async fn queries_use_the_declared_columns() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let position = testing::append(&*store, &[opened(1), paid_in(1, 5), opened(2), paid_in(2, 9)]).await;
    let running = Running::start(data.path(), store);
    running.model.wait_for(position, PATIENCE).await.unwrap();

    let rich = running.model.query(|reader| {
        assert_eq!(reader.checkpoint()?, Position(4));
        reader.select(0, "SELECT key, body FROM accounts WHERE balance > ?1 ORDER BY balance DESC", [5])
    });
    let rich = rich.await.unwrap();

    assert_eq!(rich, [(ToyKey::Account(2), ToyRow::Account { balance: 9, revision: 1 })]);
    let writing = running.model.query(|reader| Ok(reader.execute("DELETE FROM accounts", [])?)).await;
    assert!(writing.is_err(), "a query can't write");
    running.stop().await;
}

#[tokio::test]
async fn following_goes_on_where_it_was_left() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let position = testing::append(&*store, &[opened(1), paid_in(1, 5)]).await;
    let running = Running::start(data.path(), store.clone());
    running.rows_at(position).await;
    running.stop().await;
    let position = testing::append(&*store, &[paid_in(1, 6), foreign(1)]).await;

    let running = Running::start(data.path(), store);

    assert_eq!(balance(&running.rows_at(position).await, 1), Some(11));
    running.stop().await;
    assert_eq!(files(data.path()), ["toys.v1-2.sqlite"], "built once, then followed");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_the_projection_where_it_stands() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let running = Running::start(data.path(), store.clone());
    testing::state(&running.model, |state| *state == State::Live).await;
    let good = testing::append(&*store, &[opened(1), paid_in(1, 5)]).await;
    running.rows_at(good).await;
    let bad = testing::append(&*store, &[unreadable(1)]).await;
    let later = testing::append(&*store, &[paid_in(1, 6)]).await;

    let state = testing::state(&running.model, |state| matches!(state, State::Stopped(_))).await;

    let State::Stopped(stop) = state else { unreachable!() };
    assert_eq!((stop.position, &*stop.stream, &*stop.name), (bad, "toy-1", "toy.painted.v1"));
    let behind = running.model.wait_for(later, PATIENCE).await.unwrap_err();
    assert_eq!((behind.wanted, behind.status.position), (later, good));
    assert_eq!(balance(&testing::read_all(&running.model).await, 1), Some(5), "what came before it is there");
    assert!(running.model.rebuild().await.is_err());
    running.stop().await;

    let running = Running::start(data.path(), store.clone());
    testing::state(&running.model, |state| matches!(state, State::Stopped(_))).await;
    assert_eq!(running.model.status().position, good, "after a start it stops there again");
    running.stop().await;
    let error = rebuild::<Toys>(store, data.path()).await.unwrap_err();
    assert!(error.to_string().contains("toy.painted.v1"));
}

#[tokio::test]
async fn that_a_stream_was_deleted_underneath_changes_no_row_and_stops_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let before = testing::append(&*store, &[opened(1), paid_in(1, 5)]).await;
    let running = Running::start(data.path(), store.clone());
    running.rows_at(before).await;
    store.delete_for_good(&StreamName::new("toy-1")).await.unwrap();
    let later = testing::append(&*store, &[opened(2), paid_in(2, 6)]).await;

    let followed = running.rows_at(later).await;

    assert_eq!((balance(&followed, 1), balance(&followed, 2)), (Some(5), Some(6)));
    running.stop().await;
    rebuild::<Toys>(store, data.path()).await.unwrap();
}

#[tokio::test]
async fn a_read_model_that_can_not_be_written_says_why_shows_what_it_has_and_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let running = Running::start(data.path(), store.clone());
    let before = testing::append(&*store, &[opened(1), paid_in(1, 5)]).await;
    running.rows_at(before).await;
    let file = data.path().join("read-models").join(&files(data.path())[0]);
    let disk = rusqlite::Connection::open(file).unwrap();
    let full =
        "CREATE TRIGGER disk BEFORE INSERT ON accounts BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    disk.execute_batch(full).unwrap();
    let position = testing::append(&*store, &[paid_in(1, 6)]).await;

    let state = testing::state(&running.model, |state| matches!(state, State::Waiting { .. })).await;

    let State::Waiting { why } = state else { unreachable!() };
    assert!(why.contains("the disk is full"), "{why}");
    assert_eq!(balance(&testing::read_all(&running.model).await, 1), Some(5));
    disk.execute_batch("DROP TRIGGER disk").unwrap();
    assert_eq!(balance(&running.rows_at(position).await, 1), Some(11));
    testing::state(&running.model, |state| *state == State::Live).await;
    running.stop().await;
}

/// Forwards to a real store, but breaks the follower's stream off behind the first page, a few times.
struct Faltering {
    store: Arc<EmbeddedStore>,
    faults_left: AtomicU32,
}

#[async_trait]
impl EventStore for Faltering {
    fn id(&self) -> Uuid {
        self.store.id()
    }

    async fn append(
        &self,
        to: &StreamName,
        at: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.store.append(to, at, events).await
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
        let pages = self.store.follow(after, filter);
        let fault = |left: u32| left.checked_sub(1);
        if self.faults_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fault).is_err() {
            return pages;
        }
        let fault = Err(StoreError::Unavailable("the cable".into()));
        pages.take(2).chain(stream::iter([fault])).boxed()
    }
}

#[tokio::test]
async fn a_store_that_falters_is_followed_anew_from_the_checkpoint() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let faltering = Arc::new(Faltering { store: store.clone(), faults_left: AtomicU32::new(2) });
    let mut position = testing::append(&*store, &[opened(1)]).await;
    let running = Running::start(data.path(), faltering.clone());

    for amount in 1..=5 {
        running.rows_at(position).await;
        position = testing::append(&*store, &[paid_in(1, amount)]).await;
    }

    assert_eq!(balance(&running.rows_at(position).await, 1), Some(15), "none missed, none twice");
    assert_eq!(faltering.faults_left.load(Ordering::SeqCst), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_read_model_of_another_store_is_not_used() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = testing::open_store(data.path());
    let position = testing::append(&*store, &[opened(1)]).await;
    testing::follow_and_read::<Toys>(store, data.path()).await;
    let store = testing::open_store(other.path());
    assert_eq!(testing::append(&*store, &[opened(2)]).await, position);

    let rows = testing::follow_and_read::<Toys>(store, data.path()).await;

    assert_eq!((balance(&rows, 1), balance(&rows, 2)), (None, Some(0)));
}

#[tokio::test]
async fn a_half_built_file_is_ignored_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    testing::append(&*store, &[opened(1)]).await;
    let rows = testing::follow_and_read::<Toys>(store.clone(), data.path()).await;
    let [in_use] = &files(data.path())[..] else { panic!("there is one file") };
    let models = data.path().join("read-models");
    fs::write(models.join("toys.v1-9.building"), "half of it").unwrap();
    // Killed between the switch and the removal of what was replaced.
    fs::copy(models.join(in_use), models.join("toys.v1-8.sqlite")).unwrap();

    assert_eq!(testing::follow_and_read::<Toys>(store, data.path()).await, rows);

    assert_eq!(files(data.path()), ["toys.v1-8.sqlite"]);
}

#[tokio::test]
async fn rebuilding_while_it_is_followed_switches_without_falling_back() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    testing::append(&*store, &some_events(7, 50)).await;
    let running = Running::start(data.path(), store.clone());
    testing::state(&running.model, |state| *state == State::Live).await;
    let damage = rusqlite::Connection::open(data.path().join("read-models/toys.v1-2.sqlite")).unwrap();
    damage.execute("UPDATE accounts SET balance = 77", []).unwrap();
    drop(damage);
    assert!(!running.model.verify().await.unwrap().is_good());
    let mut changes = running.model.changes();

    let (report, position) =
        tokio::join!(running.model.rebuild(), async { testing::append(&*store, &[opened(70)]).await });

    assert!(report.unwrap().events > 0);
    let rows = running.rows_at(position).await;
    assert_eq!(balance(&rows, 70), Some(0));
    assert!(running.model.verify().await.unwrap().is_good());
    while changes.next().await != Some(Change::Everything) {}
    running.stop().await;
    assert_eq!(files(data.path()), ["toys.v1-3.sqlite"]);
}

#[tokio::test]
async fn a_rebuild_may_be_asked_for_before_anyone_follows() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let position = testing::append(&*store, &[opened(1)]).await;
    let (model, follower) = ReadModel::<Toys>::open(data.path(), store).unwrap();
    let stop = CancellationToken::new();

    let asking = async {
        model.rebuild().await.unwrap();
        model.wait_for(position, PATIENCE).await.unwrap();
        stop.cancel();
    };
    let ((), end) = tokio::join!(biased; asking, follower.run(stop.clone()));

    end.unwrap();
    assert_eq!(balance(&testing::read_all(&model).await, 1), Some(0));
}

#[tokio::test]
async fn a_read_model_that_knows_more_than_the_store_is_made_anew() {
    let (data, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = testing::open_store(data.path());
    testing::append(&*store, &[opened(1)]).await;
    let backup = rusqlite::Connection::open(data.path().join("log.sqlite")).unwrap();
    backup.execute("VACUUM INTO ?1", [restored.path().join("log.sqlite").to_str()]).unwrap();
    testing::append(&*store, &[paid_in(1, 5)]).await;
    let rows = testing::follow_and_read::<Toys>(store, data.path()).await;
    assert_eq!(balance(&rows, 1), Some(5));

    let rows = testing::follow_and_read::<Toys>(testing::open_store(restored.path()), data.path()).await;

    assert_eq!(balance(&rows, 1), Some(0));
}

#[tokio::test]
async fn a_read_model_is_of_one_process() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let _first = ReadModel::<Toys>::open(data.path(), store.clone()).unwrap();
    assert!(ReadModel::<Toys>::open(data.path(), store.clone()).is_err());
    assert!(rebuild::<Toys>(store, data.path()).await.is_err());
}

#[tokio::test]
async fn waiting_for_what_does_not_come_tells_how_far_it_is() {
    let data = tempfile::tempdir().unwrap();
    let store = testing::open_store(data.path());
    let position = testing::append(&*store, &[opened(1)]).await;
    let running = Running::start(data.path(), store);
    running.rows_at(position).await;

    let behind = running.model.wait_for(Position(99), Duration::ZERO).await.unwrap_err();

    assert_eq!((behind.wanted, behind.status.position), (Position(99), position));
    running.stop().await;
}
