//! Sign-ins: from a client's request for a link to a linked person with tokens in the vault.
//!
//! **Invariants.** What a sign-in needs later (link, state, nonce, verifier, codes) is computed from its id and never
//! stored, so any hub can go on with what another began. Tokens reach the vault before an event speaks of them, and count
//! for nothing before the sign-in is completed.

mod authorize;
mod finish;
mod in_chat;
mod news;
mod password;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use custody::{KeyName, Place, SignInPurpose};
use domain::{
    AccountId, ClientId, CommandId, KeyedHash, PersonId, Sealed, SignInId, TenantId, Timestamp,
    client::Client,
    sign_in::{self, Browser, By, ByClient, Command, Method, Request, SignIn, Stage},
    tenant::Tenant,
};
use microsoft::{Authorize, Identity, entra};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use store::Position;
use subtle::ConstantTimeEq as _;
use url::Url;
use uuid::Uuid;

pub use authorize::{Answer, Outcome, authorize};
pub use finish::{finish, finish_and_tell, lapse};
pub use in_chat::{CodeTried, InChat, as_code, begin_in_chat, call_off, try_code};
pub use news::NotBefore;
pub use password::{Shown, Tried, code, shown, try_password};

use crate::{
    commands::{Context, Failure, Loaded},
    config::SignInTenants,
    http::auth::Caller,
    hub::Hub,
};

/// Where Microsoft sends the browser back to, under `public_url`.
pub const CALLBACK: &str = "/sign-in/callback";

/// The fields of a sign-in's events that are sealed under its own key: the person's name in Teams, and the account that the
/// product named, with what it calls its user.
const NAME: &str = "name";
const PRODUCT_ACCOUNT: &str = "product-account";
const PRODUCT_NAME: &str = "product-name";

/// The redirect URI to be registered at Microsoft.
pub fn redirect_uri(public_url: &Url) -> Url {
    public_url.join(CALLBACK).expect("a constant path joins")
}

/// Where browsers are sent to sign in or to consent, each as `https://login.microsoftonline.com`.
pub fn microsoft_origins(hub: &Hub) -> BTreeSet<String> {
    let microsoft = &hub.config.microsoft;
    // `{tenant}` stands in the path, so the origin can be read all the same.
    let own = microsoft.authorize_url.as_deref().and_then(|url| Url::parse(url).ok());
    let urls = own.iter().chain([&microsoft.authority]);
    urls.map(|url| url.origin().ascii_serialization()).collect()
}

/// What a client asks for.
#[derive(Clone, Debug, Serialize)]
pub struct Wish {
    pub account: AccountId,
    pub expected: Option<PersonId>,
    pub return_url: Option<String>,
}

/// A link, and until when it is good.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub id: SignInId,
    pub url: Url,
    pub lapses_at: Timestamp,
    pub position: Position,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum NotInvited {
    #[error("the client has no return URL of this kind registered")]
    ReturnUrlNotRegistered,
    #[error(
        "without an expected person a registered return URL is needed, where the browser brings the one-time code"
    )]
    ReturnUrlNeeded,
    #[error("this client may not link people of that tenant")]
    TenantNotAllowed,
    #[error("the idempotency key was used for another sign-in")]
    KeyReused,
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

/// Makes a link for an account; the same one for the same idempotency key.
pub async fn invite(hub: &Hub, caller: &Caller, key: &str, wish: Wish) -> Result<Invitation, NotInvited> {
    let return_url = return_url(hub, caller, &wish).await?;
    if wish.expected.is_some_and(|expected| !caller.may_see(expected.tenant)) {
        return Err(NotInvited::TenantNotAllowed);
    }
    let id = SignInId(hub.custody.name_uuid("sign-in", &caller.client, key));
    let asked = serde_json::to_vec(&wish).expect("a wish serializes");
    let request_hash = hub.custody.content_hash(&asked);
    let before = hub.commands.load::<SignIn>(id).await.map_err(anyhow::Error::from)?;
    if before.state.request.is_some() {
        return invitation(hub, id, &before, &request_hash);
    }
    hub.custody.create_sign_in_key(id).await.map_err(anyhow::Error::from)?;
    let account =
        seal(hub, &KeyName::SignIn(id), &place(&stream(id), "account"), wish.account.as_str().as_bytes())
            .await?;
    let by = By::Client(Box::new(ByClient {
        client: caller.client.clone(),
        account_hash: hub.custody.name_account(&wish.account),
        account,
        expected: wish.expected,
        return_url,
        request_hash: request_hash.clone(),
    }));
    let request = Request { by, lapses_at: hub.clock.now() + hub.config.sign_in.link_life };
    let context = Context::client(&caller.client, id.to_string());
    let done =
        hub.commands.execute::<SignIn>(id, &CommandId::new("request"), &context, Command::Ask(request)).await;
    let after = done.map_err(anyhow::Error::from)?.into_after();
    invitation(hub, id, &after, &request_hash)
}

