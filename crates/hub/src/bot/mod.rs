//! The bot: what people do to it in Teams, and what it says of its own.
//!
//! Teams posts an activity ([`webhook`]), which is kept ([`inbox`]) before it is answered, unless the person's organisation
//! is not let in ([`strangers`]). A processor takes it from there and does what follows from it ([`handle`]). What the bot
//! says goes by [`notices`], in the words of [`catalogue`].
//!
//! **Invariant.** Nothing of an activity is believed before its token is checked. What was typed stands in the vault until
//! it is handled, and nowhere else.

mod cards;
pub mod catalogue;
pub mod commands;
pub mod handle;
mod inbox;
pub mod notices;
pub mod strangers;
pub mod webhook;

use anyhow::Result;
use microsoft::bot::{Connector, ConnectorConfig, Inbound, InboundConfig, Services};
use url::Url;

use crate::config::Config;

/// Both ears and the mouth of the bot.
pub struct Bot {
    pub inbound: Inbound,
    pub connector: Connector,
    /// To whom it speaks.
    pub services: Services,
    strangers: strangers::Strangers,
}

impl Bot {
    /// `None` where no bot is configured.
    pub fn new(config: &Config, http: &reqwest::Client) -> Result<Option<Self>> {
        let Some(bot) = &config.bot else { return Ok(None) };
        let services = Services::new(bot.service_hosts.clone(), config.loopback_http)?;
        let inbound = InboundConfig {
            app_id: bot.app_id,
            metadata_url: bot.metadata_url.clone(),
            issuer: bot.issuer.clone(),
        };
        let connector = ConnectorConfig {
            app_id: bot.app_id,
            app_secret: bot.app_secret.clone(),
            token_url: match &bot.token_url {
                Some(url) => url.clone(),
                None => token_url(&config.microsoft.authority, &bot.tenant)?,
            },
            token_scope: bot.token_scope.clone(),
            services: services.clone(),
            trust_503: true,
        };
        Ok(Some(Self {
            inbound: Inbound::new(inbound, http.clone()),
            connector: Connector::new(connector, http.clone()),
            services,
            strangers: strangers::Strangers::default(),
        }))
    }
}

fn token_url(authority: &Url, tenant: &str) -> Result<Url> {
    let base = authority.as_str().trim_end_matches('/');
    Ok(Url::parse(&format!("{base}/{tenant}/oauth2/v2.0/token"))?)
}
