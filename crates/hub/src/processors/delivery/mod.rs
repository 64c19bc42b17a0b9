//! One lane at a time: each message at its head is looked at, recorded as being sent, sent, and its outcome recorded.
//!
//! **Invariant.** Intent, act, outcome. The intent is appended at the lane's revision that `due` knew; only when that
//! succeeded is anything sent, once, and within the time that the intent names. Nothing is recorded or sent in a lane whose
//! shard is not this hub's.

mod bot;
mod judge;
mod outcome;
mod prepare;
mod said;

use std::{fmt::Display, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use domain::{
    CommandId, ConnectionId, Diagnosis, MessageId, PersonId, Timestamp,
    connection::{self, Connection, Grant, Status},
    lane::{Command, DeferReason, Event, Lane, Outcome, Surface},
    message::{self, Accepted, Message},
    tenant::{Admission, Tenant},
};
use projections::due::{
    LaneRow,
    queries::{self, Head},
};
use store::StoreError;
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    judge::judge,
    outcome::{outcome, resends},
    prepare::{ByGraph, Found, Ready, prepare},
    said::Said,
};
use super::{contained, outbox::Left};
use crate::{
    commands::{Context, Decided, Done, Loaded},
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
///
/// That one arrived is recorded together with the intent to send the next, where that may go at once.
pub(super) async fn work(hub: &Hub, lane: ConnectionId) -> Result<Left> {
    let Some(mut head) = queries::head(&hub.due, lane, hub.clock.now())? else { return Ok(Left::Waiting) };
    if hub.commands.knows_later::<Lane>(lane, head.row.lane_revision) {
        // The news of it are on their way.
        return Ok(Left::Waiting);
    }
    if let Some(open) = &head.row.open {
        return judge(hub, lane, &head.row, open).await;
    }
    let mut said = Said::default();
    let mut arrived: Option<Sent> = None;
    loop {
        if let Some(before) = arrived.take_if(|before| !is_at_hand(hub, &before.turn, &head))
            && !record(hub, before).await?
        {
            return Ok(Left::Waiting);
        }
        // Whatever becomes of this, that the one before arrived has to be recorded.
        let next = contained(next(hub, lane, &mut head, &mut said)).await;
        let goes_along = matches!(next, Ok(Next::Go(..)));
        if let Some(before) = arrived.take_if(|_| !goes_along)
            && !record(hub, before).await?
        {
            return Ok(Left::Waiting);
        }
        match next? {
            Next::Go(turn, ready) => {
                let Some(sent) = deliver(hub, turn, &ready, arrived.take()).await? else {
                    return Ok(Left::Waiting);
                };
                head.row = sent.row(hub.clock.now());
                arrived = Some(sent);
            }
            Next::Leave(left) => return Ok(left),
            Next::Decided(turn, outcome) => {
                decide(hub, &turn, outcome).await?;
                return Ok(Left::Waiting);
            }
        }
    }
}

/// What there is to do with the head of a lane.
enum Next<'a> {
    Go(Turn, Ready<'a>),
    Decided(Turn, Outcome),
    Leave(Left),
}

async fn next<'a>(hub: &'a Hub, lane: ConnectionId, head: &mut Head, said: &mut Said) -> Result<Next<'a>> {
    let turn = match turn(hub, lane, head, said).await? {
        Ok(turn) => turn,
        Err(left) => return Ok(Next::Leave(left)),
    };
    let found = prepare(hub, &turn).await?;
    if !hub.shards.holds(lane.shard()) {
        return Ok(Next::Leave(Left::Waiting));
    }
    Ok(match found {
        Found::Go(ready) => Next::Go(turn, ready),
        Found::Leave(left) => Next::Leave(left),
        Found::Decided(outcome) => Next::Decided(turn, outcome),
    })
}

/// Whether the next message may be sent without a word to anybody first, as far as is known from the one before it: the
/// outcome of that one is not to wait for Microsoft.
fn is_at_hand(hub: &Hub, before: &Turn, head: &Head) -> bool {
    let way =
        head.messages.front().and_then(|(_, row)| row.surface.open_way(|way| head.closed.contains(&way)));
    let connection = &before.connection.state;
    let is_fresh = |grant: &Grant| hub.clock.now() + hub.config.tokens.refresh_margin < grant.expires_at;
    way == Some(Surface::Graph)
        && way == Some(before.way)
        && connection.chat_id.is_some()
        && connection.grant.as_ref().is_some_and(is_fresh)
}

