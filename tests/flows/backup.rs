//! A hub's data, copied while it runs, and a hub begun from the copy.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use chancery::{
    backup::{self, Restored, Tokens},
    clock::{Clock as _, SystemClock, SystemIds},
    hub::open_store,
};
use serde_json::{Value, json};
use store::{EventStore as _, Filter, Position};
use tokio::sync::watch;

use crate::harness::{
    PATIENCE, World,
    api::{Api, text, to_account, try_answer},
    browser::Browser,
    intake::{event, submit},
    microsoft::{ADA, BRUNO, Microsoft},
    process::{CHANCERY, Home, two_free_ports},
    secrets::{Needle, hold_files_free, issued},
};

fn chancery(arguments: &[&Path]) -> Output {
    Command::new(CHANCERY).args(arguments).env_clear().output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_there_after_its_restoration() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = two_free_ports();
    let microsoft = Arc::new(Microsoft::start(&format!("http://localhost:{port}")));
    let home = Home::new(first.path(), port, &microsoft, &[]);
    let hub = home.start();
    let api = home.api();
    for (account, upn) in [("u-1", ADA), ("u-2", BRUNO)] {
        let link = api.invite(account, Some(microsoft.person(upn))).await;
        assert_eq!(Browser::new().sign_in(&link.url, upn).await.title(), "You are connected");
    }
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = watch::channel(false);
    let load = ["u-1", "u-2"]
        .map(|account| tokio::spawn(drive(api.clone(), account, acknowledged.clone(), stopped.clone())));
    until(|| acknowledged.lock().unwrap().len() > 20).await;

    let before = acknowledged.lock().unwrap().clone();
    let backup = first.path().join("backup");
    let taken = chancery(&["backup".as_ref(), &backup, "--data-dir".as_ref(), &home.data()]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let at_its_end = acknowledged.lock().unwrap().len();
    until(|| acknowledged.lock().unwrap().len() > at_its_end + 20).await;
    let position = text(&api.message(&before[0]).await["position"]);
    stop.send(true).unwrap();
    for load in load {
        load.await.unwrap();
    }
    hub.kill();

    let key = fs::read_to_string(first.path().join(".chancery/key")).unwrap();
    let mut needles = issued(&microsoft.simulator);
    needles.extend([Needle::new("key", key.trim()), Needle::new("content", "message 1 to u-1")]);
    assert_eq!(hold_files_free(&backup, &needles), 3);

    let home = Home::new(second.path(), port, &microsoft, &[]);
    fs::create_dir(second.path().join(".chancery")).unwrap();
    for file in ["key", "api-key"] {
        let file = Path::new(".chancery").join(file);
        fs::copy(first.path().join(&file), second.path().join(&file)).unwrap();
    }
    let restored = chancery(&["restore".as_ref(), &backup, "--into".as_ref(), &home.data()]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let refreshed = microsoft.count("token.refresh");
    let hub = home.start();
    let api = home.api();
    for message in &before {
        concluded(&api, message).await;
    }
    // The tokens are of a backup, so new ones come first, asked for twice where an answer takes too long; both people can
    // be written to as before.
    for account in ["u-1", "u-2"] {
        assert_eq!(concluded(&api, &api.send(account, "After all").await).await, "delivered");
    }
    assert!(microsoft.count("token.refresh") >= refreshed + 2);
    // The log goes on otherwise than the one that was lost, and says so.
    api.get(&format!("/v1/messages?after={position}")).await.is_problem(409, "position-of-another-store");
    hub.kill();
}

/// Sends one message after the other, and writes down what was acknowledged.
async fn drive(
    api: Api,
    account: &'static str,
    acknowledged: Arc<Mutex<Vec<String>>>,
    stopped: watch::Receiver<bool>,
) {
    for number in 0.. {
        if *stopped.borrow() {
            return;
        }
        let body = to_account(account, &format!("message {number} to {account}"));
        let request = api.request(reqwest::Method::POST, "/v1/messages").json(&body);
        let answer =
            try_answer(request.header("idempotency-key", format!("{account}/{number}"))).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        acknowledged.lock().unwrap().push(text(&answer.body["id"]));
    }
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to that");
}

async fn concluded(api: &Api, message: &str) -> String {
    let mut shown = Value::Null;
    let end = async {
        while !matches!(shown["status"].as_str(), Some("delivered" | "unknown")) {
            shown = api.message(message).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, end).await.is_ok(), "{message}: {shown:#}");
    text(&shown["status"])
}

async fn restore(from: &Path, into: &Path, tokens: Tokens) -> anyhow::Result<Restored> {
    backup::restore(from, into, tokens, Arc::new(SystemClock), Arc::new(SystemIds)).await
}

/// Done to a file of a backup.
type Harm<'a> = &'a dyn Fn(&Path);

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_and_leaves_nothing_behind() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let place = tempfile::tempdir().unwrap();
    let (good, bad, into) = (place.path().join("good"), place.path().join("bad"), place.path().join("into"));
    backup::take(&world.data(), &good, SystemClock.now()).unwrap();
    let again = backup::take(&world.data(), &good, SystemClock.now()).unwrap_err();
    assert!(format!("{again:#}").ends_with("is not empty"), "{again:#}");

    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 4096]).unwrap();
    };
    let newer = |path: &Path| {
        let mut manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        manifest["format"] = 99.into();
        manifest["writer"] = "chancery/9.0.0".into();
        manifest["unheard_of"] = json!([]);
        fs::write(path, manifest.to_string()).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let garble = |path: &Path| fs::write(path, "{").unwrap();
    let harms: [(_, Harm<'_>, _); 8] = [
        ("log.sqlite", &flip, "log.sqlite is damaged"),
        ("vault.sqlite", &flip, "vault.sqlite is damaged"),
        ("log.sqlite", &cut, "log.sqlite is damaged"),
        ("log.sqlite", &remove, "log.sqlite: No such file"),
        ("vault.sqlite", &remove, "vault.sqlite: No such file"),
        ("manifest.json", &remove, "holds no whole backup"),
        ("manifest.json", &garble, "manifest.json is damaged"),
        ("manifest.json", &newer, "was written by chancery/9.0.0"),
    ];
    for (file, harm, told) in harms {
        fs::create_dir(&bad).unwrap();
        for entry in fs::read_dir(&good).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), bad.join(entry.file_name())).unwrap();
        }
        harm(&bad.join(file));
        let error = restore(&bad, &into, Tokens::Refresh).await.unwrap_err();
        assert!(format!("{error:#}").contains(told), "{error:#}");
        fs::remove_dir_all(&bad).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "{told}");
    }
    fs::create_dir(&into).unwrap();
    fs::write(into.join("theirs"), "").unwrap();
    let error = restore(&good, &into, Tokens::Refresh).await.unwrap_err();
    assert!(format!("{error:#}").ends_with("is not empty"), "{error:#}");
    fs::remove_file(into.join("theirs")).unwrap();
    assert_eq!(restore(&good, &into, Tokens::Refresh).await.unwrap().connections, 1);
}

