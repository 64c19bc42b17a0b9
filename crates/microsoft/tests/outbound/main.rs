//! The outbound client against real sockets: stubs that say what Microsoft says, and some that say nothing sensible.

mod activity;
mod app_token;
mod connector;
mod connector_failures;
mod entra;
mod graph;
mod http;
mod id_token;
mod inbound;
mod support;
