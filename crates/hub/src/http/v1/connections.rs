//! People and their links to Microsoft: the state of their grants, and who they are for those who may know.

use axum::{Json, extract::State, http::StatusCode};
use domain::{
    AccountId, Diagnosis, ObjectId, PersonId, TenantId, Timestamp,
    client::Role,
    connection::{Reachable, ReauthorizationReason, Status},
};
use projections::connections::{ConnectionRow, GrantRow, Key, Row, queries, status_name};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    paging::{Limit, Page, from_cursor, wait_for},
    tenants::{Recorded, check_visible},
};
use crate::{
    http::{
        RequestId,
        auth::Caller,
        extract::{ApiPath, ApiQuery},
        problem::{ApiError, Kind, Problem},
        sign_ins::PersonRef,
    },
    hub::Hub,
    services::people::{self, InClear, NotUnlinked},
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(unlink))
}

/// A person's link to Microsoft. Nothing in it is personal beyond Microsoft's ids, unless it was asked to be revealed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionView {
    person: PersonRef,
    status: ConnectionStatus,
    /// Why only a new sign-in helps, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "grant_dead")]
    why: Option<ReauthorizationReason>,
    /// Codes and ids of Microsoft's last answer, where it was a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    diagnosis: Option<Diagnosis>,
    /// The grant in force, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantView>,
    #[schema(value_type = String, format = DateTime)]
    linked_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// The chat between the person and the bot was found.
    chat_known: bool,
    /// Whether the bot may write to the person, by itself: `installed`, `removed` or `blocked`; absent before it was ever
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "installed")]
    bot: Option<Reachable>,
    /// How many accounts of the product are this person's.
    accounts: usize,
    /// Only with `reveal=profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileView>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionStatus {
    /// By the product's password: there is no Microsoft token.
    Linked,
    Active,
    ReauthorizationRequired,
    ConsentRequired,
    Suspended,
    Unlinked,
}

impl ConnectionStatus {
    /// `None` for the moment between an account's link and its person's first event.
    fn of(status: Status) -> Option<Self> {
        match status {
            Status::Absent => None,
            Status::Linked => Some(Self::Linked),
            Status::Active => Some(Self::Active),
            Status::ReauthorizationRequired => Some(Self::ReauthorizationRequired),
            Status::ConsentRequired => Some(Self::ConsentRequired),
            Status::Suspended => Some(Self::Suspended),
            Status::Unlinked => Some(Self::Unlinked),
        }
    }

    fn name(self) -> &'static str {
        status_name(match self {
            Self::Linked => Status::Linked,
            Self::Active => Status::Active,
            Self::ReauthorizationRequired => Status::ReauthorizationRequired,
            Self::ConsentRequired => Status::ConsentRequired,
            Self::Suspended => Status::Suspended,
            Self::Unlinked => Status::Unlinked,
        })
    }
}

/// What one interactive sign-in gave.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantView {
    /// The sign-in that brought it.
    id: uuid::Uuid,
    /// Counts this person's grants from 1.
    number: u64,
    /// Counts the grant's pairs of tokens from 1.
    generation: u64,
    scopes: Vec<String>,
    /// When the newest pair came.
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    /// When its access token expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    expired: bool,
}

impl From<GrantRow> for GrantView {
    fn from(row: GrantRow) -> Self {
        let GrantRow { id, number, generation, scopes, issued_at, expires_at, expired } = row;
        Self { id: id.0, number, generation, scopes, issued_at, expires_at, expired }
    }
}

/// Personal data in clear. That it was shown is on record.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileView {
    /// The data was erased for good.
    erased: bool,
    name: Option<String>,
    user_principal_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    accounts: Vec<String>,
}

impl From<InClear> for ProfileView {
    fn from(InClear { profile, accounts }: InClear) -> Self {
        let erased = profile.is_none();
        let verified = profile.as_ref().is_some_and(|profile| profile.email_verified);
        let (name, user_principal_name, email) = match profile {
            Some(profile) => (profile.name, profile.user_principal_name, profile.email),
            None => (None, None, None),
        };
        Self { erased, name, user_principal_name, email, email_verified: verified, accounts }
    }
}

