//! The keys ID tokens are signed with; public test keys, see `src/keys/README.md`.
//!
//! **Invariant.** A key signs only for the issuers that the JWKS names for it, unless a flaw orders otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::Flaw;
use crate::people::CONSUMERS;
use crate::signing::Key;

pub(crate) struct Keys {
    /// These sign in turn, for any tenant of work or school accounts.
    rolling: [Key; 2],
    consumers: Key,
    rogue: Key,
    rolls: AtomicUsize,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            rolling: [
                Key::new("Kx9mTq1sVb0-rolling-one", include_bytes!("../keys/signing-1.p8.der")),
                Key::new("Zw4nLp7dRc2-rolling-two", include_bytes!("../keys/signing-2.p8.der")),
            ],
            consumers: Key::new("Hg2kQe8yMj5-consumers", include_bytes!("../keys/consumers.p8.der")),
            rogue: Key::new("Rg0uEk3yXx9-rogue", include_bytes!("../keys/rogue.p8.der")),
            rolls: AtomicUsize::new(0),
        }
    }

    pub(crate) fn roll(&self) {
        self.rolls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self) {
        self.rolls.store(0, Ordering::Relaxed);
    }

    /// The published keys, each with the issuer it may sign for.
    pub(crate) fn jwks(&self, base: &str, keep_old: bool) -> Value {
        let rolls = self.rolls.load(Ordering::Relaxed);
        let template = format!("{base}/{{tenantid}}/v2.0");
        let mut keys = vec![for_issuer(&self.rolling[rolls % 2], &template)];
        if keep_old && rolls > 0 {
            keys.push(for_issuer(&self.rolling[(rolls + 1) % 2], &template));
        }
        keys.push(for_issuer(&self.consumers, &format!("{base}/{CONSUMERS}/v2.0")));
        json!({ "keys": keys })
    }

    /// A signed token with these claims, from the tenant `tid`.
    pub(crate) fn sign(&self, tid: Uuid, claims: &Value, flaw: Option<Flaw>) -> String {
        let rolling = &self.rolling[self.rolls.load(Ordering::Relaxed) % 2];
        let (work, personal) =
            if tid == CONSUMERS { (&self.consumers, rolling) } else { (rolling, &self.consumers) };
        match flaw {
            Some(Flaw::WrongKey) => self.rogue.sign(work.kid, claims),
            Some(Flaw::UnknownKey) => self.rogue.sign(self.rogue.kid, claims),
            Some(Flaw::ForeignKey) => personal.sign(personal.kid, claims),
            _ => work.sign(work.kid, claims),
        }
    }
}

/// A published key that may sign for this issuer only.
fn for_issuer(key: &Key, issuer: &str) -> Value {
    let mut jwk = key.jwk();
    jwk["issuer"] = issuer.into();
    jwk
}
