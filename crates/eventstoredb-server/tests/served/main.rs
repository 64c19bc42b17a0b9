//! The server as `EventStoreDB`'s official client sees it, over real sockets.

#![expect(clippy::default_trait_access, reason = "each call of the client has options of a type of its own")]

mod adapter;
mod faults;
mod metadata;
mod reading;
mod subscribing;
mod users;
mod writing;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chancery_eventstoredb_server::{Access, ServeError, Service, serve};
use eventstore::{AppendToStreamOptions, Client, EventData, ReadStreamOptions, ResolvedEvent, StreamState};
use store::{
    EventStore,
    embedded::{EmbeddedStore, Options},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long something may take that should come at once: it only ends a test that would otherwise hang.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Before it is looked again.
pub const PAUSE: Duration = Duration::from_millis(2);

/// A store that is served for as long as this lives.
pub struct Served {
    pub store: Arc<EmbeddedStore>,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<Result<(), ServeError>>,
    _dir: TempDir,
}

impl Served {
    pub async fn new() -> Self {
        Self::to(Access::Open, None).await
    }

    pub async fn to(access: Access, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::at("127.0.0.1:0", access, tls).await
    }

    pub async fn at(address: &str, access: Access, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(dir.path(), Options::default()).unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = Service { store: Arc::clone(&store) as _, access, tls };
        let serving = tokio::spawn(service.run(listener, shutdown.clone()));
        Self { store, address, shutdown, serving, _dir: dir }
    }

    /// At the same address, after it had ended.
    pub async fn serve_again(&mut self) {
        let listener = listen_again(self.address).await;
        self.shutdown = CancellationToken::new();
        let shutdown = self.shutdown.clone();
        self.serving = tokio::spawn(serve(listener, Arc::clone(&self.store) as _, shutdown));
    }

    pub fn client(&self) -> Client {
        client(&format!("esdb://{}?tls=false", self.address))
    }
}

/// At a port that was given out before, and that another test may have been given meanwhile.
pub async fn listen_again(address: SocketAddr) -> TcpListener {
    let listening = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    timeout(PATIENCE, listening).await.expect("the address is let go")
}

/// Waits until it is so.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(PAUSE).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}: it did not come to that");
}

pub fn client(string: &str) -> Client {
    Client::new(string.parse().unwrap()).unwrap()
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub async fn served() -> (Served, Client) {
    let served = Served::new().await;
    let client = served.client();
    (served, client)
}

pub fn event(name: &str) -> EventData {
    EventData::binary(name, "data".into())
}

pub fn events(count: usize) -> Vec<EventData> {
    (0..count).map(|number| event(&format!("thing.number-{number}.v1"))).collect()
}

pub fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

/// The stream's revisions, as far as they are shown.
pub async fn revisions(client: &Client, stream: &str) -> Vec<u64> {
    revisions_with(client, stream, &ReadStreamOptions::default().max_count(10_000)).await
}

pub async fn revisions_with(client: &Client, stream: &str, options: &ReadStreamOptions) -> Vec<u64> {
    let events = read(client, stream, options).await.unwrap();
    events.iter().map(|event| event.get_original_event().revision).collect()
}

pub async fn read(
    client: &Client,
    stream: &str,
    options: &ReadStreamOptions,
) -> eventstore::Result<Vec<ResolvedEvent>> {
    let mut read = client.read_stream(stream, options).await?;
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

/// The position of the last event.
pub async fn head(served: &Served) -> u64 {
    served.store.head().await.unwrap().0
}
