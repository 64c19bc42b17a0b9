//! Access tokens that are good to use: from the vault while they are fresh, by one refresh when they are not.
//!
//! **Invariants.** One claim, one call to the token endpoint; the claim is recorded first. What an answer brought is in the
//! vault before any event says so. A good grant is never given up for trouble between the hub and Microsoft.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use custody::{CustodyError, Stored, TokenPair, VaultError};
use domain::{
    CommandId, ConnectionId, Diagnosis, PersonId, SignInId, Timestamp,
    connection::{
        Claim, Command, Connection, Grant, ReauthorizationReason, RefreshFailure, Refusal, StartRefresh,
        Status,
    },
};
use microsoft::TokenFailure;
use secrecy::SecretString;
use store::Position;
use tokio::time::Instant;

use crate::{
    commands::{Context, Done, Failure},
    hub::Hub,
    metrics::RefreshOutcome,
    processors::{Begun, backoff},
};

/// What is left of an access token's life when it is still worth sending with it.
const LAST_USE: Duration = Duration::from_secs(30);
/// After Microsoft refused the hub itself, no refresh is tried for this long: only an operator can mend that.
const HUB_PAUSE: Duration = Duration::from_mins(1);
/// Back-off between refreshes of one grant that failed for passing reasons.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// Calls in a row that the token endpoint may leave unanswered before it is given a rest, and how long.
const UNANSWERED_MAX: u32 = 5;
const UNANSWERED_PAUSE: Duration = Duration::from_secs(10);
/// How often, and at what intervals, the vault is asked to take new tokens.
const PUTS_MAX: u32 = 50;
const PUT_PAUSE: Duration = Duration::from_millis(200);
/// Tokens kept in memory; those of the people written to lately.
const CACHED_MAX: usize = 4096;

/// What is to be had in the way of a token.
pub enum Fresh {
    Token {
        access: SecretString,
        grant: SignInId,
        generation: u64,
    },
    /// Only the person, or an administrator, can change that.
    Broken(Status),
    /// Not now; nobody's fault.
    Later {
        until: Timestamp,
        diagnosis: Diagnosis,
    },
}

/// What this process knows of tokens besides the log and the vault.
#[derive(Default)]
pub struct Tokens {
    /// One refresh of a connection at a time.
    turns: Mutex<HashMap<ConnectionId, Arc<tokio::sync::Mutex<()>>>>,
    cached: Mutex<HashMap<SignInId, (u64, SecretString)>>,
    /// Generations that were asked for because Graph refused the one before, until Graph takes one.
    renewed: Mutex<HashMap<ConnectionId, u64>>,
    /// Calls in a row that the token endpoint did not answer.
    unanswered: AtomicU32,
    hub_paused_until: Mutex<Option<Instant>>,
}

impl Tokens {
    fn turn(&self, connection: ConnectionId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for need not be kept.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(connection).or_default().clone()
    }

    fn cached(&self, grant: SignInId, generation: u64) -> Option<SecretString> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(&grant).filter(|(of, _)| *of == generation).map(|(_, access)| access.clone())
    }

    fn cache(&self, grant: SignInId, generation: u64, access: SecretString) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(grant, (generation, access));
    }

    /// Lets go of all tokens: somebody else works with some of them now, and may destroy them.
    pub fn forget_all(&self) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets go of a grant's token.
    pub fn forget(&self, grant: SignInId) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(&grant);
    }

    fn hub_pause(&self) -> Option<Duration> {
        let until = *self.hub_paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.and_then(|until| until.checked_duration_since(Instant::now()))
    }

    fn pause_hub(&self, pause: Duration) {
        *self.hub_paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }

    /// Whether the token endpoint answers. While it does not, nobody waits for it who need not.
    fn heard(&self, answered: bool) {
        if answered {
            self.unanswered.store(0, Ordering::Relaxed);
        } else if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MAX {
            self.pause_hub(UNANSWERED_PAUSE);
        }
    }

    /// Graph took the connection's token.
    pub fn accepted(&self, connection: ConnectionId) {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection);
    }
}

