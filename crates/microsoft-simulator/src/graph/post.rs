//! Posting a message into a chat.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::error::GraphError;
use super::store::{self, Author, Message};
use super::{Caller, messages};
use crate::Simulator;
use crate::activities::Echoing;

const SCOPES: &[&str] = &["ChatMessage.Send", "Chat.ReadWrite", "Group.ReadWrite.All"];

/// The limit of a message, counted as Teams counts: text, attachments and mentions in UTF-16.
const SIZE_MAX: usize = 28 * 1024;

const CARD: &str = "application/vnd.microsoft.card.adaptive";

/// `POST /v1.0/chats/{chat}/messages`
pub(super) async fn post(
    State(simulator): State<Simulator>,
    Path(chat): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let id = chat.clone();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_json =
        text(header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
    let client_request_id = text("client-request-id").map(Into::into);
    let echoing = Echoing::new(&simulator);
    let noting = echoing.clone();
    let mut response =
        super::call(&simulator, &headers, "graph.post", Some(chat), SCOPES, move |simulator, caller| {
            let body = body.map_err(|_| GraphError::too_large())?;
            if !is_json {
                let message = "Content-Type must be application/json.";
                return Err(GraphError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "UnsupportedMediaType",
                    message,
                ));
            }
            accept(simulator, caller, &id, &body, client_request_id, &noting)
        })
        .await;
    echoing.early().await;
    // The answer's way out ends the wait of an echo that is to come after it.
    response.extensions_mut().insert(echoing);
    response
}

fn accept(
    simulator: &Simulator,
    caller: &Caller,
    chat: &str,
    body: &[u8],
    client_request_id: Option<Box<str>>,
    echoing: &Echoing,
) -> Result<Response, GraphError> {
    let chat = store::open(simulator, caller.person(), chat)?;
    let dials = simulator.dials();
    if dials.throttle && chat.throttle(caller.now_ms) {
        return Err(GraphError::throttled(dials.retry_after.then_some(1)));
    }
    let posted: Posted = serde_json::from_slice(body).map_err(|error| GraphError::bad(error.to_string()))?;
    let message = Message { client_request_id, ..posted.check(caller.person().oid)? };
    let stored = chat.store(caller.now_ms, message);
    echoing.stored(caller.person(), &chat, &stored);
    let answer = messages::ChatMessage::new(simulator, &chat, caller.person(), &stored, true);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// What can be said of a new chat message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Posted {
    body: ItemBody,
    attachments: Option<Box<RawValue>>,
    mentions: Option<Box<RawValue>>,
    subject: Option<Box<str>>,
    importance: Option<Importance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ItemBody {
    #[serde(default)]
    content_type: ContentType,
    content: Option<Box<str>>,
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
enum ContentType {
    #[default]
    Text,
    Html,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Importance {
    Normal,
    High,
    Urgent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the fields that are not read are listed so that others are refused")]
struct Attachment {
    id: String,
    content_type: String,
    content: Option<String>,
    content_url: Option<String>,
    name: Option<String>,
    teams_app_id: Option<String>,
    thumbnail_url: Option<String>,
}

impl Posted {
    /// The message, if Graph would take it; its id is given when it is stored.
    fn check(self, from: Uuid) -> Result<Message, GraphError> {
        let content = self.body.content.unwrap_or_default();
        let is_html = self.body.content_type == ContentType::Html;
        let parts = [self.attachments.as_deref(), self.mentions.as_deref()];
        let length =
            utf16_bytes(&content) + parts.iter().flatten().map(|it| utf16_bytes(it.get())).sum::<usize>();
        if length > SIZE_MAX {
            return Err(GraphError::too_large());
        }
        let attachments: Vec<Attachment> = match &self.attachments {
            Some(raw) => {
                serde_json::from_str(raw.get()).map_err(|error| GraphError::bad(error.to_string()))?
            }
            None => vec![],
        };
        if let Some(raw) = &self.mentions {
            serde_json::from_str::<Vec<Value>>(raw.get())
                .map_err(|error| GraphError::bad(error.to_string()))?;
        }
        if content.is_empty() && attachments.is_empty() {
            return Err(GraphError::bad("Missing body content."));
        }
        for attachment in &attachments {
            attachment.check(&content, is_html)?;
        }
        Ok(Message {
            is_html,
            attachments: self.attachments.filter(|_| !attachments.is_empty()),
            mentions: self.mentions,
            subject: self.subject,
            importance: match self.importance {
                None | Some(Importance::Normal) => "normal",
                Some(Importance::High) => "high",
                Some(Importance::Urgent) => "urgent",
            },
            ..Message::plain(Author::Graph, Some(from), &content)
        })
    }
}

impl Attachment {
    fn check(&self, content: &str, is_html: bool) -> Result<(), GraphError> {
        if !is_html || !content.contains(&format!("<attachment id=\"{}\"></attachment>", self.id)) {
            let id = &self.id;
            return Err(GraphError::bad(format!(
                "The body does not refer to the attachment with id '{id}'."
            )));
        }
        let is_card = self.content_type == CARD;
        let card = self.content.as_deref().map(serde_json::from_str::<Value>);
        match card {
            Some(Ok(Value::Object(card))) if card.get("type").is_some_and(|it| it == "AdaptiveCard") => {
                Ok(())
            }
            _ if is_card => {
                Err(GraphError::bad("The content of a card must be an adaptive card, as a string."))
            }
            _ => Ok(()),
        }
    }
}

fn utf16_bytes(text: &str) -> usize {
    text.encode_utf16().count() * 2
}
