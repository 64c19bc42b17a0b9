//! Speaks: serves a store by `EventStoreDB`'s own gRPC protocol, so that its clients work on it.
//!
//! What is served: the service Streams, what clients ask before they begin (`ServerFeatures`, Gossip), and on the same
//! port the few pages that are fetched by HTTP/1.1. Nobody is asked who they are; therefore only a loopback address is
//! served. Links are stored and read as events like others, and are not followed. A stream's `$acl` is stored, and
//! rules nothing.
//!
//! **Invariants.** A subscription never ends well: clients take an end without an error for a reason to ask again at
//! once. Nothing that a client sends or leaves unread takes more than a stated limit; see [`limits`].

#![expect(clippy::result_large_err, reason = "tonic's status is large, and every answer may be one")]

mod cluster;
mod filter;
pub mod limits;
mod pages;
mod protocol;
mod reading;
mod refusal;
mod retention;
mod service;
mod socket;
#[cfg(test)]
mod testing;
mod wire;
mod writing;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use store::served::ServedStore;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::socket::Socket;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Listen on `127.0.0.1` or `::1`.
    #[error("{0} can be reached from elsewhere, and the store would be open to everybody who does")]
    NotLoopback(SocketAddr),
    #[error("the listener can't be used: {0}")]
    Listener(#[from] io::Error),
}

/// What calls need.
struct Server {
    store: Arc<dyn ServedStore>,
    address: SocketAddr,
    shutdown: CancellationToken,
    subscriptions: Arc<Semaphore>,
    subscriptions_begun: AtomicU64,
}

/// Serves the store until `shutdown`, then ends subscriptions, lets what is under way finish for a while, and returns.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn ServedStore>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let server = Arc::new(Server {
        store,
        address,
        shutdown: shutdown.clone(),
        subscriptions: Arc::new(Semaphore::new(limits::SUBSCRIPTIONS_MAX)),
        subscriptions_begun: AtomicU64::default(),
    });
    let (slots, tasks) = (Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)), TaskTracker::new());
    while let Some(slot) = shutdown.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        match shutdown.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, _))) => {
                let server = Arc::clone(&server);
                tasks.spawn(async move {
                    attend(server, stream).await;
                    drop(slot);
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection to the store's port could not be accepted");
                let _ = shutdown.run_until_cancelled(sleep(limits::ACCEPT_AGAIN)).await;
            }
            None => break,
        }
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Sees one connection to its end.
async fn attend(server: Arc<Server>, stream: TcpStream) {
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%error, "a connection was gone at once"),
    };
    let (shutdown, spoken) = (server.shutdown.clone(), CancellationToken::new());
    let service = hyper::service::service_fn({
        let spoken = spoken.clone();
        move |request| {
            spoken.cancel();
            service::answer(Arc::clone(&server), request)
        }
    });
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Who has not asked for anything by then is not going to.
        () = silence(&spoken) => return,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(limits::SHUTDOWN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection to the store's port ended early");
    }
}

/// Over when nothing was said in time; for ever otherwise.
async fn silence(spoken: &CancellationToken) {
    if timeout(limits::FIRST_REQUEST, spoken.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::FIRST_REQUEST);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_concurrent_streams(limits::CALLS_MAX);
    builder
}
