//! Keyed hashes: how things are named, found and compared without saying what they are.
//!
//! **Invariant.** Each hash begins with what it is for and has the lengths of its parts in it, so no two uses of one
//! key can meet. What [`Custody::name_account`], [`Custody::name_uuid`] and [`Custody::name_of`] give
//! never changes: streams are named by it.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{AccountHash, AccountId, ClientId, KeyedHash, SignInId, TenantId, Timestamp};
use ring::hmac;
use secrecy::SecretString;
use uuid::Uuid;

use crate::custody::Custody;

/// What a secret for an administrator of a tenant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentPurpose {
    /// The secret part of the link to the page.
    Link,
    /// `state` of the request for consent.
    State,
    /// In the form of the page.
    Csrf,
}

impl ConsentPurpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Link => b"link",
            Self::State => b"state",
            Self::Csrf => b"csrf",
        }
    }
}

/// What a secret of a sign-in is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignInPurpose {
    /// The secret half of the link that is handed to the person.
    Link,
    /// `state` of RFC 6749.
    State,
    /// `nonce` of `OpenID` Connect.
    Nonce,
    /// `code_verifier` of RFC 7636.
    Verifier,
    /// In every form of the panel.
    Csrf,
    /// The one-time code that the browser carries back to the product.
    Confirmation,
}

impl SignInPurpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Link => b"link",
            Self::State => b"state",
            Self::Nonce => b"nonce",
            Self::Verifier => b"verifier",
            Self::Csrf => b"csrf",
            Self::Confirmation => b"confirmation",
        }
    }
}

impl Custody {
    /// What an account's stream is named by: 64 hex digits.
    pub fn name_account(&self, account: &AccountId) -> AccountHash {
        AccountHash(hex::encode(mac(&self.0.naming, &[b"account", account.as_str().as_bytes()])).into())
    }

    /// What a stream begun under an idempotency key is named by: a UUID of version 8. `purpose` parts the categories.
    pub fn name_uuid(&self, purpose: &str, client: &ClientId, idempotency_key: &str) -> Uuid {
        let parts = [b"uuid", purpose.as_bytes(), client.as_str().as_bytes(), idempotency_key.as_bytes()];
        as_uuid(&mac(&self.0.naming, &parts))
    }

    /// What a stream begun by something else than a client is named by, likewise: each of the `parts` counts.
    pub fn name_of(&self, purpose: &str, parts: &[&str]) -> Uuid {
        let parts: Vec<_> = [b"uuid of".as_slice(), purpose.as_bytes()]
            .into_iter()
            .chain(parts.iter().map(|part| part.as_bytes()))
            .collect();
        as_uuid(&mac(&self.0.naming, &parts))
    }

    /// What a stream of tries is named by: whose they are (`kind`: `person`, `account`, …), and the stretch of time.
    pub fn name_attempts(&self, kind: &str, whose: &str, stretch: u64) -> Uuid {
        let parts = [b"attempts", kind.as_bytes(), whose.as_bytes(), &stretch.to_be_bytes()];
        as_uuid(&mac(&self.0.naming, &parts))
    }

    /// For finding by something personal (`purpose`: `email`, `upn`, …): `lookup-1:<64 hex digits>`.
    pub fn lookup_hash(&self, purpose: &str, normalised: &str) -> KeyedHash {
        KeyedHash(self.looked_up(&[b"lookup", purpose.as_bytes(), normalised.as_bytes()]))
    }

    /// For telling whether two requests had the same content: `lookup-1:<64 hex digits>`.
    pub fn content_hash(&self, bytes: &[u8]) -> KeyedHash {
        KeyedHash(self.looked_up(&[b"content", bytes]))
    }

    /// A secret of a sign-in that any hub can compute and none stores: 43 characters of `A-Z a-z 0-9 - _`.
    pub fn sign_in_secret(&self, purpose: SignInPurpose, sign_in: SignInId, attempt: u32) -> SecretString {
        let tag = self.signed(purpose.label(), sign_in, attempt);
        BASE64_URL_SAFE_NO_PAD.encode(tag).into()
    }

    /// A secret for an administrator of a tenant, good until `until` for what `bound_to` names: 43 characters of
    /// `A-Z a-z 0-9 - _`.
    pub fn consent_secret(
        &self,
        purpose: ConsentPurpose,
        tenant: TenantId,
        until: Timestamp,
        bound_to: &str,
    ) -> SecretString {
        let until = until.as_micros().to_be_bytes();
        let parts = [b"consent", purpose.label(), tenant.0.as_bytes(), &until, bound_to.as_bytes()];
        BASE64_URL_SAFE_NO_PAD.encode(mac(&self.0.signing, &parts)).into()
    }

    /// The code a person types to the bot: 8 characters of Crockford's base 32 (40 bits), in upper case.
    pub fn typed_code(&self, sign_in: SignInId, attempt: u32) -> SecretString {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let tag = self.signed(b"typed-code", sign_in, attempt);
        let code: String =
            tag.as_ref()[..8].iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        code.into()
    }

    fn signed(&self, label: &[u8], sign_in: SignInId, attempt: u32) -> hmac::Tag {
        mac(&self.0.signing, &[b"sign-in", label, sign_in.0.as_bytes(), &attempt.to_be_bytes()])
    }

