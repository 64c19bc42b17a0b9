//! Several hubs in this process on one store, each with a door, a clock, a data directory and a way to the store of its own.
//!
//! Where tests run all may stand still for a second or two. So here no lease ends and no call is given up before that
//! unless a test says so, and what a hub shows of a moment is looked at again and again until it is so.

use std::{collections::HashMap, net::TcpListener, path::Path, sync::Arc, time::Duration};

use chancery::{clock::MovableClock, http::serve::bind, hub::Hub, lifecycle::Lifecycle};
use domain::client::Role;
use futures_util::{StreamExt as _, stream::BoxStream};
use store::{Filter, Keeping, Page, Position, StoreError, embedded::EmbeddedStore};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    PATIENCE, QUICK,
    api::{Api, text, wish},
    browser::Browser,
    client, config,
    line::Line,
    log::Event,
    log_to_file,
    microsoft::Microsoft,
    named, start_hub,
};

/// How long it takes until it is looked again whether something is so that no event tells of.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Cluster {
    pub(crate) microsoft: Microsoft,
    pub(crate) store: Arc<dyn Keeping>,
    open: Box<dyn Fn() -> Arc<dyn Keeping>>,
    /// Those that run, oldest first.
    pub(crate) hubs: Vec<Member>,
    overrides: Vec<(String, String)>,
    /// Where people reach a hub, as they are told.
    url: String,
    socket: Option<TcpListener>,
    started: usize,
    /// How far the time was moved.
    moved: Duration,
    key: String,
    directory: TempDir,
}

pub(crate) struct Member {
    pub(crate) hub: Hub,
    pub(crate) api: Api,
    pub(crate) url: String,
    pub(crate) clock: Arc<MovableClock>,
    pub(crate) line: Arc<Line>,
    lifecycle: Lifecycle,
}

impl Cluster {
    /// With so many hubs and so many people.
    pub(crate) async fn start(hubs: usize, crowd: u32, overrides: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path(), store::embedded::Options::default()).unwrap();
        let store: Arc<dyn Keeping> = Arc::new(store);
        let mut cluster = Self::on(Box::new(move || store.clone()), crowd, overrides, directory);
        for _ in 0..hubs {
            cluster.join().await;
        }
        cluster
    }

    /// Without a hub, on a store to which each gets a way of its own.
    pub(crate) fn on(
        open: Box<dyn Fn() -> Arc<dyn Keeping>>,
        crowd: u32,
        overrides: &[(&str, &str)],
        directory: TempDir,
    ) -> Self {
        log_to_file();
        // The lease is so long that none ends in a test.
        let patient = [
            ("HUBS__HEARTBEAT_MS", "100"),
            ("HUBS__LEASE_MS", "600000"),
            ("OUTBOUND__CONNECT_TIMEOUT_MS", "4000"),
            ("OUTBOUND__REQUEST_TIMEOUT_MS", "5000"),
            ("TOKENS__REFRESH_TIMEOUT_MS", "5000"),
        ];
        custody::KeyEncryptionKey::create_file(&directory.path().join("key")).unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
        Self {
            microsoft: Microsoft::with_crowd(&url, crowd),
            store: open(),
            open,
            hubs: Vec::new(),
            overrides: named(QUICK).chain(named(&patient)).chain(named(overrides)).collect(),
            url,
            socket: Some(socket),
            started: 0,
            moved: Duration::ZERO,
            key: String::new(),
            directory,
        }
    }

    /// One more hub, with data of its own.
    pub(crate) async fn join(&mut self) -> &Member {
        self.started += 1;
        let home = self.directory.path().join(self.started.to_string());
        std::fs::create_dir_all(home.join("data")).unwrap();
        std::fs::copy(self.directory.path().join("key"), home.join("key")).unwrap();
        let socket = self.socket.take().unwrap_or_else(|| bind("127.0.0.1:0".parse().unwrap()).unwrap());
        let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
        let config = config(&home, &self.url, &self.microsoft, &self.overrides);
        let (clock, lifecycle) = (Arc::new(MovableClock::new(self.moved)), Lifecycle::new());
        let line = Arc::new(Line::new((self.open)()));
        let hub = start_hub(line.clone(), config, &clock, &lifecycle, &socket).await.unwrap();
        if self.key.is_empty() {
            self.key = client(&hub, &url, "product", Role::Admin).await.key;
        }
        let heard = until(async || hub.shards.count() > 0).await;
        assert!(heard, "the hub gets no part: {:?}", hub.shards.is_heard());
        let api = Api::new(&url, &self.key);
        let let_in = until(async || api.get("/v1/hubs").await.status == 200).await;
        assert!(let_in, "the hub does not know the key");
        self.hubs.push(Member { hub, api, url, clock, line, lifecycle });
        self.hubs.last().unwrap()
    }

    /// Moves the time, for all hubs and for Microsoft.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.moved += by;
        self.microsoft.simulator.advance_clock(by);
        self.hubs.iter().for_each(|member| _ = member.clock.advance(by));
    }

    /// Ends a hub in good order.
    pub(crate) async fn stop(&mut self, at: usize) {
        self.hubs.remove(at).end(PATIENCE).await;
    }

    /// Ends a hub from one moment to the next: nothing more of what it says reaches the store.
    pub(crate) async fn kill(&mut self, at: usize) {
        let member = self.hubs.remove(at);
        member.line.hold_up();
        member.end(Duration::ZERO).await;
    }

    /// Waits until the living hubs hold so many shards, in the order in which they were started.
    pub(crate) async fn until_shares_are(&self, wanted: &[usize]) {
        assert_eq!(wanted.len(), self.hubs.len());
        // A hub that is sure of the same shards again after a moment tells nobody, so it is looked at.
        let came = until(async || self.shares() == wanted).await;
        assert!(came, "the hubs hold {:?}, not {wanted:?}", self.shares());
    }

    pub(crate) fn shares(&self) -> Vec<usize> {
        self.hubs.iter().map(|member| member.hub.shards.count()).collect()
    }

    /// The log from its beginning, and what comes.
    pub(crate) fn log(&self) -> Log {
        Log {
            pages: self.store.follow(Position::START, Filter::all()),
            events: Vec::new(),
            ends: HashMap::new(),
        }
    }

    /// Links accounts `u-1` and so on to the people of the crowd.
    pub(crate) async fn link_crowd(&self, crowd: u32) {
        for number in 1..=crowd {
            let upn = upn(number);
            let api = &self.hubs[0].api;
            let body = wish(&format!("u-{number}"), Some(self.microsoft.person(&upn)));
            let link = api.post("/v1/sign-ins", &format!("link/{number}"), &body).await;
            let link = text(&link.body["url"]);
            let mut browser = Browser::new();
            // Where a machine is busy Microsoft may take longer than calls to it wait here.
            let connected =
                until(async || browser.sign_in(&link, &upn).await.title() == "You are connected").await;
            assert!(connected, "{upn} can't be linked");
        }
    }

    /// The bot is told of its chats with these people.
    pub(crate) async fn install_crowd(&self, crowd: u32) {
        for number in 1..=crowd {
            let service_url = self.microsoft.simulator.service_url();
            self.microsoft.install_at(&self.hubs[0].hub, &upn(number), service_url).await;
        }
    }

    /// Where everything of this test is kept, also the `key` that all hubs have.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Member {
    async fn end(self, deadline: Duration) {
        let Self { lifecycle, hub, .. } = self;
        drop(hub);
        let (_signal, signals) = mpsc::channel(1);
        lifecycle.stop();
        lifecycle.run(deadline, signals).await;
    }
}

