//! Keeps the read models: it owns their SQL, transactions, checkpoints and rebuilds, so that a projection has only a fold.
//!
//! `ReadModel::open` gives the model, for reading, and its [`Follower`], to be run as a task. [`file`] is one `SQLite` file,
//! [`directory`] says which of them is in use, [`fold`] turns pages into rows, [`gather`] says when those are
//! written, [`scan`] reads long stretches of the log.

mod asked;
mod directory;
mod file;
mod fold;
mod follow;
mod gather;
mod model;
mod reader;
mod rebuild;
mod scan;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;

pub use fold::Stop;
pub use follow::Follower;
pub use model::{Behind, Change, Changes, ReadModel, State, Status};
pub use reader::Reader;
pub use rebuild::{Report, rebuild};
pub use verify::{Difference, Verification, position, verify};