    fn looked_up(&self, parts: &[&[u8]]) -> Arc<str> {
        format!("lookup-1:{}", hex::encode(mac(&self.0.lookup, parts))).into()
    }
}

fn as_uuid(tag: &hmac::Tag) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&tag.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// HMAC-SHA-256 over each part behind its length.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{
        keyring::Keyring,
        testing::Home,
        vault::{EntryId, Kind, Version},
    };

    /// Custody whose installation keys are known, so that what comes of them can be written down.
    async fn with_known_keys(home: &Home) -> Custody {
        let vault = home.vault().await;
        let keyring = Keyring::new(Arc::clone(&vault), home.key());
        let version = Version { generation: 1, claim: 0 };
        for (name, byte) in [("naming-1", 1), ("lookup-1", 2), ("signing-1", 3)] {
            let id = EntryId::new(Kind::Installation, name);
            vault.put(&id, version, &keyring.wrap(&id, version, &[byte; 32])).await.unwrap();
        }
        Custody::open(vault, home.key()).await.unwrap()
    }

    #[tokio::test]
    async fn names_never_change() {
        let custody = with_known_keys(&Home::new()).await;
        let client = "okr-backend".parse().unwrap();
        let named = custody.name_account(&"alice@example.com".parse().unwrap());
        assert_eq!(named.to_string(), "3b8f28c74249d13d60a7fd21f59daa41c0c16334e3c2c6bf6966259fef04ff43");
        assert_eq!(
            custody.name_uuid("message", &client, "order-7").to_string(),
            "d25f6a69-d9f2-8d53-96fa-be231fbf9ca9"
        );
        assert_eq!(
            custody.name_of("activity", &["a:1", "f:7"]).to_string(),
            "15422a5c-35e1-8d78-9ade-5c6fbc5f8154"
        );
        let found_by = custody.lookup_hash("email", "alice@example.com");
        assert_eq!(
            found_by.to_string(),
            "lookup-1:7887b591ad3611f2ad6b330eae3d4c5511639e3fbcb40cd3e857a45f8fe77c4a"
        );
    }

    #[tokio::test]
    async fn a_name_depends_on_each_of_its_parts() {
        let custody = with_known_keys(&Home::new()).await;
        let name = |purpose: &str, client: &str, key: &str| {
            custody.name_uuid(purpose, &client.parse().unwrap(), key)
        };
        let name_of_all = name("message", "ab", "c");
        assert_eq!(name_of_all, name("message", "ab", "c"));
        assert_eq!(name_of_all.get_version_num(), 8);
        for other in [name("signin", "ab", "c"), name("message", "a", "bc"), name("message", "ab", "d")] {
            assert_ne!(name_of_all, other);
        }
        let name_of_parts = custody.name_of("activity", &["ab", "c"]);
        for other in [custody.name_of("activity", &["a", "bc"]), custody.name_of("notice", &["ab", "c"])] {
            assert_ne!(name_of_parts, other);
        }
        assert_ne!(custody.lookup_hash("email", "a"), custody.lookup_hash("upn", "a"));
        assert_ne!(custody.content_hash(b"a"), custody.content_hash(b"b"));
    }

    #[tokio::test]
    async fn another_installation_names_the_same_thing_otherwise_and_reopening_the_same() {
        let (here, there) = (Home::new(), Home::new());
        let account = "alice".parse().unwrap();
        let named = here.open().await.name_account(&account);
        assert_eq!(here.open().await.name_account(&account), named);
        assert_ne!(there.open().await.name_account(&account), named);
    }

    #[tokio::test]
    async fn secrets_of_a_sign_in_differ_by_purpose_attempt_and_sign_in() {
        use SignInPurpose::{Confirmation, Csrf, Link, Nonce, State, Verifier};
        let custody = Home::new().open().await;
        let mut seen = HashSet::new();
        for purpose in [Link, State, Nonce, Verifier, Csrf, Confirmation] {
            for attempt in 0..3 {
                for sign_in in [1, 2].map(|number| SignInId(Uuid::from_u128(number))) {
                    let secret = custody.sign_in_secret(purpose, sign_in, attempt);
                    let text = secret.expose_secret().to_owned();
                    assert_eq!(text, custody.sign_in_secret(purpose, sign_in, attempt).expose_secret());
                    // RFC 7636, section 4.1.
                    assert!((43..=128).contains(&text.len()));
                    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
                    assert!(!format!("{secret:?}").contains(&text));
                    assert!(seen.insert(text));
                }
            }
        }
    }

    #[tokio::test]
    async fn a_typed_code_has_eight_characters_that_can_not_be_confused() {
        let custody = Home::new().open().await;
        let codes: HashSet<String> = (0..200)
            .map(|attempt| custody.typed_code(SignInId(Uuid::nil()), attempt).expose_secret().to_owned())
            .collect();
        assert_eq!(codes.len(), 200);
        for code in codes {
            assert_eq!(code.len(), 8);
            assert!(
                code.chars().all(|c| c.is_ascii_digit() || (c.is_ascii_uppercase() && !"ILOU".contains(c)))
            );
        }
    }
}
