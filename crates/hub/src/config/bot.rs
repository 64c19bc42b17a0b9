//! The section of the bot: who it is, whose word it believes, and to which hosts it speaks.

use microsoft::bot::{ISSUER, METADATA_URL, SERVICE_HOSTS, is_host};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::Section;

#[derive(Debug)]
pub struct BotConfig {
    pub app_id: Uuid,
    pub app_secret: SecretString,
    /// Where the bot's own registration is.
    pub tenant: String,
    pub token_url: Option<Url>,
    pub token_scope: String,
    pub metadata_url: Url,
    pub issuer: String,
    /// Bare names, each with a port where that is not 443. `dev` also answers to this machine.
    pub service_hosts: Vec<String>,
}

impl BotConfig {
    /// `None` without an application id: then there is no bot.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let app_id = section.uuid("app_id");
        let given = section.text("app_id").is_some();
        let secret = section.secret("app_secret");
        match (given, &secret) {
            (true, None) if section.text("app_secret_file").is_none() => {
                section.refuse(
                    "app_secret_file",
                    "must be set: a file with the secret of the bot's registration",
                );
            }
            (false, Some(_)) => section.refuse("app_secret", "is set, but there is no app_id"),
            _ => {}
        }
        let config = Self {
            app_id: app_id.unwrap_or_default(),
            app_secret: secret.unwrap_or_default(),
            tenant: section.parsed("tenant", "a tenant's id or domain", |text| {
                let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
                good.then(|| text.to_owned())
            }),
            token_url: section.url("token_url"),
            token_scope: section.parsed("token_scope", "one scope", |text| {
                (!text.contains(char::is_whitespace)).then(|| text.to_owned())
            }),
            metadata_url: Self::https(section, "metadata_url", METADATA_URL),
            issuer: Self::https(section, "issuer", ISSUER).as_str().trim_end_matches('/').to_owned(),
            service_hosts: Self::hosts(section),
        };
        given.then_some(config)
    }

    fn https(section: &mut Section<'_>, key: &str, default: &str) -> Url {
        if section.text(key).is_none() {
            section.refuse(key, "must be an https:// address, not empty");
        }
        section.url(key).unwrap_or_else(|| Url::parse(default).expect("a constant address"))
    }

    fn hosts(section: &mut Section<'_>) -> Vec<String> {
        let hosts = section.list("service_hosts");
        if hosts.is_empty() {
            section.refuse("service_hosts", "must name a host: the bot could answer nobody");
        }
        if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
            let problem = format!(
                "must be names of hosts such as \"smba.trafficmanager.net\", with a port where that is not 443, not {bad:?}"
            );
            section.refuse("service_hosts", &problem);
        }
        hosts
    }

    /// What an operator should know of at a glance: whom else than Microsoft's public cloud the bot believes and answers.
    pub fn unusual(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.metadata_url.as_str() != METADATA_URL {
            parts.push(format!("metadata_url is {}", self.metadata_url));
        }
        if self.issuer != ISSUER {
            parts.push(format!("issuer is {}", self.issuer));
        }
        let others = self.service_hosts.iter().filter(|host| !SERVICE_HOSTS.contains(&host.as_str()));
        parts.extend(others.map(|host| format!("service_hosts has {host}")));
        (!parts.is_empty()).then(|| format!("[bot] is not as Microsoft has it: {}", parts.join("; ")))
    }
}
