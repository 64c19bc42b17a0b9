//! Personal data in events: sealed under a key of the person, so that destroying the key erases the data.
//!
//! **Invariant.** What was sealed in one place opens in no other: purpose, stream, field and generation are covered by
//! the tag. Message content needs two keys, the person's and the month's, and ends with whichever is destroyed first.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{Sealed, SignInId};
use secrecy::ExposeSecret;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    cipher::{self, Key, fields},
    custody::{Custody, CustodyError},
    key_name::{KeyName, NotAKeyName, month_key, person, sign_in_key},
};

/// AES-256-GCM, as RFC 7518 section 5.3 names it.
const ALGORITHM: &str = "A256GCM";

/// Where a sealed value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub purpose: &'a str,
    pub stream: &'a str,
    pub field: &'a str,
    pub generation: u64,
}

impl Custody {
    /// Draws the key of a person, unless it exists. A destroyed one does not come back.
    pub async fn create_person_key(&self, key: Uuid) -> Result<(), CustodyError> {
        self.0.keyring.key_or_new(&person(key)).await.map(drop)
    }

    /// Erases everything sealed under the person's key, message content included.
    pub async fn destroy_person_key(&self, key: Uuid) -> Result<(), CustodyError> {
        self.0.keyring.destroy(&person(key)).await
    }

    /// Draws the key of a sign-in, unless it exists.
    pub async fn create_sign_in_key(&self, sign_in: SignInId) -> Result<(), CustodyError> {
        self.0.keyring.key_or_new(&sign_in_key(sign_in)).await.map(drop)
    }

    pub async fn destroy_sign_in_key(&self, sign_in: SignInId) -> Result<(), CustodyError> {
        self.0.keyring.destroy(&sign_in_key(sign_in)).await
    }

    /// Erases all message content of a month (`2026-11`), of everyone: what retention does.
    ///
    /// # Panics
    /// When `month` is not written so.
    pub async fn destroy_month_key(&self, month: &str) -> Result<(), CustodyError> {
        self.0.keyring.destroy(&month_key(month)).await
    }

    /// Seals a value for one place. The keys of persons and sign-ins must exist; those of months come by themselves.
    ///
    /// # Panics
    /// When the month of a content key is not written as `2026-11`.
    pub async fn seal(
        &self,
        key: &KeyName,
        place: &Place<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, CustodyError> {
        let keyring = &self.0.keyring;
        let (nonce, ciphertext) = match key {
            KeyName::Person(id) => {
                cipher::encrypt(&*keyring.key(&person(*id)).await?, &place.associated(), plaintext)
            }
            KeyName::SignIn(id) => {
                cipher::encrypt(&*keyring.key(&sign_in_key(*id)).await?, &place.associated(), plaintext)
            }
            KeyName::Content { person_key, month } => {
                let person = keyring.key(&person(*person_key)).await?;
                let month = keyring.key_or_new(&month_key(month)).await?;
                cipher::encrypt(&content_key(&person, &month), &place.associated(), plaintext)
            }
        };
        Ok(Sealed {
            key: key.to_string(),
            algorithm: ALGORITHM.into(),
            nonce: BASE64_URL_SAFE_NO_PAD.encode(nonce),
            ciphertext: BASE64_URL_SAFE_NO_PAD.encode(ciphertext),
        })
    }

    /// Opens a value in its place.
    pub async fn unseal(
        &self,
        place: &Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let decode = |text| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| UnsealError::Damaged);
        let key: KeyName = sealed.key.parse().map_err(|NotAKeyName| UnsealError::Damaged)?;
        if sealed.algorithm != ALGORITHM {
            return Err(UnsealError::Damaged);
        }
        let nonce = decode(&sealed.nonce)?.try_into().map_err(|_| UnsealError::Damaged)?;
        let ciphertext = decode(&sealed.ciphertext)?;

        let keyring = &self.0.keyring;
        let open = |key: &Key| {
            cipher::decrypt(key, nonce, &place.associated(), &ciphertext).ok_or(UnsealError::Damaged)
        };
        match key {
            KeyName::Person(id) => open(&*keyring.key(&person(id)).await?),
            KeyName::SignIn(id) => open(&*keyring.key(&sign_in_key(id)).await?),
            KeyName::Content { person_key, month } => {
                let person = keyring.key(&person(person_key)).await?;
                let month = keyring.key(&month_key(&month)).await?;
                open(&content_key(&person, &month))
            }
        }
    }
}

