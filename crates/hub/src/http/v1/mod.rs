//! The API under `/v1`, beside sign-ins: messages, tenants and their people, histories, and the tail of the log.

pub mod batch;
pub mod clients;
pub mod connections;
pub mod content;
mod errors;
pub mod events;
pub mod history;
pub mod messages;
pub mod paging;
pub mod tenants;

use utoipa_axum::router::OpenApiRouter;

use crate::hub::Hub;

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .merge(messages::routes())
        .merge(batch::routes())
        .merge(tenants::routes())
        .merge(clients::routes())
        .merge(connections::routes())
        .merge(history::routes())
        .merge(events::routes())
}

#[cfg(test)]
mod tests;
