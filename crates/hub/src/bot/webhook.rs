//! `POST /api/messages`: where Teams tells the bot what people do.
//!
//! **Invariant.** An activity is kept before it is answered with 200, and answered before anything follows from it: Teams
//! sends again what it has no answer to for 15 seconds. What can't be kept is answered 503, so that it comes again. What
//! people do whose organisation is not let in is not kept at all, and answered 200 as well: they are told in the chat, where
//! an error would only be shown to them as one of the app's.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use microsoft::bot::{Activity, ActivityProblem, Kind, NotTrusted, TenantProblem};
use serde_json::{Value, json};

use super::{
    Bot,
    inbox::{self, Kept},
};
use crate::{
    http::{
        extract,
        problem::{self, ApiError},
    },
    hub::Hub,
    metrics::{ActivityAnswer, ActivityKind},
};

/// The bot's messaging endpoint, under `public_url`.
pub const PATH: &str = "/api/messages";

/// Microsoft's own activities stay below 100 KB.
const BYTES_MAX: usize = 256 * 1024;

/// The routes of this file.
pub fn routes(hub: Hub) -> Router {
    Router::new().route(PATH, get(here).post(take)).layer(DefaultBodyLimit::max(BYTES_MAX)).with_state(hub)
}

/// Says that there is a bot, to who looks by `HEAD` or `GET`.
async fn here(State(hub): State<Hub>) -> Result<StatusCode, ApiError> {
    bot(&hub).map(|_| StatusCode::OK)
}

async fn take(State(hub): State<Hub>, request: Request) -> Result<Response, ApiError> {
    let bot = bot(&hub)?;
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut kind = ActivityKind::Unreadable;
    let answer = match extract::body(request, &hub).await {
        Ok(body) => answer(&hub, bot, authorization.as_deref(), &body, &mut kind).await,
        Err(problem) => Err(problem),
    };
    hub.metrics.activity(kind, answer.as_ref().map_or(ActivityAnswer::Refused, |(counted, _)| *counted));
    answer.map(|(_, response)| response)
}

/// `kind` is told once it is known, also where the activity is refused.
async fn answer(
    hub: &Hub,
    bot: &Bot,
    authorization: Option<&str>,
    body: &Bytes,
    kind: &mut ActivityKind,
) -> Result<(ActivityAnswer, Response), ApiError> {
    let activity = Activity::parse(body);
    if let Ok(activity) = &activity {
        *kind = ActivityKind::of(&activity.kind);
    }
    // Before anything is said of the body: strangers learn nothing of it.
    let vouched = bot.inbound.check(authorization, hub.clock.now()).await?;
    let activity = activity?;
    vouched.vouches_for(&activity)?;
    if !bot.services.allow(&activity.service_url) {
        return Err(not_trusted("The bot does not speak to this service URL (setting `bot.service_hosts`)."));
    }
    if activity.tenant() == Err(TenantProblem::Contradiction) {
        return Err(not_trusted("The activity names two tenants."));
    }
    if let Kind::Invoke { name, value } = &activity.kind {
        return Ok((ActivityAnswer::Ignored, asked_back(name, value)));
    }
    let counted = match inbox::keep(hub, &activity, body).await.map_err(|error| unavailable(&error))? {
        Kept::Received => ActivityAnswer::Received,
        Kept::Repeated => ActivityAnswer::Repeated,
        Kept::TurnedAway => ActivityAnswer::TurnedAway,
        Kept::Ignored => ActivityAnswer::Ignored,
    };
    Ok((counted, StatusCode::OK.into_response()))
}

/// The answer to a question of Teams. Sign-ins go by the panel, so none of them brings anything here.
fn asked_back(name: &str, value: &Value) -> Response {
    match name {
        "signin/verifyState" => Json(json!({})).into_response(),
        "signin/tokenExchange" => {
            let refused = json!({
                "id": value["id"], "connectionName": value["connectionName"],
                "failureDetail": "This bot exchanges no tokens.",
            });
            (StatusCode::PRECONDITION_FAILED, Json(refused)).into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

fn bot(hub: &Hub) -> Result<&Bot, ApiError> {
    hub.bot
        .as_ref()
        .ok_or_else(|| ApiError::new(problem::Kind::NotFound, "This hub has no bot ([bot] is not set)."))
}

fn not_trusted(detail: &str) -> ApiError {
    tracing::warn!(problem = detail, "An activity was refused.");
    ApiError::new(problem::Kind::ActivityNotTrusted, detail)
}

fn unavailable(error: &anyhow::Error) -> ApiError {
    tracing::error!(error = format!("{error:#}"), "An activity could not be kept.");
    ApiError::new(problem::Kind::Unavailable, "The activity could not be kept; send it again.")
}

impl From<ActivityProblem> for ApiError {
    fn from(problem: ActivityProblem) -> Self {
        let kind = match problem {
            ActivityProblem::TooLarge => problem::Kind::TooLarge,
            _ => problem::Kind::InvalidRequest,
        };
        Self::new(kind, format!("It can't be used: {problem}."))
    }
}

impl From<NotTrusted> for ApiError {
    fn from(refusal: NotTrusted) -> Self {
        let kind = match &refusal {
            NotTrusted::Unauthenticated => problem::Kind::BotTokenMissing,
            NotTrusted::Forbidden { .. } => return not_trusted(&format!("It is not believed: {refusal}.")),
            NotTrusted::Unavailable(error) => {
                tracing::error!(%error, "Whether an activity is to be believed can't be found out.");
                problem::Kind::Unavailable
            }
        };
        Self::new(kind, format!("It is not believed: {refusal}."))
    }
}
