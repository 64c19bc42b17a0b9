//! The outbound client against real sockets: stubs that say what Microsoft says, and some that say nothing sensible.

mod entra;
mod graph;
mod http;
mod id_token;
mod support;
