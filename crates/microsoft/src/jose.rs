//! Signed tokens: `jsonwebtoken`'s checks, and the keys they are made with.
//!
//! **Invariant.** RS256 is the only algorithm; what a token says about itself can't choose another.

use std::{
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use reqwest::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use crate::{http, rs256};

/// An unknown key makes us look again, but not more often than this.
const REFETCH_INTERVAL: Duration = Duration::from_mins(1);

/// After a failure we look again no sooner than this, so that all who wait learn of it at once.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// A key that the issuer withdrew is trusted no longer than this.
const KEYS_AGE_MAX: Duration = Duration::from_hours(24);

/// How far our clock and the issuer's may differ.
const SKEW: Duration = Duration::from_mins(5);

/// A token of which only the header is read.
pub struct Unverified<'a> {
    token: &'a str,
    /// The key it names.
    pub kid: String,
}

/// The token can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Not three parts, not JSON, or claims missing.
    Malformed,
    /// Signed by anything but RS256, or a header of the wrong shape.
    Algorithm,
    Signature,
    /// Meant for somebody else.
    Audience,
    Expired,
    NotYetValid,
}

/// What every token of ours must say, beside what its user wants to know.
#[derive(Deserialize)]
struct Claims<C> {
    /// One or a list, as RFC 7519 allows both.
    aud: Value,
    /// Seconds, perhaps with a fraction (RFC 7519 section 2, `NumericDate`).
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: C,
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a str) -> Result<Self, TokenProblem> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `jsonwebtoken` reads a header of an algorithm it doesn't know, such as `none`, as data of a wrong shape.
            ErrorKind::Json(error) if error.is_data() => TokenProblem::Algorithm,
            _ => TokenProblem::Malformed,
        })?;
        // Extensions that must be understood; we understand none (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenProblem::Malformed);
        }
        Ok(Self { token, kid: header.kid.ok_or(TokenProblem::Malformed)? })
    }

    /// The other claims, once the signature is good, the audience is this one alone, and the token valid at `now`.
    /// Whether the issuer is the right one is left to the caller: it may depend on the token's own tenant.
    pub fn verify<C>(self, key: &Key, audience: &str, now: Timestamp) -> Result<C, TokenProblem>
    where
        C: DeserializeOwned,
    {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud", "exp"]);
        // `jsonwebtoken` knows no time but the system's, while ours is handed in.
        validation.validate_exp = false;
        let token =
            decode::<Claims<C>>(self.token, &key.decoding, &validation).map_err(|error| {
                match error.kind() {
                    ErrorKind::InvalidAlgorithm => TokenProblem::Algorithm,
                    ErrorKind::InvalidSignature => TokenProblem::Signature,
                    ErrorKind::InvalidAudience => TokenProblem::Audience,
                    _ => TokenProblem::Malformed,
                }
            })?;
        let Claims { aud, exp, nbf, others } = token.claims;
        // We are among the audience, or it would not have come this far; a token for others beside us is refused.
        if aud.as_array().is_some_and(|audience| audience.len() > 1) {
            return Err(TokenProblem::Malformed);
        }
        if now >= at(exp) + SKEW {
            return Err(TokenProblem::Expired);
        }
        if nbf.is_some_and(|nbf| now + SKEW < at(nbf)) {
            return Err(TokenProblem::NotYetValid);
        }
        Ok(others)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what lies beyond all times becomes the first or the last"
)]
fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros((seconds * 1e6) as i64)
}

/// An RSA key of a JWKS document.
#[derive(Clone)]
pub struct Key {
    kid: String,
    decoding: DecodingKey,
    /// Entra says for each key whose tokens it may sign; `{tenantid}` stands for any tenant.
    pub issuer: Option<String>,
    /// The Bot Framework says for each key whose activities it may vouch for: names of channels.
    pub endorsements: Vec<String>,
}

