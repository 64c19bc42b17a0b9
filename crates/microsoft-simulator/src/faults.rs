//! Faults on demand: what goes wrong, for which calls, how often.
//!
//! **Invariant.** A fault is used up by exactly as many calls as it was set for, the oldest fitting fault first.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::calls::Call;
use crate::connector::Complaint;
use crate::lock;

/// A fault for the next `times` calls that fit.
///
/// As JSON: `{"operation": "graph.post", "times": 2, "fault": {"status": {"status": 503}}}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// One of [`OPERATIONS`], or the beginning of several: `token` fits `token.code` and `token.refresh`.
    pub operation: String,
    #[serde(default = "once")]
    pub times: u32,
    /// Only calls of this person.
    #[serde(default)]
    pub oid: Option<Uuid>,
    /// Only calls about this chat, or about this conversation of the Bot Framework.
    #[serde(default)]
    pub chat: Option<String>,
    pub fault: Kind,
}

const fn once() -> u32 {
    1
}

/// Every operation by its name, as in counts and in [`Fault::operation`].
pub const OPERATIONS: [&str; 26] = [
    "metadata",
    "jwks",
    "authorize",
    "authorize.answer",
    "adminconsent",
    "token.code",
    "token.refresh",
    "token.app",
    "token.other",
    "graph.me",
    "graph.apps",
    "graph.chat",
    "graph.chats",
    "graph.post",
    "graph.messages",
    "graph.message",
    "graph.other",
    "botframework.metadata",
    "botframework.keys",
    "connector.create",
    "connector.send",
    "connector.reply",
    "connector.update",
    "connector.delete",
    "connector.members",
    "connector.other",
];

/// What goes wrong. As JSON: `"reset"`, or `{"delay": {"delay_ms": 500}}`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Nothing is done; this status is answered, with `Retry-After` if a number of seconds is given.
    Status {
        status: u16,
        #[serde(default)]
        retry_after_seconds: Option<u32>,
    },
    /// Nothing is done; the token endpoint answers this AADSTS error.
    Aadsts { code: u32 },
    /// Nothing is done; Graph answers 401 with `insufficient_claims`, as continuous access evaluation does.
    ClaimsChallenge,
    /// Nothing is done, and the socket is cut.
    Reset,
    /// Nothing is done, and nothing is answered until the simulator ends.
    Hang,
    /// Done and answered after this delay, even if the caller has gone by then.
    Delay { delay_ms: u64 },
    /// Done, but this status is answered.
    AcceptThenStatus { status: u16 },
    /// Done, but the socket is cut without an answer.
    AcceptThenReset,
    /// Done, but nothing is answered until the simulator ends.
    AcceptThenHang,
    /// Done at once, answered after this delay.
    AcceptLate { delay_ms: u64 },
    /// Done, but the body of the answer is spoilt.
    Garbage { form: Garbage },
    /// Nothing is done; the Bot Connector answers this error. As JSON: `{"connector": "BotDisabledByAdmin"}`.
    Connector(Complaint),
    /// A sign-in or refresh succeeds, with this wrong in what it brings.
    Flaw(Flaw),
}

/// How an answer's body is spoilt.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// A proxy's page, with status 200.
    Html,
    /// The first half of the honest body.
    Truncated,
    Empty,
}

/// What is wrong with the answer of the token endpoint.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// The ID token is for another sign-in.
    WrongNonce,
    /// The ID token is for another application.
    WrongAudience,
    /// The ID token's issuer is another tenant than its `tid`.
    WrongIssuer,
    /// The ID token is signed by a key that nobody published, under the `kid` of one that is.
    WrongKey,
    /// The ID token is signed by a published key which may not sign for this tenant.
    ForeignKey,
    /// The ID token's `kid` is in no JWKS.
    UnknownKey,
    /// The ID token expired an hour ago.
    Expired,
    /// The ID token has no `email`.
    NoEmail,
    /// The answer has no refresh token, in spite of `offline_access`.
    NoRefreshToken,
    /// The answer has no ID token, in spite of `openid`.
    NoIdToken,
}

/// The faults that wait for their calls.
#[derive(Default)]
pub(crate) struct Faults {
    waiting: Mutex<VecDeque<Fault>>,
    /// Lets the usual call, without any fault about, pass without the lock.
    count: AtomicUsize,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.change(|waiting| waiting.push_back(fault));
    }

    /// Gives back a fault that could not be shown, because the call was refused for an honest reason.
    pub(crate) fn give_back(&self, fault: Fault) {
        self.change(|waiting| waiting.push_front(Fault { times: 1, ..fault }));
    }

    pub(crate) fn clear(&self) {
        self.change(VecDeque::clear);
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.waiting).iter().cloned().collect()
    }

    pub(crate) fn take(&self, call: &Call) -> Option<Fault> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.change(|waiting| {
            let index = waiting.iter().position(|fault| fault.fits(call))?;
            waiting[index].times -= 1;
            let fault = waiting[index].clone();
            if fault.times == 0 {
                waiting.remove(index);
            }
            Some(fault)
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Fault>) -> T) -> T {
        let mut waiting = lock(&self.waiting);
        let result = change(&mut waiting);
        self.count.store(waiting.len(), Ordering::Release);
        result
    }
}

impl Fault {
    /// Says what is wrong with a fault that could never happen.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !OPERATIONS.iter().any(|operation| names(&self.operation, operation)) {
            return Err(format!("unknown operation `{}`, expected one of {OPERATIONS:?}", self.operation));
        }
        if self.times == 0 {
            return Err("`times` must be at least 1".into());
        }
        let service = self.operation.split('.').next().unwrap_or_default();
        match self.fault {
            Kind::Aadsts { .. } | Kind::Flaw(_) if service != "token" => {
                Err("`aadsts` and `flaw` are faults of `token`".into())
            }
            Kind::ClaimsChallenge if service != "graph" => {
                Err("`claims_challenge` is a fault of `graph`".into())
            }
            Kind::Connector(_) if service != "connector" => {
                Err("`connector` is a fault of `connector`".into())
            }
            Kind::Status { status, .. } | Kind::AcceptThenStatus { status }
                if !(400..600).contains(&status) =>
            {
                Err(format!("`status` must be from 400 to 599, not {status}"))
            }
            _ => Ok(()),
        }
    }

    fn fits(&self, call: &Call) -> bool {
        names(&self.operation, call.operation)
            && (self.oid.is_none() || self.oid == call.oid)
            && (self.chat.is_none() || self.chat == call.chat)
    }
}

/// Whether `pattern` is `operation`, or the whole first part of it.
fn names(pattern: &str, operation: &str) -> bool {
    operation.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
