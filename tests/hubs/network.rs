//! A network between hubs and their store that is cut, swallows what is said, or takes its time, and does so for one hub
//! alone: its part is worked by the other, and nothing is lost or sent twice.

use std::time::Duration;

use crate::{
    harness::cluster::Log,
    process::Server,
    proxy::Proxy,
    rounds::{PEOPLE, Said, hold, of_claims, say, until_all_have_ended},
    served,
};

/// What is wrong with the network.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Nobody gets through, and is told so.
    Cut,
    /// What the server says is lost; what it is told is not.
    Deaf,
    /// Both, one after the other.
    DeafThenCut,
}

impl Trouble {
    fn begin(self, proxy: &Proxy) {
        proxy.lose_answers(matches!(self, Self::Deaf | Self::DeafThenCut));
        if let Self::Cut = self {
            cut(proxy);
        }
    }

    fn grow(self, proxy: &Proxy) {
        if let Self::DeafThenCut = self {
            cut(proxy);
        }
    }

    /// Connections that lost something have lost it for good.
    fn end(proxy: &Proxy) {
        proxy.break_after(u64::MAX);
        proxy.lose_answers(false);
        proxy.cut();
    }
}

fn cut(proxy: &Proxy) {
    proxy.break_after(0);
    proxy.cut();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_whose_network_to_the_store_is_gone_sends_nothing_until_it_is_back() {
    let server = Server::start(&["--insecure"]);
    let proxy = Proxy::to(server.address.parse().unwrap()).await;
    let addresses = [proxy.address.to_string(), server.address.clone()];
    let cluster = served::cluster_by(&server, &addresses).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    let (mut said, mut log) = (Vec::new(), cluster.log());
    for trouble in [Trouble::Cut, Trouble::Deaf, Trouble::DeafThenCut] {
        say(&cluster, 1, &mut said, 1, &format!("{trouble:?} begins")).await;
        trouble.begin(&proxy);
        say(&cluster, 1, &mut said, 1, &format!("{trouble:?} is not known of")).await;
        cluster.until_shares_are(&[0, 256]).await;
        trouble.grow(&proxy);
        let before = said.len();
        say(&cluster, 1, &mut said, 1, &format!("{trouble:?} lasts")).await;
        until_all_have_ended(&mut log, &said, &format!("{trouble:?}")).await;
        let other = cluster.hubs[1].hub.id.to_string();
        assert!(began(&log, &said[before..]).iter().all(|hub| *hub == other), "{trouble:?}");
        Trouble::end(&proxy);
        cluster.until_shares_are(&[128, 128]).await;
        say(&cluster, 0, &mut said, 1, &format!("{trouble:?} is over")).await;
        until_all_have_ended(&mut log, &said, &format!("{trouble:?} is over")).await;
    }
    hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
}

/// Which hubs began to deliver these messages.
fn began(log: &Log, messages: &[Said]) -> Vec<String> {
    let started = log.events.iter().filter(|event| event.name == "lane.delivery-started.v1");
    let of_these = started.filter(|event| messages.iter().any(|said| event.data["message"] == *said.id));
    of_these.map(|event| event.data["hub"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_networks_that_break_and_dawdle_every_message_comes_once() {
    let server = Server::start(&["--insecure"]);
    let to = server.address.parse().unwrap();
    let proxies = [Proxy::to(to).await, Proxy::to(to).await];
    let addresses = proxies.each_ref().map(|proxy| proxy.address.to_string());
    let cluster = served::cluster_by(&server, &addresses).await;
    cluster.until_shares_are(&[128, 128]).await;
    cluster.link_crowd(PEOPLE).await;
    let (mut said, mut log) = (Vec::new(), cluster.log());
    for (at, proxy) in proxies.iter().enumerate() {
        proxy.slow_down(Duration::from_millis(20));
        say(&cluster, at, &mut said, 1, &format!("{at} is slow")).await;
        proxy.break_after(30_000);
        say(&cluster, 1 - at, &mut said, 1, &format!("{at} breaks")).await;
        proxy.cut();
        say(&cluster, at, &mut said, 1, &format!("{at} was cut")).await;
        proxy.fall_silent();
        say(&cluster, 1 - at, &mut said, 1, &format!("{at} fell silent")).await;
        proxy.break_after(u64::MAX);
        proxy.slow_down(Duration::ZERO);
        proxy.cut();
        cluster.until_shares_are(&[128, 128]).await;
        until_all_have_ended(&mut log, &said, &format!("{at}")).await;
    }
    hold(&cluster, &log, &said);
    of_claims(&cluster, &log);
}
