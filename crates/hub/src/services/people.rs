//! What is done with people beside signing them in: showing who they are, and ending their link.

use anyhow::Result;
use custody::{Place, UnsealError};
use domain::{
    AccountHash, CommandId, PersonId, Sealed, TenantId,
    account::{self, Account},
    aggregate::decode,
    audit::{self, Revealed},
    connection::{Connection, Event, Status},
    tenant::{self, Tenant},
};
use projections::{
    Behind,
    connections::{ConnectionRow, Key, Row},
};
use std::time::Duration;
use store::{Direction, Position, StoreError};
use uuid::Uuid;

use crate::{
    commands::{Context, Failure, LoadError, stream},
    http::auth::Caller,
    hub::Hub,
    services::{
        audit::record,
        sign_ins::{Profile, reveal_profile},
        tokens,
    },
};

/// How long unlinking waits for the read model that knows a person's other accounts.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often unlinking looks again because the person was signing in meanwhile.
const LOOKS_MAX: usize = 4;
/// Events of an account's stream read at a time.
const PAGE: usize = 512;

/// A person in clear, as far as that was not erased.
pub struct InClear {
    pub profile: Option<Profile>,
    pub accounts: Vec<String>,
}

/// Shows who a person is. That it was shown is recorded first.
pub async fn reveal(hub: &Hub, caller: &Caller, request: Uuid, row: &ConnectionRow) -> Result<InClear> {
    let person = row.person;
    let what =
        audit::Event::ContentRevealed { client: caller.client.clone(), person, what: Revealed::Profile };
    record(hub, caller, request, Some(person.tenant), what).await?;
    let profile = match &row.profile {
        Some(profile) => reveal_profile(hub, person, profile).await?,
        None => None,
    };
    let mut accounts = Vec::new();
    for (hash, sealed) in &row.accounts {
        accounts.extend(reveal_account(hub, hash, sealed).await?);
    }
    Ok(InClear { profile, accounts })
}

