//! What a failed call to the Bot Connector means.
//!
//! Microsoft documents 500, 502 and 504 as "don't retry" or "retry"; in the field messages arrived two and three times
//! after such answers, so of a send they leave its outcome unknown.
//!
//! **Invariant.** Of a send, only what is certain not to have happened is said not to have happened.

use std::time::Duration;

use reqwest::header::HeaderName;
use serde_json::Value;

use crate::{
    TokenFailure, entra,
    http::{Answer, Transport, retry_after},
    wire,
};

/// The call did not do what it should; each case says what to do about it. All but `Ambiguous` mean that nothing was
/// sent to the person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// 429: wait, by back-off of our own where no time is named.
    #[error("throttled ({diagnosis})")]
    Throttled { retry_after: Option<Duration>, diagnosis: Diagnosis },
    /// The service can't just now (412, an explicit 503), or the app's token can't be had: repeat later. Of a call that
    /// may be repeated, also everything that would be ambiguous of a send.
    #[error("unavailable ({diagnosis})")]
    Unavailable { retry_after: Option<Duration>, diagnosis: Diagnosis },
    /// DNS, a refused socket, the TLS handshake, or no time left to begin: repeat when the network is back.
    #[error("not sent ({diagnosis})")]
    NotSent { diagnosis: Diagnosis },
    /// The person blocked or muted the bot: wait until they write to it again.
    #[error("the person has blocked the bot ({diagnosis})")]
    Blocked { diagnosis: Diagnosis },
    /// The bot is not installed there any more: wait until it is.
    #[error("the bot is not in the conversation ({diagnosis})")]
    NotInRoster { diagnosis: Diagnosis },
    /// The tenant's administrator has switched the app off: all of its persons are affected.
    #[error("an administrator has disabled the bot ({diagnosis})")]
    DisabledByAdmin { diagnosis: Diagnosis },
    /// 404: forget this conversation, and wait for the next one.
    #[error("the conversation is gone ({diagnosis})")]
    ConversationGone { diagnosis: Diagnosis },
    /// 413: shorten the message.
    #[error("too large ({diagnosis})")]
    TooLarge { diagnosis: Diagnosis },
    /// Any other definite no: don't repeat.
    #[error("rejected ({diagnosis})")]
    Rejected { diagnosis: Diagnosis },
    /// The service URL is not one that the app's token may be sent to: don't repeat, and wait for another conversation.
    #[error("the service URL is not on the list")]
    ServiceNotAllowed { diagnosis: Diagnosis },
    /// Our own registration, secret or token is refused: raise the alarm.
    #[error("the bot's own registration is refused ({diagnosis})")]
    HubProblem { diagnosis: Diagnosis },
    /// It may have been sent: 408, 500, 502, 504, a bare 503, a timeout, a reset, or a success that can't be read.
    #[error("the outcome is unknown ({diagnosis})")]
    Ambiguous { diagnosis: Diagnosis },
}

/// What was said, as far as it may be kept: codes and ids of a known shape, never its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub status: Option<u16>,
    /// The connector's `error.code` or `errorCode`, or the token endpoint's `error`.
    pub code: Option<String>,
    /// The connector's `subCode`, or the token endpoint's `suberror`.
    pub sub_code: Option<String>,
    /// Of the token endpoint.
    pub aadsts: Option<u32>,
    /// The connector's `MS-CV`, or the token endpoint's `trace_id`.
    pub trace_id: Option<String>,
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
        for code in [&self.code, &self.sub_code].into_iter().flatten() {
            write!(f, ", {code}")?;
        }
        if let Some(number) = self.aadsts {
            write!(f, ", AADSTS{number}")?;
        }
        self.trace_id.as_ref().map_or(Ok(()), |id| write!(f, ", trace {id}"))
    }
}

impl From<&entra::Diagnosis> for Diagnosis {
    fn from(diagnosis: &entra::Diagnosis) -> Self {
        Self {
            status: diagnosis.http_status,
            code: diagnosis.error.clone(),
            sub_code: diagnosis.suberror.clone(),
            aadsts: diagnosis.aadsts,
            trace_id: diagnosis.trace_id.map(|id| id.to_string()),
            transport: diagnosis.transport,
        }
    }
}

impl From<Transport> for Diagnosis {
    fn from(transport: Transport) -> Self {
        Self { transport: Some(transport), ..Self::default() }
    }
}

/// What kind of call failed: only a send can leave a doubt behind.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// Doing it twice is as good as doing it once.
    Repeatable,
    Send {
        trust_503: bool,
    },
}

