//! The way by the bot: in its own voice, into its own chat with the person, with no token of the person's.

use std::time::Duration;

use anyhow::Result;
use domain::{
    Aggregate as _, CommandId, Diagnosis, Surface,
    connection::{Connection, Conversation, Event, Reachable, Status},
    lane::{DeferReason, Outcome, ParkReason, RejectReason},
    message::Template,
};
use microsoft::{
    ChatMessage,
    bot::{Address, OutgoingActivity, SendFailure, Sent, TextFormat},
};

use store::StoreError;

use super::{
    super::{
        backoff,
        breakers::{self, Permission},
        outbox::{Left, shortly},
    },
    Turn,
    outcome::{settled, unknown},
    prepare::{Found, park, park_since, rejected},
};
use crate::{
    bot::Bot,
    commands::Loaded,
    hub::Hub,
    services::messages::{self, Posting},
};

/// What is said, and where.
pub(super) struct Ready<'a> {
    bot: &'a Bot,
    to: Address,
    content: OutgoingActivity,
    pub(super) template: Option<Template>,
}

/// Everything that can be found out before an intent is recorded.
pub(super) async fn prepare<'a>(hub: &'a Hub, turn: &Turn) -> Result<Found<Ready<'a>>> {
    let (bot, to) = match address(hub, turn) {
        Ok(found) => found,
        Err(why) => return Ok(Found::Decided(park(hub, turn, why, Diagnosis::default()))),
    };
    let tenant = turn.accepted.person.tenant;
    match breakers::permission(hub, tenant, Surface::Bot, &turn.tenant) {
        Permission::Go => {}
        Permission::Wait(until) => return Ok(Found::Leave(Left::Until(until))),
        Permission::Probe => {
            let answered = bot.connector.probe(&to, hub.config.outbound.request_timeout).await;
            if !breakers::probed(hub, tenant, Surface::Bot, answers(&answered)).await? {
                return Ok(Found::Leave(shortly(hub.config.delivery.breaker_pause)));
            }
        }
    }
    let Some(Posting { message, template }) = messages::render(hub, turn.message, &turn.accepted).await?
    else {
        return Ok(Found::Decided(rejected(RejectReason::ContentErased)));
    };
    let content = activity(message);
    if content.utf16_bytes() > hub.config.delivery.bot_size_max_bytes {
        return Ok(Found::Decided(rejected(RejectReason::TooLarge)));
    }
    Ok(Found::Go(Ready { bot, to, content, template }))
}

/// The bot and its chat with the person, or why it can't write there.
fn address<'a>(hub: &'a Hub, turn: &Turn) -> Result<(&'a Bot, Address), ParkReason> {
    let connection = &turn.connection.state;
    if matches!(connection.status, Status::Absent | Status::Unlinked) {
        return Err(ParkReason::Unlinked);
    }
    let installed = connection.bot.as_ref().ok_or(ParkReason::BotNotInstalled)?;
    match (installed.reachable, &hub.bot) {
        (Reachable::Blocked, _) => Err(ParkReason::BotBlocked),
        (Reachable::Removed, _) | (_, None) => Err(ParkReason::BotNotInstalled),
        (Reachable::Installed, Some(bot)) => {
            let Conversation { service_url, conversation_id, .. } = installed.conversation.clone();
            Ok((bot, Address { service_url, conversation_id }))
        }
    }
}

/// Whether the bot has a chat with the person.
pub(super) fn is_reachable(connection: &Connection) -> bool {
    let linked = !matches!(connection.status, Status::Absent | Status::Unlinked);
    linked && connection.bot.as_ref().is_some_and(|bot| bot.reachable == Reachable::Installed)
}

fn activity(message: ChatMessage) -> OutgoingActivity {
    match message {
        ChatMessage::Text(text) => OutgoingActivity::text(TextFormat::Plain, text),
        ChatMessage::Html(html) => OutgoingActivity::text(TextFormat::Xml, html),
        ChatMessage::Card { summary_text, card, .. } => OutgoingActivity::card(card, summary_text),
    }
}

/// Whether the connector answers at all: any definite answer will do.
fn answers(probed: &Result<(), SendFailure>) -> bool {
    !matches!(
        probed,
        Err(SendFailure::Throttled { .. }
            | SendFailure::Unavailable { .. }
            | SendFailure::NotSent { .. }
            | SendFailure::Ambiguous { .. })
    )
}

