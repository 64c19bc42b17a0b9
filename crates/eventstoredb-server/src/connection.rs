//! One connection, from its first byte to its last.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{Server, access::Access, limits, service, session::Sessions, socket::Socket};

/// What the calls of one connection share.
pub(crate) struct Connection {
    pub(crate) server: Arc<Server>,
    /// At which the client found this server.
    pub(crate) address: SocketAddr,
    pub(crate) sessions: Arc<Sessions>,
}

/// Sees a connection to its end, and what was read on it to the records.
pub(crate) async fn attend(server: Arc<Server>, stream: TcpStream) {
    let tls = match &server.tls {
        Some(tls) if !server.loopback || speaks_tls(&stream).await => {
            Some(TlsAcceptor::from(Arc::clone(tls)))
        }
        _ => None,
    };
    let opened = stream.local_addr().and_then(|address| Ok((address, Socket::new(stream)?)));
    let (address, socket) = match opened {
        Ok(opened) => opened,
        Err(error) => return tracing::debug!(%error, "a connection was gone at once"),
    };
    let connection = Arc::new(Connection { server: Arc::clone(&server), address, sessions: Arc::default() });
    match tls {
        None => converse(&connection, socket).await,
        Some(tls) => match timeout(limits::FIRST_REQUEST, tls.accept(socket)).await {
            Ok(Ok(socket)) => converse(&connection, socket).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection to the store's port speaks no TLS"),
            Err(_) => {}
        },
    }
    if let Access::Users { audit, .. } = &server.access {
        connection.sessions.end(&**audit).await;
    }
}

/// Whether it begins with a handshake. What says nothing at all is seen to as what speaks none.
async fn speaks_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    let looked = timeout(limits::FIRST_REQUEST, stream.peek(&mut first)).await;
    matches!(looked, Ok(Ok(1))) && first == [HANDSHAKE]
}

/// The first byte of TLS.
const HANDSHAKE: u8 = 22;

async fn converse(of: &Arc<Connection>, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let (shutdown, spoken) = (of.server.shutdown.clone(), CancellationToken::new());
    let service = hyper::service::service_fn({
        let (spoken, of) = (spoken.clone(), Arc::clone(of));
        move |request| {
            spoken.cancel();
            service::answer(Arc::clone(&of), request)
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
