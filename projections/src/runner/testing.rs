//! What every projection is held to, whatever it says: its tests give events and get rows, and on the way there it is
//! followed in pages of every size, interrupted, repeated, rebuilt and verified.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use domain::{
    CommandId, Timestamp,
    aggregate::{Aggregate, Metadata, encode},
};
use rusqlite::{Params, StatementStatus};
use store::{
    ContentType, EventStore, Expected, NewEvent, Position, StreamName,
    embedded::{EmbeddedStore, Options},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    file::{File, open_reader, write_rows},
    fold::Batch,
    gather::Gathered,
    model::{ReadModel, State},
    rebuild::rebuild,
    verify::verify_file,
};
use crate::{EventRef, Key, Projection};

/// Far more than anything here takes; what is awaited comes by an event.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) type Rows<P> = BTreeMap<<P as Projection>::Key, <P as Projection>::Row>;

/// An event and the stream it goes to.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    pub(crate) metadata: Metadata,
}

/// An event of the aggregate `A`, recorded at the epoch; change its metadata where it matters.
pub(crate) fn told<A: Aggregate>(id: impl std::fmt::Display, event: &A::Event) -> Told {
    let (name, data) = encode(event);
    let metadata = Metadata {
        recorded_at: Timestamp::from_micros(0),
        correlation_id: "test".into(),
        causation_id: None,
        actor: "client/test".into(),
        command_id: CommandId::new("test"),
        writer: "test".into(),
        tenant: None,
        client: None,
        provider_request_id: None,
    };
    Told { stream: format!("{}-{id}", A::CATEGORY), name, data, metadata }
}

pub(crate) fn open_store(directory: &Path) -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::open(directory, Options::default()).expect("the directory is ours"))
}

/// Appends each event on its own; answers with the position of the last.
pub(crate) async fn append(store: &dyn EventStore, events: &[Told]) -> Position {
    let mut position = store.head().await.expect("the store answers");
    for told in events {
        let event = NewEvent {
            id: Uuid::from_u128(u128::from(position.0) + 1),
            name: told.name.as_str().into(),
            content_type: ContentType::Json,
            data: told.data.clone().into(),
            metadata: serde_json::to_vec(&told.metadata).expect("metadata serializes").into(),
        };
        let stream = StreamName::new(told.stream.as_str());
        position =
            store.append(&stream, Expected::Any, vec![event]).await.expect("the store appends").position;
    }
    position
}

/// The rows that come of these events, having made sure that they come of them in every way.
pub(crate) async fn rows_of<P: Projection>(events: &[Told]) -> Rows<P> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open_store(directory.path());
    append(&*store, events).await;
    rebuild::<P>(store.clone(), directory.path()).await.expect("it rebuilds");
    let rebuilt = follow_and_read::<P>(store.clone(), directory.path()).await;
    for page in [1, 7, usize::MAX] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        follow_by_pages::<P>(store.clone(), directory.path(), page).await;
        let followed = follow_and_read::<P>(store.clone(), directory.path()).await;
        assert_eq!(followed, rebuilt, "following by pages of {page} gives what rebuilding gives");
    }
    rebuilt
}

/// A read model that has everything, to be queried.
pub(crate) struct Open<P: Projection> {
    pub(crate) model: ReadModel<P>,
    _directory: tempfile::TempDir,
}

/// Rebuilds the read model of these events.
pub(crate) async fn open_for_reading<P: Projection>(events: &[Told]) -> Open<P> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open_store(directory.path());
    append(&*store, events).await;
    rebuild::<P>(store.clone(), directory.path()).await.expect("it rebuilds");
    // Nobody follows: nothing is appended any more.
    let (model, _) = ReadModel::<P>::open(directory.path(), store).expect("it opens");
    Open { model, _directory: directory }
}

