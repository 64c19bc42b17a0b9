//! How many requests are taken, per API client and per address.
//!
//! A request with a valid key counts for its client only; every other one (pages, sign-ins, wrong keys) counts for the
//! address it comes from, an IPv6 one by its /64. What is posted to the bot is counted apart, since Teams speaks for
//! everybody from a few addresses.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use domain::ClientId;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{
    address,
    problem::{ApiError, Kind},
};
use crate::config::Section;

/// Requests per second, and at once after a quiet time.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug)]
pub struct LimitsConfig {
    pub per_key: Rate,
    pub per_address: Rate,
    /// Activities for the bot, from one address.
    pub bot: Rate,
    /// Event tails open at once, over all clients.
    pub events_streams_max: usize,
}

impl LimitsConfig {
    pub fn read(section: &mut Section<'_>) -> Self {
        let mut number = |key| NonZeroU32::new(section.number(key, 1..=1_000_000)).unwrap_or(NonZeroU32::MIN);
        Self {
            per_key: Rate { per_second: number("per_key_per_second"), burst: number("per_key_burst") },
            per_address: Rate {
                per_second: number("per_address_per_second"),
                burst: number("per_address_burst"),
            },
            bot: Rate { per_second: number("bot_per_second"), burst: number("bot_burst") },
            events_streams_max: section.number("events_streams_max", 1..=10_000),
        }
    }
}

/// The limiters of one hub.
#[derive(Debug)]
pub(super) struct Limits {
    clients: Limiter<ClientId>,
    addresses: Limiter<IpAddr>,
    bot: Limiter<IpAddr>,
}

impl Limits {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        Self {
            clients: Limiter::new(config.per_key),
            addresses: Limiter::new(config.per_address),
            bot: Limiter::new(config.bot),
        }
    }

    pub(super) fn client(&self, client: &ClientId) -> Result<(), ApiError> {
        self.clients.take(client)
    }

    pub(super) fn address(&self, address: IpAddr) -> Result<(), ApiError> {
        self.addresses.take(&address::network(address))
    }

    pub(super) fn bot(&self, address: IpAddr) -> Result<(), ApiError> {
        self.bot.take(&address::network(address))
    }
}

/// After so many requests the keys that have been quiet are forgotten, which bounds the memory.
const PRUNE_EVERY: u32 = 1024;

#[derive(Debug)]
struct Limiter<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    taken: AtomicU32,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { limiter: RateLimiter::keyed(quota), taken: AtomicU32::new(0) }
    }

    fn take(&self, key: &K) -> Result<(), ApiError> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::new(Kind::TooManyRequests, "Slow down, and try again when Retry-After says.")
                .retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn one_who_asks_too_much_does_not_stop_the_others() {
        let limiter = Limiter::new(rate(1, 2));
        assert!(limiter.take(&"a").is_ok() && limiter.take(&"a").is_ok());
        assert_eq!(limiter.take(&"a").unwrap_err().kind(), Kind::TooManyRequests);
        assert!(limiter.take(&"b").is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let limits = Limits::new(&LimitsConfig {
            per_key: rate(1, 1),
            per_address: rate(1, 1),
            bot: rate(2, 2),
            events_streams_max: 1,
        });
        assert!(limits.address("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limits.address("2001:db8::2".parse().unwrap()).is_err());
        assert!(limits.address("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(limits.bot("2001:db8::1".parse().unwrap()).is_ok(), "counted apart");
    }

    #[test]
    fn the_quiet_are_forgotten() {
        let limiter = Limiter::new(rate(1_000_000, 1));
        for key in 0..PRUNE_EVERY * 8 {
            limiter.take(&key).unwrap();
        }
        assert!(limiter.limiter.len() < 2 * PRUNE_EVERY as usize);
    }
}
