//! Sharing the work with other hubs on the same store: each lane, connection and sign-in is in one of 256 shards, and each
//! shard is worked by one hub.
//!
//! A hub shows by heartbeats that it lives; who sees none for the length of a lease takes over. Where the store is this
//! process's alone there is nobody to share with: it has all shards, and writes nothing about them.
//!
//! **Invariant.** A hub holds a shard only while its heartbeats come back to it, each good for a lease from when it was
//! sent; others count that lease from when they saw it, which is later. So leases don't overlap while clocks run evenly.
//! That makes the work go on; that nothing is done twice is owed to the revisions of the streams it is recorded in.

mod first_seen;
mod keeper;
mod share;
mod view;

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use anyhow::Result;
use domain::{HubId, ShardId};
use store::Position;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use first_seen::{Begun, FirstSeen};

use self::keeper::Keeper;
use super::caught_up;
use crate::hub::Hub;

/// The shards that this hub works now.
pub struct Shards {
    held: watch::Sender<Held>,
    hubs: RwLock<Vec<HubReport>>,
}

#[derive(Clone, Debug)]
struct Held {
    shards: [bool; ShardId::COUNT],
    until: Until,
}

/// How long what is held can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The lock on the data directory is the lease.
    ForGood,
    /// At most so long, if no further heartbeat comes back.
    Then(Instant),
}

/// What is known of a hub on this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubReport {
    pub id: HubId,
    /// `None` where it holds shards, and nothing else was heard of it.
    pub epoch: Option<u64>,
    pub state: HubState,
    /// The shards that it holds, by the log.
    pub shards: usize,
    /// When its last heartbeat came here.
    pub seen_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubState {
    Working,
    /// It is being stopped and gives its shards away.
    Leaving,
    /// No heartbeat of it for the length of a lease: what it holds is taken over.
    Silent,
}

impl Default for Shards {
    fn default() -> Self {
        let none = Held { shards: [false; ShardId::COUNT], until: Until::Then(Instant::now()) };
        Self { held: watch::Sender::new(none), hubs: RwLock::default() }
    }
}

impl Shards {
    /// Whether this hub may work the shard at this moment. Asked again before anything is begun.
    pub fn holds(&self, shard: ShardId) -> bool {
        let held = self.held.borrow();
        held.shards[usize::from(shard.0)] && held.is_sure()
    }

    /// Those held; `None` for all of them.
    pub fn held(&self) -> Option<Vec<ShardId>> {
        let held: Vec<_> = ShardId::all().filter(|shard| self.holds(*shard)).collect();
        (held.len() < ShardId::COUNT).then_some(held)
    }

    /// How many are held: this hub's part of every limit that holds for all of them together.
    pub fn count(&self) -> usize {
        let held = self.held.borrow();
        if held.is_sure() { held.count() } else { 0 }
    }

    /// Whether this hub's heartbeats come back to it, in words where they do not.
    pub fn is_heard(&self) -> Result<(), String> {
        let silent = "its heartbeats do not come back from the store, so it works nothing";
        if self.held.borrow().is_sure() { Ok(()) } else { Err(silent.to_owned()) }
    }

    /// How long ago it was that this hub's heartbeats came back to it.
    pub fn cut_off_for(&self) -> Duration {
        match self.held.borrow().until {
            Until::ForGood => Duration::ZERO,
            Until::Then(at) => Instant::now().saturating_duration_since(at),
        }
    }

    /// Tells when shards were gained or lost.
    pub fn changes(&self) -> Changes {
        let mut changes = self.held.subscribe();
        // What is held already is news to who has just come.
        changes.mark_changed();
        Changes(changes)
    }

    /// All hubs that are known of, as they were a moment ago.
    pub fn hubs(&self) -> Vec<HubReport> {
        self.hubs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True when the shards are others than before.
    fn publish(&self, shards: [bool; ShardId::COUNT], until: Until) -> bool {
        let mut others = false;
        self.held.send_if_modified(|held| {
            // Who looked while the hub was not sure of them has left what it found, and is to look again.
            let lapsed = !held.is_sure();
            held.until = until;
            others = std::mem::replace(&mut held.shards, shards) != shards;
            others || lapsed && held.is_sure()
        });
        others
    }

    fn report(&self, hubs: Vec<HubReport>) {
        *self.hubs.write().unwrap_or_else(PoisonError::into_inner) = hubs;
    }
}

impl Held {
    fn is_sure(&self) -> bool {
        match self.until {
            Until::ForGood => true,
            Until::Then(at) => Instant::now() < at,
        }
    }

    fn count(&self) -> usize {
        self.shards.iter().filter(|held| **held).count()
    }
}

/// News of shards gained and lost; the first comes at once.
pub struct Changes(watch::Receiver<Held>);

impl Changes {
    /// Waits for the next change. Several in between are one.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // There is no sender any more, so there never will be any.
            std::future::pending::<()>().await;
        }
    }
}

/// Takes shards and gives them away, until the hub stops.
pub(super) async fn run(hub: Hub, head: Position, stopping: CancellationToken) -> Result<()> {
    if !hub.store.is_ours_alone() {
        return Keeper::new(hub).run(stopping).await;
    }
    if caught_up(&hub.due, head, &stopping).await {
        hub.shards.publish([true; ShardId::COUNT], Until::ForGood);
        hub.metrics.shards(ShardId::COUNT, 1);
        let (epoch, state) = (Some(hub.epoch), HubState::Working);
        hub.shards.report(vec![HubReport {
            id: hub.id,
            epoch,
            state,
            shards: ShardId::COUNT,
            seen_at: None,
        }]);
        stopping.cancelled().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_left_work_while_the_hub_was_not_sure_of_it_is_told_to_look_again() {
        let shards = Shards::default();
        let soon = || Until::Then(Instant::now() + Duration::from_mins(1));
        shards.publish([true; ShardId::COUNT], soon());
        let mut changes = shards.changes();
        changes.next().await;
        shards.publish([true; ShardId::COUNT], soon());
        assert!(changes.next().now_or_never().is_none(), "nothing has changed");

        shards.publish([true; ShardId::COUNT], Until::Then(Instant::now()));
        assert!(!shards.holds(ShardId(0)));
        assert!(!shards.publish([true; ShardId::COUNT], soon()), "the shards are the same");
        assert!(changes.next().now_or_never().is_some() && shards.holds(ShardId(0)));
    }
}
