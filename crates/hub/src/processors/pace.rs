//! How fast messages may go out: Microsoft counts per chat, per tenant and per application, and counts refused calls too
//! (Graph, Teams service limits), so it is better not to ask.
//!
//! Where several hubs share the work they share the limits, each by the number of shards that it holds. A chat is one
//! hub's at a time.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{ConnectionId, ShardId, TenantId};
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
    tenant_per_second: u32,
    app_per_second: u32,
    limits: Mutex<Arc<Limits>>,
}

/// The limiters of a hub that holds so many shards.
struct Limits {
    shards: usize,
    tenants: DefaultKeyedRateLimiter<TenantId>,
    app: DefaultDirectRateLimiter,
}

impl Limits {
    fn new(tenant_per_second: u32, app_per_second: u32, shards: usize) -> Self {
        Self {
            shards,
            tenants: RateLimiter::keyed(quota(tenant_per_second, shards)),
            app: RateLimiter::direct(quota(app_per_second, shards)),
        }
    }
}

/// The part of so many a second that is due to who holds so many shards.
fn quota(per_second: u32, shards: usize) -> Quota {
    const ALL: u32 = 256;
    let parts = per_second.saturating_mul(u32::try_from(shards).unwrap_or(ALL)).max(1);
    let period = Duration::from_secs(ALL.into()) / parts;
    let burst = NonZeroU32::new(parts / ALL).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst)
}

impl Pace {
    pub fn new(config: &DeliveryConfig) -> Self {
        let (tenant_per_second, app_per_second) = (config.tenant_per_second, config.app_per_second);
        let limits = Limits::new(tenant_per_second, app_per_second, ShardId::COUNT);
        Self {
            chats: Mutex::default(),
            tenant_per_second,
            app_per_second,
            limits: Mutex::new(Arc::new(limits)),
        }
    }

    /// Those for so many shards; begun anew where it was another number before. A hub that is not sure of any for a moment
    /// keeps those that it had.
    fn limits(&self, shards: usize) -> Arc<Limits> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if shards > 0 && limits.shards != shards {
            *limits = Arc::new(Limits::new(self.tenant_per_second, self.app_per_second, shards));
        }
        limits.clone()
    }

    /// Whether a message may go to this chat now, or when to ask again, for a hub that holds so many shards. A yes is
    /// counted.
    pub fn permit(&self, shards: usize, tenant: TenantId, lane: ConnectionId) -> Result<(), Instant> {
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
        let limits = self.limits(shards);
        limits.app.check().map_err(wait)?;
        limits.tenants.check_key(&tenant).map_err(wait)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_together_may_do_what_one_may_alone() {
        assert_eq!(quota(20, 256), Quota::per_second(NonZeroU32::new(20).unwrap()));
        for hubs in [2, 3, 5, 100] {
            let shards = ShardId::COUNT / hubs;
            let times = u32::try_from(hubs).unwrap();
            let all = f64::from(times) / quota(20, shards).replenish_interval().as_secs_f64();
            assert!(all <= 20.0 + 1e-6, "{hubs} hubs may do {all} a second");
            assert!(all > 14.0, "{hubs} hubs may do {all} a second only");
        }
    }
}
