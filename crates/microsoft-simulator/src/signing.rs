//! RSA keys, which sign JSON Web Tokens; public test keys, see `src/keys/README.md`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pair: KeyPair,
}

impl Key {
    pub(crate) fn new(kid: &'static str, pkcs8: &[u8]) -> Self {
        Self { kid, pair: KeyPair::from_pkcs8(pkcs8).expect("the checked-in key is PKCS#8") }
    }

    /// The public half, as a JWKS lists it.
    pub(crate) fn jwk(&self) -> Value {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.n),
            "e": URL_SAFE_NO_PAD.encode(public.e),
        })
    }

    /// A token with these claims; `kid` is what its header says, be it true or not.
    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        let input = input(&json!({ "typ": "JWT", "alg": "RS256", "kid": kid }), claims);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .expect("the buffer is as long as the modulus");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token that claims to need no signature.
pub(crate) fn unsigned(claims: &Value) -> String {
    input(&json!({ "typ": "JWT", "alg": "none" }), claims) + "."
}

fn input(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}
