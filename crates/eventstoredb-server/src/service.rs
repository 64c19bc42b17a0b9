//! Which call or page is asked for.

use std::{convert::Infallible, future::ready, sync::Arc};

use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, body::Body, codec::ProstCodec, server::Grpc};
use tower::service_fn;

use crate::{
    Server, access::Caller, cluster, connection::Connection, limits, pages, protocol::shared::Empty, reading,
    writing,
};

/// What is asked does not matter.
type Question = tonic::Request<Empty>;

pub(crate) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_call = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    Ok(if is_call { call(connection, request).await } else { pages::answer(&connection, &request) })
}

/// The paths are the protocol's; `cluster::SERVED` tells clients of them.
async fn call(connection: Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.trim_start_matches("/event_store.client.") {
        // What clients ask before they say who they are.
        "server_features.ServerFeatures/GetSupportedMethods" => {
            let features = service_fn(|_: Question| ready(Ok(cluster::supported_methods())));
            grpc().unary(features, request).await
        }
        "gossip.Gossip/Read" => {
            let gossip = service_fn(move |_: Question| ready(Ok(cluster::gossip(&connection))));
            grpc().unary(gossip, request).await
        }
        method => {
            let server = Arc::clone(&connection.server);
            match server.access.caller(request.headers(), &connection.sessions).await {
                Ok(caller) => call_by(caller, server, method, request).await,
                Err(status) => status.into_http(),
            }
        }
    }
}

async fn call_by(
    caller: Caller,
    server: Arc<Server>,
    method: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let by = (server, caller);
    match method {
        "streams.Streams/Read" => {
            let read = service_fn(move |request| {
                let (server, caller) = by.clone();
                reading::read(server, caller, request)
            });
            grpc().server_streaming(read, request).await
        }
        "streams.Streams/Append" => {
            let append = service_fn(move |request| {
                let (server, caller) = by.clone();
                writing::append(server, caller, request)
            });
            grpc().client_streaming(append, request).await
        }
        "streams.Streams/BatchAppend" => {
            let batch = service_fn(move |request| {
                let (server, caller) = by.clone();
                ready(Ok(writing::batch::append(server, caller, request)))
            });
            grpc().streaming(batch, request).await
        }
        "streams.Streams/Delete" => {
            let delete = service_fn(move |request| {
                let (server, caller) = by.clone();
                writing::delete(server, caller, request)
            });
            grpc().unary(delete, request).await
        }
        "streams.Streams/Tombstone" => {
            let tombstone = service_fn(move |request| {
                let (server, caller) = by.clone();
                writing::tombstone(server, caller, request)
            });
            grpc().unary(tombstone, request).await
        }
        "persistent_subscriptions.PersistentSubscriptions/List" => {
            let list = service_fn(|_: Question| ready(Ok(cluster::persistent_subscriptions())));
            grpc().unary(list, request).await
        }
        _ => Status::unimplemented(format!("{} is not served", request.uri().path())).into_http(),
    }
}

fn grpc<Q, A>() -> Grpc<ProstCodec<A, Q>>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
}
