//! What the bot says.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::complaint::{Complaint, ConnectorError};
use super::{call, keep_pace, open_to_write};
use crate::Simulator;
use crate::graph::store::{Author, Message};

/// The limit of an activity, counted as Teams counts: in UTF-16.
const SIZE_MAX: usize = 100 * 1024;

const CARD: &str = "application/vnd.microsoft.card.adaptive";

type Body = Result<Bytes, BytesRejection>;

/// `POST /connector/v3/conversations/{conversation}/activities`
pub(super) async fn send(
    State(simulator): State<Simulator>,
    Path(conversation): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let id = conversation.clone();
    call(&simulator, &headers, "connector.send", Some(conversation), move |simulator| {
        say(simulator, &id, None, body)
    })
    .await
}

/// `POST /connector/v3/conversations/{conversation}/activities/{activity}`
pub(super) async fn reply(
    State(simulator): State<Simulator>,
    Path((conversation, activity)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let id = conversation.clone();
    call(&simulator, &headers, "connector.reply", Some(conversation), move |simulator| {
        say(simulator, &id, Some(activity), body)
    })
    .await
}

/// `PUT /connector/v3/conversations/{conversation}/activities/{activity}`
pub(super) async fn update(
    State(simulator): State<Simulator>,
    Path((conversation, activity)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let id = conversation.clone();
    call(&simulator, &headers, "connector.update", Some(conversation), move |simulator| {
        let chat = open_to_write(simulator, &id)?;
        let new = read(body)?.message(simulator, None)?;
        let new = new.ok_or_else(|| ConnectorError::bad("Only messages can be updated."))?;
        changed(activity.parse().ok().and_then(|id| chat.change(id, Some(new))))?;
        Ok(Json(json!({ "id": activity })).into_response())
    })
    .await
}

/// `DELETE /connector/v3/conversations/{conversation}/activities/{activity}`
pub(super) async fn delete(
    State(simulator): State<Simulator>,
    Path((conversation, activity)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let id = conversation.clone();
    call(&simulator, &headers, "connector.delete", Some(conversation), move |simulator| {
        let chat = open_to_write(simulator, &id)?;
        changed(activity.parse().ok().and_then(|id| chat.change(id, None)))?;
        Ok(StatusCode::OK.into_response())
    })
    .await
}

fn changed(found: Option<Author>) -> Result<(), ConnectorError> {
    match found {
        Some(Author::Bot) => Ok(()),
        Some(_) => Err(Complaint::NotEnoughPermissions.into()),
        None => Err(Complaint::ActivityNotFoundInConversation.into()),
    }
}

fn say(
    simulator: &Simulator,
    conversation: &str,
    reply_to: Option<String>,
    body: Body,
) -> Result<Response, ConnectorError> {
    let activity = read(body)?;
    let id = add(simulator, conversation, reply_to, &activity)?;
    // What leaves no message, such as typing, has an id of no use.
    let id = id.unwrap_or_else(|| simulator.0.chance.uuid().to_string());
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))).into_response())
}

/// Puts an activity of the bot into a conversation. Answers with the id of the message, if it is one.
pub(super) fn add(
    simulator: &Simulator,
    conversation: &str,
    reply_to: Option<String>,
    activity: &Outgoing,
) -> Result<Option<String>, ConnectorError> {
    let chat = open_to_write(simulator, conversation)?;
    let message = activity.message(simulator, reply_to)?;
    keep_pace(simulator, &chat)?;
    Ok(message.map(|message| chat.store(simulator.0.clock.now_ms(), message).id.to_string()))
}

fn read(body: Body) -> Result<Outgoing, ConnectorError> {
    let body = body.map_err(|_| Complaint::MessageSizeTooBig)?;
    serde_json::from_slice(&body).map_err(|error| ConnectorError::bad(error.to_string()))
}

/// An activity of the bot, as far as Teams cares.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outgoing {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    text_format: Option<String>,
    summary: Option<Box<str>>,
    reply_to_id: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: String,
    content: Option<Value>,
    content_url: Option<String>,
    name: Option<String>,
}

impl Outgoing {
    /// The message that this leaves in the chat, if any.
    fn message(
        &self,
        simulator: &Simulator,
        reply_to: Option<String>,
    ) -> Result<Option<Message>, ConnectorError> {
        match self.kind.as_str() {
            "message" => {}
            "typing" => return Ok(None),
            _ => return Err(ConnectorError::bad(format!("Unknown activity type '{}'.", self.kind))),
        }
        let text = self.text.as_deref().unwrap_or_default();
        if text.is_empty() && self.attachments.is_empty() {
            return Err(ConnectorError::bad("A message needs a text or an attachment."));
        }
        let attachments = self.attachments(simulator)?;
        let size = text.encode_utf16().count() * 2
            + attachments.as_ref().map_or(0, |raw| raw.get().encode_utf16().count() * 2);
        if size > SIZE_MAX {
            return Err(Complaint::MessageSizeTooBig.into());
        }
        Ok(Some(Message {
            is_html: self.text_format.as_deref() == Some("xml"),
            attachments,
            reply_to: reply_to.or_else(|| self.reply_to_id.clone()).map(Into::into),
            summary: self.summary.clone(),
            ..Message::plain(Author::Bot, None, text)
        }))
    }

    /// The attachments in Graph's shape.
    fn attachments(&self, simulator: &Simulator) -> Result<Option<Box<RawValue>>, ConnectorError> {
        if self.attachments.is_empty() {
            return Ok(None);
        }
        let mut shaped = vec![];
        for attachment in &self.attachments {
            attachment.check()?;
            let content = attachment.content.as_ref().map(|content| match content {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            shaped.push(json!({
                "id": simulator.0.chance.uuid(),
                "contentType": attachment.content_type,
                "contentUrl": attachment.content_url,
                "content": content,
                "name": attachment.name,
                "thumbnailUrl": null,
            }));
        }
        to_raw_value(&shaped).map(Some).map_err(|error| ConnectorError::bad(error.to_string()))
    }
}

impl Attachment {
    fn check(&self) -> Result<(), ConnectorError> {
        let is_card =
            self.content.as_ref().is_some_and(|it| it["type"] == "AdaptiveCard" && it["version"].is_string());
        if self.content_type == CARD && !is_card {
            return Err(ConnectorError::bad(
                "The content of a card must be an adaptive card with a version.",
            ));
        }
        Ok(())
    }
}
