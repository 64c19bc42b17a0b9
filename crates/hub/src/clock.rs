//! Time and chance, as they are handed in to everything that needs them.
//!
//! **Invariant.** Nothing else in the hub asks the machine for the time or for a random id, so a test, or `chancery dev`,
//! can move the one and repeat the other.

use std::{cell::RefCell, mem, time::Duration};

use async_trait::async_trait;
use domain::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// The hub's time. It may jump: wall clocks are corrected, and `dev` moves its own.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Returns once `now` is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// How long a sleeper relies on the wall clock not having been corrected meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "here the time comes from")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_AGAIN)).await;
        }
    }
}

/// The machine's clock and an offset that only grows: time runs, and can be moved forward.
#[cfg(feature = "dev")]
#[derive(Debug)]
pub struct MovableClock {
    offset: tokio::sync::watch::Sender<Duration>,
}

#[cfg(feature = "dev")]
impl MovableClock {
    pub fn new(offset: Duration) -> Self {
        Self { offset: tokio::sync::watch::Sender::new(offset) }
    }

    /// Moves the time forward and wakes every sleeper whose time has come. Answers the whole offset.
    pub fn advance(&self, by: Duration) -> Duration {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
        *self.offset.borrow()
    }
}

#[cfg(feature = "dev")]
#[async_trait]
impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + *self.offset.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let mut moved = self.offset.subscribe();
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
                // The sender lives as long as `self`.
                _ = moved.changed() => {}
            }
        }
    }
}

/// Where new ids come from.
pub trait Ids: Send + Sync {
    fn uuid(&self) -> Uuid;
}

/// Random ids (UUID version 4).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        DRAWN.with_borrow_mut(Drawn::next)
    }
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [[0; 16]; 64], left: 0 }) };
}

/// Random bytes for a number of ids, drawn at once: asking the system for each would take longer than all else about it.
struct Drawn {
    bytes: [[u8; 16]; 64],
    /// How many of them were not used yet, from the first on.
    left: usize,
}

impl Drawn {
    fn next(&mut self) -> Uuid {
        if self.left == 0 {
            let filled = SystemRandom::new().fill(self.bytes.as_flattened_mut());
            filled.expect("the operating system gives random bytes");
            self.left = self.bytes.len();
        }
        self.left -= 1;
        uuid::Builder::from_random_bytes(mem::take(&mut self.bytes[self.left])).into_uuid()
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn moving_the_clock_wakes_a_sleeper_whose_time_has_come() {
        let clock = Arc::new(MovableClock::new(Duration::ZERO));
        let wake_at = clock.now() + Duration::from_hours(2);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(wake_at).await }
        });
        clock.advance(Duration::from_hours(1));
        assert!(clock.now() < wake_at);
        clock.advance(Duration::from_hours(1));
        sleeper.await.unwrap();
    }

    #[test]
    fn ids_are_random_and_none_comes_twice() {
        let ids: HashSet<_> = (0..1000).map(|_| SystemIds.uuid()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
    }

    #[tokio::test]
    async fn a_time_gone_by_is_not_waited_for() {
        SystemClock.sleep_until(Timestamp::from_micros(0)).await;
        MovableClock::new(Duration::from_hours(1)).sleep_until(SystemClock.now()).await;
    }
}
