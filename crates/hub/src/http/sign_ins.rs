//! Sign-ins for clients of the API: a link for an account, what became of it, and the word that it was the right person.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    AccountId, ObjectId, PersonId, SignInId, TenantId,
    sign_in::{FailureReason, SignIn, Stage},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Caller,
    extract::{ApiJson, ApiPath},
    idempotency::IdempotencyKey,
    problem::{ApiError, Kind, Problem},
};
use crate::{
    hub::Hub,
    services::sign_ins::{self, Invitation, NotConfirmed, NotInvited, Wish},
};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(invite)).routes(routes!(show)).routes(routes!(confirm))
}

/// A sign-in for an account of the product.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The product's own id of the user: 1 to 256 bytes.
    #[schema(value_type = String, example = "u-1001")]
    account: AccountId,
    /// Who is expected to sign in. Then nobody else can, and no confirmation is needed.
    expected: Option<PersonRef>,
    /// One of the client's registered return URLs. Where nobody is expected, the browser brings the one-time code there.
    #[schema(example = "https://product.example.com/teams-linked")]
    return_url: Option<String>,
}

/// A person in Microsoft's terms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonRef {
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    #[schema(value_type = uuid::Uuid)]
    object_id: ObjectId,
}

impl From<PersonRef> for PersonId {
    fn from(PersonRef { tenant, object_id }: PersonRef) -> Self {
        Self { tenant, object_id }
    }
}

impl From<PersonId> for PersonRef {
    fn from(PersonId { tenant, object_id }: PersonId) -> Self {
        Self { tenant, object_id }
    }
}

/// A link to be followed in a browser, once.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInLink {
    #[schema(value_type = uuid::Uuid)]
    id: SignInId,
    /// Give it to the user; whoever has it can sign in by it.
    url: String,
    /// RFC 3339.
    lapses_at: String,
    /// Where in the log it was recorded.
    position: String,
}

/// Makes a sign-in link. The same `Idempotency-Key` brings the same link.
#[utoipa::path(
    post, path = "/v1/sign-ins", tag = "sign-ins", request_body = SignInRequest,
    params(("Idempotency-Key" = String, Header, description = "Names this request for ever; 1 to 200 visible ASCII characters.")),
    responses(
        (status = 201, body = SignInLink),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn invite(
    State(hub): State<Hub>,
    caller: Caller,
    key: IdempotencyKey,
    ApiJson(request): ApiJson<SignInRequest>,
) -> Result<Response, ApiError> {
    let SignInRequest { account, expected, return_url } = request;
    let wish = Wish { account, expected: expected.map(Into::into), return_url };
    let Invitation { id, url, lapses_at, position } = sign_ins::invite(&hub, &caller, &key.0, wish).await?;
    let position = hub.position(position);
    let link = SignInLink { id, url: url.into(), lapses_at: lapses_at.to_string(), position };
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/sign-ins/{id}"))], axum::Json(link))
        .into_response())
}

/// What became of a sign-in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInView {
    #[schema(value_type = uuid::Uuid)]
    id: SignInId,
    status: SignInStatus,
    lapses_at: String,
    /// Who signed in, once somebody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<PersonRef>,
    /// Why the last attempt came to nothing, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    failure: Option<FailureReason>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignInStatus {
    /// The link is good.
    Open,
    /// Somebody signed in, and the client has to confirm that it was its user.
    Provisional,
    Completed,
    /// The account belongs to another person.
    Refused,
    Lapsed,
}

/// Shows a sign-in that this client asked for.
#[utoipa::path(
    get, path = "/v1/sign-ins/{id}", tag = "sign-ins", params(SignInPath),
    responses(
        (status = 200, body = SignInView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    ApiPath(SignInPath { id }): ApiPath<SignInPath>,
) -> Result<axum::Json<SignInView>, ApiError> {
    let state = hub.commands.load::<SignIn>(id).await.map_err(anyhow::Error::from)?.state;
    let request = state.request.as_ref().filter(|request| request.client() == Some(&caller.client));
    let request = request.ok_or_else(no_such_sign_in)?;
    let status = match state.stage {
        Stage::Completed => SignInStatus::Completed,
        Stage::Refused => SignInStatus::Refused,
        _ if !state.is_open(hub.clock.now()) => SignInStatus::Lapsed,
        Stage::Provisional => SignInStatus::Provisional,
        _ => SignInStatus::Open,
    };
    Ok(axum::Json(SignInView {
        id,
        status,
        lapses_at: request.lapses_at.to_string(),
        person: state.authorized.as_ref().map(|authorized| authorized.person.into()),
        failure: state.last_failure,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
struct SignInPath {
    #[param(value_type = uuid::Uuid)]
    id: SignInId,
}

/// The code that the browser brought.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    code: String,
}

/// Confirms a provisional sign-in: the browser that came to the return URL is logged in as the account's user. Doing it
/// again changes nothing.
#[utoipa::path(
    post, path = "/v1/sign-ins/{id}/confirm", tag = "sign-ins", params(SignInPath), request_body = ConfirmRequest,
    responses(
        (status = 204),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn confirm(
    State(hub): State<Hub>,
    caller: Caller,
    ApiPath(SignInPath { id }): ApiPath<SignInPath>,
    ApiJson(request): ApiJson<ConfirmRequest>,
) -> Result<StatusCode, ApiError> {
    sign_ins::confirm(&hub, &caller.client, id, &request.code).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_sign_in() -> ApiError {
    ApiError::new(Kind::NotFound, "This client has asked for no sign-in of this id.")
}

impl From<NotInvited> for ApiError {
    fn from(refusal: NotInvited) -> Self {
        let kind = match refusal {
            NotInvited::ReturnUrlNotRegistered | NotInvited::ReturnUrlNeeded => {
                return Self::new(Kind::InvalidRequest, refusal.to_string()).with("field", "return_url");
            }
            NotInvited::TenantNotAllowed => Kind::Forbidden,
            NotInvited::KeyReused => Kind::IdempotencyKeyReused,
            NotInvited::Trouble(error) => return error.into(),
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<NotConfirmed> for ApiError {
    fn from(refusal: NotConfirmed) -> Self {
        let kind = match refusal {
            NotConfirmed::NoSuchSignIn => return no_such_sign_in(),
            NotConfirmed::WrongCode | NotConfirmed::TenantNotAdmitted => Kind::Forbidden,
            NotConfirmed::Refused(_) | NotConfirmed::AccountLinkedElsewhere => Kind::Conflict,
            NotConfirmed::Trouble(error) => return error.into(),
        };
        Self::new(kind, refusal.to_string())
    }
}
