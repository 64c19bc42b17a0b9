//! Who calls: API keys, and the gate that every request passes.
//!
//! **Invariant.** A key is known by its SHA-256 only; the key itself is in the hands of its client and nowhere else.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{ClientId, TenantId, client::Role};
use ring::{
    digest::{SHA256, digest},
    rand::SecureRandom,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Front,
    access::{self, Access, role_name},
    address,
    problem::{ApiError, Kind},
};
use crate::bot::webhook;

/// When to come back to a hub that is cut off from its store.
const CUT_OFF_RETRY: Duration = Duration::from_secs(5);

/// Who makes a request, and what it may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub client: ClientId,
    pub role: Role,
    /// `None`: all tenants.
    pub tenants: Option<Vec<TenantId>>,
}

impl Caller {
    pub fn may_see(&self, tenant: TenantId) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(&tenant))
    }
}

/// Where keys are looked up, at every request: from memory.
pub trait KeyDirectory: Send + Sync {
    /// `key_hash` as [`ApiKey::hash`] makes it. `None` when there is no such key, or no longer.
    fn find(&self, key_hash: &str) -> Option<Caller>;

    /// False while a key may have been revoked elsewhere for longer than another hub would be given to notice.
    fn is_current(&self) -> bool {
        true
    }
}

/// `chk_` and 32 random bytes in base64url.
#[derive(Clone, Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// # Panics
    /// When the system has no randomness to give.
    pub fn generate(random: &dyn SecureRandom) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes).expect("the system gives random bytes");
        Self(format!("chk_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// `None` when the text does not look like a key.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix("chk_")?;
        let good =
            body.len() == 43 && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        good.then(|| Self(text.into()))
    }

    /// SHA-256, in hex. The key is random, so no salt is needed.
    pub fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.0.expose_secret().as_bytes()))
    }

    /// The key itself, to be shown once, to its client.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Lets a request through to its handler if the table says so, and counts it against its limit.
pub(super) async fn gate(
    State(front): State<Arc<Front>>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = caller(&front, request.headers());
    let to_the_bot = route.as_ref().is_some_and(|route| route.as_str() == webhook::PATH);
    match &caller {
        Ok(caller) => front.limits.client(&caller.client)?,
        Err(_) if to_the_bot => front.limits.bot(address::of(&request, &front.trusted_proxies))?,
        Err(_) => front.limits.address(address::of(&request, &front.trusted_proxies))?,
    }
    // Without a route the fallback answers, which has nothing to protect.
    let Some(route) = route else { return Ok(next.run(request).await) };
    match access::of(request.method(), route.as_str()) {
        Ok(Access::Public) => {}
        Ok(Access::Roles(roles)) => {
            let caller = caller?;
            if !roles.contains(&caller.role) {
                return Err(forbidden(caller.role, roles));
            }
            if !front.keys.is_current() && !access::OF_THE_HUB_ITSELF.contains(&route.as_str()) {
                let detail =
                    "This hub does not reach its store, and can't tell whether the key is still good.";
                return Err(ApiError::new(Kind::Unavailable, detail).retry_after(CUT_OFF_RETRY));
            }
            request.extensions_mut().insert(caller);
        }
        Err(methods) if methods.is_empty() => {
            tracing::error!(route = route.as_str(), "no rule in the access table");
            return Err(ApiError::new(Kind::Forbidden, "Nobody may use this route."));
        }
        Err(methods) => {
            let methods: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
            let allow = methods.join(", ");
            return Err(ApiError::new(Kind::MethodNotAllowed, format!("Allowed here: {allow}.")).allow(allow));
        }
    }
    Ok(next.run(request).await)
}

fn caller(front: &Front, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let refuse = |detail| ApiError::new(Kind::Unauthenticated, detail);
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| refuse("Send `Authorization: Bearer chk_…`."))?;
    let (scheme, key) = header.split_once(' ').unwrap_or_default();
    let key = ApiKey::parse(key.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
    let key = key.ok_or_else(|| {
        refuse("That is not an API key; they look like `Bearer chk_…`, with 43 characters.")
    })?;
    front.keys.find(&key.hash()).ok_or_else(|| refuse("This API key is not known, or no longer."))
}

fn forbidden(role: Role, needed: &[Role]) -> ApiError {
    let needed: Vec<_> = needed.iter().map(|role| role_name(*role)).collect();
    let detail = format!("This needs the role {}; this key has {}.", needed.join(" or "), role_name(role));
    ApiError::new(Kind::Forbidden, detail).with("needed_roles", needed)
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a handler of a public route asks for its caller"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_and_does_not_show() {
        let key = ApiKey::generate(&ring::rand::SystemRandom::new());
        let same = ApiKey::parse(key.expose()).unwrap();
        assert_eq!(key.hash(), same.hash());
        assert_eq!(key.hash().len(), 64);
        assert!(!format!("{key:?}").contains("chk_"));
    }

    #[test]
    fn what_does_not_look_like_a_key_is_none() {
        for bad in
            ["", "chk_", "chk_short", &format!("chk_{}", "ä".repeat(43)), &format!("key_{}", "a".repeat(43))]
        {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
    }
}
