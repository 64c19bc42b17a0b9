//! What operators and their machines ask: is it alive, is it ready, how is it doing.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::problem::ApiError;

type CheckFn = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The named checks that must all pass before the hub is ready. Clones are the same list.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<RwLock<Vec<(&'static str, CheckFn)>>>,
    notes: Arc<RwLock<Vec<(&'static str, String)>>>,
}

impl Readiness {
    /// `check` answers from memory, with the reason when it is not ready: a sentence without secrets.
    pub fn add(&self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.write().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(check)));
    }

    /// Something to be seen at a glance that keeps the hub from nothing: a sentence without secrets.
    pub fn note(&self, name: &'static str, what: String) {
        self.notes.write().unwrap_or_else(PoisonError::into_inner).push((name, what));
    }

    pub fn report(&self) -> ReadinessReport {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let report = |name: &str, ready, reason| CheckReport { name: name.to_owned(), ready, reason };
        let checked = checks.iter().map(|(name, check)| match check() {
            Ok(()) => report(name, true, None),
            Err(reason) => report(name, false, Some(reason)),
        });
        let remarks = notes.iter().map(|(name, what)| report(name, true, Some(what.clone())));
        let checks: Vec<_> = checked.chain(remarks).collect();
        ReadinessReport { ready: checks.iter().all(|check| check.ready), checks }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

/// Whether the hub can do its work, and what keeps it from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadinessReport {
    pub ready: bool,
    pub checks: Vec<CheckReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    pub name: String,
    pub ready: bool,
    /// Why not; or, where it is ready, what is out of the ordinary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug)]
struct Ops {
    readiness: Readiness,
    metrics: Arc<Registry>,
}

pub(super) fn routes<S>(readiness: Readiness, metrics: Arc<Registry>) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics_text))
        .with_state(Ops { readiness, metrics })
}

/// The process answers.
///
/// Whether it can do its work is asked of `/health/ready`: a hub that is not ready is not helped by a restart.
#[utoipa::path(get, path = "/health/live", tag = "operations", responses((status = 204, description = "It does.")))]
async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the hub can do its work.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations",
    responses(
        (status = 200, body = ReadinessReport, description = "It can."),
        (status = 503, body = ReadinessReport, description = "It can't; the checks say why."),
    ),
)]
async fn ready(State(ops): State<Ops>) -> (StatusCode, Json<ReadinessReport>) {
    let report = ops.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

/// Metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
async fn metrics_text(State(ops): State<Ops>) -> Result<Response, ApiError> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &ops.metrics).map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response())
}
