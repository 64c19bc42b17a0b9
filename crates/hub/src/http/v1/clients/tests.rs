//! Clients and keys over real sockets, with a whole hub behind them.

use domain::aggregate::decode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::{Direction, Filter, StreamName};
use tempfile::TempDir;

use super::*;
use crate::{
    cli::args::DevStore,
    config::Sources,
    dev::{Dev, Listeners},
};

/// `chancery dev`, whose own key is an administrator's.
struct Running {
    dev: Dev,
    http: reqwest::Client,
    _directory: TempDir,
}

impl Running {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listeners = Listeners::free().unwrap();
        let dev = Dev::start(directory.path(), DevStore::Embedded, listeners, Sources::default());
        let dev = dev.await.unwrap();
        let http = crate::cli::client::http(None).unwrap();
        Self { dev, http, _directory: directory }
    }

    /// As the administrator, or with another key.
    async fn ask(
        &self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.dev.file.url);
        let key = key.unwrap_or(&self.dev.file.api_key);
        let mut request = self.http.request(method, url).bearer_auth(key).header("idempotency-key", "k-1");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(None, Method::POST, path, Some(body)).await
    }

    /// How a key of the client `okr` is received where every role may ask.
    async fn received(&self, key: &Value) -> StatusCode {
        self.ask(key["key"].as_str(), Method::GET, "/v1/messages", None).await.0
    }

    async fn create_okr(&self) -> (StatusCode, Value) {
        self.post("/v1/clients", json!({ "id": "okr", "role": "service" })).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.dev.stop();
    }
}

#[tokio::test]
async fn a_client_is_made_once_however_often_it_is_asked_for() {
    let hub = Running::start().await;
    let (status, first) = hub.create_okr().await;
    assert_eq!((status, &first["id"]), (StatusCode::CREATED, &json!("okr")));
    assert_eq!(hub.create_okr().await, (StatusCode::CREATED, first));

    let other = hub.post("/v1/clients", json!({ "id": "okr", "role": "admin" })).await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
    for (field, bad) in [
        ("return_urls", json!({ "id": "crm", "role": "service", "return_urls": ["http://product.example"] })),
        ("tenants", json!({ "id": "crm", "role": "service", "tenants": [] })),
    ] {
        let (status, problem) = hub.post("/v1/clients", bad).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)));
    }
}

#[tokio::test]
async fn a_key_is_good_when_it_is_shown_and_no_longer_once_it_is_revoked() {
    let hub = Running::start().await;
    assert_eq!(hub.post("/v1/clients/okr/keys", json!({})).await.0, StatusCode::NOT_FOUND);
    hub.create_okr().await;
    let (status, first) = hub.post("/v1/clients/okr/keys", json!({})).await;
    assert_eq!((status, hub.received(&first).await), (StatusCode::CREATED, StatusCode::OK));

    let path = format!("/v1/clients/okr/keys/{}", first["key_id"].as_str().unwrap());
    let (_, second) = hub.post(&format!("{path}/rotate"), json!({ "keep_old_for_s": 3600 })).await;
    assert_eq!((hub.received(&first).await, hub.received(&second).await), (StatusCode::OK, StatusCode::OK));
    let (_, third) = hub.post(&format!("{path}/rotate"), json!({ "keep_old_for_s": 0 })).await;
    assert_eq!(
        (hub.received(&first).await, hub.received(&third).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );

    let path = format!("/v1/clients/okr/keys/{}", second["key_id"].as_str().unwrap());
    assert_eq!(hub.ask(None, Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(hub.received(&second).await, StatusCode::UNAUTHORIZED);
    assert_eq!(hub.ask(None, Method::DELETE, &path, None).await.0, StatusCode::NOT_FOUND);

    let past = json!({ "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(hub.post("/v1/clients/okr/keys", past).await.1["field"], "expires_at");
}

#[tokio::test]
async fn a_role_is_in_force_when_its_change_is_answered() {
    let hub = Running::start().await;
    hub.create_okr().await;
    let (_, key) = hub.post("/v1/clients/okr/keys", json!({})).await;
    let listed = async || hub.ask(key["key"].as_str(), Method::GET, "/v1/clients", None).await.0;
    assert_eq!(listed().await, StatusCode::FORBIDDEN);
    let changed = hub.post("/v1/clients/okr/role", json!({ "role": "admin" })).await;
    assert_eq!(changed.0, StatusCode::NO_CONTENT);
    assert_eq!(listed().await, StatusCode::OK);
}

#[tokio::test]
async fn listing_shows_no_hash_and_is_recorded() {
    let hub = Running::start().await;
    hub.create_okr().await;
    let (_, key) = hub.post("/v1/clients/okr/keys", json!({})).await;
    let (_, list) = hub.ask(None, Method::GET, "/v1/clients", None).await;
    let listed = list["items"].as_array().unwrap().iter().find(|item| item["id"] == "okr").unwrap();
    assert_eq!(listed["keys"][0]["key_id"], key["key_id"]);
    assert!(!list.to_string().contains("hash"));

    let store = &hub.dev.hub.store;
    let audits = store.read_all(Position::START, &Filter::categories(["audit"]), 9).await.unwrap().events;
    let recorded = decode::<Audit>(&audits[0].name, &audits[0].data).unwrap();
    assert_eq!(recorded, audit::Event::KeyListed { client: crate::dev::CLIENT.parse().unwrap() });

    // What is recorded of a key is its hash.
    let stream = StreamName::new("client-okr");
    let events = store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap();
    let secret = key["key"].as_str().unwrap().as_bytes();
    assert!(events.iter().all(|event| !event.data.windows(secret.len()).any(|part| part == secret)));
}
