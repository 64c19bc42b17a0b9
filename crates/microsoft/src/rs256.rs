//! What `jsonwebtoken` computes with: ring, for the verification of RS256.
//!
//! The crate takes its cryptography from one variable of the whole process, and its own backends would bring a second
//! provider into the house.
//!
//! **Invariant.** Whatever else is asked of it answers an error.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{self, Verifier},
};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| unsupported(),
    verifier_factory: |algorithm, key| verifier(*algorithm, key),
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| unsupported(),
        rsa_pub_components_from_public_key: |_| unsupported(),
        ec_pub_components_from_private_key: |_, _| unsupported(),
        ed_pub_components_from_private_key: |_, _| unsupported(),
        compute_digest: |_, _| unsupported(),
    },
};

/// Without this, `jsonwebtoken` panics when it verifies.
pub(crate) fn install() {
    // The first to install wins. In this process only we do, so a refusal means that it is done.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Ok(Box::new(Rs256 { modulus: n.clone(), exponent: e.clone() }))
        }
        _ => unsupported(),
    }
}

fn unsupported<T>() -> Result<T> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

struct Rs256 {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        RsaPublicKeyComponents { n: significant(&self.modulus), e: significant(&self.exponent) }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .map_err(|_| signature::Error::new())
    }
}

/// Some issuers write a leading zero, which ring refuses.
fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, Validation, decode, encode};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn neither_signing_nor_another_algorithm_is_supported() {
        install();
        let unsupported = |error: jsonwebtoken::errors::Error| {
            assert!(matches!(error.kind(), ErrorKind::UnsupportedAlgorithm), "{error}");
        };
        unsupported(encode(&Header::default(), &json!({}), &EncodingKey::from_secret(b"key")).unwrap_err());
        // `{"alg":"HS256"}` and `{}`
        let token = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        let key = DecodingKey::from_secret(b"key");
        unsupported(decode::<Value>(token, &key, &Validation::new(Algorithm::HS256)).unwrap_err());
    }
}
