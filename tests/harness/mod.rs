//! A whole hub in this process, on real sockets and files, with the simulated Microsoft behind it and a clock to move.
//!
//! **Invariant.** What is waited for is an event in the log, or a call that the simulator counted; only what hubs tell of
//! each other is looked at again and again (`cluster`).

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod faltering;
pub(crate) mod intake;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod microsoft;
pub(crate) mod panel;
pub(crate) mod process;
pub(crate) mod secrets;
pub(crate) mod teams;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};

use chancery::{
    app,
    clock::{Ids as _, MovableClock, SystemIds},
    commands::Context,
    config::{Config, Sources},
    http::{auth::ApiKey, serve::bind},
    hub::{Hub, open_store},
    lifecycle::Lifecycle,
    logging,
};
use domain::{ClientId, CommandId, PersonId, client};
use store::Keeping;
use tempfile::{TempDir, TempPath};
use tokio::sync::mpsc;

use api::{Api, drawn};
use browser::Browser;
use microsoft::Microsoft;

/// How long something may take that should come at once: it only ends a test that would otherwise hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where the product has its return page. Nobody listens there; only the address is looked at.
pub(crate) const RETURN_URL: &str = "http://localhost:9/teams-linked";

/// Settings that make a rehearsal quick; what a test says comes on top.
const QUICK: &[(&str, &str)] = &[
    ("DELIVERY__CHAT_INTERVAL_MS", "0"),
    ("DELIVERY__TENANT_PER_SECOND", "10000"),
    ("DELIVERY__APP_PER_SECOND", "10000"),
    ("DELIVERY__BREAKER_PAUSE_MS", "50"),
    ("SIGN_IN__TENANTS", "open"),
    ("LIMITS__PER_ADDRESS_PER_SECOND", "100000"),
    ("LIMITS__PER_ADDRESS_BURST", "100000"),
];

