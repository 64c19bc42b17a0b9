//! The tokens of a grant. They stand in the vault and nowhere else.

use domain::{SignInId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    custody::{Custody, CustodyError},
    vault::{EntryId, Kind, VaultError, Version},
};

/// What one answer of the token endpoint brought.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenPair {
    pub access: SecretString,
    /// Missing where offline access was not granted.
    pub refresh: Option<SecretString>,
    /// When the access token ends.
    pub expires_at: Timestamp,
    pub scopes: Vec<String>,
}

/// A value of the vault with the generation it is and the claim that wrote it.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub generation: u64,
    pub claim: u64,
    pub value: T,
}

/// [`TokenPair`] on its way into the vault; only here can tokens be written out.
#[derive(Serialize)]
struct Exposed<'a> {
    access: &'a str,
    refresh: Option<&'a str>,
    expires_at: Timestamp,
    scopes: &'a [String],
}

impl Custody {
    /// Stores the tokens that a claim brought as the grant's `generation` (1 for the sign-in itself).
    ///
    /// Repeating it after a lost answer is a success; `Superseded` when a later claim was faster.
    pub async fn put_tokens(
        &self,
        grant: SignInId,
        generation: u64,
        claim: u64,
        tokens: &TokenPair,
    ) -> Result<(), VaultError> {
        let (id, version) = (entry_id(grant), Version { generation, claim });
        let plaintext = exposed(tokens);
        let wrapped = self.0.keyring.wrap(&id, version, &plaintext);
        match self.vault().put(&id, version, &wrapped).await {
            // Wrapped anew, the same tokens are other bytes, so a repeat is recognised here and not by the vault.
            Err(VaultError::Superseded) => match self.vault().get(&id, None).await? {
                Some(entry)
                    if entry.version == version
                        && self.0.keyring.unwrap(&id, &entry).is_ok_and(|stored| stored == plaintext) =>
                {
                    Ok(())
                }
                _ => Err(VaultError::Superseded),
            },
            outcome => outcome,
        }
    }

    /// The newest tokens of a grant; `None` when it never had any.
    pub async fn get_tokens(&self, grant: SignInId) -> Result<Option<Stored<TokenPair>>, CustodyError> {
        let id = entry_id(grant);
        let entry = self.vault().get(&id, None).await.map_err(|error| CustodyError::of(error, &id))?;
        let Some(entry) = entry else { return Ok(None) };
        let plaintext = self.0.keyring.unwrap(&id, &entry)?;
        let value = serde_json::from_slice(&plaintext).map_err(|_| CustodyError::Damaged { id })?;
        Ok(Some(Stored { generation: entry.version.generation, claim: entry.version.claim, value }))
    }

    /// Lets go of the generations before `keep_generation`, once the event of that one is recorded.
    pub async fn forget_older_tokens(&self, grant: SignInId, keep_generation: u64) -> Result<(), VaultError> {
        self.vault().forget_before(&entry_id(grant), keep_generation).await
    }

    /// Destroys the tokens of a grant for ever; a late answer of a claim can not bring them back.
    pub async fn destroy_tokens(&self, grant: SignInId) -> Result<(), VaultError> {
        self.vault().destroy(&entry_id(grant)).await
    }
}

fn entry_id(grant: SignInId) -> EntryId {
    EntryId::new(Kind::Grant, grant.to_string())
}

