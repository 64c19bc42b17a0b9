//! The end of a sign-in: its account and its person are linked, or what it brought is destroyed.

use anyhow::Result;
use custody::{KeyName, Place, UnsealError};
use domain::{
    CommandId, PersonId, SignInId,
    account::{self, Account},
    connection::{self, Connection, Link},
    sign_in::{Authorized, Command, Request, SignIn, Stage},
    tenant::{self, Tenant},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{following, link_id, of_client, place, seal, seal_profile, stream};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::SignInOutcome,
};

/// What follows from the end of a sign-in: where it was completed, the account is linked, then the person; and what is of
/// no use any more is destroyed. Safe to repeat after any interruption, and for two at once: the handler and the processor
/// often are.
pub async fn finish(hub: &Hub, id: SignInId) -> Result<Stage> {
    let before = hub.commands.load::<SignIn>(id).await?;
    let (loaded, ended) = (before.state, before.last);
    if loaded.settled || !matches!(loaded.stage, Stage::Completed | Stage::Refused | Stage::Lapsed) {
        return Ok(loaded.stage);
    }
    let stage = match (&loaded.request, &loaded.authorized) {
        (Some(request), Some(authorized)) if loaded.stage == Stage::Completed => {
            link(hub, id, ended, request, authorized).await?
        }
        _ => loaded.stage,
    };
    if stage != Stage::Completed {
        hub.custody.destroy_tokens(id).await?;
    }
    hub.custody.destroy_sign_in_key(id).await?;
    let context = of_client(Context::hub("sign-ins", id.to_string()), &loaded).caused_by(ended);
    hub.commands.execute::<SignIn>(id, &CommandId::new("settle"), &context, Command::Settle).await?;
    Ok(stage)
}

/// Links account and person. What the person's former grant had is destroyed.
async fn link(
    hub: &Hub,
    id: SignInId,
    completed: Option<Uuid>,
    request: &Request,
    authorized: &Authorized,
) -> Result<Stage> {
    let Some(plain) = unseal(hub, id, request, authorized).await? else {
        // Its key is destroyed after all this was done.
        return Ok(Stage::Completed);
    };
    let person = authorized.person;
    let context = following(id, person).of_client(request.client.clone()).caused_by(completed);
    see_tenant(hub, id, person).await?;
    let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
    let person_key = connection.person_key.unwrap_or_else(|| person.connection().first_person_key());
    hub.custody.create_person_key(person_key).await?;
    match link_account(hub, id, request, person, person_key, &context, &plain.account).await? {
        Some(linked) if linked != person => return refuse(hub, id, &context).await,
        // Linked by this sign-in once, and unlinked since.
        None => return Ok(Stage::Completed),
        Some(_) => {}
    }
    let after = link_person(hub, id, authorized, person_key, &context, &plain.profile).await?;
    if let Some(former) = after.grant.filter(|grant| grant.id == id).and_then(|grant| grant.former) {
        hub.tokens.forget(former);
        hub.custody.destroy_tokens(former).await?;
    }
    Ok(Stage::Completed)
}

/// What was sealed for the sign-in alone.
struct Plain {
    account: Zeroizing<Vec<u8>>,
    profile: Zeroizing<Vec<u8>>,
}

/// `None` where the sign-in's key is destroyed.
async fn unseal(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    authorized: &Authorized,
) -> Result<Option<Plain>, UnsealError> {
    let stream = stream(id);
    let account = hub.custody.unseal(&place(&stream, "account"), &request.account).await;
    let profile = hub.custody.unseal(&place(&stream, "profile"), &authorized.profile).await;
    match (account, profile) {
        (Err(UnsealError::Destroyed), _) | (_, Err(UnsealError::Destroyed)) => Ok(None),
        (account, profile) => Ok(Some(Plain { account: account?, profile: profile? })),
    }
}

/// Whom the account belongs to then.
async fn link_account(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    person: PersonId,
    person_key: Uuid,
    context: &Context,
    plain: &[u8],
) -> Result<Option<PersonId>> {
    let of_account = format!("account-{}", request.account_hash);
    let there = Place { purpose: "account", stream: &of_account, field: "account", generation: 0 };
    let account = seal(hub, &KeyName::Person(person_key), &there, plain).await?;
    let link = account::Command::Link { person, sign_in: id, account };
    let done = hub.commands.execute::<Account>(&request.account_hash, &link_id(id), context, link).await?;
    Ok(done.after().state.linked.as_ref().map(|linked| linked.person))
}

/// The connection as it is then.
async fn link_person(
    hub: &Hub,
    id: SignInId,
    authorized: &Authorized,
    person_key: Uuid,
    context: &Context,
    plain: &[u8],
) -> Result<Connection> {
    let person = authorized.person;
    let link = connection::Command::Link(Link {
        person,
        person_key,
        profile: seal_profile(hub, person, person_key, plain).await?,
        sign_in: id,
        scopes: authorized.scopes.clone(),
        expires_at: authorized.expires_at,
    });
    let done = hub.commands.execute::<Connection>(person.connection(), &link_id(id), context, link).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.sign_in(SignInOutcome::Completed);
    }
    Ok(done.into_after().state)
}

/// The account is somebody else's.
async fn refuse(hub: &Hub, id: SignInId, context: &Context) -> Result<Stage> {
    let done =
        hub.commands.execute::<SignIn>(id, &CommandId::new("refuse"), context, Command::Refuse).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.sign_in(SignInOutcome::Refused);
    }
    Ok(Stage::Refused)
}

/// The time of a sign-in is over: what it brought and what it knew is destroyed.
pub async fn lapse(hub: &Hub, id: SignInId) -> Result<()> {
    let before = hub.commands.load::<SignIn>(id).await?.state;
    let context = of_client(Context::hub("sign-ins", id.to_string()), &before);
    let command = Command::Lapse { now: hub.clock.now() };
    let done = hub.commands.execute::<SignIn>(id, &CommandId::new("lapse"), &context, command).await?;
    if let Done::Appended { .. } = done {
        hub.metrics.sign_in(SignInOutcome::Lapsed);
    }
    finish(hub, id).await?;
    Ok(())
}

pub(super) async fn see_tenant(hub: &Hub, id: SignInId, person: PersonId) -> Result<()> {
    let command_id = CommandId::new(format!("see/{id}"));
    let context = following(id, person);
    hub.commands.execute::<Tenant>(person.tenant, &command_id, &context, tenant::Command::See).await?;
    Ok(())
}
