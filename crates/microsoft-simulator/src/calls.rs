//! The door through which each simulated call passes: it applies faults, and counts.
//!
//! **Invariant.** Each call that was begun is counted once, also if its caller left or never got an answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response as HttpResponse, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Serialize;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::connector::Complaint;
use crate::faults::{Fault, Flaw, Garbage, Kind};
use crate::{Simulator, lock, sockets};

/// What a call is, as far as faults and counts care.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) oid: Option<Uuid>,
    pub(crate) chat: Option<String>,
}

/// A refusal ordered by a fault; each service words it in its own way.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Status { status: StatusCode, retry_after_seconds: Option<u32> },
    Aadsts(u32),
    ClaimsChallenge,
    Connector(Complaint),
}

/// Performs a call: `handle` does it, `refuse` words a refusal, and the faults that fit spoil it.
pub(crate) async fn perform(
    simulator: &Simulator,
    call: Call,
    refuse: impl FnOnce(Refusal) -> Response + Send + 'static,
    handle: impl FnOnce(Option<Flaw>) -> Response + Send + 'static,
) -> Response {
    let Some(fault) = simulator.0.faults.take(&call) else {
        let response = handle(None);
        simulator.0.calls.count(&call, response.status().as_u16());
        return response;
    };
    // On a task of its own, because a caller that leaves must not undo what the fault lets happen.
    let simulator = simulator.clone();
    tokio::spawn(async move { spoil(&simulator, &call, fault, refuse, handle).await })
        .await
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn spoil(
    simulator: &Simulator,
    call: &Call,
    fault: Fault,
    refuse: impl FnOnce(Refusal) -> Response + Send,
    handle: impl FnOnce(Option<Flaw>) -> Response + Send,
) -> Response {
    let count = |status| simulator.0.calls.count(call, status);
    let counted = |response: Response| {
        count(response.status().as_u16());
        response
    };
    match fault.fault {
        Kind::Status { status, retry_after_seconds } => {
            counted(refuse(Refusal::Status { status: status_code(status), retry_after_seconds }))
        }
        Kind::Aadsts { code } => counted(refuse(Refusal::Aadsts(code))),
        Kind::ClaimsChallenge => counted(refuse(Refusal::ClaimsChallenge)),
        Kind::Connector(complaint) => counted(refuse(Refusal::Connector(complaint))),
        Kind::Flaw(flaw) => counted(handle(Some(flaw))),
        Kind::Delay { delay_ms } => {
            simulator.pause(delay_ms).await;
            counted(handle(None))
        }
        Kind::Reset => {
            count(NO_ANSWER);
            sockets::reset()
        }
        Kind::Hang => {
            count(NO_ANSWER);
            simulator.0.closing.cancelled().await;
            sockets::reset()
        }
        Kind::AcceptThenStatus { .. }
        | Kind::AcceptThenReset
        | Kind::AcceptThenHang
        | Kind::AcceptLate { .. }
        | Kind::Garbage { .. } => {
            let honest = handle(None);
            if honest.status().is_client_error() || honest.status().is_server_error() {
                simulator.0.faults.give_back(fault);
                return counted(honest);
            }
            spoil_accepted(simulator, call, fault.fault, refuse, honest).await
        }
    }
}

async fn spoil_accepted(
    simulator: &Simulator,
    call: &Call,
    kind: Kind,
    refuse: impl FnOnce(Refusal) -> Response + Send,
    honest: Response,
) -> Response {
    let count = |status| simulator.0.calls.count(call, status);
    match kind {
        Kind::AcceptThenStatus { status } => {
            count(status);
            refuse(Refusal::Status { status: status_code(status), retry_after_seconds: None })
        }
        Kind::AcceptThenHang => {
            count(NO_ANSWER);
            simulator.0.closing.cancelled().await;
            sockets::reset()
        }
        Kind::AcceptLate { delay_ms } => {
            count(honest.status().as_u16());
            simulator.pause(delay_ms).await;
            honest
        }
        Kind::Garbage { form } => {
            count(honest.status().as_u16());
            garbage(form, honest).await
        }
        _ => {
            count(NO_ANSWER);
            sockets::reset()
        }
    }
}

async fn garbage(form: Garbage, honest: Response) -> Response {
    match form {
        Garbage::Html => {
            Html("<!doctype html><title>Please wait</title><p>Your network is being checked.").into_response()
        }
        Garbage::Empty => HttpResponse::builder()
            .status(honest.status())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::empty())
            .expect("the header is valid"),
        Garbage::Truncated => {
            let (mut parts, body) = honest.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            Response::from_parts(parts, Body::from(bytes.slice(..bytes.len() / 2)))
        }
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Simulator {
    /// A delay in real time, which the end of the simulator cuts short.
    pub(crate) async fn pause(&self, delay_ms: u64) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
            () = self.0.closing.cancelled() => {}
        }
    }
}

/// The status under which calls are counted that got no answer.
const NO_ANSWER: u16 = 0;

/// How often an operation was called by one person with one outcome.
#[derive(Clone, Debug, Serialize)]
pub struct CallCount {
    pub operation: &'static str,
    /// Absent where nobody could be recognised.
    pub oid: Option<Uuid>,
    /// What was answered; 0 where a fault left the caller without an answer.
    pub status: u16,
    pub count: u64,
}

#[derive(Default)]
pub(crate) struct Calls {
    counts: Mutex<BTreeMap<Outcome, u64>>,
    /// Wakes those who wait for something to have happened.
    counted: Notify,
}

/// Operation, person and status.
type Outcome = (&'static str, Option<Uuid>, u16);

impl Calls {
    fn count(&self, call: &Call, status: u16) {
        *lock(&self.counts).entry((call.operation, call.oid, status)).or_default() += 1;
        self.counted.notify_waiters();
    }

    /// Wakes those who wait, because something else than a call has happened.
    pub(crate) fn nudge(&self) {
        self.counted.notify_waiters();
    }

    /// Waits until `holds`, which is looked at now and after each call.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let mut counted = std::pin::pin!(self.counted.notified());
            // From here on no call is missed, not even one that ends while `holds` looks.
            counted.as_mut().enable();
            if holds() {
                return;
            }
            counted.await;
        }
    }

    pub(crate) fn list(&self) -> Vec<CallCount> {
        let counts = lock(&self.counts);
        counts
            .iter()
            .map(|(&(operation, oid, status), &count)| CallCount { operation, oid, status, count })
            .collect()
    }

    pub(crate) fn clear(&self) {
        lock(&self.counts).clear();
    }
}
