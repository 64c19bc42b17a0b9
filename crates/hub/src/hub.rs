//! Wiring: everything that handlers and processors work with, made once.

use std::{fs::DirBuilder, ops::Deref, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use custody::{Custody, CustodyError, EmbeddedVault, StreamVault, Vault, VaultError};
use domain::HubId;
use microsoft::{Entra, EntraConfig, Graph, GraphConfig};
use projections::{
    Follower, Projection, ReadModel, State, clients::Clients, connections::Connections, due::Due,
    messages::Messages,
};
use store::{EventStore, Keeping, Position, StoreError, embedded::EmbeddedStore};
use tokio_util::sync::CancellationToken;

use crate::{
    bot::Bot,
    clock::{Clock, Ids},
    commands::Commands,
    config::{BotConfig, Config},
    http::{ops::Readiness, v1::events::Tails},
    lifecycle::Lifecycle,
    metrics::Metrics,
    processors::{self, Breakers, FirstSeen, Pace, Shards},
    services::{keys::Keys, passwords::Passwords, product::Product, tokens::Tokens},
};

/// A handle on the hub; clones are the same one.
#[derive(Clone)]
pub struct Hub(Arc<Parts>);

/// What the hub is made of.
pub struct Parts {
    pub config: Config,
    /// This process.
    pub id: HubId,
    /// How often a hub was started on this data, this time included.
    pub epoch: u64,
    /// Cancelled when no new work may be begun.
    pub stopping: CancellationToken,
    pub store: Arc<dyn Keeping>,
    pub commands: Commands,
    pub custody: Custody,
    pub entra: Entra,
    pub graph: Graph,
    /// `None` where none is configured.
    pub bot: Option<Bot>,
    pub product: Product,
    pub passwords: Passwords,
    pub clients: ReadModel<Clients>,
    pub connections: ReadModel<Connections>,
    pub messages: ReadModel<Messages>,
    pub due: ReadModel<Due>,
    pub keys: Keys,
    pub tokens: Tokens,
    pub breakers: Breakers,
    pub pace: Pace,
    /// The part of the work that is this hub's.
    pub shards: Shards,
    /// What other hubs began.
    pub first_seen: FirstSeen,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub metrics: Metrics,
    /// Event tails that are open.
    pub tails: Tails,
}

impl Deref for Hub {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What a hub has to ask its store for before anything of it runs. From then on it bears a store that is not there.
pub struct Footing {
    store: Arc<dyn Keeping>,
    custody: Custody,
    /// Where the log ended.
    head: Position,
}

impl Footing {
    /// Opens the vault that belongs to the store.
    ///
    /// See [`is_passing`] for what may be better the next time.
    pub async fn on(store: Arc<dyn Keeping>, config: &Config) -> Result<Self> {
        let kek = config.keys.load()?;
        let vault: Arc<dyn Vault> = if store.is_ours_alone() {
            open_vault(&config.data.directory, &*store).await?
        } else {
            Arc::new(StreamVault::new(store.clone()))
        };
        let custody = Custody::open(vault, kek).await?;
        let head = store.head().await?;
        Ok(Self { store, custody, head })
    }
}

/// Whether it was the store that did not do its part, and not what an operator gave or has to mend elsewhere.
pub fn is_passing(error: &anyhow::Error) -> bool {
    let of_vault = matches!(error.downcast_ref(), Some(CustodyError::Vault(VaultError::Unavailable(_))));
    of_vault || error.is::<StoreError>()
}

impl Hub {
    /// Opens everything else in the data directory, and begins to follow the log and to work.
    pub async fn start_on(
        footing: Footing,
        config: Config,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        lifecycle: &Lifecycle,
        readiness: &Readiness,
    ) -> Result<Self> {
        let Footing { store, custody, head } = footing;
        let data = config.data.directory.clone();
        let http = config.outbound.client(!config.loopback_http)?;
        let log: Arc<dyn EventStore> = store.clone();
        let models = Models::open(&data, &log, lifecycle, readiness)?;
        let product = Product::new(&config, http.clone());
        let hub = Self(Arc::new(Parts {
            id: HubId(ids.uuid()),
            epoch: count_start(&data)?,
            stopping: lifecycle.stopping(),
            commands: Commands::new(store.clone(), clock.clone(), ids.clone()),
            custody,
            entra: entra(&config, http.clone())?,
            bot: Bot::new(&config, &http)?,
            graph: graph(&config, http)?,
            passwords: Passwords::new(&config, &product),
            product,
            keys: Keys::default(),
            tokens: Tokens::default(),
            breakers: Breakers::default(),
            pace: Pace::new(&config.delivery),
            shards: Shards::default(),
            first_seen: FirstSeen::default(),
            metrics: Metrics::default(),
            tails: Tails::new(config.limits.events_streams_max, lifecycle.stopping()),
            clients: models.clients,
            connections: models.connections,
            messages: models.messages,
            due: models.due,
            config,
            store,
            clock,
            ids,
        }));
        // Known keys are let in from the first request on; the rest follows the log.
        hub.keys.reload(&hub).await?;
        if !hub.store.is_ours_alone() {
            let shared = hub.clone();
            readiness.add("heartbeat", move || shared.shards.is_heard());
        }
        if let Some(unusual) = hub.config.bot.as_deref().and_then(BotConfig::unusual) {
            readiness.note("bot", unusual);
        }
        processors::spawn(&hub, head, lifecycle);
        Ok(hub)
    }

    /// A position as it is handed out: opaque to the client, and good for this store only.
    pub fn position(&self, position: Position) -> String {
        format!("{}:{position}", self.store.id())
    }
}

/// What is in the data directory beside the read models, which can be built anew.
pub(crate) const LOG: &str = "log.sqlite";
pub(crate) const VAULT: &str = "vault.sqlite";
pub(crate) const EPOCH: &str = "epoch";

/// Opens the log in the data directory, which is then this process's alone.
pub fn open_store(data: &Path) -> Result<EmbeddedStore> {
    // What keeps it from being made, the store tells better.
    let _ = make_private(data);
    Ok(EmbeddedStore::open(data, store::embedded::Options::default())?)
}

/// A directory that is closed to other users, where there is none yet.
pub(crate) fn make_private(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The vault in the data directory. A log without its vault is not begun anew with: its streams could not be found again.
pub async fn open_vault(data: &Path, store: &dyn EventStore) -> Result<Arc<dyn Vault>> {
    let path = data.join(VAULT);
    let vault = EmbeddedVault::open(&path).await?;
    ensure!(
        store.head().await? == Position::START || Custody::was_opened(&vault).await?,
        "the log in {} has events, but {} has none of its keys: restore the vault that belongs to this log",
        data.display(),
        path.display()
    );
    Ok(Arc::new(vault))
}

/// The read models, each with a task that follows the log.
struct Models {
    clients: ReadModel<Clients>,
    connections: ReadModel<Connections>,
    messages: ReadModel<Messages>,
    due: ReadModel<Due>,
}

impl Models {
    fn open(
        data: &Path,
        store: &Arc<dyn EventStore>,
        lifecycle: &Lifecycle,
        readiness: &Readiness,
    ) -> Result<Self> {
        Ok(Self {
            clients: follow(data, store, lifecycle, readiness)?,
            connections: follow(data, store, lifecycle, readiness)?,
            messages: follow(data, store, lifecycle, readiness)?,
            due: follow(data, store, lifecycle, readiness)?,
        })
    }
}

fn follow<P: Projection>(
    data: &Path,
    store: &Arc<dyn EventStore>,
    lifecycle: &Lifecycle,
    readiness: &Readiness,
) -> Result<ReadModel<P>> {
    let (model, follower): (ReadModel<P>, Follower<P>) = ReadModel::open(data, store.clone())
        .with_context(|| format!("opening the read model {}", P::NAME))?;
    lifecycle.spawn(P::NAME, follower.run(lifecycle.stopping()));
    let seen = model.clone();
    readiness.add(P::NAME, move || match seen.status().state {
        State::Live => Ok(()),
        State::CatchingUp => Err(format!("catching up; it is at position {}", seen.status().position)),
        State::Waiting { why } => Err(why),
        State::Stopped(stop) => Err(stop.to_string()),
    });
    Ok(model)
}

fn entra(config: &Config, http: reqwest::Client) -> Result<Entra> {
    let microsoft = &config.microsoft;
    Ok(Entra::new(
        EntraConfig {
            authority: microsoft.authority.clone(),
            issuer_template: microsoft.issuer.clone(),
            sign_in_tenant: microsoft.sign_in_tenant.clone(),
            client_id: microsoft.client_id,
            client_secret: microsoft.client_secret.clone(),
            redirect_uri: crate::services::sign_ins::redirect_uri(&config.server.public_url),
            scopes: microsoft.scopes.clone(),
            authorize_endpoint: microsoft.authorize_url.clone(),
            token_endpoint: microsoft.token_url.clone(),
            jwks_uri: microsoft.jwks_url.clone(),
        },
        http,
    )?)
}

fn graph(config: &Config, http: reqwest::Client) -> Result<Graph> {
    let (base, teams_app) = (config.microsoft.graph_base.clone(), config.microsoft.teams_app.clone());
    Ok(Graph::new(GraphConfig { base, teams_app, trust_503: true }, http)?)
}

/// Counts the starts on this data directory, so that what one process began is told from what the next does.
fn count_start(data: &Path) -> Result<u64> {
    let path = data.join(EPOCH);
    let before = read_epoch(&path)?;
    let (epoch, new) = (before + 1, data.join("epoch.new"));
    std::fs::write(&new, epoch.to_string()).with_context(|| format!("writing {}", new.display()))?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(epoch)
}

/// How often a hub was started; 0 where there is no such file.
pub(crate) fn read_epoch(path: &Path) -> Result<u64> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} does not hold a number", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
