//! What one interactive sign-in gave, and what became of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::{HubId, SignInId, Timestamp};

/// What one interactive sign-in gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: SignInId,
    /// Counts this person's grants from 1.
    pub number: u64,
    pub generation: u64,
    /// The grant before this one, whose tokens are of no use any more.
    pub former: Option<SignInId>,
    pub scopes: Vec<String>,
    pub expires_at: Timestamp,
    /// That the newest access token expired is recorded.
    pub expired: bool,
    /// The vault no longer has its tokens.
    pub destroyed: bool,
    /// How many claims to refresh this grant has seen.
    pub claims: u64,
    pub open_claim: Option<Claim>,
    /// After a failure that is not final: not to be tried before.
    pub refresh_not_before: Option<Timestamp>,
    /// Failures in a row, for the back-off.
    pub refresh_failures: u32,
}

/// A right to call the token endpoint once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    pub number: u64,
    pub hub: HubId,
    /// How long the holder may take; others count it on their own monotonic clock.
    pub timeout_ms: u64,
}

impl Grant {
    pub(super) fn new(
        id: SignInId,
        number: u64,
        generation: u64,
        scopes: Vec<String>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id,
            number,
            generation,
            former: None,
            scopes,
            expires_at,
            expired: false,
            destroyed: false,
            claims: 0,
            open_claim: None,
            refresh_not_before: None,
            refresh_failures: 0,
        }
    }

    pub(super) fn evolve(&mut self, event: Event) {
        match event {
            Event::RefreshStarted { claim, hub, timeout_ms, .. } => {
                self.claims = claim;
                self.open_claim = Some(Claim { number: claim, hub, timeout_ms });
            }
            Event::TokenRefreshed { generation, scopes, expires_at, .. } => {
                self.generation = generation;
                self.scopes = scopes;
                self.expires_at = expires_at;
                self.expired = false;
                self.open_claim = None;
                self.refresh_not_before = None;
                self.refresh_failures = 0;
            }
            Event::RefreshFailed { not_before, .. } => {
                self.open_claim = None;
                self.refresh_not_before = not_before;
                self.refresh_failures += 1;
            }
            Event::TokenExpired { .. } | Event::TokensRestored { .. } => self.expired = true,
            Event::TokensDestroyed { .. } => self.destroyed = true,
            _ => {}
        }
    }
}
