//! Users by their roles, what is kept of their reading, and TLS.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use chancery_eventstoredb_server::{
    Access, Audit, Cost, Intake, NotRecorded, PasswordHash, Readings, Role, Rules, ServeError, Service, User,
    Users,
};
use eventstore::{
    Client, Error, EventData, ReadAllOptions, ReadStreamOptions, StreamMetadata, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter,
};
use ring::rand::SystemRandom;
use store::{ContentType, EventStore, Expected, NewEvent, StreamName};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Served, client, event, expecting, read};

pub(crate) static RULES: Rules = Rules {
    owned: &["connection", "intake", "rejection", "vault"],
    hidden: &["intake", "vault"],
    rejections: "rejection",
    intake: Intake { category: "intake", streams: 16, event: "message.submitted.v1" },
};

/// Every role has a user of its name.
pub(crate) fn users(records: &Arc<Records>) -> Access {
    let users = Role::ALL.map(|role| User {
        name: role.name().into(),
        role,
        password: PasswordHash::of(&format!("{}-password", role.name()), [7; 16], Cost::Drawn),
    });
    let users = Users::new(users, &SystemRandom::new());
    Access::Users { users, rules: &RULES, audit: Arc::clone(records) as _ }
}

async fn served() -> (Served, Arc<Records>) {
    let records = Arc::new(Records::default());
    let served = Served::to(users(&records), None).await;
    for stream in ["connection-1", "rejection-1", "intake-1", "thing-1", "vault-1"] {
        let hub = served.store.append(&StreamName::new(stream), Expected::NoStream, vec![recorded()]).await;
        hub.unwrap();
    }
    (served, records)
}

fn recorded() -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(1),
        name: "thing.happened.v1".into(),
        content_type: ContentType::Json,
        data: "{}".into(),
        metadata: "{}".into(),
    }
}

fn by(served: &Served, role: Role) -> Client {
    let name = role.name();
    client(&format!("esdb://{name}:{name}-password@{}?tls=false", served.address))
}

fn submitted(data: &'static str) -> EventData {
    let json: serde_json::Value = serde_json::from_str(data).unwrap();
    EventData::json("message.submitted.v1", &json).unwrap().id(Uuid::from_u128(9))
}

#[expect(clippy::needless_pass_by_value, reason = "an answer is looked at once")]
fn denied<T: std::fmt::Debug>(answer: eventstore::Result<T>) -> bool {
    match &answer {
        Err(Error::AccessDenied) => true,
        Err(Error::Grpc { message, .. }) if message == "AccessDenied" => true,
        _ => {
            println!("{answer:?}");
            false
        }
    }
}

/// What is kept of sessions, and whether they can be kept.
pub(crate) struct Records {
    full: AtomicBool,
    begun: Mutex<Vec<String>>,
    ended: watch::Sender<Vec<(String, Readings)>>,
}

impl Default for Records {
    fn default() -> Self {
        Self { full: AtomicBool::new(false), begun: Mutex::default(), ended: watch::channel(vec![]).0 }
    }
}

#[async_trait]
impl Audit for Records {
    async fn begun(&self, user: &str) -> Result<Uuid, NotRecorded> {
        if self.full.load(Ordering::Relaxed) {
            return Err(NotRecorded);
        }
        let mut begun = self.begun.lock().unwrap();
        begun.push(user.to_owned());
        Ok(Uuid::from_u128(begun.len() as u128))
    }

    async fn ended(&self, session: Uuid, user: &str, read: Readings) {
        assert_eq!(self.begun.lock().unwrap()[usize::try_from(session.as_u128()).unwrap() - 1], user);
        self.ended.send_modify(|ended| ended.push((user.to_owned(), read)));
    }
}