#[tokio::test]
async fn where_an_older_refresh_token_would_do_harm_none_is_used_and_people_sign_in_again() {
    let mut world = World::start().await;
    world.link("u-1", ADA).await;
    world.deliver("u-1", "Before").await;
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    // A hub that is stopped is backed up as well.
    world.end(PATIENCE).await;
    backup::take(&world.data(), &backup, world.clock.now()).unwrap();
    fs::remove_dir_all(world.data()).unwrap();
    assert_eq!(restore(&backup, &world.data(), Tokens::SignInAgain).await.unwrap().connections, 1);

    let store = world.store().await;
    world.begin(store).await;
    // The read models are built anew; until then nobody's key is known.
    let head = world.hub().store.head().await.unwrap();
    world.hub().clients.wait_for(head, PATIENCE).await.unwrap();
    world.hub().keys.reload(world.hub()).await.unwrap();
    let message = world.api.send("u-1", "After").await;
    let parked = world.until_message_is(&message, "parked").await;
    assert_eq!(parked["why"], "reauthorization_required");
    assert_eq!(world.microsoft.count("token.refresh"), 0);
    world.link("u-1", ADA).await;
    world.until_message_is(&message, "delivered").await;
    assert_eq!(world.microsoft.texts(ADA), ["Before", "After"]);
}

#[tokio::test]
async fn a_store_that_is_served_to_hubs_is_backed_up_without_them() {
    let place = tempfile::tempdir().unwrap();
    let [data, backup, into] = ["data", "backup", "into"].map(|name| place.path().join(name));
    let store = open_store(&data).unwrap();
    let ids = submit(&store, 3, vec![event("message.submitted.v1", "{}")]).await;
    backup::take(&data, &backup, SystemClock.now()).unwrap();
    assert_eq!(restore(&backup, &into, Tokens::Refresh).await.unwrap().connections, 0);
    let restored = open_store(&into).unwrap();
    let page = restored.read_all(Position::START, &Filter::all(), 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    assert_ne!(restored.id(), store.id());
}
