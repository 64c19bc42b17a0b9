//! What the hub does for those who ask: each front door (API, pages, bot) parses, calls one thing here, and answers.

pub mod audit;
pub mod clients;
pub mod history;
pub mod keys;
pub mod messages;
pub mod people;
pub mod sign_ins;
pub mod tokens;
