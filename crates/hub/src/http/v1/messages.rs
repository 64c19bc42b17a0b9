//! Messages: what a client asks for, and what became of it. Never the content of one that was accepted.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    AccountId, ClientId, ConnectionId, Diagnosis, MessageId, ObjectId, PersonId, Surface, SurfaceChoice,
    TenantId, Timestamp, account::Account, client::Role, message::Kind as MessageKind,
};
use projections::messages::{
    Status,
    queries::{self, Found, Wanted},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::Position;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    content::{self, ContentBody},
    paging::{Limit, Page, from_cursor, wait_for},
};
use crate::{
    http::{
        auth::Caller,
        extract::{ApiJson, ApiPath, ApiQuery, invalid},
        idempotency::IdempotencyKey,
        problem::{ApiError, Kind, Problem},
        sign_ins::PersonRef,
    },
    hub::Hub,
    services::messages::{self, Draft, NotAccepted, Receipt, Recipient},
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(accept, list)).routes(routes!(show))
}

/// A message for a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    recipient: RecipientBody,
    #[schema(value_type = ContentBody)]
    content: Value,
    /// Which way it goes: `graph`, as if the person had written it; `bot`, in the bot's own voice; `auto`, by Graph, and by
    /// the bot while the person would have to do something before Graph can be used. If nothing is said, as the tenant's
    /// policy or the hub's setting has it.
    #[schema(value_type = Option<String>, pattern = "^(graph|bot|auto)$", example = "auto")]
    surface: Option<SurfaceChoice>,
}

/// Whom it is for: an `account` of the product, or a person in Microsoft's terms (`tenant` and `object_id`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientBody {
    /// The product's own id of the user.
    #[schema(value_type = Option<String>, example = "u-1001")]
    account: Option<AccountId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    tenant: Option<TenantId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    object_id: Option<ObjectId>,
}

impl NewMessage {
    pub(super) fn new(recipient: RecipientBody, content: Value, surface: Option<SurfaceChoice>) -> Self {
        Self { recipient, content, surface }
    }

    pub(super) fn into_draft(self) -> Result<Draft, ApiError> {
        let RecipientBody { account, tenant, object_id } = self.recipient;
        let recipient = match (account, tenant, object_id) {
            (Some(account), None, None) => Recipient::Account(account),
            (None, Some(tenant), Some(object_id)) => Recipient::Person(PersonId { tenant, object_id }),
            _ => return Err(invalid("recipient", "must have `account`, or `tenant` and `object_id`")),
        };
        Ok(Draft { recipient, content: content::parse(self.content)?, surface: self.surface })
    }
}

/// A message that will be looked after.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    #[schema(value_type = uuid::Uuid)]
    pub(super) id: MessageId,
    /// Where in the log it was recorded: good for `?after=`.
    pub(super) position: String,
}

impl Accepted {
    pub(super) fn of(hub: &Hub, receipt: Receipt) -> Self {
        Self { id: receipt.id, position: hub.position(receipt.position) }
    }
}

/// Accepts a message. It is then delivered once, in order, as soon as it can be; what became of it is told under its id.
///
/// The same `Idempotency-Key` with the same message brings the first answer, with another message 422.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", request_body = NewMessage,
    params(("Idempotency-Key" = String, Header, description = "Names this message for ever; 1 to 200 visible ASCII characters.")),
    responses(
        (status = 202, body = Accepted, headers(("Location" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "The recipient is not linked."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn accept(
    State(hub): State<Hub>,
    caller: Caller,
    key: IdempotencyKey,
    ApiJson(message): ApiJson<NewMessage>,
) -> Result<Response, ApiError> {
    let receipt = messages::accept(&hub, &caller, &key.0, message.into_draft()?).await?;
    let location = format!("/v1/messages/{}", receipt.id);
    let accepted = Json(Accepted::of(&hub, receipt));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], accepted).into_response())
}

impl From<NotAccepted> for ApiError {
    fn from(refusal: NotAccepted) -> Self {
        let kind = match refusal {
            NotAccepted::NotLinked => Kind::RecipientNotLinked,
            NotAccepted::TenantNotAllowed | NotAccepted::TenantBlocked => Kind::Forbidden,
            NotAccepted::TooLarge { .. } => Kind::TooLarge,
            NotAccepted::NoBot => Kind::InvalidRequest,
            NotAccepted::BotCommand => Kind::BotCommand,
            NotAccepted::KeyReused => Kind::IdempotencyKeyReused,
            NotAccepted::Trouble(error) => return error.into(),
        };
        let detail = refusal.to_string();
        let error = Self::new(kind, format!("That was not accepted: {detail}."));
        match refusal {
            NotAccepted::TooLarge { size, limit } => {
                error.with("size_bytes", size).with("limit_bytes", limit)
            }
            NotAccepted::NoBot => error.with("field", "surface"),
            NotAccepted::BotCommand => error.with("field", "content"),
            _ => error,
        }
    }
}

/// What a message is shown as.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Accepted, and waiting for its turn.
    Pending,
    Sending,
    /// Waiting until a stated time.
    Deferred,
    /// Waiting for something that only a person can bring about, such as a new sign-in.
    Parked,
    Delivered,
    /// Perhaps delivered, perhaps not; not sent again.
    Unknown,
    Rejected,
    DeadLettered,
    Expired,
}