/// A hub, the Microsoft that it talks to, and the product's client of its API.
pub(crate) struct World {
    pub(crate) microsoft: Microsoft,
    pub(crate) clock: Arc<MovableClock>,
    hub: Option<Hub>,
    pub(crate) api: Api,
    pub(crate) url: String,
    overrides: Vec<(String, String)>,
    socket: TcpListener,
    lifecycle: Lifecycle,
    directory: TempDir,
    /// The product's file of passwords, where it has one.
    passwords: Option<TempPath>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With settings of its own: `("DELIVERY__UNKNOWN", "resend")`.
    pub(crate) async fn with(overrides: &[(&str, &str)]) -> Self {
        log_to_file();
        let directory = tempfile::tempdir().unwrap();
        custody::KeyEncryptionKey::create_file(&directory.path().join("key")).unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
        let microsoft = Microsoft::start(&url);
        let clock = Arc::new(MovableClock::new(Duration::ZERO));
        let overrides = named(QUICK).chain(named(overrides)).collect::<Vec<_>>();
        let config = config(directory.path(), &url, &microsoft, &overrides);
        let store = Arc::new(open_store(&config.data.directory).unwrap());
        let lifecycle = Lifecycle::new();
        let hub = start_hub(store, config, &clock, &lifecycle, &socket).await.unwrap();
        let api = client(&hub, &url, "product", client::Role::Admin).await;
        Self {
            microsoft,
            clock,
            hub: Some(hub),
            api,
            url,
            overrides,
            socket,
            lifecycle,
            directory,
            passwords: None,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("the hub runs")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the hub would be started with.
    pub(crate) fn config(&self) -> Config {
        config(self.directory.path(), &self.url, &self.microsoft, &self.overrides)
    }

    /// Ends the hub in good order and starts it on the same data, with another setting or two if need be.
    pub(crate) async fn restart(&mut self, overrides: &[(&str, &str)]) {
        self.end(PATIENCE).await;
        self.overrides.extend(named(overrides));
        let store = self.store().await;
        self.begin(store).await;
    }

    /// Ends the hub; what is not done after `deadline` is dropped where it stands.
    pub(crate) async fn end(&mut self, deadline: Duration) {
        let (_signal, signals) = mpsc::channel(1);
        let lifecycle = std::mem::take(&mut self.lifecycle);
        lifecycle.stop();
        lifecycle.run(deadline, signals).await;
        self.hub = None;
    }

    /// Opens the store, after [`Self::end`].
    pub(crate) async fn store(&self) -> Arc<dyn Keeping> {
        Arc::new(open_again(&self.data()).await)
    }

    /// Starts the hub on this store, after [`Self::end`]. Threads of the former hub may hold a file for a moment more.
    pub(crate) async fn begin(&mut self, store: Arc<dyn Keeping>) {
        let begin = async {
            while let Err(error) = self.try_begin(store.clone()).await {
                assert!(format!("{error:#}").contains("in use"), "{error:#}");
                self.end(Duration::ZERO).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, begin).await.expect("the data directory is let go");
    }

    async fn try_begin(&mut self, store: Arc<dyn Keeping>) -> anyhow::Result<()> {
        let config = self.config();
        self.hub = Some(start_hub(store, config, &self.clock, &self.lifecycle, &self.socket).await?);
        Ok(())
    }

    /// A key for another client of the API.
    pub(crate) async fn client(&self, name: &str, role: client::Role) -> Api {
        client(self.hub(), &self.url, name, role).await
    }

    /// Moves the time, for the hub and for Microsoft.
    pub(crate) fn advance(&self, by: Duration) {
        self.microsoft.simulator.advance_clock(by);
        self.clock.advance(by);
    }

    /// Who somebody is in the hub's terms.
    pub(crate) fn person(&self, upn: &str) -> PersonId {
        self.microsoft.person(upn)
    }

    /// Links an account to the person whom it expects.
    pub(crate) async fn link(&self, account: &str, upn: &str) {
        let link = self.api.invite(account, Some(self.person(upn))).await;
        let page = Browser::new().sign_in(&link.url, upn).await;
        assert_eq!((page.status, page.title().as_str()), (200, "You are connected"), "{}", page.text);
    }
}

fn named<'a>(settings: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + use<'a> {
    settings.iter().map(|(key, value)| (format!("CHANCERY_{key}"), (*value).to_owned()))
}

fn config(directory: &Path, url: &str, microsoft: &Microsoft, overrides: &[(String, String)]) -> Config {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let path = |name: &str| text(&directory.join(name).to_string_lossy());
    let settings = &microsoft.settings;
    let presets = vec![
        ("server.public_url", text(url)),
        ("data.directory", path("data")),
        ("keys.key_encryption_key_file", path("key")),
        ("microsoft.authority", text(&microsoft.url)),
        ("microsoft.graph_base", text(&format!("{}/v1.0", microsoft.url))),
        ("microsoft.client_id", text(&settings.client_id.to_string())),
        ("microsoft.client_secret", text(&settings.client_secret)),
        ("microsoft.teams_app_external_id", text(&settings.teams_app_id)),
        ("bot.app_id", text(&settings.bot_app_id.to_string())),
        ("bot.app_secret", text(&settings.bot_app_secret)),
        (
            "bot.metadata_url",
            text(&format!("{}/botframework/v1/.well-known/openidconfiguration", microsoft.url)),
        ),
    ];
    let environment = overrides.to_vec();
    Config::load(&Sources { presets, file: None, environment, loopback_http: true }).unwrap()
}

async fn start_hub(
    store: Arc<dyn Keeping>,
    config: Config,
    clock: &Arc<MovableClock>,
    lifecycle: &Lifecycle,
    socket: &TcpListener,
) -> anyhow::Result<Hub> {
    // The socket outlives the hub, so that the next one is found at the same address.
    let socket = socket.try_clone()?;
    app::start_on(store, config, clock.clone(), Arc::new(SystemIds), lifecycle, socket, |_| {
        axum::Router::new()
    })
    .await
}

/// What a former hub still held on to a moment ago is let go by tasks that are being dropped.
async fn open_again(data: &Path) -> store::embedded::EmbeddedStore {
    let open = async {
        loop {
            match open_store(data) {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, open).await.expect("the data directory is let go")
}

async fn client(hub: &Hub, url: &str, name: &str, role: client::Role) -> Api {
    let id: ClientId = name.parse().unwrap();
    let context = Context::hub("test", name);
    let command_id = || CommandId::new(drawn());
    let return_urls = vec![RETURN_URL.to_owned()];
    let create = client::Command::Create { role, tenants: None, return_urls };
    hub.commands.execute::<client::Client>(&id, &command_id(), &context, create).await.unwrap();
    let key = ApiKey::generate(&ring::rand::SystemRandom::new());
    let create = client::Command::CreateKey { key: SystemIds.uuid(), hash: key.hash(), expires_at: None };
    let done = hub.commands.execute::<client::Client>(&id, &command_id(), &context, create).await.unwrap();
    hub.clients.wait_for(done.after().position, PATIENCE).await.unwrap();
    hub.keys.reload(hub).await.unwrap();
    Api::new(url, key.expose())
}

/// Where all hubs of this process log to, at the finest level.
pub(crate) fn log_file() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hubs-{}.log", std::process::id()))
}

fn log_to_file() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let file = std::fs::File::create(log_file()).unwrap();
        let config = logging::LogConfig { format: logging::LogFormat::Text, level: "trace".to_owned() };
        tracing::subscriber::set_global_default(logging::subscriber(&config, Arc::new(file))).unwrap();
    });
}
