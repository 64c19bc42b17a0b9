//! Clients of the API and their keys, for administrators.
//!
//! A change is answered once this hub acts on it. What makes a key can't be repeated: the key is shown in that one
//! answer, so whoever lost it makes another and revokes the first.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    ClientId, CommandId, TenantId, Timestamp,
    audit::{self, Audit},
    client::{Profile, Refusal, Role},
};
use serde::{Deserialize, Serialize};
use store::Position;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    commands::{Context, Failure},
    http::{
        RequestId,
        auth::Caller,
        extract::{ApiJson, ApiPath, invalid},
        idempotency::IdempotencyKey,
        problem::{ApiError, Kind, Problem},
    },
    hub::Hub,
    services::clients::{ClientView, Clients, IssuedKey, NotDone},
};

/// How long a change may take to reach the keys in memory before the answer says that it will be in force later.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a replaced key stays good if nothing is said.
const KEEP_OLD_DEFAULT_S: u64 = 24 * 60 * 60;

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(create_key))
        .routes(routes!(rotate_key))
        .routes(routes!(revoke_key))
        .routes(routes!(change_role))
}

/// A backend of the product that is to use the API.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter. It can't be changed.
    #[schema(value_type = String, example = "okr-backend")]
    id: ClientId,
    /// `service`, `auditor`, `operator` or `admin`.
    #[schema(value_type = String, example = "service")]
    role: Role,
    /// Restricts it to what concerns these tenants.
    #[schema(value_type = Option<Vec<Uuid>>)]
    tenants: Option<Vec<TenantId>>,
    /// Where a browser may be sent after a sign-in that this client began: `https://` addresses, compared as written.
    #[serde(default)]
    return_urls: Vec<String>,
}

/// A client that was made known.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedClient {
    #[schema(value_type = String)]
    id: ClientId,
    /// Where in the log it was recorded.
    position: String,
}

/// Makes a client known. It can do nothing before it has a key.
///
/// Repeating the request with the same `Idempotency-Key` brings the same answer.
#[utoipa::path(
    post, path = "/v1/clients", tag = "clients", request_body = NewClient,
    params(("Idempotency-Key" = String, Header, description = "Names this request for ever; 1 to 200 visible ASCII characters.")),
    responses(
        (status = 201, body = CreatedClient),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    request_id: RequestId,
    key: IdempotencyKey,
    ApiJson(NewClient { id, role, tenants, return_urls }): ApiJson<NewClient>,
) -> Result<Response, ApiError> {
    let command_id =
        CommandId::new(format!("create/{}", hub.custody.name_uuid("client", &caller.client, &key.0)));
    let profile = Profile { role, tenants, return_urls };
    let position = clients(&hub, &caller, request_id)?.create(&id, &command_id, profile).await?;
    let location = format!("/v1/clients/{id}");
    let created = CreatedClient { id, position: hub.position(position) };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)).into_response())
}

/// All clients.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientList {
    items: Vec<ClientView>,
}

/// Lists the clients with their keys, by name. That they were listed is recorded.
#[utoipa::path(get, path = "/v1/clients", tag = "clients", responses((status = 200, body = ClientList)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    RequestId(request_id): RequestId,
) -> Result<Json<ClientList>, ApiError> {
    check_unrestricted(&caller)?;
    let context = Context::client(&caller.client, request_id.to_string());
    let listed = audit::Event::KeyListed { client: caller.client };
    hub.commands.begin::<Audit>(hub.ids.uuid(), &CommandId::new("read"), &context, listed).await?;
    let clients = projections::clients::all(&hub.clients).await?;
    Ok(Json(ClientList { items: clients.into_iter().map(|(id, row)| ClientView::of(id, row)).collect() }))
}

