//! Codes and tokens that were given out, and the rules by which they live and die.
//!
//! **Invariant.** A code is redeemed once. With strict rotation, a refresh token is too, and a second use ends its
//! whole family.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use uuid::Uuid;

use super::denial::Denial;
use crate::dials::Rotation;
use crate::lock;
use crate::people::Person;

const CODE_LIFE_MS: u64 = 10 * 60 * 1000;
/// Counted from a refresh token's issue or last use.
const INACTIVITY_MS: u64 = 90 * 24 * 3600 * 1000;

/// One interactive sign-in, which codes and tokens come from.
pub(crate) struct SignIn {
    /// Names the family of refresh tokens.
    pub(crate) id: Uuid,
    pub(crate) person: Arc<Person>,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) nonce: Option<String>,
    /// The `{tenant}` in the path of the authorize request.
    pub(crate) tenant: String,
    pub(crate) redirect_uri: String,
    /// PKCE, always S256.
    pub(crate) code_challenge: Option<String>,
    pub(crate) signed_in_ms: u64,
    pub(crate) session_epoch: u64,
    pub(crate) mfa_epoch: u64,
}

impl SignIn {
    /// Whether the person and their tenant still let tokens be issued from this sign-in.
    fn check(&self, now_ms: u64, consents: &BTreeSet<String>) -> Result<(), Denial> {
        let state = lock(&self.person.state);
        if state.disabled {
            return Err(Denial::new(50057));
        }
        if state.session_epoch != self.session_epoch {
            return Err(Denial::new(50173));
        }
        if let Some(seconds) = state.sign_in_frequency_seconds
            && now_ms >= self.signed_in_ms + seconds * 1000
        {
            return Err(Denial::new(70043));
        }
        if state.ca_blocked {
            return Err(Denial::new(53003));
        }
        if state.mfa_required && state.mfa_epoch != self.mfa_epoch {
            return Err(Denial::new(50076));
        }
        if !self.scopes.is_subset(consents) {
            return Err(Denial::new(65001));
        }
        Ok(())
    }
}

pub(crate) struct AccessToken {
    pub(crate) person: Arc<Person>,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) expires_ms: u64,
}

struct Code {
    sign_in: Arc<SignIn>,
    issued_ms: u64,
    redeemed: bool,
}

struct RefreshToken {
    sign_in: Arc<SignIn>,
    last_used_ms: u64,
    replaced: bool,
}

/// A secret that the simulator gave out, or was told. It cannot be printed.
#[derive(Clone, Serialize)]
pub struct IssuedSecret {
    /// `code`, `access_token`, `refresh_token`, `id_token`, `client_secret`, `app_token`, `bot_secret`, `activity_token` or
    /// `code_verifier`.
    pub kind: &'static str,
    pub oid: Option<Uuid>,
    pub value: String,
}

#[derive(Default)]
pub(crate) struct Grants {
    codes: Mutex<HashMap<String, Code>>,
    refresh: Mutex<RefreshTokens>,
    access: RwLock<HashMap<String, Arc<AccessToken>>>,
    issued: Mutex<Vec<IssuedSecret>>,
}

#[derive(Default)]
struct RefreshTokens {
    tokens: HashMap<String, RefreshToken>,
    /// Sign-ins whose refresh tokens are all revoked.
    dead: HashSet<Uuid>,
}

impl Grants {
    pub(crate) fn add_code(&self, code: String, sign_in: SignIn, now_ms: u64) {
        self.record("code", &sign_in.person, &code);
        let code_of = Code { sign_in: Arc::new(sign_in), issued_ms: now_ms, redeemed: false };
        lock(&self.codes).insert(code, code_of);
    }

    /// Whose code or refresh token this is, without using it.
    pub(crate) fn owner(&self, secret: &str) -> Option<Uuid> {
        let of_code = lock(&self.codes).get(secret).map(|code| code.sign_in.person.oid);
        of_code.or_else(|| lock(&self.refresh).tokens.get(secret).map(|token| token.sign_in.person.oid))
    }

