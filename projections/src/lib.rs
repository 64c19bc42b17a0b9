//! Answers: read models, each a pure fold of the log into rows, kept in a `SQLite` file of its own.
//!
//! A read model is a folder here: its rows, its fold and its queries. It says what it is by implementing
//! [`Projection`]; the [`runner`] follows the log with it, rebuilds it and verifies it.
//!
//! **Invariants.** The log is the truth and a read model only an answer kept ready: deleting one loses nothing. Its rows
//! and its checkpoint change in one transaction, so that it is never ahead of its rows. Folding has no effects, hence
//! rebuilding sends nothing.

pub mod clients;
pub mod connections;
pub mod due;
#[cfg(test)]
mod fixtures;
pub mod messages;
mod projection;
pub mod runner;
mod ways;

pub use projection::{About, EventRef, Key, Projection, Table, Unreadable};
pub use runner::{
    Behind, Change, Changes, Follower, ReadModel, Reader, Report, State, Status, Stop, Verification,
};
/// What [`Projection::columns`] gives: text, integers, nothing.
pub use rusqlite::types::Value;
