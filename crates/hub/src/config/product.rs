//! The sections about the product: how its passwords are checked, and how it is asked whose account a person's is.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::Section;
use crate::services::passwords;

/// Where product passwords are checked.
#[derive(Debug)]
pub enum PasswordCheck {
    None,
    File(PathBuf),
    Endpoint(Endpoint),
}

/// A place at the product that answers signed requests.
#[derive(Debug)]
pub struct Endpoint {
    pub url: Url,
    pub secret: SecretString,
}

#[derive(Debug)]
pub struct PasswordConfig {
    pub check: PasswordCheck,
    /// A try is counted for so long.
    pub stretch: Duration,
    pub tries_per_person: usize,
    pub tries_per_account: usize,
    pub tries_per_address: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    None,
    File,
    Endpoint,
}

impl PasswordConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let kinds = [("none", Kind::None), ("file", Kind::File), ("endpoint", Kind::Endpoint)];
        let check = match section.choice("kind", &kinds) {
            Kind::None => PasswordCheck::None,
            Kind::File => Self::file(section),
            Kind::Endpoint => {
                section.required("endpoint_url", "where the product checks passwords");
                endpoint(section, "endpoint_url", "endpoint_secret")
                    .map_or(PasswordCheck::None, PasswordCheck::Endpoint)
            }
        };
        Self {
            check,
            stretch: Duration::from_mins(section.number("stretch_minutes", 1..=60)),
            tries_per_person: section.number("tries_per_person", 1..=100),
            tries_per_account: section.number("tries_per_account", 1..=1000),
            tries_per_address: section.number("tries_per_address", 1..=10_000),
        }
    }

    fn file(section: &mut Section<'_>) -> PasswordCheck {
        section.required("file", "the accounts and their hashes, as `chancery passwords hash` prints them");
        let Some(path) = section.file("file") else { return PasswordCheck::None };
        if let Err(error) = passwords::read_file(&path) {
            section.refuse("file", &format!("can't be used: {error}"));
        }
        PasswordCheck::File(path)
    }

    /// Whether the panel offers a password at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.check, PasswordCheck::None)
    }
}

/// What the hub knows of the product.
#[derive(Debug)]
pub struct ProductConfig {
    /// As people know it.
    pub name: Option<String>,
    /// Whom it asks whose account a person's is.
    pub account: Option<Endpoint>,
    pub timeout: Duration,
}

impl ProductConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            name: section.text("name"),
            account: endpoint(section, "account_url", "secret"),
            timeout: section.millis("timeout_ms", 100..=30_000),
        }
    }
}

/// `None` where there is no address.
fn endpoint(section: &mut Section<'_>, url: &str, secret: &str) -> Option<Endpoint> {
    let url = section.url(url)?;
    let given = section.secret(secret);
    if given.is_none() && section.text(&format!("{secret}_file")).is_none() {
        section.refuse(&format!("{secret}_file"), "must be set: requests to the product are signed with it");
    }
    Some(Endpoint { url, secret: given.unwrap_or_default() })
}
