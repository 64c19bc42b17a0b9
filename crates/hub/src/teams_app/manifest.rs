//! The manifest: version 1.19 of Microsoft's schema, which every client of today reads.

use serde_json::{Value, json};

use super::TeamsAppConfig;

/// What a person can say to the bot, and what comes of it, as Teams suggests it.
const COMMANDS: [(&str, &str); 4] = [
    ("login", "Connect your account, so that messages for you arrive here"),
    ("logout", "Disconnect your account; nothing is sent to you any more"),
    ("status", "See whether you are connected, and with which account"),
    ("help", "See what you can say here"),
];

pub(super) fn of(app: &TeamsAppConfig) -> Value {
    let commands: Vec<_> =
        COMMANDS.map(|(title, description)| json!({ "title": title, "description": description })).into();
    let mut manifest = json!({
        "$schema": "https://developer.microsoft.com/en-us/json-schemas/teams/v1.19/MicrosoftTeams.schema.json",
        "manifestVersion": "1.19",
        "version": app.version,
        "id": app.id,
        "developer": {
            "name": app.developer_name,
            "websiteUrl": app.website_url,
            "privacyUrl": app.privacy_url,
            "termsOfUseUrl": app.terms_of_use_url,
        },
        "name": { "short": app.name, "full": app.full_name },
        "description": { "short": app.description, "full": app.full_description },
        "icons": { "color": "color.png", "outline": "outline.png" },
        "accentColor": app.accent_color,
        "defaultInstallScope": "personal",
        "bots": [{
            "botId": app.bot_id,
            "scopes": ["personal"],
            "isNotificationOnly": false,
            "supportsFiles": false,
            "commandLists": [{ "scopes": ["personal"], "commands": commands }],
        }],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": [app.domain],
    });
    if let Some(resource) = &app.application_id_uri {
        manifest["webApplicationInfo"] = json!({ "id": app.client_id, "resource": resource });
    }
    manifest
}
