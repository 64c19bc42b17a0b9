//! One lane at a time: each message at its head is looked at, recorded as being sent, sent, and its outcome recorded.
//!
//! **Invariant.** Intent, act, outcome. The intent is appended at the lane's revision that `due` knew; only when that
//! succeeded is anything sent, once, and within the time that the intent names. Nothing is recorded or sent in a lane whose
//! shard is not this hub's.

mod bot;
mod judge;
mod outcome;
mod prepare;

use std::{fmt::Display, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use domain::{
    CommandId, ConnectionId, Diagnosis, MessageId, PersonId,
    connection::{self, Connection, Status},
    lane::{Command, DeferReason, Event, Lane, Outcome, Surface},
    message::{self, Accepted, Message},
    tenant::{Admission, Tenant},
};
use projections::due::{
    LaneRow,
    queries::{self, Head},
};
use store::{Position, StoreError};
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    judge::judge,
    outcome::{outcome, resends},
    prepare::{ByGraph, Found, Ready, prepare},
};
use super::outbox::Left;
use crate::{
    commands::{Context, Done, Loaded},
    hub::Hub,
    metrics::DeliveryOutcome,
};

/// Between attempts to record an outcome that the store did not take.
const RECORD_PAUSE: Duration = Duration::from_millis(200);

/// The message whose turn it is, and all that was found about it.
struct Turn {
    lane: ConnectionId,
    row: LaneRow,
    message: MessageId,
    attempts: u32,
    accepted: Accepted,
    /// Which way it goes.
    way: Surface,
    /// The event by which it was accepted.
    cause: Uuid,
    connection: Arc<Loaded<Connection>>,
    tenant: Arc<Loaded<Tenant>>,
}

impl Turn {
    fn context(&self) -> Context {
        let context = Context::hub("outbox", self.message.to_string()).of_tenant(self.accepted.person.tenant);
        context.of_client(self.accepted.client.clone()).caused_by(Some(self.cause))
    }

    /// What waited for the person is not too old before as much time has passed again.
    fn is_too_old(&self, hub: &Hub) -> bool {
        let (now, age_max) = (hub.clock.now(), hub.config.delivery.age_max);
        let resumed_lately = self.row.resumed_at.is_some_and(|at| now < at + age_max);
        let parked = self.row.parked.contains_key(&self.way);
        now >= self.accepted.expires_at && !parked && !resumed_lately
    }

    /// How often in a row its way was put off.
    fn deferrals(&self) -> u32 {
        self.row.deferred.get(&self.way).map_or(0, |deferral| deferral.times)
    }

    /// Said with whatever is done next in a lane whose way out was parked.
    fn resumed(&self) -> Option<Event> {
        self.row.parked.contains_key(&self.way).then_some(Event::Resumed { surface: self.way })
    }
}

/// Works a lane: the messages at its head one after the other, for as long as they arrive, or else one decision. Anything
/// but a message that arrived comes back as news once `due` knows it, and brings the lane back; so does what is left.
pub(super) async fn work(hub: &Hub, lane: ConnectionId) -> Result<Left> {
    let Some(mut head) = queries::head(&hub.due, lane, hub.clock.now())? else { return Ok(Left::Waiting) };
    if hub.commands.knows_later::<Lane>(lane, head.row.lane_revision) {
        // The news of it are on their way.
        return Ok(Left::Waiting);
    }
    if let Some(open) = &head.row.open {
        return judge(hub, lane, &head.row, open).await;
    }
    loop {
        let turn = match turn(hub, lane, &mut head).await? {
            Ok(turn) => turn,
            Err(left) => return Ok(left),
        };
        let found = prepare(hub, &turn).await?;
        if !hub.shards.holds(lane.shard()) {
            return Ok(Left::Waiting);
        }
        match found {
            Found::Go(ready) => match deliver(hub, &turn, ready).await? {
                Some(row) => head.row = row,
                None => return Ok(Left::Waiting),
            },
            Found::Leave(left) => return Ok(left),
            Found::Decided(outcome) => {
                decide(hub, &turn, outcome).await?;
                return Ok(Left::Waiting);
            }
        }
    }
}

