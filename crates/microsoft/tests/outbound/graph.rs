//! Graph: finding the chat, posting, and every way in which either can fail.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Redirect},
};
use chancery_microsoft::{
    ChatMessage, Failure, FoundChat, Graph, GraphConfig, Posted, TeamsApp, Transport, graph::ForbiddenBecause,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use url::Url;
use uuid::Uuid;

use crate::support::{Shared, answering, client, raw, refused, reset, serve, silent};

const APP: &str = "6f1d9a52-8a1c-4a5e-9c6f-2f6e0a9d1b11";
const CHAT: &str = "19:a_b@unq.gbl.spaces";
const REQUEST: Uuid = Uuid::from_u128(0x4e);
const CLIENT_REQUEST: Uuid = Uuid::from_u128(0xc4e);

/// What the next answers are, first to last, and what was asked.
#[derive(Default)]
struct Stub {
    answers: Shared<Vec<(u16, HeaderMap, Value)>>,
    asked: Shared<Vec<(Method, Uri, HeaderMap, Bytes)>>,
}

impl Stub {
    async fn start() -> (Arc<Self>, Graph) {
        let (stub, graph, _) = Self::start_somewhere().await;
        (stub, graph)
    }

    /// Says where it is, too.
    async fn start_somewhere() -> (Arc<Self>, Graph, Url) {
        let stub = Arc::new(Self::default());
        let state = stub.clone();
        let router = Router::new().fallback(async move |method, uri, headers, body| {
            state.asked.update(|asked| asked.push((method, uri, headers, body)));
            let mut answers = state.answers.get();
            let (status, headers, body) = answers.remove(0);
            state.answers.set(answers);
            (StatusCode::from_u16(status).unwrap(), headers, Json(body))
        });
        let address = serve(router).await;
        (stub, graph(&address, true), address)
    }

    fn answer(&self, status: u16, body: Value) {
        self.answer_with(status, &[], body);
    }

    fn answer_with(&self, status: u16, headers: &[(&'static str, &'static str)], body: Value) {
        let mut map = HeaderMap::new();
        map.insert("request-id", REQUEST.to_string().parse().unwrap());
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        self.answers.update(|answers| answers.push((status, map, body)));
    }

    fn paths(&self) -> Vec<String> {
        self.asked.get().iter().map(|(_, uri, ..)| uri.to_string()).collect()
    }
}

fn graph(address: &Url, trust_503: bool) -> Graph {
    let base = address.join("v1.0").unwrap();
    let config = GraphConfig { base, teams_app: TeamsApp::ExternalId(APP.into()), trust_503 };
    Graph::new(config, client()).unwrap()
}

fn access() -> SecretString {
    "canary-access-token".into()
}

async fn post(graph: &Graph) -> Result<Posted, Failure> {
    let message = ChatMessage::Text("Check in, please".into());
    graph.post(&access(), CHAT, &message, Duration::from_secs(20), CLIENT_REQUEST).await
}

fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "innerError": { "date": "2026-11-23T12:00:00" } } })
}

#[tokio::test]
async fn the_chat_is_found_by_way_of_the_installed_app() {
    let (stub, graph) = Stub::start().await;
    stub.answer(
        200,
        json!({ "value": [
            { "id": "other", "teamsApp": { "id": "x", "externalId": "someone else's" } },
            { "id": "NjQ=/+", "teamsApp": { "id": "y", "externalId": APP.to_uppercase() } },
        ] }),
    );
    stub.answer(200, json!({ "id": CHAT, "chatType": "oneOnOne" }));
    let found = graph.find_chat(&access()).await.unwrap();
    assert_eq!(found, FoundChat::Chat { chat_id: CHAT.into(), installation_id: "NjQ=/+".into() });
    assert_eq!(
        stub.paths(),
        [
            &format!(
                "/v1.0/me/teamwork/installedApps?$expand=teamsApp&$filter=teamsApp/externalId%20eq%20%27{APP}%27"
            ),
            "/v1.0/me/teamwork/installedApps/NjQ%3D%2F%2B/chat",
        ]
    );
}