impl ConnectionView {
    fn of(row: ConnectionRow) -> Option<Self> {
        Some(Self {
            person: row.person.into(),
            status: ConnectionStatus::of(row.status)?,
            why: row.why,
            diagnosis: row.diagnosis,
            grant: row.grant.map(GrantView::from),
            linked_at: row.linked_at,
            changed_at: row.changed_at,
            chat_known: row.chat_known,
            bot: row.bot,
            accounts: row.accounts.len(),
            profile: None,
        })
    }
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
struct ListQuery {
    #[param(inline)]
    status: Option<ConnectionStatus>,
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
    after_object: ObjectId,
}

/// Lists the connections of a tenant's people, in the order of their object ids.
#[utoipa::path(
    get, path = "/v1/tenants/{tid}/connections", tag = "connections", params(TenantPath, ListQuery),
    responses((status = 200, body = Page<ConnectionView>)),
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    ApiPath(TenantPath { tid }): ApiPath<TenantPath>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Page<ConnectionView>>, ApiError> {
    check_visible(&caller, tid)?;
    let from = from_cursor::<Cursor>(query.cursor.as_deref())?.map(|cursor| cursor.after_object.to_string());
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    let status = query.status.map(|status| status.name().to_owned());
    let limit = query.limit;
    let rows = queries::connections(&hub.connections, tid, from, status, limit.rows() + 1).await?;
    let cursor = |(_, last): &(_, ConnectionRow)| Cursor { after_object: last.person.object_id };
    let Page { items, next_cursor } = Page::of(rows, limit, cursor, |(_, row)| ConnectionView::of(row));
    Ok(Json(Page { items: items.into_iter().flatten().collect(), next_cursor }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct PersonPath {
    #[param(value_type = uuid::Uuid)]
    tid: TenantId,
    #[param(value_type = uuid::Uuid)]
    oid: ObjectId,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// Personal data to be shown in clear. For auditors and admins; it is recorded who asked.
    #[param(inline)]
    reveal: Option<Reveal>,
    /// A position: the answer waits for what was recorded up to there.
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reveal {
    /// Name, user principal name, e-mail and accounts.
    Profile,
}

/// Shows a person's connection.
#[utoipa::path(
    get, path = "/v1/tenants/{tid}/connections/{oid}", tag = "connections", params(PersonPath, ShowQuery),
    responses(
        (status = 200, body = ConnectionView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    RequestId(request): RequestId,
    ApiPath(PersonPath { tid, oid }): ApiPath<PersonPath>,
    ApiQuery(query): ApiQuery<ShowQuery>,
) -> Result<Json<ConnectionView>, ApiError> {
    check_visible(&caller, tid)?;
    if query.reveal.is_some() && !matches!(caller.role, Role::Auditor | Role::Admin) {
        return Err(ApiError::new(
            Kind::Forbidden,
            "Only auditors and admins may have personal data revealed.",
        ));
    }
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    let id = PersonId { tenant: tid, object_id: oid }.connection();
    let Some(Row::Connection(row)) = hub.connections.get(Key::Connection(id)).await? else {
        return Err(no_such_person());
    };
    let mut view = ConnectionView::of(*row.clone()).ok_or_else(no_such_person)?;
    if query.reveal == Some(Reveal::Profile) {
        view.profile = Some(people::reveal(&hub, &caller, request, &row).await?.into());
    }
    Ok(Json(view))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct AccountPath {
    /// The product's own id of the user, percent-encoded.
    #[param(value_type = String)]
    account: AccountId,
}

/// Ends an account's link to its person.
///
/// With a person's last account the connection ends too, and its tokens are destroyed; while another account is linked,
/// it stays. Doing it again changes nothing. Messages that wait for this account are not sent any more.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/unlink", tag = "connections", params(AccountPath),
    responses(
        (status = 202, body = Recorded),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn unlink(
    State(hub): State<Hub>,
    caller: Caller,
    RequestId(request): RequestId,
    ApiPath(AccountPath { account }): ApiPath<AccountPath>,
) -> Result<(StatusCode, Json<Recorded>), ApiError> {
    let account = hub.custody.name_account(&account);
    let position = people::unlink(&hub, &caller, request, &account).await?;
    Ok((StatusCode::ACCEPTED, Json(Recorded { position: hub.position(position) })))
}

impl From<NotUnlinked> for ApiError {
    fn from(refusal: NotUnlinked) -> Self {
        match refusal {
            NotUnlinked::NotLinked => Self::new(Kind::NotFound, "This account was never linked."),
            NotUnlinked::Contended | NotUnlinked::Behind(_) => {
                let detail = "The account is unlinked, but perhaps not the person yet: do it again.";
                Self::new(Kind::Unavailable, detail).retry_after(std::time::Duration::from_secs(1))
            }
            NotUnlinked::Trouble(error) => error.into(),
        }
    }
}

pub(super) fn no_such_person() -> ApiError {
    ApiError::new(Kind::NotFound, "Nobody was ever linked by this name, or this client may not see it.")
}
