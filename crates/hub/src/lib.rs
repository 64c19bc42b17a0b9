//! Runs: the integration hub between a product and Microsoft Teams.

pub mod app;
pub mod backup;
pub mod bot;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod http;
pub mod hub;
pub mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod processors;
pub mod services;
pub mod store_port;
pub mod teams_app;
pub mod templates;
