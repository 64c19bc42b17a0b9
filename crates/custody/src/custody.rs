//! Where everything is at hand: the keys of the installation, and through them all others.

use std::{fmt, sync::Arc};

use ring::hmac;
use secrecy::ExposeSecret;

use crate::{
    keyring::Keyring,
    keys::KeyEncryptionKey,
    vault::{EntryId, Kind, Vault, VaultError},
};

/// Keeps secrets for a hub. Cheap to clone.
#[derive(Clone)]
pub struct Custody(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) keyring: Keyring,
    /// Names streams; never changes.
    pub(crate) naming: hmac::Key,
    /// Hashes that are looked for or compared; a later one would be `lookup-2`.
    pub(crate) lookup: hmac::Key,
    /// What a sign-in needs later.
    pub(crate) signing: hmac::Key,
}

/// The last of the installation's keys to be drawn.
const SIGNING: &str = "signing-1";

impl Custody {
    /// Loads the keys of the installation, or draws them in a new vault.
    pub async fn open(vault: Arc<dyn Vault>, kek: KeyEncryptionKey) -> Result<Self, CustodyError> {
        let keyring = Keyring::new(vault, kek);
        // One after the other: a key that does not fit ends it before anything new is written.
        let naming = installation_key(&keyring, "naming-1").await?;
        let lookup = installation_key(&keyring, "lookup-1").await?;
        let signing = installation_key(&keyring, SIGNING).await?;
        Ok(Self(Arc::new(Inner { keyring, naming, lookup, signing })))
    }

    /// Whether the vault was ever opened. A new one beside a log that has events is not the vault the log was written
    /// with: it would name every stream anew.
    pub async fn was_opened(vault: &dyn Vault) -> Result<bool, VaultError> {
        Ok(vault.get(&EntryId::new(Kind::Installation, SIGNING), None).await?.is_some())
    }

    pub fn vault(&self) -> &Arc<dyn Vault> {
        self.0.keyring.vault()
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custody(…)")
    }
}

async fn installation_key(keyring: &Keyring, name: &str) -> Result<hmac::Key, CustodyError> {
    let key = keyring.key_or_new(&EntryId::new(Kind::Installation, name)).await?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret()))
}

/// Why a key or token could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustodyError {
    /// The operator gave a sound key of another vault.
    #[error(
        "the vault was sealed with key {vault}, and key {given} was given: give the key this vault was made with"
    )]
    WrongKey { vault: String, given: String },
    /// It was destroyed on purpose; what it sealed is erased.
    #[error("{id} was destroyed")]
    Destroyed { id: EntryId },
    /// The vault is another one than the log was written with, or an older copy of it.
    #[error("the vault has no {id}: does it belong to this log?")]
    NoSuchKey { id: EntryId },
    #[error("{id} in the vault is damaged: restore the vault from its backup")]
    Damaged { id: EntryId },
    #[error(transparent)]
    Vault(VaultError),
}

impl CustodyError {
    pub(crate) fn of(error: VaultError, id: &EntryId) -> Self {
        match error {
            VaultError::Destroyed => Self::Destroyed { id: id.clone() },
            other => Self::Vault(other),
        }
    }
}
