//! ID tokens, and what can be wrong with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde_json::{Value, json};

use super::grants::SignIn;
use crate::people::{CONTOSO, FABRIKAM};
use crate::{Flaw, Simulator, lock};

/// Entra ID dates its ID tokens five minutes back, for clients whose clocks are late.
const BACKDATED_SECONDS: u64 = 300;
const LIFE_SECONDS: u64 = 3600;

/// A signed ID token. `nonce` is absent on refresh.
pub(crate) fn id_token(
    simulator: &Simulator,
    sign_in: &SignIn,
    nonce: Option<&str>,
    flaw: Option<Flaw>,
) -> String {
    let claims = claims(simulator, sign_in, nonce, flaw);
    let token = simulator.0.keys.sign(sign_in.person.tid, &claims, flaw);
    simulator.0.grants.record("id_token", &sign_in.person, &token);
    token
}

fn claims(simulator: &Simulator, sign_in: &SignIn, nonce: Option<&str>, flaw: Option<Flaw>) -> Value {
    let world = &simulator.0;
    let person = &sign_in.person;
    let mut now = world.clock.now_ms() / 1000;
    if flaw == Some(Flaw::Expired) {
        now -= 2 * LIFE_SECONDS;
    }
    let mut issuer = person.tid;
    if flaw == Some(Flaw::WrongIssuer) {
        issuer = if person.tid == CONTOSO { FABRIKAM } else { CONTOSO };
    }
    let mut audience = world.settings.client_id;
    if flaw == Some(Flaw::WrongAudience) {
        audience = world.chance.uuid();
    }
    // Pairwise: another application would see the same person under another `sub`.
    let pair = format!("{}|{}", world.settings.client_id, person.oid);
    let mut claims = json!({
        "ver": "2.0",
        "iss": format!("{}/{issuer}/v2.0", world.base),
        "aud": audience,
        "iat": now - BACKDATED_SECONDS,
        "nbf": now - BACKDATED_SECONDS,
        "exp": now + LIFE_SECONDS,
        "tid": person.tid,
        "sub": URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, pair.as_bytes())),
        "uti": world.chance.text("", 22),
        "rh": world.chance.text("1.A", 60),
    });
    if let Some(home) = &person.home {
        claims["idp"] = json!(format!("https://sts.windows.net/{}/", home.tid));
    }
    let state = lock(&person.state);
    if sign_in.scopes.contains("profile") {
        claims["oid"] = json!(person.oid);
        claims["preferred_username"] = json!(person.home.as_ref().map_or(&person.upn, |home| &home.upn));
        claims["name"] = json!(person.name());
    }
    if sign_in.scopes.contains("email")
        && flaw != Some(Flaw::NoEmail)
        && let Some(mail) = &state.mail
    {
        claims["email"] = json!(mail);
        if let Some(edov) = &state.edov {
            claims["xms_edov"] = edov.clone();
        }
    }
    if flaw == Some(Flaw::WrongNonce) {
        claims["nonce"] = json!(world.chance.text("", 43));
    } else if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    claims
}