/// Says it, once, and tells what came of it.
pub(super) async fn post(hub: &Hub, turn: &Turn, ready: &Ready<'_>, timeout: Duration) -> Outcome {
    let sent = ready.bot.connector.send(&ready.to, &ready.content, timeout).await;
    hub.pace.said(turn.lane);
    outcome(hub, turn, ready, sent).await
}

async fn outcome(hub: &Hub, turn: &Turn, ready: &Ready<'_>, sent: Result<Sent, SendFailure>) -> Outcome {
    let failure = match sent {
        Ok(sent) => {
            breakers::known(hub, turn.accepted.person.tenant, Surface::Bot);
            return Outcome::Delivered {
                chat_id: ready.to.conversation_id.clone(),
                provider_message_id: sent.activity_id,
                provider_request_id: None,
            };
        }
        Err(failure) => failure,
    };
    let diagnosis = Diagnosis::from(failure.diagnosis());
    if let SendFailure::Ambiguous { .. } = failure {
        return unknown(hub, turn, diagnosis).await;
    }
    breakers::known(hub, turn.accepted.person.tenant, Surface::Bot);
    let meant = means(hub, turn, &failure, diagnosis.clone()).await;
    settled(hub, turn, meant, diagnosis)
}

/// What a failure means that left no doubt behind: nothing was said.
async fn means(hub: &Hub, turn: &Turn, failure: &SendFailure, diagnosis: Diagnosis) -> Result<Outcome> {
    let delivery = &hub.config.delivery;
    let pause = backoff(delivery.backoff_first, delivery.backoff_max, turn.deferrals(), hub.ids.as_ref());
    let later = |why, pause, diagnosis| Outcome::Deferred {
        surface: turn.way,
        until: hub.clock.now() + pause,
        why,
        diagnosis,
    };
    Ok(match failure {
        SendFailure::Throttled { retry_after, .. } => {
            later(DeferReason::Throttled, retry_after.unwrap_or(pause), diagnosis)
        }
        SendFailure::Unavailable { retry_after, .. } => {
            later(DeferReason::NotSent, retry_after.unwrap_or(pause), diagnosis)
        }
        SendFailure::NotSent { .. } => later(DeferReason::NotSent, pause, diagnosis),
        SendFailure::HubProblem { .. } => {
            tracing::error!("Microsoft refuses the bot's own registration: {failure}");
            later(DeferReason::TokenUnavailable, pause, diagnosis)
        }
        SendFailure::Ambiguous { .. } => later(DeferReason::TryLater, pause, diagnosis),
        SendFailure::Blocked { .. } => match lost(hub, turn, Event::BotBlocked {}).await? {
            Some(since) => park_since(hub, turn, &since, ParkReason::BotBlocked, diagnosis),
            None => later(DeferReason::TryLater, pause, diagnosis),
        },
        SendFailure::NotInRoster { .. } | SendFailure::ConversationGone { .. } => {
            match lost(hub, turn, Event::BotRemoved { at: None }).await? {
                Some(since) => park_since(hub, turn, &since, ParkReason::BotNotInstalled, diagnosis),
                None => later(DeferReason::TryLater, pause, diagnosis),
            }
        }
        // Another address may come with the next activity, or the operator adds this one.
        SendFailure::ServiceNotAllowed { .. } => park(hub, turn, ParkReason::BotNotInstalled, diagnosis),
        SendFailure::DisabledByAdmin { .. } => park(hub, turn, ParkReason::Forbidden, diagnosis),
        SendFailure::TooLarge { .. } => Outcome::Rejected { why: RejectReason::TooLarge, diagnosis },
        SendFailure::Rejected { .. } => Outcome::Rejected { why: RejectReason::RefusedByProvider, diagnosis },
    })
}

/// Records that the chat is lost, unless something else was recorded of the person meanwhile: that may be the chat's return.
async fn lost(hub: &Hub, turn: &Turn, event: Event) -> Result<Option<Loaded<Connection>>> {
    let (before, context) = (&turn.connection, turn.context());
    let command_id = CommandId::new(format!("bot-lost/{}", hub.ids.uuid()));
    let events = [event.clone()];
    match hub
        .commands
        .append_at::<Connection>(turn.lane, before.revision, &command_id, &context, &events)
        .await
    {
        Ok(appended) => {
            let mut since = Loaded::clone(before);
            since.revision = Some(appended.revision);
            since.state = since.state.evolve(event);
            Ok(Some(since))
        }
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
