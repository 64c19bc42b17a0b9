//! People of organisations that are not let in: they are told so, and what they do is not kept.
//!
//! **Invariant.** Of what such a person does nothing is written, neither to the vault nor to the log: the log knows that
//! their organisation was seen, so that an operator can admit it, and that they were told, once in a conversation.

use anyhow::Result;
use domain::{
    CommandId, PersonId, TenantId,
    activity::Kind,
    tenant::{self, Tenant},
};
use microsoft::bot;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    catalogue::Notice,
    notices::{self, Place, Told},
};
use crate::{commands::Context, config::SignInTenants, hub::Hub};

/// So many wait to be told. Whoever comes beyond that, or was to be told when a process ended, is told when they come again.
const WAITING_MAX: usize = 100;

/// Those who are to be told, since Teams gets its answer before.
pub(super) struct Strangers {
    enter: mpsc::Sender<(PersonId, Place)>,
    waiting: Mutex<mpsc::Receiver<(PersonId, Place)>>,
}

impl Default for Strangers {
    fn default() -> Self {
        let (enter, waiting) = mpsc::channel(WAITING_MAX);
        Self { enter, waiting: Mutex::new(waiting) }
    }
}

/// Whether people of this organisation are let in. Read from the store, so that what any hub acknowledged counts at once.
pub(super) async fn is_let_in(hub: &Hub, tenant: TenantId) -> Result<bool> {
    let open = hub.config.sign_in.tenants == SignInTenants::Open;
    Ok(hub.commands.load::<Tenant>(tenant).await?.state.admission.lets_in(open))
}

/// Records that the organisation was seen, and has the person told soon.
pub(super) async fn turn_away(
    hub: &Hub,
    activity: &bot::Activity,
    kind: Kind,
    person: PersonId,
) -> Result<()> {
    let context = Context::hub("bot", person.tenant.to_string()).of_tenant(person.tenant);
    see(hub, person.tenant, &context).await?;
    if let (Some(bot), true) = (&hub.bot, kind != Kind::Removed) {
        // Where too many wait, they are told when they come again.
        let _ = bot.strangers.enter.try_send((person, Place::of(activity)));
    }
    Ok(())
}

/// Somebody of this organisation came.
pub(super) async fn see(hub: &Hub, tenant: TenantId, context: &Context) -> Result<()> {
    let command_id = CommandId::new("see/bot".to_owned());
    hub.commands.execute::<Tenant>(tenant, &command_id, context, tenant::Command::See).await?;
    Ok(())
}

/// Tells a person that their organisation is not let in, once in a conversation.
pub(super) async fn tell(hub: &Hub, person: PersonId, place: &Place) -> Result<Told> {
    let cause = hub.custody.name_of("turned away", &[&place.address.conversation_id]);
    notices::reply(hub, person, place, cause, &Notice::TenantNotAdmitted).await
}

/// Tells those who were turned away, one after the other.
pub async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    let Some(bot) = &hub.bot else { return Ok(()) };
    let mut waiting = bot.strangers.waiting.lock().await;
    while let Some(Some((person, place))) = stopping.run_until_cancelled(waiting.recv()).await {
        if let Err(error) = tell(&hub, person, &place).await {
            let error = format!("{error:#}");
            tracing::warn!(tenant.id = %person.tenant, error, "Somebody who is not let in could not be told.");
        }
    }
    Ok(())
}
