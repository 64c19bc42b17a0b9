//! A node that is not the leader of its cluster, made of the least that a client needs to ask it for more.

use std::{convert::Infallible, net::SocketAddr};

use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::{body::Bytes, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use store::{
    Direction, EventStore, Expected,
    eventstoredb::{EventStoreDb, Options},
};
use tokio::net::TcpListener;

use super::event;
use crate::Served;

/// `SupportedMethods` with `BatchAppend`, in the frame of a gRPC message.
fn supported_methods() -> Bytes {
    let method = [field(1, b"batchappend"), field(2, b"event_store.client.streams.streams")].concat();
    let message = [field(1, &method), field(2, b"24.10.0")].concat();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn answer(request: &Request<Incoming>, leader: SocketAddr) -> Response<Full<Bytes>> {
    let about_itself = request.uri().path().ends_with("GetSupportedMethods");
    let mut response =
        Response::new(Full::new(if about_itself { supported_methods() } else { Bytes::new() }));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    if about_itself {
        // The client takes a status that stands in front for one that stands behind.
        return response;
    }
    let host = leader.ip().to_string();
    let port = leader.port().to_string();
    for (name, value) in [
        ("grpc-status", "5"),
        ("grpc-message", "Leader info available"),
        ("exception", "not-leader"),
        ("leader-endpoint-host", &host),
        ("leader-endpoint-port", &port),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

/// Where every call but the first is sent on to the leader.
async fn follower(leader: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service_fn(move |request| {
                let answer = answer(&request, leader);
                async { Ok::<_, Infallible>(answer) }
            });
            let serving =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service);
            tokio::spawn(serving);
        }
    });
    address
}

async fn connect(served: &Served) -> EventStoreDb {
    let string = format!("esdb://{}?tls=false", follower(served.address).await);
    EventStoreDb::new(string.parse().unwrap(), Options::default()).unwrap()
}

#[tokio::test]
async fn an_append_to_a_node_that_does_not_lead_goes_to_the_one_that_does() {
    let served = Served::new().await;
    let store = connect(&served).await;
    let stream = store::StreamName::new("thing-1");
    let appended = store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    assert_eq!(appended.revision, 0);
    assert_eq!(served.store.head().await.unwrap(), appended.position);
}

#[tokio::test]
async fn a_read_from_a_node_that_does_not_lead_is_the_leaders() {
    let served = Served::new().await;
    let stream = store::StreamName::new("thing-1");
    served.store.append(&stream, Expected::NoStream, vec![event(1)]).await.unwrap();
    let store = connect(&served).await;
    assert_eq!(store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap().len(), 1);
}
