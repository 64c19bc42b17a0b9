//! Reading requests, so that a wrong one is answered with the field and what was wrong with it.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request,
        path::ErrorKind,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{ApiError, Kind};

/// A JSON body. Unlike `axum::Json` it answers with problems.
#[derive(Clone, Copy, Debug)]
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        if is_json { parse_json(&body(request, state).await?).map(Self) } else { Err(not_said_to_be_json()) }
    }
}

/// A body that may be left out: then no header says what it is.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let is_json = is_json(request.headers());
        match body(request, state).await? {
            bytes if bytes.is_empty() => Ok(None),
            bytes if is_json => parse_json(&bytes).map(Self).map(Some),
            _ => Err(not_said_to_be_json()),
        }
    }
}

fn not_said_to_be_json() -> ApiError {
    let detail = "The body must be JSON, and the header Content-Type must say `application/json`.";
    ApiError::new(Kind::UnsupportedMediaType, detail)
}

/// The bytes of a body that is not larger than its route allows (`server.max_body_bytes`, where it says nothing else).
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(Kind::TooLarge, "The body is larger than this route allows.")
        } else {
            ApiError::new(Kind::InvalidRequest, "The body could not be read to its end.")
        }
    })
}

/// Reads JSON bytes: a body, or one line of a batch.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.inner();
        let field = (path != ".").then_some(path);
        match error.classify() {
            serde_json::error::Category::Data => wrong(field.as_deref(), &without_value(&error.to_string())),
            _ if error.to_string().starts_with("recursion limit") => {
                wrong(field.as_deref(), "is nested more than 127 levels deep")
            }
            _ => not_json(error),
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let place = format!("line {}, column {}", error.line(), error.column());
    ApiError::new(Kind::InvalidRequest, format!("The body is not JSON: see {place}."))
}

/// Reads a part of a body that was taken as a value first; `place` is where in the body it stands.
pub fn parse_part<T: DeserializeOwned>(place: &str, part: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(part).map_err(|error| wrong_part(place, &error))
}

/// The same, where something else has read it.
pub fn wrong_part(place: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let path = error.path().to_string();
    let field = if path == "." { place.to_owned() } else { format!("{place}.{path}") };
    wrong(Some(&field), &without_value(&error.inner().to_string()))
}

/// What a field of the request has to be, and is not.
pub fn invalid(field: &str, what: &str) -> ApiError {
    wrong(Some(field), what)
}

/// `detail` reads "`recipient.tenant`: must be …"; the field is also a member of the problem.
fn wrong(field: Option<&str>, what: &str) -> ApiError {
    match field {
        Some(field) => ApiError::new(Kind::InvalidRequest, format!("`{field}`: {what}")).with("field", field),
        None => ApiError::new(Kind::InvalidRequest, what),
    }
}

/// Says what is expected without repeating what was given, which may be personal, and without line and column.
fn without_value(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let given =
        ["invalid type", "invalid value", "invalid length"].iter().any(|start| message.starts_with(start));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if given => format!("must be {expected}"),
        _ => message.to_owned(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Parameters in the path.
#[derive(Clone, Copy, Debug)]
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| match rejection {
            PathRejection::FailedToDeserializePathParams(error) => match error.into_kind() {
                ErrorKind::ParseErrorAtKey { key, expected_type, .. } => {
                    wrong(Some(&key), &format!("must be {expected_type}"))
                }
                ErrorKind::DeserializeError { key, message, .. } => {
                    wrong(Some(&key), &without_value(&message))
                }
                ErrorKind::InvalidUtf8InPathParam { key } => wrong(Some(&key), "must be UTF-8"),
                ErrorKind::Message(message) => wrong(None, &without_value(&message)),
                _ => wrong(None, "a part of the path is not valid"),
            },
            rejection => ApiError::internal(rejection),
        })
    }
}

/// Parameters in the query string. The type should deny unknown fields, so that a misspelt one is told.
#[derive(Clone, Copy, Debug)]
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| match rejection {
            QueryRejection::FailedToDeserializeQueryString(error) => {
                // axum keeps the path and the message in the source of its error.
                let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                match text.split_once(": ") {
                    Some((field, message)) if !field.contains(' ') => {
                        wrong(Some(field), &without_value(message))
                    }
                    _ => wrong(None, &format!("The query is not valid: {}", without_value(&text))),
                }
            }
            rejection => ApiError::internal(rejection),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Order {
        recipient: Recipient,
        items: Vec<u32>,
        #[serde(default)]
        card: serde_json::Value,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Recipient {
        tenant: domain::TenantId,
    }

    fn detail(json: &str) -> String {
        parse_json::<Order>(json.as_bytes()).unwrap_err().detail().to_owned()
    }

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not_repeated() {
        let text = detail(r#"{"recipient":{"tenant":"alice@example.com"},"items":[]}"#);
        assert!(text.starts_with("`recipient.tenant`: ") && !text.contains("alice"), "{text}");
        let text = detail(r#"{"items":[1,"secret"]}"#);
        assert_eq!(text, "`items[1]`: must be u32");
    }

    #[test]
    fn missing_and_unknown_fields_are_named() {
        assert_eq!(detail("{}"), "missing field `recipient`");
        assert!(detail(r#"{"recipient":{"tenat":1}}"#).contains("unknown field `tenat`, expected `tenant`"));
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place() {
        assert_eq!(detail("{,}"), "The body is not JSON: see line 1, column 2.");
        assert!(detail("").contains("not JSON"));
        let tenant = "00000000-0000-0000-0000-000000000001";
        let good = format!(r#"{{"recipient":{{"tenant":"{tenant}"}},"items":[]}}"#);
        assert!(detail(&format!("{good} more")).contains("not JSON"));
        let deep = "[".repeat(200);
        assert!(detail(&format!(r#"{{"card":{deep}"#)).contains("nested"));
    }
}
