//! The app's own token, by client credentials: kept, renewed ahead of its end, and asked for by one at a time.
//!
//! **Invariant.** There is at most one call for a token at any time; after a failure, and after a token that the
//! connector refused at once, there is a pause before the next.

use std::{
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::Duration,
};

use oauth2::{
    AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, Scope, TokenResponse, TokenUrl,
    basic::BasicClient,
};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{ConnectorConfig, SendFailure};
use crate::{
    TokenFailure,
    entra::token::{Exchange, LIFETIME_MIN, failure},
};

/// How long before its end a token is renewed, where it lives at least twice as long.
const RENEW_AHEAD: Duration = Duration::from_mins(5);

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// A connector that refuses good tokens must not make us ask for one with every message.
const REFUSAL_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct AppTokens {
    http: Client,
    client: BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>,
    scope: Scope,
    kept: StdMutex<Kept>,
    /// Held by whoever asks for a token.
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Kept {
    token: Option<Arc<AppToken>>,
    /// When a token was last given up because it had been refused.
    refused: Option<Instant>,
}

pub(super) struct AppToken {
    pub(super) secret: SecretString,
    renew_at: Instant,
    ends_at: Instant,
}

#[derive(Default)]
struct Attempts {
    failed: Option<Failed>,
}

struct Failed {
    why: TokenFailure,
    times: u32,
    until: Instant,
}

impl AppTokens {
    pub(super) fn new(config: ConnectorConfig, http: Client) -> Self {
        let client = BasicClient::new(ClientId::new(config.app_id.to_string()))
            .set_client_secret(ClientSecret::new(config.app_secret.expose_secret().to_owned()))
            // In the body, as Microsoft documents it.
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(config.token_url));
        let scope = Scope::new(config.token_scope);
        Self { http, client, scope, kept: StdMutex::default(), attempts: Mutex::default() }
    }

    /// A token that is still good, asked for if need be, until `deadline` at most.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Arc<AppToken>, SendFailure> {
        let now = Instant::now();
        let usable = self.kept().token.clone().filter(|token| now < token.ends_at);
        let (mut attempts, deadline) = match &usable {
            Some(token) if now < token.renew_at => return Ok(token.clone()),
            // One renews it, the others go on with what there is; and so does the one, in time, if it can't be renewed.
            Some(token) => match self.attempts.try_lock() {
                Ok(attempts) => (attempts, now + (deadline - now) / 2),
                Err(_) => return Ok(token.clone()),
            },
            None => {
                let attempts = timeout_at(deadline, self.attempts.lock()).await;
                (attempts.map_err(|_| SendFailure::too_late())?, deadline)
            }
        };
        // Whoever was here before us may have brought one.
        let brought = self.kept().token.clone().filter(|token| Instant::now() < token.renew_at);
        match brought {
            Some(token) => Ok(token),
            None => self.renew(&mut attempts, deadline).await.or_else(|failure| usable.ok_or(failure)),
        }
    }

    /// Gives a token up that the connector refused. `false` if that was done a moment ago, so that there is no point in
    /// asking for another.
    pub(super) fn give_up(&self, refused: &Arc<AppToken>) -> bool {
        let mut kept = self.kept();
        if !kept.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            return true;
        }
        if kept.refused.is_some_and(|last| last.elapsed() < REFUSAL_PAUSE) {
            return false;
        }
        *kept = Kept { token: None, refused: Some(Instant::now()) };
        true
    }

    async fn renew(&self, attempts: &mut Attempts, deadline: Instant) -> Result<Arc<AppToken>, SendFailure> {
        let now = Instant::now();
        if let Some(failed) = &attempts.failed
            && now < failed.until
        {
            return Err(SendFailure::of_token(&failed.why, failed.until - now));
        }
        // Who comes too late must not make others wait for a pause.
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(SendFailure::too_late());
        }
        match self.ask(left).await {
            Ok(token) => {
                attempts.failed = None;
                let token = Arc::new(token);
                self.kept().token = Some(token.clone());
                Ok(token)
            }
            Err(why) => {
                let times = attempts.failed.as_ref().map_or(0, |failed| failed.times);
                let backoff = (BACKOFF_FIRST * 2u32.saturating_pow(times)).min(BACKOFF_MAX);
                let pause = match &why {
                    TokenFailure::Throttled { retry_after: Some(asked), .. } => backoff.max(*asked),
                    _ => backoff,
                };
                tracing::warn!(error = %why, pause_s = pause.as_secs(), "the bot's own token can't be had");
                let failure = SendFailure::of_token(&why, pause);
                attempts.failed =
                    Some(Failed { why, times: times.saturating_add(1), until: Instant::now() + pause });
                Err(failure)
            }
        }
    }

    async fn ask(&self, timeout: Duration) -> Result<AppToken, TokenFailure> {
        let exchange = Exchange { http: &self.http, timeout: Some(timeout) };
        let response = self
            .client
            .exchange_client_credentials()
            .add_scope(self.scope.clone())
            .request_async(&exchange)
            .await
            .map_err(failure)?;
        let (now, lifetime) = (Instant::now(), response.expires_in().unwrap_or(LIFETIME_MIN));
        Ok(AppToken {
            secret: response.access_token().secret().as_str().into(),
            renew_at: now + lifetime.saturating_sub(RENEW_AHEAD).max(lifetime / 2),
            ends_at: now + lifetime,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
