//! The sections whose users take them as plain values: data, store, keys, Microsoft, sign-in, hubs and tokens.

use std::{path::PathBuf, time::Duration};

use custody::{KeyEncryptionKey, KeyFileError};
use microsoft::{ClientError, TeamsApp, http_client};
use secrecy::{ExposeSecret as _, SecretString};
use store::eventstoredb::ConnectionString;
use url::Url;
use uuid::Uuid;

use super::Section;

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

#[derive(Debug)]
pub struct DataConfig {
    pub directory: PathBuf,
}

impl DataConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let directory = section.parsed("directory", "a directory", |text| Some(PathBuf::from(text)));
        if directory.exists() && !directory.is_dir() {
            section.refuse("directory", &format!("names {}, which is not a directory", directory.display()));
        }
        Self { directory }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Embedded,
    EventStoreDb,
}

#[derive(Debug)]
pub struct StoreConfig {
    pub kind: StoreKind,
    /// Of a store that is not embedded.
    pub connection_string: Option<ConnectionString>,
}

impl StoreConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let kinds = [("embedded", StoreKind::Embedded), ("eventstoredb", StoreKind::EventStoreDb)];
        let kind = section.choice("kind", &kinds);
        let given = section.secret("connection_string");
        let connection_string = match (kind, &given) {
            (StoreKind::EventStoreDb, Some(text)) => match text.expose_secret().parse() {
                Ok(connection_string) => Some(connection_string),
                Err(error) => {
                    let problem = format!("is no connection string of EventStoreDB: {error}");
                    section.refuse("connection_string", &problem);
                    None
                }
            },
            (StoreKind::EventStoreDb, None) => {
                if section.text("connection_string_file").is_none() {
                    section.refuse(
                        "connection_string",
                        "must be set: \"esdb+discover://user:password@cluster.example:2113\"",
                    );
                }
                None
            }
            (StoreKind::Embedded, Some(_)) => {
                section.refuse("connection_string", "is set, but kind is \"embedded\"");
                None
            }
            (StoreKind::Embedded, None) => None,
        };
        Self { kind, connection_string }
    }
}

/// Where the key-encryption key is.
#[derive(Debug)]
pub enum KeysConfig {
    File(PathBuf),
    Text(SecretString),
}

impl KeysConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let keys = match (section.text("key_encryption_key_file"), section.text("key_encryption_key")) {
            (Some(path), None) => Self::File(path.into()),
            (file, Some(key)) => {
                if file.is_some() {
                    section.refuse(
                        "key_encryption_key",
                        "and key_encryption_key_file are both set; keep one of them",
                    );
                }
                Self::Text(key.into())
            }
            (None, None) => {
                section.refuse(
                    "key_encryption_key_file",
                    "must be set: make a key with `chancery keys create FILE`",
                );
                return Self::File(PathBuf::new());
            }
        };
        if let Err(error) = keys.load() {
            let key =
                if matches!(keys, Self::File(_)) { "key_encryption_key_file" } else { "key_encryption_key" };
            section.refuse(key, &format!("can't be used: {error}"));
        }
        keys
    }

    pub fn load(&self) -> Result<KeyEncryptionKey, KeyFileError> {
        match self {
            Self::File(path) => KeyEncryptionKey::from_file(path),
            Self::Text(text) => KeyEncryptionKey::from_text(text.expose_secret()),
        }
    }
}

#[derive(Debug)]
pub struct MicrosoftConfig {
    pub authority: Url,
    pub graph_base: Url,
    pub sign_in_tenant: String,
    pub client_id: Uuid,
    pub client_secret: SecretString,
    pub scopes: Vec<String>,
    pub teams_app: TeamsApp,
    /// `{tenant}` stands for the tenant's part of the path.
    pub authorize_url: Option<String>,
    pub token_url: Option<String>,
    pub jwks_url: Option<Url>,
    /// `{tenantid}` stands for the tenant that an ID token names.
    pub issuer: Option<String>,
}

