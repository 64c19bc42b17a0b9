//! How Teams proves itself to the bot: the Bot Framework's metadata and keys.
//!
//! **Invariant.** Only keys that are endorsed for `msteams` sign honest activities.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::Simulator;
use crate::calls::{Call, perform};
use crate::entra::refuse_plainly;
use crate::signing::Key;

/// Whom activities are from, by their tokens.
pub(crate) const ISSUER: &str = "https://api.botframework.com";

pub(crate) struct BotKeys {
    /// These sign in turn, and are endorsed for Teams.
    pub(crate) rolling: [Key; 2],
    /// Published, but endorsed for other channels only.
    pub(crate) other: Key,
    /// Never published.
    pub(crate) rogue: Key,
    rolls: AtomicUsize,
}

impl BotKeys {
    pub(crate) fn new() -> Self {
        Self {
            rolling: [
                Key::new("bF4sTm8wQz1-teams-one", include_bytes!("../keys/bot-1.p8.der")),
                Key::new("bF7kXr2pLd5-teams-two", include_bytes!("../keys/bot-2.p8.der")),
            ],
            other: Key::new("bF9nVc3hGy6-other-channels", include_bytes!("../keys/bot-other.p8.der")),
            rogue: Key::new("Rg0uEk3yXx9-rogue", include_bytes!("../keys/rogue.p8.der")),
            rolls: AtomicUsize::new(0),
        }
    }

    /// The key that signs now.
    pub(crate) fn current(&self) -> &Key {
        &self.rolling[self.rolls.load(Ordering::Relaxed) % 2]
    }

    pub(crate) fn roll(&self) {
        self.rolls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self) {
        self.rolls.store(0, Ordering::Relaxed);
    }

    /// The published keys, each with the channels it may sign for.
    fn jwks(&self, keep_old: bool) -> Value {
        let rolls = self.rolls.load(Ordering::Relaxed);
        let teams = ["skype", "msteams", "skypeforbusiness"];
        let mut keys = vec![endorsed(self.current(), &teams)];
        if keep_old && rolls > 0 {
            keys.push(endorsed(&self.rolling[(rolls + 1) % 2], &teams));
        }
        keys.push(endorsed(&self.other, &["webchat", "directline", "emulator"]));
        json!({ "keys": keys })
    }
}

fn endorsed(key: &Key, channels: &[&str]) -> Value {
    let mut jwk = key.jwk();
    jwk["x5t"] = key.kid.into();
    jwk["endorsements"] = json!(channels);
    jwk
}

/// `GET /botframework/v1/.well-known/openidconfiguration`
pub(super) async fn metadata(State(simulator): State<Simulator>) -> Response {
    let call = Call { operation: "botframework.metadata", oid: None, chat: None };
    let base = simulator.0.base.clone();
    perform(&simulator, call, refuse_plainly, move |_| {
        Json(json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://invalid.botframework.com",
            "jwks_uri": format!("{base}/botframework/v1/.well-known/keys"),
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        }))
        .into_response()
    })
    .await
}

/// `GET /botframework/v1/.well-known/keys`
pub(super) async fn keys(State(simulator): State<Simulator>) -> Response {
    let call = Call { operation: "botframework.keys", oid: None, chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| {
        Json(world.0.bot_keys.jwks(world.dials().keep_old_key)).into_response()
    })
    .await
}
