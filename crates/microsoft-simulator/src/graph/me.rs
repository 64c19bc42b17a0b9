//! Who is signed in.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::error::GraphError;
use crate::people::Person;
use crate::{Simulator, lock};

/// `GET /v1.0/me`, with `$select`.
pub(super) async fn me(
    State(simulator): State<Simulator>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    super::call(&simulator, &headers, "graph.me", None, &["User.Read"], move |simulator, caller| {
        let mut user = user(caller.person());
        if let Some(select) = query.get("$select") {
            user = selected(&user, select)?;
        }
        user["@odata.context"] = format!("{}/v1.0/$metadata#users/$entity", simulator.0.base).into();
        Ok(Json(user).into_response())
    })
    .await
}

fn user(person: &Person) -> Value {
    json!({
        "id": person.oid,
        "displayName": person.name(),
        "givenName": person.given,
        "surname": person.surname,
        "mail": lock(&person.state).mail,
        "userPrincipalName": person.upn,
        "jobTitle": null,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": null,
        "businessPhones": [],
    })
}

fn selected(user: &Value, select: &str) -> Result<Value, GraphError> {
    let mut chosen = json!({});
    for name in select.split(',').map(str::trim) {
        let value = user.get(name).ok_or_else(|| {
            GraphError::bad(format!(
                "Could not find a property named '{name}' on type 'microsoft.graph.user'."
            ))
        })?;
        chosen[name] = value.clone();
    }
    Ok(chosen)
}
