//! The same over the wire: hubs on `chancery store serve`, by EventStoreDB's own protocol.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use store::eventstoredb::{EventStoreDb, Options};

use crate::{
    harness::cluster::Cluster,
    process::Server,
    rounds::{PEOPLE, hold, of_claims, say, until_all_have_ended},
};

/// A subscription on which nothing came for so long is begun anew. Heartbeats come ten times as often.
const SILENCE: Duration = Duration::from_secs(2);

/// Hubs on this server.
pub(crate) async fn cluster(server: &Server, hubs: usize) -> Cluster {
    cluster_by(server, &vec![server.address.clone(); hubs]).await
}

/// Hubs on this server, each of which reaches it at one of these addresses.
pub(crate) async fn cluster_by(server: &Server, addresses: &[String]) -> Cluster {
    // The test itself is the first; whoever joins later reaches the server as it does.
    let ways: RefCell<VecDeque<String>> =
        RefCell::new([std::slice::from_ref(&server.address), addresses].concat().into_iter().collect());
    let own = server.address.clone();
    let open = move || {
        let address = ways.borrow_mut().pop_front().unwrap_or_else(|| own.clone());
        let string = format!("esdb://{address}?tls=false");
        let options = Options { silence: SILENCE, ..Options::default() };
        let store = EventStoreDb::new(string.parse().unwrap(), options).unwrap();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(store.identify())).unwrap();
        Arc::new(store) as Arc<dyn store::Keeping>
    };
    // Leases end, and what a hub had begun is taken for abandoned after twice as long as its call may take.
    let settings = [
        ("HUBS__LEASE_MS", "1500"),
        ("OUTBOUND__CONNECT_TIMEOUT_MS", "1000"),
        ("OUTBOUND__REQUEST_TIMEOUT_MS", "2000"),
        ("TOKENS__REFRESH_TIMEOUT_MS", "2000"),
    ];
    let mut cluster = Cluster::on(Box::new(open), PEOPLE, &settings, tempfile::tempdir().unwrap());
    for _ in addresses {
        cluster.join().await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_on_a_served_store_lose_nothing_when_one_of_them_or_the_store_is_killed() {
    let mut server = Server::start(&["--insecure"]);
    let mut cluster = cluster(&server, 2).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    let (mut said, mut log) = (Vec::new(), cluster.log());
    say(&cluster, 1, &mut said, 1, "before").await;
    cluster.kill(0).await;
    say(&cluster, 0, &mut said, 1, "after").await;
    cluster.until_shares_are(&[256]).await;
    cluster.join().await;
    cluster.until_shares_are(&[128, 128]).await;
    until_all_have_ended(&mut log, &said, "with another hub").await;
    server.kill_and_start_again();
    cluster.until_shares_are(&[128, 128]).await;
    let mut log = cluster.log();
    say(&cluster, 1, &mut said, 1, "with another server").await;
    until_all_have_ended(&mut log, &said, "with another server").await;
    hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_again_and_again_while_messages_come_in_loses_none_and_has_none_sent_twice() {
    let mut server = Server::start(&["--insecure"]);
    let cluster = cluster(&server, 2).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    let mut said = Vec::new();
    for kill in 1..=3 {
        let (what, mut log) = (format!("kill {kill}"), cluster.log());
        let before = said.len();
        let killing = async {
            // Some have arrived, others are on their way, and most are still to come.
            log.until("some arrive", |log| log.ends.len() > before + PEOPLE as usize / 4).await;
            let kill = move || {
                server.kill_and_start_again();
                server
            };
            tokio::task::spawn_blocking(kill).await.unwrap()
        };
        ((), server) = tokio::join!(say(&cluster, kill % 2, &mut said, 3, &what), killing);
        cluster.until_shares_are(&[128, 128]).await;
    }
    let mut log = cluster.log();
    until_all_have_ended(&mut log, &said, "after the last kill").await;
    hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
}
