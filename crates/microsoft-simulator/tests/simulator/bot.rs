//! The bot's side: a messaging endpoint that takes down what it hears, and a client of the Bot Connector.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chancery_microsoft_simulator::Settings;
use chancery_microsoft_simulator::control::{DialsChange, Sent};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::*;

/// What came, and what is answered.
#[derive(Clone, Default)]
pub(crate) struct Ears(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    heard: Vec<(Option<String>, Value)>,
    /// Statuses to answer, the next one first; 200 after that. 0 is no answer at all.
    answers: Vec<u16>,
}

impl Ears {
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.0.lock().unwrap().heard.iter().map(|(_, activity)| activity.clone()).collect()
    }

    /// The tokens that came with them.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().heard.iter().map(|(token, _)| token.clone()).collect()
    }

    pub(crate) fn types(&self) -> Vec<String> {
        self.heard().iter().map(|activity| text(activity, "type")).collect()
    }

    pub(crate) fn will_answer(&self, answers: &[u16]) {
        self.0.lock().unwrap().answers = answers.to_vec();
    }
}

async fn hear(State(ears): State<Ears>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let status = {
        let mut inner = ears.0.lock().unwrap();
        let bearer =
            headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        inner.heard.push((bearer.map(Into::into), serde_json::from_slice(&body).unwrap()));
        if inner.answers.is_empty() { 200 } else { inner.answers.remove(0) }
    };
    if status == 0 {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(status).unwrap(), "{}".into())
}

impl Microsoft {
    /// A simulator with a bot to tell.
    pub(crate) async fn with_bot() -> (Self, Ears) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/api/messages", listener.local_addr().unwrap());
        let ears = Ears::default();
        let router = Router::new().route("/api/messages", post(hear)).with_state(ears.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings { messaging_endpoint: Some(endpoint), ..Settings::default() };
        (Self::start_with(settings).await, ears)
    }

    pub(crate) async fn app_token(&self) -> String {
        let (status, answer) = self.app_token_for(&[]).await;
        assert_eq!(status, 200, "{answer}");
        text(&answer, "access_token")
    }

    pub(crate) async fn app_token_for(&self, change: &[(&str, &str)]) -> (reqwest::StatusCode, Value) {
        let bot = self.settings.bot_app_id.to_string();
        let fields = [
            ("tenant", "botframework.com"),
            ("grant_type", "client_credentials"),
            ("client_id", &bot),
            ("client_secret", &self.settings.bot_app_secret),
            ("scope", "https://api.botframework.com/.default"),
        ];
        self.token(&[&fields, change].concat()).await
    }

    /// A call of the Bot Connector, below `v3/conversations`.
    pub(crate) fn connector(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}v3/conversations{path}", self.simulator.service_url());
        self.client.request(method, url).bearer_auth(token)
    }

    pub(crate) fn conversation(&self, upn: &str) -> String {
        self.person(upn, |person| person.conversation_id.clone())
    }

    /// Sends an activity of the bot to somebody.
    pub(crate) fn bot_says(&self, token: &str, upn: &str, activity: &Value) -> RequestBuilder {
        let path = format!("/{}/activities", escaped(&self.conversation(upn)));
        self.connector(token, Method::POST, &path).json(activity)
    }

    /// Waits until the bot has answered so many activities.
    pub(crate) async fn sent(&self, count: usize) -> Vec<Sent> {
        let waited = self.simulator.wait_until(|it| it.sent().len() >= count);
        tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap();
        self.simulator.sent()
    }

    pub(crate) fn turn(&self, change: DialsChange) {
        self.simulator.turn(change);
    }
}

pub(crate) fn hello_activity() -> Value {
    json!({ "type": "message", "text": "Hello" })
}
