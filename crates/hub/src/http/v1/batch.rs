//! Many messages in one request, each with its own key and its own answer.

use std::collections::VecDeque;

use axum::{
    Json,
    extract::{DefaultBodyLimit, Request, State},
    http::header,
};
use domain::SurfaceChoice;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, router::UtoipaMethodRouterExt as _, routes};

use super::{
    content::ContentBody,
    messages::{Accepted, NewMessage, RecipientBody},
};
use crate::{
    http::{
        auth::Caller,
        extract::{body, invalid, parse_json},
        idempotency::IdempotencyKey,
        problem::{ApiError, Kind, Problem},
    },
    hub::Hub,
    services::messages::{self, Asked, Draft},
};

/// A batch may be larger than another body: a thousand messages of the largest size.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
const LINES_MAX: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(accept_batch).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)))
}

/// 1 to 1000 messages. As `application/x-ndjson` each stands in a line of its own, without anything around them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    #[schema(value_type = Vec<BatchMessage>)]
    messages: Vec<Box<RawValue>>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchMessage {
    /// 1 to 200 visible ASCII characters: for this message what the header is for a single one.
    idempotency_key: String,
    recipient: RecipientBody,
    #[schema(value_type = ContentBody)]
    content: Value,
    /// As of a single message.
    #[schema(value_type = Option<String>, pattern = "^(graph|bot|auto)$", example = "auto")]
    surface: Option<SurfaceChoice>,
}

/// The answers, in the order of the messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    results: Vec<LineAnswer>,
}

/// What a single request would have been answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineAnswer {
    /// `null` where it could not be read.
    idempotency_key: Option<String>,
    status: u16,
    #[serde(flatten)]
    outcome: LineOutcome,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum LineOutcome {
    Accepted(Accepted),
    Refused { problem: Problem },
}

/// Accepts many messages, each as `POST /v1/messages` would: a wrong one does not keep the others from being accepted.
#[utoipa::path(
    post, path = "/v1/messages:batch", tag = "messages",
    request_body(content((Batch = "application/json"), (BatchMessage = "application/x-ndjson"))),
    responses(
        (status = 200, body = BatchAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn accept_batch(
    State(hub): State<Hub>,
    caller: Caller,
    request: Request,
) -> Result<Json<BatchAnswer>, ApiError> {
    let lines = read(request).await?;
    let drafts: Vec<ReadLine> = lines.iter().map(|line| read_line(line)).collect();
    let asked =
        drafts.iter().flatten().map(|(key, draft)| Asked { caller: &caller, key, draft, cause: None });
    let mut answers = VecDeque::from(messages::accept_many(&hub, &asked.collect::<Vec<_>>()).await);
    let results = lines.iter().zip(drafts).map(|(line, draft)| {
        let answer = draft.and_then(|_| match answers.pop_front() {
            Some(answer) => answer.map_err(ApiError::from),
            None => Err(ApiError::internal("a message of a batch was not answered")),
        });
        LineAnswer::of(key_of(line), answer.map(|receipt| Accepted::of(&hub, receipt)))
    });
    Ok(Json(BatchAnswer { results: results.collect() }))
}

impl LineAnswer {
    fn of(idempotency_key: Option<String>, answer: Result<Accepted, ApiError>) -> Self {
        match answer {
            Ok(accepted) => Self { idempotency_key, status: 202, outcome: LineOutcome::Accepted(accepted) },
            Err(error) => {
                let problem = error.problem();
                Self { idempotency_key, status: problem.status, outcome: LineOutcome::Refused { problem } }
            }
        }
    }
}

/// The lines of the body, each still unread.
async fn read(request: Request) -> Result<Vec<Vec<u8>>, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let ndjson = content_type.eq_ignore_ascii_case("application/x-ndjson");
    if !ndjson && !content_type.eq_ignore_ascii_case("application/json") {
        let detail = "A batch is `application/json` or `application/x-ndjson`; say so by Content-Type.";
        return Err(ApiError::new(Kind::UnsupportedMediaType, detail));
    }
    let bytes = body(request, &()).await.map_err(|error| match error.kind() {
        Kind::TooLarge => ApiError::new(Kind::TooLarge, "A batch has at most 32 MiB."),
        _ => error,
    })?;
    let lines: Vec<Vec<u8>> = if ndjson {
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    } else {
        // An array would be taken for the fields of a batch in their order.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::new(Kind::InvalidRequest, "The body must be an object with `messages`."));
        }
        let batch: Batch = parse_json(&bytes)?;
        batch.messages.into_iter().map(|line| line.get().as_bytes().to_vec()).collect()
    };
    if !(1..=LINES_MAX).contains(&lines.len()) {
        return Err(invalid("messages", "must be 1 to 1000"));
    }
    Ok(lines)
}

/// A key and what is to be accepted under it, or what is wrong with the line.
pub(super) type ReadLine = Result<(String, Draft), ApiError>;

fn read_line(line: &[u8]) -> ReadLine {
    let BatchMessage { idempotency_key, recipient, content, surface } = parse_json(line)?;
    keyed_draft(&idempotency_key, NewMessage::new(recipient, content, surface))
}

/// A message whose key stands within it.
pub(super) fn keyed_draft(key: &str, message: NewMessage) -> ReadLine {
    let key = IdempotencyKey::parse(key)
        .ok_or_else(|| invalid("idempotency_key", "must have 1 to 200 visible ASCII characters"))?;
    Ok((key.0, message.into_draft()?))
}

/// The key of a line, as far as it can be read.
fn key_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Key {
        idempotency_key: String,
    }
    serde_json::from_slice(line).ok().map(|Key { idempotency_key }| idempotency_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"idempotency_key":"k1","recipient":{"account":"u-1"},"content":{"type":"text","text":"hi"}}"#;

    #[test]
    fn a_line_that_is_wrong_still_tells_its_key() {
        let wrong = GOOD.replace("text\":\"hi", "text\":\"");
        assert_eq!(key_of(wrong.as_bytes()).as_deref(), Some("k1"));
        assert_eq!(read_line(wrong.as_bytes()).unwrap_err().problem().more["field"], "content.text");
        assert_eq!(key_of(b"{"), None);
        assert!(read_line(b"{").unwrap_err().detail().contains("not JSON"));
        assert!(read_line(GOOD.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_in_a_line_is_held_to_the_same_rules_as_the_header() {
        let error = read_line(GOOD.replace("k1", "k 1").as_bytes()).unwrap_err();
        assert_eq!(error.problem().more["field"], "idempotency_key");
    }

    #[tokio::test]
    async fn a_bare_list_is_not_taken_for_a_batch() {
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let error = read(request.body(" []".into()).unwrap()).await.unwrap_err();
        assert_eq!(error.detail(), "The body must be an object with `messages`.");
    }

    #[test]
    fn the_lines_of_a_batch_are_read_one_by_one() {
        let batch: Batch = parse_json(format!(r#"{{"messages":[{GOOD},{{"x":1}}]}}"#).as_bytes()).unwrap();
        assert_eq!(batch.messages[0].get(), GOOD);
        assert!(parse_json::<Batch>(br#"{"messages":[],"more":1}"#).is_err());
    }
}
