//! Whether an activity comes from the Bot Framework: the checks of Microsoft's "Authentication with the Bot Connector
//! API", section "Connector to Bot".
//!
//! **Invariant.** There is no way to be believed without a token by the one issuer; tests and simulators have an issuer
//! of their own instead. Those of the Bot Framework Emulator are strangers like any other.

use domain::Timestamp;
use reqwest::Client;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::{Activity, CHANNEL};
use crate::jose::{Discovery, IssuerKeys, IssuerUnavailable, TokenProblem, Unverified};

/// Where the public cloud's Bot Framework says which keys it signs with.
pub const METADATA_URL: &str = "https://login.botframework.com/v1/.well-known/openidconfiguration";

/// Whom the public cloud's tokens name.
pub const ISSUER: &str = "https://api.botframework.com";

#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// The bot's, which activities must be meant for.
    pub app_id: Uuid,
    pub metadata_url: Url,
    pub issuer: String,
}

/// The activity is not to be believed, or not now; each case says what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// 401: no bearer token came along.
    #[error("there is no bearer token")]
    Unauthenticated,
    /// 403: the token is bad, or doesn't vouch for this activity.
    #[error("the token is not valid for this activity: {why}")]
    Forbidden { why: InboundProblem },
    /// 503: whether it can be believed can't be found out now.
    #[error(transparent)]
    Unavailable(#[from] IssuerUnavailable),
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboundProblem {
    #[error("it is no signed token, or a claim that is needed is missing or of another type")]
    Malformed,
    #[error("its header does not say that it is signed by RS256, and with which key")]
    Algorithm,
    #[error("its signature is not by the key that it names")]
    Signature,
    /// Also after looking again.
    #[error("its issuer has no such key")]
    UnknownKey,
    #[error("it is by another issuer than the Bot Framework (setting `bot.issuer`)")]
    Issuer,
    #[error("it is meant for another bot than this one (setting `bot.app_id`)")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet; compare the clocks")]
    NotYetValid,
    #[error("the activity is of another channel than `msteams`")]
    Channel,
    #[error("its key may not vouch for the activity's channel")]
    Endorsement,
    #[error("it vouches for another service URL than the activity's, or for none")]
    ServiceUrl,
}

impl From<TokenProblem> for NotTrusted {
    fn from(problem: TokenProblem) -> Self {
        forbidden(match problem {
            TokenProblem::Malformed => InboundProblem::Malformed,
            TokenProblem::Algorithm => InboundProblem::Algorithm,
            TokenProblem::Signature => InboundProblem::Signature,
            TokenProblem::Audience => InboundProblem::Audience,
            TokenProblem::Expired => InboundProblem::Expired,
            TokenProblem::NotYetValid => InboundProblem::NotYetValid,
        })
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    serviceurl: Option<String>,
}

/// What a token that is believed says of the activity that it came with.
#[derive(Debug)]
pub struct Vouched {
    service_url: Option<String>,
    /// The channels that its key may vouch for.
    endorsements: Vec<String>,
}

impl Vouched {
    /// Checks that the activity is the one, as far as the token tells.
    pub fn vouches_for(&self, activity: &Activity) -> Result<(), NotTrusted> {
        if activity.channel_id != CHANNEL {
            return Err(forbidden(InboundProblem::Channel));
        }
        if !self.endorsements.contains(&activity.channel_id) {
            return Err(forbidden(InboundProblem::Endorsement));
        }
        if self.service_url.as_ref() != Some(&activity.service_url) {
            return Err(forbidden(InboundProblem::ServiceUrl));
        }
        Ok(())
    }
}

/// Tells the Bot Framework's activities from anybody else's.
pub struct Inbound {
    audience: String,
    keys: IssuerKeys,
}

impl Inbound {
    /// The keys are fetched when the first activity comes, kept for a day at most, and looked for anew when a token names
    /// an unknown one, at most once a minute.
    pub fn new(config: InboundConfig, http: Client) -> Self {
        let InboundConfig { app_id, metadata_url, issuer } = config;
        let discovery = Discovery::Document { url: metadata_url, template: Some(issuer), jwks: None };
        Self { audience: app_id.to_string(), keys: IssuerKeys::new(http, discovery) }
    }

    /// Checks that whoever sends something is the Bot Framework and means this bot; what it sends is to be compared with
    /// what the token [vouches for](Vouched::vouches_for). `authorization` is the request's header, as it came.
    pub async fn check(&self, authorization: Option<&str>, now: Timestamp) -> Result<Vouched, NotTrusted> {
        let token = authorization.and_then(bearer).ok_or(NotTrusted::Unauthenticated)?;
        let unverified = Unverified::parse(token)?;
        let (issuer, key) = self.keys.find(&unverified.kid).await?;
        let key = key.ok_or(forbidden(InboundProblem::UnknownKey))?;
        let claims: Claims = unverified.verify(&key, &self.audience, now)?;
        if claims.iss != issuer {
            return Err(forbidden(InboundProblem::Issuer));
        }
        Ok(Vouched { service_url: claims.serviceurl, endorsements: key.endorsements.clone() })
    }
}

fn forbidden(why: InboundProblem) -> NotTrusted {
    NotTrusted::Forbidden { why }
}

/// The token of a `Bearer` header; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
