//! Errors in the Bot Connector's shape.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::calls::Refusal;

/// What the Bot Connector can complain of, by the `code` that it gives.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Complaint {
    BadArgument,
    BotNotRegistered,
    BotDisabledByAdmin,
    BotNotInConversationRoster,
    ConversationBlockedByUser,
    /// The other form of being blocked: `errorCode` 209, with a `subCode` inside a string.
    MessageWritesBlocked,
    InvalidBotApiHost,
    NotEnoughPermissions,
    ConversationNotFound,
    ActivityNotFoundInConversation,
    MemberNotFoundInConversation,
    PreconditionFailed,
    MessageSizeTooBig,
    Throttled,
    ServiceError,
    BadGateway,
    ServiceUnavailable,
    GatewayTimeout,
}

impl Complaint {
    fn status(self) -> StatusCode {
        match self {
            Self::BadArgument => StatusCode::BAD_REQUEST,
            Self::BotNotRegistered => StatusCode::UNAUTHORIZED,
            Self::BotDisabledByAdmin
            | Self::BotNotInConversationRoster
            | Self::ConversationBlockedByUser
            | Self::MessageWritesBlocked
            | Self::InvalidBotApiHost
            | Self::NotEnoughPermissions => StatusCode::FORBIDDEN,
            Self::ConversationNotFound
            | Self::ActivityNotFoundInConversation
            | Self::MemberNotFoundInConversation => StatusCode::NOT_FOUND,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::MessageSizeTooBig => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::ServiceError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What goes with a status, where that is all a fault says.
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::BotNotRegistered,
            403 => Self::BotNotInConversationRoster,
            404 => Self::ConversationNotFound,
            412 => Self::PreconditionFailed,
            413 => Self::MessageSizeTooBig,
            429 => Self::Throttled,
            502 => Self::BadGateway,
            503 => Self::ServiceUnavailable,
            504 => Self::GatewayTimeout,
            500.. => Self::ServiceError,
            _ => Self::BadArgument,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::BadArgument => "The request is malformed.",
            Self::BotNotRegistered => "No registration was found for this bot.",
            Self::BotDisabledByAdmin => "The tenant admin disabled this bot.",
            Self::BotNotInConversationRoster => "The bot is not part of the conversation roster.",
            Self::ConversationBlockedByUser => "The user blocked the conversation with the bot.",
            Self::MessageWritesBlocked => "Thread is blocked from message writes.",
            Self::InvalidBotApiHost => "The bot API host is not the one of the tenant.",
            Self::NotEnoughPermissions => "The bot does not have the permission for this.",
            Self::ConversationNotFound => "Conversation not found.",
            Self::ActivityNotFoundInConversation => "The activity was not found in the conversation.",
            Self::MemberNotFoundInConversation => "The member was not found in the conversation.",
            Self::PreconditionFailed => "A concurrent operation got in the way; try again.",
            Self::MessageSizeTooBig => "Message size too large.",
            Self::Throttled => "Too many requests.",
            Self::ServiceError => "Internal server error.",
            Self::BadGateway => "Bad gateway.",
            Self::ServiceUnavailable => "The service is unavailable.",
            Self::GatewayTimeout => "The gateway gave up waiting.",
        }
    }
}

pub(super) struct ConnectorError {
    complaint: Complaint,
    /// Another one than the complaint's own, where a fault orders it.
    status: StatusCode,
    /// More telling than the complaint's own.
    message: Option<String>,
    retry_after_seconds: Option<u32>,
}

impl From<Complaint> for ConnectorError {
    fn from(complaint: Complaint) -> Self {
        Self { complaint, status: complaint.status(), message: None, retry_after_seconds: None }
    }
}

impl ConnectorError {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Complaint::BadArgument.into() }
    }

    pub(super) fn throttled(retry_after_seconds: Option<u32>) -> Self {
        Self { retry_after_seconds, ..Complaint::Throttled.into() }
    }

    /// What a fault asks for.
    pub(super) fn ordered(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status { status, retry_after_seconds } => {
                Self { status, retry_after_seconds, ..Complaint::of(status).into() }
            }
            Refusal::Connector(complaint) => complaint.into(),
            Refusal::Aadsts(_) | Refusal::ClaimsChallenge => Complaint::BotNotRegistered.into(),
        }
    }

    pub(super) fn answer(self) -> Response {
        let message = self.message.unwrap_or_else(|| self.complaint.message().to_owned());
        let body = match self.complaint {
            Complaint::MessageWritesBlocked => json!({
                "errorCode": 209,
                "message": format!(
                    "{{\r\n  \"subCode\": \"MessageWritesBlocked\",\r\n  \"details\": \"{message}\",\r\n  \
                     \"errorCode\": null,\r\n  \"errorSubCode\": null\r\n}}"
                ),
            }),
            complaint => json!({ "error": { "code": complaint, "message": message } }),
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
