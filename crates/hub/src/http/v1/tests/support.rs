//! A whole hub on real sockets and files, without Microsoft.

use std::{net::Ipv4Addr, sync::Arc};

use axum::Router;
use custody::{KeyName, Place, TokenPair};
use domain::{
    AccountId, CommandId, ObjectId, PersonId, SignInId, TenantId,
    account::{self, Account},
    client::{self, Client, Role},
    connection::{self, Connection, FirstTokens, Link},
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    app,
    clock::{SystemClock, SystemIds},
    commands::Context,
    config::{Config, Sources},
    http::{
        access::role_name,
        auth::{ApiKey, KeyDirectory as _},
        serve::bind,
    },
    hub::{Hub, open_store},
    lifecycle::Lifecycle,
};

pub(super) const HERE: TenantId = TenantId(Uuid::from_u128(0x1e4a));

pub(super) struct Running {
    pub(super) hub: Hub,
    url: String,
    pub(super) lifecycle: Lifecycle,
    http: reqwest::Client,
    _data: TempDir,
}

pub(super) async fn start() -> Running {
    let data = tempfile::tempdir().unwrap();
    let key = crate::config::tests::key_file();
    let environment = [
        ("CHANCERY_SERVER__PUBLIC_URL", "https://hub.example.com"),
        ("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", key.as_str()),
        ("CHANCERY_DATA__DIRECTORY", data.path().to_str().unwrap()),
        ("CHANCERY_MICROSOFT__CLIENT_ID", "11111111-2222-3333-4444-555555555555"),
        ("CHANCERY_MICROSOFT__CLIENT_SECRET", "s"),
        ("CHANCERY_MICROSOFT__TEAMS_APP_ID", "t"),
        ("CHANCERY_MICROSOFT__AUTHORITY", "https://127.0.0.1:1"),
        ("CHANCERY_MICROSOFT__GRAPH_BASE", "https://127.0.0.1:1"),
        ("CHANCERY_LIMITS__EVENTS_STREAMS_MAX", "1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let lifecycle = Lifecycle::new();
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store = Arc::new(open_store(&config.data.directory).unwrap());
    let more = |_: &Hub| Router::new();
    let hub = app::start_on(store, config, clock, ids, &lifecycle, listener, more).await.unwrap();
    Running { hub, url, lifecycle, http: crate::cli::client::http(None).unwrap(), _data: data }
}

pub(super) fn once() -> CommandId {
    CommandId::new("test")
}

impl Running {
    /// A key of a client that is named by its role, for all tenants.
    pub(super) async fn key(&self, role: Role) -> Key<'_> {
        self.key_of(role_name(role), role, None).await
    }

    pub(super) async fn key_of(&self, name: &str, role: Role, tenants: Option<Vec<TenantId>>) -> Key<'_> {
        let context = Context::hub("test", "test");
        let create = client::Command::Create { role, tenants, return_urls: vec![] };
        let key = ApiKey::generate(&ring::rand::SystemRandom::new());
        let hash = key.hash();
        let create_key =
            client::Command::CreateKey { key: Uuid::from_u128(1), hash: hash.clone(), expires_at: None };
        for (id, command) in [("create", create), ("key", create_key)] {
            self.hub.commands.execute::<Client>(name, &CommandId::new(id), &context, command).await.unwrap();
        }
        while self.hub.find(&hash).is_none() {
            tokio::task::yield_now().await;
        }
        Key { running: self, key }
    }

    /// Links an account to a person as a completed sign-in does; a second account comes by the same grant.
    pub(super) async fn link(&self, account: &str, object: u128) -> PersonId {
        let hub = &self.hub;
        let person = PersonId { tenant: HERE, object_id: ObjectId(Uuid::from_u128(object)) };
        let (person_key, sign_in) = (Uuid::from_u128(object), SignInId(Uuid::from_u128(object)));
        hub.custody.create_person_key(person_key).await.unwrap();
        let account: AccountId = account.parse().unwrap();
        let hash = hub.custody.name_account(&account);
        let seal = async |purpose, stream: String, plain: &[u8]| {
            let place = Place { purpose, stream: &stream, field: purpose, generation: 0 };
            hub.custody.seal(&KeyName::Person(person_key), &place, plain).await.unwrap()
        };
        let sealed = seal("account", format!("account-{hash}"), account.as_str().as_bytes()).await;
        let context = Context::hub("sign-ins", "test").of_tenant(HERE);
        let link = account::Command::Link { person, sign_in, account: sealed };
        hub.commands.execute::<Account>(&hash, &once(), &context, link).await.unwrap();
        let profile = br#"{"name":"Alice Doe","user_principal_name":null,"email":"alice@example.com","email_verified":false}"#;
        let profile = seal("profile", format!("connection-{}", person.connection()), profile).await;
        let expires_at = hub.clock.now() + std::time::Duration::from_hours(1);
        let scopes = vec!["ChatMessage.Send".to_owned()];
        let tokens =
            TokenPair { access: "a".into(), refresh: Some("r".into()), expires_at, scopes: scopes.clone() };
        if hub.custody.get_tokens(sign_in).await.unwrap().is_none() {
            hub.custody.put_tokens(sign_in, 1, 1, &tokens).await.unwrap();
        }
        let tokens = Some(FirstTokens { scopes, expires_at });
        let link = Link { person, person_key, profile, sign_in, tokens };
        let link = connection::Command::Link(link);
        hub.commands.execute::<Connection>(person.connection(), &once(), &context, link).await.unwrap();
        person
    }

    pub(super) async fn head(&self) -> String {
        self.hub.position(self.hub.store.head().await.unwrap())
    }
}

pub(super) struct Key<'a> {
    running: &'a Running,
    key: ApiKey,
}

impl Key<'_> {
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.running
            .http
            .request(method, format!("{}{path}", self.running.url))
            .bearer_auth(self.key.expose())
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// What was recorded before is waited for.
    pub(super) async fn get_now(&self, path: &str) -> (u16, Value) {
        let sign = if path.contains('?') { '&' } else { '?' };
        self.get(&format!("{path}{sign}after={}", self.running.head().await)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    pub(super) async fn send(&self, key: &str, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, "/v1/messages").header("idempotency-key", key).json(body);
        answer(request.send().await.unwrap()).await
    }
}

pub(super) async fn answer(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

pub(super) fn hello(account: &str) -> Value {
    json!({ "recipient": { "account": account }, "content": { "type": "text", "text": "hello" } })
}
