//! What a failed call to Graph means.
//!
//! **Invariant.** Of a create, only what is certain not to have happened is said not to have happened.

use std::time::Duration;

use reqwest::header::{HeaderName, WWW_AUTHENTICATE};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    http::{Answer, Transport, retry_after},
    wire,
};

/// The call did not do what it should; each case says what to do about it. All but `Ambiguous` mean that nothing
/// was created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// 429 or 509: wait, by back-off of our own where no time is named, as often happens with Teams.
    #[error("throttled ({diagnosis})")]
    Throttled { retry_after: Option<Duration>, diagnosis: Diagnosis },
    /// 401: refresh once, then try once more.
    #[error("the access token is refused ({diagnosis})")]
    Unauthorized { diagnosis: Diagnosis },
    /// 401 with a claims challenge: refreshing won't help, the person must sign in again.
    #[error("the person must sign in again ({diagnosis})")]
    ReauthorizationRequired { diagnosis: Diagnosis },
    /// This token may not do this: don't repeat.
    #[error("forbidden: {because:?} ({diagnosis})")]
    Forbidden { because: ForbiddenBecause, diagnosis: Diagnosis },
    /// 404: the chat is gone or never was; find it anew.
    #[error("not found ({diagnosis})")]
    NotFound { diagnosis: Diagnosis },
    /// 413: shorten the message.
    #[error("too large ({diagnosis})")]
    TooLarge { diagnosis: Diagnosis },
    /// Any other definite no: don't repeat.
    #[error("rejected ({diagnosis})")]
    Rejected { diagnosis: Diagnosis },
    /// 423: repeat later.
    #[error("locked ({diagnosis})")]
    Locked { diagnosis: Diagnosis },
    /// Graph can't just now: repeat later. Of a read, also everything that would be ambiguous of a create.
    #[error("unavailable ({diagnosis})")]
    Unavailable { retry_after: Option<Duration>, diagnosis: Diagnosis },
    /// DNS, a refused socket or the TLS handshake: repeat when the network is back.
    #[error("not sent ({diagnosis})")]
    NotSent { diagnosis: Diagnosis },
    /// It may have been created: 408, 500, 502, 504, a timeout, a reset, or a success that can't be read.
    #[error("the outcome is unknown ({diagnosis})")]
    Ambiguous { diagnosis: Diagnosis },
}

/// What forbids the call, as far as Graph lets it be known: its codes are coarse, so the wording of the message is
/// looked at too, as a hint for people. Nothing but the advice to them depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForbiddenBecause {
    /// A scope was not consented to: ask for consent.
    MissingPermission,
    /// The person is not in this chat (any more).
    NotAMember,
    /// 412 `PreconditionFailed`: a token without a person in it.
    AppOnlyToken,
    Unsaid,
}

/// What Graph said, as far as it may be kept: codes and ids of a known shape, never its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub status: Option<u16>,
    /// `error.code`, if it has 1 to 64 letters, digits, `_`, `-` and `.`.
    pub code: Option<String>,
    /// Graph's own id for the call.
    pub request_id: Option<Uuid>,
    /// Ours, for creates.
    pub client_request_id: Option<Uuid>,
    /// Why there was no answer, where there was none.
    pub transport: Option<Transport>,
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.transport) {
            (Some(status), _) => write!(f, "status {status}")?,
            (None, Some(transport)) => write!(f, "{transport:?}")?,
            (None, None) => f.write_str("no answer")?,
        }
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        self.request_id.map_or(Ok(()), |id| write!(f, ", request {id}"))
    }
}

/// What kind of call failed: only a create can leave a doubt behind.
#[derive(Clone, Copy)]
pub(super) enum Call {
    Read,
    Create { client_request_id: Uuid, trust_503: bool },
}

