//! What was done to the bot, until it is handled. What people type passes here and nowhere else.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    custody::{Custody, CustodyError},
    vault::{EntryId, Kind, VaultError, Version},
};

/// A payload is put once.
const ONLY: Version = Version { generation: 1, claim: 0 };

impl Custody {
    /// Puts a payload into the inbox. One that is there already stays, whatever the bytes; `Destroyed` where it was
    /// handled before.
    pub async fn put_inbox(&self, id: Uuid, payload: &[u8]) -> Result<(), VaultError> {
        let id = entry_id(id);
        match self.vault().put(&id, ONLY, &self.0.keyring.wrap(&id, ONLY, payload)).await {
            Err(VaultError::Superseded) => Ok(()),
            outcome => outcome,
        }
    }

    /// A payload that is not handled; `None` when there never was one.
    pub async fn get_inbox(&self, id: Uuid) -> Result<Option<Zeroizing<Vec<u8>>>, CustodyError> {
        let id = entry_id(id);
        let entry = self.vault().get(&id, None).await.map_err(|error| CustodyError::of(error, &id))?;
        entry.map(|entry| self.0.keyring.unwrap(&id, &entry)).transpose()
    }

    /// Destroys a payload for ever: what comes again is refused.
    pub async fn destroy_inbox(&self, id: Uuid) -> Result<(), VaultError> {
        self.vault().destroy(&entry_id(id)).await
    }
}

fn entry_id(id: Uuid) -> EntryId {
    EntryId::new(Kind::Inbox, id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Home;

    const ID: Uuid = Uuid::from_u128(7);

    #[tokio::test]
    async fn a_payload_is_kept_once_and_destroyed_for_ever() {
        let home = Home::new();
        let custody = home.open().await;
        assert!(custody.get_inbox(ID).await.unwrap().is_none());
        custody.put_inbox(ID, b"typed by somebody").await.unwrap();
        custody.put_inbox(ID, b"and again").await.unwrap();
        let kept = home.open().await.get_inbox(ID).await.unwrap().unwrap();
        assert_eq!(kept.as_slice(), b"typed by somebody");
        assert!(!home.holds(b"typed by somebody"));

        custody.destroy_inbox(ID).await.unwrap();
        assert_eq!(custody.put_inbox(ID, b"typed by somebody").await, Err(VaultError::Destroyed));
        assert!(matches!(custody.get_inbox(ID).await, Err(CustodyError::Destroyed { .. })));
    }
}
