//! Opening the data of a hub that is stopped, or the store that several share.
//!
//! **Invariant.** Only a command that makes a client begins new data, and only with the key that their vault is made with:
//! a log without its vault could not be served.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use custody::{Custody, KeyEncryptionKey, StreamVault};
use store::{
    Keeping,
    embedded::EmbeddedStore,
    eventstoredb::{EventStoreDb, Options},
};

use super::{args::DataArgs, client::DEV_FILE};
use crate::{
    app,
    config::{Config, Sources, StoreKind},
    hub::{make_private, open_store, open_vault},
};

/// The data of a hub: with the embedded store, this process's alone for as long as this lives.
pub(super) struct Data {
    pub directory: PathBuf,
    pub store: Arc<dyn Keeping>,
}

impl Data {
    /// Where a command keeps read models of its own: those of a hub on a shared store are in use while it runs.
    pub(super) fn for_read_models(&self) -> PathBuf {
        if self.store.is_ours_alone() { self.directory.clone() } else { self.directory.join("command-line") }
    }
}

impl Data {
    /// What is there already. `None` where the arguments name no data.
    pub(super) async fn named(args: &DataArgs) -> Result<Option<Self>> {
        match (&args.data_dir, &args.config) {
            (Some(directory), _) => Self::open(directory.clone()).map(Some),
            (None, Some(file)) => Self::configured(&configured(Some(file.clone()))?).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The same, begun anew where nothing is there: a configuration names the key for that, a directory alone does not.
    pub(super) async fn named_or_new(args: &DataArgs) -> Result<Option<Self>> {
        let (None, Some(file)) = (&args.data_dir, &args.config) else {
            return Self::named(args)
                .await
                .context("new data are begun with --config FILE, which names their key");
        };
        let config = configured(Some(file.clone()))?;
        let kek = config.keys.load()?;
        if config.store.kind == StoreKind::Embedded {
            return Self::begin(config.data.directory, kek).await.map(Some);
        }
        let data = Self::configured(&config).await?;
        Custody::open(Arc::new(StreamVault::new(data.store.clone())), kek).await?;
        Ok(Some(data))
    }

    /// Where the arguments name none: the data that `chancery dev` has here, or else those that `chancery serve` would use.
    pub(super) async fn here(args: &DataArgs) -> Result<Self> {
        if let Some(data) = Self::named(args).await? {
            return Ok(data);
        }
        let file = std::env::var_os("CHANCERY_CONFIG").map(PathBuf::from);
        let of_dev = Path::new(DEV_FILE).with_file_name("data");
        if file.is_none() && of_dev.is_dir() {
            return Self::open(of_dev);
        }
        Self::configured(&configured(file)?).await
    }

    async fn configured(config: &Config) -> Result<Self> {
        let directory = config.data.directory.clone();
        let Some(shared) = config.store.connection_string.clone() else { return Self::open(directory) };
        let store = EventStoreDb::new(shared, Options::default())?;
        app::prepare(&store).await?;
        make_private(&directory).with_context(|| format!("making {}", directory.display()))?;
        Ok(Self { directory, store: Arc::new(store) })
    }

    fn open(directory: PathBuf) -> Result<Self> {
        ensure!(directory.join("log.sqlite").is_file(), "{} holds no Chancery data", directory.display());
        let store = take(&directory)?;
        Ok(Self { directory, store: Arc::new(store) })
    }

    pub(super) async fn begin(directory: PathBuf, kek: KeyEncryptionKey) -> Result<Self> {
        let store = take(&directory)?;
        Custody::open(open_vault(&directory, &store).await?, kek).await?;
        Ok(Self { directory, store: Arc::new(store) })
    }
}

/// Where a hub keeps its log and its vault, whether it runs or not. Without arguments as in [`Data::here`].
pub(super) fn directory(data_dir: Option<PathBuf>, config: Option<PathBuf>) -> Result<PathBuf> {
    let file = config.or_else(|| std::env::var_os("CHANCERY_CONFIG").map(PathBuf::from));
    let of_dev = Path::new(DEV_FILE).with_file_name("data");
    if let Some(directory) = data_dir.or_else(|| (file.is_none() && of_dev.is_dir()).then_some(of_dev)) {
        return Ok(directory);
    }
    let config = configured(file)?;
    ensure!(
        config.store.kind == StoreKind::Embedded,
        "the events and keys of this hub are kept by EventStoreDB, and backed up by its own tools"
    );
    Ok(config.data.directory)
}

fn take(directory: &Path) -> Result<EmbeddedStore> {
    open_store(directory).context("the data can be opened only while no hub runs on them")
}

fn configured(file: Option<PathBuf>) -> Result<Config> {
    Ok(Config::load(&Sources::of_process(file))?)
}
