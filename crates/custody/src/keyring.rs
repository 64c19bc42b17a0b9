//! Keys and values as they lie in the vault, wrapped under the key-encryption key.
//!
//! **Invariant.** A wrapped value opens only in the very place it was written for: kind, id, generation and claim are
//! part of what the tag covers, so a backend can not pass one off as another.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

use crate::{
    cache::Cache,
    cipher::{self, Key, NONCE_BYTES, fields},
    custody::CustodyError,
    keys::{Kek, KekId, KeyEncryptionKey},
    vault::{Entry, EntryId, Vault, VaultError, Version},
};

/// About 2 MB of keys: as many persons as a busy hub writes to within a minute.
const CACHED_KEYS_MAX: usize = 16_384;

/// First byte of a wrapped value; then the wrapping key's id, the nonce, the ciphertext.
const FORMAT: u8 = 1;

/// Keys have one generation, and whoever writes first decides.
const ONLY: Version = Version { generation: 1, claim: 0 };

pub(crate) struct Keyring {
    vault: Arc<dyn Vault>,
    kek: KeyEncryptionKey,
    cache: Cache,
}

impl Keyring {
    pub(crate) fn new(vault: Arc<dyn Vault>, kek: KeyEncryptionKey) -> Self {
        Self { vault, kek, cache: Cache::new(CACHED_KEYS_MAX) }
    }

    pub(crate) fn vault(&self) -> &Arc<dyn Vault> {
        &self.vault
    }

    /// The key `id`, which must exist.
    pub(crate) async fn key(&self, id: &EntryId) -> Result<Arc<Key>, CustodyError> {
        if let Some(key) = self.cache.get(id) {
            return Ok(key);
        }
        let ticket = self.cache.ticket();
        let entry = self.vault.get(id, None).await.map_err(|error| CustodyError::of(error, id))?;
        let bytes = self.unwrap(id, &entry.ok_or_else(|| CustodyError::NoSuchKey { id: id.clone() })?)?;
        if bytes.len() != 32 {
            return Err(CustodyError::Damaged { id: id.clone() });
        }
        let key = Arc::new(SecretBox::init_with_mut(|key: &mut [u8; 32]| key.copy_from_slice(&bytes)));
        self.cache.insert(ticket, id, Arc::clone(&key));
        Ok(key)
    }

    /// The key `id`, drawn now if there is none. Of many that try at once one wins, and all get its key.
    pub(crate) async fn key_or_new(&self, id: &EntryId) -> Result<Arc<Key>, CustodyError> {
        match self.key(id).await {
            Err(CustodyError::NoSuchKey { .. }) => {}
            found => return found,
        }
        let wrapped = self.wrap(id, ONLY, cipher::fresh_key().expose_secret());
        match self.vault.put(id, ONLY, &wrapped).await {
            // Read back even by the winner: what counts is what the vault will say from now on.
            Ok(()) | Err(VaultError::Superseded) => self.key(id).await,
            Err(error) => Err(CustodyError::of(error, id)),
        }
    }

    pub(crate) async fn destroy(&self, id: &EntryId) -> Result<(), CustodyError> {
        let outcome = self.vault.destroy(id).await;
        // Whatever came of it: the destruction may have been recorded though the answer was lost.
        self.cache.evict(id);
        outcome.map_err(|error| CustodyError::of(error, id))
    }

    pub(crate) fn wrap(&self, id: &EntryId, version: Version, plaintext: &[u8]) -> Vec<u8> {
        let kek = self.kek.current();
        let (nonce, ciphertext) =
            cipher::encrypt(&wrapping_key(kek, id), &associated(kek.id, id, version), plaintext);
        [&[FORMAT], &kek.id.0[..], &nonce, &ciphertext].concat()
    }

    pub(crate) fn unwrap(&self, id: &EntryId, entry: &Entry) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let damaged = || CustodyError::Damaged { id: id.clone() };
        let rest = entry.wrapped.strip_prefix(&[FORMAT]).ok_or_else(damaged)?;
        let (kek_id, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let kek = self.kek.find(KekId(*kek_id)).ok_or_else(|| CustodyError::WrongKey {
            vault: KekId(*kek_id).to_string(),
            given: self.kek.current().id.to_string(),
        })?;
        cipher::decrypt(&wrapping_key(kek, id), *nonce, &associated(kek.id, id, entry.version), ciphertext)
            .ok_or_else(damaged)
    }
}

/// A key for each id, so that random nonces never wear out the one key that wraps everything.
fn wrapping_key(kek: &Kek, id: &EntryId) -> Key {
    cipher::derive(
        &kek.key,
        &[],
        &fields(&[b"chancery wrap 1", id.kind.as_str().as_bytes(), id.id.as_bytes()]),
    )
}

fn associated(kek: KekId, id: &EntryId, version: Version) -> Vec<u8> {
    fields(&[
        b"chancery wrapped 1",
        id.kind.as_str().as_bytes(),
        id.id.as_bytes(),
        &version.generation.to_be_bytes(),
        &version.claim.to_be_bytes(),
        &kek.0,
    ])
}
