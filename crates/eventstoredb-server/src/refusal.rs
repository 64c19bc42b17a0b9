//! How clients are told that something was not done: as the status of a call with the headers they look at, or inside an
//! answer of `BatchAppend`.
//!
//! Some clients know a refusal by its headers, others by words of its message, so those words stand as they are.

use prost::Message;
use store::{Expected, StoreError, StreamName};
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{
    limits,
    protocol::shared::{
        self, Any, BadRequest, MaximumAppendSizeExceeded, StreamDeleted, WrongExpectedVersion,
        wrong_expected_version,
    },
    wire::{self, NOTHING},
};

/// Why an append or a deletion was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    Store(StoreError, Expected),
    /// An event came without `type` or `content-type`.
    MissingProperties,
    TooLarge,
    Invalid(&'static str),
    /// The store did not answer in time.
    Late,
    /// The user may not.
    Denied,
}

impl Refusal {
    /// Of a call's own.
    pub(crate) fn into_status(self) -> Status {
        match self {
            Self::Store(error, expected) => status(error, expected),
            Self::MissingProperties => exception(
                Code::InvalidArgument,
                "an event needs a type and a content-type",
                "missing-required-metadata-property",
                [("required-metadata-properties", "type,content-type".into())],
            ),
            Self::TooLarge => too_large(),
            Self::Invalid(what) => Status::invalid_argument(what),
            Self::Late => Status::aborted("Operation timed out: the store did not answer in time"),
            Self::Denied => access_denied(),
        }
    }

    /// Inside an answer. The message is the name of the detail's type; clients know the refusal by either.
    pub(crate) fn into_batch_status(self) -> shared::Status {
        let (code, name, details) = match self {
            Self::Store(StoreError::Conflict { actual, .. }, expected) => {
                let details = wrong_expected_version(actual, expected);
                (Code::AlreadyExists, "WrongExpectedVersion", details.encode_to_vec())
            }
            Self::Store(StoreError::Deleted(stream), _) => {
                let details = StreamDeleted { stream: Some(wire::stream(&stream)) };
                (Code::NotFound, "StreamDeleted", details.encode_to_vec())
            }
            Self::TooLarge | Self::Store(StoreError::TooLarge { .. }, _) => {
                let limit_bytes = u32::try_from(limits::APPEND_BYTES_MAX).unwrap_or(u32::MAX);
                let details = MaximumAppendSizeExceeded { limit_bytes };
                (Code::InvalidArgument, "MaximumAppendSizeExceeded", details.encode_to_vec())
            }
            Self::Invalid(what) | Self::Store(StoreError::Invalid(what), _) => bad_request(what),
            Self::MissingProperties => bad_request("an event needs a type and a content-type"),
            Self::Denied => (Code::PermissionDenied, "AccessDenied", Vec::new()),
            Self::Late | Self::Store(StoreError::Uncertain(_), _) => {
                (Code::DeadlineExceeded, "Timeout", Vec::new())
            }
            Self::Store(error, _) => {
                log(&error);
                (Code::Unknown, "Unknown", Vec::new())
            }
        };
        let type_url = format!("type.googleapis.com/event_store.client.{name}");
        let details = Some(Any { type_url, value: details.into() });
        shared::Status { code: code.into(), message: name.into(), details }
    }
}

/// What became of a call on the store. What is expected shows only where it was wrong.
pub(crate) fn status(error: StoreError, expected: Expected) -> Status {
    match error {
        StoreError::Conflict { stream, actual } => {
            let actual = actual.map_or("-1".into(), |revision| revision.to_string());
            let expected = match expected {
                Expected::NoStream => "-1".into(),
                Expected::Any => "-2".into(),
                Expected::StreamExists => "-4".into(),
                Expected::Revision(revision) => revision.to_string(),
            };
            exception(
                Code::FailedPrecondition,
                &format!(
                    "It was not done: WrongExpectedVersion. Stream: {stream}, \
                     Expected version: {expected}, Actual version: {actual}"
                ),
                "wrong-expected-version",
                [
                    ("stream-name", stream.to_string()),
                    ("expected-version", expected),
                    ("actual-version", actual),
                ],
            )
        }
        StoreError::Deleted(stream) => stream_deleted(&stream),
        StoreError::TooLarge { .. } => too_large(),
        StoreError::Invalid(what) => Status::invalid_argument(what),
        StoreError::Uncertain(_) => Status::aborted("Operation timed out: the store did not answer"),
        error @ StoreError::Unavailable(_) => {
            log(&error);
            Status::unavailable("the store can't be used now")
        }
        error @ StoreError::Broken(_) => {
            log(&error);
            Status::internal("the store is damaged")
        }
    }
}

