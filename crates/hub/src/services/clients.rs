//! Clients of the API and their keys: made known, given keys, and taken them from.
//!
//! **Invariant.** A key is shown once, in the answer that made it; what is recorded is its hash.

use std::time::Duration;

use anyhow::Context as _;
use domain::{
    ClientId, CommandId, TenantId, Timestamp,
    aggregate::decode,
    client::{Client, Command, Event, Profile, Refusal, Role},
};
use projections::clients::{ClientRow, KeyRow};
use ring::rand::SystemRandom;
use serde::Serialize;
use store::{Direction, EventStore, Position, StreamName};
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    clock::{Clock, Ids},
    commands::{Commands, Context, Done, Failure},
    config::is_loopback,
    http::auth::ApiKey,
};

const RETURN_URLS_MAX: usize = 16;
const RETURN_URL_LENGTH_MAX: usize = 2048;
const TENANTS_MAX: usize = 1000;
/// How long a replaced key may stay good.
const KEEP_OLD_MAX: Duration = Duration::from_hours(24 * 90);

/// What it takes to decide about clients: a running hub has it, and so has the command line while none runs.
pub struct Clients<'a> {
    pub store: &'a dyn EventStore,
    pub commands: &'a Commands,
    pub clock: &'a dyn Clock,
    pub ids: &'a dyn Ids,
    /// Who asks.
    pub context: Context,
    /// Browsers may be sent to plain HTTP on this machine.
    pub loopback_http: bool,
}

/// A key that was just made. It can't be shown again.
#[derive(Serialize, ToSchema)]
pub struct IssuedKey {
    pub key_id: Uuid,
    /// The API key itself: this answer is the only place where it is ever shown.
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[serde(skip)]
    pub position: Position,
}