/// Whose turn it is, if it is anybody's now.
async fn turn(hub: &Hub, lane: ConnectionId, head: &mut Head, said: &mut Said) -> Result<Result<Turn, Left>> {
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
        said.take(hub, message, &row, &head.messages),
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

/// A message that was sent, and what came of it.
struct Sent {
    turn: Turn,
    attempt: u32,
    /// What was appended before it was sent, and the revision of the last of it.
    intent: Vec<Event>,
    revision: u64,
    outcome: Outcome,
    events: Vec<Event>,
}

impl Sent {
    fn context(&self) -> Context {
        let request_id = match &self.outcome {
            Outcome::Delivered { provider_request_id, .. } => provider_request_id.clone(),
            _ => None,
        };
        self.turn.context().answered_by(request_id)
    }

    fn command_id(&self) -> CommandId {
        conclusion(self.turn.message, self.attempt, &self.outcome)
    }

    /// The lane's row once the outcome is recorded, if nobody else comes between.
    fn row(&self, now: Timestamp) -> LaneRow {
        let revisions = self.intent.iter().map(|_| self.revision).chain(self.revision + 1..);
        let events = self.intent.iter().chain(&self.events);
        events
            .zip(revisions)
            .fold(self.turn.row.clone(), |row, (event, revision)| row.after(revision, event, now))
    }
}

/// Intent, act. Records with the intent what came of the message before. Answers with what was sent, if it arrived; the
/// outcome is then still to be recorded.
async fn deliver(hub: &Hub, turn: Turn, ready: &Ready<'_>, before: Option<Sent>) -> Result<Option<Sent>> {
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
    let Some(revision) = begin(hub, &turn, attempt, &intent, before, timeout).await? else { return Ok(None) };
    let outcome = match ready {
        Ready::Graph(ready) => post(hub, &turn, ready, timeout, client_request_id).await,
        Ready::Bot(ready) => bot::post(hub, &turn, ready, timeout).await,
    };
    count(hub, &outcome);
    let arrived = matches!(outcome, Outcome::Delivered { .. });
    let events = outcome.clone().events(message, attempt);
    let sent = Sent { turn, attempt, intent, revision, outcome, events };
    if arrived {
        return Ok(Some(sent));
    }
    record(hub, sent).await?;
    Ok(None)
}

/// Records an intent, and with it what came of the message before. Answers with the revision; `None` where the message is
/// not to be sent, since somebody else came between or the store took too long.
async fn begin(
    hub: &Hub,
    turn: &Turn,
    attempt: u32,
    intent: &[Event],
    before: Option<Sent>,
    timeout: Duration,
) -> Result<Option<u64>> {
    let (command_id, context) =
        (CommandId::new(format!("deliver/{}/{attempt}", turn.message)), turn.context());
    let intent = Decided { command_id: &command_id, context: &context, events: intent };
    let begun = Instant::now();
    let appended = match &before {
        None => hub.commands.append_in_company_at::<Lane>(turn.lane, turn.row.lane_revision, &[intent]).await,
        Some(before) => {
            let (command_id, context) = (before.command_id(), before.context());
            let outcome = Decided { command_id: &command_id, context: &context, events: &before.events };
            hub.commands
                .append_in_company_at::<Lane>(turn.lane, Some(before.revision), &[outcome, intent])
                .await
        }
    };
    match appended {
        Ok(appended) if begun.elapsed() <= timeout => return Ok(Some(appended.revision)),
        // Another hub may take the intent for abandoned before the answer to a post could be here.
        Ok(_) => {
            let late = "the store took longer to answer than a delivery may wait";
            not_begun(hub, turn, attempt, &late).await?;
        }
        Err(error) => {
            if let Some(before) = before {
                // Where the store took it without saying so, it is found recorded.
                record(hub, before).await?;
            }
            match error {
                StoreError::Conflict { .. } => {}
                StoreError::Uncertain(_) => not_begun(hub, turn, attempt, &error).await?,
                _ => return Err(error.into()),
            }
        }
    }
    Ok(None)
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
async fn not_begun(hub: &Hub, turn: &Turn, attempt: u32, why: &impl Display) -> Result<()> {
    tracing::error!(lane.id = %turn.lane, error = %why, "The store did not say in time whether a delivery may begin.");
    let until = hub.clock.now() + hub.config.delivery.backoff_first;
    let (surface, why) = (turn.way, DeferReason::NotSent);
    let outcome = Outcome::Deferred { surface, until, why, diagnosis: Diagnosis::default() };
    conclude_at_last(hub, turn.lane, &turn.context(), turn.message, attempt, outcome).await?;
    Ok(())
}

/// Records what came of an attempt, however long the store takes: without it the outcome would be lost. True if nothing
/// stands between it and the intent.
async fn record(hub: &Hub, sent: Sent) -> Result<bool> {
    let (command_id, context) = (sent.command_id(), sent.context());
    let Sent { turn, attempt, revision, outcome, events, .. } = sent;
    loop {
        let outcome_events = Decided { command_id: &command_id, context: &context, events: &events };
        match hub.commands.append_in_company_at::<Lane>(turn.lane, Some(revision), &[outcome_events]).await {
            Ok(_) => return Ok(true),
            Err(StoreError::Conflict { .. }) => {
                conclude_at_last(hub, turn.lane, &context, turn.message, attempt, outcome).await?;
                return Ok(false);
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
