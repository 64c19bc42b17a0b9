//! The server's own settings, its socket, and TLS.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use url::Url;

use super::address::parse_network;
use crate::{config::Section, lifecycle::Lifecycle};

/// How long a client may take for the head of a request, or for the TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How large a head may be, which is also what a connection buffers.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    /// Scheme, host and port; the path is `/`.
    pub public_url: Url,
    pub tls: Option<TlsFiles>,
    pub trusted_proxies: Vec<IpNet>,
    pub max_body_bytes: usize,
    pub request_timeout: Duration,
    pub shutdown_deadline: Duration,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl ServerConfig {
    pub fn read(section: &mut Section<'_>) -> Self {
        let allowed = "an IP address and a port such as \"127.0.0.1:8400\" or \"[::]:8400\"";
        Self {
            listen: section.parsed("listen", allowed, |text| text.parse().ok()),
            public_url: Self::read_public_url(section),
            tls: TlsFiles::read(section),
            trusted_proxies: Self::read_proxies(section),
            max_body_bytes: section.number("max_body_bytes", 1024..=64 * 1024 * 1024),
            request_timeout: section.millis("request_timeout_ms", 100..=600_000),
            shutdown_deadline: section.millis("shutdown_deadline_ms", 100..=600_000),
        }
    }

    fn read_public_url(section: &mut Section<'_>) -> Url {
        section.required("public_url", "the https:// address at which browsers reach the hub");
        let url = section.url("public_url");
        if url.as_ref().is_some_and(|url| url.path() != "/") {
            section.refuse("public_url", "must not have a path");
        }
        url.unwrap_or_else(|| Url::parse("https://localhost").expect("a constant address"))
    }

    fn read_proxies(section: &mut Section<'_>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in section.list("trusted_proxies") {
            match parse_network(&text) {
                Some(network) => networks.push(network),
                None => section.refuse(
                    "trusted_proxies",
                    &format!("must list addresses or networks such as \"10.0.0.0/8\", not {text:?}"),
                ),
            }
        }
        networks
    }
}

/// Why the hub can't listen; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{address} is in use: end the other program (another hub?), or choose another port with {setting}"
    )]
    InUse { address: SocketAddr, setting: &'static str },
    #[error(
        "this user may not listen on {address}: choose a port from 1024 up with {setting}, or allow it (systemd: \
         AmbientCapabilities=CAP_NET_BIND_SERVICE)"
    )]
    NotPermitted { address: SocketAddr, setting: &'static str },
    #[error(
        "{address} is no address of this machine: choose one that is, or 0.0.0.0 for all, with {setting}"
    )]
    NoSuchAddress { address: SocketAddr, setting: &'static str },
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("no certificate can be read from {}: it must be PEM, with the hub's certificate first", .0.display())]
    Certificate(PathBuf),
    #[error("no private key can be read from {}: it must be PEM, and not encrypted", .0.display())]
    Key(PathBuf),
    #[error("the key in {} does not belong to the certificate in {}", .0.key.display(), .0.cert.display())]
    Mismatch(TlsFiles),
    #[error("TLS can't use {}: {error}", files.cert.display())]
    Tls { files: TlsFiles, error: rustls::Error },
}

/// Takes the address. The caller owns the socket, and knows its port when the setting said 0.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    bind_for("server.listen", address)
}

/// The same for an address that another setting names.
pub fn bind_for(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse { address, setting },
        io::ErrorKind::PermissionDenied => ServeError::NotPermitted { address, setting },
        io::ErrorKind::AddrNotAvailable => ServeError::NoSuchAddress { address, setting },
        _ => ServeError::Listen(address, error),
    })
}

