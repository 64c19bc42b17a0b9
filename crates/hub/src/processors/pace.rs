//! How fast messages may go out: Microsoft counts per chat, per tenant and per application, and counts refused calls too
//! (Graph: Teams service limits; the Bot Connector: limits per bot and conversation), so it is better not to ask. Each way
//! out is counted on its own.
//!
//! Where several hubs share the work they share the limits, each by the number of shards that it holds. A chat is one
//! hub's at a time.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{ConnectionId, ShardId, Surface, TenantId};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use tokio::time::Instant;

use crate::config::DeliveryConfig;

/// Chats remembered before those are dropped whose time is over.
const CHATS_MAX: usize = 16_384;

/// How many messages of the bot a conversation takes, in how long.
const CONVERSATION_MAX: [(usize, Duration); 4] = [
    (7, Duration::from_secs(1)),
    (8, Duration::from_secs(2)),
    (60, Duration::from_secs(30)),
    (1800, Duration::from_hours(1)),
];

/// Over how long those are spread that were told to wait.
const SPREAD_MS: u64 = 500;

/// Counts what goes out.
pub struct Pace {
    chats: Mutex<HashMap<ConnectionId, Instant>>,
    conversations: Mutex<HashMap<ConnectionId, Said>>,
    tenant_per_second: u32,
    app_per_second: u32,
    limits: Mutex<Arc<Limits>>,
}

/// The limiters of a hub that holds so many shards.
struct Limits {
    shards: usize,
    tenants: DefaultKeyedRateLimiter<(Surface, TenantId)>,
    apps: DefaultKeyedRateLimiter<Surface>,
}

impl Limits {
    fn new(tenant_per_second: u32, app_per_second: u32, shards: usize) -> Self {
        Self {
            shards,
            tenants: RateLimiter::keyed(quota(tenant_per_second, shards)),
            apps: RateLimiter::keyed(quota(app_per_second, shards)),
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
            conversations: Mutex::default(),
            tenant_per_second,
            app_per_second,
            limits: Mutex::new(Arc::new(limits)),
        }
    }

    /// Those for so many shards; begun anew where it was another number before. A hub that is not sure of any for a moment
    /// keeps those that it had.
    fn limits(&self, shards: usize) -> Arc<Limits> {
        let mut limits = lock(&self.limits);
        if shards > 0 && limits.shards != shards {
            *limits = Arc::new(Limits::new(self.tenant_per_second, self.app_per_second, shards));
        }
        limits.clone()
    }

    /// Whether a message may go to this chat now, or when to ask again, for a hub that holds so many shards. A yes is
    /// counted.
    pub fn permit(
        &self,
        shards: usize,
        way: Surface,
        tenant: TenantId,
        lane: ConnectionId,
    ) -> Result<(), Instant> {
        let now = Instant::now();
        let not_before = match way {
            Surface::Graph => lock(&self.chats).get(&lane).copied(),
            Surface::Bot => lock(&self.conversations).get(&lane).and_then(Said::full_until),
        };
        if let Some(at) = not_before.filter(|at| now < *at) {
            return Err(at);
        }
        let clock = governor::clock::DefaultClock::default();
        // Those that wait come back one after the other, not all at the same moment.
        let spread = Duration::from_millis(lane.0.as_u64_pair().1 % SPREAD_MS);
        let wait = |not_until: governor::NotUntil<_>| now + not_until.wait_time_from(clock.now()) + spread;
        let limits = self.limits(shards);
        limits.apps.check_key(&way).map_err(wait)?;
        limits.tenants.check_key(&(way, tenant)).map_err(wait)
    }

    /// Something was posted to this chat by Graph: the next one waits for `interval`.
    pub fn posted(&self, lane: ConnectionId, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut chats = lock(&self.chats);
        if chats.len() >= CHATS_MAX {
            chats.retain(|_, at| now < *at);
        }
        chats.insert(lane, now + interval);
    }

    /// The bot said something in its chat with this person.
    pub fn said(&self, lane: ConnectionId) {
        let now = Instant::now();
        let mut conversations = lock(&self.conversations);
        // Looked through only where as many again came since, so that the most of them cost nothing.
        if conversations.len() >= CHATS_MAX && conversations.len() == conversations.capacity() {
            conversations.retain(|_, said| said.is_recent(now));
        }
        conversations.entry(lane).or_default().push(now);
    }
}

/// When the bot said something in a conversation, within the longest time that is counted.
#[derive(Default)]
struct Said(VecDeque<Instant>);

impl Said {
    fn push(&mut self, now: Instant) {
        let [.., (most, _)] = CONVERSATION_MAX;
        if self.0.len() == most {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// When the next one may be said, as far as what was said before matters.
    fn full_until(&self) -> Option<Instant> {
        let until = |(most, within): (usize, Duration)| {
            let first = self.0.len().checked_sub(most)?;
            Some(self.0[first] + within)
        };
        CONVERSATION_MAX.into_iter().filter_map(until).max()
    }

    fn is_recent(&self, now: Instant) -> bool {
        let [.., (_, longest)] = CONVERSATION_MAX;
        self.0.back().is_some_and(|last| *last + longest > now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_takes_so_many_in_each_time_and_then_one_for_each_that_is_over() {
        let begun = Instant::now();
        let mut said = Said::default();
        let (mut now, mut times) = (begun, vec![]);
        for _ in 0..2000 {
            now = now.max(said.full_until().unwrap_or(now));
            said.push(now);
            times.push(now);
        }
        for (most, within) in CONVERSATION_MAX {
            assert!(times.windows(most + 1).all(|run| run[most] - run[0] >= within), "{most} in {within:?}");
        }
        assert_eq!(times[6], begun, "no slower than it has to be");
        assert_eq!(
            (times[7] - begun, times[1800] - begun),
            (Duration::from_secs(1), Duration::from_hours(1))
        );
    }

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
