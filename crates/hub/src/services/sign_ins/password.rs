//! The product's own password, typed on the panel.
//!
//! **Invariant.** A try is recorded, against every limit that it counts for, before anybody is asked whether it is right.
//! `docs/decisions/0011-tries-at-passwords.md` says what follows from that.

use std::net::IpAddr;

use anyhow::Result;
use custody::KeyName;
use domain::{
    AccountId, CommandId, Diagnosis, PersonId, SignInId, TenantId,
    attempts::{self, Attempts, Try},
    sign_in::{Command, FailureReason, Method, ProductAccount, Refusal, Request, SignIn, Stage},
    tenant::{self, Tenant},
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{PRODUCT_ACCOUNT, PRODUCT_NAME, in_browser, lets_in, place, seal, stream};
use crate::{
    commands::{Context, Failure},
    hub::Hub,
    metrics::SignInOutcome,
    services::passwords::{Typed, Verdict},
};

/// What becomes of the browser now.
pub enum Tried {
    /// There is a code to be typed in the chat.
    Provisional,
    Failed(FailureReason),
    Refused(Refusal),
}

/// Whether people of this tenant may come by a password: somebody checks it, and the tenant does not want it otherwise.
fn takes_passwords(hub: &Hub, tenant: &Tenant) -> bool {
    hub.config.password.is_on() && tenant.policy.password != Some(false)
}

/// What a try counts against: the stream of this stretch, and how many it may have beside those of the one before.
struct Limit {
    stream: Uuid,
    tries_max: usize,
}

/// Tries a password in this browser. The address counts only where it can be believed.
pub async fn try_password(
    hub: &Hub,
    id: SignInId,
    browser_hash: String,
    address: Option<IpAddr>,
    typed: Typed,
) -> Result<Tried> {
    let before = hub.commands.load::<SignIn>(id).await?.state;
    let person = before.request.as_ref().and_then(Request::of_bot).map(|by| by.person);
    let Some(person) = person else { return Ok(Tried::Refused(Refusal::NotOffered)) };
    if !takes_passwords(hub, &hub.commands.load::<Tenant>(person.tenant).await?.state) {
        return Ok(Tried::Refused(Refusal::NotOffered));
    }
    let limits = limits(hub, person, typed.name.expose_secret(), address).await?;
    // Whoever goes on beyond the limit leaves no more traces than up to it.
    for limit in &limits {
        let made = hub.commands.load::<Attempts>(limit.stream).await?.state.tries.len();
        if made >= limit.tries_max {
            return Ok(Tried::Failed(FailureReason::TooManyAttempts));
        }
    }
    let context = in_browser(id, &before).of_tenant(person.tenant);
    let now = hub.clock.now();
    let choose = Command::Choose { method: Method::Password, browser_hash, now };
    let command_id = CommandId::new(format!("choose/{}", hub.ids.uuid()));
    let done = match hub.commands.execute::<SignIn>(id, &command_id, &context, choose).await {
        Ok(done) => done,
        Err(Failure::Refused(refusal)) => return Ok(Tried::Refused(refusal)),
        Err(error) => return Err(error.into()),
    };
    let this = Try { sign_in: id, attempt: done.after().state.current_attempt() };
    let why = match verdict(hub, person, &limits, this, typed, &context).await? {
        Ok((account, name)) => return accept(hub, this, &account, name.as_deref(), &limits, &context).await,
        Err(why) => why,
    };
    let command = Command::Fail { attempt: this.attempt, why, diagnosis: Diagnosis::default(), came: None };
    let command_id = CommandId::new(format!("fail/{}", this.attempt));
    hub.commands.execute::<SignIn>(id, &command_id, &context, command).await?;
    hub.metrics.sign_in(SignInOutcome::Failed);
    Ok(Tried::Failed(why))
}

/// What this try counts against in the present stretch of time.
async fn limits(hub: &Hub, person: PersonId, name: &str, address: Option<IpAddr>) -> Result<Vec<Limit>> {
    let config = &hub.config.password;
    let now = hub.clock.now();
    let now_us = u64::try_from(now.as_micros()).unwrap_or_default();
    let stretch_us = u64::try_from(config.stretch.as_micros()).unwrap_or(u64::MAX);
    let limit = async |kind: &str, whose: &str, tries_max: usize| {
        let stream = |stretch| hub.custody.name_attempts(kind, whose, stretch);
        let stretch = now_us / stretch_us;
        let before = hub.commands.load::<Attempts>(stream(stretch.saturating_sub(1))).await?.state;
        let tries_max = tries_max.saturating_sub(before.later_than(now - config.stretch));
        anyhow::Ok(Limit { stream: stream(stretch), tries_max })
    };
    let mut limits = vec![
        limit("person", &person.to_string(), config.tries_per_person).await?,
        limit("account", &name.trim().to_lowercase(), config.tries_per_account).await?,
    ];
    if let Some(address) = address {
        limits.push(limit("address", &address.to_string(), config.tries_per_address).await?);
    }
    Ok(limits)
}

/// Counts the try, and asks whether it is right.
async fn verdict(
    hub: &Hub,
    person: PersonId,
    limits: &[Limit],
    this: Try,
    typed: Typed,
    context: &Context,
) -> Result<Result<(AccountId, Option<String>), FailureReason>> {
    if !lets_in(hub, None, person.tenant).await? {
        return Ok(Err(FailureReason::TenantNotAdmitted));
    }
    let command_id = CommandId::new(format!("try/{}/{}", this.sign_in, this.attempt));
    let now = hub.clock.now();
    for Limit { stream, tries_max } in limits {
        let make = attempts::Command::Make { this, tries_max: *tries_max, now };
        match hub.commands.execute::<Attempts>(stream, &command_id, context, make).await {
            Ok(_) => {}
            Err(Failure::Refused(attempts::Refusal::TooMany)) => {
                return Ok(Err(FailureReason::TooManyAttempts));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(match hub.passwords.check(person, typed, now).await {
        Verdict::Right { account, name } => Ok((account, name)),
        Verdict::Wrong => Err(FailureReason::WrongPassword),
        Verdict::SecondFactorWanted => Err(FailureReason::SecondFactorRequired),
        Verdict::Unavailable => Err(FailureReason::ProductUnavailable),
        Verdict::NotJudged => {
            give_back(hub, limits, this, context).await?;
            Err(FailureReason::ProductUnavailable)
        }
    })
}

/// It was no guess either, though it may have been meant as one.
async fn give_back(hub: &Hub, limits: &[Limit], this: Try, context: &Context) -> Result<()> {
    let command_id = CommandId::new(format!("undecided/{}/{}", this.sign_in, this.attempt));
    for Limit { stream, tries_max } in limits {
        let give_back = attempts::Command::GiveBack { this, most: *tries_max };
        hub.commands.execute::<Attempts>(stream, &command_id, context, give_back).await?;
    }
    Ok(())
}

/// The account as it stands in events until it is known whose it is.
pub(super) async fn product_account(
    hub: &Hub,
    id: SignInId,
    account: &AccountId,
    name: Option<&str>,
) -> Result<ProductAccount> {
    let (key, stream) = (KeyName::SignIn(id), stream(id));
    let sealed = seal(hub, &key, &place(&stream, PRODUCT_ACCOUNT), account.as_str().as_bytes()).await?;
    let name = match name {
        Some(name) => Some(seal(hub, &key, &place(&stream, PRODUCT_NAME), name.as_bytes()).await?),
        None => None,
    };
    Ok(ProductAccount { hash: hub.custody.name_account(account), account: sealed, name })
}

async fn accept(
    hub: &Hub,
    this: Try,
    account: &AccountId,
    name: Option<&str>,
    limits: &[Limit],
    context: &Context,
) -> Result<Tried> {
    let Try { sign_in: id, attempt } = this;
    // The product may have taken its time; what ended meanwhile has no key any more to seal the account under.
    let ended = match hub.commands.load::<SignIn>(id).await?.state.stage {
        Stage::Completed | Stage::Refused => Some(Refusal::Completed),
        Stage::Voided => Some(Refusal::Voided),
        Stage::Lapsed => Some(Refusal::Lapsed),
        Stage::Absent | Stage::Open | Stage::Provisional => None,
    };
    if let Some(refusal) = ended {
        return Ok(Tried::Refused(refusal));
    }
    let account = product_account(hub, id, account, name).await?;
    let command = Command::AcceptPassword { attempt, account, now: hub.clock.now() };
    let command_id = CommandId::new(format!("accept/{attempt}"));
    match hub.commands.execute::<SignIn>(id, &command_id, context, command).await {
        Ok(_) => hub.metrics.sign_in(SignInOutcome::Provisional),
        Err(Failure::Refused(refusal)) => return Ok(Tried::Refused(refusal)),
        Err(error) => return Err(error.into()),
    }
    let command_id = CommandId::new(format!("right/{id}/{attempt}"));
    for Limit { stream, .. } in limits {
        let succeed = attempts::Command::Succeed { this };
        hub.commands.execute::<Attempts>(stream, &command_id, context, succeed).await?;
    }
    Ok(Tried::Provisional)
}

/// What the panel shows of a sign-in that the bot began.
pub struct Shown {
    /// The person's name in Teams.
    pub name: String,
    /// What people call the person's tenant, where an operator said so.
    pub organisation: Option<tenant::Name>,
    pub tenant: TenantId,
    /// What the product calls its user, once a password was right.
    pub account: Option<String>,
    /// Whether a password is offered.
    pub password: bool,
}

/// `None` where the bot did not begin it, or its key is destroyed.
pub async fn shown(hub: &Hub, id: SignInId, state: &SignIn) -> Result<Option<Shown>> {
    let Some(by) = state.request.as_ref().and_then(Request::of_bot) else { return Ok(None) };
    let stream = stream(id);
    let unseal =
        async |field, sealed: &domain::Sealed| match hub.custody.unseal(&place(&stream, field), sealed).await
        {
            Ok(plain) => Ok(Some(String::from_utf8_lossy(&plain).into_owned())),
            Err(custody::UnsealError::Destroyed) => Ok(None),
            Err(error) => Err(error),
        };
    let Some(name) = unseal(super::NAME, &by.name).await? else { return Ok(None) };
    let account = match state.authorized.as_ref().and_then(|authorized| authorized.account.as_ref()) {
        Some(ProductAccount { name: Some(name), .. }) => unseal(PRODUCT_NAME, name).await?,
        Some(ProductAccount { account, .. }) => unseal(PRODUCT_ACCOUNT, account).await?,
        None => None,
    };
    let tenant = hub.commands.load::<Tenant>(by.person.tenant).await?.state;
    let password = takes_passwords(hub, &tenant);
    Ok(Some(Shown { name, organisation: tenant.name, tenant: by.person.tenant, account, password }))
}

/// The code that confirms what the latest attempt of this sign-in brought by a password; `None` where there is none.
pub fn code(hub: &Hub, id: SignInId, state: &SignIn) -> Option<secrecy::SecretString> {
    let provisional = state.stage == Stage::Provisional;
    let authorized = state.authorized.as_ref().filter(|it| provisional && it.grant.is_none())?;
    (authorized.attempt == state.current_attempt()).then(|| hub.custody.typed_code(id, authorized.attempt))
}
