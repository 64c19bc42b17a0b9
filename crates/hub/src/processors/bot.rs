//! Handles what people do to the bot: many people at a time, each in the order in which they did it.
//!
//! **Invariant.** One person's activities are handled one after the other, and only while the person's shard is this hub's.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Result;
use domain::{ActivityId, ConnectionId, Timestamp};
use projections::due::{ActivityRow, Key, queries};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::wait;
use crate::{
    bot::handle::{Left, handle},
    hub::Hub,
};

/// People whose activities are handled at once.
const CONCURRENCY: usize = 16;
/// People looked at together.
const LOOK: usize = 256;
/// After something went wrong with a person's activity: pause, then look again.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// How long a task waits until `due` knows that its activity is handled.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    let (mut changes, mut shards) = (hub.due.changes(), hub.shards.changes());
    let mut people = People::default();
    loop {
        people.start_tasks(&hub).await?;
        let next = people.next_at();
        tokio::select! {
            Some(done) = people.tasks.join_next() => people.settle(done?),
            goes_on = wait(&hub, next, &mut changes, &mut shards, |key| matches!(key, Key::Activity(_)), &stopping) => {
                if !goes_on {
                    break;
                }
            }
        }
    }
    // What was begun is finished; nothing new is.
    while let Some(done) = people.tasks.join_next().await {
        done?;
    }
    Ok(())
}

/// Who is being answered, and who is to be tried again later.
#[derive(Default)]
struct People {
    answered: HashSet<ConnectionId>,
    later: HashMap<ConnectionId, Timestamp>,
    tasks: JoinSet<(ConnectionId, Option<Timestamp>)>,
}

impl People {
    async fn start_tasks(&mut self, hub: &Hub) -> Result<()> {
        let now = hub.clock.now();
        // Whose time has come wakes nobody any more, also while there is no room for them.
        self.later.retain(|_, at| now < *at);
        if self.answered.len() >= CONCURRENCY {
            return Ok(());
        }
        for (id, row) in queries::first_activities(&hub.due, hub.shards.held(), LOOK).await? {
            let person = row.person.connection();
            let free = self.answered.len() < CONCURRENCY && !self.later.contains_key(&person);
            // The shard may have been lost since the query.
            if free && hub.shards.holds(person.shard()) && self.answered.insert(person) {
                let hub = hub.clone();
                self.tasks.spawn(async move { (person, work(&hub, id, &row).await) });
            }
        }
        Ok(())
    }

    fn settle(&mut self, (person, again): (ConnectionId, Option<Timestamp>)) {
        self.answered.remove(&person);
        self.later.extend(again.map(|at| (person, at)));
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.later.values().min().copied()
    }
}

/// When to try again, where that is worth while.
async fn work(hub: &Hub, id: ActivityId, row: &ActivityRow) -> Option<Timestamp> {
    let position = match handle(hub, id, row).await {
        Ok(Left::Handled(position)) => position,
        Ok(Left::Until(at)) => return Some(at),
        Err(error) => {
            tracing::warn!(activity.id = %id, error = format!("{error:#}"), "An activity could not be handled; trying again.");
            return Some(hub.clock.now() + AFTER_TROUBLE);
        }
    };
    // Else the same activity would be found due once more.
    match hub.due.wait_for(position, PATIENCE).await {
        Ok(()) => None,
        Err(_) => Some(hub.clock.now() + AFTER_TROUBLE),
    }
}