impl Key {
    /// `None` for keys that are of no use to us: another type, or for encryption.
    fn read(key: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct MicrosoftJwk {
            #[serde(flatten)]
            jwk: Jwk,
            issuer: Option<String>,
            endorsements: Option<Vec<String>>,
        }
        let MicrosoftJwk { jwk: Jwk { common, algorithm }, issuer, endorsements } =
            serde_json::from_value(key).ok()?;
        let (None | Some(PublicKeyUse::Signature), AlgorithmParameters::RSA(rsa)) =
            (common.public_key_use, algorithm)
        else {
            return None;
        };
        // Some issuers pad their numbers.
        let [n, e] = [&rsa.n, &rsa.e].map(|number| number.trim_end_matches('='));
        let decoding = DecodingKey::from_rsa_components(n, e).ok()?;
        let endorsements = endorsements.unwrap_or_default();
        Some(Self { kid: common.key_id?, decoding, issuer, endorsements })
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

/// An issuer's keys, fetched when first needed and kept. Whoever asks for a key that is known never waits for a fetch.
pub struct IssuerKeys {
    http: Client,
    discovery: Discovery,
    kept: StdMutex<Option<Arc<Kept>>>,
    /// Held by whoever fetches.
    looked_again: Mutex<Option<LookedAgain>>,
}

struct Kept {
    template: String,
    keys: Vec<Key>,
    fetched: Instant,
}

/// What came of the last fetch, unless it was the first of all and brought keys.
struct LookedAgain {
    when: Instant,
    result: Result<(), IssuerUnavailable>,
}

impl Kept {
    fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

impl IssuerKeys {
    pub fn new(http: Client, discovery: Discovery) -> Self {
        // Here because every `Key` comes from here, and nothing is verified without one.
        rs256::install();
        Self { http, discovery, kept: StdMutex::default(), looked_again: Mutex::default() }
    }

    /// Makes sure that there are keys at all, so that nothing is spent before they can be had.
    pub async fn ready(&self) -> Result<(), IssuerUnavailable> {
        self.look(None).await.map(drop)
    }

    /// The issuer template and the key of this name, if there is one. Looks again for an unknown key, at most once a
    /// minute, and once the keys are a day old.
    pub async fn find(&self, kid: &str) -> Result<(String, Option<Key>), IssuerUnavailable> {
        let kept = self.look(Some(kid)).await?;
        Ok((kept.template.clone(), kept.key(kid).cloned()))
    }

    async fn look(&self, kid: Option<&str>) -> Result<Arc<Kept>, IssuerUnavailable> {
        if let Some(kept) = self.young(kid) {
            return Ok(kept);
        }
        let mut looked_again = self.looked_again.lock().await;
        // Whoever was here before us may have brought it.
        if let Some(kept) = self.young(kid) {
            return Ok(kept);
        }
        match (&*looked_again, self.young(None)) {
            (Some(LookedAgain { when, result: Err(why) }), _) if when.elapsed() < FAILURE_PAUSE => {
                return Err(*why);
            }
            (Some(LookedAgain { when, result: Ok(()) }), Some(kept)) if when.elapsed() < REFETCH_INTERVAL => {
                return Ok(kept);
            }
            _ => {}
        }
        let fetched = self.fetch().await;
        let result = fetched.as_ref().map(drop).map_err(|why| *why);
        let first = self.kept().is_none() && result.is_ok();
        *looked_again = (!first).then(|| LookedAgain { when: Instant::now(), result });
        let fetched = Arc::new(fetched?);
        *self.kept() = Some(fetched.clone());
        Ok(fetched)
    }

    /// The keys, if they are young enough, and the wanted one is among them.
    fn young(&self, kid: Option<&str>) -> Option<Arc<Kept>> {
        let kept = self.kept().clone()?;
        let good = kept.fetched.elapsed() <= KEYS_AGE_MAX && kid.is_none_or(|kid| kept.key(kid).is_some());
        good.then_some(kept)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Kept, IssuerUnavailable> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<Value>,
        }
        let issuer = self.issuer().await?;
        let jwks: Jwks = self.get(issuer.jwks).await.ok_or(IssuerUnavailable::Keys)?;
        let keys: Vec<Key> = jwks.keys.into_iter().filter_map(Key::read).collect();
        tracing::debug!(keys.count = keys.len(), "fetched the issuer's keys");
        Ok(Kept { template: issuer.template, keys, fetched: Instant::now() })
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
