//! Who uses the port: names with roles, and passwords of which only hashes are known.
//!
//! A password is held against its hash once, away from the threads that serve calls and one at a time, so that guessing
//! costs the guesser time and the others none. What was found good is remembered as a keyed hash in memory, and from
//! then on costs a call next to nothing.
//!
//! **Invariant.** No password is kept, printed or named in an error.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{PasswordHashString, SaltString},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use ring::{hmac, rand::SecureRandom};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use crate::{limits, refusal};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read everything but what is hidden, and change nothing.
    Read,
    /// Submit to the intake, and read what became of it.
    Submit,
    /// Read as [`Role::Read`] does; write, set metadata and delete where the hub does not.
    Operate,
    /// Be a hub: everything.
    Hub,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Read, Self::Submit, Self::Operate, Self::Hub];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Hub => "hub",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Somebody who may use the port.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<str>,
    pub role: Role,
    pub password: PasswordHash,
}

/// A password as it is kept: Argon2id, in the form `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
#[derive(Clone)]
pub struct PasswordHash(PasswordHashString);

/// Why a text is no [`PasswordHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    #[error("is no hash of a password as `$argon2id$v=19$m=…,t=…,p=…$…$…`")]
    Form,
    #[error("takes more than 256 MiB, 16 rounds or 16 lanes to verify")]
    Cost,
}

/// How hard it is made to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// For what people think up: 19 MiB and two rounds, as OWASP recommends.
    Usual,
    /// For 128 drawn bits or more, which nobody guesses.
    Drawn,
}

impl PasswordHash {
    pub fn of(password: &str, salt: [u8; 16], cost: Cost) -> Self {
        let params = match cost {
            Cost::Usual => Params::DEFAULT,
            Cost::Drawn => Params::new(Params::MIN_M_COST, 1, 1, None).expect("the least is allowed"),
        };
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let hash = argon2(params).hash_password(password.as_bytes(), &salt).expect("all of it is in bounds");
        Self(hash.serialize())
    }

    pub fn parse(text: &str) -> Result<Self, BadHash> {
        let hash = PasswordHashString::new(text).map_err(|_| BadHash::Form)?;
        let whole = hash.salt().is_some() && hash.hash().is_some();
        let known =
            hash.algorithm() == Algorithm::Argon2id.ident() && hash.version() == Some(Version::V0x13.into());
        let params = Params::try_from(&hash.password_hash()).map_err(|_| BadHash::Form)?;
        if !whole || !known {
            return Err(BadHash::Form);
        }
        if params.m_cost() > 256 * 1024 || params.t_cost() > 16 || params.p_cost() > 16 {
            return Err(BadHash::Cost);
        }
        Ok(Self(hash))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Memory that is gone through to verify it.
    fn cost(&self) -> u64 {
        let params = Params::try_from(&self.0.password_hash()).unwrap_or_default();
        u64::from(params.m_cost()) * u64::from(params.t_cost())
    }

    /// Takes tens of milliseconds.
    pub fn verify(&self, password: &[u8]) -> bool {
        // The hash names its own costs.
        argon2(Params::DEFAULT).verify_password(password, &self.0.password_hash()).is_ok()
    }
}

fn argon2(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// All users, by the credentials that calls bring.
pub struct Users {
    known: HashMap<Arc<str>, Known>,
    /// What passwords of names that nobody has are held against. `None` where there are no users.
    decoy: Option<PasswordHash>,
    /// Of this process only, for what is remembered.
    key: hmac::Key,
    turn: Arc<Semaphore>,
}

struct Known {
    user: Arc<User>,
    /// Of the password, once it was found good.
    good: OnceLock<hmac::Tag>,
}

/// Why a call is not taken for anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// No credentials, or wrong ones.
    Unknown,
    /// Others' passwords were being verified for too long.
    Busy,
}

impl Users {
    /// # Panics
    /// When there is no randomness.
    pub fn new(users: impl IntoIterator<Item = User>, random: &dyn SecureRandom) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(&mut *key).expect("the system has randomness");
        let users: Vec<User> = users.into_iter().collect();
        let decoy = users.iter().map(|user| &user.password).max_by_key(|hash| hash.cost()).cloned();
        let known = users
            .into_iter()
            .map(|user| (Arc::clone(&user.name), Known { user: Arc::new(user), good: OnceLock::new() }));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        Self { known: known.collect(), decoy, key, turn: Arc::new(Semaphore::new(1)) }
    }

    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<User>, Stranger> {
        let credentials = headers.get(AUTHORIZATION).and_then(|value| Credentials::parse(value.as_bytes()));
        let credentials = credentials.ok_or(Stranger::Unknown)?;
        match self.known.get(credentials.name()) {
            Some(known) if self.remembers(known, credentials.password()) => Ok(Arc::clone(&known.user)),
            known => self.verify(known, &credentials).await,
        }
    }

