//! Keeping what came until it is handled: the event, then the payload into the vault, then the answer to Teams.
//!
//! In this order, because an event can be found again and a payload that no event speaks of can't: it would lie in the vault
//! for ever. Where a process dies in between there was no answer, so Teams sends the activity again, which brings the
//! payload; and if it never does, the activity ends as one whose payload was lost.
//!
//! **Invariants.** What people of an organisation do that is not let in is not kept. What comes ten times, to ten hubs at
//! once, is received once. The vault's inbox holds nothing but payloads of activities that are recorded, and none of those
//! that are handled.

use anyhow::Result;
use custody::VaultError;
use domain::{
    ActivityId, CommandId,
    activity::{self, BotCommand, Command, Kind, Received},
};
use microsoft::bot::{self, Membership};
use uuid::Uuid;

use super::{commands, strangers};
use crate::{
    commands::{Context, Done},
    hub::Hub,
};

/// What became of an activity that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Received,
    /// It had come before.
    Repeated,
    /// The person's organisation is not let in, so nothing of it was kept.
    TurnedAway,
    /// Nothing follows from such an activity, or nobody did it.
    Ignored,
}

/// Receives an activity whose token was checked. `payload` is the body that it was read from.
pub(super) async fn keep(hub: &Hub, activity: &bot::Activity, payload: &[u8]) -> Result<Kept> {
    let (Some((kind, command)), Some(person)) = (asked(activity), activity.sender()) else {
        return Ok(Kept::Ignored);
    };
    if !strangers::is_let_in(hub, person.tenant).await? {
        strangers::turn_away(hub, activity, kind, person).await?;
        return Ok(Kept::TurnedAway);
    }
    let (id, inbox) = names(hub, activity);
    let received = Received {
        activity_id: activity.id.clone(),
        conversation_id: activity.conversation.id.clone(),
        kind,
        command,
        person,
        inbox,
        at: hub.clock.now(),
    };
    let command_id = CommandId::new(format!("receive/{inbox}"));
    let context = Context::person(id.to_string()).of_tenant(person.tenant);
    let receive = Command::Receive(received);
    let done = hub.commands.execute::<activity::Activity>(id, &command_id, &context, receive).await?;
    let state = &done.after().state;
    // Also where it came before, under another name perhaps: that process may have died before it had put the payload. What
    // is pressed again is the same, or it would be another activity.
    let waits = state.received.as_ref().filter(|_| state.handled.is_none());
    if let Some(inbox) = waits.map(|received| received.inbox) {
        match hub.custody.put_inbox(inbox, payload).await {
            // It was handled since.
            Ok(()) | Err(VaultError::Destroyed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if matches!(done, Done::Appended { .. }) { Kept::Received } else { Kept::Repeated })
}

/// What sort of activity it is, and what it asks for; `None` where nothing follows from it.
fn asked(activity: &bot::Activity) -> Option<(Kind, Option<BotCommand>)> {
    Some(match &activity.kind {
        bot::Kind::Message { text } => (Kind::Message, commands::said(text)),
        bot::Kind::Submit { value } => (Kind::Submit, commands::pressed(value)),
        bot::Kind::Installed | bot::Kind::MembersChanged { bot: Some(Membership::Joined) } => {
            (Kind::Installed, None)
        }
        bot::Kind::Removed | bot::Kind::MembersChanged { bot: Some(Membership::Left) } => {
            (Kind::Removed, None)
        }
        bot::Kind::MembersChanged { bot: None } | bot::Kind::Invoke { .. } | bot::Kind::Other => return None,
    })
}

/// What its stream is named by, and its payload. Microsoft sends a submitted card again with another id, so those are
/// named by who submitted what on which card.
fn names(hub: &Hub, activity: &bot::Activity) -> (ActivityId, Uuid) {
    let conversation = activity.conversation.id.as_str();
    let inbox = hub.custody.name_of("activity", &[conversation, &activity.id]);
    let bot::Kind::Submit { value } = &activity.kind else { return (ActivityId(inbox), inbox) };
    let card = activity.reply_to_id.as_deref().unwrap_or_default();
    // The keys of a JSON object are sorted here, so the same value has the same text.
    let parts = [&activity.from.id, conversation, card, &value.to_string()];
    (ActivityId(hub.custody.name_of("submit", &parts)), inbox)
}
