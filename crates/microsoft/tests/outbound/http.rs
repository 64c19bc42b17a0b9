//! The client itself: which servers it talks to, and how it says that it won't.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
};

use chancery_microsoft::{Failure, Graph, GraphConfig, OutboundConfig, TeamsApp, Transport, http_client};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use url::Url;

use crate::support::{keys_folder, outbound, refused};

fn graph(config: &OutboundConfig, address: Url) -> Graph {
    let teams_app = TeamsApp::CatalogId("app".into());
    let config_of_graph = GraphConfig { base: address, teams_app, trust_503: true };
    Graph::new(config_of_graph, http_client(config).unwrap()).unwrap()
}

/// Serves one empty success after another over TLS, by a certificate of the tests' own authority.
fn serve_tls() -> Url {
    let read = |name: &str| std::fs::read(keys_folder().join(name)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(read("localhost.key.der")));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(read("localhost.cert.der"))], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            // A client that does not trust us ends the handshake here.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
            }
        }
    });
    address.parse().unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_only_if_it_is_configured() {
    let address = serve_tls();
    let mut config = OutboundConfig { https_only: true, ..outbound() };
    let failure = graph(&config, address.clone()).probe(None).await.unwrap_err();
    assert!(matches!(failure, Failure::NotSent { .. }), "{failure:?}");
    config.ca_file = Some(keys_folder().join("test-authority.pem"));
    graph(&config, address).probe(None).await.unwrap();
}

#[tokio::test]
async fn plain_http_is_refused_where_only_https_is_allowed() {
    let config = OutboundConfig { https_only: true, ..outbound() };
    let failure = graph(&config, refused().await).probe(None).await.unwrap_err();
    assert!(matches!(&failure, Failure::NotSent { .. }), "{failure:?}");
    assert_eq!(failure.diagnosis().transport, Some(Transport::NotAllowed));
}

#[test]
fn a_file_without_certificates_stops_the_start() {
    for name in ["README.md", "nothing.pem"] {
        let config = OutboundConfig { ca_file: Some(keys_folder().join(name)), ..outbound() };
        let error = http_client(&config).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