pub(crate) fn stream_deleted(stream: &StreamName) -> Status {
    let message = format!("The stream '{stream}' is deleted for good");
    exception(Code::FailedPrecondition, &message, "stream-deleted", [("stream-name", stream.to_string())])
}

pub(crate) fn access_denied() -> Status {
    exception(Code::PermissionDenied, "Access Denied: the user's role does not allow it", "access-denied", [])
}

pub(crate) fn unauthenticated() -> Status {
    let message = "Authentication failed: a user of the store and the right password are needed";
    exception(Code::Unauthenticated, message, "access-denied", [])
}

pub(crate) fn no_such_position() -> Status {
    Status::unknown("Unexpected FilteredReadAllResult: InvalidPosition, there is no record at this position")
}

pub(crate) fn stopping() -> Status {
    Status::unavailable("the server is stopping")
}

fn too_large() -> Status {
    exception(
        Code::InvalidArgument,
        "the append is larger than is allowed",
        "maximum-append-size-exceeded",
        [("maximum-append-size", limits::APPEND_BYTES_MAX.to_string())],
    )
}

/// What is not for the client to know is for the operator.
fn log(error: &StoreError) {
    tracing::warn!(%error, "a client's call on the store failed");
}

fn bad_request(what: &str) -> (Code, &'static str, Vec<u8>) {
    (Code::InvalidArgument, "BadRequest", BadRequest { message: what.into() }.encode_to_vec())
}

fn wrong_expected_version(actual: Option<u64>, expected: Expected) -> WrongExpectedVersion {
    use wrong_expected_version::{Current, Expected as Wire};
    WrongExpectedVersion {
        current: Some(actual.map_or(Current::CurrentNoStream(NOTHING), Current::CurrentRevision)),
        expected: Some(match expected {
            Expected::Revision(revision) => Wire::ExpectedRevision(revision),
            Expected::Any => Wire::ExpectedAny(NOTHING),
            Expected::StreamExists => Wire::ExpectedStreamExists(NOTHING),
            Expected::NoStream => Wire::ExpectedNoStream(NOTHING),
        }),
    }
}

/// What can't stand in a header, such as a line break in a stream's name, is left out.
fn exception<const N: usize>(
    code: Code,
    message: &str,
    name: &'static str,
    headers: [(&'static str, String); N],
) -> Status {
    let mut map = MetadataMap::new();
    map.insert("exception", MetadataValue::from_static(name));
    for (header, value) in headers {
        if let Ok(value) = MetadataValue::<Ascii>::try_from(value.as_bytes()) {
            map.insert(header, value);
        }
    }
    Status::with_metadata(code, message, map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(status: &'a Status, name: &str) -> &'a str {
        status.metadata().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[test]
    fn clients_find_what_they_look_for_in_the_headers() {
        let stream = StreamName::new("thing-1");
        let wrong = StoreError::Conflict { stream: stream.clone(), actual: None };
        let wrong = status(wrong, Expected::StreamExists);
        assert_eq!(
            (wrong.code(), header(&wrong, "exception")),
            (Code::FailedPrecondition, "wrong-expected-version")
        );
        assert_eq!((header(&wrong, "expected-version"), header(&wrong, "actual-version")), ("-4", "-1"));
        assert_eq!(header(&wrong, "stream-name"), "thing-1");
        let words = "WrongExpectedVersion. Stream: thing-1, Expected version: -4, Actual version: -1";
        assert!(wrong.message().ends_with(words), "{}", wrong.message());

        let deleted = status(StoreError::Deleted(stream), Expected::Any);
        assert_eq!(
            (deleted.code(), header(&deleted, "exception")),
            (Code::FailedPrecondition, "stream-deleted")
        );
        let large = Refusal::TooLarge.into_status();
        assert_eq!((large.code(), header(&large, "maximum-append-size")), (Code::InvalidArgument, "1048576"));
        let missing = Refusal::MissingProperties.into_status();
        assert_eq!(header(&missing, "required-metadata-properties"), "type,content-type");
    }

    #[test]
    fn a_name_that_no_header_takes_is_left_out() {
        let deleted = stream_deleted(&StreamName::new("line\nbreak"));
        assert_eq!((header(&deleted, "exception"), header(&deleted, "stream-name")), ("stream-deleted", ""));
    }

    #[test]
    fn what_is_wrong_with_the_disk_is_not_told_to_clients() {
        for error in [StoreError::Broken("a path".into()), StoreError::Unavailable("a path".into())] {
            assert!(!status(error.clone(), Expected::Any).message().contains("path"));
            let inside = Refusal::Store(error, Expected::Any).into_batch_status();
            assert_eq!((inside.code, &*inside.message), (2, "Unknown"));
        }
    }
}
