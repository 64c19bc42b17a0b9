//! The outbox: lanes that have something to deliver, many at a time, each in its own order.
//!
//! **Invariant.** A lane is worked by one task at a time, and only while its shard is this hub's. What somebody else left
//! without an outcome is looked at when the shard becomes so.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use anyhow::Result;
use domain::{ConnectionId, Timestamp};
use projections::{Change, due::Key, due::queries};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{PAUSE, at_time, contained, delivery};
use crate::hub::Hub;

/// What a task found about its lane when it left it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    /// Nothing to do before something changes or its time comes.
    Waiting,
    /// Something to do, but not before then.
    Until(Instant),
    /// The same, by the clock that events are timed with.
    At(Timestamp),
}

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    let (mut changes, mut shards) = (hub.due.changes(), hub.shards.changes());
    let mut lanes = Lanes::default();
    loop {
        lanes.start_tasks(&hub);
        let (at, until) = (lanes.next_at(), lanes.next_until());
        let Lanes { tasks, .. } = &mut lanes;
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(left) = tasks.join_next() => lanes.settle(&hub, left?),
            change = changes.next() => match change {
                Some(Change::Rows(keys)) => keys.iter().for_each(|key| lanes.notice(&hub, key)),
                Some(Change::Everything) => lanes.look(&hub).await?,
                None => break,
            },
            // Lanes that were another's, and what it left open in them. Of those lost nothing more is begun.
            () = shards.next() => {
                hub.tokens.forget_all();
                lanes.look(&hub).await?;
            }
            () = at_time(&hub, at) => lanes.wake(&hub),
            () = at_instant(until) => lanes.wake(&hub),
        }
        hub.metrics.under_way(lanes.worked.len());
    }
    // What was begun is finished; nothing new is.
    while let Some(left) = lanes.tasks.join_next().await {
        left?;
    }
    Ok(())
}

async fn at_instant(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Which lanes are to be looked at, are being worked, or wait for their time.
#[derive(Default)]
struct Lanes {
    ready: VecDeque<ConnectionId>,
    queued: HashSet<ConnectionId>,
    /// Worked now; true where something changed meanwhile.
    worked: HashMap<ConnectionId, bool>,
    until: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    at: BinaryHeap<Reverse<(Timestamp, ConnectionId)>>,
    /// The earliest of its times in `at`, so that each news of a waiting lane does not add another.
    earliest: HashMap<ConnectionId, Timestamp>,
    tasks: JoinSet<(ConnectionId, Left)>,
}

impl Lanes {
    /// Takes up every lane of which `due` says when it is ready.
    async fn look(&mut self, hub: &Hub) -> Result<()> {
        let now = hub.clock.now();
        for (lane, at) in queries::ready_lanes(&hub.due).await? {
            if at <= now {
                self.queue(hub, lane);
            } else {
                self.wait(lane, at);
            }
        }
        for (lane, _) in queries::open_lanes(&hub.due).await? {
            self.queue(hub, lane);
        }
        Ok(())
    }

    fn notice(&mut self, hub: &Hub, key: &Key) {
        // A connection and its lane share their id.
        if let Key::Lane(lane) | Key::Connection(lane) = key {
            self.queue(hub, *lane);
        }
    }

    fn queue(&mut self, hub: &Hub, lane: ConnectionId) {
        if !hub.shards.holds(lane.shard()) {
            // It is looked for again if its shard comes here.
            return;
        }
        if let Some(changed) = self.worked.get_mut(&lane) {
            *changed = true;
        } else if self.queued.insert(lane) {
            self.ready.push_back(lane);
        }
    }

    fn start_tasks(&mut self, hub: &Hub) {
        while self.worked.len() < hub.config.delivery.concurrency {
            let Some(lane) = self.ready.pop_front() else { return };
            self.queued.remove(&lane);
            self.worked.insert(lane, false);
            let hub = hub.clone();
            self.tasks.spawn(async move {
                let _at_work = hub.commands.begin_work();
                let left = contained(delivery::work(&hub, lane)).await.unwrap_or_else(|error| {
                    tracing::warn!(lane.id = %lane, error = format!("{error:#}"), "A lane could not be worked; trying again.");
                    Left::Until(Instant::now() + PAUSE)
                });
                (lane, left)
            });
        }
    }

    fn settle(&mut self, hub: &Hub, (lane, left): (ConnectionId, Left)) {
        let changed = self.worked.remove(&lane).unwrap_or_default();
        match left {
            Left::Until(at) => self.until.push(Reverse((at, lane))),
            Left::At(at) => self.wait(lane, at),
            Left::Waiting => {}
        }
        if changed {
            self.queue(hub, lane);
        }
    }

    fn wait(&mut self, lane: ConnectionId, at: Timestamp) {
        if self.earliest.get(&lane).is_none_or(|earliest| at < *earliest) {
            self.earliest.insert(lane, at);
            self.at.push(Reverse((at, lane)));
        }
    }

    fn next_until(&self) -> Option<Instant> {
        self.until.peek().map(|Reverse((at, _))| *at)
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.at.peek().map(|Reverse((at, _))| *at)
    }

    /// Queues the lanes whose time has come.
    fn wake(&mut self, hub: &Hub) {
        let (instant, now) = (Instant::now(), hub.clock.now());
        while self.next_until().is_some_and(|until| until <= instant) {
            if let Some(Reverse((_, lane))) = self.until.pop() {
                self.queue(hub, lane);
            }
        }
        while self.next_at().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, lane))) = self.at.pop() {
                self.earliest.remove(&lane);
                self.queue(hub, lane);
            }
        }
    }
}

/// A pause that is not worth an event.
pub(super) fn shortly(pause: Duration) -> Left {
    Left::Until(Instant::now() + pause)
}
