//! The bot: what Teams tells it, whether that is to be believed, and what it says by the Bot Connector.
//!
//! **Invariant.** The app's own token goes only to service hosts on the list. What a person typed and what the bot says
//! stays out of errors and debug output.

mod activity;
mod app_token;
mod connector;
mod failure;
mod inbound;
mod outgoing;
mod service;
mod text;

pub use activity::{Activity, ActivityProblem, Conversation, Kind, Membership, Party, Scope, TenantProblem};
pub use connector::{Address, Connector, ConnectorConfig, Sent};
pub use failure::{Diagnosis, SendFailure};
pub use inbound::{ISSUER, Inbound, InboundConfig, InboundProblem, METADATA_URL, NotTrusted, Vouched};
pub use outgoing::{OutgoingActivity, TextFormat};
pub use service::{SERVICE_HOSTS, Services, is_host};
pub use text::folded;

/// The only channel that we serve: Teams.
pub const CHANNEL: &str = "msteams";
