//! The tokens by which the Bot Connector knows the bot.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// When each ends, in ms of the simulator's clock.
#[derive(Default)]
pub(crate) struct AppTokens(RwLock<HashMap<String, u64>>);

impl AppTokens {
    pub(crate) fn add(&self, token: String, expires_ms: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(token, expires_ms);
    }

    pub(super) fn is_valid(&self, token: &str, now_ms: u64) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).is_some_and(|&expires_ms| now_ms < expires_ms)
    }

    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
