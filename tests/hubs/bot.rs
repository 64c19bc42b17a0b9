//! What Teams tells several hubs of is received once, and answered once.

use futures_util::future::join_all;
use microsoft_simulator::activities::Act;
use reqwest::Method;

use crate::harness::{cluster::Cluster, log::count, microsoft::ADA};

#[tokio::test]
async fn the_same_activity_ten_times_at_once_at_two_hubs_is_answered_once() {
    let cluster = Cluster::start(2, 0, &[]).await;
    cluster.until_shares_are(&[128, 128]).await;
    // Nobody listens there; what would be sent is what counts.
    cluster.microsoft.listen("http://localhost:9");
    let unheard = cluster.microsoft.send(ADA, Act::Text("help".to_owned()), |_| {}).await.remove(0);
    let simulator = &cluster.microsoft.simulator;
    let token = simulator.bot_token(&simulator.service_url(), None).unwrap();
    let posts = (0..10).map(|n| {
        let api = cluster.hubs[n % 2].api.with_key(&token);
        let request = api.request(Method::POST, "/api/messages").json(&unheard.activity);
        async move { request.send().await.unwrap().status().as_u16() }
    });
    assert_eq!(join_all(posts).await, [200; 10]);
    let mut log = cluster.log();
    log.until("it is handled", |log| count(&log.events, "activity.handled.v1") == 1).await;
    for name in ["activity.received.v1", "notice.started.v1", "notice.sent.v1"] {
        assert_eq!(count(&log.events, name), 1, "{name}");
    }
    assert_eq!(cluster.microsoft.heard(ADA).len(), 1);
}