#[tokio::test]
async fn the_app_is_looked_for_on_every_page_but_at_no_other_address() {
    let (stub, graph, address) = Stub::start_somewhere().await;
    let page = |next: String, value: Value| json!({ "@odata.nextLink": next, "value": value });
    let list = "/v1.0/me/teamwork/installedApps";
    let ours = json!([{ "id": "7", "teamsApp": { "externalId": APP } }]);
    let at = |path: &str| address.join(path).unwrap().to_string();
    stub.answer(200, page(at(&format!("{list}?$skiptoken=2")), json!([])));
    stub.answer(200, page(at(&format!("{list}?$skiptoken=3")), ours));
    stub.answer(200, json!({ "id": CHAT }));
    let found = graph.find_chat(&access()).await.unwrap();
    assert_eq!(found, FoundChat::Chat { chat_id: CHAT.into(), installation_id: "7".into() });
    assert_eq!(stub.paths()[1..], [format!("{list}?$skiptoken=2"), format!("{list}/7/chat")]);

    stub.asked.set(Vec::new());
    let elsewhere = [at("/v1.0.evil/x"), at("/beta/x"), "https://evil.example/v1.0/x".to_owned()];
    for next in elsewhere {
        stub.answer(200, page(next, json!([])));
        assert_eq!(graph.find_chat(&access()).await.unwrap(), FoundChat::NotInstalled);
    }
    assert_eq!(stub.asked.get().len(), 3, "nothing else was asked for");
}

#[tokio::test]
async fn an_app_that_is_not_there_or_has_no_chat_yet_is_not_installed() {
    let (stub, graph) = Stub::start().await;
    stub.answer(200, json!({ "value": [] }));
    assert_eq!(graph.find_chat(&access()).await.unwrap(), FoundChat::NotInstalled);
    stub.answer(200, json!({ "value": [{ "id": "1" }] }));
    stub.answer(404, error("NotFound", "no thread"));
    assert_eq!(graph.find_chat(&access()).await.unwrap(), FoundChat::NotInstalled);
}

#[tokio::test]
async fn a_post_goes_to_the_chat_with_token_and_trace_id() {
    let (stub, graph) = Stub::start().await;
    stub.answer(201, json!({ "id": "1795435200000", "etag": "1795435200000", "messageType": "message" }));
    let posted = post(&graph).await.unwrap();
    assert_eq!(
        posted,
        Posted {
            message_id: "1795435200000".into(),
            etag: Some("1795435200000".into()),
            request_id: Some(REQUEST)
        }
    );
    let (method, uri, headers, body) = stub.asked.get().remove(0);
    assert_eq!((method, uri.path()), (Method::POST, "/v1.0/chats/19%3Aa_b%40unq.gbl.spaces/messages"));
    assert_eq!(headers["authorization"], "Bearer canary-access-token");
    assert_eq!(headers["client-request-id"], CLIENT_REQUEST.to_string());
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({ "body": { "contentType": "text", "content": "Check in, please" } })
    );
}

