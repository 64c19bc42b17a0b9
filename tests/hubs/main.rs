//! Several hubs on one store: they share the work, take over from each other, and nothing is done twice for it.

mod absent;
mod bot;
#[path = "../harness/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the harness")]
mod harness;
mod network;
mod people;
#[path = "../store/process.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod process;
mod processes;
#[path = "../../crates/eventstoredb-server/tests/served/adapter/proxy.rs"]
#[allow(dead_code, reason = "the tests of the adapter use the rest of it")]
mod proxy;
mod rounds;
mod served;
mod sharing;
mod vault;