impl MicrosoftConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            authority: Self::base(section, "authority", "https://login.microsoftonline.com"),
            graph_base: Self::base(section, "graph_base", "https://graph.microsoft.com/v1.0"),
            sign_in_tenant: section.parsed(
                "sign_in_tenant",
                "\"organizations\", or a tenant's id or domain",
                |text| {
                    // Personal accounts have no Teams that Graph could reach.
                    let tenant = !matches!(text, "common" | "consumers")
                        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
                    tenant.then(|| text.to_owned())
                },
            ),
            client_id: section.id("client_id", "the application id of the app registration in Entra ID"),
            client_secret: Self::client_secret(section),
            scopes: Self::scopes(section),
            teams_app: Self::teams_app(section),
            authorize_url: section.url("authorize_url").and(section.text("authorize_url")),
            token_url: section.url("token_url").and(section.text("token_url")),
            jwks_url: section.url("jwks_url"),
            issuer: section.url("issuer").and(section.text("issuer")),
        }
    }

    fn base(section: &mut Section<'_>, key: &str, default: &str) -> Url {
        if section.text(key).is_none() {
            section.refuse(key, "must be an https:// address, not empty");
        }
        section.url(key).unwrap_or_else(|| Url::parse(default).expect("a constant address"))
    }

    fn client_secret(section: &mut Section<'_>) -> SecretString {
        section.secret("client_secret").unwrap_or_else(|| {
            if section.text("client_secret_file").is_none() {
                section.refuse(
                    "client_secret_file",
                    "must be set: a file with the app registration's client secret",
                );
            }
            SecretString::default()
        })
    }

    fn scopes(section: &mut Section<'_>) -> Vec<String> {
        let scopes = section.list("scopes");
        for (needed, why) in [
            ("openid", "there is no sign-in without it"),
            ("profile", "the person's object id comes with it"),
            ("offline_access", "there is no refresh token without it"),
        ] {
            if !scopes.iter().any(|scope| scope == needed) {
                section.refuse("scopes", &format!("must contain {needed:?}: {why}"));
            }
        }
        if let Some(bad) = scopes.iter().find(|scope| scope.contains(char::is_whitespace) || scope.is_empty())
        {
            section.refuse("scopes", &format!("must be a list with one scope in each string, not {bad:?}"));
        }
        scopes
    }

    fn teams_app(section: &mut Section<'_>) -> TeamsApp {
        let external = section.uuid("teams_app_external_id").map(|id| id.to_string());
        match (external, section.text("teams_app_id")) {
            (Some(external), None) => TeamsApp::ExternalId(external),
            (None, Some(catalog)) => TeamsApp::CatalogId(catalog),
            (Some(external), Some(_)) => {
                section.refuse("teams_app_id", "and teams_app_external_id are both set; keep one of them");
                TeamsApp::ExternalId(external)
            }
            (None, None) => {
                section.required("teams_app_external_id", "the id in the Teams app's manifest");
                TeamsApp::ExternalId(String::new())
            }
        }
    }
}

#[derive(Debug)]
pub struct OutboundConfig {
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

impl OutboundConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let config = Self {
            ca_file: section.file("ca_file"),
            connect_timeout: section.millis("connect_timeout_ms", 100..=MINUTE_MS),
            request_timeout: section.millis("request_timeout_ms", 500..=5 * MINUTE_MS),
        };
        // A request that never left is known not to have happened only if connecting gives up first.
        if config.connect_timeout >= config.request_timeout {
            section.refuse("connect_timeout_ms", "must be less than request_timeout_ms");
        }
        if let Err(error) = config.client(true) {
            section.refuse("ca_file", &format!("can't be used: {error}"));
        }
        config
    }

    /// The client that everything going out to Microsoft shares.
    pub fn client(&self, https_only: bool) -> Result<reqwest::Client, ClientError> {
        http_client(&microsoft::OutboundConfig {
            ca_file: self.ca_file.clone(),
            https_only,
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            user_agent: concat!("chancery/", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }
}

/// People of which tenants may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInTenants {
    /// Those that an admin has admitted.
    Listed,
    Open,
}

#[derive(Debug)]
pub struct SignInConfig {
    pub tenants: SignInTenants,
    pub link_life: Duration,
}

impl SignInConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            tenants: section
                .choice("tenants", &[("listed", SignInTenants::Listed), ("open", SignInTenants::Open)]),
            link_life: Duration::from_mins(section.number("link_life_minutes", 1..=60)),
        }
    }
}

/// A lease is at least so many heartbeats: one may be lost, and one late.
const BEATS_PER_LEASE: u32 = 3;

/// How this hub shares a store with others.
#[derive(Clone, Copy, Debug)]
pub struct HubsConfig {
    pub heartbeat: Duration,
    pub lease: Duration,
}

impl HubsConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let config = Self {
            heartbeat: section.millis("heartbeat_ms", 10..=MINUTE_MS),
            lease: section.millis("lease_ms", 30..=10 * MINUTE_MS),
        };
        if config.lease < config.heartbeat * BEATS_PER_LEASE {
            section.refuse("lease_ms", "must be at least three times heartbeat_ms");
        }
        config
    }
}

#[derive(Debug)]
pub struct TokensConfig {
    pub refresh_margin: Duration,
    pub refresh_timeout: Duration,
    pub keep_alive: Duration,
}

impl TokensConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            // Access tokens live for an hour or so; a margin of that size would refresh without end.
            refresh_margin: Duration::from_secs(section.number("refresh_margin_s", 10..=1800)),
            refresh_timeout: section.millis("refresh_timeout_ms", 500..=5 * MINUTE_MS),
            keep_alive: Duration::from_hours(24 * section.number::<u64>("keep_alive_days", 1..=89)),
        }
    }
}
