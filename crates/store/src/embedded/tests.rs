//! What the embedded store does beside what every store does.

use std::{
    future::{Ready, ready},
    path::Path,
    sync::Arc,
};

use futures_util::{StreamExt, future::join_all};
use tempfile::TempDir;

use super::*;
use crate::contract_suite;

fn open() -> Ready<(Arc<dyn Keeping>, TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    ready((Arc::new(store(dir.path())), dir))
}

contract_suite!(open);

fn store(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, Options::default()).unwrap()
}

fn event(number: u128) -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(number),
        name: "thing.happened.v1".into(),
        content_type: ContentType::Json,
        data: "{}".into(),
        metadata: "{}".into(),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let stream = StreamName::new("thing-1");
    let first = store(dir.path());
    let id = first.id();
    let appended = first.append(&stream, Expected::NoStream, vec![event(1), event(2)]).await.unwrap();
    drop(first);

    let second = store(dir.path());
    assert_eq!(second.id(), id);
    assert_eq!(second.head().await.unwrap(), appended.position);
    // The ids are in the file, so a repeat is known to be one even now.
    let again = second.append(&stream, Expected::NoStream, vec![event(1), event(2)]).await.unwrap();
    assert_eq!(again, appended);
    let grown = second.append(&stream, Expected::Revision(1), vec![event(3)]).await.unwrap();
    assert!(grown.position > appended.position);
}

#[tokio::test]
async fn stores_have_ids_of_their_own() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(store(one.path()).id(), store(other.path()).id());
}

#[tokio::test]
async fn closing_leaves_one_file_and_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let stream = StreamName::new("thing-1");
    store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    store.read_stream(&stream, Direction::Forward, 0, 1).await.unwrap();
    drop(store);

    let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "log.sqlite"]);
}

#[tokio::test]
async fn closing_finishes_what_waits_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let (answer, answers) = oneshot::channel();
    let append = |number: u128| {
        let stream = StreamName::new(format!("thing-{number}"));
        Append { stream, expected: Expected::NoStream, events: vec![event(number)], line: None }
    };
    let job = Job { work: Work::Append((0..100).map(append).collect()), answer };
    first.jobs.as_ref().unwrap().try_send(job).ok().unwrap();
    drop(first);

    assert!(answers.await.unwrap().iter().all(Result::is_ok));
    let page = store(dir.path()).read_all(Position::START, &Filter::all(), 1000).await.unwrap();
    assert_eq!(page.events.len(), 100);
}

#[tokio::test]
async fn followers_are_told_that_the_store_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut pages = store.follow(Position::START, Filter::all());
    assert!(pages.next().await.unwrap().unwrap().at_head);
    drop(store);

    assert!(matches!(pages.next().await, Some(Err(StoreError::Unavailable(_)))));
    assert!(pages.next().await.is_none());
}

#[tokio::test]
async fn a_read_passes_stretches_that_match_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let noise = (0..20).map(|number| {
        let stream = StreamName::new(format!("noise-{number}"));
        Append { stream, expected: Expected::NoStream, events: (0..1000).map(event).collect(), line: None }
    });
    store.append_many(noise.collect()).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let wanted = StreamName::new("wanted-1");
    let last = store.append(&wanted, Expected::NoStream, vec![event(1)]).await.unwrap();
    let filter = Filter::categories(["wanted"]);

    let first = store.read_all(Position::START, &filter, 10).await.unwrap();
    assert!(first.events.is_empty() && !first.at_head && first.upto > Position::START);
    let mut pages = store.follow(Position::START, filter.clone());
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = pages.next().await.unwrap().unwrap().events;
    }
    assert_eq!(seen[0].position, last.position);
    let mut scanned = 0;
    let each = &mut |_: RecordedRef<'_>| {
        scanned += 1;
        std::ops::ControlFlow::Continue(())
    };
    assert_eq!(store.scan(Position::START, Position(u64::MAX), &filter, each).unwrap(), last.position);
    assert_eq!(scanned, 1);
}

#[tokio::test]
async fn a_page_ends_before_it_grows_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let large = NewEvent { data: vec![0; 1024 * 1024 - 2].into(), ..event(1) };
    for number in 0..6 {
        let stream = StreamName::new(format!("large-{number}"));
        store.append(&stream, Expected::NoStream, vec![large.clone()]).await.unwrap();
    }
    let page = store.read_all(Position::START, &Filter::all(), 1000).await.unwrap();
    assert_eq!((page.events.len(), page.at_head), (4, false));
    let page = store.read_all(page.upto, &Filter::all(), 1000).await.unwrap();
    assert_eq!((page.events.len(), page.at_head), (2, true));
}

#[tokio::test]
async fn more_may_read_at_once_than_there_are_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), Options { readers: 2 }).unwrap();
    let stream = StreamName::new("thing-1");
    store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    let reads = join_all((0..32).map(|_| store.read_stream(&stream, Direction::Forward, 0, 9))).await;
    assert!(reads.into_iter().all(|read| read.unwrap().len() == 1));
}

#[test]
fn a_second_opener_is_told_which_directory_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let Err(error) = EmbeddedStore::open(dir.path(), Options::default()) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");

    drop(first);
    store(dir.path());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir_all(dir.path().join("b/log.sqlite")).unwrap();
    for path in [file.clone(), file.join("below"), dir.path().join("b")] {
        let Err(error) = EmbeddedStore::open(&path, Options::default()) else {
            panic!("opened {}", path.display())
        };
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

/// A backend that has no scan of its own.
struct Unscannable(EmbeddedStore);

#[async_trait]
impl EventStore for Unscannable {
    fn id(&self) -> Uuid {
        self.0.id()
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.0.append(stream, expected, events).await
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        self.0.append_many(appends).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.0.read_stream(stream, direction, from, limit).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.0.read_all(after, filter, limit).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.0.head().await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        self.0.follow(after, filter)
    }
}

#[tokio::test]
async fn a_backend_without_a_scan_of_its_own_is_read_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    crate::contract::a_scan_sees_what_reading_sees(Arc::new(Unscannable(store(dir.path())))).await;
}
