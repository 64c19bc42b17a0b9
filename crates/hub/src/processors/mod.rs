//! What the hub does of itself, driven by the read model `due` and nothing else; but for what is submitted, which is
//! answered as it stands in the log.
//!
//! **Invariant.** A processor works what is in a shard of this hub, and nothing else. A shard is this hub's only once `due`
//! has reached the head of the log as it was when the shard became so. Each decision is appended at the revision that it
//! was made from: a stale row can cause a refusal, never a wrong send.

mod bot;
mod breakers;
mod consents;
mod crew;
mod delivery;
mod gauges;
mod intake;
mod listener;
mod outbox;
mod pace;
mod shards;
mod sign_ins;
mod tokens;

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::Result;
use domain::Timestamp;
use futures_util::FutureExt as _;
use projections::{Change, Projection, ReadModel, due};
use store::Position;
use tokio_util::sync::CancellationToken;

pub use breakers::Breakers;
pub use pace::Pace;
pub use shards::{Begun, FirstSeen, HubReport, HubState, Shards};

use crate::{bot::strangers, clock::Ids, hub::Hub, lifecycle::Lifecycle};

/// How long to wait for `due` before saying so in the log and waiting on.
const PATIENCE: Duration = Duration::from_mins(1);
/// After something went wrong in a processor: pause, then look again.
const PAUSE: Duration = Duration::from_secs(1);
/// Before something is tried again that failed for itself, while the rest went on.
const AGAIN: Duration = Duration::from_secs(30);

/// What a task among many makes of its own panic: a failure like another. What it chokes on then holds up its own lane or
/// person, and does not end the whole hub, at each start anew.
fn contained<T>(work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    AssertUnwindSafe(work).catch_unwind().map(|ended| ended.unwrap_or_else(|_| Err(Panicked.into())))
}

/// There is more about it in what the program says at a panic.
#[derive(Debug, thiserror::Error)]
#[error("the hub's own code panicked, which is a fault in it")]
struct Panicked;

/// Starts all processors, on a log that ended at `head` a moment ago.
pub fn spawn(hub: &Hub, head: Position, lifecycle: &Lifecycle) {
    let stopping = lifecycle.stopping();
    if !hub.store.is_ours_alone() {
        lifecycle.spawn("listener", listener::run(hub.clone(), head, stopping.clone()));
    }
    lifecycle.spawn("gauges", gauges::run(hub.clone(), stopping.clone()));
    if hub.bot.is_some() {
        lifecycle.spawn("bot", bot::run(hub.clone(), stopping.clone()));
        lifecycle.spawn("strangers", strangers::run(hub.clone(), stopping.clone()));
    }
    lifecycle.spawn("keys", keys(hub.clone(), stopping.clone()));
    lifecycle.spawn("intake", intake::run(hub.clone(), stopping.clone()));
    lifecycle.spawn("shards", shards::run(hub.clone(), head, stopping.clone()));
    lifecycle.spawn("outbox", outbox::run(hub.clone(), stopping.clone()));
    lifecycle.spawn("tokens", tokens::run(hub.clone(), stopping.clone()));
    lifecycle.spawn("consents", consents::run(hub.clone(), stopping.clone()));
    lifecycle.spawn("sign-ins", sign_ins::run(hub.clone(), stopping));
}

/// Keeps the keys in memory like the read model.
async fn keys(hub: Hub, stopping: CancellationToken) -> Result<()> {
    let mut changes = hub.clients.changes();
    loop {
        hub.keys.reload(&hub).await?;
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            change = changes.next() => if change.is_none() { return Ok(()) },
        }
    }
}

/// Waits until a read model has everything up to `head`. False when the hub stops before.
async fn caught_up<P: Projection>(
    model: &ReadModel<P>,
    head: Position,
    stopping: &CancellationToken,
) -> bool {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return false,
            answer = model.wait_for(head, PATIENCE) => match answer {
                Ok(()) => return true,
                Err(behind) => tracing::warn!(projection = P::NAME, "{behind}; nothing is done before it is there"),
            }
        }
        // A read model that has stopped says so at once, and every time.
        tokio::select! {
            () = stopping.cancelled() => return false,
            () = tokio::time::sleep(PATIENCE) => {}
        }
    }
}

/// One round of a processor: does what is due, and answers when to look again if nothing happens.
type Round<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Option<Timestamp>>> + Send + 'a>>;

/// Does round after round, each when it is time or when a row changed that concerns it.
async fn rounds(
    hub: Hub,
    stopping: CancellationToken,
    concerns: fn(&due::Key) -> bool,
    round: for<'a> fn(&'a Hub) -> Round<'a>,
) -> Result<()> {
    let (mut changes, mut shards) = (hub.due.changes(), hub.shards.changes());
    loop {
        let next = round(&hub).await.unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "A round of a processor failed; trying again.");
            Some(hub.clock.now() + PAUSE)
        });
        if !wait(&hub, next, &mut changes, &mut shards, concerns, &stopping).await {
            return Ok(());
        }
    }
}

/// Waits until `at` (for ever without one), until a row or a shard changes, or until the hub stops. False when it stops.
async fn wait<K: projections::Key>(
    hub: &Hub,
    at: Option<Timestamp>,
    changes: &mut projections::Changes<K>,
    shards: &mut shards::Changes,
    concerns: impl Fn(&K) -> bool,
    stopping: &CancellationToken,
) -> bool {
    let news = async {
        loop {
            match changes.next().await {
                Some(Change::Rows(keys)) if !keys.iter().any(&concerns) => {}
                other => return other.is_some(),
            }
        }
    };
    tokio::select! {
        () = stopping.cancelled() => false,
        () = at_time(hub, at) => true,
        () = shards.next() => true,
        there = news => there,
    }
}

/// Waits until then; for ever without one.
async fn at_time(hub: &Hub, at: Option<Timestamp>) {
    match at {
        Some(at) => hub.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Exponential back-off with jitter: between half and all of `first · 2^failures`, at most `max`.
pub fn backoff(first: Duration, max: Duration, failures: u32, ids: &dyn Ids) -> Duration {
    let full = first.saturating_mul(1_u32.checked_shl(failures.min(30)).unwrap_or(u32::MAX)).min(max);
    // The low bits of a random id are as good a die as any.
    let die = u32::try_from(ids.uuid().as_u128() & 0xffff).unwrap_or_default();
    full / 2 + (full / 2).mul_f64(f64::from(die) / f64::from(0xffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_among_many_is_a_failure_of_its_own_work() {
        let panics = contained::<()>(async { panic!("something is not as it must be") });
        assert!(panics.await.unwrap_err().is::<Panicked>());
        assert_eq!(contained(async { Ok(7) }).await.unwrap(), 7);
    }
}
