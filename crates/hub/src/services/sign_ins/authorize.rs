//! Microsoft's answer to a browser: the code redeemed, the person looked at, the tokens put into the vault.

use anyhow::{Context as _, Result};
use custody::{KeyName, SignInPurpose, TokenPair, VaultError};
use domain::{
    CommandId, Diagnosis, PersonId, SignInId,
    sign_in::{self, Command, FailureReason, ProductAccount, Request, SignIn, Stage},
};
use microsoft::{Identity, Redeem, RedeemError, TokenFailure};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    Profile, expected_tenant, finish, finish::see_tenant, in_browser, lets_in, password::product_account,
    place, seal, stream,
};
use crate::{commands::Failure, hub::Hub, metrics::SignInOutcome, services::consent};

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
        Ok(brought) => keep(hub, id, attempt, &loaded, brought).await?,
        Err(NotBrought { why, diagnosis, came }) => {
            let command_id = CommandId::new(format!("fail/{attempt}"));
            let command = Command::Fail { attempt, why, diagnosis, came };
            let done =
                hub.commands.execute::<SignIn>(id, &command_id, &in_browser(id, &loaded), command).await?;
            hub.metrics.sign_in(SignInOutcome::Failed);
            if matches!(why, FailureReason::ConsentRequired | FailureReason::AdminConsentRequired) {
                consent::wait(hub, id, &loaded).await?;
            }
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
        Stage::Voided => Some(Outcome::Refused(sign_in::Refusal::Voided)),
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
    let by = state.request.as_ref().and_then(Request::of_client);
    let url = by.and_then(|by| by.return_url.as_deref());
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
    account: Option<ProductAccount>,
}

/// Why an answer brought nothing; who came, where it was another one than expected.
struct NotBrought {
    why: FailureReason,
    diagnosis: Diagnosis,
    came: Option<PersonId>,
}

impl From<(FailureReason, Diagnosis)> for NotBrought {
    fn from((why, diagnosis): (FailureReason, Diagnosis)) -> Self {
        Self { why, diagnosis, came: None }
    }
}

/// Redeems the code, and looks at who came.
async fn brought(
    hub: &Hub,
    id: SignInId,
    attempt: u32,
    state: &SignIn,
    answer: Answer,
) -> Result<Result<Brought, NotBrought>> {
    let code = match answer {
        Answer::Code(code) => code,
        Answer::Error { error, aadsts } => return Ok(Err(declined(&error, aadsts).into())),
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
        Err(error) => return Ok(Err(refused(&error).into())),
    };
    let person = signed_in.identity.person;
    let request = state.request.as_ref().context("a sign-in begins with a request")?;
    if request.expected().is_some_and(|expected| expected != person) {
        let (why, diagnosis) = (FailureReason::WrongPerson, Diagnosis::default());
        return Ok(Err(NotBrought { why, diagnosis, came: Some(person) }));
    }
    if !lets_in(hub, request.client(), person.tenant).await? {
        see_tenant(hub, id, person).await?;
        return Ok(Err((FailureReason::TenantNotAdmitted, Diagnosis::default()).into()));
    }
    let mut identity = signed_in.identity;
    if identity.email.is_none() {
        identity.email = directory_email(hub, &signed_in.tokens.access).await;
    }
    let account = match product_account_of(hub, id, request, &identity).await? {
        Ok(account) => account,
        Err(why) => return Ok(Err((why, Diagnosis::default()).into())),
    };
    let tokens = TokenPair {
        access: signed_in.tokens.access,
        refresh: signed_in.tokens.refresh,
        expires_at: hub.clock.now() + signed_in.tokens.expires_in,
        scopes: signed_in.tokens.scopes,
    };
    Ok(Ok(Brought { identity, tokens, account }))
}

/// Whose account it is, as the product says, where not the link named it.
async fn product_account_of(
    hub: &Hub,
    id: SignInId,
    request: &Request,
    identity: &Identity,
) -> Result<Result<Option<ProductAccount>, FailureReason>> {
    if request.client().is_some() {
        return Ok(Ok(None));
    }
    match hub.product.account_of(identity.person, &Profile::from(identity), hub.clock.now()).await {
        Ok(Some(account)) => Ok(Ok(Some(product_account(hub, id, &account, None).await?))),
        Ok(None) => Ok(Ok(None)),
        Err(error) => {
            tracing::warn!("The product does not say whose account a person's is: {error}");
            Ok(Err(FailureReason::ProductUnavailable))
        }
    }
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
async fn keep(hub: &Hub, id: SignInId, attempt: u32, before: &SignIn, brought: Brought) -> Result<Outcome> {
    let Brought { identity, tokens, account } = brought;
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
        account,
        now: hub.clock.now(),
    };
    let context = in_browser(id, before).of_tenant(identity.person.tenant);
    let command_id = CommandId::new(format!("authorize/{attempt}"));
    let done = match hub.commands.execute::<SignIn>(id, &command_id, &context, command).await {
        Ok(done) => done,
        Err(Failure::Refused(refusal)) => return Ok(Outcome::Refused(refusal)),
        Err(error) => return Err(error.into()),
    };
    let state = &done.after().state;
    if state.stage != Stage::Completed {
        hub.metrics.sign_in(SignInOutcome::Provisional);
        return Ok(Outcome::Provisional { return_to: return_to(hub, id, state)? });
    }
    Ok(match finish(hub, id).await? {
        Stage::Refused => Outcome::Failed(FailureReason::AccountLinkedElsewhere),
        _ => Outcome::Completed,
    })
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
