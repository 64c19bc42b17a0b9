//! The end of a sign-in: its account and its person are linked, or what it brought is destroyed.

use anyhow::{Result, bail};
use custody::{KeyName, Place, UnsealError};
use domain::{
    AccountHash, CommandId, PersonId, SignInId,
    account::{self, Account},
    connection::{self, Connection, FirstTokens, Link},
    sign_in::{Authorized, By, Command, Request, SignIn, Stage},
    tenant::{self, Tenant},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::news;
use super::{
    NAME, PRODUCT_ACCOUNT, Profile, following, link_id, of_client, place, seal, seal_profile, stream,
};
use crate::{
    commands::{Context, Done},
    hub::Hub,
    metrics::SignInOutcome,
    services::consent,
};

/// What follows from the end of a sign-in: where it was completed, the account is linked, then the person; and what is of
/// no use any more is destroyed. Safe to repeat after any interruption, and for two at once: the handler and the processor
/// often are. Where somebody is to be told of it, it is left to the processor to settle the sign-in.
pub async fn finish(hub: &Hub, id: SignInId) -> Result<Stage> {
    finish_as(hub, id, Telling::Left).await
}

/// The same, with what people are told.
pub async fn finish_and_tell(hub: &Hub, id: SignInId) -> Result<Stage> {
    finish_as(hub, id, Telling::Done).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    Left,
    Done,
}

async fn finish_as(hub: &Hub, id: SignInId, telling: Telling) -> Result<Stage> {
    let before = hub.commands.load::<SignIn>(id).await?;
    let (loaded, ended) = (before.state, before.last);
    if loaded.settled || !loaded.has_ended() {
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
    if news::is_due(&loaded, stage) {
        if telling == Telling::Left {
            return Ok(stage);
        }
        news::tell(hub, id, &loaded, stage).await?;
    }
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
    let mut context = following(id, person).caused_by(completed);
    if let Some(client) = request.client() {
        context = context.of_client(client.clone());
    }
    see_tenant(hub, id, person).await?;
    let connection = hub.commands.load::<Connection>(person.connection()).await?.state;
    let person_key = connection.person_key.unwrap_or_else(|| person.connection().first_person_key());
    hub.custody.create_person_key(person_key).await?;
    if let Some((hash, account)) = &plain.account {
        match link_account(hub, id, hash, person, person_key, &context, account).await? {
            Some(linked) if linked != person => return refuse(hub, id, &context).await,
            // Linked by this sign-in once, and unlinked since.
            None => return Ok(Stage::Completed),
            Some(_) => {}
        }
    }
    let after = link_person(hub, id, authorized, person_key, &context, &plain.profile).await?;
    if let Some(grant) = &authorized.grant {
        consent::grant(hub, id, person.tenant, &grant.scopes).await?;
    }
    if let Some(former) = after.grant.filter(|grant| grant.id == id).and_then(|grant| grant.former) {
        hub.tokens.forget(former);
        hub.custody.destroy_tokens(former).await?;
    }
    Ok(Stage::Completed)
}

/// What was sealed for the sign-in alone.
struct Plain {
    account: Option<(AccountHash, Zeroizing<Vec<u8>>)>,
    profile: Zeroizing<Vec<u8>>,
}

/// `None` where the sign-in's key is destroyed.
async fn unseal(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    authorized: &Authorized,
) -> Result<Option<Plain>> {
    let stream = stream(id);
    let account = match (&authorized.account, &request.by) {
        (Some(product), _) => Some((&product.hash, PRODUCT_ACCOUNT, &product.account)),
        (None, By::Client(by)) => Some((&by.account_hash, "account", &by.account)),
        (None, By::Bot(_)) => None,
    };
    let account = match account {
        Some((hash, field, sealed)) => match hub.custody.unseal(&place(&stream, field), sealed).await {
            Ok(plain) => Some((hash.clone(), plain)),
            Err(UnsealError::Destroyed) => return Ok(None),
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    let profile = match (&authorized.grant, &request.by) {
        (Some(grant), _) => hub.custody.unseal(&place(&stream, "profile"), &grant.profile).await,
        (None, By::Bot(by)) => hub.custody.unseal(&place(&stream, NAME), &by.name).await,
        (None, By::Client(_)) => bail!("a client's sign-in brings a grant"),
    };
    match profile {
        Ok(plain) if authorized.grant.is_some() => Ok(Some(Plain { account, profile: plain })),
        Ok(name) => Ok(Some(Plain { account, profile: Zeroizing::new(named(&name)?) })),
        Err(UnsealError::Destroyed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All that is known of who came by a password: the name in Teams.
fn named(name: &[u8]) -> Result<Vec<u8>> {
    let name = Some(String::from_utf8_lossy(name).into_owned());
    Ok(serde_json::to_vec(&Profile { name, user_principal_name: None, email: None, email_verified: false })?)
}

/// Whom the account belongs to then.
async fn link_account(
    hub: &Hub,
    id: SignInId,
    hash: &AccountHash,
    person: PersonId,
    person_key: Uuid,
    context: &Context,
    plain: &[u8],
) -> Result<Option<PersonId>> {
    let of_account = format!("account-{hash}");
    let there = Place { purpose: "account", stream: &of_account, field: "account", generation: 0 };
    let account = seal(hub, &KeyName::Person(person_key), &there, plain).await?;
    let link = account::Command::Link { person, sign_in: id, account };
    let done = hub.commands.execute::<Account>(hash, &link_id(id), context, link).await?;
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
        tokens: authorized
            .grant
            .as_ref()
            .map(|grant| FirstTokens { scopes: grant.scopes.clone(), expires_at: grant.expires_at }),
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
