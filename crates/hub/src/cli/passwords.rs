//! `chancery passwords`: lines for the file of product passwords; and how a password becomes a hash here at all.

use std::io::{BufRead as _, Read as _};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use domain::AccountId;
use eventstoredb_server::{Cost, PasswordHash};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::print;

#[derive(Debug, Subcommand)]
pub enum PasswordsCommand {
    /// Print the line of a person for `password.file`. The password is the first line of standard input.
    Hash {
        /// What the person types as user name.
        name: String,
        /// The product's own id of the user; the name if it is not given.
        #[arg(long)]
        account: Option<AccountId>,
    },
}

/// What is guessed in the end, however slowly it is verified.
const PASSWORD_BYTES_MIN: usize = 12;
/// What clients put into a header.
const PASSWORD_BYTES_MAX: usize = 512;

pub(super) fn run(command: &PasswordsCommand) -> Result<()> {
    let PasswordsCommand::Hash { name, account } = command;
    let one_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    let account = account.as_ref().map_or(name.as_str(), AccountId::as_str);
    ensure!(
        one_word(name) && one_word(account) && !name.starts_with('#'),
        "in the file of passwords, names and accounts have no spaces, and no name begins with #"
    );
    let hash = hash_of_typed()?;
    print(&format!("{name} {account} {}\n", hash.as_str()))
}

/// The hash of the password that is the first line of standard input.
pub(super) fn hash_of_typed() -> Result<PasswordHash> {
    let mut line = Zeroizing::new(String::new());
    let limit = u64::try_from(PASSWORD_BYTES_MAX + 2)?;
    let read = std::io::stdin().lock().take(limit).read_line(&mut line);
    read.context("the password on standard input can't be read")?;
    let password = line.trim_end_matches(['\n', '\r']);
    ensure!(
        (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()),
        "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes; it is the first line of standard input"
    );
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(PasswordHash::of(password, salt, Cost::Usual))
}
