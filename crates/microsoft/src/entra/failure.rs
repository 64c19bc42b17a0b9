//! What a failed call to the token endpoint means.
//!
//! `error` and `suberror` decide; `AADSTS` numbers only refine, since Microsoft says that they may change.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::http::{Answer, Transport, retry_after};

/// Entra takes us for a client in a loop (50196); asking again within minutes makes it worse.
const LOOP_PAUSE: Duration = Duration::from_mins(5);

/// No tokens came; each case says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFailure {
    /// The grant is dead: the person must sign in again. Never ask again with the same grant.
    #[error("the grant can't be used any more ({reason:?}; {diagnosis})")]
    Final { reason: ReauthorizationReason, diagnosis: Diagnosis },
    /// Someone must consent first: an administrator if `admin`, otherwise the person or an administrator.
    #[error("consent is required ({diagnosis})")]
    ConsentRequired { admin: bool, diagnosis: Diagnosis },
    /// The person is disabled, or not in the tenant any more.
    #[error("the person is disabled or gone ({diagnosis})")]
    PersonSuspended { diagnosis: Diagnosis },
    /// The tenant lacks the app, has disabled it, or is gone: all of its persons are affected, their grants are not.
    #[error("the app can't be used in this tenant ({diagnosis})")]
    TenantProblem { diagnosis: Diagnosis },
    /// Our own registration, secret or request is wrong: raise the alarm, keep every grant, stop asking.
    #[error("the hub's own registration or configuration is refused ({diagnosis})")]
    HubProblem { diagnosis: Diagnosis },
    /// Wait; the grant is untouched.
    #[error("throttled ({diagnosis})")]
    Throttled { retry_after: Option<Duration>, diagnosis: Diagnosis },
    /// Entra saw nothing of the request: repeat when the network is back.
    #[error("not sent ({diagnosis})")]
    NotSent { diagnosis: Diagnosis },
    /// Entra says that it could not: repeat with back-off; the grant is untouched.
    #[error("temporarily unavailable ({diagnosis})")]
    Transient { diagnosis: Diagnosis },
    /// The grant may have been used: where refresh tokens rotate strictly, the next attempt tells.
    #[error("the outcome is unknown ({diagnosis})")]
    Ambiguous { diagnosis: Diagnosis },
}

/// Why the person has to sign in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthorizationReason {
    /// Revoked by the person, an administrator or a password reset; or never valid.
    Revoked,
    /// Past its lifetime, which for single-page redirect addresses is a day.
    Expired,
    /// Unused for 90 days.
    Inactive,
    /// The tenant's sign-in frequency policy; it will come again.
    SignInFrequency,
    /// A second factor, or another step that only the person can take.
    InteractionRequired,
    /// Blocked by Conditional Access or the device's state; signing in again may need an administrator first.
    ConditionalAccess,
    /// The person is not assigned to the app; an administrator can change that.
    NotAssigned,
    /// The person said no.
    Declined,
    /// The authorization code was used, is too old or is another sign-in's: begin the sign-in anew.
    CodeRefused,
    /// `invalid_grant` without a number we know.
    Unknown,
}

/// What Entra said, as far as it may be kept: codes and ids of a known shape, never its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// RFC 6749 section 5.2, if it has 1 to 64 of `a-z` and `_`.
    pub error: Option<String>,
    /// Of the same shape.
    pub suberror: Option<String>,
    pub aadsts: Option<u32>,
    pub trace_id: Option<Uuid>,
    pub correlation_id: Option<Uuid>,
    pub http_status: Option<u16>,
    /// Why there was no answer, where there was none.
    pub transport: Option<Transport>,
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.http_status, self.transport) {
            (Some(status), _) => write!(f, "status {status}")?,
            (None, Some(transport)) => write!(f, "{transport:?}")?,
            (None, None) => f.write_str("no answer")?,
        }
        for code in [&self.error, &self.suberror].into_iter().flatten() {
            write!(f, ", {code}")?;
        }
        self.aadsts.map_or(Ok(()), |number| write!(f, ", AADSTS{number}"))
    }
}

impl TokenFailure {
    pub fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Final { diagnosis, .. }
            | Self::ConsentRequired { diagnosis, .. }
            | Self::PersonSuspended { diagnosis }
            | Self::TenantProblem { diagnosis }
            | Self::HubProblem { diagnosis }
            | Self::Throttled { diagnosis, .. }
            | Self::NotSent { diagnosis }
            | Self::Transient { diagnosis }
            | Self::Ambiguous { diagnosis } => diagnosis,
        }
    }

    pub(super) fn of_transport(transport: Transport) -> Self {
        let diagnosis = Diagnosis { transport: Some(transport), ..Diagnosis::default() };
        if transport.not_sent() { Self::NotSent { diagnosis } } else { Self::Ambiguous { diagnosis } }
    }

    /// A success that does not hold what it must.
    pub(super) fn of_garbage(status: u16) -> Self {
        Self::Ambiguous { diagnosis: Diagnosis { http_status: Some(status), ..Diagnosis::default() } }
    }

    /// Of any answer but 200.
    pub(super) fn of_answer(answer: &Answer) -> Self {
        let body = answer.json::<Value>().unwrap_or_default();
        classify(diagnose(answer.status, &body), retry_after(&answer.headers))
    }
}

