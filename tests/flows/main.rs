//! Whole hubs, driven from outside: real sockets and files, the simulated Microsoft, a clock that is moved.

#[path = "../harness/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the harness")]
mod harness;

mod after_sign_in;
mod backup;
mod bot;
mod bot_delivery;
mod bot_trouble;
mod consents;
mod graph;
mod inbox;
mod input;
mod intake;
mod leaks;
mod notices;
mod panel;
mod panel_refused;
mod sign_ins;
mod sign_ins_refused;
mod start;
mod story;
mod tokens;
