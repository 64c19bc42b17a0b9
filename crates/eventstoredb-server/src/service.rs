//! Which call or page is asked for.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, body::Body, codec::ProstCodec, server::Grpc};
use tower::service_fn;

use crate::{Server, cluster, limits, pages, protocol::shared::Empty, reading, writing};

/// What is asked does not matter.
type Question = tonic::Request<Empty>;

pub(crate) async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_call = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    Ok(if is_call { call(server, request).await } else { pages::answer(&server, &request) })
}

/// The paths are the protocol's; `cluster::SERVED` tells clients of them.
async fn call(server: Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.trim_start_matches("/event_store.client.") {
        "streams.Streams/Read" => {
            let read = service_fn(move |request| reading::read(Arc::clone(&server), request));
            grpc().server_streaming(read, request).await
        }
        "streams.Streams/Append" => {
            let append = service_fn(move |request| writing::append(Arc::clone(&server), request));
            grpc().client_streaming(append, request).await
        }
        "streams.Streams/BatchAppend" => {
            let batch = service_fn(move |request| {
                std::future::ready(Ok(writing::batch::append(Arc::clone(&server), request)))
            });
            grpc().streaming(batch, request).await
        }
        "streams.Streams/Delete" => {
            let delete = service_fn(move |request| writing::delete(Arc::clone(&server), request));
            grpc().unary(delete, request).await
        }
        "streams.Streams/Tombstone" => {
            let tombstone = service_fn(move |request| writing::tombstone(Arc::clone(&server), request));
            grpc().unary(tombstone, request).await
        }
        "server_features.ServerFeatures/GetSupportedMethods" => {
            let features = service_fn(|_: Question| std::future::ready(Ok(cluster::supported_methods())));
            grpc().unary(features, request).await
        }
        "gossip.Gossip/Read" => {
            let gossip = service_fn(move |_: Question| std::future::ready(Ok(cluster::gossip(&server))));
            grpc().unary(gossip, request).await
        }
        "persistent_subscriptions.PersistentSubscriptions/List" => {
            let list = service_fn(|_: Question| std::future::ready(Ok(cluster::persistent_subscriptions())));
            grpc().unary(list, request).await
        }
        _ => Status::unimplemented(format!("{path} is not served")).into_http(),
    }
}

fn grpc<Q, A>() -> Grpc<ProstCodec<A, Q>>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
}
