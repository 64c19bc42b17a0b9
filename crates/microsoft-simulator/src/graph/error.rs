//! Errors in Graph's shape.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Asking;
use crate::calls::Refusal;
use crate::{Simulator, clock};

pub(super) struct GraphError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_seconds: Option<u32>,
    /// Whether the caller is asked to sign in again with claims (continuous access evaluation).
    challenge: bool,
}

impl GraphError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None, challenge: false }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn too_large() -> Self {
        let message = "The size of the message is larger than the limit of about 28 KB.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(super) fn throttled(retry_after_seconds: Option<u32>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests.");
        Self { retry_after_seconds, ..error }
    }

    pub(super) fn scopes(needed: &[&str], held: &BTreeSet<String>) -> Self {
        let held: Vec<_> = held.iter().map(String::as_str).collect();
        Self::forbidden(format!(
            "Missing scope permissions on the request. API requires one of '{}'. Scopes on the request '{}'",
            needed.join(", "),
            held.join(", ")
        ))
    }

    /// What a fault asks for.
    pub(super) fn ordered(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status { status, retry_after_seconds } => Self {
                retry_after_seconds,
                ..Self::new(status, code(status), "This was asked for by a fault.")
            },
            Refusal::ClaimsChallenge => Self {
                challenge: true,
                ..Self::unauthorized(
                    "Continuous access evaluation resulted in challenge with result: InteractionRequired",
                )
            },
            Refusal::Aadsts(_) | Refusal::Connector(_) => Self::unauthorized("The token was refused."),
        }
    }

    pub(super) fn answer(&self, simulator: &Simulator, asking: &Asking) -> Response {
        let inner = json!({
            "code": "1",
            "message": self.message,
            "date": clock::error_stamp(simulator.0.clock.now_ms()),
            "request-id": asking.request_id,
            "client-request-id": asking.client_request_id.clone().unwrap_or_else(|| asking.request_id.to_string()),
        });
        let body = json!({ "error": { "code": self.code, "message": self.message, "innerError": inner } });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED
            && let Ok(challenge) = HeaderValue::from_str(&self.challenge(&simulator.0.base))
        {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn challenge(&self, base: &str) -> String {
        let plain = format!(
            "Bearer realm=\"\", authorization_uri=\"{base}/common/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\""
        );
        if !self.challenge {
            return plain;
        }
        let claims = STANDARD.encode(r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#);
        format!("{plain}, error=\"insufficient_claims\", claims=\"{claims}\"")
    }
}

/// The code that goes with a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BadRequest",
        401 => "InvalidAuthenticationToken",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        412 => "PreconditionFailed",
        413 => "RequestEntityTooLarge",
        423 => "Locked",
        429 => "TooManyRequests",
        500 => "InternalServerError",
        502 => "BadGateway",
        503 => "ServiceUnavailable",
        504 => "GatewayTimeout",
        // Seen in the field: a code can be empty.
        _ => "",
    }
}