impl MessageStatus {
    /// `None` for parked, which is a state of the lane.
    fn of_message(self) -> Option<Status> {
        match self {
            Self::Pending => Some(Status::Pending),
            Self::Sending => Some(Status::Sending),
            Self::Deferred => Some(Status::Deferred),
            Self::Parked => None,
            Self::Delivered => Some(Status::Delivered),
            Self::Unknown => Some(Status::Unknown),
            Self::Rejected => Some(Status::Rejected),
            Self::DeadLettered => Some(Status::DeadLettered),
            Self::Expired => Some(Status::Expired),
        }
    }

    fn of(found: &Found) -> Self {
        match found.row.status {
            Status::Pending | Status::Deferred if found.held_up().is_some() => Self::Parked,
            Status::Pending => Self::Pending,
            Status::Sending => Self::Sending,
            Status::Deferred => Self::Deferred,
            Status::Delivered => Self::Delivered,
            Status::Unknown => Self::Unknown,
            Status::Rejected => Self::Rejected,
            Status::DeadLettered => Self::DeadLettered,
            Status::Expired => Self::Expired,
        }
    }
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    #[schema(value_type = uuid::Uuid)]
    id: MessageId,
    status: MessageStatus,
    recipient: PersonRef,
    /// The recipient was named by account.
    by_account: bool,
    #[schema(value_type = String)]
    client: ClientId,
    #[schema(value_type = String, example = "text")]
    kind: MessageKind,
    /// Which way it is to go: `graph`, `bot` or `auto`.
    #[schema(value_type = String, example = "graph")]
    surface: SurfaceChoice,
    /// Which way it was sent last: `graph` or `bot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "graph")]
    sent_by: Option<Surface>,
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// How often it was sent, or tried to.
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    deferred_until: Option<Timestamp>,
    /// Why it waits, or is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "throttled")]
    why: Option<Value>,
    /// Codes and ids of Microsoft's last answer, where it was a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    diagnosis: Option<Diagnosis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_message_id: Option<String>,
    /// Where in the log it was accepted.
    position: String,
}

impl MessageView {
    fn of(hub: &Hub, found: Found) -> Self {
        let status = MessageStatus::of(&found);
        let parked = found.held_up().filter(|_| matches!(status, MessageStatus::Parked));
        let parked = parked.map(|held_up| held_up.parked.why);
        let Found { message, row, .. } = found;
        let why = match (parked, row.deferred, row.rejected) {
            (Some(why), ..) => serde_json::to_value(why).ok(),
            (None, Some((_, why)), _) => serde_json::to_value(why).ok(),
            (None, None, why) => why.and_then(|why| serde_json::to_value(why).ok()),
        };
        Self {
            id: message,
            status,
            recipient: row.person.into(),
            by_account: row.account_hash.is_some(),
            client: row.client,
            kind: row.kind,
            surface: row.surface,
            sent_by: row.went,
            accepted_at: row.accepted_at,
            changed_at: row.changed_at,
            attempts: row.attempts,
            deferred_until: row.deferred.map(|(until, _)| until),
            why,
            diagnosis: row.diagnosis,
            provider_message_id: row.provider_message_id,
            position: hub.position(Position(row.position)),
        }
    }
}