/// Why a sealed value did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// The key was destroyed: the data is erased, which is an answer and no failure.
    #[error("the data was erased")]
    Destroyed,
    /// Sealed for another place, or changed since, or by an algorithm that is not known.
    #[error("the sealed value, or its key, is damaged or stands where it was not sealed for")]
    Damaged,
    /// The key could not be had; the data may well be sound.
    #[error(transparent)]
    Vault(CustodyError),
}

impl From<CustodyError> for UnsealError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Destroyed { .. } => Self::Destroyed,
            CustodyError::Damaged { .. } => Self::Damaged,
            other => Self::Vault(other),
        }
    }
}

impl Place<'_> {
    fn associated(&self) -> Vec<u8> {
        fields(&[
            b"chancery sealed 1",
            self.purpose.as_bytes(),
            self.stream.as_bytes(),
            self.field.as_bytes(),
            &self.generation.to_be_bytes(),
        ])
    }
}

fn content_key(person: &Key, month: &Key) -> Key {
    cipher::derive(person, month.expose_secret(), b"chancery content 1")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        testing::Home,
        vault::{Vault, VaultError, Version},
    };

    const ALICE: Uuid = Uuid::from_u128(0xa11ce);
    const BOB: Uuid = Uuid::from_u128(0xb0b);
    const PLACE: Place<'_> =
        Place { purpose: "profile", stream: "connection-1", field: "email", generation: 3 };

    fn content(person_key: Uuid, month: &str) -> KeyName {
        KeyName::Content { person_key, month: month.to_owned() }
    }

    async fn seal(custody: &Custody, key: &KeyName) -> Sealed {
        custody.seal(key, &PLACE, b"alice@example.com").await.unwrap()
    }

    #[tokio::test]
    async fn what_was_sealed_opens_in_its_place_also_after_reopening() {
        let home = Home::new();
        let custody = home.open().await;
        let sign_in = SignInId(Uuid::from_u128(7));
        custody.create_person_key(ALICE).await.unwrap();
        custody.create_sign_in_key(sign_in).await.unwrap();
        for key in [KeyName::Person(ALICE), content(ALICE, "2026-11"), KeyName::SignIn(sign_in)] {
            let sealed = seal(&custody, &key).await;
            assert_eq!(sealed.key.parse(), Ok(key));
            assert!(!format!("{sealed:?}").contains("alice"));
            for custody in [&custody, &home.open().await] {
                assert_eq!(custody.unseal(&PLACE, &sealed).await.unwrap().as_slice(), b"alice@example.com");
            }
        }
    }

    #[tokio::test]
    async fn what_was_sealed_opens_in_no_other_place() {
        let custody = Home::new().open().await;
        custody.create_person_key(ALICE).await.unwrap();
        let sealed = seal(&custody, &KeyName::Person(ALICE)).await;
        for other in [
            Place { purpose: "other", ..PLACE },
            Place { stream: "connection-2", ..PLACE },
            Place { field: "name", ..PLACE },
            Place { generation: 4, ..PLACE },
            Place { purpose: "profileconnection-1", stream: "", ..PLACE },
        ] {
            assert_eq!(custody.unseal(&other, &sealed).await.err(), Some(UnsealError::Damaged), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_changed_value_is_damaged() {
        let custody = Home::new().open().await;
        for person in [ALICE, BOB] {
            custody.create_person_key(person).await.unwrap();
        }
        let sealed = seal(&custody, &KeyName::Person(ALICE)).await;
        for changed in [
            Sealed { key: KeyName::Person(BOB).to_string(), ..sealed.clone() },
            Sealed { key: "person/alice".into(), ..sealed.clone() },
            Sealed { algorithm: "A128GCM".into(), ..sealed.clone() },
            Sealed { nonce: "AAAA".into(), ..sealed.clone() },
            Sealed { nonce: "AAAAAAAAAAAAAAAA".into(), ..sealed.clone() },
            Sealed { ciphertext: "AAAA".into(), ..sealed.clone() },
            Sealed { ciphertext: "*".into(), ..sealed.clone() },
        ] {
            assert_eq!(
                custody.unseal(&PLACE, &changed).await.err(),
                Some(UnsealError::Damaged),
                "{changed:?}"
            );
        }
    }

    #[tokio::test]
    async fn destroying_a_persons_key_erases_the_person_and_no_one_else() {
        let custody = Home::new().open().await;
        let mut sealed = Vec::new();
        for person in [ALICE, BOB] {
            custody.create_person_key(person).await.unwrap();
            sealed.push(seal(&custody, &KeyName::Person(person)).await);
            sealed.push(seal(&custody, &content(person, "2026-11")).await);
        }
        custody.destroy_person_key(ALICE).await.unwrap();
        for erased in &sealed[..2] {
            assert_eq!(custody.unseal(&PLACE, erased).await.err(), Some(UnsealError::Destroyed));
        }
        for kept in &sealed[2..] {
            assert!(custody.unseal(&PLACE, kept).await.is_ok());
        }
        assert!(matches!(custody.create_person_key(ALICE).await, Err(CustodyError::Destroyed { .. })));
        let again = custody.seal(&KeyName::Person(ALICE), &PLACE, b"x").await;
        assert!(matches!(again, Err(CustodyError::Destroyed { .. })));
    }

    #[tokio::test]
    async fn destroying_a_month_erases_the_content_of_that_month_alone() {
        let custody = Home::new().open().await;
        custody.create_person_key(ALICE).await.unwrap();
        let october = seal(&custody, &content(ALICE, "2026-10")).await;
        let november = seal(&custody, &content(ALICE, "2026-11")).await;
        let profile = seal(&custody, &KeyName::Person(ALICE)).await;
        custody.destroy_month_key("2026-10").await.unwrap();
        assert_eq!(custody.unseal(&PLACE, &october).await.err(), Some(UnsealError::Destroyed));
        assert!(custody.unseal(&PLACE, &november).await.is_ok());
        assert!(custody.unseal(&PLACE, &profile).await.is_ok());
        let late = custody.seal(&content(ALICE, "2026-10"), &PLACE, b"x").await;
        assert!(matches!(late, Err(CustodyError::Destroyed { .. })));
    }

    #[tokio::test]
    async fn creating_a_key_twice_leaves_the_first() {
        let custody = Home::new().open().await;
        custody.create_person_key(ALICE).await.unwrap();
        let sealed = seal(&custody, &KeyName::Person(ALICE)).await;
        custody.create_person_key(ALICE).await.unwrap();
        assert!(custody.unseal(&PLACE, &sealed).await.is_ok());
    }

    #[tokio::test]
    async fn a_key_that_never_was_is_not_called_erased() {
        let custody = Home::new().open().await;
        custody.create_person_key(ALICE).await.unwrap();
        let sealed = seal(&custody, &KeyName::Person(ALICE)).await;
        let elsewhere = Home::new().open().await;
        let error = elsewhere.unseal(&PLACE, &sealed).await.unwrap_err();
        assert!(matches!(error, UnsealError::Vault(CustodyError::NoSuchKey { .. })), "{error}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_who_need_a_months_first_key_at_once_get_the_same_one() {
        let home = Home::new();
        home.open().await.create_person_key(ALICE).await.unwrap();
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            // Each with a cache and a connection of its own, as hubs would have.
            let custody = home.open().await;
            racers.spawn(async move { seal(&custody, &content(ALICE, "2026-12")).await });
        }
        let reader = home.open().await;
        for sealed in racers.join_all().await {
            assert!(reader.unseal(&PLACE, &sealed).await.is_ok());
        }
    }

    #[tokio::test]
    async fn the_vault_sees_no_key_and_can_not_pass_one_off_as_another() {
        let home = Home::new();
        let custody = home.open().await;
        for person in [ALICE, BOB] {
            custody.create_person_key(person).await.unwrap();
        }
        let sealed = seal(&custody, &KeyName::Person(ALICE)).await;
        let key = custody.0.keyring.key(&person(ALICE)).await.unwrap();
        assert!(!home.holds(key.expose_secret()));

        let swapped = Home::new();
        let vault: Arc<dyn Vault> = swapped.vault().await;
        let bobs = custody.vault().get(&person(BOB), None).await.unwrap().unwrap();
        vault.put(&person(ALICE), bobs.version, &bobs.wrapped).await.unwrap();
        let deceived = Custody::open(vault, home.key()).await.unwrap();
        assert_eq!(deceived.unseal(&PLACE, &sealed).await.err(), Some(UnsealError::Damaged));
    }

    #[tokio::test]
    async fn debug_output_shows_no_key() {
        let custody = Home::new().open().await;
        custody.create_person_key(ALICE).await.unwrap();
        let entry = custody.vault().get(&person(ALICE), None).await.unwrap().unwrap();
        assert_eq!(format!("{custody:?}"), "Custody(…)");
        let version = Version { generation: 1, claim: 0 };
        assert_eq!(format!("{entry:?}"), format!("Entry({version:?}, {} bytes)", entry.wrapped.len()));
        assert_eq!(
            CustodyError::of(VaultError::Destroyed, &person(BOB)).to_string(),
            format!("person/{BOB} was destroyed")
        );
    }
}
