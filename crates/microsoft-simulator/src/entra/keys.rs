//! The keys ID tokens are signed with; public test keys, see `src/keys/README.md`.
//!
//! **Invariant.** A key signs only for the issuers that the JWKS names for it, unless a flaw orders otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Flaw;
use crate::people::CONSUMERS;

pub(crate) struct Keys {
    /// These sign in turn, for any tenant of work or school accounts.
    rolling: [Key; 2],
    consumers: Key,
    rogue: Key,
    rolls: AtomicUsize,
}

struct Key {
    kid: &'static str,
    pair: KeyPair,
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
        let mut keys = vec![self.rolling[rolls % 2].jwk(&template)];
        if keep_old && rolls > 0 {
            keys.push(self.rolling[(rolls + 1) % 2].jwk(&template));
        }
        keys.push(self.consumers.jwk(&format!("{base}/{CONSUMERS}/v2.0")));
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

impl Key {
    fn new(kid: &'static str, pkcs8: &[u8]) -> Self {
        Self { kid, pair: KeyPair::from_pkcs8(pkcs8).expect("the checked-in key is PKCS#8") }
    }

    fn jwk(&self, issuer: &str) -> Value {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.n),
            "e": URL_SAFE_NO_PAD.encode(public.e),
            "issuer": issuer,
        })
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": kid });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let input = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .expect("the buffer is as long as the modulus");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