    /// A name that nobody has takes as long as a wrong password, so that names can't be tried out.
    async fn verify(&self, known: Option<&Known>, credentials: &Credentials) -> Result<Arc<User>, Stranger> {
        let hash = known.map(|known| &known.user.password).or(self.decoy.as_ref());
        let hash = hash.ok_or(Stranger::Unknown)?.clone();
        let turn = timeout(limits::SIGN_IN, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.map_err(|_| Stranger::Busy)?.map_err(|_| Stranger::Busy)?;
        // Many calls may have come at once, and the first of them has done it for all.
        if let Some(known) = known.filter(|known| self.remembers(known, credentials.password())) {
            return Ok(Arc::clone(&known.user));
        }
        let password = Zeroizing::new(credentials.password().to_vec());
        let verifying = spawn_blocking(move || {
            // Held for as long as it takes, even where nobody waits any more.
            let _turn = turn;
            hash.verify(&password)
        });
        let good = verifying.await.unwrap_or(false);
        let known = known.filter(|_| good).ok_or(Stranger::Unknown)?;
        known.good.get_or_init(|| hmac::sign(&self.key, credentials.password()));
        Ok(Arc::clone(&known.user))
    }

    fn remembers(&self, known: &Known, password: &[u8]) -> bool {
        known.good.get().is_some_and(|good| hmac::verify(&self.key, password, good.as_ref()).is_ok())
    }
}

impl From<Stranger> for tonic::Status {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Unknown => refusal::unauthenticated(),
            Stranger::Busy => Self::unavailable("too many passwords are being verified"),
        }
    }
}

/// A name and a password, as HTTP's Basic has them.
struct Credentials {
    /// `name:password`.
    decoded: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl Credentials {
    fn parse(header: &[u8]) -> Option<Self> {
        let (scheme, encoded) = header.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > limits::CREDENTIALS_BYTES_MAX {
            return None;
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?);
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        std::str::from_utf8(&decoded[..colon]).ok()?;
        Some(Self { decoded, colon })
    }

    fn name(&self) -> &str {
        std::str::from_utf8(&self.decoded[..self.colon]).unwrap_or_default()
    }

    fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn users() -> Users {
        let user = |name: &str, cost| User {
            name: name.into(),
            role: Role::Read,
            password: PasswordHash::of("correct horse", [7; 16], cost),
        };
        Users::new([user("ada", Cost::Usual), user("bob", Cost::Drawn)], &SystemRandom::new())
    }

    async fn ask(users: &Users, header: &str) -> Result<Arc<str>, Stranger> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        users.authenticate(&headers).await.map(|user| Arc::clone(&user.name))
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(credentials))
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_is_let_in() {
        let users = users();
        for _twice_because_the_second_time_it_is_remembered in 0..2 {
            assert_eq!(ask(&users, &basic("ada:correct horse")).await.as_deref(), Ok("ada"));
            assert_eq!(ask(&users, &basic("bob:correct horse")).await.as_deref(), Ok("bob"));
            for wrong in
                ["ada:wrong", "ada:", "ada", ":correct horse", "eve:correct horse", "ada:correct horse "]
            {
                assert_eq!(ask(&users, &basic(wrong)).await, Err(Stranger::Unknown), "{wrong}");
            }
        }
        assert_eq!(users.authenticate(&HeaderMap::new()).await.map(drop), Err(Stranger::Unknown));
        for header in ["", "Basic", "Basic ", "Basic ?", "Bearer abc", "Basic /////w=="] {
            assert_eq!(ask(&users, header).await, Err(Stranger::Unknown), "{header}");
        }
    }

    #[tokio::test]
    async fn of_many_first_calls_only_one_is_verified_at_length() {
        let users = users();
        let header = basic("ada:correct horse");
        let answers = futures_util::future::join_all((0..500).map(|_| ask(&users, &header))).await;
        assert!(answers.iter().all(Result::is_ok));
    }

    #[test]
    fn a_hash_is_taken_again_as_it_was_written_and_others_are_refused() {
        let hash = PasswordHash::of("secret", [1; 16], Cost::Usual);
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(PasswordHash::parse(hash.as_str()).unwrap().verify(b"secret"));
        assert!(!format!("{hash:?}").contains("argon2"));
        let refused = |from: &str, to: &str| PasswordHash::parse(&hash.as_str().replacen(from, to, 1)).err();
        assert_eq!(refused("argon2id", "argon2i"), Some(BadHash::Form));
        assert_eq!(refused("m=19456", "m=1000000"), Some(BadHash::Cost));
        assert_eq!(refused("t=2", "t=100"), Some(BadHash::Cost));
        for text in [
            "",
            "secret",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(PasswordHash::parse(text).err(), Some(BadHash::Form), "{text}");
        }
    }
}
