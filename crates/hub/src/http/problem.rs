//! What goes wrong at the API, told as RFC 9457 problems.
//!
//! **Invariant.** Only this file knows status codes, and nothing of an internal error leaves the hub but that there was
//! one: its text goes to the log.

use std::{fmt::Display, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::extract::ApiPath;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $slug:literal $title:literal;)*) => {
        /// What kind of problem it is; the client tells them apart by `type`, which is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The last part of `type`.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    InvalidRequest = 400 "invalid-request" "The request is not valid";
    IdempotencyKeyMissing = 400 "idempotency-key-missing" "An Idempotency-Key header is needed";
    Unauthenticated = 401 "unauthenticated" "A valid API key is needed";
    /// At the bot's endpoint, where Microsoft's token counts and no API key.
    BotTokenMissing = 401 "bot-token-missing" "A token of the Bot Framework is needed";
    Forbidden = 403 "forbidden" "This API key may not do that";
    /// The token is not good, or does not vouch for this activity.
    ActivityNotTrusted = 403 "activity-not-trusted" "The activity is not trusted";
    NotFound = 404 "not-found" "There is nothing here";
    /// The account or person never completed a sign-in.
    RecipientNotLinked = 404 "recipient-not-linked" "The recipient is not linked";
    MethodNotAllowed = 405 "method-not-allowed" "The method is not allowed here";
    /// The state of the thing does not permit it.
    Conflict = 409 "conflict" "That can't be done in the present state";
    /// The same idempotency key is being worked on.
    InProgress = 409 "request-in-progress" "The first request with this Idempotency-Key is still in progress";
    PositionOfAnotherStore = 409 "position-of-another-store" "The position belongs to another store";
    TooLarge = 413 "too-large" "The request is too large";
    UnsupportedMediaType = 415 "unsupported-media-type" "The content type is not supported";
    IdempotencyKeyReused = 422 "idempotency-key-reused" "The Idempotency-Key was used for another request";
    /// The whole text of a message is a command of the bot.
    BotCommand = 422 "bot-command" "The bot would take that for a command";
    TooManyRequests = 429 "too-many-requests" "Too many requests";
    Internal = 500 "internal" "Something went wrong in the hub";
    TimedOut = 503 "timed-out" "The request took too long";
    /// A read model has not got to the wanted position in time.
    Behind = 503 "behind" "The answer is not that recent yet";
    Unavailable = 503 "unavailable" "The hub can't do that right now";
}

/// The answer to a request that failed.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    more: Map<String, Value>,
    retry_after: Option<Duration>,
    allow: Option<String>,
}

impl ApiError {
    /// `detail` says what was wrong with this very request, to the person who wrote the client.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner { kind, detail, more: Map::new(), retry_after: None, allow: None }))
    }

    /// Logs the cause, in full; the client learns nothing of it.
    pub fn internal(cause: impl Display) -> Self {
        tracing::error!(error = format!("{cause:#}"), "request failed");
        Self::new(Kind::Internal, "The hub's log tells more, under the id of this request.")
    }

    /// An extension member of the problem (RFC 9457 section 3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// When to try again: in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Which methods there are (RFC 9110 section 15.5.6).
    #[must_use]
    pub(super) fn allow(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// As it is told: alone as the body of an answer, or as a part of one.
    pub fn problem(&self) -> Problem {
        let Inner { kind, detail, more, .. } = &*self.0;
        Problem { detail: Some(detail.clone()), more: more.clone(), ..Problem::of(*kind) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let Inner { kind, retry_after, allow, .. } = *self.0;
        let status = StatusCode::from_u16(kind.status()).expect("the kinds have good status codes");
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(kind, Kind::Unauthenticated | Kind::BotTokenMissing) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = retry_after {
            let seconds = wait.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX));
            headers.insert(header::RETRY_AFTER, u64::try_from(seconds).unwrap_or(u64::MAX).into());
        }
        if let Some(allow) = allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

/// `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem, and stays the same from version to version.
    #[serde(rename = "type")]
    #[schema(example = "/problems/idempotency-key-reused")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What was wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Members of this kind of problem, such as `field` for the part of the request that is wrong.
    #[serde(flatten)]
    #[schema(inline, value_type = std::collections::BTreeMap<String, Value>)]
    pub more: Map<String, Value>,
}

impl Problem {
    fn of(kind: Kind) -> Self {
        let (status, title) = (kind.status(), kind.title().to_owned());
        Self { kind: format!("/problems/{}", kind.slug()), title, status, detail: None, more: Map::new() }
    }
}

/// What a problem's `type` means.
#[utoipa::path(
    get, path = "/problems/{kind}", tag = "operations",
    params(("kind" = String, Path, description = "The last part of a problem's `type`.")),
    responses((status = 200, body = Problem)),
)]
pub(super) async fn describe(ApiPath(slug): ApiPath<String>) -> Result<Json<Problem>, ApiError> {
    let kind = Kind::ALL.iter().find(|kind| kind.slug() == slug);
    kind.map(|kind| Json(Problem::of(*kind))).ok_or_else(|| ApiError::new(Kind::NotFound, "No such problem."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_types_are_unique() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (wait, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let error = ApiError::new(Kind::Behind, "").retry_after(Duration::from_millis(wait));
            assert_eq!(error.into_response().headers()["retry-after"], header);
        }
    }
}
