//! Real processes of the program on one served store: frozen past their lease and woken again, killed, and told to stop.

use std::{
    collections::HashSet,
    fs::File,
    process::{Child, Stdio},
};

use crate::{
    harness::{
        cluster::{Cluster, until},
        microsoft::AUTHORITY,
    },
    process::{Server, command},
    rounds::{PEOPLE, hold, of_claims, say, until_all_have_ended},
    served,
};

/// A hub that is killed with the test.
pub(crate) struct Process(Child);

impl Process {
    /// With settings of its own beside those that bring it to the cluster's store and to this Microsoft.
    pub(crate) fn start(
        cluster: &Cluster,
        store: &str,
        microsoft: &str,
        name: &str,
        more: &[(&str, &str)],
    ) -> Self {
        let home = cluster.directory().join(name);
        std::fs::create_dir_all(home.join("data")).unwrap();
        let path = |of: &std::path::Path| of.to_str().unwrap().to_owned();
        let settings = &cluster.microsoft.settings;
        let environment = [
            ("STORE__KIND", "eventstoredb".to_owned()),
            ("STORE__CONNECTION_STRING", store.to_owned()),
            ("DATA__DIRECTORY", path(&home.join("data"))),
            ("KEYS__KEY_ENCRYPTION_KEY_FILE", path(&cluster.directory().join("key"))),
            ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
            ("SERVER__PUBLIC_URL", "https://hub.example.com".to_owned()),
            ("MICROSOFT__AUTHORITY", microsoft.to_owned()),
            ("MICROSOFT__GRAPH_BASE", format!("{microsoft}/v1.0")),
            ("MICROSOFT__CLIENT_ID", settings.client_id.to_string()),
            ("MICROSOFT__CLIENT_SECRET", settings.client_secret.clone()),
            ("MICROSOFT__TEAMS_APP_EXTERNAL_ID", settings.teams_app_id.clone()),
            ("OUTBOUND__CA_FILE", AUTHORITY.to_owned()),
            ("OUTBOUND__CONNECT_TIMEOUT_MS", "1000".to_owned()),
            ("OUTBOUND__REQUEST_TIMEOUT_MS", "2000".to_owned()),
            ("DELIVERY__CHAT_INTERVAL_MS", "0".to_owned()),
            ("DELIVERY__TENANT_PER_SECOND", "10000".to_owned()),
            ("DELIVERY__APP_PER_SECOND", "10000".to_owned()),
            ("DELIVERY__BREAKER_PAUSE_MS", "50".to_owned()),
            ("HUBS__HEARTBEAT_MS", "100".to_owned()),
            ("HUBS__LEASE_MS", "1500".to_owned()),
        ];
        let log = File::create(home.join("stderr.log")).unwrap();
        let child = command(&["serve"])
            .envs(environment.map(|(key, value)| (format!("CHANCERY_{key}"), value)))
            .envs(more.iter().map(|(key, value)| (format!("CHANCERY_{key}"), value)))
            .current_dir(&home)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }

    /// `STOP`, `CONT` or `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let status = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself; answers whether it says that all was well.
    pub(crate) async fn ended_well(&mut self) -> bool {
        until(async || self.has_ended()).await && self.0.wait().unwrap().success()
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_frozen_killed_and_stopped_send_nothing_twice() {
    let server = Server::start(&["--insecure"]);
    let cluster = served::cluster(&server, 1).await;
    cluster.link_crowd(PEOPLE).await;
    let microsoft = cluster.microsoft.open_tls_door();
    let store = format!("esdb://{}?tls=false", server.address);
    let start = |name: &str| Process::start(&cluster, &store, &microsoft, name, &[]);
    let mut processes = ["one", "another"].map(start);
    let (mut said, mut log) = (Vec::new(), cluster.log());
    log.until("three share the work", |log| log.shares() == [85, 85, 86]).await;
    for round in 0..6 {
        let what = format!("round {round}");
        say(&cluster, 0, &mut said, 1, &what).await;
        let process = &mut processes[round / 3];
        match round % 3 {
            0 => process.signal("STOP"),
            1 => process.kill(),
            _ => {
                process.signal("TERM");
                assert!(process.ended_well().await, "{what}: it did not end well");
            }
        }
        say(&cluster, 0, &mut said, 1, &format!("{what}, disturbed")).await;
        log.until("two share the work", |log| log.shares() == [128, 128]).await;
        until_all_have_ended(&mut log, &said, &what).await;
        if round % 3 == 0 {
            process.signal("CONT");
        } else {
            *process = start(&format!("started in {what}"));
        }
        log.until("three share the work", |log| log.shares() == [85, 85, 86]).await;
    }
    say(&cluster, 0, &mut said, 1, "at last").await;
    until_all_have_ended(&mut log, &said, "at last").await;
    hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
    let began = log.events.iter().filter(|event| event.name == "lane.delivery-started.v1");
    let hubs: HashSet<_> = began.map(|event| event.data["hub"].to_string()).collect();
    assert!(hubs.len() > 3, "only {} hubs sent anything", hubs.len());
}
