//! What a person does in their Teams. Each form leads back to the page it stood on.

use std::collections::HashMap;

use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::Value;

use super::{card, chat, nobody};
use crate::graph::store::Chat;
use crate::{Simulator, lock};

type Fields = HashMap<String, String>;

/// `POST /teams/{person}/app`
pub(super) async fn app(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    if let Some(locale) = fields.get("locale") {
        lock(&person.state).locale.clone_from(locale);
    }
    match fields.get("do").map(String::as_str) {
        Some("install") => simulator.install(person.oid, true).await,
        Some("remove") => simulator.install(person.oid, false).await,
        Some("block") => lock(&person.state).bot_blocked = true,
        Some("unblock") => lock(&person.state).bot_blocked = false,
        _ => {}
    }
    back(&format!("/teams/{}", person.oid))
}

/// `POST /teams/{person}/say`
pub(super) async fn say(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    if let Some(text) = fields.get("text") {
        simulator.say(person.oid, text).await;
    }
    back(&format!("/teams/{}", person.oid))
}

/// `POST /teams/{person}/group/say`
pub(super) async fn say_in_group(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    if let Some(text) = fields.get("text") {
        simulator.say_in_group(person.oid, text).await;
    }
    back(&format!("/teams/{}/group", person.oid))
}

/// `POST /teams/{person}/submit`
pub(super) async fn submit(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    let found = submitted(&lock(&person.state).chat, &fields);
    if let Some((message, value)) = found {
        simulator.submit(person.oid, &message, value).await;
    }
    back(&format!("/teams/{}/messages", person.oid))
}

/// `POST /teams/{person}/group/submit`
pub(super) async fn submit_in_group(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    let group = simulator.0.directory.chats.group(person.tid);
    if let Some((message, value)) = group.and_then(|group| submitted(&group, &fields)) {
        simulator.submit_in_group(person.oid, &message, value).await;
    }
    back(&format!("/teams/{}/group/messages", person.oid))
}

/// The message whose card was submitted, and what the bot is to get of it.
fn submitted(chat: &Chat, fields: &Fields) -> Option<(String, Value)> {
    let id = fields.get("message")?;
    let message = chat.find(id.parse().ok()?)?;
    let number = fields.get("action")?.parse().ok()?;
    let value = chat::cards(&message).iter().find_map(|it| card::submitted(it, number, fields))?;
    Some((id.clone(), value))
}

fn back(to: &str) -> Response {
    Redirect::to(to).into_response()
}
