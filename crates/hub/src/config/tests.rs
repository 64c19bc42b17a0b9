//! The layers of the configuration, and what is said where one is wrong.

use std::{io::Write as _, path::Path};

use secrecy::ExposeSecret as _;

use super::*;

const SECRET: &str = "very-secret-value-8Q~abc";

/// A key in a file of its own directory, which lives as long as the process.
pub(crate) fn key_file() -> String {
    static DIRECTORY: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        custody::KeyEncryptionKey::create_file(&directory.path().join("key")).unwrap();
        directory
    });
    DIRECTORY.path().join("key").to_str().unwrap().to_owned()
}

fn good() -> Vec<(String, String)> {
    let key = key_file();
    [
        ("CHANCERY_SERVER__PUBLIC_URL", "https://hub.example.com"),
        ("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", key.as_str()),
        ("CHANCERY_MICROSOFT__CLIENT_ID", "11111111-2222-3333-4444-555555555555"),
        ("CHANCERY_MICROSOFT__CLIENT_SECRET", SECRET),
        ("CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID", "66666666-7777-8888-9999-000000000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn with(more: &[(&str, &str)]) -> Sources {
    let mut environment = good();
    for (name, value) in more {
        environment.retain(|(known, _)| known != name);
        environment.push(((*name).to_owned(), (*value).to_owned()));
    }
    Sources { environment, ..Sources::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn with_file(path: &Path) -> Sources {
    Sources { file: Some(path.to_owned()), ..with(&[]) }
}

fn problems(sources: &Sources) -> String {
    Config::load(sources).expect_err("should be refused").to_string()
}

#[test]
fn the_defaults_and_what_must_be_set_make_a_configuration() {
    let config = Config::load(&with(&[])).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8400");
    assert_eq!(config.microsoft.client_secret.expose_secret(), SECRET);
    assert_eq!(
        config.microsoft.scopes.join(" "),
        "email openid profile User.Read offline_access TeamsAppInstallation.ReadForUser ChatMessage.Send"
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file =
        file("[server]\nlisten = \"127.0.0.1:1\"\nmax_body_bytes = 4096\n[delivery]\nunknown = \"resend\"\n");
    let mut sources = with(&[("CHANCERY_SERVER__LISTEN", "127.0.0.1:2")]);
    sources.file = Some(file.path().to_owned());
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.max_body_bytes, 4096);
    assert_eq!(config.delivery.unknown, UnknownOutcome::Resend);
}

#[test]
fn what_dev_presets_can_be_overruled_by_file_and_environment() {
    let mut sources = with(&[("CHANCERY_LOG__LEVEL", "warn")]);
    sources.presets = vec![("log.level", "debug".into()), ("sign_in.tenants", "open".into())];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.sign_in.tenants, SignInTenants::Open);
}

#[test]
fn a_file_of_authorities_without_any_is_refused() {
    let empty = file("nothing");
    let text = problems(&with(&[("CHANCERY_OUTBOUND__CA_FILE", empty.path().to_str().unwrap())]));
    assert!(text.contains("holds no PEM certificate"), "{text}");
}

#[test]
fn lists_and_numbers_can_stand_in_the_environment() {
    let config = Config::load(&with(&[
        ("CHANCERY_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("CHANCERY_DELIVERY__CONCURRENCY", "3"),
    ]))
    .unwrap();
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.delivery.concurrency, 3);
}

#[test]
fn an_unknown_key_stops_the_start_and_names_its_place_and_the_right_one() {
    let file = file("[server]\nlisten_address = \"x\"\n[delivery]\nlevel = \"info\"\n");
    let text = problems(&with_file(file.path()));
    let place = file.path().display();
    assert!(
        text.contains(&format!(
            "`listen_address` in [server] of {place} is no setting; did you mean `listen`"
        )),
        "{text}"
    );
    assert!(text.contains("did you mean `level` in [log]?"), "{text}");
}

#[test]
fn what_other_programs_call_a_setting_leads_to_ours() {
    let text = problems(&with_file(file("[server]\nport = 8400\n").path()));
    assert!(text.contains("did you mean `listen` in [server]?"), "{text}");
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_told_alone() {
    let broken = file("[server\n");
    for (path, problem) in
        [(Path::new("/nowhere/hub.toml"), "can't be read"), (broken.path(), "line 1, is not TOML")]
    {
        let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
        let found = Config::load(&sources).unwrap_err().problems;
        assert!(matches!(&found[..], [only] if only.contains(problem)), "{found:?}");
    }
}

#[test]
fn an_unknown_variable_stops_the_start_too() {
    let text = problems(&with(&[("CHANCERY_SERVER_LISTEN", "127.0.0.1:1")]));
    assert!(text.contains("did you mean CHANCERY_SERVER__LISTEN?"), "{text}");
    Config::load(&with(&[("CHANCERY_URL", "http://localhost"), ("PATH", "/bin")])).unwrap();
}

#[test]
fn wrong_types_and_values_name_the_key_the_value_and_what_is_allowed() {
    let file = file("[server]\nlisten = 8400\n[sign_in]\ntenants = \"all\"\n[delivery]\nconcurrency = 0\n");
    let text = problems(&with_file(file.path()));
    assert!(text.contains("must be a string, not 8400"), "{text}");
    assert!(text.contains("must be \"listed\" or \"open\", not \"all\""), "{text}");
    assert!(text.contains("must be from 1 to 1024, not 0"), "{text}");
}

#[test]
fn a_word_where_a_number_belongs_is_refused_with_its_variable() {
    let text = problems(&with(&[("CHANCERY_DELIVERY__CONCURRENCY", "many")]));
    assert!(
        text.contains(
            "CHANCERY_DELIVERY__CONCURRENCY of the environment must be a whole number, not \"many\""
        )
    );
}

#[test]
fn no_message_and_no_print_shows_a_secret() {
    let broken = file(&format!("[microsoft]\nclient_secret = \"{SECRET}\n"));
    let wrong_type = file(&format!("[microsoft]\nclient_secret = [\"{SECRET}\"]\n"));
    for file in [&broken, &wrong_type] {
        let text = problems(&with_file(file.path()));
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(problems(&with_file(broken.path())).contains("line 2"));

    let config = Config::load(&with(&[])).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
    assert!(!config.effective().contains(SECRET));
    assert!(config.effective().contains("client_secret = \"***\""));
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let config = Config::load(&with(&[("CHANCERY_LIMITS__PER_KEY_BURST", "7")])).unwrap();
    let again = Config::load(&with_file(file(config.effective()).path())).unwrap();
    assert_eq!(again.limits.per_key.burst.get(), 7);
    assert_eq!(again.effective(), config.effective());
}

#[test]
fn addresses_of_microsoft_and_of_the_hub_are_https_except_for_loopback_in_dev() {
    for variable in
        ["CHANCERY_SERVER__PUBLIC_URL", "CHANCERY_MICROSOFT__AUTHORITY", "CHANCERY_MICROSOFT__TOKEN_URL"]
    {
        let mut sources = with(&[(variable, "http://localhost:8401")]);
        assert!(problems(&sources).contains("https://"), "{variable}");
        sources.loopback_http = true;
        Config::load(&sources).unwrap();
        let mut elsewhere = with(&[(variable, "http://example.com")]);
        elsewhere.loopback_http = true;
        assert!(problems(&elsewhere).contains("https://"), "{variable}");
    }
}

#[test]
fn secrets_are_read_from_files_and_unreadable_files_are_told() {
    let secret = file(&format!("{SECRET}\n"));
    let mut sources = with(&[("CHANCERY_MICROSOFT__CLIENT_SECRET_FILE", secret.path().to_str().unwrap())]);
    assert!(problems(&sources).contains("both set"));
    sources.environment.retain(|(name, _)| name != "CHANCERY_MICROSOFT__CLIENT_SECRET");
    assert_eq!(Config::load(&sources).unwrap().microsoft.client_secret.expose_secret(), SECRET);

    let text = problems(&with(&[("CHANCERY_OUTBOUND__CA_FILE", "/no/such/ca.pem")]));
    assert!(text.contains("/no/such/ca.pem, which can't be read"), "{text}");
}

#[test]
fn the_key_may_stand_in_the_environment_and_a_broken_one_is_not_shown() {
    let mut sources = with(&[("CHANCERY_KEYS__KEY_ENCRYPTION_KEY", SECRET)]);
    sources.environment.retain(|(name, _)| name != "CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE");
    let text = problems(&sources);
    assert!(text.contains("CHANCERY_KEYS__KEY_ENCRYPTION_KEY of the environment can't be used"), "{text}");
    assert!(!text.contains(SECRET), "{text}");

    let line = std::fs::read_to_string(key_file()).unwrap();
    sources.environment.retain(|(name, _)| name != "CHANCERY_KEYS__KEY_ENCRYPTION_KEY");
    sources.environment.push(("CHANCERY_KEYS__KEY_ENCRYPTION_KEY".to_owned(), line.clone()));
    let config = Config::load(&sources).unwrap();
    assert!(!format!("{config:?}").contains(line.trim()) && !config.effective().contains(line.trim()));
}

#[test]
fn what_must_be_set_is_told_all_at_once() {
    let text = problems(&Sources::default());
    for key in
        ["public_url", "key_encryption_key_file", "client_id", "client_secret_file", "teams_app_external_id"]
    {
        assert!(text.contains(key), "{key}: {text}");
    }
}

#[test]
fn half_a_certificate_is_refused() {
    let pem = file("x");
    let text = problems(&with(&[("CHANCERY_SERVER__TLS__CERT_FILE", pem.path().to_str().unwrap())]));
    assert!(text.contains("key_file"), "{text}");
}

#[test]
fn a_shared_store_is_named_by_a_connection_string_whose_password_is_not_shown() {
    let kind = ("CHANCERY_STORE__KIND", "eventstoredb");
    let text = problems(&with(&[kind]));
    assert!(text.contains("`connection_string` in [store] must be set"), "{text}");

    let name = "CHANCERY_STORE__CONNECTION_STRING";
    let string = format!("esdb+discover://hub:{SECRET}@cluster.example:2113");
    let config = Config::load(&with(&[kind, (name, &string)])).unwrap();
    assert_eq!(config.store.kind, StoreKind::EventStoreDb);
    assert!(!format!("{config:?}").contains(SECRET) && !config.effective().contains(SECRET));
    assert!(config.effective().contains("connection_string = \"***\""));

    for wrong in [format!("http://hub:{SECRET}@host"), format!("esdb://hub:{SECRET}@host?tsl=true")] {
        let text = problems(&with(&[kind, (name, &wrong)]));
        assert!(text.contains("is no connection string of EventStoreDB") && !text.contains(SECRET), "{text}");
    }
    assert!(problems(&with(&[(name, &string)])).contains("is set, but kind is \"embedded\""));
}

#[test]
fn every_setting_that_the_deployment_files_and_the_operations_guide_name_is_one() {
    let defaults = toml::Value::Table(DEFAULTS.parse().unwrap());
    let exists = |key: &str| key.split('.').try_fold(&defaults, |value, part| value.get(part)).is_some();
    let mut named = 0;
    for file in ["docker-compose.yml", "Dockerfile", "docs/OPERATIONS.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file));
        let text = text.unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
        for word in words.map(|word| word.trim_matches('.')) {
            let key = match word.strip_prefix("CHANCERY_") {
                Some(_) if layers::OTHER_VARIABLES.contains(&word) => continue,
                Some(name) => name.to_ascii_lowercase().replace("__", "."),
                // `delivery.concurrency`, but not `log.sqlite`.
                None if !word.contains('.') || word.ends_with(".sqlite") => continue,
                None if !word.split('.').next().is_some_and(exists) => continue,
                None => word.to_owned(),
            };
            assert!(exists(&key), "{file} names {word}, which is no setting");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} were found");
}

#[test]
fn a_bot_needs_its_secret_and_hosts_that_are_names() {
    assert!(Config::load(&with(&[])).unwrap().bot.is_none());
    let id = ("CHANCERY_BOT__APP_ID", "77777777-8888-9999-aaaa-bbbbbbbbbbbb");
    assert!(problems(&with(&[id])).contains("`app_secret_file` in [bot] must be set"));
    let secret = ("CHANCERY_BOT__APP_SECRET", SECRET);
    assert!(problems(&with(&[secret])).contains("but there is no app_id"));
    let config = Config::load(&with(&[id, secret])).unwrap();
    assert!(config.bot.as_ref().unwrap().unusual().is_none());
    assert!(!format!("{config:?}").contains(SECRET) && !config.effective().contains(SECRET));
    for bad in ["evil.example.com:443", "*.trafficmanager.net", "https://localhost:8401"] {
        let text = problems(&with(&[id, secret, ("CHANCERY_BOT__SERVICE_HOSTS", bad)]));
        assert!(text.contains("must be names of hosts"), "{text}");
    }
    let clear = ("CHANCERY_BOT__METADATA_URL", "http://localhost:8401/keys");
    assert!(problems(&with(&[id, secret, clear])).contains("https://"));
}

#[test]
fn whom_else_the_bot_believes_and_answers_is_told() {
    let mut sources = with(&[
        ("CHANCERY_BOT__APP_ID", "77777777-8888-9999-aaaa-bbbbbbbbbbbb"),
        ("CHANCERY_BOT__APP_SECRET", SECRET),
        ("CHANCERY_BOT__METADATA_URL", "http://localhost:8401/keys"),
        ("CHANCERY_BOT__SERVICE_HOSTS", "smba.trafficmanager.net,localhost:8401"),
    ]);
    sources.loopback_http = true;
    let told = Config::load(&sources).unwrap().bot.unwrap().unusual().unwrap();
    assert!(told.contains("metadata_url is http://localhost:8401/keys"), "{told}");
    assert!(told.ends_with("service_hosts has localhost:8401"), "{told}");
}
