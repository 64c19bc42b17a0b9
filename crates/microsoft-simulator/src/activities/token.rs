//! The tokens by which activities prove where they come from, and what can be wrong with one.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use crate::Simulator;
use crate::connector::framework::ISSUER;
use crate::people::CONTOSO;
use crate::signing::unsigned;

const LIFE_SECONDS: u64 = 3600;

const OTHER_BOT: Uuid = uuid!("0ddb07a5-1c2d-4e3f-9a4b-5c6d7e8f9a0b");

/// What is wrong with an activity's token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFlaw {
    /// There is none.
    Missing,
    /// It is no token at all.
    Garbage,
    /// It is for the Bot Connector, not for a bot.
    WrongAudience,
    /// It is for another bot.
    OtherBot,
    /// It is by another issuer.
    WrongIssuer,
    /// It is by an issuer of the Bot Framework Emulator, with the key of the Bot Framework.
    EmulatorIssuer,
    /// It is signed by a key that nobody published, under the `kid` of one that is.
    WrongKey,
    /// It is signed by a key that nobody published, under a `kid` that nobody knows.
    UnknownKey,
    /// It is signed by a published key that is not endorsed for Teams.
    NotEndorsed,
    /// It is signed by Entra ID, as an ID token is.
    EntraKey,
    /// It is for another service URL than the activity's.
    WrongServiceUrl,
    /// It names no service URL.
    NoServiceUrl,
    /// It expired ten minutes ago.
    Expired,
    /// It is good ten minutes from now.
    NotYetValid,
    /// `alg` is `none`, and there is no signature.
    Unsigned,
}

/// A token for an activity with this service URL; none where that is what is wrong.
pub(super) fn token(simulator: &Simulator, service_url: &str, flaw: Option<TokenFlaw>) -> Option<String> {
    let claims = claims(simulator, service_url, flaw);
    let keys = &simulator.0.bot_keys;
    let current = keys.current();
    let token = match flaw {
        Some(TokenFlaw::Missing) => return None,
        Some(TokenFlaw::Garbage) => simulator.0.chance.text("", 40),
        Some(TokenFlaw::Unsigned) => unsigned(&claims),
        Some(TokenFlaw::WrongKey) => keys.rogue.sign(current.kid, &claims),
        Some(TokenFlaw::UnknownKey) => keys.rogue.sign(keys.rogue.kid, &claims),
        Some(TokenFlaw::NotEndorsed) => keys.other.sign(keys.other.kid, &claims),
        Some(TokenFlaw::EntraKey) => simulator.0.keys.sign(CONTOSO, &claims, None),
        _ => current.sign(current.kid, &claims),
    };
    simulator.0.grants.record_ours("activity_token", &token);
    Some(token)
}

fn claims(simulator: &Simulator, service_url: &str, flaw: Option<TokenFlaw>) -> Value {
    let now = simulator.0.clock.now_ms() / 1000;
    let from = match flaw {
        Some(TokenFlaw::Expired) => now - LIFE_SECONDS - 600,
        Some(TokenFlaw::NotYetValid) => now + 600,
        _ => now,
    };
    let bot = simulator.0.settings.bot_app_id.to_string();
    let audience = match flaw {
        Some(TokenFlaw::WrongAudience) => ISSUER.to_owned(),
        Some(TokenFlaw::OtherBot) => OTHER_BOT.to_string(),
        _ => bot.clone(),
    };
    let mut claims = json!({ "iss": ISSUER, "aud": audience, "nbf": from, "exp": from + LIFE_SECONDS, "serviceurl": service_url });
    match flaw {
        Some(TokenFlaw::WrongIssuer) => claims["iss"] = "https://api.botframework.example".into(),
        Some(TokenFlaw::EmulatorIssuer) => {
            claims["iss"] = "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/".into();
            claims["appid"] = bot.into();
        }
        Some(TokenFlaw::WrongServiceUrl) => {
            claims["serviceurl"] = "https://smba.trafficmanager.net/amer/".into();
        }
        Some(TokenFlaw::NoServiceUrl) => {
            claims.as_object_mut().into_iter().for_each(|it| drop(it.remove("serviceurl")));
        }
        _ => {}
    }
    claims
}
