//! Since when this hub has known of what another one began outside: the time which that one gave itself is counted from
//! then, by this hub's own monotonic clock.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::{ConnectionId, MessageId, NoticeId, SignInId};
use tokio::time::Instant;

/// Entries kept before those are dropped that nobody has asked after for long.
const KEPT_MAX: usize = 16_384;
const LONG: Duration = Duration::from_hours(1);

/// Something that was begun, and of which no outcome is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Begun {
    /// A lane's message, and the attempt.
    Delivery(ConnectionId, MessageId, u32),
    /// A grant, and the number of the claim.
    Refresh(SignInId, u64),
    /// Something that the bot says, and the attempt.
    Notice(NoticeId, u32),
}

#[derive(Default)]
pub struct FirstSeen(Mutex<HashMap<Begun, Instant>>);

impl FirstSeen {
    /// Whether the time is over that its beginner had for it; if not, when it will be.
    pub fn is_over(&self, begun: Begun, timeout: Duration) -> Result<(), Instant> {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEPT_MAX {
            seen.retain(|_, first| now.duration_since(*first) < LONG);
        }
        let over_at = match seen.entry(begun) {
            Entry::Vacant(entry) => *entry.insert(now) + timeout,
            Entry::Occupied(entry) => {
                let over_at = *entry.get() + timeout;
                if over_at <= now {
                    entry.remove();
                }
                over_at
            }
        };
        if over_at <= now { Ok(()) } else { Err(over_at) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn time_is_counted_from_the_first_sight() {
        let (seen, begun) = (FirstSeen::default(), Begun::Refresh(SignInId(Uuid::nil()), 1));
        let over_at = seen.is_over(begun, LONG).unwrap_err();
        assert_eq!(seen.is_over(begun, LONG), Err(over_at));
        assert_eq!(seen.is_over(begun, Duration::ZERO), Ok(()));
    }
}
