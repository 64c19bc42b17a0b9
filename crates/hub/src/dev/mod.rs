//! `chancery dev`: a hub with everything it needs on one machine, Microsoft included, and a clock that can be moved.
//!
//! **Invariants.** It listens on this machine only. Its data directory is marked, and `serve` refuses it.

mod browser;
mod cards;
mod once;
mod pages;
mod passwords;
mod store;
mod teams_app;
mod templates;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use ::store::Keeping;
use anyhow::{Context as _, Result, bail, ensure};
use domain::{ClientId, CommandId, TenantId, client, tenant};
use microsoft_simulator::{Settings, Simulator, organisations, serve_simulator, simulator};
use projections::connections::queries::count_by_status;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use url::Url;

pub use teams_app::preset as preset_teams_app;

use crate::{
    app::{self, DEV_MARK},
    cli::args::{ClockCommand, DevArgs, DevCommand, DevStore},
    cli::client::DEV_FILE,
    clock::{Ids as _, MovableClock, SystemIds},
    commands::{Context, Failure},
    config::{Config, Sources},
    http::{self, auth::ApiKey, serve::ServeError},
    hub::{Hub, make_private, open_store},
    lifecycle::{Lifecycle, signals},
    logging,
};

/// The client of the API that plays the product's backend.
pub const CLIENT: &str = "dev";

/// Runs `chancery dev` and what belongs to it.
pub async fn run(args: DevArgs) -> Result<ExitCode> {
    match args.command {
        Some(DevCommand::Clock { command: ClockCommand::Advance { by } }) => advance(by).await,
        Some(DevCommand::Cards { directory }) => cards::write(&directory).map(|()| ExitCode::SUCCESS),
        None if args.once => once::run(args.store).await,
        None => serve(args).await,
    }
}

/// What `chancery dev` leaves for the other commands; readable by its user only.
#[derive(Clone, Serialize, Deserialize)]
pub struct DevFile {
    pub url: String,
    pub api_key: String,
    pub control_token: String,
    pub simulator_url: String,
    pub store: store::StoreFile,
}

async fn serve(args: DevArgs) -> Result<ExitCode> {
    let directory = PathBuf::from(DEV_FILE).parent().map(Path::to_path_buf).unwrap_or_default();
    let (listeners, signals) = (Listeners::fixed(args.port)?, signals()?);
    let sources = Sources::of_process(args.config.config);
    let dev = Dev::start(&directory, args.store, listeners, sources).await?;
    let file = directory.join("dev.json");
    write_private(&file, &serde_json::to_vec_pretty(&dev.file)?)?;
    eprint!("{}", dev.greeting());
    if dev.forgotten {
        eprintln!("  The simulated Microsoft has forgotten its sign-ins: sign in again.\n");
    }
    let deadline = dev.hub.config.server.shutdown_deadline;
    let code = dev.run(deadline, signals).await;
    std::fs::remove_file(&file)?;
    Ok(code)
}

/// Sockets of the hub and of the simulator.
pub struct Listeners {
    hub: TcpListener,
    simulator: TcpListener,
    store: TcpListener,
}

impl Listeners {
    /// The simulator's port is the one behind the hub's.
    fn fixed(port: u16) -> Result<Self> {
        let next = port
            .checked_add(1)
            .context("--port must be less than 65535, since the simulator takes the next one")?;
        let bind = |port: u16| match http::serve::bind((Ipv4Addr::LOCALHOST, port).into()) {
            Err(ServeError::InUse { address, .. }) => bail!(
                "{address} is in use (by another `chancery dev`?): choose another port, and the next one, with --port"
            ),
            bound => Ok(bound?),
        };
        Ok(Self { hub: bind(port)?, simulator: bind(next)?, store: store::bind()? })
    }

    /// Whatever ports are free.
    pub fn free() -> Result<Self> {
        let bind = || http::serve::bind((Ipv4Addr::LOCALHOST, 0).into());
        Ok(Self { hub: bind()?, simulator: bind()?, store: bind()? })
    }
}

/// A running hub with its simulator.
pub struct Dev {
    pub hub: Hub,
    pub simulator: Simulator,
    pub file: DevFile,
    /// Whether people were linked in an earlier run: what the simulator granted them ended with it.
    pub forgotten: bool,
    lifecycle: Lifecycle,
    /// Of the store's port, on which the hub may stand: it is stopped after the hub.
    below: Lifecycle,
}

