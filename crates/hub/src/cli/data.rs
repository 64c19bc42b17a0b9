//! Opening the data of a hub that is stopped.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use store::EventStore;

use super::args::DataArgs;
use crate::{
    config::{Config, Sources},
    hub::open_store,
};

/// The data directory of a hub, this process's alone for as long as this lives.
pub(super) struct Data {
    pub directory: PathBuf,
    pub store: Arc<dyn EventStore>,
}

impl Data {
    /// `None` where the arguments name no data.
    pub(super) fn named(args: &DataArgs) -> anyhow::Result<Option<Self>> {
        let directory = match (&args.data_dir, &args.config) {
            (Some(directory), _) => directory.clone(),
            (None, Some(file)) => directory_of(Some(file.clone()))?,
            (None, None) => return Ok(None),
        };
        Self::open(directory).map(Some)
    }

    /// Where the arguments name none, the data that `chancery serve` would use here.
    pub(super) fn here(args: &DataArgs) -> anyhow::Result<Self> {
        match Self::named(args)? {
            Some(data) => Ok(data),
            None => Self::open(directory_of(std::env::var_os("CHANCERY_CONFIG").map(PathBuf::from))?),
        }
    }

    fn open(directory: PathBuf) -> anyhow::Result<Self> {
        let store =
            open_store(&directory).context("the data can be opened only while no hub runs on them")?;
        Ok(Self { directory, store: Arc::new(store) })
    }
}

fn directory_of(config: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    Ok(Config::load(&Sources::of_process(config))?.data.directory)
}
