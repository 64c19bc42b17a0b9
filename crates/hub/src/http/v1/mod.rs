//! The API under `/v1`, beside sign-ins: messages, tenants and their people, histories, and the tail of the log.

pub mod batch;
pub mod clients;
pub mod connections;
pub mod content;
mod errors;
pub mod events;
pub mod history;
pub mod hubs;
pub mod messages;
pub mod paging;
pub mod submission;
pub mod tenants;

pub use errors::is_passing;

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use utoipa_axum::router::OpenApiRouter;

use crate::hub::Hub;

/// How long a read waits for the read models at most: behind by more, they are shown as they are.
const OWN_WRITES_WITHIN: Duration = Duration::from_millis(250);

/// Has a read show what this hub acknowledged before it, so that who writes and then looks finds what was written.
pub async fn after_own_writes(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        let written = hub.commands.written();
        // What is not there by then is shown by the next read.
        let _ = tokio::join!(
            hub.connections.wait_for(written, OWN_WRITES_WITHIN),
            hub.messages.wait_for(written, OWN_WRITES_WITHIN)
        );
    }
    next.run(request).await
}

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .merge(messages::routes())
        .merge(batch::routes())
        .merge(tenants::routes())
        .merge(clients::routes())
        .merge(connections::routes())
        .merge(history::routes())
        .merge(hubs::routes())
        .merge(events::routes())
}

#[cfg(test)]
mod tests;
