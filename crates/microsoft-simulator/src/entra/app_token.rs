//! Client credentials: the bot's own token for the Bot Connector.

use axum::response::Response;
use serde_json::json;

use super::Authority;
use super::denial::Denial;
use super::token::{Request, answered};
use crate::Simulator;
use crate::people::CONSUMERS;

pub(super) const GRANT_TYPE: &str = "client_credentials";

const SCOPE: &str = "https://api.botframework.com/.default";
const LIFE_SECONDS: u64 = 3600;
const LENGTH: usize = 1400;

/// The tenant in which bots of many tenants have their tokens issued.
const BOT_FRAMEWORK: [&str; 2] = ["botframework.com", "d6d49420-f39b-4df7-a1dc-d59a935871db"];

/// A token for the bot, which no person has anything to do with.
pub(super) fn issue(simulator: &Simulator, request: &Request) -> Result<Response, Denial> {
    let world = &simulator.0;
    if !BOT_FRAMEWORK.contains(&request.tenant.as_str()) {
        match Authority::parse(&request.tenant).ok_or_else(|| Denial::new(90002))? {
            Authority::Tenant(tid) if tid != CONSUMERS => {}
            _ => return Err(Denial::new(9_001_023)),
        }
    }
    request.authenticate_as(world.settings.bot_app_id, &world.settings.bot_app_secret)?;
    match request.demand("scope")? {
        SCOPE => {}
        other if other.ends_with("/.default") => return Err(Denial::new(500_011)),
        _ => return Err(Denial::new(1_002_012)),
    }
    let expires_in = simulator.dials().access_token_seconds.unwrap_or(LIFE_SECONDS);
    let token = world.chance.text("eyJ0", LENGTH);
    world.grants.record_ours("app_token", &token);
    world.app_tokens.add(token.clone(), world.clock.now_ms() + expires_in * 1000);
    Ok(answered(json!({
        "token_type": "Bearer",
        "expires_in": expires_in,
        "ext_expires_in": expires_in,
        "access_token": token,
    })))
}
