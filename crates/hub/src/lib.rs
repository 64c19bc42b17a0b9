//! Runs: the integration hub between a product and Microsoft Teams.

pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod lifecycle;
pub mod logging;
