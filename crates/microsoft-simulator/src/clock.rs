//! Microsoft's clock: real time plus an offset that only grows, by the control API.
//!
//! **Invariant.** Everything that ages here (codes, tokens, throttling) reads this clock and no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Default)]
pub(crate) struct Clock {
    offset_ms: AtomicU64,
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "this is the simulator's one clock")]
    pub(crate) fn now_ms(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        millis(real) + self.offset_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset_ms.fetch_add(millis(by), Ordering::Relaxed);
    }

    pub(crate) fn offset_ms(&self) -> u64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.offset_ms.store(0, Ordering::Relaxed);
    }
}

/// `2026-01-31T08:15:30.123Z`, as Graph writes times.
pub(crate) fn stamp(ms: u64) -> String {
    format(ms, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

/// `2026-01-31 08:15:30Z`, as Entra ID writes times in its errors.
pub(crate) fn entra_stamp(ms: u64) -> String {
    format(ms, "%Y-%m-%d %H:%M:%SZ")
}

/// `2026-01-31T08:15:30`, as Graph writes times in its errors.
pub(crate) fn error_stamp(ms: u64) -> String {
    format(ms, "%Y-%m-%dT%H:%M:%S")
}

/// `08:15`, for people.
pub(crate) fn hour(ms: u64) -> String {
    format(ms, "%H:%M")
}

fn format(ms: u64, pattern: &str) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).strftime(pattern).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
