//! How much the bot may say in one conversation.

use std::collections::VecDeque;

/// Windows in ms, and how much may be said within each.
const LIMITS: [(u64, usize); 4] = [(1000, 7), (2000, 8), (30_000, 60), (3_600_000, 1800)];

/// When something was said of late, oldest first.
#[derive(Default)]
pub(crate) struct Pace(VecDeque<u64>);

impl Pace {
    /// Lets something be said now, or says after how many ms it may be. What is refused does not count.
    pub(super) fn admit(&mut self, now_ms: u64) -> Result<(), u64> {
        for (window_ms, most) in LIMITS {
            // The one that has to be out of the window before there is room.
            let Some(&first) = self.0.len().checked_sub(most).and_then(|index| self.0.get(index)) else {
                continue;
            };
            if now_ms < first + window_ms {
                return Err(first + window_ms - now_ms);
            }
        }
        let [.., (_, most)] = LIMITS;
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(now_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn every_window_has_its_limit() {
        let mut pace = Pace::default();
        for _ in 0..7 {
            pace.admit(0).unwrap();
        }
        assert_eq!(pace.admit(400), Err(600));
        pace.admit(1000).unwrap();
        assert_eq!(pace.admit(1100), Err(900), "eight within two seconds");
        let more: usize =
            (1..=29).map(|second| (0..7).filter(|_| pace.admit(second * 1000).is_ok()).count()).sum();
        assert_eq!(8 + more, 60);
        assert_eq!(pace.admit(29_999), Err(1));
        pace.admit(30_000).unwrap();
    }
}