fn diagnose(status: u16, body: &Value) -> Diagnosis {
    let code = |name: &str| {
        let text = body.get(name)?.as_str()?;
        let known =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        known.then(|| text.to_owned())
    };
    let id = |name: &str| Uuid::try_parse(body.get(name)?.as_str()?).ok();
    let listed = || u32::try_from(body.get("error_codes")?.get(0)?.as_u64()?).ok();
    let described = || {
        let (_, after) = body.get("error_description")?.as_str()?.split_once("AADSTS")?;
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        after[..end].parse().ok()
    };
    Diagnosis {
        error: code("error"),
        suberror: code("suberror"),
        aadsts: listed().or_else(described),
        trace_id: id("trace_id"),
        correlation_id: id("correlation_id"),
        http_status: Some(status),
        transport: None,
    }
}

/// What a number refines an error to.
enum Refined {
    Grant(ReauthorizationReason),
    Consent { admin: bool },
    Suspended,
    Tenant,
    Throttled(Option<Duration>),
    Transient,
}

fn refine(aadsts: u32) -> Option<Refined> {
    use ReauthorizationReason as Reason;
    Some(match aadsts {
        50173 | 70000 => Refined::Grant(Reason::Revoked),
        70008 | 700_084 => Refined::Grant(Reason::Expired),
        700_082 => Refined::Grant(Reason::Inactive),
        70043 => Refined::Grant(Reason::SignInFrequency),
        50072 | 50074 | 50076 | 50078 | 50079 => Refined::Grant(Reason::InteractionRequired),
        50131 | 53000 | 53001 | 53003 | 530_032 => Refined::Grant(Reason::ConditionalAccess),
        50105 => Refined::Grant(Reason::NotAssigned),
        65004 => Refined::Grant(Reason::Declined),
        50147 | 54005 | 501_481 | 700_005 => Refined::Grant(Reason::CodeRefused),
        65001 => Refined::Consent { admin: false },
        90094 | 90095 => Refined::Consent { admin: true },
        50034 | 50057 | 51004 => Refined::Suspended,
        70001 | 90002 | 700_011 | 700_016 | 1_000_031 | 7_000_112 => Refined::Tenant,
        50196 => Refined::Throttled(Some(LOOP_PAUSE)),
        90055 => Refined::Throttled(None),
        50033 | 50087 | 90006 | 90012 | 90024 | 90033 | 90090 => Refined::Transient,
        _ => return None,
    })
}

fn classify(diagnosis: Diagnosis, retry_after: Option<Duration>) -> TokenFailure {
    use TokenFailure::{
        Ambiguous, ConsentRequired, Final, HubProblem, PersonSuspended, TenantProblem, Throttled,
    };
    let status = diagnosis.http_status.unwrap_or_default();
    let refined = diagnosis.aadsts.and_then(refine);
    match refined {
        // A number that asks for patience goes before any `error`: the mildest reading costs nothing but time.
        Some(Refined::Throttled(pause)) => {
            return Throttled { retry_after: pause.max(retry_after), diagnosis };
        }
        _ if status == 429 => return Throttled { retry_after, diagnosis },
        Some(Refined::Transient) => return wait(retry_after, diagnosis),
        _ => {}
    }
    match (diagnosis.error.as_deref(), diagnosis.suberror.as_deref(), refined) {
        // A redirect means that the configured address is not a token endpoint; nothing was redeemed there.
        (None, ..) if (300..400).contains(&status) => HubProblem { diagnosis },
        (None, ..) => Ambiguous { diagnosis },
        (
            Some("invalid_grant" | "interaction_required" | "login_required" | "access_denied"),
            suberror,
            refined,
        ) => match (suberror, refined) {
            (_, Some(Refined::Consent { admin })) => ConsentRequired { admin, diagnosis },
            (Some("consent_required"), _) => ConsentRequired { admin: false, diagnosis },
            (_, Some(Refined::Suspended)) => PersonSuspended { diagnosis },
            (_, Some(Refined::Tenant)) => TenantProblem { diagnosis },
            (_, Some(Refined::Grant(reason))) => Final { reason, diagnosis },
            _ => Final { reason: unrefined(&diagnosis), diagnosis },
        },
        (Some("consent_required"), _, refined) => {
            let admin = matches!(refined, Some(Refined::Consent { admin: true }));
            ConsentRequired { admin, diagnosis }
        }
        (Some("unauthorized_client" | "invalid_client" | "invalid_request"), _, Some(Refined::Tenant)) => {
            TenantProblem { diagnosis }
        }
        (
            Some(
                "invalid_client"
                | "unauthorized_client"
                | "invalid_scope"
                | "invalid_request"
                | "invalid_resource"
                | "invalid_target"
                | "unsupported_grant_type"
                | "unsupported_response_type",
            ),
            ..,
        ) => HubProblem { diagnosis },
        _ => wait(retry_after, diagnosis),
    }
}

/// The reason of a dead grant by words alone.
fn unrefined(diagnosis: &Diagnosis) -> ReauthorizationReason {
    match (diagnosis.error.as_deref(), diagnosis.suberror.as_deref()) {
        (Some("interaction_required" | "login_required"), _)
        | (_, Some("basic_action" | "additional_action" | "message_only")) => {
            ReauthorizationReason::InteractionRequired
        }
        (Some("access_denied"), _) => ReauthorizationReason::Declined,
        (_, Some("bad_token")) => ReauthorizationReason::Revoked,
        _ => ReauthorizationReason::Unknown,
    }
}

/// A server that names the time to wait is obeyed; one that doesn't is asked again by our own back-off.
fn wait(retry_after: Option<Duration>, diagnosis: Diagnosis) -> TokenFailure {
    match retry_after {
        Some(_) => TokenFailure::Throttled { retry_after, diagnosis },
        None => TokenFailure::Transient { diagnosis },
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
