//! Names of keys, as they stand in events, and where in the vault each key lies.

use std::{fmt, str::FromStr};

use domain::SignInId;
use uuid::Uuid;

use crate::vault::{EntryId, Kind};

/// Under which key something is sealed. As text: `person/<uuid>`, `content/<uuid>/2026-11`, `sign-in/<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// What is personal for good: names, addresses, accounts.
    Person(Uuid),
    /// Message content. `month` as `2026-11`; see [`domain::Timestamp::month`].
    Content { person_key: Uuid, month: String },
    /// What belongs to no person yet.
    SignIn(SignInId),
}

pub(crate) fn person(key: Uuid) -> EntryId {
    EntryId::new(Kind::Person, key.to_string())
}

pub(crate) fn sign_in_key(sign_in: SignInId) -> EntryId {
    EntryId::new(Kind::SignIn, sign_in.to_string())
}

pub(crate) fn month_key(month: &str) -> EntryId {
    assert!(is_month(month), "a month is written as 2026-11");
    EntryId::new(Kind::Month, month)
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(f, "person/{id}"),
            Self::Content { person_key, month } => write!(f, "content/{person_key}/{month}"),
            Self::SignIn(id) => write!(f, "sign-in/{id}"),
        }
    }
}

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a key, such as person/3f0e8a52-6c1d-4b7e-9a43-5d2f1c0b9e87")]
pub struct NotAKeyName;

impl FromStr for KeyName {
    type Err = NotAKeyName;

    fn from_str(text: &str) -> Result<Self, NotAKeyName> {
        let uuid = |text| Uuid::try_parse(text).map_err(|_| NotAKeyName);
        match *text.split('/').collect::<Vec<_>>() {
            ["person", id] => Ok(Self::Person(uuid(id)?)),
            ["content", id, month] if is_month(month) => {
                Ok(Self::Content { person_key: uuid(id)?, month: month.to_owned() })
            }
            ["sign-in", id] => Ok(Self::SignIn(SignInId(uuid(id)?))),
            _ => Err(NotAKeyName),
        }
    }
}

fn is_month(text: &str) -> bool {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-')
        .is_some_and(|(year, month)| digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_keys_are_read_as_such() {
        for bad in [
            "",
            "person",
            "person/x",
            "content/3f0e8a52-6c1d-4b7e-9a43-5d2f1c0b9e87/2026-13",
            "month/2026-11",
        ] {
            assert_eq!(bad.parse::<KeyName>(), Err(NotAKeyName), "{bad}");
        }
    }
}