#[tokio::test]
async fn a_stranger_learns_what_the_server_can_do_and_nothing_else() {
    let (served, records) = served().await;
    let address = served.address;
    for credentials in ["", "read:wrong@", "nobody:read-password@", "read:@"] {
        // It asks for the features first, and would say that there is no connection if it got none.
        let stranger = client(&format!("esdb://{credentials}{address}?tls=false"));
        assert!(denied(read(&stranger, "thing-1", &Default::default()).await.map(|events| events.len())));
        assert!(denied(stranger.append_to_stream("thing-1", &Default::default(), event("e")).await));
        assert!(denied(stranger.delete_stream("thing-1", &Default::default()).await));
        let batch = stranger.batch_append(&Default::default()).await;
        assert!(match batch {
            Ok(batch) => batch.append_to_stream("thing-1", StreamState::Any, vec![event("e")]).await.is_err(),
            Err(_) => true,
        });
    }
    assert_eq!(served.store.head().await.unwrap().0, 5);
    assert_eq!(records.begun.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_submitter_submits_and_reads_what_was_rejected_and_nothing_else() {
    let (served, _) = served().await;
    let client = by(&served, Role::Submit);
    let append = async |stream: &str, event: EventData| {
        let plain = client.append_to_stream(stream, &expecting(StreamState::Any), event.clone()).await;
        let batch = client.batch_append(&Default::default()).await.unwrap();
        let batch = batch.append_to_stream(stream, StreamState::Any, vec![event]).await;
        (plain, batch)
    };
    let (plain, batch) = append("intake-15", submitted(r#"{"client":"submit"}"#)).await;
    assert_eq!(plain.unwrap().next_expected_version, 0);
    assert_eq!(batch.unwrap().current_revision(), Some(0), "the same id is the same event");

    let linked = EventData::json("connection.linked.v1", &serde_json::json!({})).unwrap();
    for (stream, event) in [
        ("connection-1", linked.clone()),
        ("intake-1", linked),
        ("connection-1", submitted("{}")),
        ("intake-16", submitted("{}")),
        ("$$intake-1", submitted("{}")),
        ("thing-1", submitted("{}")),
        ("intake-1", submitted(r#"{"client":"read"}"#)),
    ] {
        let (plain, batch) = append(stream, event).await;
        assert!(denied(plain) && denied(batch), "{stream}");
    }
    assert!(denied(client.delete_stream("intake-15", &Default::default()).await));
    assert!(denied(client.tombstone_stream("intake-15", &Default::default()).await));
    let metadata =
        client.set_stream_metadata("intake-15", &Default::default(), &StreamMetadata::default()).await;
    assert!(denied(metadata));

    assert_eq!(read(&client, "rejection-1", &Default::default()).await.unwrap().len(), 1);
    for stream in ["intake-15", "connection-1", "thing-1", "$$intake-15"] {
        assert!(
            denied(read(&client, stream, &Default::default()).await.map(|events| events.len())),
            "{stream}"
        );
        let mut subscription = client.subscribe_to_stream(stream, &Default::default()).await;
        assert!(denied(subscription.next().await.map(drop)), "{stream}");
    }
    assert!(denied(client.read_all(&Default::default()).await.map(drop)));
}

/// The streams that are seen in the whole log, read in that way.
async fn seen(client: &Client, options: &ReadAllOptions) -> BTreeSet<String> {
    let mut read = client.read_all(&options.clone().max_count(1000)).await.unwrap();
    let mut streams = BTreeSet::new();
    while let Some(event) = read.next().await.unwrap() {
        streams.insert(event.get_original_event().stream_id().to_owned());
    }
    streams
}

#[tokio::test]
async fn a_reader_sees_everything_but_what_is_hidden_whatever_way_it_is_looked_for() {
    let (served, _) = served().await;
    let (reader, hub) = (by(&served, Role::Read), by(&served, Role::Hub));
    let shown = ["connection-1", "rejection-1", "thing-1"].map(str::to_owned);
    let all = || ReadAllOptions::default();
    for options in [
        all(),
        all().backwards().position(StreamPosition::End),
        all().filter(SubscriptionFilter::on_stream_name().regex("-")),
        all().filter(SubscriptionFilter::on_event_type().add_prefix("thing.")),
    ] {
        assert_eq!(seen(&reader, &options).await, shown.clone().into());
        assert_eq!(seen(&hub, &options).await.len(), 5);
    }
    let hidden = SubscriptionFilter::on_stream_name().add_prefix("intake-").add_prefix("vault-");
    assert_eq!(seen(&reader, &all().filter(hidden.clone())).await.len(), 0);
    for stream in ["intake-1", "vault-1", "$$intake-1"] {
        assert!(
            denied(read(&reader, stream, &Default::default()).await.map(|events| events.len())),
            "{stream}"
        );
        let mut subscription = reader.subscribe_to_stream(stream, &Default::default()).await;
        assert!(denied(subscription.next().await.map(drop)), "{stream}");
    }
    for filter in [None, Some(hidden)] {
        let mut options = SubscribeToAllOptions::default().position(StreamPosition::Start);
        options = filter.into_iter().fold(options, SubscribeToAllOptions::filter);
        let mut subscription = reader.subscribe_to_all(&options).await;
        loop {
            match subscription.next_subscription_event().await.unwrap() {
                SubscriptionEvent::EventAppeared(event) => {
                    assert!(shown.contains(&event.get_original_event().stream_id().to_owned()));
                }
                SubscriptionEvent::CaughtUp(_) => break,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_reader_changes_nothing_and_an_operator_only_what_is_not_the_hubs() {
    let (served, _) = served().await;
    let metadata = StreamMetadata::default();
    for (role, own) in [(Role::Read, false), (Role::Operate, true), (Role::Hub, true)] {
        let client = by(&served, role);
        for (stream, may) in [("connection-1", role == Role::Hub), ("thing-1", own)] {
            let done = [
                client.append_to_stream(stream, &Default::default(), event("e")).await.map(drop),
                client.append_to_stream(stream, &Default::default(), crate::events(0)).await.map(drop),
                client.set_stream_metadata(stream, &Default::default(), &metadata).await.map(drop),
                client.delete_stream(stream, &Default::default()).await.map(drop),
                client.append_to_stream(stream, &Default::default(), event("e")).await.map(drop),
            ];
            for done in done {
                assert!(if may { done.is_ok() } else { denied(done) }, "{role:?} {stream}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_on_record_before_anything_is_shown_and_once_however_much_is_read() {
    let (served, records) = served().await;
    records.full.store(true, Ordering::Relaxed);
    let reader = by(&served, Role::Read);
    assert!(read(&reader, "connection-1", &Default::default()).await.is_err(), "nothing is shown");
    records.full.store(false, Ordering::Relaxed);

    for _ in 0..3 {
        assert_eq!(read(&reader, "connection-1", &ReadStreamOptions::default()).await.unwrap().len(), 1);
        let missing = read(&reader, "nobody@example.com", &Default::default()).await;
        assert!(matches!(missing, Err(Error::ResourceNotFound)));
    }
    assert_eq!(seen(&reader, &ReadAllOptions::default()).await.len(), 3);
    let hub = by(&served, Role::Hub);
    assert_eq!(seen(&hub, &ReadAllOptions::default()).await.len(), 5);
    assert_eq!(*records.begun.lock().unwrap(), ["read"]);

    let mut ended = records.ended.subscribe();
    drop((reader, hub));
    served.shutdown.cancel();
    let ended = ended.wait_for(|ended| !ended.is_empty()).await.unwrap().clone();
    let read =
        Readings { events: 6, log: true, streams: [StreamName::new("connection-1")].into(), more: false };
    assert_eq!(ended, [("read".to_owned(), read)]);
}

#[tokio::test]
async fn what_other_machines_reach_is_served_only_to_users_and_by_tls() {
    let serve = async |access, tls| {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::EmbeddedStore::open(dir.path(), Default::default()).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let stopped = CancellationToken::new();
        stopped.cancel();
        Service { store, access, tls }.run(listener, stopped).await
    };
    let records = Arc::new(Records::default());
    assert!(matches!(serve(Access::Open, Some(tls())).await, Err(ServeError::NoUsers(_))));
    assert!(matches!(serve(users(&records), None).await, Err(ServeError::NoTls(_))));
    serve(users(&records), Some(tls())).await.unwrap();
}

pub(crate) const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../microsoft/tests/keys");

pub(crate) fn tls() -> Arc<rustls::ServerConfig> {
    let file = |name| std::fs::read(format!("{KEYS}/{name}")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = file("localhost.key.der").try_into().unwrap();
    let mut config = builder.with_single_cert(vec![file("localhost.cert.der").into()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn clients_come_by_tls_and_in_clear_only_from_this_machine() {
    for (address, in_clear_too) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let served = Served::at(address, users(&Arc::default()), Some(tls())).await;
        let port = served.address.port();
        let authority = format!("{KEYS}/test-authority.pem");
        let by_tls = client(&format!("esdb://hub:hub-password@localhost:{port}?tlsCAFile={authority}"));
        by_tls.append_to_stream("thing-1", &Default::default(), event("e")).await.unwrap();
        assert_eq!(read(&by_tls, "thing-1", &Default::default()).await.unwrap().len(), 1);

        let in_clear = client(&format!("esdb://hub:hub-password@127.0.0.1:{port}?tls=false"));
        assert_eq!(read(&in_clear, "thing-1", &Default::default()).await.is_ok(), in_clear_too);
        let untrusting = client(&format!("esdb://hub:hub-password@localhost:{port}"));
        assert!(read(&untrusting, "thing-1", &Default::default()).await.is_err());
    }
}
