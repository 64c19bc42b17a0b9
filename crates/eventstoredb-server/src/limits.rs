//! What a client can have at most.
//!
//! A slow reader holds no more than a page of events: what it does not take is read from the log again later, so that
//! a live subscription falls back to catching up instead of being ended.

use std::time::Duration;

/// Data and metadata of one append together; more is refused as `EventStoreDB` does.
pub const APPEND_BYTES_MAX: usize = store::APPEND_BYTES_MAX;

/// Events of one append.
pub const APPEND_EVENTS_MAX: usize = 16 * 1024;

/// One message from a client, before it is known what it holds. More ends the call.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Appends of one `BatchAppend` call that are being written. More wait on the wire.
pub const BATCH_IN_FLIGHT_MAX: usize = 1024;

/// Payload of the appends of one `BatchAppend` call that are being written, before it takes no more.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Appends of one `BatchAppend` call of which only a part has come. One more ends the call.
pub const BATCH_PARTS_MAX: usize = 16;

/// Connections at a time; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 256;

/// Calls of one connection at a time, subscriptions among them; more wait on the client's side.
pub const CALLS_MAX: u32 = 256;

/// Subscriptions at a time, over all connections. One more is refused.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// Events that are read at a time.
pub const PAGE_EVENTS_MAX: usize = 1024;

/// Payload that is aimed at when reading a stream's events at a time.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Prefixes in a filter.
pub const PREFIXES_MAX: usize = 256;

/// Of a regular expression in a filter.
pub const REGEX_BYTES_MAX: usize = 4096;

/// What a regular expression takes when it is made ready, bytes.
pub const REGEX_SIZE_MAX: usize = 1024 * 1024;

/// Steps back that a regular expression may take on one name. More ends the call.
pub const REGEX_BACKTRACKS_MAX: usize = 10_000;

/// How long a writer waits, at most, for all of its append to arrive or for the store to have written it.
pub const WRITE: Duration = store::PATIENCE;

/// A name with its password, as a call brings them.
pub const CREDENTIALS_BYTES_MAX: usize = 2048;

/// How long a call waits for its turn to have its password verified.
pub const SIGN_IN: Duration = Duration::from_secs(5);

/// Streams that the record of a session names.
pub const STREAMS_NAMED_MAX: usize = 32;

/// Until a connection's first request has come, and between the requests of HTTP/1.1.
pub const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// Between the pings that find out whether a client is still there.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);

pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// For what is under way when the server is told to stop.
pub const SHUTDOWN: Duration = Duration::from_secs(5);

/// After an accept failed, as it does when there are no file handles left.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
