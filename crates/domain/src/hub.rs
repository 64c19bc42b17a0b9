//! A running hub, as the others on the same store see it: that it lives, and that it is about to stop.
//!
//! **Invariant.** Each event says all that is known, so that the newest one is enough and the rest need not be kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Aggregate;

/// What a hub last said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Beats so far; 0 before the first.
    pub beat: u64,
    /// It takes no more work.
    pub leaving: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Command {
    Beat { epoch: u64 },
    Leave { epoch: u64 },
}

/// What a hub says, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    /// The hub lives. Who sees no new one for the length of the lease believes it dead.
    #[serde(rename = "hub.heartbeat.v1")]
    Heartbeat {
        /// Counted from 1.
        beat: u64,
        /// Counts the starts on the hub's data directory.
        epoch: u64,
        /// The last one of a hub that is being stopped: its shards are about to be released.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaving: bool,
    },
}

/// A hub that has said that it leaves has nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub has left")]
pub struct Left;

impl Aggregate for Presence {
    const CATEGORY: &'static str = "hub";
    type Command = Command;
    type Event = Event;
    type Refusal = Left;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Left> {
        let beat = self.beat + 1;
        match command {
            Command::Leave { .. } if self.leaving => Ok(vec![]),
            Command::Beat { .. } if self.leaving => Err(Left),
            Command::Beat { epoch } => Ok(vec![Event::Heartbeat { beat, epoch, leaving: false }]),
            Command::Leave { epoch } => Ok(vec![Event::Heartbeat { beat, epoch, leaving: true }]),
        }
    }

    fn evolve(self, event: Event) -> Self {
        let Event::Heartbeat { beat, leaving, .. } = event;
        Self { beat, leaving }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;

    fn heartbeat(beat: u64, leaving: bool) -> Event {
        Event::Heartbeat { beat, epoch: 3, leaving }
    }

    #[test]
    fn beats_are_counted() {
        given::<Presence>([]).when(Command::Beat { epoch: 3 }).then([heartbeat(1, false)]);
        given::<Presence>([heartbeat(7, false)]).when(Command::Beat { epoch: 3 }).then([heartbeat(8, false)]);
    }

    #[test]
    fn a_hub_leaves_once_and_is_then_silent() {
        given::<Presence>([heartbeat(7, false)]).when(Command::Leave { epoch: 3 }).then([heartbeat(8, true)]);
        given::<Presence>([heartbeat(8, true)]).when(Command::Leave { epoch: 3 }).then([]);
        given::<Presence>([heartbeat(8, true)]).when(Command::Beat { epoch: 3 }).refused(Left);
    }
}
