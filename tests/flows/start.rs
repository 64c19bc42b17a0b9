//! Starts that fail: the program says what is wrong and what to do, and touches nothing. And the one of the README, which
//! does not.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use custody::KeyEncryptionKey;

use crate::harness::process::CHANCERY;

/// What `serve` needs; a test spoils one of these.
fn good(directory: &Path) -> Vec<(&'static str, String)> {
    let key = directory.join("key");
    if !key.exists() {
        KeyEncryptionKey::create_file(&key).unwrap();
    }
    vec![
        ("CHANCERY_SERVER__PUBLIC_URL", "https://hub.example.com".into()),
        ("CHANCERY_SERVER__LISTEN", "127.0.0.1:0".into()),
        ("CHANCERY_DATA__DIRECTORY", directory.join("data").to_string_lossy().into()),
        ("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", key.to_string_lossy().into()),
        ("CHANCERY_MICROSOFT__CLIENT_ID", "c0ffee00-7a1b-4c2d-8e3f-405162738495".into()),
        ("CHANCERY_MICROSOFT__CLIENT_SECRET", "not-to-be-printed".into()),
        ("CHANCERY_MICROSOFT__TEAMS_APP_EXTERNAL_ID", "7e5ac0de-1b2c-4d3e-9f40-516273849506".into()),
    ]
}

