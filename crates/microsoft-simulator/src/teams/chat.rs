//! A chat: what was said in it and by whom, and what can be done there.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::card::{self, Submitting};
use super::{REFRESH_SECONDS, SHOWN_MAX, nobody, text};
use crate::activities::group_name;
use crate::connector::BOT_NAME;
use crate::graph::store::{Author, Chat, Message};
use crate::page::{frame, page};
use crate::people::Person;
use crate::{Simulator, clock, lock};

/// `GET /teams/{person}`
pub(super) async fn with_bot(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    let here = format!("/teams/{}", person.oid);
    let (installed, blocked) = {
        let state = lock(&person.state);
        (state.app_installed, state.bot_blocked)
    };
    page(
        StatusCode::OK,
        &format!("{} · Teams", person.name()),
        None,
        &html! {
            nav.row { a href="/teams" { "All people" } a href={ (here) "/group" } { (group_name(person)) } }
            h1 { (person.name()) }
            p.soft { "Chat with " (BOT_NAME) ", the bot. What Graph posts here is said by the person whose token it has." }
            (trouble(&simulator, person))
            @if installed {
                (messages_frame(&here))
                @if blocked { p { "You have blocked the bot." } } @else { (compose(&here, "Message to the bot")) }
            } @else {
                p { "The app is not installed, so there is no chat." }
            }
            (app(person, &here, installed, blocked))
        },
    )
}

/// `GET /teams/{person}/group`
pub(super) async fn group(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response {
    let Some((person, _)) = group_of(&simulator, &name) else { return nobody() };
    let here = format!("/teams/{}/group", person.oid);
    page(
        StatusCode::OK,
        &format!("{} · Teams", group_name(person)),
        None,
        &html! {
            nav.row { a href="/teams" { "All people" } a href={ "/teams/" (person.oid) } { (BOT_NAME) } }
            h1 { (group_name(person)) }
            p.soft { "You are " (person.name()) ". What you say here mentions the bot, which is in the group too." }
            (trouble(&simulator, person))
            (messages_frame(&here))
            (compose(&here, "Message to the group"))
        },
    )
}

/// `GET /teams/{person}/messages`
pub(super) async fn messages(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response {
    let Some(person) = simulator.0.directory.find(&name) else { return nobody() };
    let chat = lock(&person.state).chat.clone();
    conversation(&simulator, &chat, &format!("/teams/{}", person.oid))
}

/// `GET /teams/{person}/group/messages`
pub(super) async fn group_messages(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response {
    let Some((person, chat)) = group_of(&simulator, &name) else { return nobody() };
    conversation(&simulator, &chat, &format!("/teams/{}/group", person.oid))
}

fn group_of<'a>(simulator: &'a Simulator, name: &str) -> Option<(&'a Person, Arc<Chat>)> {
    let person = simulator.0.directory.find(name)?;
    Some((person, simulator.0.directory.chats.group(person.tid)?))
}

/// The messages stand in a frame, so that asking for them again takes nothing from who is typing.
fn messages_frame(here: &str) -> Markup {
    html! { iframe src={ (here) "/messages" } title="Messages" {} }
}

fn compose(here: &str, label: &str) -> Markup {
    html! {
        form method="post" action={ (here) "/say" } {
            input type="text" name="text" aria-label=(label) placeholder=(label) autocomplete="off" autofocus required;
            button.main { "Send" }
        }
    }
}

/// What the person can do about the app.
fn app(person: &Person, here: &str, installed: bool, blocked: bool) -> Markup {
    let locale = lock(&person.state).locale.clone();
    let choices: &[(&str, &str)] = match (installed, blocked) {
        (false, _) => &[("install", "Install the app")],
        (true, false) => &[("remove", "Remove the app"), ("block", "Block the bot")],
        (true, true) => &[("remove", "Remove the app"), ("unblock", "Unblock the bot")],
    };
    let mut languages = vec![("en-US", "English"), ("de-DE", "Deutsch")];
    if !languages.iter().any(|(known, _)| *known == locale) {
        languages.push((&locale, &locale));
    }
    html! {
        form method="post" action={ (here) "/app" } {
            @for (value, title) in choices { button name="do" value=(value) { (title) } }
        }
        form method="post" action={ (here) "/app" } {
            select name="locale" aria-label="Language" {
                @for (value, title) in languages { option value=(value) selected[value == locale] { (title) } }
            }
            button { "Use this language" }
        }
    }
}

/// Why the bot may be silent.
fn trouble(simulator: &Simulator, person: &Person) -> Markup {
    let last = simulator.sent().into_iter().rev().find(|sent| sent.oid() == Some(person.oid));
    html! {
        @if !simulator.has_bot() { p.error { "No bot listens: there is no messaging endpoint." } }
        @else if let Some(last) = last {
            @match last.status {
                Some(200..300) => {}
                Some(status) => p.error role="alert" { "The bot answered " (status) " to what you did last." }
                None => p.error role="alert" { "The bot did not answer to what you did last." }
            }
        }
    }
}

fn conversation(simulator: &Simulator, chat: &Chat, here: &str) -> Response {
    let messages = chat.tail(SHOWN_MAX);
    // Asking for the page again would empty what is being filled in.
    let is_form = messages.last().is_some_and(|last| cards(last).iter().any(card::has_inputs));
    frame(
        "Messages",
        (!is_form).then_some(REFRESH_SECONDS),
        &html! {
            @if messages.is_empty() { p.soft { "No messages yet." } }
            @if is_form { p { a href={ (here) "/messages" } { "Look for new messages" } } }
            div.chat role="log" aria-label="Messages, the newest first" tabindex="0" {
                // The style shows them bottom up, so that the newest stay in sight however often the page is
                // asked for again.
                @for message in messages.iter().rev() { (bubble(simulator, message, here)) }
                @if chat.count() > messages.len() { p.soft { "Older messages are not shown." } }
            }
        },
    )
}

fn bubble(simulator: &Simulator, message: &Message, here: &str) -> Markup {
    let person = message.from.and_then(|oid| simulator.0.directory.person(oid));
    let name = person.map_or_else(|| BOT_NAME.to_owned(), |person| person.name());
    let is_bot = message.author == Author::Bot;
    let how = match message.author {
        Author::Graph => Some("by Graph"),
        Author::Person => None,
        Author::Bot if message.edited => Some("bot, edited"),
        Author::Bot => Some("bot"),
    };
    // A card that a person posted has no bot behind it to submit it to.
    let submitting = is_bot.then(|| Submitting { url: format!("{here}/submit"), message: message.id });
    html! {
        article.message.bot[is_bot] id=(message.id) {
            header {
                span { (name) @if let Some(how) = how { " · " (how) } }
                time datetime=(clock::stamp(message.id)) { (clock::hour(message.id)) }
            }
            @if let Some(subject) = &message.subject { strong { (subject) } }
            @if message.is_html { (text::from_html(&message.content)) } @else { (message.content) }
            @for card in &cards(message) { (card::card(card, submitting.as_ref())) }
            @if let Some(summary) = &message.summary { p.soft { "In notifications: " (summary) } }
        }
    }
}

/// The cards attached to a message, each of which is stored as a string of JSON.
pub(super) fn cards(message: &Message) -> Vec<Value> {
    let attachments: Vec<Value> =
        message.attachments.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    attachments
        .iter()
        .filter_map(|attachment| serde_json::from_str(attachment["content"].as_str()?).ok())
        .collect()
}