/// The case's name, with what distinguishes it further.
fn name(failure: &Failure) -> String {
    match failure {
        Failure::Throttled { retry_after, .. } => format!("Throttled {:?}", retry_after.map(|d| d.as_secs())),
        Failure::Unauthorized { .. } => "Unauthorized".into(),
        Failure::ReauthorizationRequired { .. } => "ReauthorizationRequired".into(),
        Failure::Forbidden { because, .. } => format!("Forbidden {because:?}"),
        Failure::NotFound { .. } => "NotFound".into(),
        Failure::TooLarge { .. } => "TooLarge".into(),
        Failure::Rejected { .. } => "Rejected".into(),
        Failure::Locked { .. } => "Locked".into(),
        Failure::Unavailable { retry_after, .. } => {
            format!("Unavailable {:?}", retry_after.map(|d| d.as_secs()))
        }
        Failure::NotSent { .. } => "NotSent".into(),
        Failure::Ambiguous { .. } => "Ambiguous".into(),
    }
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let (stub, graph) = Stub::start().await;
    let none: &[(&'static str, &'static str)] = &[];
    let wait: &[_] = &[("retry-after", "12")];
    let challenge: &[_] =
        &[("www-authenticate", r#"Bearer realm="", error="insufficient_claims", claims="eyJ9""#)];
    // (status, headers, code, message) and what it means to a create, then to a read.
    let table = [
        (400, none, "BadRequest", "", "Rejected", "Rejected"),
        (401, none, "InvalidAuthenticationToken", "", "Unauthorized", "Unauthorized"),
        (
            401,
            challenge,
            "InvalidAuthenticationToken",
            "",
            "ReauthorizationRequired",
            "ReauthorizationRequired",
        ),
        (
            403,
            none,
            "Forbidden",
            "Missing scope permissions on the request.",
            "Forbidden MissingPermission",
            "",
        ),
        (403, none, "Authorization_RequestDenied", "", "Forbidden MissingPermission", ""),
        (403, none, "Forbidden", "AclCheckFailed-x", "Forbidden NotAMember", ""),
        (403, none, "Forbidden", "InsufficientPrivileges", "Forbidden Unsaid", ""),
        (404, none, "NotFound", "", "NotFound", "NotFound"),
        (408, none, "Timeout", "", "Ambiguous", "Unavailable None"),
        (409, none, "Conflict", "", "Rejected", "Rejected"),
        (412, none, "PreconditionFailed", "", "Forbidden AppOnlyToken", ""),
        (412, none, "SomethingElse", "", "Rejected", "Rejected"),
        (413, none, "RequestEntityTooLarge", "", "TooLarge", "TooLarge"),
        (423, none, "Locked", "", "Locked", "Locked"),
        (429, none, "TooManyRequests", "", "Throttled None", "Throttled None"),
        (429, wait, "TooManyRequests", "", "Throttled Some(12)", "Throttled Some(12)"),
        (500, none, "InternalServerError", "", "Ambiguous", "Unavailable None"),
        (501, none, "NotImplemented", "", "Rejected", "Rejected"),
        (502, wait, "BadGateway", "", "Ambiguous", "Unavailable Some(12)"),
        (503, none, "ServiceUnavailable", "", "Unavailable None", "Unavailable None"),
        (503, wait, "", "", "Unavailable Some(12)", "Unavailable Some(12)"),
        (503, none, "", "", "Ambiguous", "Unavailable None"),
        (504, none, "GatewayTimeout", "", "Ambiguous", "Unavailable None"),
        (509, none, "BandwidthLimitExceeded", "", "Throttled None", "Throttled None"),
    ];
    for (status, headers, code, message, create, read) in table {
        stub.answer_with(status, headers, error(code, message));
        let failure = post(&graph).await.unwrap_err();
        assert_eq!(name(&failure), create, "POST {status} {code}");
        let diagnosis = failure.diagnosis();
        assert_eq!(diagnosis.status, Some(status));
        assert_eq!(diagnosis.code.as_deref(), Some(code).filter(|code| !code.is_empty()));
        assert_eq!(diagnosis.request_id, Some(REQUEST));
        assert_eq!(diagnosis.client_request_id, Some(CLIENT_REQUEST));

        stub.answer_with(status, headers, error(code, message));
        let failure = graph.me(&access()).await.unwrap_err();
        assert_eq!(name(&failure), if read.is_empty() { create } else { read }, "GET {status} {code}");
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_ambiguous_for_a_create_only() {
    let (stub, graph) = Stub::start().await;
    for body in [json!(null), json!({}), json!({ "id": 7 }), json!({ "id": "" }), json!({ "id": "a b" })] {
        stub.answer(201, body);
        assert_eq!(name(&post(&graph).await.unwrap_err()), "Ambiguous");
    }
    stub.answer(200, json!("?"));
    assert_eq!(name(&graph.me(&access()).await.unwrap_err()), "Unavailable None");
}

#[tokio::test]
async fn a_503_can_be_distrusted() {
    let address = answering("HTTP/1.1 503 Busy\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(name(&post(&graph(&address, true)).await.unwrap_err()), "Unavailable Some(5)");
    assert_eq!(name(&post(&graph(&address, false)).await.unwrap_err()), "Ambiguous");
}

#[tokio::test]
async fn trouble_on_the_way_is_ambiguous_only_after_the_handshake_and_only_for_a_create() {
    let graph_at = |address: &Url| graph(address, true);
    let nobody = graph_at(&refused().await);
    assert_eq!(name(&post(&nobody).await.unwrap_err()), "NotSent");
    let plain = raw(async |mut socket: TcpStream| socket.write_all(b"No TLS here").await.unwrap()).await;
    let no_tls = plain.as_str().replace("http:", "https:").parse().unwrap();
    assert_eq!(name(&post(&graph_at(&no_tls)).await.unwrap_err()), "NotSent");

    let cut = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":";
    for address in [reset().await, answering(cut).await, answering("what?").await, answering("").await] {
        assert_eq!(name(&post(&graph_at(&address)).await.unwrap_err()), "Ambiguous");
        assert_eq!(name(&graph_at(&address).me(&access()).await.unwrap_err()), "Unavailable None");
    }
    let late = graph_at(&silent().await);
    let message = ChatMessage::Text("x".into());
    let wait = Duration::from_millis(50);
    let failure = late.post(&access(), CHAT, &message, wait, CLIENT_REQUEST).await.unwrap_err();
    assert_eq!(name(&failure), "Ambiguous");
    assert_eq!(failure.diagnosis().transport, Some(Transport::TimedOut));
}

#[tokio::test]
async fn a_definite_no_counts_even_if_its_body_breaks_off() {
    let address = answering("HTTP/1.1 404 Gone\r\ncontent-length: 900\r\n\r\n{").await;
    assert_eq!(name(&post(&graph(&address, true)).await.unwrap_err()), "NotFound");
}

#[tokio::test]
async fn more_than_a_mebibyte_is_not_read() {
    let router = Router::new().fallback(async || {
        let much = "x".repeat(1024 * 1024);
        (StatusCode::CREATED, Json(json!({ "id": "1", "much": much })))
    });
    assert_eq!(name(&post(&graph(&serve(router).await, true)).await.unwrap_err()), "Ambiguous");
}

#[tokio::test]
async fn a_redirect_is_an_error_and_takes_no_token_anywhere() {
    let asked = Arc::new(Shared::<u32>::default());
    let state = asked.clone();
    let router = Router::new().fallback(async move || {
        state.update(|count| *count += 1);
        Redirect::temporary("/elsewhere").into_response()
    });
    let graph = graph(&serve(router).await, true);
    assert_eq!(name(&post(&graph).await.unwrap_err()), "Rejected");
    assert_eq!(name(&graph.me(&access()).await.unwrap_err()), "Rejected");
    assert_eq!(asked.get(), 2);
}

#[tokio::test]
async fn a_probe_changes_nothing_and_needs_no_token() {
    let (stub, graph) = Stub::start().await;
    stub.answer(401, error("InvalidAuthenticationToken", ""));
    assert!(graph.probe(None).await.is_ok());
    stub.answer(401, error("InvalidAuthenticationToken", ""));
    assert_eq!(name(&graph.probe(Some(&access())).await.unwrap_err()), "Unauthorized");
    stub.answer(200, json!({ "id": "x" }));
    assert!(graph.probe(Some(&access())).await.is_ok());
    stub.answer(502, json!(null));
    assert_eq!(name(&graph.probe(None).await.unwrap_err()), "Unavailable None");
    assert!(stub.asked.get().iter().all(|(method, ..)| method == Method::GET));
}

#[tokio::test]
async fn the_directory_entry_is_read_and_kept_out_of_debug_output() {
    let (stub, graph) = Stub::start().await;
    stub.answer(
        200,
        json!({ "mail": null, "userPrincipalName": "alice@contoso.example", "displayName": "Alice" }),
    );
    let me = graph.me(&access()).await.unwrap();
    assert_eq!(stub.paths(), ["/v1.0/me?$select=mail,userPrincipalName,displayName"]);
    assert_eq!((me.mail.as_deref(), me.display_name.as_deref()), (None, Some("Alice")));
    assert!(!format!("{me:?}").contains("lice"));
}

#[tokio::test]
async fn no_secret_and_no_text_shows_in_a_failure() {
    let (stub, graph) = Stub::start().await;
    stub.answer(403, error("canary code", "canary message"));
    let told = post(&graph).await.unwrap_err();
    let untold = post(&self::graph(&reset().await, true)).await.unwrap_err();
    let seen = format!("{told} {told:?} {untold} {untold:?}");
    assert!(!seen.contains("canary") && !seen.contains("Check in") && !seen.contains("19:"), "{seen}");
    assert!(matches!(told, Failure::Forbidden { because: ForbiddenBecause::Unsaid, .. }));
}

#[test]
fn an_app_id_that_could_change_the_query_stops_the_start() {
    for id in ["", "x' or 1 eq 1", "a&b"] {
        let base = "https://graph.microsoft.com/v1.0".parse().unwrap();
        let config = GraphConfig { base, teams_app: TeamsApp::CatalogId(id.into()), trust_503: true };
        assert!(Graph::new(config, client()).is_err(), "{id:?}");
    }
}