impl Dev {
    /// Starts both in `directory`, which is made if need be.
    pub async fn start(
        directory: &Path,
        kind: DevStore,
        listeners: Listeners,
        mut sources: Sources,
    ) -> Result<Self> {
        let data = prepare(directory, kind)?;
        let localhost = |listener: &TcpListener| {
            anyhow::Ok(format!("http://localhost:{}", listener.local_addr()?.port()))
        };
        let (url, simulator_url) = (localhost(&listeners.hub)?, localhost(&listeners.simulator)?);
        let settings = Settings {
            public_url: Some(simulator_url.clone()),
            control_token: SystemIds.uuid().to_string(),
            client_secret: format!("simulated.{}", SystemIds.uuid()),
            redirect_uris: vec![format!("{url}{}", crate::services::sign_ins::CALLBACK)],
            bot_app_secret: format!("simulated.{}", SystemIds.uuid()),
            messaging_endpoint: Some(format!("{url}{}", crate::bot::webhook::PATH)),
            ..Settings::default()
        };
        sources.loopback_http = true;
        sources.presets = presets(directory, &data, &url, &simulator_url, &settings);
        let passwords = passwords::file(directory)?.to_string_lossy().into_owned();
        sources.presets.extend([("password.kind", "file".into()), ("password.file", passwords.into())]);
        let config = Config::load(&sources)?;
        // The mark is on that directory, and the simulator's tokens belong in no other.
        ensure!(
            config.data.directory == data,
            "`chancery dev` keeps its data in {}; it does not work on data.directory = {}",
            data.display(),
            config.data.directory.display()
        );
        logging::init(&config.log);

        let control_token = settings.control_token.clone();
        let (lifecycle, below) = (Lifecycle::new(), Lifecycle::new());
        let simulator = start_simulator(listeners.simulator, settings, &lifecycle)?;
        let clock = Arc::new(MovableClock::new(clock_offset(&data)?));
        simulator.advance_clock(clock_offset(&data)?);
        let control = pages::Control {
            clock: clock.clone(),
            simulator: simulator.clone(),
            token: control_token.clone(),
            data: data.clone(),
            simulator_url: simulator_url.clone(),
        };
        let more = |hub: &Hub| pages::routes(hub.clone(), control);
        let ids = Arc::new(SystemIds);
        let (port, store) = store::open(listeners.store, directory)?;
        let log = Arc::new(open_store(&data.join(match kind {
            DevStore::Embedded => "",
            DevStore::EventStoreDb => "store",
        }))?);
        port.spawn(&below, log.clone(), clock.clone(), ids.clone())?;
        let log: Arc<dyn Keeping> = match kind {
            DevStore::Embedded => log,
            DevStore::EventStoreDb => Arc::new(store.connect().await?),
        };
        let hub = app::start_on(log, config, clock, ids, &lifecycle, listeners.hub, more).await?;
        let forgotten = !count_by_status(&hub.connections).await?.is_empty();
        let api_key = api_key(&hub, directory, &format!("{url}/dev/return")).await?;
        store::admit(&hub).await?;
        name_organisations(&hub).await?;
        let file = DevFile { url, api_key: api_key.expose().to_owned(), control_token, simulator_url, store };
        Ok(Self { hub, simulator, file, forgotten, lifecycle, below })
    }

    /// Runs until a signal or a failure ends it.
    async fn run(self, deadline: Duration, signals: mpsc::Receiver<()>) -> ExitCode {
        let Self { hub, lifecycle, below, .. } = self;
        drop(hub);
        let code = lifecycle.run(deadline, signals).await;
        below.stop();
        let (_never, signals) = mpsc::channel(1);
        below.run(deadline, signals).await;
        code
    }

    /// Asks everything to end.
    pub fn stop(&self) {
        self.lifecycle.stop();
    }

    /// Ends it in good order.
    pub async fn end(self) {
        self.stop();
        let (_never, signals) = mpsc::channel(1);
        self.run(Duration::from_secs(10), signals).await;
    }

    fn greeting(&self) -> String {
        let DevFile { url, api_key, simulator_url, store, .. } = &self.file;
        let [auditor, backend, operator] = store::NAMES.map(|name| store.tls_string(name));
        let in_clear = store.string("backend");
        format!(
            "\n  Chancery runs, with a simulated Microsoft beside it.\n\n  \
             1. Sign somebody in:      {url}/dev\n  \
             2. Send them a message:\n\n     \
                curl -X POST {url}/v1/messages -H 'Authorization: Bearer {api_key}' \\\n       \
                  -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" \\\n       \
                  -d '{{\"recipient\":{{\"account\":\"u-1001\"}},\"content\":{{\"type\":\"text\",\"text\":\"Hello from the product\"}}}}'\n\n  \
             3. See it arrive:         {simulator_url}/teams\n  \
             4. Move the clock:        chancery dev clock advance 2h\n  \
             5. Read the whole story:  chancery history --account u-1001\n\n  \
             The store speaks EventStoreDB's protocol, to clients that\n     \
                submit messages   {backend}\n     \
                read everything   {auditor}\n     \
                keep streams      {operator}\n  \
             and to those that send a password in clear, as Rust's does, but not Python's or Node's:\n     \
                {in_clear}\n\n  \
             API: {url}/openapi.json   Ctrl-C stops it; the data stays in .chancery/.\n\n"
        )
    }
}

