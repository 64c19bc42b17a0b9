//! Graph: the signed-in person, the Teams app they installed, and their chat with its bot.
//!
//! **Invariant.** A message is from whoever the access token belongs to, never from the bot.

mod apps;
mod error;
mod listing;
mod me;
mod messages;
mod post;
pub(crate) mod store;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::{any, get};
use uuid::Uuid;

use crate::Simulator;
use crate::calls::{Call, perform};
use crate::entra::grants::AccessToken;
use crate::people::Person;
use error::GraphError;

pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/v1.0/me", get(me::me))
        .route("/v1.0/me/teamwork/installedApps", get(apps::mine))
        .route("/v1.0/me/teamwork/installedApps/{id}/chat", get(apps::my_chat))
        .route("/v1.0/users/{user}/teamwork/installedApps", get(apps::theirs))
        .route("/v1.0/users/{user}/teamwork/installedApps/{id}/chat", get(apps::their_chat))
        .route("/v1.0/chats/{chat}", get(apps::chat))
        .route("/v1.0/chats/{chat}/messages", get(messages::list).post(post::post))
        .route("/v1.0/chats/{chat}/messages/{message}", get(messages::one))
        .route("/v1.0/{*rest}", any(unknown))
}

/// What a handler knows once the token was accepted.
struct Caller {
    token: Arc<AccessToken>,
    now_ms: u64,
}

impl Caller {
    fn person(&self) -> &Arc<Person> {
        &self.token.person
    }
}

/// Who asks, and how they named the request.
struct Asking {
    token: Option<Arc<AccessToken>>,
    client_request_id: Option<String>,
    request_id: Uuid,
}

impl Asking {
    fn read(simulator: &Simulator, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        Self {
            token: bearer.and_then(|value| simulator.0.grants.access_token(value.trim())),
            client_request_id: text("client-request-id").map(ToOwned::to_owned),
            request_id: simulator.0.chance.uuid(),
        }
    }

    fn admit(&self, simulator: &Simulator, scopes: &[&str]) -> Result<Caller, GraphError> {
        let now_ms = simulator.0.clock.now_ms();
        let token = self.token.clone().ok_or_else(|| {
            GraphError::unauthorized("CompactToken parsing failed with error code: 80049217")
        })?;
        if now_ms >= token.expires_ms {
            return Err(GraphError::unauthorized("Lifetime validation failed, the token is expired."));
        }
        if !scopes.is_empty() && !scopes.iter().any(|scope| token.scopes.contains(*scope)) {
            return Err(GraphError::scopes(scopes, &token.scopes));
        }
        Ok(Caller { token, now_ms })
    }

    /// The headers every answer of Graph has.
    fn label(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        headers.extend(value(&self.request_id.to_string()).map(|id| (REQUEST_ID, id)));
        headers.extend(self.client_request_id.as_deref().and_then(value).map(|id| (CLIENT_REQUEST_ID, id)));
        response
    }
}

const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: header::HeaderName = header::HeaderName::from_static("client-request-id");

/// Performs a call of Graph by somebody whose token has one of `scopes`; any will do if none is named.
async fn call(
    simulator: &Simulator,
    headers: &HeaderMap,
    operation: &'static str,
    chat: Option<String>,
    scopes: &'static [&'static str],
    handle: impl FnOnce(&Simulator, &Caller) -> Result<Response, GraphError> + Send + 'static,
) -> Response {
    let asking = Arc::new(Asking::read(simulator, headers));
    let call = Call { operation, oid: asking.token.as_ref().map(|token| token.person.oid), chat };
    let (refusing, refuser) = (asking.clone(), simulator.clone());
    let handling = simulator.clone();
    perform(
        simulator,
        call,
        move |refusal| refusing.label(GraphError::ordered(refusal).answer(&refuser, &refusing)),
        move |_| {
            let answer = asking.admit(&handling, scopes).and_then(|caller| handle(&handling, &caller));
            asking.label(answer.unwrap_or_else(|error| error.answer(&handling, &asking)))
        },
    )
    .await
}

/// Anything this Graph does not have.
async fn unknown(State(simulator): State<Simulator>, headers: HeaderMap) -> Response {
    call(&simulator, &headers, "graph.other", None, &[], |_, _| {
        Err(GraphError::bad("Resource not found for the segment."))
    })
    .await
}
