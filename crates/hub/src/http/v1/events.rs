//! The tail of the log as server-sent events, within what a client may see. What is sealed stays sealed.

use std::{borrow::Cow, convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response, Sse, sse},
};
use domain::{Metadata, audit, client::Role};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use store::{Filter, Position, Recorded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::position;
use crate::{
    commands::metadata,
    http::{
        RequestId,
        auth::Caller,
        extract::{ApiQuery, invalid},
        problem::{ApiError, Kind, Problem},
    },
    hub::Hub,
    services::audit::record,
};

/// What may be seen at all; neither the vault nor what outsiders submit is among it.
const CATEGORIES: [&str; 12] = [
    "account",
    "activity",
    "attempts",
    "audit",
    "client",
    "connection",
    "lane",
    "message",
    "notice",
    "rejection",
    "signin",
    "tenant",
];
/// Silence ends after this with a comment, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A tail ends after this, and its client comes back with its key: a revoked key is of use no longer than that.
const SESSION_MAX: Duration = Duration::from_hours(1);
/// When to come back where all places are taken.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(tail))
}

/// The places for tails, and the end of all of them.
#[derive(Clone, Debug)]
pub struct Tails {
    places: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Tails {
    pub fn new(places: usize, stopping: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), stopping }
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let detail = "As many event tails are open as `limits.events_streams_max` allows.";
            ApiError::new(Kind::TooManyRequests, detail).retry_after(RETRY_AFTER)
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TailQuery {
    /// A position to begin behind; without it, the beginning of the log. The header `Last-Event-ID` goes first.
    after: Option<String>,
    /// Some of `account`, `activity`, `attempts`, `audit`, `client`, `connection`, `lane`, `message`, `notice`, `rejection`, `signin` and `tenant`, with commas between.
    categories: Option<String>,
}

/// The `data` of an event of the stream; its `id` is the event's position, its `event` the event's type.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView<'a> {
    stream: &'a str,
    /// Counted from 0 within the stream.
    revision: u64,
    recorded_at: String,
    /// The event's type.
    name: &'a str,
    /// As it was recorded; personal data in it is sealed, and of an API key not even the hash is shown.
    #[schema(value_type = Object)]
    data: Cow<'a, RawValue>,
    /// Who recorded it, on what occasion.
    #[schema(value_type = Object)]
    metadata: &'a Metadata,
}

/// Follows the log, from a position on and without end.
///
/// A key of role `service` sees what its own client brought about. Comes back after an hour, at the latest, with
/// `Last-Event-ID`, as browsers' `EventSource` does by itself. That a tail was opened is recorded.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(TailQuery, ("Last-Event-ID" = Option<String>, Header, description = "The last event's id, to go on behind it.")),
    responses(
        (status = 200, body = EventView<'_>, content_type = "text/event-stream"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn tail(
    State(hub): State<Hub>,
    caller: Caller,
    RequestId(request): RequestId,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<TailQuery>,
) -> Result<Response, ApiError> {
    let after = begin(&hub, &headers, &query)?;
    let filter = filter(query.categories.as_deref())?;
    let place = hub.tails.take()?;
    let opened = audit::Event::Exported { client: caller.client.clone(), session: request };
    record(&hub, &caller, request, None, opened).await?;
    let keep_alive = sse::KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(events(hub, caller, place, after, filter)).keep_alive(keep_alive).into_response())
}

fn begin(hub: &Hub, headers: &HeaderMap, query: &TailQuery) -> Result<Position, ApiError> {
    let store = hub.store.id();
    match (headers.get("last-event-id"), &query.after) {
        (Some(id), _) => position("Last-Event-ID", id.to_str().unwrap_or_default(), store),
        (None, Some(after)) => position("after", after, store),
        (None, None) => Ok(Position::START),
    }
}

fn filter(categories: Option<&str>) -> Result<Filter, ApiError> {
    let Some(categories) = categories else { return Ok(Filter::categories(CATEGORIES)) };
    let wanted: Vec<_> = categories.split(',').collect();
    if wanted.iter().all(|category| CATEGORIES.contains(category)) {
        Ok(Filter::categories(wanted))
    } else {
        Err(invalid("categories", &format!("must be some of {}", CATEGORIES.join(","))))
    }
}

/// Ends when the hub stops, when the session is over, or where the log can't be read: the client then comes back.
fn events(
    hub: Hub,
    caller: Caller,
    place: OwnedSemaphorePermit,
    after: Position,
    filter: Filter,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let end = hub.tails.stopping.clone().cancelled_owned();
    let pages = hub.store.follow(after, filter);
    // The place is held for as long as the tail is.
    let shown = pages.scan(place, move |_place, page| {
        let page = page.inspect_err(|error| {
            tracing::error!(error = %error, "an event tail ended: the log can't be followed");
        });
        let show = |recorded: &Recorded| show(&hub, &caller, recorded).map(Ok);
        ready(page.ok().map(|page| stream::iter(page.events.iter().filter_map(show).collect::<Vec<_>>())))
    });
    shown.flatten().take_until(end).take_until(tokio::time::sleep(SESSION_MAX))
}

