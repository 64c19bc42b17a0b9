//! The Bot Connector: the bot's own voice in a conversation, by the app's own token.
//!
//! **Invariant.** A send is sent once per call. It is sent once more only after a 401, which did nothing.

use std::time::Duration;

use reqwest::{Client, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::{
    OutgoingActivity, SendFailure, Services,
    app_token::{AppToken, AppTokens},
    failure::Call,
};
use crate::{
    http::{self, Answer, Transport},
    wire::{encoded, is_id},
};

#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    pub app_id: Uuid,
    pub app_secret: SecretString,
    /// `https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token`, the tenant being `botframework.com` for an app of
    /// many tenants, or the app's own.
    pub token_url: Url,
    /// `https://api.botframework.com/.default`
    pub token_scope: String,
    pub services: Services,
    /// Whether a 503 to a send means that nothing was sent; see [`crate::GraphConfig::trust_503`].
    pub trust_503: bool,
}

/// Where to say something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As the newest activity of the conversation said.
    pub service_url: String,
    pub conversation_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Unique within the conversation; where the connector named it.
    pub activity_id: Option<String>,
}

/// The Bot Connector, for one bot.
pub struct Connector {
    http: Client,
    services: Services,
    trust_503: bool,
    tokens: AppTokens,
}

/// What a success may say (the connector's `ResourceResponse`, whose fields are all optional).
#[derive(Deserialize)]
struct Created {
    id: Option<String>,
}

/// What is asked of the connector.
struct Ask<'a> {
    call: Call,
    method: Method,
    service_url: &'a str,
    /// Beginning with a slash.
    path: String,
    body: Option<Value>,
}

impl Connector {
    pub fn new(config: ConnectorConfig, http: Client) -> Self {
        let (services, trust_503) = (config.services.clone(), config.trust_503);
        Self { services, trust_503, tokens: AppTokens::new(config, http.clone()), http }
    }

    /// Says something once. `timeout` is for all of it: getting a token, where there is none, and a second try after 401.
    pub async fn send(
        &self,
        to: &Address,
        what: &OutgoingActivity,
        timeout: Duration,
    ) -> Result<Sent, SendFailure> {
        let path = format!("/v3/conversations/{}/activities", segment(&to.conversation_id)?);
        let call = Call::Send { trust_503: self.trust_503 };
        let body = Some(what.to_json());
        let ask = Ask { call, method: Method::POST, service_url: &to.service_url, path, body };
        let activity_id = created(&self.ask(&ask, timeout).await?, call)?;
        Ok(Sent { activity_id })
    }

    /// Whether the connector answers for this conversation at all, by a read that changes nothing. That the bot may not
    /// be there (any more) is an answer too.
    pub async fn probe(&self, at: &Address, timeout: Duration) -> Result<(), SendFailure> {
        let path = format!("/v3/conversations/{}/members", segment(&at.conversation_id)?);
        let (call, method) = (Call::Repeatable, Method::GET);
        let ask = Ask { call, method, service_url: &at.service_url, path, body: None };
        match self.ask(&ask, timeout).await {
            Ok(_)
            | Err(
                SendFailure::Blocked { .. }
                | SendFailure::NotInRoster { .. }
                | SendFailure::DisabledByAdmin { .. }
                | SendFailure::ConversationGone { .. },
            ) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(&self, ask: &Ask<'_>, timeout: Duration) -> Result<Answer, SendFailure> {
        let deadline = Instant::now() + timeout;
        let not_allowed = || SendFailure::ServiceNotAllowed { diagnosis: Transport::NotAllowed.into() };
        let url = self.services.base(ask.service_url).ok_or_else(not_allowed)? + &ask.path;
        let token = self.tokens.get(deadline).await?;
        let mut answer = self.once(ask, &url, &token, deadline).await?;
        if answer.status == 401 && self.tokens.give_up(&token) {
            let token = self.tokens.get(deadline).await?;
            answer = self.once(ask, &url, &token, deadline).await?;
        }
        if answer.is_success() { Ok(answer) } else { Err(SendFailure::of_answer(ask.call, &answer)) }
    }

    async fn once(
        &self,
        ask: &Ask<'_>,
        url: &str,
        token: &AppToken,
        deadline: Instant,
    ) -> Result<Answer, SendFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SendFailure::too_late());
        }
        let mut request = self.http.request(ask.method.clone(), url);
        request = request.bearer_auth(token.secret.expose_secret()).timeout(left);
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let failure = |transport| SendFailure::of_transport(ask.call, transport);
        let request = request.build().map_err(|_| failure(Transport::NotAllowed))?;
        http::send(&self.http, request).await.map_err(failure)
    }
}

/// An id as a segment of a path. None of Microsoft's is one that a path would take for a step.
fn segment(id: &str) -> Result<String, SendFailure> {
    if is_id(id) && id != "." && id != ".." {
        return Ok(encoded(id));
    }
    Err(SendFailure::Rejected { diagnosis: Transport::NotAllowed.into() })
}

/// The id of what a success has made, where it names one. What is neither empty nor as the connector answers may be somebody
/// else's on the way: then nobody knows.
fn created(answer: &Answer, call: Call) -> Result<Option<String>, SendFailure> {
    let id = match &answer.body {
        Some(body) if body.is_empty() => None,
        _ => {
            let created: Option<Option<Created>> = answer.json();
            created.ok_or_else(|| SendFailure::of_answer(call, answer))?.and_then(|created| created.id)
        }
    };
    Ok(id.filter(|id| is_id(id)))
}