impl SendFailure {
    pub fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Throttled { diagnosis, .. }
            | Self::Unavailable { diagnosis, .. }
            | Self::NotSent { diagnosis }
            | Self::Blocked { diagnosis }
            | Self::NotInRoster { diagnosis }
            | Self::DisabledByAdmin { diagnosis }
            | Self::ConversationGone { diagnosis }
            | Self::TooLarge { diagnosis }
            | Self::Rejected { diagnosis }
            | Self::ServiceNotAllowed { diagnosis }
            | Self::HubProblem { diagnosis }
            | Self::Ambiguous { diagnosis } => diagnosis,
        }
    }

    /// The time was over before the request began.
    pub(super) fn too_late() -> Self {
        Self::NotSent { diagnosis: Transport::TimedOut.into() }
    }

    pub(super) fn of_transport(call: Call, transport: Transport) -> Self {
        let diagnosis = transport.into();
        if transport.not_sent() { Self::NotSent { diagnosis } } else { call.doubt(None, diagnosis) }
    }

    /// The app has no token, so nothing was sent; it is asked for again after `pause`.
    pub(super) fn of_token(failure: &TokenFailure, pause: Duration) -> Self {
        let diagnosis = failure.diagnosis().into();
        match failure {
            TokenFailure::NotSent { .. } => Self::NotSent { diagnosis },
            TokenFailure::Throttled { .. }
            | TokenFailure::Transient { .. }
            | TokenFailure::Ambiguous { .. } => Self::Unavailable { retry_after: Some(pause), diagnosis },
            TokenFailure::Final { .. }
            | TokenFailure::ConsentRequired { .. }
            | TokenFailure::PersonSuspended { .. }
            | TokenFailure::TenantProblem { .. }
            | TokenFailure::HubProblem { .. } => Self::HubProblem { diagnosis },
        }
    }

    /// Of any answer that is not the wanted one, a success that can't be read included.
    pub(super) fn of_answer(call: Call, answer: &Answer) -> Self {
        let diagnosis = diagnose(answer);
        let retry_after = retry_after(&answer.headers);
        match (answer.status, diagnosis.code.as_deref()) {
            (429, _) => Self::Throttled { retry_after, diagnosis },
            (401, _) => Self::HubProblem { diagnosis },
            (403, Some("ConversationBlockedByUser")) => Self::Blocked { diagnosis },
            (403, _) if diagnosis.sub_code.as_deref() == Some("MessageWritesBlocked") => {
                Self::Blocked { diagnosis }
            }
            (403, Some("BotNotInConversationRoster")) => Self::NotInRoster { diagnosis },
            (403, Some("BotDisabledByAdmin")) => Self::DisabledByAdmin { diagnosis },
            (404, _) => Self::ConversationGone { diagnosis },
            (412, _) => Self::Unavailable { retry_after, diagnosis },
            (413, _) => Self::TooLarge { diagnosis },
            (503, code) if call.trusts_503() && (retry_after.is_some() || code.is_some()) => {
                Self::Unavailable { retry_after, diagnosis }
            }
            // 501 and 507 are refusals of what was asked, not accidents on the way.
            (300..=407 | 409..=499 | 501 | 507, _) => Self::Rejected { diagnosis },
            _ => call.doubt(retry_after, diagnosis),
        }
    }
}

impl Call {
    fn trusts_503(self) -> bool {
        matches!(self, Self::Repeatable | Self::Send { trust_503: true })
    }

    fn doubt(self, retry_after: Option<Duration>, diagnosis: Diagnosis) -> SendFailure {
        match self {
            Self::Repeatable => SendFailure::Unavailable { retry_after, diagnosis },
            Self::Send { .. } => SendFailure::Ambiguous { diagnosis },
        }
    }
}

fn diagnose(answer: &Answer) -> Diagnosis {
    let body = answer.json::<Value>().unwrap_or_default();
    let code = match (&body["error"]["code"], &body["errorCode"]) {
        (Value::String(code), _) | (_, Value::String(code)) => wire::code(code),
        (_, Value::Number(number)) => wire::code(&number.to_string()),
        _ => None,
    };
    let messages = [&body["error"]["message"], &body["message"]];
    let trace_id = || {
        let header = answer.headers.get(HeaderName::from_static("ms-cv"))?.to_str().ok()?;
        (wire::is_id(header) && header.len() <= 64).then(|| header.to_owned())
    };
    Diagnosis {
        status: Some(answer.status),
        code,
        sub_code: messages.iter().find_map(|message| sub_code(message.as_str()?)),
        trace_id: trace_id(),
        ..Diagnosis::default()
    }
}

/// Teams tells of a block in an object written into the message, sometimes as JSON, sometimes as JSON in JSON, sometimes
/// without quotes; so the word after `subCode` is taken, whatever stands between them.
fn sub_code(message: &str) -> Option<String> {
    let (_, after) = message.split_once("subCode")?;
    let word = after.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
    wire::code(&word[..end])
}
