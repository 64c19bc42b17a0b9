//! Sign-ins: from a client's request for a link to a linked person with tokens in the vault.
//!
//! **Invariants.** What a sign-in needs later (link, state, nonce, verifier, codes) is computed from its id and never
//! stored, so any hub can go on with what another began. Tokens reach the vault before an event speaks of them, and count
//! for nothing before the sign-in is completed.

use anyhow::{Context as _, Result};
use custody::{KeyName, Place, SignInPurpose, TokenPair, VaultError};
use domain::{
    AccountId, ClientId, CommandId, Diagnosis, PersonId, Sealed, SignInId, Timestamp,
    account::{self, Account},
    connection::{self, Connection, Link},
    sign_in::{self, Authorized, Browser, Command, FailureReason, Method, Request, SignIn, Stage},
    tenant::{self, Tenant},
};
use microsoft::{Authorize, Identity, Redeem, RedeemError, TokenFailure, entra};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use store::Position;
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::{
    commands::{Context, Done, Failure, Loaded},
    config::SignInTenants,
    http::auth::Caller,
    hub::Hub,
    metrics::SignInOutcome,
};

/// Where Microsoft sends the browser back to, under `public_url`.
pub const CALLBACK: &str = "/sign-in/callback";

/// The redirect URI to be registered at Microsoft.
pub fn redirect_uri(public_url: &Url) -> Url {
    public_url.join(CALLBACK).expect("a constant path joins")
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
    let request = Request {
        client: caller.client.clone(),
        account_hash: hub.custody.name_account(&wish.account),
        account,
        expected: wish.expected,
        return_url,
        request_hash: request_hash.clone(),
        lapses_at: hub.clock.now() + hub.config.sign_in.link_life,
    };
    let context = Context::client(&caller.client, id.to_string());
    let done =
        hub.commands.execute::<SignIn>(id, &CommandId::new("request"), &context, Command::Ask(request)).await;
    let after = done.map_err(anyhow::Error::from)?.into_after();
    invitation(hub, id, &after, &request_hash)
}

