//! Tenants: who may sign in from them, which way messages reach their people, and how their connections are.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State, http::StatusCode};
use domain::{
    Surface, SurfaceChoice, TenantId, Timestamp,
    tenant::{Admission, Command, Name, Policy},
};
use projections::connections::queries::{self, TenantSummary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::{Limit, Page, from_cursor, wait_for};
use crate::{
    http::{
        RequestId,
        auth::Caller,
        extract::{ApiJson, ApiPath, ApiQuery},
        problem::{ApiError, Kind, Problem},
    },
    hub::Hub,
    services::people::decide_on_tenant,
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(admit))
        .routes(routes!(block))
        .routes(routes!(set_policy))
}

/// An organisation at Microsoft.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    #[schema(value_type = uuid::Uuid)]
    id: TenantId,
    /// What people call it, where an operator said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "Contoso")]
    name: Option<Name>,
    /// `unspecified`: the setting `sign_in.tenants` decides.
    #[schema(value_type = String, example = "admitted")]
    admission: Admission,
    /// When somebody of this tenant signed in first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    first_seen_at: Option<Timestamp>,
    policy: PolicyBody,
    /// The ways by which deliveries are held back (`graph`, `bot`), because too many in a row had an unknown outcome.
    #[schema(value_type = Vec<String>)]
    breakers_open: BTreeSet<Surface>,
    /// How many connections there are of each status.
    connections: BTreeMap<String, u64>,
}

impl From<TenantSummary> for TenantView {
    fn from(TenantSummary { tenant, row, connections }: TenantSummary) -> Self {
        Self {
            id: tenant,
            name: row.name,
            admission: row.admission,
            first_seen_at: row.first_seen_at,
            policy: row.policy.into(),
            breakers_open: row.breakers,
            connections: connections.into_iter().collect(),
        }
    }
}

/// How things are done in a tenant. What is not given is as the hub's settings have it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// Which way messages go that name none: `graph`, `bot` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(graph|bot|auto)$", example = "auto")]
    surface: Option<SurfaceChoice>,
    /// Whether people may come by the product's own password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<bool>,
}

impl From<Policy> for PolicyBody {
    fn from(Policy { surface, password }: Policy) -> Self {
        Self { surface, password }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    cursor: Option<String>,
    /// 1 to 200; 50 if nothing is said.
    #[serde(default)]
    #[param(value_type = Option<u16>)]
    limit: Limit,
    /// A position: the answer waits for what was recorded up to there.
    after: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    after_tenant: TenantId,
}

/// Lists tenants, in the order of their ids.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", params(ListQuery),
    responses((status = 200, body = Page<TenantView>)),
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Page<TenantView>>, ApiError> {
    let from = from_cursor::<Cursor>(query.cursor.as_deref())?.map(|cursor| cursor.after_tenant);
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    let limit = query.limit;
    let tenants = queries::tenants(&hub.connections, from, caller.tenants, limit.rows() + 1).await?;
    let cursor = |last: &TenantSummary| Cursor { after_tenant: last.tenant };
    Ok(Json(Page::of(tenants, limit, cursor, TenantView::from)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct TenantPath {
    #[param(value_type = uuid::Uuid)]
    tid: TenantId,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// A position: the answer waits for what was recorded up to there.
    after: Option<String>,
}

/// Shows a tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{tid}", tag = "tenants", params(TenantPath, ShowQuery),
    responses(
        (status = 200, body = TenantView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    ApiPath(TenantPath { tid }): ApiPath<TenantPath>,
    ApiQuery(query): ApiQuery<ShowQuery>,
) -> Result<Json<TenantView>, ApiError> {
    check_visible(&caller, tid)?;
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    let found = queries::tenants(&hub.connections, None, Some(vec![tid]), 1).await?.pop();
    found.map(|found| Json(found.into())).ok_or_else(no_such_tenant)
}

/// Something was recorded, or had been before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recorded {
    /// Where in the log: good for `?after=`.
    pub(super) position: String,
}

/// What there is to say of a tenant that is admitted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmitBody {
    /// What people call it, in clear: the login panel shows it. Without one it keeps the name that it has.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, example = "Contoso")]
    name: Option<Name>,
}

/// Lets people of this tenant sign in, whether one of them has been seen or not.
#[utoipa::path(
    post, path = "/v1/tenants/{tid}/admit", tag = "tenants", params(TenantPath),
    request_body = Option<AdmitBody>,
    responses(
        (status = 202, body = Recorded),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn admit(
    State(hub): State<Hub>,
    caller: Caller,
    id: RequestId,
    ApiPath(TenantPath { tid }): ApiPath<TenantPath>,
    body: Option<ApiJson<AdmitBody>>,
) -> Result<(StatusCode, Json<Recorded>), ApiError> {
    let name = body.and_then(|ApiJson(AdmitBody { name })| name);
    decide(&hub, &caller, id, tid, Command::Admit { name }).await
}

/// Keeps people of this tenant from signing in, and messages from them: new ones are refused, and what waits parks until the
/// tenant is admitted again. Who is linked stays linked.
#[utoipa::path(
    post, path = "/v1/tenants/{tid}/block", tag = "tenants", params(TenantPath),
    responses((status = 202, body = Recorded)),
)]
async fn block(
    State(hub): State<Hub>,
    caller: Caller,
    id: RequestId,
    ApiPath(TenantPath { tid }): ApiPath<TenantPath>,
) -> Result<(StatusCode, Json<Recorded>), ApiError> {
    decide(&hub, &caller, id, tid, Command::Block).await
}

/// Sets how things are done in this tenant: the whole policy, what is not given being as the hub's settings have it. Messages
/// accepted before keep the way that they had.
#[utoipa::path(
    put, path = "/v1/tenants/{tid}/policy", tag = "tenants", params(TenantPath), request_body = PolicyBody,
    responses(
        (status = 202, body = Recorded),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn set_policy(
    State(hub): State<Hub>,
    caller: Caller,
    id: RequestId,
    ApiPath(TenantPath { tid }): ApiPath<TenantPath>,
    ApiJson(PolicyBody { surface, password }): ApiJson<PolicyBody>,
) -> Result<(StatusCode, Json<Recorded>), ApiError> {
    decide(&hub, &caller, id, tid, Command::SetPolicy(Policy { surface, password })).await
}

async fn decide(
    hub: &Hub,
    caller: &Caller,
    RequestId(request): RequestId,
    tenant: TenantId,
    command: Command,
) -> Result<(StatusCode, Json<Recorded>), ApiError> {
    check_visible(caller, tenant)?;
    let position = decide_on_tenant(hub, caller, request, tenant, command).await?;
    Ok((StatusCode::ACCEPTED, Json(Recorded { position: hub.position(position) })))
}

/// What a client may not see is not there.
pub(super) fn check_visible(caller: &Caller, tenant: TenantId) -> Result<(), ApiError> {
    if caller.may_see(tenant) { Ok(()) } else { Err(no_such_tenant()) }
}

fn no_such_tenant() -> ApiError {
    ApiError::new(Kind::NotFound, "There is no such tenant, or this client may not see it.")
}
