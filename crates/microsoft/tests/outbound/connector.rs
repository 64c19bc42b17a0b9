//! The bot's own voice: what is sent where, by whose token, and every way in which it can fail.

use std::{sync::Arc, time::Duration};

use axum::{
    Form as Body, Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header::AUTHORIZATION},
    response::{IntoResponse, Redirect},
    routing::post,
};
use chancery_microsoft::bot::{
    Address, Connector, ConnectorConfig, OutgoingActivity, SERVICE_HOSTS, SendFailure, Sent, Services,
    TextFormat,
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::support::{Form, Shared, answering, client, serve};

const APP: Uuid = Uuid::from_u128(0xb0);
const CONVERSATION: &str = "a:1_x/y";
pub(crate) const SECRET: &str = "canary-app-secret";

/// A token endpoint and a connector, which answer as they are told and remember what they were asked.
#[derive(Default)]
pub(crate) struct Stub {
    /// `None` gives tokens, numbered from 1.
    pub(crate) token: Shared<Option<(u16, Value)>>,
    pub(crate) expires_in_s: Shared<u64>,
    pub(crate) tokens_asked: Shared<Vec<Form>>,
    /// What the next answers are; without any, activities are taken.
    pub(crate) answers: Shared<Vec<(u16, HeaderMap, Value)>>,
    pub(crate) asked: Shared<Vec<(Method, Uri, HeaderMap, Value)>>,
}

impl Stub {
    pub(crate) async fn start() -> (Arc<Self>, Url) {
        let stub = Arc::new(Self::default());
        stub.expires_in_s.set(3600);
        let router = Router::new().route("/token", post(token)).fallback(connector).with_state(stub.clone());
        (stub, serve(router).await)
    }

    pub(crate) fn answer(&self, status: u16, body: Value) {
        self.answer_with(status, &[], body);
    }

    pub(crate) fn answer_with(&self, status: u16, headers: &[(&'static str, &'static str)], body: Value) {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let headers = headers.chain([("ms-cv".parse().unwrap(), HeaderValue::from_static("Ab+/9.0"))]);
        self.answers.update(|answers| answers.push((status, headers.collect(), body)));
    }

    /// The number of the token that each call of the connector came with.
    pub(crate) fn tokens_used(&self) -> Vec<String> {
        let token = |headers: &HeaderMap| {
            headers[AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer canary-token-").to_owned()
        };
        self.asked.get().iter().map(|(_, _, headers, _)| token(headers)).collect()
    }
}

async fn token(State(stub): State<Arc<Stub>>, Body(form): Body<Form>) -> (StatusCode, Json<Value>) {
    stub.tokens_asked.update(|asked| asked.push(form));
    let (status, body) = stub.token.get().unwrap_or_else(|| {
        let token = format!("canary-token-{}", stub.tokens_asked.get().len());
        let expires_in = stub.expires_in_s.get();
        (200, json!({ "token_type": "Bearer", "expires_in": expires_in, "access_token": token }))
    });
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

async fn connector(
    State(stub): State<Arc<Stub>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    stub.asked.update(|asked| {
        asked.push((method, uri, headers, serde_json::from_slice(&body).unwrap_or_default()));
    });
    let mut answer = (201, HeaderMap::new(), json!({ "id": "1795435200000" }));
    stub.answers.update(|answers| {
        if !answers.is_empty() {
            answer = answers.remove(0);
        }
    });
    let (status, headers, body) = answer;
    (StatusCode::from_u16(status).unwrap(), headers, Json(body))
}

pub(crate) fn config(token_url: Url) -> ConnectorConfig {
    ConnectorConfig {
        app_id: APP,
        app_secret: SECRET.into(),
        token_url,
        token_scope: "https://api.botframework.com/.default".into(),
        services: Services::new(SERVICE_HOSTS.map(String::from).into(), true).unwrap(),
        trust_503: true,
    }
}

pub(crate) fn connector_at(address: &Url) -> Connector {
    Connector::new(config(address.join("token").unwrap()), client())
}

pub(crate) fn to(service_url: &Url) -> Address {
    Address { service_url: service_url.as_str().into(), conversation_id: CONVERSATION.into() }
}

pub(crate) fn text() -> OutgoingActivity {
    OutgoingActivity::text(TextFormat::Plain, "Check in, please")
}

pub(crate) async fn send(connector: &Connector, to: &Address) -> Result<Sent, SendFailure> {
    connector.send(to, &text(), Duration::from_secs(20)).await
}

/// The case's name, with what distinguishes it further.
pub(crate) fn name(failure: &SendFailure) -> String {
    let seconds = |wait: &Option<Duration>| wait.map(|wait| wait.as_secs());
    match failure {
        SendFailure::Throttled { retry_after, .. } => format!("Throttled {:?}", seconds(retry_after)),
        SendFailure::Unavailable { retry_after, .. } => format!("Unavailable {:?}", seconds(retry_after)),
        SendFailure::NotSent { .. } => "NotSent".into(),
        SendFailure::Blocked { .. } => "Blocked".into(),
        SendFailure::NotInRoster { .. } => "NotInRoster".into(),
        SendFailure::DisabledByAdmin { .. } => "DisabledByAdmin".into(),
        SendFailure::ConversationGone { .. } => "ConversationGone".into(),
        SendFailure::TooLarge { .. } => "TooLarge".into(),
        SendFailure::Rejected { .. } => "Rejected".into(),
        SendFailure::ServiceNotAllowed { .. } => "ServiceNotAllowed".into(),
        SendFailure::HubProblem { .. } => "HubProblem".into(),
        SendFailure::Ambiguous { .. } => "Ambiguous".into(),
    }
}

pub(crate) fn error(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "canary: what the connector says" } })
}