fn exposed(tokens: &TokenPair) -> Zeroizing<Vec<u8>> {
    let access = tokens.access.expose_secret();
    let refresh = tokens.refresh.as_ref().map(ExposeSecret::expose_secret);
    // Enough for both tokens, so that growing leaves no copy of them behind; it is the scopes that may outgrow it.
    let mut buffer =
        Zeroizing::new(Vec::with_capacity(1024 + 2 * access.len() + 2 * refresh.map_or(0, str::len)));
    let exposed = Exposed { access, refresh, expires_at: tokens.expires_at, scopes: &tokens.scopes };
    serde_json::to_writer(&mut *buffer, &exposed).expect("strings and a time become JSON");
    buffer
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::Home;

    const GRANT: SignInId = SignInId(Uuid::from_u128(5));

    fn tokens(text: &str) -> TokenPair {
        TokenPair {
            access: format!("access {text}").into(),
            refresh: Some(format!("refresh {text}").into()),
            expires_at: Timestamp::from_micros(1_795_435_200_000_001),
            scopes: vec!["openid".into(), "User.Read".into()],
        }
    }

    async fn newest(custody: &Custody) -> (u64, u64, String) {
        let stored = custody.get_tokens(GRANT).await.unwrap().unwrap();
        (stored.generation, stored.claim, stored.value.access.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn tokens_come_back_whole_also_after_reopening() {
        let home = Home::new();
        assert!(home.open().await.get_tokens(GRANT).await.unwrap().is_none());
        let without_refresh = TokenPair { refresh: None, ..tokens("second") };
        let custody = home.open().await;
        custody.put_tokens(GRANT, 1, 4, &tokens("first")).await.unwrap();
        let stored = home.open().await.get_tokens(GRANT).await.unwrap().unwrap();
        assert_eq!((stored.generation, stored.claim), (1, 4));
        assert_eq!(stored.value.access.expose_secret(), "access first");
        assert_eq!(stored.value.refresh.unwrap().expose_secret(), "refresh first");
        assert_eq!(
            (stored.value.expires_at, stored.value.scopes),
            (tokens("").expires_at, tokens("").scopes)
        );
        custody.put_tokens(GRANT, 2, 5, &without_refresh).await.unwrap();
        assert!(custody.get_tokens(GRANT).await.unwrap().unwrap().value.refresh.is_none());
    }

    #[tokio::test]
    async fn a_repeat_is_a_success_and_an_older_claim_is_refused() {
        let custody = Home::new().open().await;
        custody.put_tokens(GRANT, 1, 4, &tokens("first")).await.unwrap();
        custody.put_tokens(GRANT, 2, 9, &tokens("second")).await.unwrap();
        assert_eq!(custody.put_tokens(GRANT, 2, 9, &tokens("second")).await, Ok(()));
        for (generation, claim) in [(2, 9), (2, 8), (1, 4), (1, 10)] {
            let late = custody.put_tokens(GRANT, generation, claim, &tokens("late")).await;
            assert_eq!(late, Err(VaultError::Superseded), "{generation} {claim}");
        }
        assert_eq!(newest(&custody).await, (2, 9, "access second".into()));
        custody.put_tokens(GRANT, 2, 10, &tokens("again")).await.unwrap();
        assert_eq!(newest(&custody).await, (2, 10, "access again".into()));
        custody.forget_older_tokens(GRANT, 2).await.unwrap();
        assert_eq!(newest(&custody).await, (2, 10, "access again".into()));
    }

    #[tokio::test]
    async fn destroyed_tokens_stay_destroyed() {
        let custody = Home::new().open().await;
        custody.put_tokens(GRANT, 1, 4, &tokens("first")).await.unwrap();
        custody.destroy_tokens(GRANT).await.unwrap();
        assert!(matches!(custody.get_tokens(GRANT).await, Err(CustodyError::Destroyed { .. })));
        assert_eq!(custody.put_tokens(GRANT, 2, 5, &tokens("late")).await, Err(VaultError::Destroyed));
    }

    #[tokio::test]
    async fn tokens_show_neither_in_debug_output_nor_in_a_file() {
        let home = Home::new();
        let custody = home.open().await;
        custody.put_tokens(GRANT, 1, 4, &tokens("zebra")).await.unwrap();
        assert!(!home.holds(b"zebra"));
        let stored = custody.get_tokens(GRANT).await.unwrap().unwrap();
        assert!(!format!("{stored:?}").contains("zebra"));
    }
}
