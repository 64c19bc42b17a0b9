//! Time and chance, as they are handed in to everything that needs them.
//!
//! **Invariant.** Nothing else in the hub asks the machine for the time or for a random id, so a test, or `chancery dev`,
//! can move the one and repeat the other.

use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
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
    #[expect(clippy::disallowed_methods, reason = "here new ids come from")]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests {
    use std::sync::Arc;

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

    #[tokio::test]
    async fn a_time_gone_by_is_not_waited_for() {
        SystemClock.sleep_until(Timestamp::from_micros(0)).await;
        MovableClock::new(Duration::from_hours(1)).sleep_until(SystemClock.now()).await;
    }
}
