//! Clients that do wrong, and what is no client at all.

use eventstore::{Error, ReadAllOptions, StreamPosition, SubscribeToAllOptions, SubscriptionFilter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Served, event, revisions, served};

async fn send(served: &Served, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The other side may be rude to rudeness.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(served: &Served, path: &str) -> String {
    send(served, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn pages_are_served_on_the_same_port() {
    let served = Served::new().await;
    assert!(get(&served, "/health/live").await.starts_with("HTTP/1.1 204"));
    assert!(get(&served, "/info").await.contains(r#""esVersion":"24.10.0""#));
    assert!(get(&served, "/gossip").await.contains(r#""state":"Leader""#));
    assert!(get(&served, "/subscriptions").await.ends_with("[]"));
    assert!(get(&served, "/streams/thing-1").await.starts_with("HTTP/1.1 404"));
    let post = b"POST /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(send(&served, post).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn garbage_ends_its_own_connection_and_no_other() {
    let (served, client) = served().await;
    client.append_to_stream("thing-1", &Default::default(), event("e")).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let noise: Vec<u8> =
        (0..2500_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let after_preface = [&preface[..], &noise[..]].concat();
    for garbage in
        [&b"\0\0\0\0\xff\xff\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc", &noise, &after_preface]
    {
        let mut half_open = TcpStream::connect(served.address).await.unwrap();
        half_open.write_all(&garbage[..3]).await.unwrap();
        let socket = TcpStream::connect(served.address).await.unwrap();
        let (mut read, mut write) = socket.into_split();
        let _ = write.write_all(garbage).await;
        let _ = write.shutdown().await;
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
    }
    client.append_to_stream("thing-1", &Default::default(), event("e")).await.unwrap();
    assert_eq!(revisions(&client, "thing-1").await, [0, 1]);
}

#[tokio::test]
async fn an_expression_made_to_take_for_ever_is_cut() {
    let (_served, client) = served().await;
    let stream = format!("thing-{}", "a".repeat(200));
    client.append_to_stream(&*stream, &Default::default(), event("e")).await.unwrap();
    let evil = || SubscriptionFilter::on_stream_name().regex(r"^thing-(?=(a|aa)+\1b)(a|aa)+$");
    let mut read = client.read_all(&ReadAllOptions::default().filter(evil())).await.unwrap();
    let cut = read.next().await;
    assert!(matches!(&cut, Err(Error::Grpc { message, .. }) if message.contains("steps")), "{cut:?}");

    let options = SubscribeToAllOptions::default().position(StreamPosition::Start).filter(evil());
    let mut subscription = client.subscribe_to_all(&options).await;
    let cut = loop {
        if let Err(error) = subscription.next_subscription_event().await {
            break error;
        }
    };
    assert!(matches!(&cut, Error::Grpc { message, .. } if message.contains("steps")), "{cut:?}");
    let endless = SubscriptionFilter::on_stream_name().regex("a".repeat(5000));
    let refused = client.read_all(&ReadAllOptions::default().filter(endless)).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn who_never_reads_or_says_nothing_keeps_nobody_waiting() {
    let (served, silent) = served().await;
    let mut unread = silent.subscribe_to_all(&SubscribeToAllOptions::default()).await;
    unread.next_subscription_event().await.unwrap();
    let mut half_open = Vec::new();
    for _ in 0..chancery_eventstoredb_server::limits::CONNECTIONS_MAX - 10 {
        half_open.push(TcpStream::connect(served.address).await.unwrap());
    }

    // More than sockets and buffers hold of what is not read.
    let other = served.client();
    let batch = other.batch_append(&Default::default()).await.unwrap();
    for _ in 0..40 {
        let large = eventstore::EventData::binary("e", vec![0; 500_000].into());
        batch.append_to_stream("large-1", eventstore::StreamState::Any, vec![large]).await.unwrap();
    }
    assert_eq!(revisions(&other, "large-1").await.len(), 40);
    drop((unread, half_open));
}
