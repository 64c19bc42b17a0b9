//! A vault in a directory of its own, for tests.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use tempfile::TempDir;

use crate::{Custody, CustodyError, EmbeddedVault, KeyEncryptionKey, Vault};

pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    /// An empty directory with a key file in it.
    pub(crate) fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        KeyEncryptionKey::create_file(&home.path("key")).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn key(&self) -> KeyEncryptionKey {
        KeyEncryptionKey::from_file(&self.path("key")).unwrap()
    }

    pub(crate) async fn vault(&self) -> Arc<dyn Vault> {
        Arc::new(EmbeddedVault::open(self.path("vault.sqlite")).await.unwrap())
    }

    pub(crate) async fn open_with(&self, key: KeyEncryptionKey) -> Result<Custody, CustodyError> {
        Custody::open(self.vault().await, key).await
    }

    pub(crate) async fn open(&self) -> Custody {
        self.open_with(self.key()).await.unwrap()
    }

    /// Whether the bytes are found in any file of the directory.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        self.windows(bytes.len()).contains(bytes)
    }

    /// Every run of so many bytes in any file of the directory.
    pub(crate) fn windows(&self, length: usize) -> HashSet<Vec<u8>> {
        std::fs::read_dir(self.directory.path())
            .unwrap()
            .flat_map(|file| {
                let content = std::fs::read(file.unwrap().path()).unwrap();
                content.windows(length).map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
    }
}
