//! Which Teams apps a person installed, and the chat that came with one.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::error::GraphError;
use super::{Caller, call};
use crate::dials::Distribution;
use crate::people::Person;
use crate::{Simulator, clock, lock};

const SCOPES: &[&str] = &[
    "TeamsAppInstallation.ReadForUser",
    "TeamsAppInstallation.ReadWriteSelfForUser",
    "TeamsAppInstallation.ReadWriteForUser",
];

/// The id of our app in the organisation's catalog.
const CATALOG_ID: Uuid = uuid!("3f9d1c52-77a0-4be1-9c53-0a1b2c3d4e5f");

/// Everybody has this one too, so that our app has to be looked for.
const OTHER_APP: &str = "com.microsoft.teamspace.tab.planner";

type Fields = HashMap<String, String>;

/// `GET /v1.0/me/teamwork/installedApps`, with `$filter` and `$expand`.
pub(super) async fn mine(
    State(simulator): State<Simulator>,
    Query(query): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "graph.apps", None, SCOPES, move |simulator, caller| {
        installed(simulator, caller.person(), &query)
    })
    .await
}

/// `GET /v1.0/users/{user}/teamwork/installedApps`: with a delegated token, one's own only.
pub(super) async fn theirs(
    State(simulator): State<Simulator>,
    Path(user): Path<String>,
    Query(query): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "graph.apps", None, SCOPES, move |simulator, caller| {
        oneself(simulator, caller, &user)?;
        installed(simulator, caller.person(), &query)
    })
    .await
}

/// `GET /v1.0/me/teamwork/installedApps/{id}/chat`
pub(super) async fn my_chat(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "graph.chat", None, SCOPES, move |simulator, caller| {
        chat_of(simulator, caller.person(), &id)
    })
    .await
}

/// `GET /v1.0/users/{user}/teamwork/installedApps/{id}/chat`
pub(super) async fn their_chat(
    State(simulator): State<Simulator>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    call(&simulator, &headers, "graph.chat", None, SCOPES, move |simulator, caller| {
        oneself(simulator, caller, &user)?;
        chat_of(simulator, caller.person(), &id)
    })
    .await
}

/// `GET /v1.0/chats/{chat}`
pub(super) async fn chat(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let scopes = &["Chat.ReadBasic", "Chat.Read", "Chat.ReadWrite"];
    call(&simulator, &headers, "graph.chats", Some(id.clone()), scopes, move |simulator, caller| {
        super::store::open(simulator, caller.person(), &id)?;
        Ok(Json(chat_json(simulator, caller.person(), &id)).into_response())
    })
    .await
}

fn oneself(simulator: &Simulator, caller: &Caller, user: &str) -> Result<(), GraphError> {
    match simulator.0.directory.find(user) {
        Some(person) if person.oid == caller.person().oid => Ok(()),
        Some(_) => Err(GraphError::forbidden("The user is not the one who is signed in.")),
        None => Err(GraphError::not_found("The user was not found.")),
    }
}

fn installed(simulator: &Simulator, person: &Person, query: &Fields) -> Result<Response, GraphError> {
    let mut apps = vec![(other_installation(person), other_app())];
    if lock(&person.state).app_installed {
        apps.push((person.installation(), our_app(simulator)));
    }
    if let Some(filter) = query.get("$filter") {
        let (property, value) = read_filter(filter)?;
        apps.retain(|(_, app)| app[property] == value);
    }
    let expand: Vec<_> =
        query.get("$expand").map(|it| it.split(',').map(str::trim).collect()).unwrap_or_default();
    if let Some(odd) = expand.iter().find(|it| !["teamsApp", "teamsAppDefinition"].contains(it)) {
        return Err(GraphError::bad(format!("Could not find a property named '{odd}' to expand.")));
    }
    let value: Vec<_> = apps
        .into_iter()
        .map(|(id, app)| {
            let mut installation = json!({ "id": id });
            if expand.contains(&"teamsAppDefinition") {
                installation["teamsAppDefinition"] =
                    json!({ "teamsAppId": app["id"], "displayName": app["displayName"], "version": "1.0.0" });
            }
            if expand.contains(&"teamsApp") {
                installation["teamsApp"] = app;
            }
            installation
        })
        .collect();
    let context =
        format!("{}/v1.0/$metadata#users('{}')/teamwork/installedApps", simulator.0.base, person.oid);
    Ok(Json(json!({ "@odata.context": context, "@odata.count": value.len(), "value": value }))
        .into_response())
}

/// Reads `teamsApp/id eq '…'` or `teamsApp/externalId eq '…'`: the property and its value.
fn read_filter(filter: &str) -> Result<(&'static str, &str), GraphError> {
    let odd = || GraphError::bad("Invalid filter clause.");
    let (property, value) = filter.split_once(" eq ").ok_or_else(odd)?;
    let value = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).ok_or_else(odd)?;
    match property.trim() {
        "teamsApp/id" => Ok(("id", value)),
        "teamsApp/externalId" => Ok(("externalId", value)),
        _ => Err(odd()),
    }
}

fn our_app(simulator: &Simulator) -> Value {
    let manifest_id = &simulator.0.settings.teams_app_id;
    match simulator.dials().distribution {
        Distribution::Organization => json!({
            "id": CATALOG_ID,
            "externalId": manifest_id,
            "displayName": "Chancery",
            "distributionMethod": "organization",
        }),
        Distribution::Store => json!({
            "id": manifest_id,
            "externalId": null,
            "displayName": "Chancery",
            "distributionMethod": "store",
        }),
    }
}

fn other_app() -> Value {
    json!({ "id": OTHER_APP, "externalId": null, "displayName": "Planner", "distributionMethod": "store" })
}

fn other_installation(person: &Person) -> String {
    person.installation().chars().rev().collect()
}

fn chat_of(simulator: &Simulator, person: &Person, installation: &str) -> Result<Response, GraphError> {
    let state = lock(&person.state);
    if !state.app_installed || installation != person.installation() {
        return Err(GraphError::not_found("No chat was found for this installation."));
    }
    let id = state.chat.id.clone();
    drop(state);
    Ok(Json(chat_json(simulator, person, &id)).into_response())
}

fn chat_json(simulator: &Simulator, person: &Person, id: &str) -> Value {
    json!({
        "@odata.context": format!("{}/v1.0/$metadata#chats/$entity", simulator.0.base),
        "id": id,
        "topic": null,
        "createdDateTime": clock::stamp(1_767_225_600_000),
        "lastUpdatedDateTime": clock::stamp(1_767_225_600_000),
        "chatType": "oneOnOne",
        "webUrl": format!("{}/teams/{}", simulator.0.base, person.oid),
        "tenantId": person.tid,
        "onlineMeetingInfo": null,
        "viewpoint": null,
    })
}
