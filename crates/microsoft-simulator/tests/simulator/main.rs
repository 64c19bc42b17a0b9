//! The simulator from outside: real sockets, and a client that knows nothing of it.

mod activities;
mod bot;
mod connector;
mod control;
mod faults;
mod graph;
mod harness;
mod id_tokens;
mod sign_in;
mod teams;
mod tokens;
