//! Who does something, and on what occasion: what becomes of it in the metadata of events.

use domain::{ClientId, TenantId};
use uuid::Uuid;

/// Who does something, and on what occasion.
#[derive(Clone, Debug)]
pub struct Context {
    /// `client/<id>`, `person`, `hub/<process>`.
    pub actor: String,
    /// What belongs together: a request's id, or the causing event's own correlation.
    pub correlation_id: String,
    /// The id of the event that this follows from.
    pub causation_id: Option<Uuid>,
    pub tenant: Option<TenantId>,
    pub client: Option<ClientId>,
    /// Of the provider's answer that this is the outcome of.
    pub provider_request_id: Option<String>,
}

impl Context {
    /// A process of the hub, acting of itself.
    pub fn hub(process: &str, correlation_id: impl Into<String>) -> Self {
        Self {
            actor: format!("hub/{process}"),
            correlation_id: correlation_id.into(),
            causation_id: None,
            tenant: None,
            client: None,
            provider_request_id: None,
        }
    }

    /// A person of whom nothing else is said: at the panel, or in a chat with the bot.
    pub fn person(correlation_id: impl Into<String>) -> Self {
        Self { actor: "person".to_owned(), ..Self::hub("", correlation_id) }
    }

    /// A client of the API.
    pub fn client(client: &ClientId, correlation_id: impl Into<String>) -> Self {
        Self {
            actor: format!("client/{client}"),
            client: Some(client.clone()),
            ..Self::hub("", correlation_id)
        }
    }

    /// What is done follows from this event.
    #[must_use]
    pub fn caused_by(self, event: Option<Uuid>) -> Self {
        Self { causation_id: event, ..self }
    }

    #[must_use]
    pub fn of_tenant(self, tenant: TenantId) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    #[must_use]
    pub fn of_client(self, client: ClientId) -> Self {
        Self { client: Some(client), ..self }
    }

    #[must_use]
    pub fn answered_by(self, provider_request_id: Option<String>) -> Self {
        Self { provider_request_id, ..self }
    }
}
