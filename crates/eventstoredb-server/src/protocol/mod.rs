//! The messages, generated from `proto/*.proto` by `tests/protocol.rs`.

#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
#[rustfmt::skip]
pub(crate) mod cluster;
#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
#[rustfmt::skip]
pub(crate) mod reading;
#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
#[rustfmt::skip]
pub(crate) mod shared;
#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]
#[rustfmt::skip]
pub(crate) mod writing;
