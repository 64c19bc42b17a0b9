//! What people are told of a sign-in's end, and what is looked for then.
//!
//! **Invariant.** Nothing of it decides anything: what can't be said or found is left, and the sign-in is settled.

use std::time::Duration;

use anyhow::Result;
use domain::{
    CommandId, PersonId, SignInId, Timestamp,
    account::Account,
    connection::{self, Connection},
    sign_in::{Request, SignIn, Stage},
};
use microsoft::FoundChat;

use super::following;
use crate::{
    bot::{
        catalogue::Notice,
        notices::{self, Told},
    },
    hub::Hub,
    services::people,
};

/// What can't be said for passing reasons is tried again for so long.
const PATIENCE: Duration = Duration::from_hours(1);

/// Nobody can be told before then.
#[derive(Debug, thiserror::Error)]
#[error("the person can't be told before {0}")]
pub struct NotBefore(pub Timestamp);

/// Whether anybody is to be told of the end: the processor does it, and the browser does not wait for it.
pub(super) fn is_due(state: &SignIn, end: Stage) -> bool {
    let by_bot = state.request.as_ref().and_then(Request::of_bot).is_some();
    end == Stage::Refused || (end == Stage::Completed && by_bot)
}

/// Tells the person who is linked now, or whose account somebody else tried to link; and looks for the chat, so that the
/// first message need not.
pub(super) async fn tell(hub: &Hub, id: SignInId, state: &SignIn, end: Stage) -> Result<()> {
    let Some(authorized) = &state.authorized else { return Ok(()) };
    let told = match end {
        Stage::Refused => match whose(hub, state).await? {
            Some(linked) => notices::tell(hub, linked, id.0, &Notice::LinkAttempted).await?,
            None => return Ok(()),
        },
        // Who typed a code has the bot's answer to it.
        Stage::Completed if authorized.grant.is_some() => {
            find_chat(hub, id, authorized.person).await?;
            let accounts = people::accounts(hub, authorized.person).await?;
            notices::tell(hub, authorized.person, id.0, &Notice::Linked { accounts }).await?
        }
        _ => return Ok(()),
    };
    let young = state.request.as_ref().is_some_and(|it| hub.clock.now() < it.lapses_at + PATIENCE);
    match told {
        Told::Later(at) if young => Err(NotBefore(at).into()),
        _ => Ok(()),
    }
}

/// Whom the account of this sign-in belongs to.
async fn whose(hub: &Hub, state: &SignIn) -> Result<Option<PersonId>> {
    let by_product = state.authorized.as_ref().and_then(|authorized| authorized.account.as_ref());
    let by_client = state.request.as_ref().and_then(Request::of_client).map(|by| &by.account_hash);
    let Some(hash) = by_product.map(|account| &account.hash).or(by_client) else { return Ok(None) };
    let account = hub.commands.load::<Account>(hash).await?.state;
    Ok(account.linked.map(|linked| linked.person))
}

/// Once, and without insisting: a delivery looks again.
async fn find_chat(hub: &Hub, id: SignInId, person: PersonId) -> Result<()> {
    let connection = person.connection();
    if hub.commands.load::<Connection>(connection).await?.state.chat_id.is_some() {
        return Ok(());
    }
    let Some(tokens) = hub.custody.get_tokens(id).await? else { return Ok(()) };
    if let Ok(FoundChat::Chat { chat_id, .. }) = hub.graph.find_chat(&tokens.value.access).await {
        let command = connection::Command::FindChat { chat_id };
        let command_id = CommandId::new(format!("find-chat/{id}"));
        hub.commands.execute::<Connection>(connection, &command_id, &following(id, person), command).await?;
    }
    Ok(())
}