impl Failure {
    pub fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Throttled { diagnosis, .. }
            | Self::Unauthorized { diagnosis }
            | Self::ReauthorizationRequired { diagnosis }
            | Self::Forbidden { diagnosis, .. }
            | Self::NotFound { diagnosis }
            | Self::TooLarge { diagnosis }
            | Self::Rejected { diagnosis }
            | Self::Locked { diagnosis }
            | Self::Unavailable { diagnosis, .. }
            | Self::NotSent { diagnosis }
            | Self::Ambiguous { diagnosis } => diagnosis,
        }
    }

    pub(super) fn of_transport(call: Call, transport: Transport) -> Self {
        let diagnosis = Diagnosis {
            transport: Some(transport),
            client_request_id: call.client_request_id(),
            ..Diagnosis::default()
        };
        if transport.not_sent() { Self::NotSent { diagnosis } } else { call.doubt(None, diagnosis) }
    }

    /// Of any answer that is not the wanted one, a success that can't be read included.
    pub(super) fn of_answer(call: Call, answer: &Answer) -> Self {
        let body = answer.json::<Value>().unwrap_or_default();
        let diagnosis = Diagnosis {
            status: Some(answer.status),
            code: code(&body),
            request_id: request_id(answer).or_else(|| inner_request_id(&body)),
            client_request_id: call.client_request_id(),
            transport: None,
        };
        let retry_after = retry_after(&answer.headers);
        match answer.status {
            429 | 509 => Self::Throttled { retry_after, diagnosis },
            401 if challenges_claims(answer) => Self::ReauthorizationRequired { diagnosis },
            401 => Self::Unauthorized { diagnosis },
            403 => Self::Forbidden { because: because(&body, &diagnosis), diagnosis },
            412 if diagnosis.code.as_deref() == Some("PreconditionFailed") => {
                Self::Forbidden { because: ForbiddenBecause::AppOnlyToken, diagnosis }
            }
            404 => Self::NotFound { diagnosis },
            413 => Self::TooLarge { diagnosis },
            423 => Self::Locked { diagnosis },
            503 if call.trusts_503() && (retry_after.is_some() || diagnosis.code.is_some()) => {
                Self::Unavailable { retry_after, diagnosis }
            }
            // 501 and 507 are refusals of what was asked, not accidents on the way.
            300..=407 | 409..=499 | 501 | 507 => Self::Rejected { diagnosis },
            _ => call.doubt(retry_after, diagnosis),
        }
    }
}

impl Call {
    fn client_request_id(self) -> Option<Uuid> {
        match self {
            Self::Read => None,
            Self::Create { client_request_id, .. } => Some(client_request_id),
        }
    }

    fn trusts_503(self) -> bool {
        matches!(self, Self::Read | Self::Create { trust_503: true, .. })
    }

    fn doubt(self, retry_after: Option<Duration>, diagnosis: Diagnosis) -> Failure {
        match self {
            Self::Read => Failure::Unavailable { retry_after, diagnosis },
            Self::Create { .. } => Failure::Ambiguous { diagnosis },
        }
    }
}

/// Graph's id for the call, from the answer's header.
pub(super) fn request_id(answer: &Answer) -> Option<Uuid> {
    let header = answer.headers.get(HeaderName::from_static("request-id"))?;
    Uuid::try_parse(header.to_str().ok()?).ok()
}

/// `innerError`, or `innererror` in older answers.
fn inner(body: &Value) -> Option<&Value> {
    let error = body.get("error")?;
    error.get("innerError").or_else(|| error.get("innererror"))
}

fn inner_request_id(body: &Value) -> Option<Uuid> {
    Uuid::try_parse(inner(body)?.get("request-id")?.as_str()?).ok()
}

fn code(body: &Value) -> Option<String> {
    wire::code(body.get("error")?.get("code")?.as_str()?)
}

fn challenges_claims(answer: &Answer) -> bool {
    let mut challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.any(|challenge| challenge.to_str().is_ok_and(|text| text.contains("insufficient_claims")))
}

fn because(body: &Value, diagnosis: &Diagnosis) -> ForbiddenBecause {
    if diagnosis.code.as_deref() == Some("Authorization_RequestDenied") {
        return ForbiddenBecause::MissingPermission;
    }
    let message = |error: Option<&Value>| error?.get("message")?.as_str().map(str::to_owned);
    let words = [message(body.get("error")), message(inner(body))].into_iter().flatten().collect::<String>();
    if words.contains("Missing scope permissions") {
        ForbiddenBecause::MissingPermission
    } else if words.contains("AclCheckFailed") {
        ForbiddenBecause::NotAMember
    } else {
        ForbiddenBecause::Unsaid
    }
}
