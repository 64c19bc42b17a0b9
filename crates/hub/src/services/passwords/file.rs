//! Passwords in a file of Argon2id hashes: for trying out, and for a handful of people.
//!
//! A line is `NAME ACCOUNT HASH`, as `chancery passwords hash` prints it. The file is read for each try, so a changed one
//! counts at once.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use domain::AccountId;
use eventstoredb_server::{Cost, PasswordHash};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Typed, Verdict};

/// Hashes that are gone through at once, so that guessing leaves the machine to others.
const AT_ONCE: usize = 2;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NotAFile {
    #[error("it can't be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("line {0} is not `NAME ACCOUNT HASH`, as `chancery passwords hash` prints it")]
    Line(usize),
    #[error("line {0} has a name that another line has")]
    Twice(usize),
}

/// Somebody with a password.
pub struct Entry {
    name: String,
    account: AccountId,
    hash: PasswordHash,
}

/// Reads all of it, in its order.
pub fn read_file(path: &Path) -> Result<Vec<Entry>, NotAFile> {
    let text = std::fs::read_to_string(path)?;
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = parse(line).ok_or(NotAFile::Line(index + 1))?;
        if entries.iter().any(|other| other.name == entry.name) {
            return Err(NotAFile::Twice(index + 1));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn parse(line: &str) -> Option<Entry> {
    let mut parts = line.split_ascii_whitespace();
    let (name, account, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let entry = Entry {
        name: normalised(name),
        account: account.parse().ok()?,
        hash: PasswordHash::parse(hash).ok()?,
    };
    parts.next().is_none().then_some(entry)
}

/// People do not mind case in a user name.
fn normalised(name: &str) -> String {
    name.trim().to_lowercase()
}

pub struct File {
    path: PathBuf,
    turns: Semaphore,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Semaphore::new(AT_ONCE) }
    }

    pub(super) async fn check(&self, typed: Typed) -> Verdict {
        let Ok(_turn) = self.turns.acquire().await else { return Verdict::NotJudged };
        let path = self.path.clone();
        let checked = spawn_blocking(move || check(&path, &typed.name, &typed.password)).await;
        checked.unwrap_or(Verdict::Unavailable)
    }
}

/// Takes as long for a name that nobody has.
fn check(path: &Path, name: &SecretString, password: &SecretString) -> Verdict {
    let entries = match read_file(path) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!("The file of passwords can't be used: {error}");
            return Verdict::NotJudged;
        }
    };
    let name = normalised(name.expose_secret());
    let found = entries.into_iter().find(|entry| entry.name == name);
    let hash = found.as_ref().map_or_else(nobodys, |entry| entry.hash.clone());
    let right = hash.verify(password.expose_secret().as_bytes());
    match found {
        Some(entry) if right => Verdict::Right { account: entry.account, name: None },
        _ => Verdict::Wrong,
    }
}

/// What a name that nobody has is checked against.
fn nobodys() -> PasswordHash {
    static NOBODYS: OnceLock<PasswordHash> = OnceLock::new();
    NOBODYS.get_or_init(|| PasswordHash::of("", [0; 16], Cost::Usual)).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn line(name: &str, account: &str, password: &str) -> String {
        format!("{name} {account} {}\n", PasswordHash::of(password, [7; 16], Cost::Drawn).as_str())
    }

    #[test]
    fn the_right_password_of_a_name_brings_its_account() {
        let file = file(&format!("# people\n\n{}{}", line("Ada", "u-1", "one"), line("bruno", "u-2", "two")));
        let check = |name: &str, password: &str| match check(file.path(), &name.into(), &password.into()) {
            Verdict::Right { account, .. } => Some(account.as_str().to_owned()),
            Verdict::Wrong => None,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(check("ada", "one").as_deref(), Some("u-1"));
        assert_eq!(check(" ADA ", "one").as_deref(), Some("u-1"));
        assert_eq!(check("ada", "two"), None);
        assert_eq!(check("nobody", ""), None, "the hash that stands in for nobody's lets nobody in");
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number() {
        let whole = line("ada", "u-1", "one");
        for (text, problem) in [
            (format!("{whole}ada"), "line 2 is not"),
            ("ada u-1 typed-in-clear".to_owned(), "line 1 is not"),
            (format!("{whole}{whole}"), "line 2 has a name"),
        ] {
            let error = read_file(file(&text).path()).err().unwrap().to_string();
            assert!(error.contains(problem) && !error.contains("clear"), "{error}");
        }
    }
}
