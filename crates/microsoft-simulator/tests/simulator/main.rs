//! The simulator from outside: real sockets, and a client that knows nothing of it.

mod control;
mod faults;
mod graph;
mod harness;
mod id_tokens;
mod sign_in;
mod tokens;
