//! Decides: commands, events, and the aggregates between them.
//!
//! **Invariant.** Pure: no clock, no randomness, no I/O. What a decision needs of the world stands in its command.

pub mod account;
pub mod activity;
pub mod aggregate;
pub mod attempts;
pub mod audit;
pub mod client;
pub mod connection;
pub mod diagnosis;
pub mod hub;
pub mod ids;
pub mod intake;
pub mod lane;
pub mod message;
pub mod notice;
pub mod sealed;
pub mod shard;
pub mod sign_in;
pub mod surface;
pub mod tenant;
#[cfg(test)]
mod testing;
pub mod time;

pub use aggregate::{Aggregate, Metadata, Undecodable};
pub use diagnosis::Diagnosis;
pub use ids::{
    AccountHash, AccountId, ActivityId, ClientId, CommandId, ConnectionId, HubId, KeyedHash, MessageId,
    NoticeId, ObjectId, PersonId, ShardId, SignInId, TenantId,
};
pub use sealed::Sealed;
pub use surface::{Surface, SurfaceChoice};
pub use time::Timestamp;
