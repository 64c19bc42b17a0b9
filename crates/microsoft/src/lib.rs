//! Reaches out: Entra ID, Microsoft Graph and the Bot Connector, and what their errors mean.
//!
//! **Invariant.** No secret, no answer's text and no query leaves this crate in an error, a log line or debug output:
//! of a provider's answer only codes and ids of a known shape are kept.
//!
//! **Invariant.** A request is sent at most once per call, but for the bot's own after a 401, which did nothing.
//! Whether to send again is the caller's to decide, by the case of the error.

pub mod bot;
pub mod entra;
pub mod graph;
pub mod http;
pub mod jose;
mod record;
mod rs256;
mod wire;

pub use entra::{
    Authorize, Entra, EntraConfig, Identity, Redeem, RedeemError, SignedIn, TokenFailure, Tokens,
};

pub use graph::{ChatMessage, Failure, FoundChat, Graph, GraphConfig, Me, Posted, TeamsApp};
pub use http::{ClientError, OutboundConfig, Transport, http_client};