#[tokio::test]
async fn a_message_goes_to_the_conversation_by_the_apps_own_token() {
    let (stub, address) = Stub::start().await;
    let service = address.join("connector/").unwrap();
    let sent = send(&connector_at(&address), &to(&service)).await.unwrap();
    assert_eq!(sent, Sent { activity_id: Some("1795435200000".into()) });
    let form = stub.tokens_asked.get().remove(0);
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", &APP.to_string()),
        ("client_secret", SECRET),
        ("scope", "https://api.botframework.com/.default"),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
    let (method, uri, headers, body) = stub.asked.get().remove(0);
    assert_eq!((method, uri.path()), (Method::POST, "/connector/v3/conversations/a%3A1_x%2Fy/activities"));
    assert_eq!(headers[AUTHORIZATION], "Bearer canary-token-1");
    assert_eq!(body, json!({ "type": "message", "text": "Check in, please", "textFormat": "plain" }));
}

#[tokio::test]
async fn a_success_need_not_name_what_it_made() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    for body in
        [json!({}), json!(null), json!({ "id": null }), json!({ "id": "" }), json!({ "id": "x".repeat(257) })]
    {
        stub.answer(202, body.clone());
        assert_eq!(send(&connector, &to(&address)).await.unwrap(), Sent { activity_id: None }, "{body}");
    }
    let nothing = answering("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(send(&connector, &to(&nothing)).await.unwrap(), Sent { activity_id: None });
}

#[tokio::test]
async fn the_token_goes_to_no_host_off_the_list() {
    let (stub, address) = Stub::start().await;
    let mut config = config(address.join("token").unwrap());
    config.services = Services::new(SERVICE_HOSTS.map(String::from).into(), false).unwrap();
    let connector = Connector::new(config, client());
    let evil = [
        "https://evil.trafficmanager.net/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/",
        "http://smba.trafficmanager.net/",
        "https://smba.trafficmanager.net:8443/",
        address.as_str(),
    ];
    for service_url in evil {
        let to = Address { service_url: service_url.into(), ..to(&address) };
        assert_eq!(name(&send(&connector, &to).await.unwrap_err()), "ServiceNotAllowed", "{service_url}");
    }
    assert!(stub.tokens_asked.get().is_empty() && stub.asked.get().is_empty());
}

#[tokio::test]
async fn an_id_cannot_lead_elsewhere() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    for id in ["", ".", "..", "a b", "a\nb", "ä", &"x".repeat(257)] {
        let to = Address { conversation_id: id.into(), ..to(&address) };
        assert_eq!(name(&send(&connector, &to).await.unwrap_err()), "Rejected", "{id:?}");
    }
    assert!(stub.asked.get().is_empty());
    let to = Address { conversation_id: "../..?#%2e%2e".into(), ..to(&address) };
    send(&connector, &to).await.unwrap();
    assert_eq!(stub.asked.get()[0].1, "/v3/conversations/..%2F..%3F%23%252e%252e/activities");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (_, address) = Stub::start().await;
    let asked = Arc::new(Shared::<u32>::default());
    let state = asked.clone();
    let router = Router::new().fallback(async move || {
        state.update(|count| *count += 1);
        Redirect::temporary("/elsewhere").into_response()
    });
    let elsewhere = serve(router).await;
    assert_eq!(name(&send(&connector_at(&address), &to(&elsewhere)).await.unwrap_err()), "Rejected");
    assert_eq!(asked.get(), 1);
    let failure = send(&connector_at(&elsewhere), &to(&elsewhere)).await.unwrap_err();
    assert_eq!(name(&failure), "HubProblem", "the token endpoint redirects");
    assert_eq!(asked.get(), 2);
}

#[tokio::test]
async fn a_probe_changes_nothing_and_takes_any_word_on_the_bot_for_an_answer() {
    let (stub, address) = Stub::start().await;
    let connector = connector_at(&address);
    let wait = Duration::from_secs(20);
    for (status, code, good) in [
        (200, "", true),
        (403, "ConversationBlockedByUser", true),
        (403, "BotNotInConversationRoster", true),
        (404, "ConversationNotFound", true),
        (500, "ServiceError", false),
        (503, "", false),
        (429, "Throttled", false),
    ] {
        stub.answer(status, error(code));
        assert_eq!(connector.probe(&to(&address), wait).await.is_ok(), good, "{status} {code}");
    }
    for (method, uri, _, body) in stub.asked.get() {
        assert_eq!((method, uri.path()), (Method::GET, "/v3/conversations/a%3A1_x%2Fy/members"));
        assert!(body.is_null());
    }
}
