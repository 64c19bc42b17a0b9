//! The product's passwords: whom the hub asks whether one is right.
//!
//! **Invariant.** What was typed is held in memory for one question, and goes nowhere but to who answers it.

mod endpoint;
mod file;

use domain::{AccountId, PersonId, Timestamp};
use secrecy::SecretString;

pub use file::{NotAFile, read_file};

use crate::{
    config::{Config, PasswordCheck},
    services::product::Product,
};

/// What a person typed.
#[derive(Debug)]
pub struct Typed {
    pub name: SecretString,
    pub password: SecretString,
    pub second_factor: Option<SecretString>,
}

/// What is said to it.
#[derive(Debug)]
pub enum Verdict {
    Right {
        account: AccountId,
        /// As the product calls its user.
        name: Option<String>,
    },
    /// No such account, or another password.
    Wrong,
    SecondFactorWanted,
    /// Nobody could say: ask again later. It may have been found right or wrong all the same.
    Unavailable,
    /// Likewise, and nobody has looked at it.
    NotJudged,
}

/// Who knows the passwords.
pub enum Passwords {
    Nobody,
    File(file::File),
    Endpoint(Box<endpoint::Endpoint>),
}

impl Passwords {
    pub fn new(config: &Config, product: &Product) -> Self {
        match &config.password.check {
            PasswordCheck::None => Self::Nobody,
            PasswordCheck::File(path) => Self::File(file::File::new(path.clone())),
            PasswordCheck::Endpoint(endpoint) => {
                Self::Endpoint(Box::new(endpoint::Endpoint::new(product, endpoint)))
            }
        }
    }

    pub async fn check(&self, person: PersonId, typed: Typed, now: Timestamp) -> Verdict {
        match self {
            Self::Nobody => Verdict::NotJudged,
            Self::File(file) => file.check(typed).await,
            Self::Endpoint(endpoint) => endpoint.check(person, &typed, now).await,
        }
    }
}