/// Makes the directory with its key and its mark. Answers where the data are.
fn prepare(directory: &Path, kind: DevStore) -> Result<PathBuf> {
    let data = directory.join(match kind {
        DevStore::Embedded => "data",
        DevStore::EventStoreDb => "data-on-eventstoredb",
    });
    make_private(&data).with_context(|| format!("making {}", data.display()))?;
    std::fs::write(data.join(DEV_MARK), "").with_context(|| format!("writing to {}", data.display()))?;
    let key = directory.join("key");
    if !key.exists() {
        custody::KeyEncryptionKey::create_file(&key)?;
    }
    Ok(data)
}

fn presets(
    directory: &Path,
    data: &Path,
    url: &str,
    simulator_url: &str,
    settings: &Settings,
) -> Vec<(&'static str, toml::Value)> {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let path = |path: &Path| text(&path.to_string_lossy());
    vec![
        ("server.public_url", text(url)),
        ("data.directory", path(data)),
        ("keys.key_encryption_key_file", path(&directory.join("key"))),
        ("microsoft.authority", text(simulator_url)),
        ("microsoft.graph_base", text(&format!("{simulator_url}/v1.0"))),
        ("microsoft.client_id", text(&settings.client_id.to_string())),
        ("microsoft.client_secret", text(&settings.client_secret)),
        ("microsoft.teams_app_external_id", text(&settings.teams_app_id)),
        ("bot.app_id", text(&settings.bot_app_id.to_string())),
        ("bot.app_secret", text(&settings.bot_app_secret)),
        (
            "bot.metadata_url",
            text(&format!("{simulator_url}/botframework/v1/.well-known/openidconfiguration")),
        ),
        ("sign_in.tenants", text("open")),
        ("log.level", text("warn")),
    ]
}

fn start_simulator(listener: TcpListener, settings: Settings, lifecycle: &Lifecycle) -> Result<Simulator> {
    let (router, handle) = simulator(settings)?;
    let stopping = lifecycle.stopping();
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let served = handle.clone();
    lifecycle.spawn("simulator", async move {
        serve_simulator(listener, router, served, async move { stopping.cancelled().await }).await
    });
    Ok(handle)
}

/// Runs the simulator alone.
pub async fn run_simulator(listen: std::net::SocketAddr) -> Result<ExitCode> {
    ensure!(
        listen.ip().is_loopback(),
        "the simulator is for this machine only: --listen must be an address such as 127.0.0.1:8401, not {listen}"
    );
    let listener = http::serve::bind(listen)?;
    let settings = Settings {
        control_token: SystemIds.uuid().to_string(),
        redirect_uris: vec![format!("http://localhost:8400{}", crate::services::sign_ins::CALLBACK)],
        public_url: Some(format!("http://localhost:{}", listener.local_addr()?.port())),
        ..Settings::default()
    };
    let (lifecycle, signals) = (Lifecycle::new(), signals()?);
    eprintln!(
        "The simulator listens.\n  authority      {0}\n  graph_base     {0}/v1.0\n  client_id      {1}\n  \
         client_secret  {2}\n  Teams app      {3}\n  redirect URI   {4}\n  Teams page     {0}/teams\n  control token  {5}",
        settings.public_url.as_deref().unwrap_or_default(),
        settings.client_id,
        settings.client_secret,
        settings.teams_app_id,
        settings.redirect_uris.join(" "),
        settings.control_token,
    );
    start_simulator(listener, settings, &lifecycle)?;
    Ok(lifecycle.run(Duration::from_secs(5), signals).await)
}