/// Which messages are wanted; everything that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// To the person that this account of the product belongs to.
    #[param(value_type = Option<String>)]
    recipient_account: Option<AccountId>,
    #[param(value_type = Option<uuid::Uuid>)]
    tenant: Option<TenantId>,
    /// Together with `tenant`.
    #[param(value_type = Option<uuid::Uuid>)]
    object_id: Option<ObjectId>,
    /// What waits in a parked lane is found by `parked`, and also as the `pending` or `deferred` that it will be.
    #[param(inline)]
    status: Option<MessageStatus>,
    #[param(value_type = Option<String>)]
    client: Option<ClientId>,
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
    before: u64,
}

/// Lists messages, the newest first. A key of role `service` sees those of its own client.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", params(ListQuery),
    responses((status = 200, body = Page<MessageView>)),
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Page<MessageView>>, ApiError> {
    wait_for(&hub, &hub.messages, query.after.as_deref()).await?;
    let limit = query.limit;
    let Some(wanted) = wanted(&hub, &caller, query).await? else {
        return Ok(Json(Page { items: vec![], next_cursor: None }));
    };
    let found = queries::list(&hub.messages, wanted, limit.rows() + 1).await?;
    let cursor = |last: &Found| Cursor { before: last.row.position };
    Ok(Json(Page::of(found, limit, cursor, |found| MessageView::of(&hub, found))))
}

/// The query as the read model takes it, within what the caller may see. `None` where nothing can match.
async fn wanted(hub: &Hub, caller: &Caller, query: ListQuery) -> Result<Option<Wanted>, ApiError> {
    let before = from_cursor::<Cursor>(query.cursor.as_deref())?.map(|cursor| cursor.before);
    let own = (caller.role == Role::Service).then(|| caller.client.clone());
    let elsewhere = |asked: &ClientId| own.as_ref().is_some_and(|own| own != asked);
    let (Some(lane), false) = (lane(hub, &query).await?, query.client.as_ref().is_some_and(elsewhere)) else {
        return Ok(None);
    };
    let tenants = match query.tenant {
        Some(tenant) => Some(vec![tenant].into_iter().filter(|tenant| caller.may_see(*tenant)).collect()),
        None => caller.tenants.clone(),
    };
    Ok(Some(Wanted {
        client: own.or(query.client),
        lane,
        tenants,
        status: query.status.and_then(MessageStatus::of_message),
        parked: matches!(query.status, Some(MessageStatus::Parked)),
        before,
    }))
}

/// The lane of the person asked for, if any: `Some(None)`. `None` where the account is nobody's.
async fn lane(hub: &Hub, query: &ListQuery) -> Result<Option<Option<ConnectionId>>, ApiError> {
    match (&query.recipient_account, query.tenant, query.object_id) {
        (Some(_), _, Some(_)) => Err(invalid("recipient_account", "does not go together with `object_id`")),
        (None, None, Some(_)) => Err(invalid("object_id", "needs `tenant`")),
        (None, Some(tenant), Some(object_id)) => Ok(Some(Some(PersonId { tenant, object_id }.connection()))),
        (None, _, None) => Ok(Some(None)),
        (Some(account), _, None) => {
            let account = hub.custody.name_account(account);
            let linked = hub.commands.load::<Account>(account).await?.state.linked;
            Ok(linked.map(|linked| Some(linked.person.connection())))
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct MessagePath {
    #[param(value_type = uuid::Uuid)]
    id: MessageId,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// A position: the answer waits for what was recorded up to there.
    after: Option<String>,
}

/// Shows what became of a message.
#[utoipa::path(
    get, path = "/v1/messages/{id}", tag = "messages", params(MessagePath, ShowQuery),
    responses(
        (status = 200, body = MessageView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    ApiPath(MessagePath { id }): ApiPath<MessagePath>,
    ApiQuery(query): ApiQuery<ShowQuery>,
) -> Result<Json<MessageView>, ApiError> {
    wait_for(&hub, &hub.messages, query.after.as_deref()).await?;
    let found = queries::show(&hub.messages, id).await?;
    let visible = |found: &Found| {
        let own = caller.role != Role::Service || found.row.client == caller.client;
        own && caller.may_see(found.row.person.tenant)
    };
    let found = found.filter(visible).ok_or_else(|| {
        ApiError::new(Kind::NotFound, "There is no message of this id, or it is not this client's.")
    })?;
    Ok(Json(MessageView::of(&hub, found)))
}