/// Starts `serve`, which must fail with all of these words, and without any secret.
#[track_caller]
fn refuses(directory: &Path, spoilt: &[(&'static str, String)], words: &[&str]) {
    let output = run(directory, &["serve"], &[&good(directory), spoilt].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    assert!(!said.contains("not-to-be-printed") && !said.contains("panic"), "{said}");
}

fn run(directory: &Path, arguments: &[&str], environment: &[(&'static str, String)]) -> Output {
    let environment = environment.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(CHANCERY);
    command.args(arguments).current_dir(directory).env_clear().envs(environment).output().unwrap()
}

#[test]
fn serve_speaks_to_microsoft_over_tls_only() {
    let directory = tempfile::tempdir().unwrap();
    for name in
        ["CHANCERY_MICROSOFT__AUTHORITY", "CHANCERY_MICROSOFT__GRAPH_BASE", "CHANCERY_SERVER__PUBLIC_URL"]
    {
        refuses(directory.path(), &[(name, "http://localhost:8401".into())], &[name, "https://"]);
    }
    assert!(!directory.path().join("data").exists(), "nothing is touched");
}

#[test]
fn a_key_file_must_be_there_whole_and_closed_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other-key");
    let spoilt = [("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", path.to_string_lossy().into_owned())];
    refuses(directory.path(), &spoilt, &["KEY_ENCRYPTION_KEY_FILE", "other-key"]);
    KeyEncryptionKey::create_file(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refuses(directory.path(), &spoilt, &["KEY_ENCRYPTION_KEY_FILE"]);
    std::fs::write(&path, &whole).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refuses(directory.path(), &spoilt, &["chmod 600"]);
    let none = [("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", String::new())];
    refuses(directory.path(), &none, &["chancery keys create"]);
}

#[test]
fn the_data_of_dev_and_those_of_another_key_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join(chancery::app::DEV_MARK), "").unwrap();
    refuses(directory.path(), &[], &["chancery dev", "data.directory"]);
    std::fs::remove_file(data.join(chancery::app::DEV_MARK)).unwrap();

    let vault_of_another_key = async {
        let key = KeyEncryptionKey::create_file(&directory.path().join("former-key")).unwrap();
        let vault = custody::EmbeddedVault::open(data.join("vault.sqlite")).await.unwrap();
        custody::Custody::open(std::sync::Arc::new(vault), key).await.unwrap();
    };
    tokio::runtime::Runtime::new().unwrap().block_on(vault_of_another_key);
    refuses(directory.path(), &[], &["the key this vault was made with"]);
}

#[test]
fn data_that_cannot_be_written_or_are_in_use_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for (place, word) in [("file", "not a directory"), ("/proc/chancery", "/proc/chancery")] {
        let place = directory.path().join(place).to_string_lossy().into_owned();
        refuses(directory.path(), &[("CHANCERY_DATA__DIRECTORY", place)], &[word]);
    }
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let _held = chancery::hub::open_store(&data).unwrap();
    refuses(directory.path(), &[], &["another process is using the data directory"]);
}

#[test]
fn a_store_that_cannot_be_meant_is_refused_and_its_password_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let kind = ("CHANCERY_STORE__KIND", "eventstoredb".to_owned());
    for (string, word) in [
        ("http://hub:not-to-be-printed@store.example:2113", "no connection string of EventStoreDB"),
        ("esdb://hub:not-to-be-printed@", "no connection string of EventStoreDB"),
        ("esdb://hub:not-to-be-printed@store.example:2113?tsl=false", "no connection string of EventStoreDB"),
        ("esdb://hub:not-to-be-printed@store.example:2113?tlsCAFile=/nowhere.pem", "tlsCAFile"),
    ] {
        let string = ("CHANCERY_STORE__CONNECTION_STRING", string.to_owned());
        refuses(directory.path(), &[kind.clone(), string], &[word]);
    }
    assert!(!directory.path().join("data").exists(), "nothing is touched");
}

#[test]
fn a_command_whose_store_is_not_there_says_where_it_looked_and_not_with_what_password() {
    let directory = tempfile::tempdir().unwrap();
    let shared = [
        ("CHANCERY_STORE__KIND", "eventstoredb".to_owned()),
        // Nobody listens there.
        (
            "CHANCERY_STORE__CONNECTION_STRING",
            "esdb://hub:not-to-be-printed@127.0.0.1:1?tls=false".to_owned(),
        ),
    ];
    std::fs::write(directory.path().join("chancery.toml"), "").unwrap();
    for line in [
        "projections list",
        "projections rebuild due",
        "clients list --config chancery.toml",
        "api-keys create ops --role admin --config chancery.toml",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let output = run(directory.path(), &words, &[&good(directory.path())[..], &shared].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("127.0.0.1:1 can't be reached"), "{line}: {said}");
        assert!(!said.contains("not-to-be-printed") && !said.contains("panic"), "{line}: {said}");
    }
    assert!(!directory.path().join("data").exists(), "nothing is touched");
}

#[test]
fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(directory.path(), &[("CHANCERY_SERVER__LISTEN", address.clone())], &[&address, "in use"]);
    let output =
        run(directory.path(), &["dev", "--port", &taken.local_addr().unwrap().port().to_string()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("in use"));
    assert!(!directory.path().join(".chancery/data").exists(), "nothing is touched");
}

/// What stands between this and the end of its block in the part of the README on running it.
fn readme(begin: &str, directory: &Path) -> String {
    let readme = include_str!("../../README.md");
    let (_, part) = readme.split_once("## Run it").unwrap();
    let (_, block) = part.split_once(begin).unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let directory = directory.to_str().unwrap();
    // Whose ids these are, the reader knows.
    let block = block.replace("00000000-0000-0000-0000-000000000000", "c0ffee00-7a1b-4c2d-8e3f-405162738495");
    block.replace("/etc/chancery", directory).replace("/var/lib/chancery", &format!("{directory}/data"))
}

#[test]
fn what_the_readme_says_to_type_runs_a_hub() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("client-secret"), "not-to-be-printed").unwrap();
    std::fs::write(directory.join("chancery.toml"), readme("```toml", directory)).unwrap();
    let block = format!("chancery keys {}", readme("\nchancery keys ", directory));
    let lines =
        block.lines().map(|line| line.split('#').next().unwrap().split_whitespace().collect::<Vec<_>>());
    let mut served = false;
    for words in lines {
        if words[1] != "serve" {
            let output = run(directory, &words[1..], &[]);
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            continue;
        }
        let mut hub = Command::new(CHANCERY)
            .args(&words[1..])
            .current_dir(directory)
            .env_clear()
            .env("CHANCERY_SERVER__LISTEN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(hub.stderr.take().unwrap()).lines().map(Result::unwrap);
        served = said.any(|line| line.contains("The hub listens."));
        hub.kill().unwrap();
        hub.wait().unwrap();
    }
    assert!(served, "the last line starts the hub");
    let mode = std::fs::metadata(directory.join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the data are closed to others");
}

#[test]
fn what_serve_would_refuse_is_refused_by_the_check_too() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join(chancery::app::DEV_MARK), "").unwrap();
    let output = run(directory.path(), &["config", "check"], &good(directory.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("chancery dev"));
    for line in ["clients list", "api-keys list", "projections list"] {
        let words: Vec<_> = line.split(' ').chain(["--data-dir", "elsewhere"]).collect();
        let output = run(directory.path(), &words, &[]);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(output.stderr, b"chancery: elsewhere holds no Chancery data\n", "{line}");
    }
    assert!(!directory.path().join("elsewhere").exists(), "nothing is touched");
}