/// The key of the client that plays the product: the one of earlier runs while it is good, or else a new one in its place.
async fn api_key(hub: &Hub, directory: &Path, return_url: &str) -> Result<ApiKey> {
    let client: ClientId = CLIENT.parse()?;
    let context = Context::hub("dev", CLIENT);
    let command_id = |what: &str| CommandId::new(format!("{what}/{}", hub.ids.uuid()));
    let execute = async |what: &str, command| {
        hub.commands.execute::<client::Client>(&client, &command_id(what), &context, command).await
    };
    let return_urls = vec![return_url.to_owned()];
    let create = client::Command::Create { role: client::Role::Admin, tenants: None, return_urls };
    match execute("create", create).await {
        Ok(_) | Err(Failure::Refused(client::Refusal::Exists)) => {}
        Err(error) => return Err(error.into()),
    }
    let file = directory.join("api-key");
    let known = hub.commands.load::<client::Client>(&client).await?.state;
    let former = std::fs::read_to_string(&file).ok().and_then(|text| ApiKey::parse(text.trim()));
    if let Some(key) = former.filter(|key| known.authenticates(&key.hash(), hub.clock.now()).is_some()) {
        return Ok(key);
    }
    for (key, _) in known.keys.into_iter().filter(|(_, key)| !key.revoked) {
        execute("revoke", client::Command::RevokeKey { key }).await?;
    }
    let key = ApiKey::generate(&ring::rand::SystemRandom::new());
    let expires_at = Some(hub.clock.now() + Duration::from_hours(24 * 365));
    let create = client::Command::CreateKey { key: hub.ids.uuid(), hash: key.hash(), expires_at };
    let done = execute("key", create).await?;
    write_private(&file, key.expose().as_bytes())?;
    hub.clients.wait_for(done.after().position, Duration::from_secs(30)).await?;
    hub.keys.reload(hub).await?;
    Ok(key)
}

/// The simulated organisations have names, as an operator would give them.
async fn name_organisations(hub: &Hub) -> Result<()> {
    let context = Context::hub("dev", CLIENT);
    for (name, id) in organisations() {
        let tenant = TenantId(id);
        let known = hub.commands.load::<tenant::Tenant>(tenant).await?.state;
        // Later starts find what was said since.
        if known.admission == tenant::Admission::Unspecified {
            let admit = tenant::Command::Admit { name: Some(name.parse()?) };
            let command_id = CommandId::new(format!("name/{}", hub.ids.uuid()));
            hub.commands.execute::<tenant::Tenant>(tenant, &command_id, &context, admit).await?;
        }
    }
    Ok(())
}

const CLOCK_FILE: &str = "clock-offset-s";

/// How far the clock was moved in this directory; time must not run back when `dev` is started again.
fn clock_offset(data: &Path) -> Result<Duration> {
    match std::fs::read_to_string(data.join(CLOCK_FILE)) {
        Ok(text) => Ok(Duration::from_secs(text.trim().parse()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Duration::ZERO),
        Err(error) => Err(error.into()),
    }
}

fn keep_clock_offset(data: &Path, offset: Duration) -> Result<()> {
    Ok(std::fs::write(data.join(CLOCK_FILE), offset.as_secs().to_string())?)
}

/// `chancery dev clock advance`: asks the `chancery dev` that runs in this directory.
async fn advance(by: Duration) -> Result<ExitCode> {
    let file = std::fs::read(DEV_FILE)
        .with_context(|| format!("{DEV_FILE} is not here: start `chancery dev` in this directory first"))?;
    let file: DevFile = serde_json::from_slice(&file).with_context(|| format!("reading {DEV_FILE}"))?;
    let url = Url::parse(&file.url)?.join("/dev/clock/advance")?;
    let config = microsoft::OutboundConfig {
        ca_file: None,
        https_only: false,
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(10),
        user_agent: "chancery".into(),
    };
    let request = microsoft::http_client(&config)?.post(url).bearer_auth(&file.control_token);
    let answer = request.json(&serde_json::json!({ "seconds": by.as_secs() })).send().await;
    let answer = answer.map_err(reqwest::Error::without_url).context("`chancery dev` does not answer")?;
    if !answer.status().is_success() {
        bail!("`chancery dev` answered {}: {}", answer.status(), answer.text().await?);
    }
    let now: pages::Now = answer.json().await?;
    println!("It is now {} for the hub and for Microsoft.", now.now);
    Ok(ExitCode::SUCCESS)
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts and stops it. Answers with the key, and how many keys were ever made.
    async fn run(directory: &Path) -> (String, usize) {
        let listeners = Listeners::free().unwrap();
        let dev = Dev::start(directory, DevStore::Embedded, listeners, Sources::default()).await.unwrap();
        assert!(!dev.forgotten, "nobody ever signed in");
        let client: ClientId = CLIENT.parse().unwrap();
        let keys = dev.hub.commands.load::<client::Client>(&client).await.unwrap().state.keys;
        let found = (dev.file.api_key.clone(), keys.len());
        assert_eq!(keys.values().filter(|key| !key.revoked).count(), 1);
        dev.end().await;
        found
    }

    #[tokio::test]
    async fn a_key_is_good_from_run_to_run_and_a_lost_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (key, made) = run(directory.path()).await;
        assert_eq!((run(directory.path()).await, made), ((key.clone(), 1), 1));
        std::fs::remove_file(directory.path().join("api-key")).unwrap();
        let (another, made) = run(directory.path()).await;
        assert!(another != key && made == 2);
    }
}
