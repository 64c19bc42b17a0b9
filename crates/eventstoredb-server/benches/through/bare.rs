//! As little as can be done for the same messages: a stream of tonic's with nothing behind it, and who reads it.

#![expect(clippy::result_large_err, reason = "tonic's status is large, and every message may be one")]

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Uri};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use store::Recorded;
use tokio::net::TcpListener;
use tonic::{Response, Status, client, codec::ProstCodec, server};

/// With the fields of a recorded event, at the same numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(message, optional, tag = "1")]
    event: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes = "bytes", tag = "2")]
    stream: Bytes,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(uint64, tag = "4")]
    prepare: u64,
    #[prost(uint64, tag = "5")]
    commit: u64,
    #[prost(map = "string, string", tag = "6")]
    properties: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "7")]
    metadata: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    data: Bytes,
}

impl Message {
    fn of(event: Recorded) -> Self {
        let properties = [
            ("type", event.name.to_string()),
            ("created", (event.created_us * 10).to_string()),
            ("content-type", "application/json".to_owned()),
        ];
        Self {
            event: Some(Event {
                id: event.id.to_string(),
                stream: event.stream.to_string().into(),
                revision: event.revision,
                prepare: event.position.0,
                commit: event.position.0,
                properties: properties.map(|(name, value)| (name.to_owned(), value)).into(),
                metadata: event.metadata,
                data: event.data,
            }),
        }
    }
}

/// Streams these events to everybody.
pub(super) async fn serve(events: Vec<Recorded>) -> SocketAddr {
    let messages: Arc<[Message]> = events.into_iter().map(Message::of).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let messages = Arc::clone(&messages);
            let service = service_fn(move |request| call(Arc::clone(&messages), request));
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    address
}

async fn call(
    messages: Arc<[Message]>,
    request: Request<Incoming>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let stream = tower::service_fn(move |_: tonic::Request<Message>| {
        let messages = Arc::clone(&messages);
        let all = (0..messages.len()).map(move |index| Ok::<_, Status>(messages[index].clone()));
        std::future::ready(Ok(Response::new(stream::iter(all))))
    });
    Ok(server::Grpc::new(ProstCodec::default()).server_streaming(stream, request).await)
}

/// Reads them all, and counts.
pub(super) async fn read(address: SocketAddr) -> u64 {
    let connection = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = Uri::try_from(format!("http://{address}")).expect("an address");
    let mut grpc = client::Grpc::with_origin(connection, origin);
    grpc.ready().await.map_err(|_| ()).expect("a connection");
    let codec: ProstCodec<Message, Message> = ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/bare/Read");
    let answer = grpc.server_streaming(tonic::Request::new(Message::default()), path, codec).await;
    let mut messages = answer.expect("it is answered").into_inner();
    let mut count = 0;
    while let Some(message) = messages.message().await.expect("it goes on") {
        count += u64::from(message.event.is_some());
    }
    count
}
