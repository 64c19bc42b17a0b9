//! Work that calls others: many pieces at a time and a task for each, so that none waits for another.
//!
//! **Invariant.** One piece is worked by one task at a time. What is to be tried again later takes up nobody until then.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Duration,
};

use anyhow::Result;
use domain::Timestamp;
use projections::due;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{PAUSE, Round, wait};
use crate::hub::Hub;

/// How long a task waits until `due` knows what it did.
const PATIENCE: Duration = Duration::from_secs(30);

/// Those who work, by what they work at.
pub(super) struct Crew<K> {
    most: usize,
    worked: HashSet<K>,
    later: HashMap<K, Timestamp>,
    tasks: JoinSet<(K, Option<Timestamp>)>,
}

/// Looks for work whenever a row that concerns it or a shard has changed, somebody has become free, or its time has come,
/// which is what `look` answers.
pub(super) async fn run<K>(
    hub: Hub,
    stopping: CancellationToken,
    most: usize,
    concerns: fn(&due::Key) -> bool,
    look: for<'a> fn(&'a Hub, &'a mut Crew<K>) -> Round<'a>,
) -> Result<()>
where
    K: Copy + Eq + Hash + Send + 'static,
{
    let (mut changes, mut shards) = (hub.due.changes(), hub.shards.changes());
    let mut crew = Crew { most, worked: HashSet::new(), later: HashMap::new(), tasks: JoinSet::new() };
    loop {
        let now = hub.clock.now();
        // Whose time has come wakes nobody any more, also while there is nobody free.
        crew.later.retain(|_, at| now < *at);
        let next = look(&hub, &mut crew).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = format!("{error:#}"),
                "A processor could not look for work; trying again."
            );
            Some(now + PAUSE)
        });
        let next = crew.later.values().copied().chain(next).min();
        tokio::select! {
            Some(left) = crew.tasks.join_next() => crew.settle(left?),
            goes_on = wait(&hub, next, &mut changes, &mut shards, concerns, &stopping) => {
                if !goes_on {
                    break;
                }
            }
        }
    }
    // What was begun is finished; nothing new is.
    while let Some(left) = crew.tasks.join_next().await {
        left?;
    }
    Ok(())
}

impl<K: Copy + Eq + Hash + Send + 'static> Crew<K> {
    /// Has this worked, unless somebody is at it, its time has not come, or nobody is free. `work` answers when it is worth
    /// another try, if it is.
    pub(super) fn take_up(
        &mut self,
        hub: &Hub,
        piece: K,
        work: impl Future<Output = Option<Timestamp>> + Send + 'static,
    ) {
        if self.worked.len() >= self.most || self.later.contains_key(&piece) || !self.worked.insert(piece) {
            return;
        }
        let hub = hub.clone();
        self.tasks.spawn(async move {
            let again = work.await;
            // Else it would be found due once more. Who is behind for so long says so itself; who stops looks no more.
            let known = hub.due.wait_for(hub.commands.written(), PATIENCE);
            let _ = hub.stopping.run_until_cancelled(known).await;
            (piece, again)
        });
    }

    /// Pieces that are worked, or put off.
    pub(super) fn taken_up(&self) -> usize {
        self.worked.len() + self.later.len()
    }

    fn settle(&mut self, (piece, again): (K, Option<Timestamp>)) {
        self.worked.remove(&piece);
        self.later.extend(again.map(|at| (piece, at)));
    }
}
