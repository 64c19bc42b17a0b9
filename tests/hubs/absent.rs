//! A hub whose store is not there, or does not let it in, when it starts: it lives, says what it waits for, and works once
//! it can.

use eventstoredb_server::{Cost, PasswordHash};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::{
    harness::{
        api::{Answer, Api, answer, drawn, to_account, try_answer},
        cluster::{Cluster, until},
        process::two_free_ports,
    },
    process::Server,
    processes::Process,
    proxy::Proxy,
    rounds::PEOPLE,
    served,
};

const PASSWORD: &str = "not-to-be-shown";

/// Waits until the hub says of its store why it waits for it.
async fn waiting_for(api: &Api, reason: &str) -> Answer {
    let mut said = Value::Null;
    let says = until(async || {
        let ready = try_answer(api.request(Method::GET, "/health/ready")).await;
        ready.is_ok_and(|ready| {
            said = ready.body;
            ready.status == 503 && said["checks"][0]["reason"].as_str().is_some_and(|it| it.contains(reason))
        })
    });
    assert!(says.await, "{reason:?} is not said: {said:#}");
    assert_eq!((&said["ready"], &said["checks"][0]["name"]), (&json!(false), &json!("store")));
    assert!(!said.to_string().contains(PASSWORD), "{said}");
    assert_eq!(api.get("/health/live").await.status, 204);
    api.post("/v1/messages", &drawn(), &to_account("u-1", "Too early")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_whose_store_is_absent_lives_is_not_ready_and_works_by_itself_once_it_comes() {
    let mut server = Server::start(&["--insecure"]);
    let mut cluster = served::cluster(&server, 1).await;
    cluster.link_crowd(PEOPLE).await;
    let key = cluster.hubs[0].api.key.clone();
    cluster.stop(0).await;
    server.kill();
    // Nobody listens there, and no other test is given the port.
    let held = TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind(server.address.parse().unwrap()).unwrap();

    let (port, microsoft) = (two_free_ports(), cluster.microsoft.open_tls_door());
    let (store, listen) = (format!("esdb://{}?tls=false", server.address), format!("127.0.0.1:{port}"));
    let mut hub = Process::start(&cluster, &store, &microsoft, "early", &[("SERVER__LISTEN", &listen)]);
    let api = Api::new(&format!("http://{listen}"), &key);
    let early = waiting_for(&api, "can't be reached").await;
    early.is_problem(503, "unavailable");
    assert_eq!(early.retry_after, Some(2));

    drop(held);
    server.start_again();
    let ready = until(async || api.get("/health/ready").await.status == 200).await;
    assert!(ready, "{:#}", api.get("/health/ready").await.body);
    let message = api.send("u-1", "In time").await;
    assert!(until(async || api.message(&message).await["status"] == "delivered").await);
    hub.signal("TERM");
    assert!(hub.ended_well().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_network_breaks_while_a_hub_starts_it_goes_on_once_that_holds() {
    let server = Server::start(&["--insecure"]);
    let cluster = served::cluster(&server, 0).await;
    let proxy = Proxy::to(server.address.parse().unwrap()).await;
    let listen = format!("127.0.0.1:{}", two_free_ports());
    let mut carries = 0;
    proxy.break_after(carries);
    let microsoft = "https://microsoft.example";
    let mut hub =
        Process::start(&cluster, &proxy.string(), microsoft, "broken", &[("SERVER__LISTEN", &listen)]);
    let api = Api::new(&format!("http://{listen}"), "");
    let works = async || {
        try_answer(api.request(Method::GET, "/v1/hubs")).await.is_ok_and(|answer| answer.status == 401)
    };
    // Each connection holds a little longer than the one before, so that it breaks at each thing that is asked for.
    while !works().await {
        let before = proxy.connections();
        carries += 300;
        proxy.break_after(carries);
        let goes_on = until(async || proxy.connections() > before || hub.has_ended() || works().await).await;
        assert!(goes_on && !hub.has_ended(), "where a connection held for {carries} bytes");
    }
    proxy.break_after(u64::MAX);
    hub.signal("TERM");
    assert!(hub.ended_well().await);
    let said = std::fs::read_to_string(cluster.directory().join("broken/stderr.log")).unwrap();
    assert!(said.contains("The hub waits for its store.") && !said.contains("MetadataMap"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_its_store_does_not_let_in_says_why_and_not_by_what_password() {
    let cluster = Cluster::start(0, 0, &[]).await;
    let users = cluster.directory().join("users");
    let line = |name: &str, role: &str| {
        format!("{name} {role} {}\n", PasswordHash::of(PASSWORD, [1; 16], Cost::Drawn).as_str())
    };
    std::fs::write(&users, line("hub", "hub") + &line("auditor", "read")).unwrap();
    let server = Server::start_with(&[], &[("STORE__SERVE__USERS_FILE", users.to_str().unwrap())]);
    let (address, refused) = (&server.address, "refuses the user or the password");
    for (number, (store, reason)) in [
        (format!("esdb://hub:{PASSWORD}-or-not@{address}?tls=false"), refused),
        (format!("esdb://auditor:{PASSWORD}@{address}?tls=false"), "does not let this user append"),
        (format!("esdb://hub:{PASSWORD}@{address}"), "can't be reached"),
    ]
    .iter()
    .enumerate()
    {
        let listen = format!("127.0.0.1:{}", two_free_ports());
        let name = number.to_string();
        let mut hub = Process::start(
            &cluster,
            store,
            "https://microsoft.example",
            &name,
            &[("SERVER__LISTEN", &listen)],
        );
        let api = Api::new(&format!("http://{listen}"), "");
        waiting_for(&api, reason).await.is_problem(503, "unavailable");
        hub.signal("TERM");
        assert!(hub.ended_well().await, "it does not end while it waits");
        let said = std::fs::read_to_string(cluster.directory().join(&name).join("stderr.log")).unwrap();
        assert!(said.contains("The hub waits for its store.") && !said.contains(PASSWORD), "{said}");
    }
    // The right one is let in, and says of an API key that it knows none.
    let listen = format!("127.0.0.1:{}", two_free_ports());
    let store = format!("esdb://hub:{PASSWORD}@{address}?tls=false");
    let _hub = Process::start(
        &cluster,
        &store,
        "https://microsoft.example",
        "let in",
        &[("SERVER__LISTEN", &listen)],
    );
    let api = Api::new(&format!("http://{listen}"), "none");
    let known = until(async || {
        try_answer(api.request(Method::GET, "/v1/hubs")).await.is_ok_and(|answer| answer.status == 401)
    });
    assert!(known.await);
    assert_eq!(answer(api.request(Method::GET, "/health/live")).await.status, 204);
}
