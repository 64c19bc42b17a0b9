//! The end of a sign-in: its account and its person are linked, or what it brought is destroyed.

use anyhow::Result;
use custody::{KeyName, Place};
use domain::{
    CommandId, PersonId, SignInId,
    account::{self, Account},
    connection::{self, Connection, Link},
    sign_in::{Authorized, Command, Request, SignIn, Stage},
    tenant::{self, Tenant},
};
use uuid::Uuid;

use super::{following, in_browser, link_id, place, seal, seal_profile, stream};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::SignInOutcome,
};

/// What follows from a completed sign-in: the account is linked, then the person. Safe to repeat after any interruption.
pub async fn finish(hub: &Hub, id: SignInId) -> Result<Stage> {
    let loaded = hub.commands.load::<SignIn>(id).await?.state;
    let (Some(request), Some(authorized)) = (&loaded.request, &loaded.authorized) else {
        return Ok(loaded.stage);
    };
    let connection = hub.commands.load::<Connection>(authorized.person.connection()).await?.state;
    let in_place = connection.grant.as_ref().is_some_and(|grant| grant.id == id);
    if loaded.stage != Stage::Completed || in_place {
        return Ok(loaded.stage);
    }
    see_tenant(hub, id, authorized.person).await?;
    let person_key = connection.person_key.unwrap_or_else(|| hub.ids.uuid());
    hub.custody.create_person_key(person_key).await?;
    if !link_account(hub, id, request, authorized, person_key).await? {
        return refuse(hub, id).await;
    }
    link_person(hub, id, authorized, person_key).await?;
    // What the former grant had is of no use any more, nor is what was sealed for the sign-in alone.
    if let Some(former) = connection.grant {
        hub.tokens.forget(former.id);
        hub.custody.destroy_tokens(former.id).await?;
    }
    hub.custody.destroy_sign_in_key(id).await?;
    hub.metrics.sign_in(SignInOutcome::Completed);
    Ok(Stage::Completed)
}

/// False where the account is somebody else's.
async fn link_account(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    authorized: &Authorized,
    person_key: Uuid,
) -> Result<bool> {
    let plain = hub.custody.unseal(&place(&stream(id), "account"), &request.account).await?;
    let of_account = format!("account-{}", request.account_hash);
    let there = Place { purpose: "account", stream: &of_account, field: "account", generation: 0 };
    let account = seal(hub, &KeyName::Person(person_key), &there, &plain).await?;
    let person = authorized.person;
    let link = account::Command::Link { person, sign_in: id, account };
    let context = following(id, person).of_client(request.client.clone());
    let done = hub.commands.execute::<Account>(&request.account_hash, &link_id(id), &context, link).await?;
    let linked = done.after().state.linked.as_ref().is_some_and(|linked| linked.person == person);
    Ok(linked)
}

async fn link_person(hub: &Hub, id: SignInId, authorized: &Authorized, person_key: Uuid) -> Result<()> {
    let plain = hub.custody.unseal(&place(&stream(id), "profile"), &authorized.profile).await?;
    let person = authorized.person;
    let connection = person.connection();
    let profile = seal_profile(hub, person, person_key, &plain).await?;
    let link = Link {
        person,
        person_key,
        profile,
        sign_in: id,
        scopes: authorized.scopes.clone(),
        expires_at: authorized.expires_at,
    };
    let context = following(id, person);
    // Two sign-ins of a new person at once: the key that the first one drew is the person's, the second is told so here,
    // and the processor that finishes sign-ins takes it from there.
    hub.commands
        .execute::<Connection>(connection, &link_id(id), &context, connection::Command::Link(link))
        .await?;
    Ok(())
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
