//! What happens around every request: an id, a time limit, a log line, metrics, and headers that keep answers private.
//!
//! **Invariant.** Of an address only the route's template is logged and counted, never the path or the query, where ids,
//! `state` and `code` stand. A panic in a handler is a 500 and nothing else.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use uuid::Uuid;

use super::{
    Front, address,
    problem::{ApiError, Kind},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer, unless its handler knows better: links of ours hold secrets, and only pages have anything to load.
const PRIVATE: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The request's id: in its log lines, in its answer, and as correlation in the events that it causes.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().copied().ok_or_else(|| ApiError::internal("a request has no id"))
    }
}

/// From a millisecond, which a query takes, to half a minute, which waiting for a position may take.
const BUCKETS_S: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: String,
    status: u16,
}

/// Requests and their durations, by route.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<Labels, Counter>,
    durations: Histogram,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { requests: Family::default(), durations: Histogram::new(BUCKETS_S) };
        let registry = registry.sub_registry_with_prefix("http");
        registry.register("requests", "Requests answered", metrics.requests.clone());
        let help = "Time until the answer began, in seconds";
        registry.register("request_duration_seconds", help, metrics.durations.clone());
        metrics
    }

    pub(crate) fn answered(&self, method: &'static str, route: String, status: u16, took: Duration) {
        self.requests.get_or_create(&Labels { method, route, status }).inc();
        self.durations.observe(took.as_secs_f64());
    }
}

/// The outermost layer.
pub(super) async fn observe(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId(front.ids.uuid());
    request.extensions_mut().insert(id);
    let id = id.0.to_string();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let client = address::of(&request, &front.trusted_proxies);

    let span = tracing::info_span!("request", request.id = id);
    let answer = tracing::Instrument::instrument(answer(front.request_timeout, request, next), span);
    let mut response = answer.await;

    let status = response.status().as_u16();
    let took = began.elapsed();
    tracing::info!(
        request.id = id, method, route, status, duration_ms = took.as_secs_f64() * 1000.0, address = %client,
        "request"
    );
    front.metrics.answered(method, route, status, took);

    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, HeaderValue::from_str(&id).expect("a UUID is a header value"));
    for (name, value) in PRIVATE {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The answer of the layers within, within the time, whatever they do.
async fn answer(timeout: Duration, request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => ApiError::internal("a handler panicked").into_response(),
        Err(_elapsed) => {
            ApiError::new(Kind::TimedOut, "It may have been done all the same: look before you repeat it.")
                .retry_after(Duration::from_secs(1))
                .into_response()
        }
    }
}

/// A method is a word of the client's choice, and each new one would be a new series.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
