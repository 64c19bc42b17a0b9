//! What the hub does for those who ask: each front door (API, pages, bot) parses, calls one thing here, and answers.

pub mod audit;
pub mod clients;
pub mod consent;
pub mod echoes;
pub mod history;
pub mod keys;
pub mod messages;
pub mod passwords;
pub mod people;
pub mod product;
pub mod sign_ins;
pub mod tokens;