/// The registered URL that the browser is sent to afterwards.
async fn return_url(hub: &Hub, caller: &Caller, wish: &Wish) -> Result<Option<String>, NotInvited> {
    let client = hub.commands.load::<Client>(&caller.client).await.map_err(anyhow::Error::from)?;
    let registered = client.state.profile.map(|profile| profile.return_urls).unwrap_or_default();
    match &wish.return_url {
        Some(url) if registered.contains(url) => Ok(Some(url.clone())),
        Some(_) => Err(NotInvited::ReturnUrlNotRegistered),
        None if wish.expected.is_some() => Ok(None),
        None => match registered.as_slice() {
            [only] => Ok(Some(only.clone())),
            _ => Err(NotInvited::ReturnUrlNeeded),
        },
    }
}

fn invitation(
    hub: &Hub,
    id: SignInId,
    loaded: &Loaded<SignIn>,
    request_hash: &KeyedHash,
) -> Result<Invitation, NotInvited> {
    let request = loaded.state.request.as_ref().context("a sign-in begins with a request")?;
    if request.of_client().is_none_or(|by| by.request_hash != *request_hash) {
        return Err(NotInvited::KeyReused);
    }
    Ok(leading_to(hub, id, request.lapses_at, loaded.position)?)
}

fn leading_to(hub: &Hub, id: SignInId, lapses_at: Timestamp, position: Position) -> Result<Invitation> {
    let secret = hub.custody.sign_in_secret(SignInPurpose::Link, id, 0);
    let url = hub.config.server.public_url.join(&format!("/sign-in/{id}.{}", secret.expose_secret()))?;
    Ok(Invitation { id, url, lapses_at, position })
}

/// The sign-in that a link leads to; `None` where the link is not one of ours.
pub fn by_link(hub: &Hub, link: &str) -> Option<SignInId> {
    let (id, secret) = link.split_once('.')?;
    let id: SignInId = id.parse().ok()?;
    is_secret(hub, SignInPurpose::Link, id, 0, secret).then_some(id)
}

/// The sign-in and the attempt that a callback's state names; `None` where the state is not one of ours.
pub fn by_state(hub: &Hub, state: &str) -> Option<(SignInId, u32)> {
    let mut parts = state.splitn(3, '.');
    let id: SignInId = parts.next()?.parse().ok()?;
    let attempt: u32 = parts.next()?.parse().ok()?;
    is_secret(hub, SignInPurpose::State, id, attempt, parts.next()?).then_some((id, attempt))
}

fn is_secret(hub: &Hub, purpose: SignInPurpose, id: SignInId, attempt: u32, given: &str) -> bool {
    let secret = hub.custody.sign_in_secret(purpose, id, attempt);
    secret.expose_secret().as_bytes().ct_eq(given.as_bytes()).into()
}

/// Binds the sign-in to this browser, and answers where Microsoft takes it from here.
pub async fn choose(hub: &Hub, id: SignInId, browser_hash: String) -> Result<Url, Failure<sign_in::Refusal>> {
    let before = hub.commands.load::<SignIn>(id).await?.state;
    let now = hub.clock.now();
    let command = Command::Choose { method: Method::Microsoft, browser_hash, now };
    let command_id = CommandId::new(format!("choose/{}", hub.ids.uuid()));
    let done = hub.commands.execute::<SignIn>(id, &command_id, &in_browser(id, &before), command).await?;
    let state = &done.after().state;
    let attempt = state.browser.as_ref().map_or(0, |browser| browser.attempt);
    let secret = |purpose| hub.custody.sign_in_secret(purpose, id, attempt);
    let url = hub.entra.authorize_url(&Authorize {
        tenant: expected_tenant(state),
        state: &format!("{id}.{attempt}.{}", secret(SignInPurpose::State).expose_secret()),
        nonce: secret(SignInPurpose::Nonce).expose_secret(),
        code_verifier: &secret(SignInPurpose::Verifier),
        login_hint: None,
        prompt: Some(entra::Prompt::SelectAccount),
    });
    Ok(url)
}

/// Whether people of the tenant may be linked now: nobody has blocked it, it is listed where that is needed, and it is one
/// of the client's own where a client asked and those are named.
async fn lets_in(hub: &Hub, client: Option<&ClientId>, tenant: TenantId) -> Result<bool> {
    let open = hub.config.sign_in.tenants == SignInTenants::Open;
    let admitted = hub.commands.load::<Tenant>(tenant).await?.state.admission.lets_in(open);
    let Some(client) = client else { return Ok(admitted) };
    let profile = hub.commands.load::<Client>(client).await?.state.profile;
    let own = profile.and_then(|profile| profile.tenants).is_none_or(|tenants| tenants.contains(&tenant));
    Ok(admitted && own)
}