/// A client with its keys, of which the hashes are not shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClientView {
    #[schema(value_type = String, example = "okr-backend")]
    pub id: ClientId,
    #[schema(value_type = String, example = "service")]
    pub role: Role,
    /// The tenants it is restricted to; absent where it sees all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Uuid>>)]
    pub tenants: Option<Vec<TenantId>>,
    pub return_urls: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub keys: Vec<KeyView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyView {
    pub key_id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("the Idempotency-Key was used to make this client with another role, tenants or return URLs")]
    KeyReused,
    #[error(transparent)]
    Failed(#[from] Failure<Refusal>),
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

impl Clients<'_> {
    /// Makes a client known. Under the same command id the same is done once.
    pub async fn create(
        &self,
        id: &ClientId,
        command_id: &CommandId,
        profile: Profile,
    ) -> Result<Position, NotDone> {
        self.check(&profile)?;
        let Profile { role, tenants, return_urls } = profile;
        let asked = Event::Created { role, tenants: tenants.clone(), return_urls: return_urls.clone() };
        match self.execute(id, command_id, Command::Create { role, tenants, return_urls }).await? {
            Done::AlreadyDone(_) if self.first_event(id).await? != asked => Err(NotDone::KeyReused),
            done => Ok(done.after().position),
        }
    }

    pub async fn create_key(
        &self,
        client: &ClientId,
        expires_at: Option<Timestamp>,
    ) -> Result<IssuedKey, NotDone> {
        self.issue(client, "create-key", expires_at, |key, hash| Command::CreateKey { key, hash, expires_at })
            .await
    }

    /// Makes a key in the place of another, which stays good for a while.
    pub async fn rotate_key(
        &self,
        client: &ClientId,
        replaces: Uuid,
        keep_old_for: Duration,
        expires_at: Option<Timestamp>,
    ) -> Result<IssuedKey, NotDone> {
        if keep_old_for > KEEP_OLD_MAX {
            return Err(invalid("keep_old_for_s", "must be at most 7776000, which is 90 days"));
        }
        let replaced_until = self.clock.now() + keep_old_for;
        self.issue(client, "rotate-key", expires_at, |key, hash| Command::RotateKey {
            key,
            hash,
            expires_at,
            replaces,
            replaced_until,
        })
        .await
    }

    pub async fn revoke_key(&self, client: &ClientId, key: Uuid) -> Result<Position, NotDone> {
        let command_id = self.command_id("revoke-key");
        Ok(self.execute(client, &command_id, Command::RevokeKey { key }).await?.after().position)
    }

    pub async fn change_role(&self, client: &ClientId, role: Role) -> Result<Position, NotDone> {
        let command_id = self.command_id("change-role");
        Ok(self.execute(client, &command_id, Command::ChangeRole { role }).await?.after().position)
    }

    /// A command that is never repeated.
    pub fn command_id(&self, what: &str) -> CommandId {
        CommandId::new(format!("{what}/{}", self.ids.uuid()))
    }

    async fn issue(
        &self,
        client: &ClientId,
        what: &str,
        expires_at: Option<Timestamp>,
        command: impl FnOnce(Uuid, String) -> Command,
    ) -> Result<IssuedKey, NotDone> {
        if expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(invalid("expires_at", "must be in the future"));
        }
        let (key_id, key) = (self.ids.uuid(), ApiKey::generate(&SystemRandom::new()));
        let done = self.execute(client, &self.command_id(what), command(key_id, key.hash())).await?;
        let position = done.after().position;
        Ok(IssuedKey { key_id, key: key.expose().to_owned(), expires_at, position })
    }

    async fn execute(
        &self,
        client: &ClientId,
        command_id: &CommandId,
        command: Command,
    ) -> Result<Done<Client>, NotDone> {
        Ok(self.commands.execute::<Client>(client, command_id, &self.context, command).await?)
    }

    /// What a client was created as; its role may have changed since.
    async fn first_event(&self, id: &ClientId) -> anyhow::Result<Event> {
        let stream = StreamName::new(format!("client-{id}"));
        let first = self.store.read_stream(&stream, Direction::Forward, 0, 1).await?;
        let first = first.first().context("a client that exists has a first event")?;
        Ok(decode::<Client>(&first.name, &first.data)?)
    }

    fn check(&self, profile: &Profile) -> Result<(), NotDone> {
        if profile.tenants.as_ref().is_some_and(|tenants| tenants.is_empty() || tenants.len() > TENANTS_MAX) {
            return Err(invalid("tenants", "must name 1 to 1000 tenants, or be left out for all of them"));
        }
        if profile.return_urls.len() > RETURN_URLS_MAX {
            return Err(invalid("return_urls", "must be at most 16"));
        }
        match profile.return_urls.iter().find(|url| !is_return_url(url, self.loopback_http)) {
            Some(_) => {
                let local = if self.loopback_http { ", or http://localhost ones," } else { "" };
                let problem = format!(
                    "must be https:// addresses{local} without user and fragment, of at most 2048 bytes"
                );
                Err(invalid("return_urls", &problem))
            }
            None => Ok(()),
        }
    }
}

fn invalid(field: &'static str, problem: &str) -> NotDone {
    NotDone::Invalid { field, problem: problem.to_owned() }
}

fn is_return_url(text: &str, loopback_http: bool) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let secure =
            url.scheme() == "https" || (loopback_http && url.scheme() == "http" && is_loopback(&url));
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        secure && bare && text.len() <= RETURN_URL_LENGTH_MAX
    })
}

impl ClientView {
    pub fn of(id: ClientId, row: ClientRow) -> Self {
        let ClientRow { role, tenants, return_urls, created_at, keys } = row;
        let key = |(key_id, KeyRow { created_at, expires_at, revoked_at, .. })| KeyView {
            key_id,
            created_at,
            expires_at,
            revoked_at,
        };
        let mut keys: Vec<_> = keys.into_iter().map(key).collect();
        keys.sort_by_key(|key| (key.created_at, key.key_id));
        Self { id, role, tenants, return_urls, created_at, keys }
    }
}

impl std::fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_sent_to_https_and_in_dev_also_to_this_machine() {
        for good in ["https://product.example/back", "https://product.example/back?from=teams"] {
            assert!(is_return_url(good, false), "{good}");
        }
        for bad in ["http://product.example", "https://a@product.example", "https://product.example/#a", "x"]
        {
            assert!(!is_return_url(bad, true), "{bad}");
        }
        assert!(is_return_url("http://localhost:3000/back", true));
        assert!(!is_return_url("http://localhost:3000/back", false));
        assert!(!is_return_url(&format!("https://product.example/{}", "a".repeat(2048)), false));
    }
}