/// The registered URL that the browser is sent to afterwards.
async fn return_url(hub: &Hub, caller: &Caller, wish: &Wish) -> Result<Option<String>, NotInvited> {
    let client =
        hub.commands.load::<domain::client::Client>(&caller.client).await.map_err(anyhow::Error::from)?;
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
    request_hash: &domain::KeyedHash,
) -> Result<Invitation, NotInvited> {
    let request = loaded.state.request.as_ref().context("a sign-in begins with a request")?;
    if request.request_hash != *request_hash {
        return Err(NotInvited::KeyReused);
    }
    let secret = hub.custody.sign_in_secret(SignInPurpose::Link, id, 0);
    let url = hub.config.server.public_url.join(&format!("/sign-in/{id}.{}", secret.expose_secret()));
    let url = url.map_err(anyhow::Error::from)?;
    Ok(Invitation { id, url, lapses_at: request.lapses_at, position: loaded.position })
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
    let now = hub.clock.now();
    let command = Command::Choose { method: Method::Microsoft, browser_hash, now };
    let command_id = CommandId::new(format!("choose/{}", hub.ids.uuid()));
    let done = hub.commands.execute::<SignIn>(id, &command_id, &in_browser(id), command).await?;
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

/// What Microsoft sent the browser back with.
pub enum Answer {
    Code(SecretString),
    /// `error`, and the AADSTS number that its description begins with.
    Error {
        error: String,
        aadsts: Option<u32>,
    },
}

/// What becomes of the browser now.
pub enum Outcome {
    /// All is done.
    Completed,
    /// The product has to confirm: it is told by the browser.
    Provisional {
        return_to: Url,
    },
    Failed(FailureReason),
    /// The link's time is over, or another attempt overtook this one.
    Refused(sign_in::Refusal),
}

/// Takes Microsoft's answer to the attempt that this browser made.
pub async fn authorize(
    hub: &Hub,
    id: SignInId,
    attempt: u32,
    browser_hash: &str,
    answer: Answer,
) -> Result<Outcome> {
    let loaded = hub.commands.load::<SignIn>(id).await?.state;
    if loaded.browser.as_ref().is_none_or(|browser| browser.hash != browser_hash) {
        return Ok(Outcome::Refused(sign_in::Refusal::OtherBrowser));
    }
    if let Some(outcome) = settled(hub, id, &loaded, attempt)? {
        return Ok(outcome);
    }
    let outcome = match brought(hub, id, attempt, &loaded, answer).await? {
        Ok(brought) => keep(hub, id, attempt, brought).await?,
        Err((why, diagnosis)) => {
            let command_id = CommandId::new(format!("fail/{attempt}"));
            let command = Command::Fail { attempt, why, diagnosis };
            let done = hub.commands.execute::<SignIn>(id, &command_id, &in_browser(id), command).await?;
            hub.metrics.sign_in(SignInOutcome::Failed);
            // The same answer may have come twice, and the other one may have been taken.
            settled(hub, id, &done.after().state, attempt)?.unwrap_or(Outcome::Failed(why))
        }
    };
    Ok(outcome)
}

/// What came of it already, where something did.
fn settled(hub: &Hub, id: SignInId, state: &SignIn, attempt: u32) -> Result<Option<Outcome>> {
    Ok(match state.stage {
        Stage::Absent => Some(Outcome::Refused(sign_in::Refusal::NoSuchSignIn)),
        Stage::Lapsed => Some(Outcome::Refused(sign_in::Refusal::Lapsed)),
        Stage::Refused => Some(Outcome::Failed(FailureReason::AccountLinkedElsewhere)),
        Stage::Completed => Some(Outcome::Completed),
        _ if !state.is_open(hub.clock.now()) => Some(Outcome::Refused(sign_in::Refusal::Lapsed)),
        Stage::Provisional
            if state.authorized.as_ref().is_some_and(|authorized| authorized.attempt == attempt) =>
        {
            Some(Outcome::Provisional { return_to: return_to(hub, id, state)? })
        }
        _ if state.browser.as_ref().is_some_and(|browser| browser.attempt != attempt) => {
            Some(Outcome::Refused(sign_in::Refusal::StaleAttempt))
        }
        Stage::Open | Stage::Provisional => None,
    })
}

/// Where the browser carries the one-time code.
fn return_to(hub: &Hub, id: SignInId, state: &SignIn) -> Result<Url> {
    let url = state.request.as_ref().and_then(|request| request.return_url.as_deref());
    let mut url = Url::parse(url.context("a provisional sign-in has a return URL")?)?;
    let attempt = state.authorized.as_ref().map_or(0, |authorized| authorized.attempt);
    let code = hub.custody.sign_in_secret(SignInPurpose::Confirmation, id, attempt);
    url.query_pairs_mut().append_pair("sign_in", &id.to_string()).append_pair("code", code.expose_secret());
    Ok(url)
}

/// What a good answer brought: a person who is let in, and tokens.
struct Brought {
    identity: Identity,
    tokens: TokenPair,
}

/// Redeems the code, and looks at who came.
async fn brought(
    hub: &Hub,
    id: SignInId,
    attempt: u32,
    state: &SignIn,
    answer: Answer,
) -> Result<Result<Brought, (FailureReason, Diagnosis)>> {
    let code = match answer {
        Answer::Code(code) => code,
        Answer::Error { error, aadsts } => return Ok(Err(declined(&error, aadsts))),
    };
    let nonce = hub.custody.sign_in_secret(SignInPurpose::Nonce, id, attempt);
    let redemption = Redeem {
        tenant: expected_tenant(state),
        code,
        code_verifier: hub.custody.sign_in_secret(SignInPurpose::Verifier, id, attempt),
        nonce: nonce.expose_secret(),
    };
    let signed_in = match hub.entra.redeem(redemption, hub.clock.now()).await {
        Ok(signed_in) => signed_in,
        Err(error) => return Ok(Err(refused(&error))),
    };
    let person = signed_in.identity.person;
    let expected = state.request.as_ref().and_then(|request| request.expected);
    if expected.is_some_and(|expected| expected != person) {
        return Ok(Err((FailureReason::WrongPerson, Diagnosis::default())));
    }
    let open = hub.config.sign_in.tenants == SignInTenants::Open;
    if !hub.commands.load::<Tenant>(person.tenant).await?.state.admission.lets_in(open) {
        see_tenant(hub, id, person).await?;
        return Ok(Err((FailureReason::TenantNotAdmitted, Diagnosis::default())));
    }
    let mut identity = signed_in.identity;
    if identity.email.is_none() {
        identity.email = directory_email(hub, &signed_in.tokens.access).await;
    }
    let tokens = TokenPair {
        access: signed_in.tokens.access,
        refresh: signed_in.tokens.refresh,
        expires_at: hub.clock.now() + signed_in.tokens.expires_in,
        scopes: signed_in.tokens.scopes,
    };
    Ok(Ok(Brought { identity, tokens }))
}

/// Where the ID token has no e-mail: what the directory has, never verified. Missing is no obstacle.
async fn directory_email(hub: &Hub, access: &SecretString) -> Option<String> {
    match hub.graph.me(access).await {
        Ok(me) => me.mail.or(me.user_principal_name),
        Err(failure) => {
            tracing::info!("The directory does not say the person's e-mail: {failure}");
            None
        }
    }
}

/// Tokens into the vault, then the event; and where that completes the sign-in, all that follows from it.
async fn keep(hub: &Hub, id: SignInId, attempt: u32, brought: Brought) -> Result<Outcome> {
    let Brought { identity, tokens } = brought;
    match hub.custody.put_tokens(id, 1, u64::from(attempt), &tokens).await {
        Ok(()) => {}
        Err(VaultError::Superseded) => return Ok(Outcome::Refused(sign_in::Refusal::StaleAttempt)),
        Err(VaultError::Destroyed) => return Ok(Outcome::Refused(sign_in::Refusal::Lapsed)),
        Err(error) => return Err(error.into()),
    }
    let profile = serde_json::to_vec(&Profile::from(&identity))?;
    let command = Command::Authorize {
        attempt,
        person: identity.person,
        profile: seal(hub, &KeyName::SignIn(id), &place(&stream(id), "profile"), &profile).await?,
        scopes: tokens.scopes,
        expires_at: tokens.expires_at,
        now: hub.clock.now(),
    };
    let context = in_browser(id).of_tenant(identity.person.tenant);
    let command_id = CommandId::new(format!("authorize/{attempt}"));
    let done = match hub.commands.execute::<SignIn>(id, &command_id, &context, command).await {
        Ok(done) => done,
        Err(Failure::Refused(refusal)) => return Ok(Outcome::Refused(refusal)),
        Err(error) => return Err(error.into()),
    };
    match done.after().state.stage {
        Stage::Completed => Ok(match finish(hub, id).await? {
            Stage::Refused => Outcome::Failed(FailureReason::AccountLinkedElsewhere),
            _ => Outcome::Completed,
        }),
        _ => {
            hub.metrics.sign_in(SignInOutcome::Provisional);
            Ok(Outcome::Provisional { return_to: return_to(hub, id, &done.after().state)? })
        }
    }
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
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

/// The client that asked for the link says that the browser was its user's, by the code that the browser brought it.
pub async fn confirm(hub: &Hub, client: &ClientId, id: SignInId, code: &str) -> Result<(), NotConfirmed> {
    let state = hub.commands.load::<SignIn>(id).await.map_err(anyhow::Error::from)?.state;
    if state.request.as_ref().is_none_or(|request| request.client != *client) {
        return Err(NotConfirmed::NoSuchSignIn);
    }
    let attempt = state.authorized.as_ref().map(|authorized| authorized.attempt);
    let attempt = attempt.ok_or(NotConfirmed::Refused(sign_in::Refusal::NothingToConfirm))?;
    if !is_secret(hub, SignInPurpose::Confirmation, id, attempt, code) {
        return Err(NotConfirmed::WrongCode);
    }
    let context = Context::client(client, id.to_string());
    let command = Command::Confirm { now: hub.clock.now() };
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
    person_key: uuid::Uuid,
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

async fn link_person(hub: &Hub, id: SignInId, authorized: &Authorized, person_key: uuid::Uuid) -> Result<()> {
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

async fn see_tenant(hub: &Hub, id: SignInId, person: PersonId) -> Result<()> {
    let command_id = CommandId::new(format!("see/{id}"));
    let context = following(id, person);
    hub.commands.execute::<Tenant>(person.tenant, &command_id, &context, tenant::Command::See).await?;
    Ok(())
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

async fn seal_profile(hub: &Hub, person: PersonId, person_key: uuid::Uuid, plain: &[u8]) -> Result<Sealed> {
    let stream = format!("connection-{}", person.connection());
    seal(hub, &KeyName::Person(person_key), &profile_place(&stream), plain).await
}

fn profile_place(stream: &str) -> Place<'_> {
    Place { purpose: "profile", stream, field: "profile", generation: 0 }
}

async fn seal(hub: &Hub, key: &KeyName, place: &Place<'_>, plain: &[u8]) -> Result<Sealed> {
    Ok(hub.custody.seal(key, place, plain).await?)
}

/// Microsoft's answer to the browser, in our words.
fn declined(error: &str, aadsts: Option<u32>) -> (FailureReason, Diagnosis) {
    let why = match (error, aadsts) {
        (_, Some(90094 | 90095)) => FailureReason::AdminConsentRequired,
        ("consent_required", _) => FailureReason::ConsentRequired,
        ("access_denied", _) => FailureReason::Declined,
        ("server_error" | "temporarily_unavailable", _) => FailureReason::ProviderUnavailable,
        (
            "invalid_request"
            | "unauthorized_client"
            | "unsupported_response_type"
            | "invalid_resource"
            | "invalid_scope",
            _,
        ) => FailureReason::Misconfigured,
        _ => FailureReason::Refused,
    };
    let shaped = error.len() <= 64 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (why, Diagnosis { code: shaped.then(|| error.to_owned()), aadsts, ..Diagnosis::default() })
}

/// Why the code brought nothing, in our words.
fn refused(error: &RedeemError) -> (FailureReason, Diagnosis) {
    tracing::info!("A sign-in brought nothing: {error}");
    let failure = match error {
        RedeemError::TokenFailure(failure) => failure,
        RedeemError::NoRefreshToken => return (FailureReason::NoRefreshToken, Diagnosis::default()),
        RedeemError::PersonalAccount => return (FailureReason::PersonalAccount, Diagnosis::default()),
        RedeemError::NoIdToken | RedeemError::IdTokenInvalid { .. } => {
            return (FailureReason::IdTokenInvalid, Diagnosis::default());
        }
        RedeemError::Unavailable(_) => return (FailureReason::ProviderUnavailable, Diagnosis::default()),
    };
    let why = match failure {
        TokenFailure::ConsentRequired { admin: true, .. } => FailureReason::AdminConsentRequired,
        TokenFailure::ConsentRequired { .. } => FailureReason::ConsentRequired,
        TokenFailure::HubProblem { .. } => {
            tracing::error!(
                "Entra ID refuses the hub itself: check client_id, client_secret and redirect URI."
            );
            FailureReason::Misconfigured
        }
        TokenFailure::Throttled { .. }
        | TokenFailure::NotSent { .. }
        | TokenFailure::Transient { .. }
        | TokenFailure::Ambiguous { .. } => FailureReason::ProviderUnavailable,
        TokenFailure::Final { .. }
        | TokenFailure::PersonSuspended { .. }
        | TokenFailure::TenantProblem { .. } => FailureReason::Refused,
    };
    (why, Diagnosis::from(failure.diagnosis()))
}

/// A named person signs in at their own tenant.
fn expected_tenant(state: &SignIn) -> Option<domain::TenantId> {
    Some(state.request.as_ref()?.expected?.tenant)
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

fn in_browser(id: SignInId) -> Context {
    Context { actor: "person".to_owned(), ..Context::hub("", id.to_string()) }
}

fn following(id: SignInId, person: PersonId) -> Context {
    Context::hub("sign-ins", id.to_string()).of_tenant(person.tenant)
}

fn link_id(id: SignInId) -> CommandId {
    CommandId::new(format!("link/{id}"))
}