/// Why a confirmation was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotConfirmed {
    #[error("there is no such sign-in")]
    NoSuchSignIn,
    #[error("the code is not the one that the browser was given")]
    WrongCode,
    #[error(transparent)]
    Refused(sign_in::Refusal),
    #[error("the account belongs to another person; unlink it first")]
    AccountLinkedElsewhere,
    #[error("the person's organisation is not admitted, or not this client's to link")]
    TenantNotAdmitted,
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

/// The client that asked for the link says that the browser was its user's, by the code that the browser brought it.
pub async fn confirm(hub: &Hub, client: &ClientId, id: SignInId, code: &str) -> Result<(), NotConfirmed> {
    let state = hub.commands.load::<SignIn>(id).await.map_err(anyhow::Error::from)?.state;
    if state.request.as_ref().and_then(Request::client) != Some(client) {
        return Err(NotConfirmed::NoSuchSignIn);
    }
    let attempt = state.authorized.as_ref().map(|authorized| authorized.attempt);
    let attempt = attempt.ok_or(NotConfirmed::Refused(sign_in::Refusal::NothingToConfirm))?;
    if !is_secret(hub, SignInPurpose::Confirmation, id, attempt, code) {
        return Err(NotConfirmed::WrongCode);
    }
    let person = state.authorized.as_ref().map(|authorized| authorized.person);
    if let Some(person) = person
        && !lets_in(hub, Some(client), person.tenant).await?
    {
        return Err(NotConfirmed::TenantNotAdmitted);
    }
    let context = Context::client(client, id.to_string());
    let command = Command::Confirm { attempt, now: hub.clock.now() };
    match hub.commands.execute::<SignIn>(id, &CommandId::new("confirm"), &context, command).await {
        Ok(_) => {}
        Err(Failure::Refused(refusal)) => return Err(NotConfirmed::Refused(refusal)),
        Err(error) => return Err(NotConfirmed::Trouble(error.into())),
    }
    match finish(hub, id).await? {
        Stage::Refused => Err(NotConfirmed::AccountLinkedElsewhere),
        _ => Ok(()),
    }
}

/// Who a person is, as Microsoft said at the sign-in; sealed wherever it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    pub name: Option<String>,
    pub user_principal_name: Option<String>,
    pub email: Option<String>,
    pub email_verified: bool,
}

impl From<&Identity> for Profile {
    fn from(identity: &Identity) -> Self {
        Self {
            name: identity.name.clone(),
            user_principal_name: identity.user_principal_name.clone(),
            email: identity.email.clone(),
            email_verified: identity.email_verified,
        }
    }
}

/// A person's profile, from where it stands in the connection's events. `None` once it was erased.
pub async fn reveal_profile(hub: &Hub, person: PersonId, profile: &Sealed) -> Result<Option<Profile>> {
    let stream = format!("connection-{}", person.connection());
    match hub.custody.unseal(&profile_place(&stream), profile).await {
        Ok(plain) => Ok(Some(serde_json::from_slice(&plain)?)),
        Err(custody::UnsealError::Destroyed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn seal_profile(hub: &Hub, person: PersonId, person_key: Uuid, plain: &[u8]) -> Result<Sealed> {
    let stream = format!("connection-{}", person.connection());
    seal(hub, &KeyName::Person(person_key), &profile_place(&stream), plain).await
}

fn profile_place(stream: &str) -> Place<'_> {
    Place { purpose: "profile", stream, field: "profile", generation: 0 }
}

async fn seal(hub: &Hub, key: &KeyName, place: &Place<'_>, plain: &[u8]) -> Result<Sealed> {
    Ok(hub.custody.seal(key, place, plain).await?)
}

/// A named person signs in at their own tenant.
fn expected_tenant(state: &SignIn) -> Option<TenantId> {
    Some(state.request.as_ref()?.expected()?.tenant)
}

/// Whether this browser may go on with the sign-in.
pub fn is_bound_elsewhere(state: &SignIn, browser_hash: Option<&str>) -> bool {
    matches!(&state.browser, Some(Browser { hash, .. }) if Some(hash.as_str()) != browser_hash)
}

fn stream(id: SignInId) -> String {
    format!("signin-{id}")
}

/// Where something of the sign-in's own stands, until it belongs to a person.
fn place<'a>(stream: &'a str, field: &'a str) -> Place<'a> {
    Place { purpose: "sign-in", stream, field, generation: 0 }
}

/// The person, in the browser of this sign-in.
fn in_browser(id: SignInId, state: &SignIn) -> Context {
    of_client(Context::person(id.to_string()), state)
}

/// What happens to a sign-in is also told to the client that asked for it.
fn of_client(context: Context, state: &SignIn) -> Context {
    match state.request.as_ref().and_then(Request::client) {
        Some(client) => context.of_client(client.clone()),
        None => context,
    }
}

fn following(id: SignInId, person: PersonId) -> Context {
    Context::hub("sign-ins", id.to_string()).of_tenant(person.tenant)
}

fn link_id(id: SignInId) -> CommandId {
    CommandId::new(format!("link/{id}"))
}
