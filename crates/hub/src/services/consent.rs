//! An administrator's consent for a whole organisation: the link to the page that asks for it, and what came of it.
//!
//! **Invariant.** What a browser brings back from Microsoft proves nothing: it is recorded as reported, once for each time
//! that the button was pressed. Consent is granted when a sign-in really brings the scopes.

use std::time::Duration;

use anyhow::Result;
use custody::ConsentPurpose;
use domain::{
    CommandId, SignInId, TenantId, Timestamp,
    sign_in::SignIn,
    tenant::{Command, Tenant},
};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::{
    commands::{Context, Done},
    hub::Hub,
};

/// Approvals take their time.
pub const LINK_LIFE: Duration = Duration::from_hours(30 * 24);
/// From the button to Microsoft and back.
pub const STATE_LIFE: Duration = Duration::from_mins(10);
/// What our `state` begins with, to be told from that of a sign-in, which comes back to the same address.
const MARK: &str = "consent";

/// A link to the page, without the host.
pub fn link(hub: &Hub, tenant: TenantId) -> String {
    let until = hub.clock.now() + LINK_LIFE;
    let secret = hub.custody.consent_secret(ConsentPurpose::Link, tenant, until, "");
    format!("/consent/{tenant}.{}.{}", until.as_micros(), secret.expose_secret())
}

/// Where a link leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub tenant: TenantId,
    until: Timestamp,
}

/// Why a link, or a state, leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nowhere {
    NotOurs,
    Lapsed,
}

/// Reads what [`link`] wrote behind `/consent/`.
pub fn by_link(hub: &Hub, link: &str) -> Result<Page, Nowhere> {
    let mut parts = link.splitn(3, '.');
    let (tenant, until) = tenant_and_time(&mut parts).ok_or(Nowhere::NotOurs)?;
    let secret = parts.next().ok_or(Nowhere::NotOurs)?;
    check(hub, ConsentPurpose::Link, tenant, until, "", secret)?;
    Ok(Page { tenant, until })
}

/// What the page's form carries, for this browser.
pub fn csrf(hub: &Hub, page: Page, browser: &str) -> String {
    let secret = hub.custody.consent_secret(ConsentPurpose::Csrf, page.tenant, page.until, browser);
    secret.expose_secret().to_owned()
}

/// Where the button leads: to Microsoft, with a state that is good once, for this tenant, in this browser.
pub fn ask(hub: &Hub, page: Page, browser_hash: &str) -> Url {
    let (until, once) = (hub.clock.now() + STATE_LIFE, hub.ids.uuid().to_string());
    let bound_to = format!("{once}.{browser_hash}");
    let secret = hub.custody.consent_secret(ConsentPurpose::State, page.tenant, until, &bound_to);
    let state = format!("{MARK}.{}.{}.{once}.{}", page.tenant, until.as_micros(), secret.expose_secret());
    hub.entra.admin_consent_url(page.tenant, &state)
}

/// Whether a state is one of this module's, good or not.
pub fn is_state(state: &str) -> bool {
    state.strip_prefix(MARK).is_some_and(|rest| rest.starts_with('.'))
}

/// What came of an administrator's visit to Microsoft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    Reported,
    /// This very visit was reported before.
    Again,
    Declined,
    Nowhere(Nowhere),
}

/// Takes Microsoft's answer in this browser. Which tenant it names is of no interest: the state knows for which it was.
/// Those who wait are told by a processor.
pub async fn returned(hub: &Hub, state: &str, browser_hash: &str, consented: bool) -> Result<Returned> {
    let mut parts = state.splitn(5, '.').skip(1);
    let Some((tenant, until)) = tenant_and_time(&mut parts) else {
        return Ok(Returned::Nowhere(Nowhere::NotOurs));
    };
    let (once, secret) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let bound_to = format!("{once}.{browser_hash}");
    if let Err(nowhere) = check(hub, ConsentPurpose::State, tenant, until, &bound_to, secret) {
        return Ok(Returned::Nowhere(nowhere));
    }
    if !consented {
        return Ok(Returned::Declined);
    }
    let context = Context { actor: "admin".to_owned(), ..Context::hub("", once) }.of_tenant(tenant);
    let command_id = CommandId::new(format!("consent/{once}"));
    let done = hub.commands.execute::<Tenant>(tenant, &command_id, &context, Command::ReportConsent).await?;
    Ok(match done {
        Done::Appended { .. } => Returned::Reported,
        Done::AlreadyDone(_) => Returned::Again,
    })
}

/// The person of this sign-in waits for consent, and is told when there is word of it.
pub async fn wait(hub: &Hub, id: SignInId, state: &SignIn) -> Result<()> {
    let Some(by) = state.request.as_ref().and_then(|request| request.of_bot()) else { return Ok(()) };
    let attempt = state.current_attempt();
    let context = Context::hub("sign-ins", id.to_string()).of_tenant(by.person.tenant);
    let command_id = CommandId::new(format!("await-consent/{id}/{attempt}"));
    let command = Command::AwaitConsent { person: by.person };
    hub.commands.execute::<Tenant>(by.person.tenant, &command_id, &context, command).await?;
    Ok(())
}

/// A sign-in brought these scopes.
pub async fn grant(hub: &Hub, id: SignInId, tenant: TenantId, scopes: &[String]) -> Result<()> {
    let context = Context::hub("sign-ins", id.to_string()).of_tenant(tenant);
    let command = Command::GrantConsent { scopes: scopes.iter().cloned().collect() };
    let command_id = CommandId::new(format!("grant-consent/{id}"));
    hub.commands.execute::<Tenant>(tenant, &command_id, &context, command).await?;
    Ok(())
}

fn tenant_and_time<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<(TenantId, Timestamp)> {
    Some((parts.next()?.parse().ok()?, Timestamp::from_micros(parts.next()?.parse().ok()?)))
}

fn check(
    hub: &Hub,
    purpose: ConsentPurpose,
    tenant: TenantId,
    until: Timestamp,
    bound_to: &str,
    given: &str,
) -> Result<(), Nowhere> {
    let secret = hub.custody.consent_secret(purpose, tenant, until, bound_to);
    if !bool::from(secret.expose_secret().as_bytes().ct_eq(given.as_bytes())) {
        return Err(Nowhere::NotOurs);
    }
    if hub.clock.now() < until { Ok(()) } else { Err(Nowhere::Lapsed) }
}