/// What it costs to find something among these rows, in steps of `SQLite`'s machine, and how much is found.
pub(crate) fn cost_of<P: Projection>(rows: Rows<P>, sql: &str, params: impl Params) -> (usize, i32) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rows");
    let file = File::<P>::create(&path, Uuid::nil()).expect("it can be made");
    let rows: Vec<_> = rows.into_iter().map(|(key, row)| (key, Some(row))).collect();
    write_rows::<P>(&file.connection, rows.iter().map(|(key, row)| (key, row))).expect("it writes");
    file.finish(&path).expect("it can be closed");
    let connection = open_reader(&path).expect("it opens");
    let mut statement = connection.prepare(sql).expect("it is SQL");
    let mut found = statement.query(params).expect("it runs");
    let mut count = 0;
    while found.next().expect("it goes on").is_some() {
        count += 1;
    }
    drop(found);
    (count, statement.get_status(StatementStatus::VmStep))
}

/// All rows, having followed to the head with a running follower and verified what is there.
pub(crate) async fn follow_and_read<P: Projection>(store: Arc<dyn EventStore>, data: &Path) -> Rows<P> {
    let head = store.head().await.expect("the store answers");
    let (model, follower) = ReadModel::<P>::open(data, store).expect("it opens");
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    model.wait_for(head, PATIENCE).await.expect("it gets there");
    let verification = model.verify().await.expect("it can be verified");
    assert!(verification.is_good(), "{verification:?}");
    let rows = read_all(&model).await;
    stop.cancel();
    following.await.expect("it ends").expect("it ends well");
    rows
}

pub(crate) async fn read_all<P: Projection>(model: &ReadModel<P>) -> Rows<P> {
    let reading = model.query(|reader| {
        let mut rows = Rows::<P>::new();
        for (index, table) in P::TABLES.iter().enumerate() {
            rows.extend(reader.select(index, &format!("SELECT key, body FROM {}", table.name), [])?);
        }
        Ok(rows)
    });
    let rows = reading.await.expect("it can be read");
    for key in rows.keys() {
        assert_eq!(
            P::Key::parse(key.table(), &key.text()).as_ref(),
            Some(key),
            "a key's text can be read back"
        );
    }
    rows
}

/// Waits for what the predicate wants to see.
pub(crate) async fn state<P: Projection>(model: &ReadModel<P>, wanted: impl Fn(&State) -> bool) -> State {
    let mut watch = model.watch();
    let seen = tokio::time::timeout(PATIENCE, watch.wait_for(|status| wanted(&status.state))).await;
    seen.expect("it comes to that").expect("the model lives").state.clone()
}

/// What a follower does, with a crash before the end of every transaction and the file opened anew after it.
async fn follow_by_pages<P: Projection>(store: Arc<EmbeddedStore>, data: &Path, limit: usize) {
    let (_, follower) = ReadModel::<P>::open(data, store.clone()).expect("it opens");
    let (path, runtime) = (follower.path(), Handle::current());
    let work = move || loop {
        let mut file = File::<P>::open(&path, store.id()).expect("it opens");
        let after = file.checkpoint().expect("it has a checkpoint");
        let page = runtime.block_on(store.read_all(after, &P::filter(), limit)).expect("the store reads");
        let batch =
            || Batch::<P>::read(after, page.events.iter().map(|event| EventRef(event.as_ref())), page.upto);
        let crashing = file.begin().expect("it begins");
        let mut gathered = Gathered::behind(after);
        gathered.fold(&crashing, page.events.len(), batch()).expect("it folds");
        write_rows::<P>(&crashing.transaction, gathered.rows()).expect("it writes");
        drop(crashing);
        drop(file);

        let mut file = File::<P>::open(&path, store.id()).expect("it opens again");
        assert_eq!(file.checkpoint().expect("it has a checkpoint"), after, "nothing was left by the crash");
        let batch = batch();
        assert_eq!(batch.stop, None, "every event can be read");
        let mut gathered = Gathered::behind(after);
        let update = file.begin().expect("it begins");
        gathered.fold(&update, page.events.len(), batch).expect("it folds");
        gathered.write(update).expect("it writes");
        if page.at_head {
            let scratch = path.with_extension("building");
            let verification =
                verify_file::<P>(&path, &scratch, &*store, &runtime, &mut |_| ControlFlow::Continue(()));
            assert!(verification.expect("it can be verified").is_good());
            return;
        }
    };
    tokio::task::spawn_blocking(work).await.expect("it ends");
}