    /// Uses a code, if `fits` says that the request matches the sign-in.
    pub(crate) fn redeem(
        &self,
        code: &str,
        now_ms: u64,
        fits: impl FnOnce(&SignIn) -> Result<(), Denial>,
        consents: impl FnOnce(&Person) -> BTreeSet<String>,
    ) -> Result<Arc<SignIn>, Denial> {
        let mut codes = lock(&self.codes);
        let code = codes.get_mut(code).ok_or_else(|| Denial::new(70000))?;
        if code.redeemed {
            return Err(Denial::new(54005));
        }
        if now_ms >= code.issued_ms + CODE_LIFE_MS {
            return Err(Denial::new(70008));
        }
        fits(&code.sign_in)?;
        code.sign_in.check(now_ms, &consents(&code.sign_in.person))?;
        code.redeemed = true;
        Ok(code.sign_in.clone())
    }

    pub(crate) fn add_refresh_token(&self, token: String, sign_in: &Arc<SignIn>, now_ms: u64) {
        self.record("refresh_token", &sign_in.person, &token);
        let token_of = RefreshToken { sign_in: sign_in.clone(), last_used_ms: now_ms, replaced: false };
        lock(&self.refresh).tokens.insert(token, token_of);
    }

    /// Uses a refresh token.
    pub(crate) fn refresh(
        &self,
        token: &str,
        rotation: Rotation,
        now_ms: u64,
        fits: impl FnOnce(&SignIn) -> Result<(), Denial>,
        consents: impl FnOnce(&Person) -> BTreeSet<String>,
    ) -> Result<Arc<SignIn>, Denial> {
        let mut refresh = lock(&self.refresh);
        let RefreshTokens { tokens, dead } = &mut *refresh;
        let token = tokens.get_mut(token).ok_or_else(|| Denial::new(70000))?;
        if dead.contains(&token.sign_in.id) {
            return Err(Denial::new(70000));
        }
        if rotation == Rotation::Strict && token.replaced {
            dead.insert(token.sign_in.id);
            return Err(Denial::new(70000));
        }
        if now_ms >= token.last_used_ms + INACTIVITY_MS {
            return Err(Denial::new(700_082));
        }
        fits(&token.sign_in)?;
        token.sign_in.check(now_ms, &consents(&token.sign_in.person))?;
        token.last_used_ms = now_ms;
        token.replaced = true;
        Ok(token.sign_in.clone())
    }

    pub(crate) fn add_access_token(&self, value: String, token: AccessToken) {
        self.record("access_token", &token.person, &value);
        self.access.write().unwrap_or_else(PoisonError::into_inner).insert(value, Arc::new(token));
    }

    /// The access token, expired or not.
    pub(crate) fn access_token(&self, value: &str) -> Option<Arc<AccessToken>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner).get(value).cloned()
    }

    /// Remembers a secret for [`crate::Simulator::secrets`].
    pub(crate) fn record(&self, kind: &'static str, person: &Person, value: &str) {
        self.record_for(kind, Some(person.oid), value);
    }

    /// The same for a secret that belongs to no person.
    pub(crate) fn record_ours(&self, kind: &'static str, value: &str) {
        self.record_for(kind, None, value);
    }

    fn record_for(&self, kind: &'static str, oid: Option<Uuid>, value: &str) {
        lock(&self.issued).push(IssuedSecret { kind, oid, value: value.to_owned() });
    }

    pub(crate) fn issued(&self) -> Vec<IssuedSecret> {
        lock(&self.issued).clone()
    }

    /// Forgets what is valid, not what was issued.
    pub(crate) fn clear(&self) {
        lock(&self.codes).clear();
        *lock(&self.refresh) = RefreshTokens::default();
        self.access.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
