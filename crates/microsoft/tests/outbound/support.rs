//! Stubs on loopback, and tokens signed by test keys.

use std::{collections::HashMap, future::Future, path::PathBuf, sync::Mutex, time::Duration};

use axum::Router;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chancery_microsoft::{OutboundConfig, http_client};
use ring::{
    rand::SystemRandom,
    rsa::{KeyPair, PublicKeyComponents},
    signature::RSA_PKCS1_SHA256,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

pub(crate) type Form = HashMap<String, String>;

pub(crate) fn keys_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys")
}

pub(crate) fn outbound() -> OutboundConfig {
    OutboundConfig {
        ca_file: None,
        https_only: false,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(20),
        user_agent: "chancery-tests".into(),
    }
}

pub(crate) fn client() -> reqwest::Client {
    http_client(&outbound()).unwrap()
}

pub(crate) async fn serve(router: Router) -> Url {
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A server that treats every socket as it likes.
pub(crate) async fn raw<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> Url
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(treat(socket));
        }
    });
    address
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    (listener, address.parse().unwrap())
}

/// An address where nobody listens any more.
pub(crate) async fn refused() -> Url {
    listen().await.1
}

/// Closing a socket with unread bytes in it resets the connection.
pub(crate) async fn reset() -> Url {
    raw(async |socket: TcpStream| socket.readable().await.unwrap()).await
}

/// Takes the request and never answers.
pub(crate) async fn silent() -> Url {
    raw(async |mut socket: TcpStream| while socket.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {})
        .await
}

/// Answers these bytes to whatever comes, and closes.
pub(crate) async fn answering(bytes: &'static str) -> Url {
    raw(move |mut socket: TcpStream| async move {
        let mut request = Vec::new();
        // The first bytes of the body come with or right after the head; more is not needed to answer.
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = socket.read_buf(&mut request).await.unwrap();
            assert!(count > 0, "the request has a head");
        }
        socket.write_all(bytes.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        // Reading on until the other side closes avoids a reset that could overtake the answer.
        while socket.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
    })
    .await
}

/// A signing key that everybody knows.
pub(crate) struct Signer(KeyPair);

impl Signer {
    pub(crate) fn new(number: u8) -> Self {
        let der = std::fs::read(keys_folder().join(format!("public-test-key-{number}.der"))).unwrap();
        Self(KeyPair::from_der(&der).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str, issuer: Option<&str>) -> Value {
        let public: PublicKeyComponents<Vec<u8>> = self.0.public().into();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "RSA", "use": "sig", "kid": kid, "n": number(&public.n), "e": number(&public.e), "issuer": issuer })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What a test sets and a stub reads, or the other way round.
#[derive(Default)]
pub(crate) struct Shared<T>(Mutex<T>);

impl<T: Clone> Shared<T> {
    pub(crate) fn get(&self) -> T {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn set(&self, value: T) {
        *self.0.lock().unwrap() = value;
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.0.lock().unwrap());
    }
}
