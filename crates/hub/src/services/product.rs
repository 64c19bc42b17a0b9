//! Questions to the product, signed so that it knows whose they are; `docs/PRODUCT.md` describes them for its makers.
//!
//! **Invariant.** An answer is believed only as far as it was asked for: of this shape and size, in this time, from this
//! address and no other.

use std::time::Duration;

use domain::{AccountId, PersonId, Timestamp};
use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use ring::hmac;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;
use zeroize::Zeroizing;

use super::sign_ins::Profile;
use crate::config::{Config, Endpoint};

/// More of an answer than this is not read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("it can't be reached")]
    Unreachable,
    #[error("it does not answer, or not in time")]
    Silent,
    #[error("it answers with status {0}")]
    Status(StatusCode),
    #[error("its answer is too long, broke off, or is not of the shape agreed on")]
    Unreadable,
}

impl Unanswered {
    /// Whether the question surely changed nothing there. What was not answered in time may have been heard.
    pub fn is_surely_unheard(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Status(StatusCode::SERVICE_UNAVAILABLE))
    }
}

/// How the product is asked.
pub struct Product {
    http: Client,
    timeout: Duration,
    account: Option<Asking>,
}

impl Product {
    pub fn new(config: &Config, http: Client) -> Self {
        let asking = |endpoint| Asking::new(http.clone(), endpoint, config.product.timeout);
        let account = config.product.account.as_ref().map(asking);
        Self { account, timeout: config.product.timeout, http }
    }

    pub fn asking(&self, endpoint: &Endpoint) -> Asking {
        Asking::new(self.http.clone(), endpoint, self.timeout)
    }

    /// Whose account this person's is. `None` where the product does not say, or is not to be asked; what it says of an
    /// e-mail that Microsoft does not call verified is not taken.
    pub async fn account_of(
        &self,
        person: PersonId,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<Option<AccountId>, Unanswered> {
        let Some(asking) = &self.account else { return Ok(None) };
        let question = WhoseAccount {
            tenant: person.tenant.to_string(),
            object_id: person.object_id.to_string(),
            email: profile.email.as_deref(),
            email_verified: profile.email_verified,
        };
        let WhoseAnswer { account, found_by } = asking.ask(&question, now).await?;
        Ok(account.filter(|_| match found_by {
            Some(FoundBy::Person) => true,
            Some(FoundBy::Email) => profile.email_verified,
            None => false,
        }))
    }
}

#[derive(Serialize)]
struct WhoseAccount<'a> {
    tenant: String,
    object_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
}

#[derive(Deserialize)]
struct WhoseAnswer {
    account: Option<AccountId>,
    found_by: Option<FoundBy>,
}

/// What the product knew the person by.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FoundBy {
    /// Tenant and object id.
    Person,
    Email,
}

/// One address of the product and its secret.
pub struct Asking {
    http: Client,
    url: Url,
    key: hmac::Key,
    timeout: Duration,
}

impl Asking {
    fn new(http: Client, endpoint: &Endpoint, timeout: Duration) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, endpoint.secret.expose_secret().as_bytes());
        Self { http, url: endpoint.url.clone(), key, timeout }
    }

    /// Asks once.
    pub async fn ask<A: DeserializeOwned>(
        &self,
        question: &impl Serialize,
        now: Timestamp,
    ) -> Result<A, Unanswered> {
        let body = Zeroizing::new(serde_json::to_vec(question).map_err(|_| Unanswered::Unreadable)?);
        let seconds = (now.as_micros() / 1_000_000).to_string();
        let request = self
            .http
            .post(self.url.clone())
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("chancery-timestamp", &seconds)
            .header("chancery-signature", signature(&self.key, &seconds, &body))
            .body(body.to_vec());
        // reqwest's own errors show the address; why it failed in detail helps nobody here.
        let mut response = request.send().await.map_err(|error| {
            // The connector's errors (name, socket, TLS) come before the first byte.
            if error.is_connect() { Unanswered::Unreachable } else { Unanswered::Silent }
        })?;
        if response.status() != StatusCode::OK {
            return Err(Unanswered::Status(response.status()));
        }
        let mut answer = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|_| Unanswered::Unreadable)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Unanswered::Unreadable);
            }
            answer.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&answer).map_err(|_| Unanswered::Unreadable)
    }
}

/// `v1=` and the hexadecimal HMAC-SHA-256 of the time, a dot and the body.
fn signature(key: &hmac::Key, seconds: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(seconds.as_bytes());
    context.update(b".");
    context.update(body);
    format!("v1={}", hex::encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_its_description_says() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(&key, "1700000000", b"{}"),
            "v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }
}