/// Whose turn it is, if it is anybody's now.
async fn turn(hub: &Hub, lane: ConnectionId, head: &mut Head) -> Result<Result<Turn, Left>> {
    let next = head.messages.pop_front().and_then(|(message, row)| {
        let way = row.surface.open_way(|way| head.closed.contains(&way))?;
        Some((message, row, way))
    });
    let Some((message, row, way)) = next else {
        return Ok(Err(head.look_again_at().map_or(Left::Waiting, Left::At)));
    };
    let person = head.row.person;
    if let Err(until) = hub.pace.permit(hub.shards.count(), way, person.tenant, lane) {
        return Ok(Err(Left::Until(until)));
    }
    let is_usable = |connection: &Connection| match way {
        Surface::Graph => connection.status == Status::Active,
        Surface::Bot => bot::is_reachable(connection),
    };
    let (accepted, connection, tenant) = tokio::try_join!(
        hub.commands.beginning_at::<Message>(message, Position(row.position)),
        hub.commands.recall(lane, is_usable),
        hub.commands.recall::<Tenant>(person.tenant, |tenant| tenant.admission != Admission::Blocked),
    )?;
    let (cause, message::Event::Accepted(accepted)) =
        accepted.with_context(|| format!("the message {message} was never accepted"))?;
    let (row, attempts) = (head.row.clone(), head.row.attempts(message));
    Ok(Ok(Turn { lane, row, message, attempts, accepted: *accepted, way, cause, connection, tenant }))
}

