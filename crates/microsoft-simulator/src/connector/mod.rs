//! The Bot Framework: the Bot Connector, through which the bot speaks, and the keys by which Teams proves itself to
//! the bot.
//!
//! | Path | What |
//! |---|---|
//! | `/botframework/v1/.well-known/openidconfiguration`, `…/keys` | see [`framework`] |
//! | `POST /connector/v3/conversations` | the personal conversation with somebody, see [`conversations`] |
//! | `GET /connector/v3/conversations/{id}/members`, `…/members/{member}`, `…/pagedmembers` | who is in it |
//! | `POST /connector/v3/conversations/{id}/activities`, `…/activities/{activity}` | says something, or answers |
//! | `PUT`, `DELETE /connector/v3/conversations/{id}/activities/{activity}` | changes what the bot said, or takes it back |
//!
//! Its token is the bot's own, from Entra ID's token endpoint by client credentials.
//!
//! **Invariant.** The bot says something only where the app is installed and nobody has blocked it.

mod activities;
mod complaint;
mod conversations;
pub(crate) mod framework;
mod pace;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::{any, get, post};

use crate::calls::{Call, perform};
use crate::graph::store::{Chat, Members};
use crate::people::Person;
use crate::{Simulator, lock};

pub use complaint::Complaint;
use complaint::ConnectorError;
pub(crate) use pace::Pace;
pub(crate) use tokens::AppTokens;

/// What the bot is called in Teams.
pub(crate) const BOT_NAME: &str = "Chancery";

pub(crate) fn routes() -> Router<Simulator> {
    let conversation = |rest: &str| format!("/connector/v3/conversations/{{conversation}}/{rest}");
    Router::new()
        .route("/botframework/v1/.well-known/openidconfiguration", get(framework::metadata))
        .route("/botframework/v1/.well-known/keys", get(framework::keys))
        .route("/connector/v3/conversations", post(conversations::create))
        .route(&conversation("activities"), post(activities::send))
        .route(
            &conversation("activities/{activity}"),
            post(activities::reply).put(activities::update).delete(activities::delete),
        )
        .route(&conversation("members"), get(conversations::members))
        .route(&conversation("members/{member}"), get(conversations::member))
        .route(&conversation("pagedmembers"), get(conversations::paged_members))
        .route("/connector/{*rest}", any(unknown))
}

impl Simulator {
    /// What the Bot Framework calls the bot.
    pub fn bot_id(&self) -> String {
        format!("28:{}", self.0.settings.bot_app_id)
    }
}

type Answer = Result<Response, ConnectorError>;

/// Performs a call of the Bot Connector by the bot.
async fn call(
    simulator: &Simulator,
    headers: &HeaderMap,
    operation: &'static str,
    conversation: Option<String>,
    handle: impl FnOnce(&Simulator) -> Answer + Send + 'static,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).unwrap_or_default();
    let is_bot = simulator.0.app_tokens.is_valid(token, simulator.0.clock.now_ms());
    let chat = conversation.as_deref().and_then(|id| simulator.0.directory.chats.by_conversation(id));
    let call = Call { operation, oid: chat.and_then(|chat| chat.owner()), chat: conversation };
    let request_id = simulator.0.chance.uuid();
    let label = move |mut response: Response| {
        let id = HeaderValue::from_str(&request_id.to_string()).expect("a UUID is a header value");
        response.headers_mut().insert("ms-cv", id);
        response
    };
    let world = simulator.clone();
    perform(
        simulator,
        call,
        move |refusal| label(ConnectorError::ordered(refusal).answer()),
        move |_| {
            let admitted = if is_bot { Ok(()) } else { Err(Complaint::BotNotRegistered.into()) };
            label(admitted.and_then(|()| handle(&world)).unwrap_or_else(ConnectorError::answer))
        },
    )
    .await
}

/// The conversation, if there is one and the bot is in it.
fn open(simulator: &Simulator, id: &str) -> Result<Arc<Chat>, ConnectorError> {
    let directory = &simulator.0.directory;
    let chat = directory.chats.by_conversation(id).ok_or(Complaint::ConversationNotFound)?;
    if let Some(person) = owner(simulator, &chat) {
        let state = lock(&person.state);
        if state.chat.conversation_id != id {
            return Err(Complaint::ConversationNotFound.into());
        }
        if !state.app_installed {
            return Err(Complaint::BotNotInConversationRoster.into());
        }
    }
    Ok(chat)
}

/// The same, if the bot may also speak there.
fn open_to_write(simulator: &Simulator, id: &str) -> Result<Arc<Chat>, ConnectorError> {
    let chat = open(simulator, id)?;
    if owner(simulator, &chat).is_some_and(|person| lock(&person.state).bot_blocked) {
        return Err(Complaint::ConversationBlockedByUser.into());
    }
    Ok(chat)
}

fn owner<'a>(simulator: &'a Simulator, chat: &Chat) -> Option<&'a Arc<Person>> {
    chat.owner().and_then(|oid| simulator.0.directory.person(oid))
}

/// Who is in a conversation besides the bot.
fn people_in<'a>(simulator: &'a Simulator, chat: &Chat) -> Vec<&'a Arc<Person>> {
    let people = simulator.0.directory.people().iter();
    match chat.members {
        Members::One(oid) => people.filter(|person| person.oid == oid).collect(),
        Members::Everybody(tid) => people.filter(|person| person.tid == tid).collect(),
    }
}

/// Counts what the bot is about to say against the limits of the conversation.
fn keep_pace(simulator: &Simulator, chat: &Chat) -> Result<(), ConnectorError> {
    let dials = simulator.dials();
    if !dials.throttle {
        return Ok(());
    }
    let now_ms = simulator.0.clock.now_ms();
    lock(&chat.pace).admit(now_ms).map_err(|wait_ms| {
        let seconds = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        ConnectorError::throttled(dials.retry_after.then_some(seconds))
    })
}

/// Anything this connector does not have.
async fn unknown(State(simulator): State<Simulator>, headers: HeaderMap) -> Response {
    call(&simulator, &headers, "connector.other", None, |_| Err(Complaint::BadArgument.into())).await
}