/// Looks again and again whether it is so; false where it does not come to that.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let look = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.is_ok()
}

/// Somebody of the crowd.
pub(crate) fn upn(number: u32) -> String {
    format!("person-{number:05}@contoso.example")
}

/// The log as it grows.
pub(crate) struct Log {
    pages: BoxStream<'static, Result<Page, StoreError>>,
    pub(crate) events: Vec<Event>,
    /// The last word on each message.
    pub(crate) ends: HashMap<String, String>,
}

impl Log {
    /// Reads on until it is so.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let read = async {
            while !holds(self) {
                let page = self.pages.next().await.unwrap().unwrap();
                let hidden = |name: &str| name.starts_with('$') || name.starts_with("vault");
                for recorded in page.events.iter().filter(|event| !hidden(event.stream.as_str())) {
                    let event = Event::of(recorded);
                    if ["lane.delivered.v1", "lane.unknown.v1"].contains(&event.name.as_str()) {
                        self.ends.insert(text(&event.data["message"]), event.name.clone());
                    }
                    self.events.push(event);
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, read).await.is_ok();
        assert!(came, "{what}: it did not come to that");
    }

    /// How many shards each hub holds that holds any, by the log; the fewest first.
    pub(crate) fn shares(&self) -> Vec<usize> {
        let mut holders = HashMap::new();
        for event in &self.events {
            match event.name.as_str() {
                "shard.taken.v1" => _ = holders.insert(&event.stream, &event.data["hub"]),
                "shard.released.v1" => _ = holders.remove(&event.stream),
                _ => {}
            }
        }
        let mut shares = HashMap::<String, usize>::new();
        for hub in holders.values() {
            *shares.entry(hub.to_string()).or_default() += 1;
        }
        let mut shares: Vec<_> = shares.into_values().collect();
        shares.sort_unstable();
        shares
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        super::log::count(&self.events, name)
    }
}
