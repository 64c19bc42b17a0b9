//! What is answered while the hub can't work yet because its store can't be reached: that it is alive, and what it waits
//! for.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use tower::ServiceExt as _;

use super::{
    ops::{CheckReport, ReadinessReport},
    problem::{ApiError, Kind},
};

/// When it is worth asking again.
const AGAIN: Duration = Duration::from_secs(2);

/// Answers for a hub that is to come. Clones are the same one.
#[derive(Clone, Default)]
pub struct Starting(Arc<Inner>);

#[derive(Default)]
struct Inner {
    hub: OnceLock<Router>,
    waits_for: Mutex<String>,
}

impl Starting {
    /// What to serve: from [`Starting::started`] on it is the hub's own router.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Says what keeps the hub from working; a sentence without secrets.
    pub fn waits_for(&self, what: String) {
        *self.0.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// From now on the hub answers.
    pub fn started(&self, hub: Router) {
        // Nobody starts twice.
        let _ = self.0.hub.set(hub);
    }

    fn report(&self) -> ReadinessReport {
        let reason = self.0.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let check = CheckReport { name: "store".to_owned(), ready: false, reason: Some(reason) };
        ReadinessReport { ready: false, checks: vec![check] }
    }
}

async fn answer(State(starting): State<Starting>, uri: Uri, request: Request) -> Response {
    if let Some(hub) = starting.0.hub.get() {
        return hub.clone().oneshot(request).await.into_response();
    }
    match uri.path() {
        "/health/live" => StatusCode::NO_CONTENT.into_response(),
        "/health/ready" => (StatusCode::SERVICE_UNAVAILABLE, Json(starting.report())).into_response(),
        _ => ApiError::new(Kind::Unavailable, "The hub is starting; /health/ready says what it waits for.")
            .retry_after(AGAIN)
            .into_response(),
    }
}
