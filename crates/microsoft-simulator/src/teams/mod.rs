//! A small Teams: each person's chat with the bot, to look at.
//!
//! **Invariant.** Nothing of a message is taken over as markup: it is shown as text, with links to http addresses.

mod card;
mod text;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

pub(crate) use text::plain_text;

use crate::graph::store::Message;
use crate::page::page;
use crate::people::{Person, TENANTS};
use crate::{Simulator, clock, lock};

/// How many people and messages a page shows.
const SHOWN_MAX: usize = 100;
const REFRESH_SECONDS: u32 = 2;

pub(crate) fn routes() -> Router<Simulator> {
    Router::new().route("/teams", get(people)).route("/teams/{person}", get(chat))
}

/// `GET /teams`
async fn people(State(simulator): State<Simulator>) -> Response {
    page(
        StatusCode::OK,
        "Teams",
        Some(REFRESH_SECONDS),
        &html! {
            h1 { "Teams" }
            p.soft { "Whose chat with the bot do you want to see?" }
            @for (tenant, _, tid) in TENANTS {
                h2 { (tenant) }
                ul.people {
                    @for person in simulator.0.directory.people().iter().filter(|it| it.tid == tid).take(SHOWN_MAX) {
                        li {
                            a href={ "/teams/" (person.oid) } { (person.name()) small { (status(person)) } }
                        }
                    }
                }
            }
        },
    )
}

fn status(person: &Person) -> String {
    let state = lock(&person.state);
    match state.chat.count() {
        _ if !state.app_installed => "The app is not installed".into(),
        0 => "No messages".into(),
        1 => "1 message".into(),
        count => format!("{count} messages"),
    }
}

/// `GET /teams/{person}`, by object id or user principal name.
async fn chat(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else {
        return page(StatusCode::NOT_FOUND, "Teams", None, &html! { h1 { "Nobody by that name" } });
    };
    let (chat, app_installed) = {
        let state = lock(&person.state);
        (state.chat.clone(), state.app_installed)
    };
    let messages = chat.tail(SHOWN_MAX);
    page(
        StatusCode::OK,
        &format!("{} · Teams", person.name()),
        Some(REFRESH_SECONDS),
        &html! {
            a href="/teams" { "All people" }
            h1 { (person.name()) }
            p.soft { "Chat with the bot. Graph posts as the person whose token it gets, so it is they who speak." }
            @if !app_installed { p { "The app is not installed, so there is no chat." } }
            @else if messages.is_empty() { p { "No messages yet." } }
            @else {
                div.chat {
                    // The style shows them bottom up, so that the newest stay in sight however often the page is
                    // asked for again.
                    @for message in messages.iter().rev() { (bubble(person, message)) }
                    @if chat.count() > messages.len() { p.soft { "Older messages are not shown." } }
                }
            }
        },
    )
}

fn bubble(person: &Person, message: &Message) -> Markup {
    let cards = cards(message);
    html! {
        article.message id=(message.id) {
            header { span { (person.name()) } time datetime=(clock::stamp(message.id)) { (clock::hour(message.id)) } }
            @if let Some(subject) = &message.subject { strong { (subject) } }
            @if message.is_html { (text::from_html(&message.content)) } @else { (message.content) }
            @for card in &cards { (card::card(card)) }
        }
    }
}

/// The cards attached to a message; Graph takes each as a string of JSON.
fn cards(message: &Message) -> Vec<Value> {
    let attachments: Vec<Value> =
        message.attachments.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    attachments
        .iter()
        .filter_map(|attachment| serde_json::from_str(attachment["content"].as_str()?).ok())
        .collect()
}
