//! Conversations: how the bot gets into one with a person, and who is in it.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::activities::{Outgoing, add};
use super::complaint::{Complaint, ConnectorError};
use super::{call, keep_pace, open, people_in};
use crate::people::Person;
use crate::{Simulator, lock};

/// How many members a page has, unless the caller wants fewer.
const PAGE: usize = 500;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    #[serde(default)]
    is_group: bool,
    bot: Option<Account>,
    #[serde(default)]
    members: Vec<Account>,
    tenant_id: Option<Uuid>,
    #[serde(default)]
    channel_data: Value,
    activity: Option<Outgoing>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
}

/// `POST /connector/v3/conversations`: the one there is with a person, whether asked for first or again.
pub(super) async fn create(State(simulator): State<Simulator>, headers: HeaderMap, body: Bytes) -> Response {
    call(&simulator, &headers, "connector.create", None, move |simulator| {
        let wanted: Wanted =
            serde_json::from_slice(&body).map_err(|error| ConnectorError::bad(error.to_string()))?;
        let person = wanted.person(simulator)?;
        let id = lock(&person.state).chat.conversation_id.clone();
        let chat = open(simulator, &id)?;
        let activity_id = if let Some(activity) = &wanted.activity {
            add(simulator, &id, None, activity)?
        } else {
            keep_pace(simulator, &chat)?;
            None
        };
        let answer = json!({ "id": id, "activityId": activity_id, "serviceUrl": simulator.service_url() });
        Ok((StatusCode::CREATED, Json(answer)).into_response())
    })
    .await
}

impl Wanted {
    /// The one person whom the conversation is to be with.
    fn person<'a>(&self, simulator: &'a Simulator) -> Result<&'a Person, ConnectorError> {
        if self.is_group {
            return Err(ConnectorError::bad("Teams creates no groups for bots."));
        }
        if self.bot.as_ref().is_some_and(|bot| bot.id != simulator.bot_id()) {
            return Err(Complaint::BotNotRegistered.into());
        }
        let [member] = self.members.as_slice() else {
            return Err(ConnectorError::bad("Exactly one member is needed."));
        };
        let person = simulator.0.directory.member(&member.id);
        let person = person.ok_or_else(|| ConnectorError::bad("The member is not known."))?;
        let tenants =
            [self.tenant_id, self.channel_data["tenant"]["id"].as_str().and_then(|it| it.parse().ok())];
        if !tenants.iter().flatten().any(|_| true) || tenants.iter().flatten().any(|tid| *tid != person.tid) {
            return Err(ConnectorError::bad("The tenant is missing, or not the member's."));
        }
        Ok(person)
    }
}

/// `GET /connector/v3/conversations/{conversation}/members`
pub(super) async fn members(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "connector.members", Some(id.clone()), move |simulator| {
        let chat = open(simulator, &id)?;
        let members: Vec<_> = people_in(simulator, &chat).into_iter().map(|it| account(it)).collect();
        Ok(Json(members).into_response())
    })
    .await
}

/// `GET /connector/v3/conversations/{conversation}/members/{member}`
pub(super) async fn member(
    State(simulator): State<Simulator>,
    Path((id, member)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "connector.members", Some(id.clone()), move |simulator| {
        let chat = open(simulator, &id)?;
        let wanted = simulator.0.directory.member(&member);
        let found = people_in(simulator, &chat)
            .into_iter()
            .find(|it| wanted.is_some_and(|wanted| it.oid == wanted.oid));
        let found = found.ok_or(Complaint::MemberNotFoundInConversation)?;
        Ok(Json(account(found)).into_response())
    })
    .await
}

/// `GET /connector/v3/conversations/{conversation}/pagedmembers`, with `pageSize` and `continuationToken`.
pub(super) async fn paged_members(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "connector.members", Some(id.clone()), move |simulator| {
        let chat = open(simulator, &id)?;
        let number = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
        let odd = |_| ConnectorError::bad("`pageSize` or `continuationToken` is not one of ours.");
        let size = number("pageSize").map_err(odd)?.unwrap_or(PAGE).clamp(1, PAGE);
        let first = number("continuationToken").map_err(odd)?.unwrap_or(0);
        let people = people_in(simulator, &chat);
        let members: Vec<_> = people.iter().skip(first).take(size).map(|it| account(it)).collect();
        let next = (first + size < people.len()).then(|| (first + size).to_string());
        Ok(Json(json!({ "continuationToken": next, "members": members })).into_response())
    })
    .await
}

/// A person as the Bot Connector shows them.
fn account(person: &Person) -> Value {
    json!({
        "id": person.user_id(),
        "name": person.name(),
        "aadObjectId": person.oid,
        "objectId": person.oid,
        "givenName": person.given,
        "surname": person.surname,
        "email": lock(&person.state).mail,
        "userPrincipalName": person.upn,
        "tenantId": person.tid,
        "userRole": if person.home.is_some() { "guest" } else { "user" },
    })
}
