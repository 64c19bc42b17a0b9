//! The discovery document and the JWKS, as every `{tenant}` shows them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::denial::Denial;
use super::{Authority, refuse_plainly};
use crate::Simulator;
use crate::calls::{Call, perform};

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`
pub(crate) async fn discovery(State(simulator): State<Simulator>, Path(tenant): Path<String>) -> Response {
    let call = Call { operation: "metadata", oid: None, chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| {
        let Some(authority) = Authority::parse(&tenant) else {
            return Denial::new(90002).answer(&world, None);
        };
        let base = &world.0.base;
        let issuer = match authority {
            Authority::Tenant(tid) => format!("{base}/{tid}/v2.0"),
            // The template that clients have to fill in with the `tid` of the token.
            Authority::Common | Authority::Organizations => format!("{base}/{{tenantid}}/v2.0"),
        };
        Json(json!({
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer,
            "request_uri_parameter_supported": false,
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "end_session_endpoint": format!("{base}/{tenant}/oauth2/v2.0/logout"),
            "claims_supported": [
                "sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid",
                "ver", "at_hash", "c_hash", "email"
            ],
        }))
        .into_response()
    })
    .await
}

/// `GET /{tenant}/discovery/v2.0/keys`
pub(crate) async fn keys(State(simulator): State<Simulator>, Path(tenant): Path<String>) -> Response {
    let call = Call { operation: "jwks", oid: None, chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| match Authority::parse(&tenant) {
        Some(_) => Json(world.0.keys.jwks(&world.0.base, world.dials().keep_old_key)).into_response(),
        None => Denial::new(90002).answer(&world, None),
    })
    .await
}
