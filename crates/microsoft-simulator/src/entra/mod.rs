//! Entra ID: sign-in, consent, tokens, and the keys they are signed with.

pub(crate) mod admin_consent;
mod app_token;
pub mod authorize;
mod consent;
mod denial;
pub(crate) mod grants;
mod id_token;
pub(crate) mod keys;
mod metadata;
mod scopes;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use uuid::Uuid;

use crate::Simulator;
use crate::calls::Refusal;
use crate::people::{CONSUMERS, Directory, Person, TENANTS};

pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(metadata::discovery))
        .route("/{tenant}/discovery/v2.0/keys", get(metadata::keys))
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::show).post(authorize::answer))
        .route("/{tenant}/oauth2/v2.0/token", post(token::token))
        .route("/{tenant}/v2.0/adminconsent", get(admin_consent::show).post(admin_consent::answer))
}

/// Who may sign in: the `{tenant}` of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Authority {
    /// Anybody.
    Common,
    /// Anybody but personal accounts.
    Organizations,
    /// The people of one tenant.
    Tenant(Uuid),
}

impl Authority {
    /// From a word, a tenant's id, or a domain of a tenant.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        match path {
            "common" => Some(Self::Common),
            "organizations" => Some(Self::Organizations),
            "consumers" => Some(Self::Tenant(CONSUMERS)),
            _ => TENANTS
                .iter()
                .find(|(_, domain, tid)| *domain == path || path.parse() == Ok(*tid))
                .map(|(_, _, tid)| Self::Tenant(*tid)),
        }
    }

    /// A guest has to name the tenant: elsewhere it is the account at home that signs in.
    pub(crate) fn admits(self, person: &Person) -> bool {
        match self {
            Self::Common => person.home.is_none(),
            Self::Organizations => person.home.is_none() && !person.is_personal(),
            Self::Tenant(tid) => person.tid == tid,
        }
    }

    /// Who somebody is here: at a tenant where they are a guest, the guest.
    pub(crate) fn resolve<'a>(self, directory: &'a Directory, person: &'a Arc<Person>) -> &'a Arc<Person> {
        match self {
            Self::Tenant(tid) => directory.within(tid, person).unwrap_or(person),
            _ => person,
        }
    }
}

/// The wording of refusals where no protocol asks for a special one.
pub(crate) fn refuse_plainly(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Status { status, retry_after_seconds: Some(seconds) } => {
            (status, [("retry-after", seconds.to_string())]).into_response()
        }
        Refusal::Status { status, .. } => status.into_response(),
        Refusal::Aadsts(_) | Refusal::ClaimsChallenge | Refusal::Connector(_) => {
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}
