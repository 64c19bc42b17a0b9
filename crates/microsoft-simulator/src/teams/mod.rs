//! A small Teams: each person's chat with the bot and the group of their tenant, as plain pages and forms.
//!
//! | Path | What |
//! |---|---|
//! | `/teams` | everybody, to pick one |
//! | `/teams/{person}`, `/teams/{person}/group` | the chat with the bot, the group; by object id or user principal name |
//! | `…/messages` | the messages alone, in a frame that asks for itself anew |
//! | `POST /teams/{person}/app` | `do` is `install`, `remove`, `block` or `unblock`; `locale` sets the language |
//! | `POST …/say` | `text` is typed |
//! | `POST …/submit` | a card is submitted: `message`, `action` (its number in the card) and `input.ID` of each input |
//!
//! **Invariant.** Nothing of a message is taken over as markup: it is shown as text, with links to http addresses.

mod card;
mod chat;
mod forms;
mod text;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use maud::html;

pub(crate) use text::plain_text;

use crate::page::page;
use crate::people::{Person, TENANTS};
use crate::{Simulator, lock};

/// How many people and messages a page shows.
const SHOWN_MAX: usize = 100;
const REFRESH_SECONDS: u32 = 2;

pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/teams", get(people))
        .route("/teams/{person}", get(chat::with_bot))
        .route("/teams/{person}/messages", get(chat::messages))
        .route("/teams/{person}/app", post(forms::app))
        .route("/teams/{person}/say", post(forms::say))
        .route("/teams/{person}/submit", post(forms::submit))
        .route("/teams/{person}/group", get(chat::group))
        .route("/teams/{person}/group/messages", get(chat::group_messages))
        .route("/teams/{person}/group/say", post(forms::say_in_group))
        .route("/teams/{person}/group/submit", post(forms::submit_in_group))
}

/// `GET /teams`
async fn people(State(simulator): State<Simulator>) -> Response {
    page(
        StatusCode::OK,
        "Teams",
        Some(REFRESH_SECONDS),
        &html! {
            h1 { "Teams" }
            p.soft { "Whose Teams do you want to see?" }
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
    let guest = if person.home.is_some() { "Guest · " } else { "" };
    let state = lock(&person.state);
    let status = match state.chat.count() {
        _ if !state.app_installed => "The app is not installed".into(),
        _ if state.bot_blocked => "The bot is blocked".into(),
        0 => "No messages".into(),
        1 => "1 message".into(),
        count => format!("{count} messages"),
    };
    format!("{guest}{status}")
}

fn nobody() -> Response {
    page(StatusCode::NOT_FOUND, "Teams", None, &html! { h1 { "Nobody by that name" } })
}
