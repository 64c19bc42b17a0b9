//! The same over the wire: hubs on `chancery store serve`, by EventStoreDB's own protocol.

use std::sync::Arc;

use store::eventstoredb::{EventStoreDb, Options};

use crate::{
    harness::cluster::Cluster,
    process::Server,
    rounds::{PEOPLE, hold, of_claims, say, until_all_have_ended},
};

/// Hubs on this server.
pub(crate) async fn cluster(server: &Server, hubs: usize) -> Cluster {
    // What the first connection learns of the store, all others are told.
    let address = format!("esdb://{}?tls=false", server.address);
    let connect = move || EventStoreDb::new(address.parse().unwrap(), Options::default()).unwrap();
    let open = move || {
        let store = connect();
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
    for _ in 0..hubs {
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
