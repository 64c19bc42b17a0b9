//! Handles what people do to the bot: many people at a time, each in the order in which they did it.
//!
//! **Invariant.** One person's activities are handled one after the other, and only while the person's shard is this hub's.
//! What can't be handled, however often it is tried, is given up, so that it does not hold the person up for ever.

mod turns;

use std::time::Duration;

use anyhow::Result;
use domain::{ActivityId, ConnectionId};
use projections::{
    Change,
    due::{Key, queries},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::turns::{Left, Turns};
use super::{Panicked, at_time, backoff, contained};
use crate::{
    bot::handle::{self, Handled, NotThere},
    hub::Hub,
};

/// People whose activities are handled at once.
const CONCURRENCY: usize = 16;
/// What failed so often in a row in this process is given up: by the pauses in between, after four to eight minutes.
const FAILURES_MAX: u32 = 14;
/// The same, of what others are to blame for: about a day.
const OUTAGE_FAILURES_MAX: u32 = 720;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// How long a task waits until `due` knows that its activity is handled, and then before it looks again.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    let (mut changes, mut shards) = (hub.due.changes(), hub.shards.changes());
    let (mut turns, mut tasks) = (Turns::default(), JoinSet::new());
    loop {
        turns.wake(hub.clock.now());
        start_tasks(&hub, &mut turns, &mut tasks);
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(left) = tasks.join_next() => {
                let (person, left) = left?;
                turns.settle(person, left);
            }
            change = changes.next() => match change {
                Some(Change::Rows(keys)) => notice(&hub, &keys, &mut turns).await?,
                Some(Change::Everything) => look(&hub, &mut turns).await?,
                None => break,
            },
            // What was done to the bot by people that were another's.
            () = shards.next() => look(&hub, &mut turns).await?,
            () = at_time(&hub, turns.next_at()) => {}
        }
    }
    // What was begun is finished; nothing new is.
    while let Some(left) = tasks.join_next().await {
        left?;
    }
    Ok(())
}

/// Everybody who did something that is not handled has a turn.
async fn look(hub: &Hub, turns: &mut Turns) -> Result<()> {
    for person in queries::people_waiting(&hub.due, hub.shards.held()).await? {
        turns.add(person);
    }
    Ok(())
}

/// Those who did something have a turn.
async fn notice(hub: &Hub, keys: &[Key], turns: &mut Turns) -> Result<()> {
    let activity = |key: &Key| if let Key::Activity(id) = key { Some(*id) } else { None };
    let activities: Vec<ActivityId> = keys.iter().filter_map(activity).collect();
    if !activities.is_empty() {
        for person in queries::people_behind(&hub.due, activities).await? {
            turns.add(person);
        }
    }
    Ok(())
}

fn start_tasks(hub: &Hub, turns: &mut Turns, tasks: &mut JoinSet<(ConnectionId, Left)>) {
    while tasks.len() < CONCURRENCY {
        let Some((person, failures)) = turns.next() else { return };
        if !hub.shards.holds(person.shard()) {
            // They are looked for again if their shard comes here.
            turns.forget(person);
            continue;
        }
        let hub = hub.clone();
        tasks.spawn(async move { (person, work(&hub, person, failures).await) });
    }
}

/// Handles what the person did first, which has failed so often before.
async fn work(hub: &Hub, person: ConnectionId, failures: u32) -> Left {
    first_of(hub, person, failures).await.unwrap_or_else(|error| {
        if error.is::<NotThere>() {
            tracing::debug!(connection.id = %person, "{error}; looking again.");
        } else {
            let error = format!("{error:#}");
            tracing::warn!(connection.id = %person, error, "An activity could not be handled; trying again.");
        }
        Left::Failed(hub.clock.now() + backoff(PAUSE_FIRST, PAUSE_MAX, failures, hub.ids.as_ref()))
    })
}

/// A store or a read model that is away comes back, and what somebody said meanwhile, a `logout` perhaps, is not to be lost
/// for it.
fn failures_max(why: &anyhow::Error) -> u32 {
    if why.is::<Panicked>() || handle::is_hopeless(why) { FAILURES_MAX } else { OUTAGE_FAILURES_MAX }
}

async fn first_of(hub: &Hub, person: ConnectionId, failures: u32) -> Result<Left> {
    let Some((id, row)) = queries::first_activity(&hub.due, person).await? else { return Ok(Left::Nothing) };
    let recorded_at = match contained(handle::handle(hub, id, &row)).await {
        Ok(Handled::At(position)) => position,
        Ok(Handled::NotBefore(at)) => return Ok(Left::Until(at)),
        Err(error) if failures + 1 >= failures_max(&error) => handle::give_up(hub, id, &row, &error).await?,
        Err(error) => return Err(error),
    };
    // Else the same activity would be found due once more.
    let known = hub.due.wait_for(recorded_at, PATIENCE);
    Ok(match hub.stopping.run_until_cancelled(known).await {
        Some(Ok(())) => Left::Handled,
        Some(Err(_)) | None => Left::Until(hub.clock.now() + LOOK_AGAIN),
    })
}

#[cfg(test)]
mod tests {
    use custody::VaultError;

    use super::*;

    #[test]
    fn what_can_never_be_handled_is_given_up_soon_and_what_waits_for_a_store_or_a_read_model_after_a_day() {
        for hopeless in [NotThere.into(), VaultError::Destroyed.into(), Panicked.into()] {
            assert_eq!(failures_max(&hopeless), FAILURES_MAX, "{hopeless}");
        }
        let away = anyhow::anyhow!("the store is away, or the read model behind");
        assert_eq!(failures_max(&away), OUTAGE_FAILURES_MAX);
    }
}
