//! Histories: who held which token when, on what consent, and what became of each message. For auditors.

use axum::{Json, extract::State};
use domain::{
    AccountHash, AccountId, Diagnosis, KeyedHash, MessageId, ObjectId, PersonId, SignInId, TenantId,
    Timestamp, audit,
};
use projections::connections::Key;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    connections::no_such_person,
    paging::{Limit, Page, from_cursor, to_cursor, wait_for},
    tenants::check_visible,
};
use crate::{
    http::{
        RequestId,
        auth::Caller,
        extract::{ApiPath, ApiQuery, invalid},
        problem::{ApiError, Problem},
    },
    hub::Hub,
    services::{
        audit::record,
        history::{self, Cursor, Entry, Question, Told},
        people::last_person,
    },
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(of_person)).routes(routes!(of_account))
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryView {
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// The event's type.
    #[schema(example = "connection.token-refreshed.v1")]
    event: String,
    /// One sentence, without anything personal.
    summary: String,
    /// Who did it: `client/<id>`, `hub/<process>`, or `person` in a browser.
    actor: String,
    stream: String,
    /// Counted from 0 within the stream.
    revision: u64,
    position: String,
    /// Of the pair of tokens, counted from 1 within its grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    grant: Option<SignInId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    message: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Codes and ids of Microsoft's answer, where it was a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    diagnosis: Option<Diagnosis>,
}

impl EntryView {
    fn of(hub: &Hub, entry: Entry) -> Self {
        let Entry { position, recorded_at, event, told, actor, stream, revision } = entry;
        let Told { summary, grant, generation, message, attempt, diagnosis } = told;
        let position = hub.position(store::Position(position));
        Self {
            recorded_at,
            event,
            summary,
            actor,
            stream,
            revision,
            position,
            generation,
            grant,
            message,
            attempt,
            diagnosis,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Tells only what was recorded at this time (RFC 3339) or before.
    #[param(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    cursor: Option<String>,
    /// 1 to 200; 50 if nothing is said.
    #[serde(default)]
    #[param(value_type = Option<u16>)]
    limit: Limit,
    /// A position: the answer waits for what was recorded up to there.
    after: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct PersonPath {
    #[param(value_type = uuid::Uuid)]
    tid: TenantId,
    #[param(value_type = uuid::Uuid)]
    oid: ObjectId,
}

/// Tells a person's story, the newest first. That it was read is recorded.
#[utoipa::path(
    get, path = "/v1/tenants/{tid}/connections/{oid}/history", tag = "histories",
    params(PersonPath, HistoryQuery),
    responses(
        (status = 200, body = Page<EntryView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn of_person(
    State(hub): State<Hub>,
    caller: Caller,
    id: RequestId,
    ApiPath(PersonPath { tid, oid }): ApiPath<PersonPath>,
    ApiQuery(query): ApiQuery<HistoryQuery>,
) -> Result<Json<Page<EntryView>>, ApiError> {
    let person = PersonId { tenant: tid, object_id: oid };
    check_visible(&caller, tid)?;
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    let known = hub.connections.get(Key::Connection(person.connection())).await?;
    known.ok_or_else(no_such_person)?;
    tell(&hub, &caller, id, person, None, query).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct AccountPath {
    /// The product's own id of the user, percent-encoded.
    #[param(value_type = String)]
    account: AccountId,
}

/// Tells the story of the person that an account belongs to, or belonged to last. That it was read is recorded.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/history", tag = "histories", params(AccountPath, HistoryQuery),
    responses(
        (status = 200, body = Page<EntryView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn of_account(
    State(hub): State<Hub>,
    caller: Caller,
    id: RequestId,
    ApiPath(AccountPath { account }): ApiPath<AccountPath>,
    ApiQuery(query): ApiQuery<HistoryQuery>,
) -> Result<Json<Page<EntryView>>, ApiError> {
    let account = hub.custody.name_account(&account);
    let person = last_person(&hub, &account).await?.filter(|person| caller.may_see(person.tenant));
    let person = person.ok_or_else(no_such_person)?;
    wait_for(&hub, &hub.connections, query.after.as_deref()).await?;
    tell(&hub, &caller, id, person, Some(account), query).await
}

/// A cursor, and a tag that only the hub can make: a client that made up its own would read without being recorded.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tagged {
    cursor: Cursor,
    tag: KeyedHash,
}

impl Tagged {
    fn new(hub: &Hub, caller: &Caller, person: PersonId, cursor: Cursor) -> Self {
        let place = serde_json::to_string(&cursor).expect("a cursor serializes");
        let tag = hub.custody.lookup_hash("history-cursor", &format!("{} {person} {place}", caller.client));
        Self { cursor, tag }
    }

    fn check(self, hub: &Hub, caller: &Caller, person: PersonId) -> Result<Cursor, ApiError> {
        let good = Self::new(hub, caller, person, self.cursor);
        let same: bool = good.tag.0.as_bytes().ct_eq(self.tag.0.as_bytes()).into();
        if same { Ok(good.cursor) } else { Err(invalid("cursor", "must be a `next_cursor` of this list")) }
    }
}

/// One event for each story that is asked for; its further pages belong to it.
async fn tell(
    hub: &Hub,
    caller: &Caller,
    RequestId(request): RequestId,
    person: PersonId,
    account: Option<AccountHash>,
    query: HistoryQuery,
) -> Result<Json<Page<EntryView>>, ApiError> {
    let cursor = from_cursor::<Tagged>(query.cursor.as_deref())?;
    let cursor = cursor.map(|cursor| cursor.check(hub, caller, person)).transpose()?;
    wait_for(hub, &hub.messages, query.after.as_deref()).await?;
    if cursor.is_none() {
        let read = audit::Event::HistoryRead { client: caller.client.clone(), person };
        record(hub, caller, request, Some(person.tenant), read).await?;
    }
    let limit = query.limit.rows();
    let question = Question { person, account, as_of: query.as_of, cursor, limit };
    let (entries, next) = history::page(hub, question).await?;
    let items = entries.into_iter().map(|entry| EntryView::of(hub, entry)).collect();
    let next_cursor = next.map(|next| to_cursor(&Tagged::new(hub, caller, person, next)));
    Ok(Json(Page { items, next_cursor }))
}