/// An account, from where it stands in its own stream. `None` once it was erased.
async fn reveal_account(hub: &Hub, hash: &AccountHash, sealed: &Sealed) -> Result<Option<String>> {
    let stream = format!("account-{hash}");
    let place = Place { purpose: "account", stream: &stream, field: "account", generation: 0 };
    match hub.custody.unseal(&place, sealed).await {
        Ok(plain) => Ok(Some(String::from_utf8_lossy(&plain).into_owned())),
        Err(UnsealError::Destroyed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The product's accounts of a person, for this very person. Those that are erased are left out.
pub async fn accounts(hub: &Hub, person: PersonId) -> Result<Vec<String>> {
    let id = person.connection();
    let now = hub.commands.load::<Connection>(id).await?;
    hub.connections.wait_for(now.position, WAIT_MAX).await?;
    let Some(Row::Connection(row)) = hub.connections.get(Key::Connection(id)).await? else {
        return Ok(Vec::new());
    };
    let mut accounts = Vec::new();
    for (hash, sealed) in &row.accounts {
        accounts.extend(reveal_account(hub, hash, sealed).await?);
    }
    Ok(accounts)
}

/// Lets people of a tenant in, or keeps them out. Saying it again changes nothing.
pub async fn decide_on_tenant(
    hub: &Hub,
    caller: &Caller,
    request: Uuid,
    tenant: TenantId,
    command: tenant::Command,
) -> Result<Position, Failure<tenant::Refusal>> {
    let command_id = CommandId::new(format!("decide/{request}"));
    let context = Context::client(&caller.client, request.to_string()).of_tenant(tenant);
    let done = hub.commands.execute::<Tenant>(tenant, &command_id, &context, command).await?;
    Ok(done.after().position)
}

/// Why an account was not unlinked, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum NotUnlinked {
    /// Never linked, or not to somebody whom this client may see.
    #[error("the account was never linked")]
    NotLinked,
    /// The account is unlinked; whether the person is, has to be seen to by another try.
    #[error("the person is signing in at this very moment")]
    Contended,
    #[error(transparent)]
    Behind(#[from] Behind),
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

/// Ends an account's link. The person's own link ends with the last account, and the tokens are destroyed. Safe to
/// repeat, also after an interruption in the middle.
pub async fn unlink(
    hub: &Hub,
    caller: &Caller,
    request: Uuid,
    account: &AccountHash,
) -> Result<Position, NotUnlinked> {
    let person = last_person(hub, account).await.map_err(anyhow::Error::from)?;
    let person = person.filter(|person| caller.may_see(person.tenant)).ok_or(NotUnlinked::NotLinked)?;
    let context = Context::client(&caller.client, request.to_string()).of_tenant(person.tenant);
    let before = hub.commands.load::<Account>(account).await.map_err(anyhow::Error::from)?;
    let command_id = CommandId::new(format!("unlink/{}", before.revision.unwrap_or_default()));
    let unlinked = unlink_account(hub, &context, &command_id, account).await?.unwrap_or(before.position);
    unlink_person(hub, &context, &command_id, person, unlinked).await
}

/// What came of a person's wish to be linked no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedOut {
    Done,
    /// There was no link.
    NotLinked,
}

/// Ends a person's link and those of all their accounts, because the person said so. Safe to repeat; `cause` is the
/// activity that said it.
pub async fn logout(hub: &Hub, person: PersonId, cause: Uuid) -> Result<LoggedOut, NotUnlinked> {
    let context = Context::person(cause.to_string());
    let context = context.of_tenant(person.tenant);
    let id = person.connection();
    let before = hub.commands.load::<Connection>(id).await.map_err(anyhow::Error::from)?;
    let command_id = CommandId::new(format!("logout/{cause}"));
    if before.knows(&command_id) {
        // A repeat does nothing to who has signed in since.
        return Ok(LoggedOut::Done);
    }
    hub.connections.wait_for(before.position, WAIT_MAX).await?;
    let accounts = match hub.connections.get(Key::Connection(id)).await? {
        Some(Row::Connection(row)) => row.accounts.into_keys().collect(),
        _ => Vec::new(),
    };
    let linked = !matches!(before.state.status, Status::Absent | Status::Unlinked);
    if !linked && accounts.is_empty() {
        return Ok(LoggedOut::NotLinked);
    }
    let mut unlinked = before.position;
    for account in accounts {
        let at = unlink_account(hub, &context, &command_id, &account).await?;
        unlinked = unlinked.max(at.unwrap_or(unlinked));
    }
    unlink_person(hub, &context, &command_id, person, unlinked).await?;
    Ok(LoggedOut::Done)
}

/// Ends the account's own link. `None` where there is none.
async fn unlink_account(
    hub: &Hub,
    context: &Context,
    command_id: &CommandId,
    account: &AccountHash,
) -> Result<Option<Position>, NotUnlinked> {
    let command = account::Command::Unlink;
    match hub.commands.execute::<Account>(account, command_id, context, command).await {
        Ok(done) => Ok(Some(done.after().position)),
        Err(Failure::Refused(account::Refusal::NotLinked)) => Ok(None),
        Err(error) => Err(NotUnlinked::Trouble(error.into())),
    }
}

/// Ends the person's link unless another account needs it. Answers the position of the last thing that was recorded.
async fn unlink_person(
    hub: &Hub,
    context: &Context,
    command_id: &CommandId,
    person: PersonId,
    unlinked: Position,
) -> Result<Position, NotUnlinked> {
    let id = person.connection();
    for _ in 0..LOOKS_MAX {
        let connection = hub.commands.load::<Connection>(id).await.map_err(anyhow::Error::from)?;
        // An account is linked before its person: a sign-in that this revision knows of is in the row by then.
        let known = unlinked.max(connection.position);
        hub.connections.wait_for(known, WAIT_MAX).await?;
        let row = hub.connections.get(Key::Connection(id)).await?;
        if matches!(&row, Some(Row::Connection(row)) if !row.accounts.is_empty()) {
            return Ok(unlinked);
        }
        let ended = matches!(connection.state.status, Status::Absent | Status::Unlinked);
        let position = if ended {
            connection.position
        } else {
            let events = [Event::Unlinked {}];
            let revision = connection.revision;
            match hub.commands.append_at::<Connection>(id, revision, command_id, context, &events).await {
                Ok(appended) => appended.position,
                // Somebody wrote to the connection meanwhile, perhaps a new sign-in: look again.
                Err(StoreError::Conflict { .. }) => continue,
                Err(error) => return Err(NotUnlinked::Trouble(error.into())),
            }
        };
        let destroyed = match connection.state.grant {
            Some(grant) => tokens::destroy(hub, id, person, grant.id).await?,
            None => position,
        };
        return Ok(destroyed.max(unlinked));
    }
    Err(NotUnlinked::Contended)
}

/// Whom the account belongs to, or belonged to last.
pub async fn last_person(hub: &Hub, account: &AccountHash) -> Result<Option<PersonId>, LoadError> {
    let stream = stream::<Account>(account);
    let mut from = u64::MAX;
    loop {
        let page = hub.store.read_stream(&stream, Direction::Backward, from, PAGE).await?;
        for event in &page {
            match decode::<Account>(&event.name, &event.data)? {
                account::Event::Linked { person, .. } | account::Event::Unlinked { person } => {
                    return Ok(Some(person));
                }
                account::Event::LinkRefused { .. } => {}
            }
        }
        match page.last() {
            Some(last) if last.revision > 0 => from = last.revision - 1,
            _ => return Ok(None),
        }
    }
}
