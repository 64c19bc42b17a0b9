//! Which hub works a shard: the lanes, connections and sign-ins whose ids fall into it.
//!
//! **Invariant.** A shard is taken from another hub only by who names that one, believing it dead. That gives liveness and
//! no more: what a hub does in a lane is decided by the revision of the lane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, HubId};

/// A shard as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    pub holder: Option<HubId>,
}

#[derive(Clone, Copy, Debug)]
pub enum Command {
    Take {
        hub: HubId,
        epoch: u64,
        /// The holder that is believed dead.
        dead: Option<HubId>,
    },
    Release {
        hub: HubId,
        epoch: u64,
    },
}

/// What can happen to a shard, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "shard.taken.v1")]
    Taken { hub: HubId, epoch: u64 },
    #[serde(rename = "shard.released.v1")]
    Released { hub: HubId, epoch: u64 },
}

/// Another hub holds the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub {0} holds the shard")]
pub struct Held(pub HubId);

impl Aggregate for Shard {
    const CATEGORY: &'static str = "shard";
    type Command = Command;
    type Event = Event;
    type Refusal = Held;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Held> {
        match command {
            Command::Take { hub, epoch, dead } => match self.holder {
                Some(holder) if holder == hub => Ok(vec![]),
                Some(holder) if Some(holder) != dead => Err(Held(holder)),
                _ => Ok(vec![Event::Taken { hub, epoch }]),
            },
            Command::Release { hub, epoch } if self.holder == Some(hub) => {
                Ok(vec![Event::Released { hub, epoch }])
            }
            Command::Release { .. } => Ok(vec![]),
        }
    }

    fn evolve(self, event: Event) -> Self {
        match event {
            Event::Taken { hub, .. } => Self { holder: Some(hub) },
            Event::Released { .. } => Self { holder: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::aggregate::testing::given;

    fn hub(n: u128) -> HubId {
        HubId(Uuid::from_u128(n))
    }

    fn take(n: u128, dead: Option<HubId>) -> Command {
        Command::Take { hub: hub(n), epoch: 1, dead }
    }

    fn taken(n: u128) -> Event {
        Event::Taken { hub: hub(n), epoch: 1 }
    }

    fn released(n: u128) -> Event {
        Event::Released { hub: hub(n), epoch: 1 }
    }

    #[test]
    fn a_free_shard_is_taken_once() {
        given::<Shard>([]).when(take(1, None)).then([taken(1)]);
        given::<Shard>([taken(1)]).when(take(1, None)).then([]);
        given::<Shard>([taken(1), released(1)]).when(take(2, None)).then([taken(2)]);
    }

    #[test]
    fn a_shard_is_taken_from_the_hub_that_is_believed_dead_and_from_no_other() {
        given::<Shard>([taken(1)]).when(take(2, None)).refused(Held(hub(1)));
        given::<Shard>([taken(1)]).when(take(2, Some(hub(1)))).then([taken(2)]);
        given::<Shard>([taken(1), taken(3)]).when(take(2, Some(hub(1)))).refused(Held(hub(3)));
    }

    #[test]
    fn only_the_holder_releases() {
        let release = |n| Command::Release { hub: hub(n), epoch: 1 };
        given::<Shard>([taken(1)]).when(release(1)).then([released(1)]);
        given::<Shard>([taken(1), taken(2)]).when(release(1)).then([]);
        given::<Shard>([taken(1), released(1)]).when(release(1)).then([]);
    }
}
