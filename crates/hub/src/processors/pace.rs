//! How fast messages may go out: Microsoft counts per chat, per tenant and per application, and counts refused calls too
//! (Graph, Teams service limits), so it is better not to ask.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::{ConnectionId, TenantId};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use tokio::time::Instant;

use crate::config::DeliveryConfig;

/// Chats remembered before those are dropped whose time is over.
const CHATS_MAX: usize = 16_384;

/// Over how long those are spread that were told to wait.
const SPREAD_MS: u64 = 500;

/// Counts what goes out.
pub struct Pace {
    chats: Mutex<HashMap<ConnectionId, Instant>>,
    tenants: DefaultKeyedRateLimiter<TenantId>,
    app: DefaultDirectRateLimiter,
}

impl Pace {
    pub fn new(config: &DeliveryConfig) -> Self {
        let quota = |per_second| Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self {
            chats: Mutex::default(),
            tenants: RateLimiter::keyed(quota(config.tenant_per_second)),
            app: RateLimiter::direct(quota(config.app_per_second)),
        }
    }

    /// Whether a message may go to this chat now, or when to ask again. A yes is counted.
    pub fn permit(&self, tenant: TenantId, lane: ConnectionId) -> Result<(), Instant> {
        let now = Instant::now();
        let chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = chats.get(&lane).filter(|at| now < **at) {
            return Err(*at);
        }
        drop(chats);
        let clock = governor::clock::DefaultClock::default();
        // Those that wait come back one after the other, not all at the same moment.
        let spread = Duration::from_millis(lane.0.as_u64_pair().1 % SPREAD_MS);
        let wait = |not_until: governor::NotUntil<_>| now + not_until.wait_time_from(clock.now()) + spread;
        self.app.check().map_err(wait)?;
        self.tenants.check_key(&tenant).map_err(wait)
    }

    /// Something was posted to this chat: the next one waits for `interval`.
    pub fn sent(&self, lane: ConnectionId, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        if chats.len() >= CHATS_MAX {
            chats.retain(|_, at| now < *at);
        }
        chats.insert(lane, now + interval);
    }
}
