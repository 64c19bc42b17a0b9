//! Signed tokens: parsing, RS256 and the keys they are checked against.
//!
//! By hand and by ring, because `jsonwebtoken` without a bundled backend takes its cryptography from one variable of the
//! whole process: of a client that verifies and a simulator that signs in one process, whichever came first would win.
//!
//! **Invariant.** RS256 is the only algorithm; what a token says about itself can't choose another.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Client;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use crate::http;

/// An unknown key makes us look again, but not more often than this.
const REFETCH_INTERVAL: Duration = Duration::from_mins(1);

/// A key that the issuer withdrew is trusted no longer than this.
const KEYS_AGE_MAX: Duration = Duration::from_hours(24);

/// A token in three parts, not yet checked.
pub struct Unverified<'a> {
    message: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
    /// The key it names.
    pub kid: String,
}

/// The token can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Not three parts, not JSON, or claims missing.
    Malformed,
    /// Signed by anything but RS256.
    Algorithm,
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; we understand none (RFC 7515 section 4.1.11).
    crit: Option<serde_json::Value>,
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a str) -> Result<Self, TokenProblem> {
        let malformed = || TokenProblem::Malformed;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenProblem::Malformed);
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenProblem::Malformed)?;
        if header.alg != "RS256" {
            return Err(TokenProblem::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenProblem::Malformed);
        }
        Ok(Self {
            message,
            payload: decode(payload)?,
            signature: decode(signature)?,
            kid: header.kid.ok_or_else(malformed)?,
        })
    }

    /// The claims, once the signature is good.
    pub fn verify<C: DeserializeOwned>(self, key: &Key) -> Result<C, TokenProblem> {
        RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent }
            .verify(&RSA_PKCS1_2048_8192_SHA256, self.message.as_bytes(), &self.signature)
            .map_err(|_| TokenProblem::Signature)?;
        serde_json::from_slice(&self.payload).map_err(|_| TokenProblem::Malformed)
    }
}

/// An RSA key of a JWKS document.
#[derive(Clone)]
pub struct Key {
    kid: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// Entra says for each key whose tokens it may sign; `{tenantid}` stands for any tenant.
    pub issuer: Option<String>,
}

impl Key {
    /// `None` for keys that are of no use to us: another type, or for encryption.
    fn read(jwk: serde_json::Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            kid: String,
            #[serde(rename = "use")]
            usage: Option<String>,
            n: String,
            e: String,
            issuer: Option<String>,
        }
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if jwk.kty != "RSA" || jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        // Some issuers pad their numbers, or write a leading zero, which ring refuses.
        let number = |text: String| {
            let mut bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
            bytes.drain(..bytes.iter().take_while(|byte| **byte == 0).count());
            Some(bytes)
        };
        Some(Self { kid: jwk.kid, modulus: number(jwk.n)?, exponent: number(jwk.e)?, issuer: jwk.issuer })
    }
}

/// Where the keys are, and what issuer their tokens name.
#[derive(Clone)]
pub struct Issuer {
    pub template: String,
    pub jwks: Url,
}

/// How an issuer is found.
pub enum Discovery {
    /// The configuration says it all.
    Known(Issuer),
    /// By an `OpenID` discovery document; what is given here goes before what stands there.
    Document { url: Url, template: Option<String>, jwks: Option<Url> },
}

/// The issuer's documents can't be had or read just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerUnavailable {
    #[error("the issuer's metadata can't be read")]
    Metadata,
    #[error("the issuer's keys can't be read")]
    Keys,
}

/// An issuer's keys, fetched when first needed and kept.
pub struct IssuerKeys {
    http: Client,
    discovery: Discovery,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    template: String,
    keys: Vec<Key>,
    fetched: Instant,
    /// When we last looked again, whatever came of it.
    refetched: Option<Instant>,
}

impl Kept {
    fn key(&self, kid: &str) -> Option<Key> {
        self.keys.iter().find(|key| key.kid == kid).cloned()
    }
}

impl IssuerKeys {
    pub fn new(http: Client, discovery: Discovery) -> Self {
        Self { http, discovery, kept: Mutex::new(None) }
    }

    /// Makes sure that there are keys at all, so that nothing is spent before they can be had.
    pub async fn ready(&self) -> Result<(), IssuerUnavailable> {
        let mut kept = self.kept.lock().await;
        if kept.is_none() {
            *kept = Some(self.fetch().await?);
        }
        Ok(())
    }

    /// The issuer template and the key of this name, if there is one. Looks again for an unknown key and once the keys
    /// are a day old, in both cases at most once a minute.
    pub async fn find(&self, kid: &str) -> Result<(String, Option<Key>), IssuerUnavailable> {
        let mut guard = self.kept.lock().await;
        let kept = match &mut *guard {
            Some(kept) => kept,
            none => none.insert(self.fetch().await?),
        };
        let old = kept.fetched.elapsed() > KEYS_AGE_MAX;
        let may = kept.refetched.is_none_or(|refetched| refetched.elapsed() >= REFETCH_INTERVAL);
        if (old || kept.key(kid).is_none()) && may {
            kept.refetched = Some(Instant::now());
            let refetched = kept.refetched;
            *kept = Kept { refetched, ..self.fetch().await? };
        } else if old {
            return Err(IssuerUnavailable::Keys);
        }
        Ok((kept.template.clone(), kept.key(kid)))
    }

    async fn fetch(&self) -> Result<Kept, IssuerUnavailable> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<serde_json::Value>,
        }
        let issuer = self.issuer().await?;
        let jwks: Jwks = self.get(issuer.jwks).await.ok_or(IssuerUnavailable::Keys)?;
        let keys: Vec<Key> = jwks.keys.into_iter().filter_map(Key::read).collect();
        tracing::debug!(keys.count = keys.len(), "fetched the issuer's keys");
        Ok(Kept { template: issuer.template, keys, fetched: Instant::now(), refetched: None })
    }

    async fn issuer(&self) -> Result<Issuer, IssuerUnavailable> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: Url,
        }
        match &self.discovery {
            Discovery::Known(issuer) => Ok(issuer.clone()),
            Discovery::Document { url, template, jwks } => {
                let found: Metadata = self.get(url.clone()).await.ok_or(IssuerUnavailable::Metadata)?;
                Ok(Issuer {
                    template: template.clone().unwrap_or(found.issuer),
                    jwks: jwks.clone().unwrap_or(found.jwks_uri),
                })
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Option<T> {
        let request = self.http.get(url).build().ok()?;
        let answer = http::send(&self.http, request).await.ok()?;
        if answer.status == 200 { answer.json() } else { None }
    }
}