/// Records what was decided without sending anything.
async fn decide(hub: &Hub, turn: &Turn, outcome: Outcome) -> Result<()> {
    count(hub, &outcome);
    // Whatever is decided of a parked lane but to park it again, it is no longer parked.
    let resumed = (!matches!(outcome, Outcome::Parked { .. })).then(|| turn.resumed()).flatten();
    let events: Vec<_> = resumed.into_iter().chain(outcome.events(turn.message, turn.attempts)).collect();
    let command_id = CommandId::new(format!("decide/{}/{}", turn.message, hub.ids.uuid()));
    let context = turn.context();
    match hub
        .commands
        .append_at::<Lane>(turn.lane, turn.row.lane_revision, &command_id, &context, &events)
        .await
    {
        // Where the row was stale, its news are on their way.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Intent, act, outcome. Answers with the lane's row as it is then, if the message arrived and nobody else came between.
async fn deliver(hub: &Hub, turn: &Turn, ready: Ready<'_>) -> Result<Option<LaneRow>> {
    let (message, attempt) = (turn.message, turn.attempts + 1);
    let timeout = hub.config.outbound.request_timeout;
    let client_request_id = hub.ids.uuid();
    let started = Event::DeliveryStarted {
        message,
        attempt,
        surface: turn.way,
        grant: ready.token().map(|(grant, _)| grant),
        generation: ready.token().map(|(_, generation)| generation),
        template: ready.template(),
        content_hash: Some(turn.accepted.content_hash.clone()),
        hub: hub.id,
        epoch: hub.epoch,
        // The request's own time ends before the intent's.
        timeout_ms: u64::try_from((timeout * 2).as_millis())?,
        client_request_id,
    };
    let intent: Vec<_> = turn.resumed().into_iter().chain([started]).collect();
    let command_id = CommandId::new(format!("deliver/{message}/{attempt}"));
    let context = turn.context();
    let revision = turn.row.lane_revision;
    let begun = Instant::now();
    let appended =
        match hub.commands.append_at::<Lane>(turn.lane, revision, &command_id, &context, &intent).await {
            Ok(appended) => appended,
            Err(StoreError::Conflict { .. }) => return Ok(None),
            Err(error @ StoreError::Uncertain(_)) => return not_begun(hub, turn, attempt, &error).await,
            Err(error) => return Err(error.into()),
        };
    if begun.elapsed() > timeout {
        // Another hub may take the intent for abandoned before the answer to a post could be here.
        let late = "the store took longer to answer than a delivery may wait";
        return not_begun(hub, turn, attempt, &late).await;
    }
    let outcome = match &ready {
        Ready::Graph(ready) => post(hub, turn, ready, timeout, client_request_id).await,
        Ready::Bot(ready) => bot::post(hub, turn, ready, timeout).await,
    };
    count(hub, &outcome);
    let arrived = matches!(outcome, Outcome::Delivered { .. });
    let events = outcome.clone().events(message, attempt);
    let recorded = record(hub, turn, appended.revision, attempt, outcome, &events).await?;
    let Some(revision) = recorded.filter(|_| arrived) else { return Ok(None) };
    let now = hub.clock.now();
    let row = intent.iter().fold(turn.row.clone(), |row, event| row.after(appended.revision, event, now));
    Ok(Some(events.iter().fold(row, |row, event| row.after(revision, event, now))))
}

/// Posts it by Graph, once, and tells what came of it.
async fn post(
    hub: &Hub,
    turn: &Turn,
    ready: &ByGraph,
    timeout: Duration,
    client_request_id: Uuid,
) -> Outcome {
    let posted =
        hub.graph.post(&ready.access, &ready.chat_id, &ready.content, timeout, client_request_id).await;
    hub.pace.posted(turn.lane, hub.config.delivery.chat_interval);
    outcome(hub, turn, ready, posted).await
}

/// The store did not say in time whether it has the intent. Nothing was sent; if the intent is there, that is its outcome.
async fn not_begun(hub: &Hub, turn: &Turn, attempt: u32, why: &impl Display) -> Result<Option<LaneRow>> {
    tracing::error!(lane.id = %turn.lane, error = %why, "The store did not say in time whether a delivery may begin.");
    let until = hub.clock.now() + hub.config.delivery.backoff_first;
    let (surface, why) = (turn.way, DeferReason::NotSent);
    let outcome = Outcome::Deferred { surface, until, why, diagnosis: Diagnosis::default() };
    conclude_at_last(hub, turn.lane, &turn.context(), turn.message, attempt, outcome).await?;
    Ok(None)
}

/// Records what came of an attempt, however long the store takes: without it the outcome would be lost. Answers with the
/// revision, if nothing stands between it and the intent.
async fn record(
    hub: &Hub,
    turn: &Turn,
    intent: u64,
    attempt: u32,
    outcome: Outcome,
    events: &[Event],
) -> Result<Option<u64>> {
    let request_id = match &outcome {
        Outcome::Delivered { provider_request_id, .. } => provider_request_id.clone(),
        _ => None,
    };
    let context = turn.context().answered_by(request_id);
    let command_id = conclusion(turn.message, attempt, &outcome);
    loop {
        match hub.commands.append_at::<Lane>(turn.lane, Some(intent), &command_id, &context, events).await {
            Ok(appended) => return Ok(Some(appended.revision)),
            Err(StoreError::Conflict { .. }) => {
                conclude_at_last(hub, turn.lane, &context, turn.message, attempt, outcome).await?;
                return Ok(None);
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Uncertain(_))) => {
                tracing::error!(lane.id = %turn.lane, error = %error, "An outcome could not be recorded; trying again.");
                tokio::time::sleep(RECORD_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same as [`conclude`], however long the store takes.
async fn conclude_at_last(
    hub: &Hub,
    lane: ConnectionId,
    context: &Context,
    message: MessageId,
    attempt: u32,
    outcome: Outcome,
) -> Result<bool> {
    let command_id = conclusion(message, attempt, &outcome);
    let command = Command::Conclude { message, attempt, outcome };
    let done = hub.commands.execute_at_last::<Lane>(lane, &command_id, context, command).await?;
    Ok(matches!(done, Done::Appended { .. }))
}

/// Records an outcome in a lane that others may have written to. False where there was none to record.
async fn conclude(
    hub: &Hub,
    lane: ConnectionId,
    context: &Context,
    message: MessageId,
    attempt: u32,
    outcome: Outcome,
) -> Result<bool> {
    let command_id = conclusion(message, attempt, &outcome);
    let command = Command::Conclude { message, attempt, outcome };
    let done = hub.commands.execute::<Lane>(lane, &command_id, context, command).await?;
    Ok(matches!(done, Done::Appended { .. }))
}

/// *Unknown* is a judgement, and the true outcome may still come after it: that is another command.
fn conclusion(message: MessageId, attempt: u32, outcome: &Outcome) -> CommandId {
    let what = if matches!(outcome, Outcome::Unknown { .. }) { "unknown" } else { "conclude" };
    CommandId::new(format!("{what}/{message}/{attempt}"))
}

async fn change_connection(
    hub: &Hub,
    turn: &Turn,
    what: &str,
    command: connection::Command,
) -> Result<Loaded<Connection>> {
    let command_id = CommandId::new(format!("{what}/{}", hub.ids.uuid()));
    let done = hub.commands.execute::<Connection>(turn.lane, &command_id, &turn.context(), command).await?;
    Ok(done.into_after())
}

fn count(hub: &Hub, outcome: &Outcome) {
    hub.metrics.delivery(match outcome {
        Outcome::Delivered { .. } => DeliveryOutcome::Delivered,
        Outcome::Deferred { .. } => DeliveryOutcome::Deferred,
        Outcome::Unknown { .. } => DeliveryOutcome::Unknown,
        Outcome::Rejected { .. } => DeliveryOutcome::Rejected,
        Outcome::DeadLettered { .. } => DeliveryOutcome::DeadLettered,
        Outcome::Parked { .. } => DeliveryOutcome::Parked,
        Outcome::Expired => DeliveryOutcome::Expired,
    });
}

/// The outbox, acting on a message of which nothing else is known.
async fn context(hub: &Hub, message: MessageId, person: PersonId) -> Result<Context> {
    let accepted = hub.commands.beginning::<Message>(message).await?;
    let context = Context::hub("outbox", message.to_string()).of_tenant(person.tenant);
    Ok(match accepted {
        Some((cause, message::Event::Accepted(accepted))) => {
            context.of_client(accepted.client).caused_by(Some(cause))
        }
        None => context,
    })
}
