//! Decides: commands, events, and the aggregates between them.
//!
//! **Invariant.** Pure: no clock, no randomness, no I/O. What a decision needs of the world stands in its command.

pub mod aggregate;
pub mod ids;
pub mod sealed;
pub mod time;

pub use aggregate::{Aggregate, Undecodable};
pub use ids::{
    AccountHash, AccountId, ClientId, CommandId, ConnectionId, HubId, KeyedHash, MessageId, ObjectId, PersonId,
    SignInId, TenantId,
};
pub use sealed::Sealed;
pub use time::Timestamp;
