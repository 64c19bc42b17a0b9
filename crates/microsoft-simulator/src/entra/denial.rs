//! Errors of Entra ID: the AADSTS number decides status, `error` and `suberror`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use uuid::Uuid;

use crate::{Simulator, clock};

/// A refusal by Entra ID, known by its AADSTS number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Denial {
    pub(crate) code: u32,
    pub(crate) error: &'static str,
    suberror: Option<&'static str>,
    /// Without number and trace ids.
    message: String,
}

impl Denial {
    pub(crate) fn new(code: u32) -> Self {
        let (error, suberror, message) = words(code);
        Self { code, error, suberror, message: message.to_owned() }
    }

    /// The same with a more telling message.
    pub(crate) fn saying(code: u32, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::new(code) }
    }

    /// `AADSTSnnnnn: what is wrong.`
    pub(crate) fn text(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.message)
    }

    /// `error_description`, with its trace.
    pub(crate) fn description(&self, simulator: &Simulator, trace: Uuid, correlation: Uuid) -> String {
        let now = clock::entra_stamp(simulator.0.clock.now_ms());
        format!("{}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {now}", self.text())
    }

    /// The token endpoint's JSON, under the status that goes with `error`.
    pub(crate) fn answer(&self, simulator: &Simulator, correlation: Option<Uuid>) -> Response {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        self.answer_with(status, simulator, correlation)
    }

    pub(crate) fn answer_with(
        &self,
        status: StatusCode,
        simulator: &Simulator,
        correlation: Option<Uuid>,
    ) -> Response {
        let trace = simulator.0.chance.uuid();
        let correlation = correlation.unwrap_or_else(|| simulator.0.chance.uuid());
        let mut body = json!({
            "error": self.error,
            "error_description": self.description(simulator, trace, correlation),
            "error_codes": [self.code],
            "timestamp": clock::entra_stamp(simulator.0.clock.now_ms()),
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{}/error?code={}", simulator.0.base, self.code),
        });
        if let Some(suberror) = self.suberror {
            body["suberror"] = suberror.into();
        }
        if self.code == 50076 {
            let claims = json!({ "access_token": { "capolids": { "essential": true, "values": [trace] } } });
            body["claims"] = claims.to_string().into();
        }
        let mut response = (status, Json(body)).into_response();
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
        response.headers_mut().insert("pragma", HeaderValue::from_static("no-cache"));
        if let Ok(trace) = HeaderValue::from_str(&trace.to_string()) {
            response.headers_mut().insert("x-ms-request-id", trace);
        }
        response
    }
}

/// `error`, `suberror` and message of an AADSTS number.
fn words(code: u32) -> (&'static str, Option<&'static str>, &'static str) {
    let bad_token = Some("bad_token");
    match code {
        // The grant is over.
        50173 => (
            "invalid_grant",
            bad_token,
            "The grant was issued before the sessions of the user were revoked; a fresh sign-in is needed.",
        ),
        70000 => ("invalid_grant", None, "The provided grant is not valid."),
        70008 => {
            ("invalid_grant", bad_token, "The provided authorization code or refresh token has expired.")
        }
        700_082 => {
            ("invalid_grant", bad_token, "The refresh token has expired due to inactivity of 90 days.")
        }
        70043 => (
            "invalid_grant",
            bad_token,
            "The refresh token is no longer valid because of the sign-in frequency set by Conditional Access.",
        ),
        54005 => ("invalid_grant", None, "The authorization code was already redeemed."),
        501_481 => (
            "invalid_grant",
            None,
            "The code verifier does not match the code challenge of the authorization request.",
        ),
        700_005 => ("invalid_grant", None, "The authorization code is meant for another tenant."),
        50196 => (
            "invalid_grant",
            None,
            "The server ended the operation because the client sent the same request in a loop.",
        ),
        // The person.
        50057 => ("invalid_grant", None, "The user account is disabled."),
        50034 => ("invalid_grant", None, "The user account does not exist in this directory."),
        50020 => (
            "invalid_grant",
            None,
            "The user account does not exist in this tenant and cannot use the application there.",
        ),
        500_200 => (
            "invalid_grant",
            None,
            "The user account is a personal Microsoft account, which this application does not support.",
        ),
        50076 => ("interaction_required", Some("basic_action"), "Multi-factor authentication is needed."),
        50105 => ("invalid_grant", None, "The user is not assigned to a role for the application."),
        53003 => ("invalid_grant", Some("message_only"), "Access is blocked by Conditional Access."),
        // Consent.
        65001 => (
            "invalid_grant",
            Some("consent_required"),
            "The user or an administrator has not consented to use the application.",
        ),
        65004 => ("access_denied", None, "The user declined to consent to the application."),
        90094 => ("consent_required", None, "An administrator has to grant the permissions."),
        90095 => ("consent_required", None, "An administrator has been asked to grant the permissions."),
        // The application.
        700_016 => ("unauthorized_client", None, "The application was not found in the directory."),
        7_000_112 => ("unauthorized_client", None, "The application is disabled."),
        7_000_215 => ("invalid_client", None, "The client secret is not the right one."),
        7_000_218 => {
            ("invalid_client", None, "The request must contain `client_secret` or `client_assertion`.")
        }
        7_000_222 => ("invalid_client", None, "The client secret has expired."),
        500_112 => ("invalid_client", None, "The redirect URI is not the one of the authorization request."),
        // The request.
        50011 => {
            ("invalid_request", None, "The redirect URI is not one of those registered for the application.")
        }
        70003 => ("unsupported_grant_type", None, "The grant type is not supported."),
        1_002_012 => (
            "invalid_scope",
            None,
            "The scope is not valid: client credentials need a resource with `/.default`.",
        ),
        500_011 => ("invalid_resource", None, "The resource was not found in the tenant."),
        9_001_023 => {
            ("invalid_request", None, "The grant type is not supported here; use a tenant's own endpoint.")
        }
        70011 => ("invalid_scope", None, "A scope is not valid."),
        700_054 => {
            ("unsupported_response_type", None, "The response type is not enabled for the application.")
        }
        90002 => ("invalid_tenant", None, "The tenant was not found."),
        900_144 => ("invalid_request", None, "A parameter is missing."),
        9_002_313 => ("invalid_request", None, "The request is malformed."),
        // Passing trouble.
        90033 | 90012 | 50033 => ("temporarily_unavailable", None, "The service is temporarily unavailable."),
        90055 => ("temporarily_unavailable", None, "The tenant has made too many requests."),
        90024 | 50087 | 90006 | 90090 => ("server_error", None, "A transient error occurred."),
        _ => ("invalid_grant", None, "The request was refused."),
    }
}
