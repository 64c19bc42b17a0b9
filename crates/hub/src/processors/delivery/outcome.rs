//! What Graph's answer to a post means.

use anyhow::Result;
use domain::{
    Diagnosis, SignInId, Surface,
    connection::{self, ReauthorizationReason},
    lane::{DeferReason, Outcome, ParkReason, RejectReason},
};
use microsoft::{Failure, Posted, graph::ForbiddenBecause};

use super::{
    super::{backoff, breakers},
    Turn, change_connection,
    prepare::{ByGraph, park},
};
use crate::{
    config::UnknownOutcome,
    hub::Hub,
    services::tokens::{self, Fresh},
};

/// What the answer to a post means. There always is an outcome to record: an intent without one would hold the lane up
/// until the next start.
pub(super) async fn outcome(
    hub: &Hub,
    turn: &Turn,
    ready: &ByGraph,
    posted: Result<Posted, Failure>,
) -> Outcome {
    let tenant = turn.accepted.person.tenant;
    let failure = match posted {
        Ok(posted) => {
            breakers::known(hub, tenant, Surface::Graph);
            hub.tokens.accepted(turn.lane);
            return Outcome::Delivered {
                chat_id: ready.chat_id.clone(),
                provider_message_id: Some(posted.message_id),
                provider_request_id: posted.request_id.map(|id| id.to_string()),
            };
        }
        Err(failure) => failure,
    };
    let diagnosis = Diagnosis::from(failure.diagnosis());
    if let Failure::Ambiguous { .. } = failure {
        return unknown(hub, turn, diagnosis).await;
    }
    breakers::known(hub, tenant, Surface::Graph);
    let meant = refused(hub, turn, ready, &failure).await;
    settled(hub, turn, meant, diagnosis)
}

/// Nobody knows whether it arrived.
pub(super) async fn unknown(hub: &Hub, turn: &Turn, diagnosis: Diagnosis) -> Outcome {
    if let Err(error) = breakers::unknown(hub, turn.accepted.person.tenant, turn.way).await {
        tracing::warn!(error = format!("{error:#}"), "That deliveries are held back could not be recorded.");
    }
    Outcome::Unknown { resend: resends(hub, turn.attempts + 1).then_some(turn.way), diagnosis }
}

/// What a refusal came to, and whether that was the last time.
pub(super) fn settled(hub: &Hub, turn: &Turn, meant: Result<Outcome>, diagnosis: Diagnosis) -> Outcome {
    let meant = meant.unwrap_or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "What follows from an answer of Microsoft could not be done."
        );
        // The next attempt is answered the same, and finds it out again.
        let until = hub.clock.now() + hub.config.delivery.backoff_first;
        Outcome::Deferred { surface: turn.way, until, why: DeferReason::TryLater, diagnosis }
    });
    match meant {
        // Being throttled, or not getting through at all, says nothing about the message: only its age ends that.
        Outcome::Deferred { why: DeferReason::TryLater, diagnosis, .. }
            if last_attempt(hub, turn.attempts + 1) =>
        {
            Outcome::DeadLettered { diagnosis }
        }
        meant => meant,
    }
}

fn last_attempt(hub: &Hub, attempt: u32) -> bool {
    attempt >= hub.config.delivery.attempts_max
}

/// Whether a message goes again of which nobody knows whether this attempt brought it.
pub(super) fn resends(hub: &Hub, attempt: u32) -> bool {
    hub.config.delivery.unknown == UnknownOutcome::Resend && !last_attempt(hub, attempt)
}

/// Does what follows from a post that Graph refused.
async fn refused(hub: &Hub, turn: &Turn, ready: &ByGraph, failure: &Failure) -> Result<Outcome> {
    if let Failure::NotFound { .. } = failure {
        let lose = connection::Command::LoseChat { chat_id: ready.chat_id.clone() };
        change_connection(hub, turn, "lose-chat", lose).await?;
    }
    means(hub, turn, ready.grant, ready.generation, failure).await
}

/// What a failure means that left no doubt behind: nothing was posted.
pub(super) async fn means(
    hub: &Hub,
    turn: &Turn,
    grant: SignInId,
    generation: u64,
    failure: &Failure,
) -> Result<Outcome> {
    let diagnosis = Diagnosis::from(failure.diagnosis());
    let delivery = &hub.config.delivery;
    let pause = backoff(delivery.backoff_first, delivery.backoff_max, turn.deferrals(), hub.ids.as_ref());
    let later = |why, pause, diagnosis| Outcome::Deferred {
        surface: turn.way,
        until: hub.clock.now() + pause,
        why,
        diagnosis,
    };
    Ok(match failure {
        Failure::Throttled { retry_after, .. } => {
            later(DeferReason::Throttled, retry_after.unwrap_or(pause), diagnosis)
        }
        Failure::Unavailable { retry_after, .. } => {
            later(DeferReason::NotSent, retry_after.unwrap_or(pause), diagnosis)
        }
        Failure::NotSent { .. } => later(DeferReason::NotSent, pause, diagnosis),
        Failure::Locked { .. } | Failure::NotFound { .. } | Failure::Ambiguous { .. } => {
            later(DeferReason::TryLater, pause, diagnosis)
        }
        Failure::Unauthorized { .. } => {
            // One refresh, one retry at once; a fresh token that is refused waits like any other trouble.
            let until = match tokens::renew(hub, turn.lane, grant, generation).await? {
                Some(Fresh::Later { until, .. }) => until,
                Some(Fresh::Token { .. } | Fresh::Broken(_)) => hub.clock.now(),
                None => hub.clock.now() + pause,
            };
            Outcome::Deferred { surface: turn.way, until, why: DeferReason::TryLater, diagnosis }
        }
        Failure::ReauthorizationRequired { .. } => {
            let (why, person) = (ReauthorizationReason::ClaimsChallenge, turn.accepted.person);
            tokens::require_reauthorization(hub, turn.lane, person, grant, why, diagnosis.clone()).await?;
            park(hub, turn, ParkReason::ReauthorizationRequired, diagnosis)
        }
        Failure::Forbidden { because: ForbiddenBecause::MissingPermission, .. } => {
            park(hub, turn, ParkReason::ConsentRequired, diagnosis)
        }
        Failure::Forbidden { .. } => park(hub, turn, ParkReason::Forbidden, diagnosis),
        Failure::TooLarge { .. } => Outcome::Rejected { why: RejectReason::TooLarge, diagnosis },
        Failure::Rejected { .. } => Outcome::Rejected { why: RejectReason::RefusedByProvider, diagnosis },
    })
}
