//! What is read past the state of a stream, and what a process takes for true of streams that others write to as well.

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use domain::{
    ObjectId, PersonId, Sealed, SignInId, TenantId,
    account::{self, Account},
    tenant::{Command, Event, Tenant},
};
use futures_util::{future::join_all, stream::BoxStream};
use store::{Filter, Recorded, embedded::EmbeddedStore};
use tempfile::TempDir;
use tokio::time::advance;
use uuid::Uuid;

use super::*;
use crate::clock::{SystemClock, SystemIds};

#[tokio::test]
async fn a_beginning_is_found_by_its_place_and_where_that_is_anothers_by_its_stream() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(crate::hub::open_store(data.path()).unwrap());
    let commands = Commands::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
    let mut places = Vec::new();
    for tenant in ["1", "2"] {
        let (command_id, context) = (CommandId::new("see"), Context::hub("test", tenant));
        let done = commands.execute::<Tenant>(tenant, &command_id, &context, Command::See).await.unwrap();
        places.push(done.after().position);
    }
    let found = async |tenant, place| {
        let found = commands.beginnings_at::<Tenant>(&[(tenant, place)]).await.unwrap().remove(0).unwrap();
        assert_eq!(found, commands.beginning::<Tenant>(tenant).await.unwrap());
        found.map(|(_, event)| event)
    };
    for place in [Position::START, places[0], places[1], Position(99)] {
        assert_eq!(found("1", place).await, Some(Event::Seen {}));
        assert_eq!(found("2", place).await, Some(Event::Seen {}));
        assert_eq!(found("3", place).await, None);
    }
    let together = [("1", places[1]), ("3", places[0]), ("2", places[1])];
    let together = commands.beginnings_at::<Tenant>(&together).await.unwrap();
    let began: Vec<_> = together.into_iter().map(|first| first.unwrap().map(|(id, _)| id)).collect();
    let alone = async |tenant| commands.beginning::<Tenant>(tenant).await.unwrap().map(|(id, _)| id);
    assert_eq!(began, [alone("1").await, None, alone("2").await]);
}

/// A log that several processes write to, or of one that takes each writer for itself, and how often it was read.
struct Shared {
    log: EmbeddedStore,
    is_ours_alone: bool,
    reads: AtomicUsize,
    /// How many appends it was handed at a time.
    handed: Mutex<Vec<usize>>,
    _directory: TempDir,
}

impl Shared {
    fn new() -> Arc<Self> {
        Self::of(false)
    }

    fn of(is_ours_alone: bool) -> Arc<Self> {
        let directory = TempDir::new().unwrap();
        let log = EmbeddedStore::open(directory.path(), store::embedded::Options::default()).unwrap();
        Arc::new(Self {
            log,
            is_ours_alone,
            reads: AtomicUsize::default(),
            handed: Mutex::default(),
            _directory: directory,
        })
    }

    fn process(self: &Arc<Self>) -> Commands {
        Commands::new(self.clone(), Arc::new(SystemClock), Arc::new(SystemIds))
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn handed(&self) -> Vec<usize> {
        self.handed.lock().unwrap().clone()
    }

    /// Lets the process hear everything behind `after`.
    async fn tell(&self, process: &Commands, after: Position) {
        process.hear(&self.log.read_all(after, &Filter::all(), 100).await.unwrap());
    }
}

#[async_trait]
impl EventStore for Shared {
    fn id(&self) -> Uuid {
        self.log.id()
    }

    fn is_ours_alone(&self) -> bool {
        self.is_ours_alone
    }

    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.handed.lock().unwrap().push(1);
        self.log.append(stream, expected, events).await
    }

    async fn append_many(&self, appends: Vec<Append>) -> Vec<Result<Appended, StoreError>> {
        self.handed.lock().unwrap().push(appends.len());
        self.log.append_many(appends).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.log.read_stream(stream, direction, from, limit).await
    }

    async fn read_all(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.log.read_all(after, filter, limit).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.log.head().await
    }

