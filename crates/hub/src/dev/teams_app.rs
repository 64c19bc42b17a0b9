//! What `chancery teams-app build --dev` says of the app.

use microsoft_simulator::Settings;

use crate::config::Sources;

/// Presets the ids that `chancery dev` and its simulator have. File and environment go first, such as for the address of a
/// tunnel to this machine.
pub fn preset(sources: &mut Sources) {
    let Settings { client_id, bot_app_id, teams_app_id, .. } = Settings::default();
    sources.loopback_http = true;
    sources.presets = [
        ("server.public_url", "http://localhost:8400"),
        ("bot.app_id", &bot_app_id.to_string()),
        ("microsoft.client_id", &client_id.to_string()),
        ("microsoft.teams_app_external_id", &teams_app_id),
        ("teams_app.name", "Chancery dev"),
        ("teams_app.developer_name", "A developer"),
        ("teams_app.website_url", "https://example.com/help"),
        ("teams_app.privacy_url", "https://example.com/privacy"),
        ("teams_app.terms_of_use_url", "https://example.com/terms"),
    ]
    .map(|(key, value)| (key, value.into()))
    .into();
}
