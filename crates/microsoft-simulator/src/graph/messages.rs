//! Reading messages back, and the shape they have.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::error::GraphError;
use super::listing::Listing;
use super::store::{self, Author, Chat, Message};
use crate::connector::BOT_NAME;
use crate::people::Person;
use crate::{Simulator, clock};

const SCOPES: &[&str] = &["Chat.Read", "Chat.ReadWrite"];

/// `GET /v1.0/chats/{chat}/messages`, with `$top`, `$orderby`, `$filter` and `$skiptoken`.
pub(super) async fn list(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    super::call(&simulator, &headers, "graph.messages", Some(id.clone()), SCOPES, move |simulator, caller| {
        let chat = store::open(simulator, caller.person(), &id)?;
        let listing = Listing::read(&query)?;
        let (page, more) = chat.newest(listing.top, |message| listing.passes(message.id));
        let base = &simulator.0.base;
        let value: Vec<_> =
            page.iter().map(|it| ChatMessage::new(simulator, &chat, caller.person(), it, false)).collect();
        let mut answer = json!({
            "@odata.context": format!("{base}/v1.0/$metadata#chats('{}')/messages", url_part(&id)),
            "@odata.count": value.len(),
            "value": value,
        });
        if let Some(last) = page.last().filter(|_| more) {
            answer["@odata.nextLink"] =
                format!("{base}/v1.0/chats/{}/messages?{}", url_part(&id), listing.after(last.id)).into();
        }
        Ok(Json(answer).into_response())
    })
    .await
}

/// `GET /v1.0/chats/{chat}/messages/{message}`
pub(super) async fn one(
    State(simulator): State<Simulator>,
    Path((id, message)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    super::call(&simulator, &headers, "graph.message", Some(id.clone()), SCOPES, move |simulator, caller| {
        let chat = store::open(simulator, caller.person(), &id)?;
        let found = message.parse().ok().and_then(|message| chat.find(message));
        let found = found.ok_or_else(|| GraphError::not_found("The message was not found."))?;
        Ok(Json(ChatMessage::new(simulator, &chat, caller.person(), &found, true)).into_response())
    })
    .await
}

fn url_part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `microsoft.graph.chatMessage`; the fields of type `()` are always null here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatMessage<'a> {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    id: String,
    reply_to_id: (),
    etag: String,
    message_type: &'static str,
    created_date_time: String,
    last_modified_date_time: String,
    last_edited_date_time: (),
    deleted_date_time: (),
    subject: Option<&'a str>,
    summary: (),
    chat_id: &'a str,
    importance: &'static str,
    locale: &'static str,
    web_url: (),
    channel_identity: (),
    policy_violation: (),
    event_detail: (),
    from: From,
    body: Body<'a>,
    attachments: List<'a>,
    mentions: List<'a>,
    reactions: [(); 0],
    message_history: [(); 0],
}

#[derive(Serialize)]
struct From {
    application: Option<Application>,
    device: (),
    user: Option<User>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    #[serde(rename = "@odata.type")]
    kind: &'static str,
    id: Uuid,
    display_name: &'static str,
    #[serde(rename = "applicationIdentityType")]
    identity_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(rename = "@odata.type")]
    kind: &'static str,
    id: Uuid,
    display_name: String,
    #[serde(rename = "userIdentityType")]
    identity_type: &'static str,
    tenant_id: Uuid,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    content_type: &'static str,
    content: &'a str,
}

impl<'a> ChatMessage<'a> {
    /// The message; `alone` where it is the whole answer and names its own context.
    pub(super) fn new(
        simulator: &Simulator,
        chat: &'a Chat,
        person: &Person,
        message: &'a Message,
        alone: bool,
    ) -> Self {
        let created = clock::stamp(message.id);
        let context = || {
            format!("{}/v1.0/$metadata#chats('{}')/messages/$entity", simulator.0.base, url_part(&chat.id))
        };
        Self {
            context: alone.then(context),
            id: message.id.to_string(),
            reply_to_id: (),
            etag: message.id.to_string(),
            message_type: "message",
            last_modified_date_time: created.clone(),
            created_date_time: created,
            last_edited_date_time: (),
            deleted_date_time: (),
            subject: message.subject.as_deref(),
            summary: (),
            chat_id: &chat.id,
            importance: message.importance,
            locale: "en-us",
            web_url: (),
            channel_identity: (),
            policy_violation: (),
            event_detail: (),
            from: From::of(simulator, person, message),
            body: Body { content_type: message.content_type(), content: &message.content },
            attachments: list_of(message.attachments.as_deref()),
            mentions: list_of(message.mentions.as_deref()),
            reactions: [],
            message_history: [],
        }
    }
}

impl From {
    fn of(simulator: &Simulator, person: &Person, message: &Message) -> Self {
        if message.author == Author::Bot {
            let application = Application {
                kind: "#microsoft.graph.teamworkApplicationIdentity",
                id: simulator.0.settings.bot_app_id,
                display_name: BOT_NAME,
                identity_type: "bot",
            };
            return Self { application: Some(application), device: (), user: None };
        }
        let user = User {
            kind: "#microsoft.graph.teamworkUserIdentity",
            id: person.oid,
            display_name: person.name(),
            identity_type: "aadUser",
            tenant_id: person.tid,
        };
        Self { application: None, device: (), user: Some(user) }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum List<'a> {
    Some(&'a RawValue),
    Empty([(); 0]),
}

fn list_of(raw: Option<&RawValue>) -> List<'_> {
    raw.map_or(List::Empty([]), List::Some)
}