/// A token of this connection, as it was just loaded, that is good for a while; refreshed if need be.
pub async fn fresh(hub: &Hub, id: ConnectionId, connection: &Connection) -> Result<Fresh> {
    let Some(grant) = connection.grant.as_ref().filter(|_| connection.status == Status::Active) else {
        return Ok(Fresh::Broken(connection.status));
    };
    let now = hub.clock.now();
    if !grant.expired && now + hub.config.tokens.refresh_margin < grant.expires_at {
        return stored(hub, id, grant).await;
    }
    match refresh(hub, id, grant.generation).await? {
        // The old one does while it lasts, so a passing trouble at the token endpoint holds up nothing.
        Fresh::Later { .. } if !grant.expired && now + LAST_USE < grant.expires_at => {
            stored(hub, id, grant).await
        }
        answer => Ok(answer),
    }
}

/// Replaces the tokens of `generation`, unless somebody else did.
pub async fn refresh(hub: &Hub, id: ConnectionId, generation: u64) -> Result<Fresh> {
    let turn = hub.tokens.turn(id);
    let _turn = turn.lock().await;
    let connection = hub.commands.load::<Connection>(id).await?.state;
    let (Status::Active, Some(grant), Some(person)) =
        (connection.status, &connection.grant, connection.person)
    else {
        return Ok(Fresh::Broken(connection.status));
    };
    if grant.generation > generation {
        return stored(hub, id, grant).await;
    }
    let Some(vaulted) = in_vault(hub, grant.id).await? else { return lost(hub, id, person, grant).await };
    if vaulted.generation > grant.generation {
        // Somebody died between the vault and the event.
        return record(hub, id, person, grant, vaulted.generation, vaulted.claim, &vaulted.value).await;
    }
    let now = hub.clock.now();
    let wait = hub.tokens.hub_pause().map(|pause| now + pause);
    if let Some(until) = wait.or(grant.refresh_not_before.filter(|until| now < *until)) {
        return Ok(Fresh::Later { until, diagnosis: Diagnosis::default() });
    }
    let begun = Instant::now();
    let Some(claim) = claim(hub, id, person, grant).await? else {
        return Ok(Fresh::Later { until: now + BACKOFF_FIRST, diagnosis: Diagnosis::default() });
    };
    if begun.elapsed() > hub.config.tokens.refresh_timeout {
        // The store took so long that another hub may hold the claim for dead before an answer could be here.
        return Ok(Fresh::Later { until: now + BACKOFF_FIRST, diagnosis: Diagnosis::default() });
    }
    call(hub, id, person, grant, claim, &vaulted.value).await
}

/// After Graph refused a token: a new one, once. `None` where the refused one was itself brought by this.
pub async fn renew(hub: &Hub, id: ConnectionId, grant: SignInId, generation: u64) -> Result<Option<Fresh>> {
    hub.tokens.forget(grant);
    let renewed = || hub.tokens.renewed.lock().unwrap_or_else(PoisonError::into_inner);
    if renewed().get(&id) == Some(&generation) {
        return Ok(None);
    }
    let fresh = refresh(hub, id, generation).await?;
    if let Fresh::Token { generation, .. } = fresh {
        renewed().insert(id, generation);
    }
    Ok(Some(fresh))
}

/// What the vault has of a grant; `None` also where it was destroyed.
async fn in_vault(hub: &Hub, grant: SignInId) -> Result<Option<Stored<TokenPair>>> {
    match hub.custody.get_tokens(grant).await {
        Err(CustodyError::Destroyed { .. }) => Ok(None),
        answer => Ok(answer?),
    }
}

/// Puts what a claim brought into the vault. Where refresh tokens rotate strictly it is the only one left, so a vault that
/// can't take it now is asked again for a while.
async fn put(hub: &Hub, grant: SignInId, generation: u64, claim: u64, tokens: &TokenPair) -> Result<()> {
    for _ in 0..PUTS_MAX {
        match hub.custody.put_tokens(grant, generation, claim, tokens).await {
            Err(VaultError::Unavailable(why)) => {
                tracing::error!(error = why, "New tokens could not be kept; trying again.");
                tokio::time::sleep(PUT_PAUSE).await;
            }
            answer => return Ok(answer?),
        }
    }
    Ok(hub.custody.put_tokens(grant, generation, claim, tokens).await?)
}