/// `None` for what the client may not see, and for what is not written as the hub writes.
fn show(hub: &Hub, caller: &Caller, recorded: &Recorded) -> Option<sse::Event> {
    let about = metadata(recorded).ok()?;
    if !may_see(caller, &about) {
        return None;
    }
    let view = EventView {
        stream: recorded.stream.as_str(),
        revision: recorded.revision,
        recorded_at: about.recorded_at.to_string(),
        name: &recorded.name,
        data: data(recorded).ok()?,
        metadata: &about,
    };
    let id = hub.position(recorded.position);
    sse::Event::default().id(id).event(&recorded.name).json_data(&view).ok()
}

/// What opens a door stays inside, though it be only a hash.
fn data(recorded: &Recorded) -> serde_json::Result<Cow<'_, RawValue>> {
    if !recorded.name.starts_with("client.key-") {
        return serde_json::from_slice(&recorded.data).map(Cow::Borrowed);
    }
    let mut data: Map<String, Value> = serde_json::from_slice(&recorded.data)?;
    data.remove("hash");
    serde_json::value::to_raw_value(&data).map(Cow::Owned)
}

fn may_see(caller: &Caller, about: &Metadata) -> bool {
    let own = caller.role != Role::Service || about.client.as_ref() == Some(&caller.client);
    let within = caller.tenants.is_none() || about.tenant.is_some_and(|tenant| caller.may_see(tenant));
    own && within
}

#[cfg(test)]
mod tests {
    use domain::{CommandId, TenantId, Timestamp};
    use store::{ContentType, StreamName};
    use uuid::Uuid;

    use super::*;

    fn caller(role: Role, tenants: Option<Vec<TenantId>>) -> Caller {
        Caller { client: "mine".parse().unwrap(), role, tenants }
    }

    fn about(client: Option<&str>, tenant: Option<TenantId>) -> Metadata {
        Metadata {
            recorded_at: Timestamp::default(),
            correlation_id: "c".to_owned(),
            causation_id: None,
            actor: "hub/test".to_owned(),
            command_id: CommandId::new("c"),
            writer: "chancery/0".to_owned(),
            tenant,
            client: client.map(|client| client.parse().unwrap()),
            provider_request_id: None,
        }
    }

    #[test]
    fn a_service_sees_only_what_its_own_client_brought_about() {
        let service = caller(Role::Service, None);
        assert!(may_see(&service, &about(Some("mine"), None)));
        assert!(!may_see(&service, &about(Some("another"), None)));
        assert!(!may_see(&service, &about(None, None)));
        assert!(may_see(&caller(Role::Auditor, None), &about(None, None)));
    }

    #[test]
    fn a_client_of_some_tenants_sees_nothing_of_others_or_of_none() {
        let (here, there) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let auditor = caller(Role::Auditor, Some(vec![here]));
        assert!(may_see(&auditor, &about(None, Some(here))));
        assert!(!may_see(&auditor, &about(None, Some(there))));
        assert!(!may_see(&auditor, &about(None, None)));
    }

    #[test]
    fn of_an_api_key_not_even_the_hash_is_shown() {
        let shown = |name: &str| {
            let recorded = Recorded {
                id: Uuid::nil(),
                stream: StreamName::new("client-okr"),
                revision: 1,
                position: Position(2),
                name: name.into(),
                content_type: ContentType::Json,
                data: r#"{"key":"k","hash":"h"}"#.into(),
                metadata: "{}".into(),
                created_us: 0,
            };
            data(&recorded).unwrap().get().to_owned()
        };
        assert_eq!(shown("client.key-created.v1"), r#"{"key":"k"}"#);
        assert_eq!(shown("client.key-rotated.v1"), r#"{"key":"k"}"#);
        assert_eq!(shown("message.accepted.v1"), r#"{"key":"k","hash":"h"}"#);
    }

    #[test]
    fn neither_the_vault_nor_what_outsiders_submit_can_be_asked_for() {
        assert!(filter(Some("lane,message")).is_ok());
        for bad in ["vault", "intake", "lane,intake", "", "$all", "lane, message", "shard"] {
            assert_eq!(filter(Some(bad)).unwrap_err().problem().more["field"], "categories", "{bad:?}");
        }
        let all = filter(None).unwrap();
        assert!(all.matches("lane-1") && !all.matches("vault-1") && !all.matches("intake-1"));
    }
}
