//! The package, by what is in it. Microsoft's own validator reads it in `tests/validators`.

use zip::ZipArchive;

use super::*;
use crate::config::{Sources, TeamsAppOnlyConfig};

const GOOD: &[(&str, &str)] = &[
    ("CHANCERY_SERVER__PUBLIC_URL", "https://hub.example.com"),
    ("CHANCERY_BOT__APP_ID", "11111111-2222-3333-4444-555555555555"),
    ("CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID", "66666666-7777-8888-9999-000000000000"),
    ("CHANCERY_TEAMS_APP__DEVELOPER_NAME", "Example"),
    ("CHANCERY_TEAMS_APP__WEBSITE_URL", "https://example.com/help"),
    ("CHANCERY_TEAMS_APP__PRIVACY_URL", "https://example.com/privacy"),
    ("CHANCERY_TEAMS_APP__TERMS_OF_USE_URL", "https://example.com/terms"),
];

/// With what is good where `more` says nothing else; empty is missing.
fn load(more: &[(&str, &str)]) -> Result<TeamsAppConfig, String> {
    let without = |name: &str| !more.iter().any(|(other, _)| *other == name);
    let good = GOOD.iter().filter(|(name, _)| without(name));
    let set = good.chain(more).filter(|(_, value)| !value.is_empty());
    let environment = set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { environment, ..Sources::default() };
    TeamsAppOnlyConfig::load(&sources).map(|config| config.app).map_err(|error| error.to_string())
}

#[test]
fn the_same_settings_make_the_same_bytes() {
    let app = load(&[]).unwrap();
    assert_eq!(package(&app).unwrap(), package(&app).unwrap());
}

#[test]
fn the_package_is_a_zip_of_manifest_and_icons_without_folders() {
    let bytes = package(&load(&[]).unwrap()).unwrap();
    let archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["color.png", "manifest.json", "outline.png"]);
}

#[test]
fn the_icons_have_the_sizes_that_teams_wants() {
    // PNG, section 11.2.1: width and height follow the signature and the name of the first chunk.
    let size = |png: &[u8]| [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()));
    assert_eq!((size(COLOR), size(OUTLINE)), ([192, 192], [32, 32]));
    // Its tenth byte after that says whether there is an alpha channel: 6.
    assert_eq!(OUTLINE[25], 6);
}

#[test]
fn the_manifest_says_what_was_set() {
    let manifest = manifest::of(&load(&[]).unwrap());
    assert_eq!(manifest["id"], "66666666-7777-8888-9999-000000000000");
    assert_eq!(manifest["bots"][0]["botId"], "11111111-2222-3333-4444-555555555555");
    assert_eq!(manifest["validDomains"], serde_json::json!(["hub.example.com"]));
    assert_eq!(manifest["name"]["full"], manifest["name"]["short"]);
    assert_eq!(manifest.get("webApplicationInfo"), None);

    let client = "22222222-2222-3333-4444-555555555555";
    let uri = "api://hub.example.com/botid-11111111-2222-3333-4444-555555555555";
    let app =
        load(&[("CHANCERY_MICROSOFT__CLIENT_ID", client), ("CHANCERY_TEAMS_APP__APPLICATION_ID_URI", uri)]);
    let info = &manifest::of(&app.unwrap())["webApplicationInfo"];
    assert_eq!(*info, serde_json::json!({ "id": client, "resource": uri }));
}

#[test]
fn what_is_missing_is_told_by_its_setting_and_its_variable_all_at_once() {
    let error = load(&[
        ("CHANCERY_BOT__APP_ID", ""),
        ("CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID", ""),
        ("CHANCERY_TEAMS_APP__PRIVACY_URL", ""),
    ])
    .unwrap_err();
    for (setting, variable) in [
        ("`app_id` in [bot]", "CHANCERY_BOT__APP_ID"),
        ("`teams_app_external_id` in [microsoft]", "CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID"),
        ("`privacy_url` in [teams_app]", "CHANCERY_TEAMS_APP__PRIVACY_URL"),
    ] {
        assert!(error.contains(setting) && error.contains(variable), "{error}");
    }
    assert!(!error.contains("developer_name"), "{error}");
}

#[test]
fn what_teams_would_refuse_is_refused_here() {
    let long = "n".repeat(31);
    for (name, value, problem) in [
        ("CHANCERY_TEAMS_APP__NAME", &*long, "at most 30 characters"),
        ("CHANCERY_TEAMS_APP__VERSION", "1.0", "three numbers"),
        ("CHANCERY_TEAMS_APP__ACCENT_COLOR", "blue", "a colour such as"),
        ("CHANCERY_TEAMS_APP__WEBSITE_URL", "http://example.com", "an https:// address"),
        ("CHANCERY_TEAMS_APP__APPLICATION_ID_URI", "https://hub.example.com", "an application ID URI"),
        ("CHANCERY_BOT__APP_ID", "bot", "a UUID"),
        ("CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID", "00000000-0000-0000-0000-000000000000", "a UUID"),
    ] {
        let error = load(&[(name, value)]).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}