/// The newest token, as the vault or this process has it.
async fn stored(hub: &Hub, id: ConnectionId, grant: &Grant) -> Result<Fresh> {
    let token = |access, generation| Fresh::Token { access, grant: grant.id, generation };
    if let Some(access) = hub.tokens.cached(grant.id, grant.generation) {
        return Ok(token(access, grant.generation));
    }
    let Some(stored) = in_vault(hub, grant.id).await? else {
        let person =
            hub.commands.load::<Connection>(id).await?.state.person.context("a grant belongs to a person")?;
        return lost(hub, id, person, grant).await;
    };
    hub.tokens.cache(grant.id, stored.generation, stored.value.access.clone());
    Ok(token(stored.value.access, stored.generation))
}

/// Whether the holder of a claim can't be calling any more. It is our turn, so it is nobody of this process.
fn is_dead(hub: &Hub, grant: SignInId, open: Claim) -> bool {
    let timeout = Duration::from_millis(open.timeout_ms);
    let over = || hub.first_seen.is_over(Begun::Refresh(grant, open.number), timeout).is_ok();
    open.hub == hub.id || hub.store.is_ours_alone() || over()
}

/// Records the right to call once. `None` where another process has it.
async fn claim(hub: &Hub, id: ConnectionId, person: PersonId, grant: &Grant) -> Result<Option<u64>> {
    let timeout = hub.config.tokens.refresh_timeout;
    let start = StartRefresh {
        grant: grant.id,
        generation: grant.generation,
        hub: hub.id,
        // The call's own time ends before the claim's, also where it begins late.
        timeout_ms: u64::try_from((timeout * 2).as_millis())?,
        dead_claim: grant.open_claim.filter(|open| is_dead(hub, grant.id, *open)).map(|open| open.number),
    };
    let command_id = command_id("refresh", grant.id, grant.claims + 1);
    let context = context(id, person);
    let started =
        hub.commands.execute::<Connection>(id, &command_id, &context, Command::StartRefresh(start)).await;
    match started {
        Ok(Done::Appended { .. }) => Ok(Some(grant.claims + 1)),
        Ok(Done::AlreadyDone(_)) => Ok(None),
        Err(Failure::Refused(Refusal::Superseded | Refusal::NotActive(_) | Refusal::RefreshUnderWay(_))) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The one call of a claim, and what came of it.
async fn call(
    hub: &Hub,
    id: ConnectionId,
    person: PersonId,
    grant: &Grant,
    claim: u64,
    old: &TokenPair,
) -> Result<Fresh> {
    let Some(refresh_token) = &old.refresh else { return lost(hub, id, person, grant).await };
    let timeout = hub.config.tokens.refresh_timeout;
    match hub.entra.refresh(person.tenant, refresh_token, timeout).await {
        Ok(tokens) => {
            hub.metrics.refreshed(RefreshOutcome::Refreshed);
            hub.tokens.heard(true);
            let new = TokenPair {
                access: tokens.access,
                // Entra always brings a new one; a provider that does not means that the old one stays.
                refresh: tokens.refresh.or_else(|| Some(refresh_token.clone())),
                expires_at: hub.clock.now() + tokens.expires_in,
                scopes: if tokens.scopes.is_empty() { old.scopes.clone() } else { tokens.scopes },
            };
            let generation = grant.generation + 1;
            put(hub, grant.id, generation, claim, &new).await?;
            record(hub, id, person, grant, generation, claim, &new).await
        }
        Err(failure) => failed(hub, id, person, grant, claim, &failure).await,
    }
}

/// Records a generation that the vault has, and lets go of the one before.
async fn record(
    hub: &Hub,
    id: ConnectionId,
    person: PersonId,
    grant: &Grant,
    generation: u64,
    claim: u64,
    tokens: &TokenPair,
) -> Result<Fresh> {
    let finish = Command::FinishRefresh {
        grant: grant.id,
        generation,
        claim,
        scopes: tokens.scopes.clone(),
        expires_at: tokens.expires_at,
    };
    let command_id = command_id("refreshed", grant.id, generation);
    hub.commands.execute::<Connection>(id, &command_id, &context(id, person), finish).await?;
    if let Err(error) = hub.custody.forget_older_tokens(grant.id, generation).await {
        // The next refresh lets go of them, or the end of the grant.
        tracing::warn!(error = %error, "Older tokens could not be let go of.");
    }
    hub.tokens.cache(grant.id, generation, tokens.access.clone());
    Ok(Fresh::Token { access: tokens.access.clone(), grant: grant.id, generation })
}

async fn failed(
    hub: &Hub,
    id: ConnectionId,
    person: PersonId,
    grant: &Grant,
    claim: u64,
    failure: &TokenFailure,
) -> Result<Fresh> {
    hub.metrics.refreshed(RefreshOutcome::of(failure));
    hub.tokens.heard(!matches!(failure, TokenFailure::NotSent { .. } | TokenFailure::Ambiguous { .. }));
    let now = hub.clock.now();
    let passing = backoff(BACKOFF_FIRST, BACKOFF_MAX, grant.refresh_failures, hub.ids.as_ref());
    let not_before = match failure {
        TokenFailure::Final { .. }
        | TokenFailure::ConsentRequired { .. }
        | TokenFailure::PersonSuspended { .. } => None,
        TokenFailure::HubProblem { diagnosis } => {
            tracing::error!(
                oauth.error = diagnosis.error,
                entra.code = diagnosis.aadsts,
                "Entra ID refuses the hub itself: check client_id and client_secret. No grant is given up for it."
            );
            hub.tokens.pause_hub(HUB_PAUSE);
            Some(now + HUB_PAUSE)
        }
        TokenFailure::TenantProblem { .. } => Some(now + BACKOFF_MAX),
        TokenFailure::Throttled { retry_after, .. } => Some(now + retry_after.unwrap_or(passing)),
        TokenFailure::NotSent { .. } | TokenFailure::Transient { .. } | TokenFailure::Ambiguous { .. } => {
            Some(now + passing)
        }
    };
    let reason = match failure {
        TokenFailure::Final { reason, .. } => Some(ReauthorizationReason::from(*reason)),
        _ => None,
    };
    let diagnosis = Diagnosis::from(failure.diagnosis());
    let fail = RefreshFailure {
        grant: grant.id,
        claim,
        class: failure.class(),
        reason,
        diagnosis: diagnosis.clone(),
        not_before,
    };
    let command_id = command_id("refresh-failed", grant.id, claim);
    let context = context(id, person).answered_by(diagnosis.request_id.clone());
    let done =
        hub.commands.execute::<Connection>(id, &command_id, &context, Command::FailRefresh(fail)).await?;
    Ok(match (not_before, done.after().state.status) {
        (Some(until), Status::Active) => Fresh::Later { until, diagnosis },
        (_, status) => Fresh::Broken(status),
    })
}

/// The vault no longer has what the log says it has; only a new sign-in helps.
async fn lost(hub: &Hub, id: ConnectionId, person: PersonId, grant: &Grant) -> Result<Fresh> {
    tracing::error!(connection.id = %id, "The vault has no tokens for the grant in force; the person must sign in again.");
    require_reauthorization(
        hub,
        id,
        person,
        grant.id,
        ReauthorizationReason::TokensLost,
        Diagnosis::default(),
    )
    .await
}

/// Destroys the tokens of a person who was unlinked, and records it: where, is answered. Safe to repeat.
pub async fn destroy(hub: &Hub, id: ConnectionId, person: PersonId, grant: SignInId) -> Result<Position> {
    hub.tokens.forget(grant);
    hub.custody.destroy_tokens(grant).await?;
    let command_id = command_id("destroyed", grant, 0);
    let record = Command::RecordDestroyed { grant };
    let done = hub.commands.execute::<Connection>(id, &command_id, &context(id, person), record).await?;
    Ok(done.after().position)
}

/// Records that the grant is of no use, as something other than a refresh showed.
pub async fn require_reauthorization(
    hub: &Hub,
    id: ConnectionId,
    person: PersonId,
    grant: SignInId,
    why: ReauthorizationReason,
    diagnosis: Diagnosis,
) -> Result<Fresh> {
    let command_id = command_id("reauthorization-required", grant, 0);
    let context = context(id, person).answered_by(diagnosis.request_id.clone());
    let require = Command::RequireReauthorization { grant, why, diagnosis };
    let done = hub.commands.execute::<Connection>(id, &command_id, &context, require).await?;
    Ok(Fresh::Broken(done.after().state.status))
}

fn command_id(what: &str, grant: SignInId, number: u64) -> CommandId {
    CommandId::new(format!("{what}/{grant}/{number}"))
}

fn context(id: ConnectionId, person: PersonId) -> Context {
    Context::hub("tokens", id.to_string()).of_tenant(person.tenant)
}
