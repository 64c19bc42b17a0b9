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

use super::{following, in_browser, link_id, place, seal, seal_profile, stream};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::SignInOutcome,
};

/// What follows from a completed sign-in: the account is linked, then the person. Safe to repeat after any interruption,
/// and for two at once: the handler and the processor often are.
pub async fn finish(hub: &Hub, id: SignInId) -> Result<Stage> {
    let loaded = hub.commands.load::<SignIn>(id).await?.state;
    let (Some(request), Some(authorized)) = (&loaded.request, &loaded.authorized) else {
        return Ok(loaded.stage);
    };
    if loaded.stage != Stage::Completed {
        return Ok(loaded.stage);
    }
    let Some(plain) = unseal(hub, id, request, authorized).await? else {
        // Its key is destroyed last: all this was done, and newer sign-ins may have followed.
        return Ok(hub.commands.load::<SignIn>(id).await?.state.stage);
    };
    see_tenant(hub, id, authorized.person).await?;
    let connection = hub.commands.load::<Connection>(authorized.person.connection()).await?.state;
    let person_key = connection.person_key.unwrap_or_else(|| first_person_key(authorized.person));
    hub.custody.create_person_key(person_key).await?;
    if !link_account(hub, id, request, authorized, person_key, &plain.account).await? {
        return refuse(hub, id).await;
    }
    if link_person(hub, id, authorized, person_key, &plain.profile).await? {
        // What the former grant had is of no use any more.
        if let Some(former) = connection.grant {
            hub.tokens.forget(former.id);
            hub.custody.destroy_tokens(former.id).await?;
        }
        hub.metrics.sign_in(SignInOutcome::Completed);
    }
    hub.custody.destroy_sign_in_key(id).await?;
    Ok(Stage::Completed)
}

/// The same whoever draws it and however often, so that all of a person is sealed under one key.
fn first_person_key(person: PersonId) -> Uuid {
    Uuid::new_v5(&person.connection().0, b"person-key-1")
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

/// False where the account is somebody else's.
async fn link_account(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    authorized: &Authorized,
    person_key: Uuid,
    plain: &[u8],
) -> Result<bool> {
    let of_account = format!("account-{}", request.account_hash);
    let there = Place { purpose: "account", stream: &of_account, field: "account", generation: 0 };
    let account = seal(hub, &KeyName::Person(person_key), &there, plain).await?;
    let person = authorized.person;
    let link = account::Command::Link { person, sign_in: id, account };
    let context = following(id, person).of_client(request.client.clone());
    let done = hub.commands.execute::<Account>(&request.account_hash, &link_id(id), &context, link).await?;
    let linked = done.after().state.linked.as_ref().is_some_and(|linked| linked.person == person);
    Ok(linked)
}

/// True where this very call linked the person.
async fn link_person(
    hub: &Hub,
    id: SignInId,
    authorized: &Authorized,
    person_key: Uuid,
    plain: &[u8],
) -> Result<bool> {
    let person = authorized.person;
    let link = Link {
        person,
        person_key,
        profile: seal_profile(hub, person, person_key, plain).await?,
        sign_in: id,
        scopes: authorized.scopes.clone(),
        expires_at: authorized.expires_at,
    };
    let link = connection::Command::Link(link);
    let context = following(id, person);
    let done = hub.commands.execute::<Connection>(person.connection(), &link_id(id), &context, link).await?;
    Ok(matches!(done, Done::Appended { .. }))
}

/// The account is somebody else's: what the sign-in brought is destroyed.
async fn refuse(hub: &Hub, id: SignInId) -> Result<Stage> {
    hub.commands.execute::<SignIn>(id, &CommandId::new("refuse"), &in_browser(id), Command::Refuse).await?;
    hub.custody.destroy_tokens(id).await?;
    hub.custody.destroy_sign_in_key(id).await?;
    hub.metrics.sign_in(SignInOutcome::Refused);
    Ok(Stage::Refused)
}

/// The time of a sign-in is over: what it brought and what it knew is destroyed.
pub async fn lapse(hub: &Hub, id: SignInId) -> Result<()> {
    let context = Context::hub("sign-ins", id.to_string());
    let command = Command::Lapse { now: hub.clock.now() };
    let done = hub.commands.execute::<SignIn>(id, &CommandId::new("lapse"), &context, command).await?;
    if done.after().state.stage == Stage::Lapsed {
        hub.custody.destroy_tokens(id).await?;
        hub.custody.destroy_sign_in_key(id).await?;
        if let Done::Appended { .. } = done {
            hub.metrics.sign_in(SignInOutcome::Lapsed);
        }
    }
    Ok(())
}

pub(super) async fn see_tenant(hub: &Hub, id: SignInId, person: PersonId) -> Result<()> {
    let command_id = CommandId::new(format!("see/{id}"));
    let context = following(id, person);
    hub.commands.execute::<Tenant>(person.tenant, &command_id, &context, tenant::Command::See).await?;
    Ok(())
}
