//! The front door: how the parts of the API become one server.
//!
//! A request passes, from outside in: [`observe`](observe::observe) (id, log line, time limit, panics), the
//! [gate](auth::gate) (limits, API key, role), the body limit, and its handler.

pub mod access;
mod address;
pub mod auth;
pub mod extract;
pub mod idempotency;
pub mod limits;
mod observe;
mod openapi;
pub mod ops;
pub mod pages;
pub mod problem;
pub mod serve;
pub mod sign_ins;
pub mod starting;
pub mod v1;

pub(crate) use observe::HttpMetrics;
pub use observe::RequestId;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use ipnet::IpNet;
use prometheus_client::registry::Registry;
use serde_json::Value;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    auth::KeyDirectory,
    limits::{Limits, LimitsConfig},
    ops::Readiness,
    problem::{ApiError, Kind},
    serve::ServerConfig,
};
use crate::clock::Ids;

/// What the hub brings to its front door.
pub struct Parts {
    /// The routes under `/v1`, with their state.
    pub api: OpenApiRouter,
    /// Pages for browsers: no part of the described API, but in the access table as well.
    pub pages: Router,
    pub keys: Arc<dyn KeyDirectory>,
    pub ids: Arc<dyn Ids>,
    pub readiness: Readiness,
    /// All metrics of the hub; those of HTTP are added.
    pub metrics: Registry,
}

/// What the layers share.
struct Front {
    keys: Arc<dyn KeyDirectory>,
    ids: Arc<dyn Ids>,
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    request_timeout: Duration,
    metrics: HttpMetrics,
}

/// The whole service, and its description (`OpenAPI`), which it also serves as `/openapi.json`.
pub fn assemble(mut parts: Parts, server: &ServerConfig, limits: &LimitsConfig) -> (Router, Value) {
    let front = Arc::new(Front {
        keys: parts.keys,
        ids: parts.ids,
        limits: Limits::new(limits),
        trusted_proxies: server.trusted_proxies.clone(),
        request_timeout: server.request_timeout,
        metrics: HttpMetrics::register(&mut parts.metrics),
    });
    let (described, description) = described(parts.api, parts.readiness, parts.metrics).split_for_parts();
    let description = openapi::complete(&description);
    let router = described
        .merge(openapi::route(&description))
        .merge(parts.pages)
        .fallback(async || {
            ApiError::new(Kind::NotFound, "There is no such route; /openapi.json lists them all.")
        })
        .layer(DefaultBodyLimit::max(server.max_body_bytes))
        .layer(from_fn_with_state(front.clone(), auth::gate))
        .layer(from_fn_with_state(front, observe::observe));
    (router, description)
}

/// What [`assemble`] describes, without a hub behind it.
pub fn describe<S>(api: OpenApiRouter<S>) -> Value
where
    S: Clone + Send + Sync + 'static,
{
    openapi::complete(&described(api, Readiness::default(), Registry::default()).into_openapi())
}

fn described<S>(api: OpenApiRouter<S>, readiness: Readiness, metrics: Registry) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .merge(ops::routes(readiness, Arc::new(metrics)))
        .routes(routes!(problem::describe))
        .merge(api)
}

#[cfg(test)]
mod tests;