    fn follow(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<Page, StoreError>> {
        self.log.follow(after, filter)
    }
}

async fn link(process: &Commands, account: &str) {
    let person = PersonId { tenant: TenantId(Uuid::from_u128(1)), object_id: ObjectId(Uuid::from_u128(2)) };
    let sealed = || "sealed".to_owned();
    let name = Sealed { key: sealed(), algorithm: sealed(), nonce: sealed(), ciphertext: sealed() };
    let command = account::Command::Link { person, sign_in: SignInId(Uuid::from_u128(3)), account: name };
    change(process, account, "link", command).await;
}

async fn unlink(process: &Commands, account: &str) {
    change(process, account, "unlink", account::Command::Unlink).await;
}

async fn change(process: &Commands, account: &str, what: &str, command: account::Command) {
    let context = Context::hub("test", "test");
    process.execute::<Account>(account, &CommandId::new(what), &context, command).await.unwrap();
}

fn linked(account: &Account) -> bool {
    account.linked.is_some()
}

/// What the process would act on.
async fn is_linked(process: &Commands, account: &str) -> bool {
    linked(&process.recall(account, linked).await.unwrap().state)
}

/// Barely no moment, and what is left of it.
const WITHIN: Duration = Duration::from_millis(249);
const REST: Duration = MOMENT.checked_sub(WITHIN).unwrap();

#[tokio::test(start_paused = true)]
async fn what_another_process_unlinked_is_acted_on_for_a_moment_at_most() {
    let shared = Shared::new();
    let (ours, theirs) = (shared.process(), shared.process());
    link(&theirs, "a").await;
    assert!(is_linked(&ours, "a").await);
    unlink(&theirs, "a").await;
    advance(WITHIN).await;
    assert!(is_linked(&ours, "a").await);
    advance(REST).await;
    assert!(!is_linked(&ours, "a").await);
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_or_done_by_this_process_is_acted_on_at_once() {
    let shared = Shared::new();
    let (ours, theirs) = (shared.process(), shared.process());
    ours.listen_from(Position::START);
    for account in ["a", "b"] {
        link(&theirs, account).await;
        assert!(is_linked(&ours, account).await);
    }
    let before = shared.log.head().await.unwrap();
    unlink(&theirs, "a").await;
    shared.tell(&ours, before).await;
    assert!(!is_linked(&ours, "a").await);
    unlink(&ours, "b").await;
    assert!(!is_linked(&ours, "b").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_hoped_for_is_looked_at_again() {
    // Also where nobody else writes: a read model may know what this process has had no word of yet.
    for is_ours_alone in [false, true] {
        let shared = Shared::of(is_ours_alone);
        let (ours, theirs) = (shared.process(), shared.process());
        assert!(!is_linked(&ours, "a").await);
        link(&theirs, "a").await;
        assert!(is_linked(&ours, "a").await, "{is_ours_alone}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_its_own_appends_are_heard_a_process_reads_nothing_and_misses_nothing() {
    let shared = Shared::new();
    let (ours, theirs) = (shared.process(), shared.process());
    ours.listen_from(Position::START);
    link(&theirs, "a").await;
    assert!(is_linked(&ours, "a").await);
    let reads = shared.reads();
    let mut before = Position::START;
    for round in 0..9 {
        advance(WITHIN).await;
        link(&ours, &format!("other-{round}")).await;
        shared.tell(&ours, before).await;
        before = ours.written();
        assert!(is_linked(&ours, "a").await);
    }
    // Each of the others was looked for once.
    assert_eq!(shared.reads(), reads + 9);

    advance(WITHIN).await;
    unlink(&theirs, "a").await;
    link(&ours, "last").await;
    // Not heard yet, so it says nothing.
    advance(REST).await;
    assert!(!is_linked(&ours, "a").await);
}

/// A clock that is set.
struct Set(AtomicI64);

#[async_trait]
impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }

    async fn sleep_until(&self, _at: Timestamp) {}
}

#[tokio::test]
async fn in_a_stream_time_does_not_go_back_though_clocks_are_put_back_or_differ() {
    let shared = Shared::new();
    let clocks = [1_000, 600].map(|at| Arc::new(Set(AtomicI64::new(at))));
    let [ours, theirs] =
        clocks.clone().map(|clock| Commands::new(shared.clone(), clock, Arc::new(SystemIds)));
    link(&ours, "a").await;
    clocks[0].0.store(500, Ordering::Relaxed);
    link(&ours, "b").await;
    // Theirs is behind what stands there, and then ahead of it.
    unlink(&theirs, "a").await;
    clocks[1].0.store(2_000, Ordering::Relaxed);
    unlink(&theirs, "b").await;
    let page = shared.log.read_all(Position::START, &Filter::all(), 9).await.unwrap();
    let times: Vec<_> = page
        .events
        .iter()
        .map(|event| (event.stream.id().to_owned(), metadata(event).unwrap().recorded_at.as_micros()))
        .collect();
    let wanted = [("a", 1_000), ("b", 1_000), ("a", 1_000), ("b", 2_000)];
    assert_eq!(times, wanted.map(|(stream, at)| (stream.to_owned(), at)));
}

/// Appends to a stream of its own, as a lane at work does.
async fn see(process: &Commands, tenant: usize, revision: Option<u64>) -> Result<Appended, StoreError> {
    let (command_id, context) = (CommandId::new("see"), Context::hub("test", "test"));
    let decided = [Decided { command_id: &command_id, context: &context, events: &[Event::Seen {}] }];
    process.append_in_company_at::<Tenant>(tenant, revision, &decided).await
}

/// So many at work, whose appends are known to come close together. As long as that was not known, none waited.
async fn busy(process: &Commands, lanes: usize) -> Vec<AtWork> {
    let at_work = (0..lanes).map(|_| process.begin_work()).collect();
    for tenant in 10..10 + lanes / 2 {
        see(process, tenant, None).await.unwrap();
    }
    at_work
}

#[tokio::test(start_paused = true)]
async fn what_half_of_those_at_work_append_is_handed_over_together() {
    let store = Shared::of(true);
    let process = store.process();
    let at_work = busy(&process, 8).await;
    assert_eq!(store.handed(), [1; 4]);
    store.handed.lock().unwrap().clear();
    // One of them is refused, which is nobody else's business.
    let revision = |tenant| (tenant == 5).then_some(7);
    let appended = join_all((0..8).map(|tenant| see(&process, tenant, revision(tenant)))).await;
    assert_eq!(store.handed(), [4, 4]);
    for (tenant, appended) in appended.into_iter().enumerate() {
        assert_eq!(appended.is_ok(), tenant != 5, "{appended:?}");
        let loaded = process.load::<Tenant>(tenant).await.unwrap();
        assert_eq!(loaded.position, appended.map_or(Position::START, |appended| appended.position));
    }
    drop(at_work);
    let (_at_work, begun) = (process.begin_work(), Instant::now());
    see(&process, 8, None).await.unwrap();
    assert_eq!((store.handed(), begun.elapsed()), (vec![4, 4, 1], Duration::ZERO), "nobody else is at work");
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_company_goes_after_a_moment_and_takes_along_what_others_left() {
    let store = Shared::of(true);
    let process = Arc::new(store.process());
    let _at_work = busy(&process, 6).await;
    let first = tokio::spawn({
        let process = process.clone();
        async move { see(&process, 1, None).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    let begun = Instant::now();
    see(&process, 2, None).await.unwrap();
    assert!((1..20).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(store.handed(), [1, 1, 1, 2]);
    assert_eq!(process.load::<Tenant>(1).await.unwrap().revision, Some(0));

    advance(Duration::from_millis(50)).await;
    let begun = Instant::now();
    see(&process, 3, None).await.unwrap();
    assert_eq!((store.handed(), begun.elapsed()), (vec![1, 1, 1, 2, 1], Duration::ZERO), "few come now");
}

#[tokio::test(start_paused = true)]
async fn where_who_writes_for_others_is_dropped_they_append_again() {
    let store = Shared::of(true);
    let process = Arc::new(store.process());
    let _at_work = busy(&process, 4).await;
    let [first, second] = [1, 2].map(|tenant| {
        let process = process.clone();
        tokio::spawn(async move { see(&process, tenant, None).await })
    });
    tokio::task::yield_now().await;
    // It has handed over both, and waits for the answers.
    assert_eq!(store.handed(), [1, 1, 2]);
    second.abort();
    first.await.unwrap().unwrap();
    assert_eq!(store.handed(), [1, 1, 2, 1]);
    let loaded = process.load::<Tenant>(1).await.unwrap();
    assert_eq!((loaded.revision, loaded.command_ids.len()), (Some(0), 1), "recorded once");
}

#[tokio::test(start_paused = true)]
async fn on_a_shared_store_everybody_appends_alone() {
    let store = Shared::of(false);
    let process = store.process();
    let _at_work: Vec<_> = (0..8).map(|_| process.begin_work()).collect();
    for _ in 0..2 {
        join_all((0..8).map(|tenant| see(&process, tenant, None))).await;
    }
    assert_eq!(store.handed(), [1; 16]);
}
