//! Several hubs on one store: they share the work, take over from each other, and nothing is done twice for it.

mod bot;
#[path = "../harness/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the harness")]
mod harness;
#[path = "../store/process.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod process;
mod processes;
mod rounds;
mod served;
mod sharing;