#[derive(Debug, Deserialize, IntoParams)]
struct ClientPath {
    #[param(value_type = String)]
    client: ClientId,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// RFC 3339. Without it the key is good until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Makes a key for a client. The key is shown in this answer only, and the request can't be repeated: each makes another
/// key.
#[utoipa::path(
    post, path = "/v1/clients/{client}/keys", tag = "clients", params(ClientPath), request_body = NewKey,
    responses(
        (status = 201, body = IssuedKey),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_key(
    State(hub): State<Hub>,
    caller: Caller,
    request_id: RequestId,
    ApiPath(ClientPath { client }): ApiPath<ClientPath>,
    ApiJson(NewKey { expires_at }): ApiJson<NewKey>,
) -> Result<Response, ApiError> {
    let issued = clients(&hub, &caller, request_id)?.create_key(&client, expires_at).await?;
    Ok(shown_once(&hub, issued).await)
}

#[derive(Debug, Deserialize, IntoParams)]
struct KeyPath {
    #[param(value_type = String)]
    client: ClientId,
    /// The id of the key, not the key itself.
    key: Uuid,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the replaced key stays good, in seconds: a day if nothing is said, 90 days at most.
    keep_old_for_s: Option<u64>,
    /// RFC 3339. Without it the new key is good until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Makes a key in the place of another. The key is shown in this answer only, and the request can't be repeated.
#[utoipa::path(
    post, path = "/v1/clients/{client}/keys/{key}/rotate", tag = "clients", params(KeyPath), request_body = Rotation,
    responses(
        (status = 201, body = IssuedKey),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn rotate_key(
    State(hub): State<Hub>,
    caller: Caller,
    request_id: RequestId,
    ApiPath(KeyPath { client, key }): ApiPath<KeyPath>,
    ApiJson(Rotation { keep_old_for_s, expires_at }): ApiJson<Rotation>,
) -> Result<Response, ApiError> {
    let keep_old_for = Duration::from_secs(keep_old_for_s.unwrap_or(KEEP_OLD_DEFAULT_S));
    let issued =
        clients(&hub, &caller, request_id)?.rotate_key(&client, key, keep_old_for, expires_at).await?;
    Ok(shown_once(&hub, issued).await)
}

/// Ends a key at once.
#[utoipa::path(
    delete, path = "/v1/clients/{client}/keys/{key}", tag = "clients", params(KeyPath),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
async fn revoke_key(
    State(hub): State<Hub>,
    caller: Caller,
    request_id: RequestId,
    ApiPath(KeyPath { client, key }): ApiPath<KeyPath>,
) -> Result<StatusCode, ApiError> {
    let position = clients(&hub, &caller, request_id)?.revoke_key(&client, key).await?;
    in_force(&hub, position).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// `service`, `auditor`, `operator` or `admin`.
    #[schema(value_type = String, example = "operator")]
    role: Role,
}

/// Changes what a client may do.
#[utoipa::path(
    post, path = "/v1/clients/{client}/role", tag = "clients", params(ClientPath), request_body = RoleChange,
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
async fn change_role(
    State(hub): State<Hub>,
    caller: Caller,
    request_id: RequestId,
    ApiPath(ClientPath { client }): ApiPath<ClientPath>,
    ApiJson(RoleChange { role }): ApiJson<RoleChange>,
) -> Result<StatusCode, ApiError> {
    let position = clients(&hub, &caller, request_id)?.change_role(&client, role).await?;
    in_force(&hub, position).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever sees some tenants only could make a client that sees them all.
fn check_unrestricted(caller: &Caller) -> Result<(), ApiError> {
    let detail = "A client that is restricted to tenants can't manage clients.";
    if caller.tenants.is_some() { Err(ApiError::new(Kind::Forbidden, detail)) } else { Ok(()) }
}

fn clients<'a>(
    hub: &'a Hub,
    caller: &Caller,
    RequestId(request_id): RequestId,
) -> Result<Clients<'a>, ApiError> {
    check_unrestricted(caller)?;
    Ok(Clients {
        store: &*hub.store,
        commands: &hub.commands,
        clock: &*hub.clock,
        ids: &*hub.ids,
        context: Context::client(&caller.client, request_id.to_string()),
        loopback_http: hub.config.loopback_http,
    })
}

/// Waits until requests are let in, or not, as of `position`.
async fn in_force(hub: &Hub, position: Position) -> Result<(), ApiError> {
    if let Err(behind) = hub.clients.wait_for(position, PATIENCE).await {
        tracing::warn!("A change of keys is recorded, but not in force yet: {behind}");
        let detail = "The change is recorded, but not in force yet; list the clients to see when it is.";
        return Err(ApiError::new(Kind::Behind, detail));
    }
    Ok(hub.keys.reload(hub).await?)
}

/// The key is shown even where it will only be good in a moment: it would be lost otherwise.
async fn shown_once(hub: &Hub, issued: IssuedKey) -> Response {
    if let Err(error) = in_force(hub, issued.position).await {
        tracing::warn!(key.id = %issued.key_id, "A new key is not good yet: {}", error.detail());
    }
    (StatusCode::CREATED, Json(issued)).into_response()
}

impl From<NotDone> for ApiError {
    fn from(refusal: NotDone) -> Self {
        match refusal {
            NotDone::Invalid { field, problem } => invalid(field, &problem),
            NotDone::KeyReused => Self::new(Kind::IdempotencyKeyReused, format!("{refusal}.")),
            NotDone::Failed(Failure::Refused(Refusal::NoSuchClient)) => {
                Self::new(Kind::NotFound, "There is no such client.")
            }
            NotDone::Failed(Failure::Refused(Refusal::NoSuchKey)) => {
                Self::new(Kind::NotFound, "The client has no such key, or it is revoked.")
            }
            NotDone::Failed(failure) => failure.into(),
            NotDone::Trouble(error) => error.into(),
        }
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests;
