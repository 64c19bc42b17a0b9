//! Speaks: serves a store by `EventStoreDB`'s own gRPC protocol, so that its clients work on it.
//!
//! What is served: the service Streams, what clients ask before they begin (`ServerFeatures`, Gossip), and on the same
//! port the few pages that are fetched by HTTP/1.1. Links are stored and read as events like others, and are not
//! followed. A stream's `$acl` is stored, and rules nothing: what a user may do is said by the role, see [`Role`].
//!
//! **Invariants.** Other machines reach the port only by TLS, and are asked who they are. A subscription never ends well: clients take an end without an error for a reason to ask again at
//! once. Nothing that a client sends or leaves unread takes more than a stated limit; see [`limits`].

#![expect(clippy::result_large_err, reason = "tonic's status is large, and every answer may be one")]

mod access;
mod cluster;
mod connection;
mod filter;
pub mod limits;
mod pages;
mod protocol;
mod reading;
mod refusal;
mod retention;
mod service;
mod session;
mod socket;
#[cfg(test)]
mod testing;
mod users;
mod wire;
mod writing;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use store::served::ServedStore;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use self::{
    access::{Access, Intake, Rules},
    session::{Audit, NotRecorded, Readings},
    users::{BadHash, Cost, PasswordHash, Role, User, Users},
};

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Name users.
    #[error(
        "{0} can be reached from elsewhere, and the store would be open to everybody who does: it needs users"
    )]
    NoUsers(SocketAddr),
    /// Give it a certificate, or listen on `127.0.0.1` or `::1`.
    #[error("{0} can be reached from elsewhere, and passwords would go there in clear: it needs TLS")]
    NoTls(SocketAddr),
    #[error("the listener can't be used: {0}")]
    Listener(#[from] io::Error),
}

/// What is served, to whom, and how.
pub struct Service {
    pub store: Arc<dyn ServedStore>,
    pub access: Access,
    /// Has to offer `h2` and `http/1.1`. On a loopback address it is offered, and what comes in clear is served as well.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// What calls need.
struct Server {
    store: Arc<dyn ServedStore>,
    access: Access,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Only this machine reaches it.
    loopback: bool,
    shutdown: CancellationToken,
    subscriptions: Arc<Semaphore>,
    subscriptions_begun: AtomicU64,
}

/// Serves the store to everybody on this machine; see [`Service::run`].
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn ServedStore>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    Service { store, access: Access::Open, tls: None }.run(listener, shutdown).await
}

impl Service {
    /// Serves until `shutdown`, then ends subscriptions, lets what is under way finish for a while, and returns.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        self.may_be_at(address)?;
        let server = Arc::new(Server::new(self, address, shutdown.clone()));
        // Whoever drops this ends them too.
        let mut tasks = JoinSet::new();
        let slots = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        while let Some(slot) = shutdown.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
            match shutdown.run_until_cancelled(listener.accept()).await {
                Some(Ok((stream, _))) => {
                    let server = Arc::clone(&server);
                    tasks.spawn(async move {
                        connection::attend(server, stream).await;
                        drop(slot);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection to the store's port could not be accepted");
                    let _ = shutdown.run_until_cancelled(sleep(limits::ACCEPT_AGAIN)).await;
                }
                None => break,
            }
            while tasks.try_join_next().is_some() {}
        }
        tasks.join_all().await;
        Ok(())
    }

    fn may_be_at(&self, address: SocketAddr) -> Result<(), ServeError> {
        match (&self.access, &self.tls) {
            _ if address.ip().is_loopback() => Ok(()),
            (Access::Open, _) => Err(ServeError::NoUsers(address)),
            (Access::Users { .. }, None) => Err(ServeError::NoTls(address)),
            (Access::Users { .. }, Some(_)) => Ok(()),
        }
    }
}

impl Server {
    fn new(service: Service, address: SocketAddr, shutdown: CancellationToken) -> Self {
        let Service { store, access, tls } = service;
        Self {
            store,
            access,
            tls,
            loopback: address.ip().is_loopback(),
            shutdown,
            subscriptions: Arc::new(Semaphore::new(limits::SUBSCRIPTIONS_MAX)),
            subscriptions_begun: AtomicU64::default(),
        }
    }
}