impl TlsFiles {
    /// `tls.cert_file` and `tls.key_file` of the section.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        match (section.file("tls.cert_file"), section.file("tls.key_file")) {
            (Some(cert), Some(key)) => {
                let files = Self { cert, key };
                if let Err(error) = files.load() {
                    section.refuse("tls.cert_file", &format!("can't be used: {error}"));
                }
                Some(files)
            }
            (Some(_), None) => {
                section.refuse("tls.key_file", "must be set too: the private key of tls.cert_file");
                None
            }
            (None, Some(_)) => {
                section.refuse("tls.cert_file", "must be set too: the certificate of tls.key_file");
                None
            }
            (None, None) => None,
        }
    }

    /// TLS 1.2 and 1.3 by ring; HTTP/2 and HTTP/1.1.
    pub fn load(&self) -> Result<rustls::ServerConfig, ServeError> {
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect)
            .map_err(|_| ServeError::Certificate(self.cert.clone()))?;
        if chain.is_empty() {
            return Err(ServeError::Certificate(self.cert.clone()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|_| ServeError::Key(self.key.clone()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => ServeError::Mismatch(self.clone()),
                error => ServeError::Tls { files: self.clone(), error },
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Spawns the server. It stops accepting when the hub is stopping, ends idle connections, and lets open requests finish.
pub fn spawn(
    lifecycle: &Lifecycle,
    listener: TcpListener,
    tls: Option<&TlsFiles>,
    router: Router,
) -> anyhow::Result<()> {
    let handle = Handle::new();
    let tls = tls.map(TlsFiles::load).transpose()?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .acceptor(NoDelayAcceptor::new())
        .first_request_timeout(HEAD_TIMEOUT)
        .accept_error_handler(|_, error| tracing::debug!(%error, "connection not accepted"));
    server.http_builder().http1().header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);

    let stopping = lifecycle.stopping();
    lifecycle.spawn("http", async move {
        // Connections run in tasks of their own; whoever drops this one drops them too.
        let handle = CloseOnDrop(handle);
        let serve = async {
            match tls {
                Some(tls) => {
                    let tls = RustlsConfig::from_config(Arc::new(tls));
                    let tls = RustlsAcceptor::new(tls).handshake_timeout(HEAD_TIMEOUT);
                    server.map(|tcp| tls.acceptor(tcp)).serve(service).await
                }
                None => server.serve(service).await,
            }
        };
        let finish = async {
            stopping.cancelled().await;
            handle.0.graceful_shutdown(None);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = serve => Ok(ended?),
            () = finish => unreachable!("it waits for ever"),
        }
    });
    Ok(())
}

struct CloseOnDrop(Handle<SocketAddr>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// PEM of a certificate and key that only tests of this workspace know, as a chain under `test-authority.pem`.
    pub(crate) struct TestTls {
        directory: tempfile::TempDir,
    }

    pub(crate) const TEST_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../microsoft/tests/keys");

    impl TestTls {
        pub(crate) fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (der, pem, label) in [
                ("localhost.cert.der", "cert.pem", "CERTIFICATE"),
                ("localhost.key.der", "key.pem", "PRIVATE KEY"),
            ] {
                let der = std::fs::read(format!("{TEST_KEYS}/{der}")).unwrap();
                let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
                let pem = directory.path().join(pem);
                std::fs::write(pem, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))
                    .unwrap();
            }
            Self { directory }
        }

        pub(crate) fn files(&self) -> TlsFiles {
            let path = |name| self.directory.path().join(name);
            TlsFiles { cert: path("cert.pem"), key: path("key.pem") }
        }
    }

    #[test]
    fn a_port_in_use_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains("is in use") && error.contains("server.listen"), "{error}");
        let error = bind("203.0.113.77:0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no address of this machine"), "{error}");
    }

    #[test]
    fn certificates_and_keys_that_cannot_be_used_say_why() {
        let tls = TestTls::new();
        let good = tls.files();
        good.load().unwrap();
        let error = |files: TlsFiles| files.load().unwrap_err().to_string();
        let swapped = TlsFiles { cert: good.key.clone(), key: good.cert.clone() };
        assert!(error(swapped).contains("no certificate can be read"));
        let no_key = TlsFiles { key: good.cert.clone(), ..good.clone() };
        assert!(error(no_key).contains("no private key can be read"));
        let stranger = TlsFiles { cert: format!("{TEST_KEYS}/test-authority.pem").into(), ..good };
        assert!(error(stranger).contains("does not belong to"));
    }
}
