//! Keeps secrets: sealing, keyed hashes, the keys behind both, and the vault that tokens live in.
//!
//! Three layers. A [`KeyEncryptionKey`] comes from a file or the environment and never lies beside what it protects.
//! Under it, wrapped, lie the keys and tokens in a [`Vault`]. Under those keys personal data is sealed into events.
//! Destroying a key in the vault is how data in a log that is kept for ever comes to an end.
//!
//! **Invariants.** What reaches a vault is wrapped: no backend sees a key or a token. A destroyed id stays destroyed.
//! No key, token or plaintext shows in an error or in `Debug` output.

mod cache;
mod cipher;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod custody;
mod embedded;
mod hashes;
mod inbox;
mod key_name;
mod keyring;
mod keys;
mod sealing;
mod streams;
#[cfg(test)]
mod testing;
mod tokens;
mod vault;

pub use custody::{Custody, CustodyError};
pub use embedded::EmbeddedVault;
pub use hashes::{ConsentPurpose, SignInPurpose};
pub use key_name::{KeyName, NotAKeyName};
pub use keys::{KeyEncryptionKey, KeyFileError};
pub use sealing::{Place, UnsealError};
pub use streams::StreamVault;
pub use tokens::{Stored, TokenPair};
pub use vault::{Admission, Entry, EntryId, Kind, Vault, VaultError, Version, admit};
