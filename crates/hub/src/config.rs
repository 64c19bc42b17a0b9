//! What can be set, where it was set, and whether it makes sense.
//!
//! `config.default.toml` is the reference and the first layer; a file and the environment follow. Each part of the hub
//! reads its own section (`ServerConfig::read`, …) through [`Section`], which knows where every value came from, so that
//! a wrong one is answered with the place, the value and what is allowed. All problems are told at once.
//!
//! **Invariant.** A secret leaves the layers only as a `SecretString`; no message and no printed configuration shows it.

mod bot;
mod delivery;
mod layers;
mod product;
mod sections;
mod store_serve;

use std::path::PathBuf;

pub use bot::BotConfig;
pub use delivery::{DeliveryConfig, UnknownOutcome};
use layers::Layers;
pub use layers::{Section, is_loopback};
pub use product::{Endpoint, PasswordCheck, PasswordConfig, ProductConfig};
pub use sections::{
    DataConfig, HubsConfig, KeysConfig, MicrosoftConfig, OutboundConfig, SignInConfig, SignInTenants,
    StoreConfig, StoreKind, TokensConfig,
};
pub use store_serve::StoreServeConfig;
pub(crate) use store_serve::role_names;

use uuid::Uuid;

use crate::{
    http::{limits::LimitsConfig, serve::ServerConfig},
    logging::LogConfig,
    teams_app::{Ids, TeamsAppConfig},
};

/// The commented reference, as built in.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Where the layers above the defaults come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// Values between the defaults and the file, by dotted key: what `chancery dev` sets by itself.
    pub presets: Vec<(&'static str, toml::Value)>,
    pub file: Option<PathBuf>,
    /// Name and value. Only names that begin with `CHANCERY_` are looked at.
    pub environment: Vec<(String, String)>,
    /// `dev` may speak plain HTTP with addresses of this machine; everything else is HTTPS.
    pub loopback_http: bool,
}

impl Sources {
    /// The layers of `serve`: an optional file, and the environment of this process.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Self { file, environment, ..Self::default() }
    }
}

/// The whole configuration, known to be good.
#[derive(Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub log: LogConfig,
    pub data: DataConfig,
    pub store: StoreConfig,
    pub store_serve: StoreServeConfig,
    pub keys: KeysConfig,
    pub microsoft: MicrosoftConfig,
    /// `None` where there is no bot.
    pub bot: Option<Box<BotConfig>>,
    pub outbound: OutboundConfig,
    pub sign_in: SignInConfig,
    pub password: PasswordConfig,
    pub product: ProductConfig,
    pub delivery: DeliveryConfig,
    pub hubs: HubsConfig,
    pub tokens: TokensConfig,
    pub limits: LimitsConfig,
    /// See [`Sources::loopback_http`].
    pub loopback_http: bool,
    effective: String,
}

impl Config {
    /// Reads all layers, and every file that they name as a secret.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(sources)?;
        let store = StoreConfig::read(&mut layers.section("store"));
        let bot = BotConfig::read(&mut layers.section("bot")).map(Box::new);
        let has_bot = bot.is_some();
        let config = Self {
            server: ServerConfig::read(&mut layers.section("server")),
            log: LogConfig::read(&mut layers.section("log")),
            data: DataConfig::read(&mut layers.section("data")),
            store_serve: StoreServeConfig::read_of_hub(&mut layers.section("store.serve"), store.kind),
            store,
            keys: KeysConfig::read(&mut layers.section("keys")),
            microsoft: MicrosoftConfig::read(&mut layers.section("microsoft")),
            bot,
            outbound: OutboundConfig::read(&mut layers.section("outbound")),
            sign_in: SignInConfig::read(&mut layers.section("sign_in")),
            password: PasswordConfig::read(&mut layers.section("password")),
            product: ProductConfig::read(&mut layers.section("product")),
            delivery: DeliveryConfig::read(&mut layers.section("delivery"), has_bot),
            hubs: HubsConfig::read(&mut layers.section("hubs")),
            tokens: TokensConfig::read(&mut layers.section("tokens")),
            limits: LimitsConfig::read(&mut layers.section("limits")),
            loopback_http: sources.loopback_http,
            effective: layers.effective(),
        };
        let problems = layers.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// All values in force, as TOML, with `***` for secrets.
    pub fn effective(&self) -> &str {
        &self.effective
    }
}

/// What `chancery store serve` needs of the configuration. The rest may be missing.
#[derive(Debug)]
pub struct StoreOnlyConfig {
    pub log: LogConfig,
    pub data: DataConfig,
    pub serve: StoreServeConfig,
}

impl StoreOnlyConfig {
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(sources)?;
        let config = Self {
            log: LogConfig::read(&mut layers.section("log")),
            data: DataConfig::read(&mut layers.section("data")),
            serve: StoreServeConfig::read(&mut layers.section("store.serve")),
        };
        let problems = layers.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}

/// What `chancery teams-app build` needs of the configuration. The rest may be missing.
#[derive(Debug)]
pub struct TeamsAppOnlyConfig {
    pub app: TeamsAppConfig,
}

impl TeamsAppOnlyConfig {
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(sources)?;
        let public_url = ServerConfig::read(&mut layers.section("server")).public_url;
        let bot = layers.section("bot").id("app_id", "the application id of the bot's registration");
        let microsoft = &mut layers.section("microsoft");
        let app = microsoft.id("teams_app_external_id", "the id of the app, any UUID that stays the same");
        let named = microsoft.text("client_id").is_some();
        let client = if named { microsoft.id("client_id", "the app registration") } else { Uuid::nil() };
        let section = &mut layers.section("teams_app");
        let app = TeamsAppConfig::read(section, Ids { app, bot, client }, &public_url);
        if app.application_id_uri.is_some() && !named {
            section.refuse("application_id_uri", "is set, so microsoft.client_id must be set, too");
        }
        let problems = layers.into_problems();
        if problems.is_empty() { Ok(Self { app }) } else { Err(ConfigError { problems }) }
    }
}

/// Everything that is wrong with the configuration, each as one sentence with its place.
#[derive(Debug, thiserror::Error)]
#[error("the configuration can't be used:\n  - {}", problems.join("\n  - "))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests;
