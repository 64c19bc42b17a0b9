//! The front door over real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    http::{Method, StatusCode},
    routing::{get, post},
};
use domain::client::Role;
use ring::rand::SystemRandom;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

use super::{
    access::role_name,
    auth::{ApiKey, Caller},
    extract::{ApiJson, ApiPath, ApiQuery},
    *,
};
use crate::{
    clock::SystemIds,
    config::{Config, Sources},
    lifecycle::Lifecycle,
    logging::{LogConfig, LogFormat, Recorded, subscriber},
};

/// One key for each role.
struct Keys(Vec<(ApiKey, Role)>);

impl Keys {
    fn new() -> Arc<Self> {
        let roles = [Role::Service, Role::Auditor, Role::Operator, Role::Admin];
        Arc::new(Self(roles.map(|role| (ApiKey::generate(&SystemRandom::new()), role)).into()))
    }

    fn of(&self, wanted: Role) -> String {
        let (key, _) = self.0.iter().find(|(_, role)| *role == wanted).unwrap();
        format!("Bearer {}", key.expose())
    }
}

impl KeyDirectory for Keys {
    fn find(&self, key_hash: &str) -> Option<Caller> {
        let (_, role) = self.0.iter().find(|(key, _)| key.hash() == key_hash)?;
        Some(Caller { client: role_name(*role).parse().unwrap(), role: *role, tenants: None })
    }
}

fn config(more: &[(&str, &str)]) -> Config {
    let key = crate::config::tests::key_file();
    let needed = [
        ("CHANCERY_SERVER__PUBLIC_URL", "https://hub.example.com"),
        ("CHANCERY_SERVER__MAX_BODY_BYTES", "1024"),
        ("CHANCERY_KEYS__KEY_ENCRYPTION_KEY_FILE", key.as_str()),
        ("CHANCERY_MICROSOFT__CLIENT_ID", "11111111-2222-3333-4444-555555555555"),
        ("CHANCERY_MICROSOFT__CLIENT_SECRET", "s"),
        ("CHANCERY_MICROSOFT__TEAMS_APP_ID", "t"),
    ];
    let environment =
        needed.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&Sources { environment: environment.collect(), ..Sources::default() }).unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    limit: u32,
}

#[derive(Deserialize)]
struct Message {
    text: String,
}

/// Handlers under all routes that the access table knows; the real ones are tested with the hub.
fn api(stuck: impl Future<Output = ()> + Clone + Send + Sync + 'static) -> Router {
    let special = special(stuck);
    let known = ["/health", "/metrics", "/openapi.json", "/problems", "/v1/messages", "/history"];
    let others = access::TABLE.iter().filter(|(_, route, _)| {
        *route == "/v1/messages:batch" || !known.iter().any(|part| route.contains(part))
    });
    others.fold(special, |api, (method, route, _)| {
        let filter = axum::routing::MethodFilter::try_from(method.clone()).unwrap();
        api.route(route, axum::routing::on(filter, async || "nothing"))
    })
}

/// Those whose handlers a test looks at.
fn special(stuck: impl Future<Output = ()> + Clone + Send + Sync + 'static) -> Router {
    Router::new()
        .route(
            "/v1/messages",
            get(async |ApiQuery(page): ApiQuery<Page>| page.limit.to_string()).post(
                async |caller: Caller, ApiJson(m): ApiJson<Message>| format!("{} {}", caller.client, m.text),
            ),
        )
        .route("/v1/messages/{id}", get(async |ApiPath(id): ApiPath<domain::MessageId>| id.to_string()))
        .route(
            "/v1/accounts/{account}/history",
            get(move || {
                let stuck = stuck.clone();
                async move {
                    stuck.await;
                    "done"
                }
            }),
        )
        .route("/v1/tenants/{tid}/connections/{oid}/history", get(async || -> &str { panic!("Bearer abc") }))
        .route("/forgotten", post(async || "nobody gets this"))
}

struct Running {
    url: String,
    address: SocketAddr,
    keys: Arc<Keys>,
    lifecycle: Lifecycle,
}

fn start_with(config: &Config, api: Router) -> Running {
    let keys = Keys::new();
    let readiness = Readiness::default();
    readiness.add("store", || Ok(()));
    let parts = Parts {
        api: OpenApiRouter::new(),
        pages: api,
        keys: keys.clone(),
        ids: Arc::new(SystemIds),
        readiness,
        metrics: Registry::default(),
    };
    let (router, _) = assemble(parts, &config.server, &config.limits);
    let lifecycle = Lifecycle::new();
    let listener = serve::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    serve::spawn(&lifecycle, listener, config.server.tls.as_ref(), router).unwrap();
    Running { url: format!("http://{address}"), address, keys, lifecycle }
}

fn start(more: &[(&str, &str)]) -> Running {
    start_with(&config(more), api(std::future::ready(())))
}

fn client() -> reqwest::Client {
    crate::cli::client::http(None).unwrap()
}

impl Running {
    fn request(&self, method: Method, path: &str, role: Role) -> reqwest::RequestBuilder {
        client().request(method, format!("{}{path}", self.url)).header("authorization", self.keys.of(role))
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        client().get(format!("{}{path}", self.url)).send().await.unwrap()
    }
}

async fn problem(response: reqwest::Response) -> serde_json::Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    problem
}

#[test]
fn every_described_route_is_in_the_access_table() {
    let config = config(&[]);
    let parts = Parts {
        api: OpenApiRouter::new(),
        pages: Router::new(),
        keys: Keys::new(),
        ids: Arc::new(SystemIds),
        readiness: Readiness::default(),
        metrics: Registry::default(),
    };
    let (_, description) = assemble(parts, &config.server, &config.limits);
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase().parse().unwrap();
            assert!(access::of(&method, path).is_ok(), "{method} {path}");
        }
    }
    assert_eq!(description["paths"]["/metrics"]["get"]["x-roles"], json!(["auditor", "operator", "admin"]));
}

#[tokio::test]
async fn each_role_gets_exactly_what_the_table_says() {
    let hub = start(&[]);
    for (method, route, access) in access::TABLE {
        let path = route.replace(['{', '}'], "");
        for role in [Role::Service, Role::Auditor, Role::Operator, Role::Admin] {
            let status = hub.request(method.clone(), &path, role).send().await.unwrap().status();
            let allowed = match access {
                access::Access::Public => true,
                access::Access::Roles(roles) => roles.contains(&role),
            };
            assert_eq!(status != StatusCode::FORBIDDEN, allowed, "{method} {route} {role:?}");
        }
    }
}

#[tokio::test]
async fn without_a_good_key_the_answer_is_401_and_says_how() {
    let hub = start(&[]);
    for authorization in ["", "Basic abc", "Bearer nonsense", &format!("Bearer chk_{}", "a".repeat(43))] {
        let request = client().get(format!("{}/v1/messages", hub.url)).header("authorization", authorization);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(problem(response).await["type"], "/problems/unauthenticated");
    }
}

#[tokio::test]
async fn a_role_that_does_not_suffice_is_told_which_would() {
    let hub = start(&[]);
    let response = hub.request(Method::POST, "/v1/messages", Role::Auditor).send().await.unwrap();
    assert_eq!(problem(response).await["needed_roles"], json!(["service", "admin"]));
}

#[tokio::test]
async fn a_route_without_a_rule_is_refused_to_everybody() {
    let hub = start(&[]);
    let response = hub.request(Method::POST, "/forgotten", Role::Admin).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_and_so_is_a_wrong_method() {
    let hub = start(&[]);
    assert_eq!(problem(hub.get("/nowhere").await).await["type"], "/problems/not-found");
    let response = hub.request(Method::DELETE, "/v1/messages", Role::Admin).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST, GET, HEAD");
    assert_eq!(problem(response).await["type"], "/problems/method-not-allowed");
}

#[tokio::test]
async fn a_wrong_body_is_told_by_its_field() {
    let hub = start(&[]);
    let post = || hub.request(Method::POST, "/v1/messages", Role::Service);
    let good = post().json(&json!({ "text": "hello" })).send().await.unwrap();
    assert_eq!(good.text().await.unwrap(), "service hello");

    let wrong = problem(post().json(&json!({ "text": 1 })).send().await.unwrap()).await;
    assert_eq!(wrong["field"], "text");
    assert_eq!(wrong["detail"], "`text`: must be a string");
    let plain = post().body("text").send().await.unwrap();
    assert_eq!(problem(plain).await["status"], 415);
    let large = post().json(&json!({ "text": "a".repeat(2000) })).send().await.unwrap();
    assert_eq!(problem(large).await["type"], "/problems/too-large");
}

#[tokio::test]
async fn wrong_parameters_are_told_by_their_name() {
    let hub = start(&[]);
    let get = async |path| problem(hub.request(Method::GET, path, Role::Admin).send().await.unwrap()).await;
    assert_eq!(get("/v1/messages?limit=many").await["field"], "limit");
    assert_eq!(get("/v1/messages/not-a-uuid").await["field"], "id");
    let unknown = get("/v1/messages?limt=1").await;
    assert!(unknown["detail"].as_str().unwrap().contains("unknown field `limt`"), "{unknown}");
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_kept_by_nobody() {
    let hub = start(&[]);
    for path in ["/health/live", "/nowhere", "/v1/messages"] {
        let response = hub.get(path).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        assert_eq!(response.headers()["x-request-id"].len(), 36);
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let hub = start_with(
        &config(&[("CHANCERY_SERVER__REQUEST_TIMEOUT_MS", "100")]),
        api(futures_util::future::pending()),
    );
    let response = hub.request(Method::GET, "/v1/accounts/a/history", Role::Admin).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await["type"], "/problems/timed-out");
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let hub = start(&[("CHANCERY_LIMITS__PER_KEY_PER_SECOND", "1"), ("CHANCERY_LIMITS__PER_KEY_BURST", "1")]);
    let get = async |role| hub.request(Method::GET, "/v1/messages", role).send().await.unwrap();
    assert_eq!(get(Role::Service).await.status(), StatusCode::OK);
    let response = get(Role::Service).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await["type"], "/problems/too-many-requests");
    assert_eq!(get(Role::Admin).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn addresses_behind_a_trusted_proxy_are_limited_one_by_one() {
    let limits =
        [("CHANCERY_LIMITS__PER_ADDRESS_PER_SECOND", "1"), ("CHANCERY_LIMITS__PER_ADDRESS_BURST", "1")];
    let ask = async |hub: &Running, address| {
        let request = client().get(format!("{}/health/live", hub.url)).header("x-forwarded-for", address);
        request.send().await.unwrap().status()
    };
    let behind = start(&[limits[0], limits[1], ("CHANCERY_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]);
    assert_eq!(ask(&behind, "203.0.113.1").await, StatusCode::NO_CONTENT);
    assert_eq!(ask(&behind, "203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&behind, "203.0.113.2").await, StatusCode::NO_CONTENT);

    let open = start(&limits);
    assert_eq!(ask(&open, "203.0.113.1").await, StatusCode::NO_CONTENT);
    assert_eq!(ask(&open, "203.0.113.2").await, StatusCode::TOO_MANY_REQUESTS);
}

/// The log is that of this thread, on which a `tokio::test` runs everything.
#[tokio::test]
async fn the_log_has_routes_and_never_paths_or_queries() {
    let recorded = Recorded::default();
    let config = LogConfig { format: LogFormat::Json, level: "trace".to_owned() };
    let _log = tracing::subscriber::set_default(subscriber(&config, recorded.writer()));
    let hub = start(&[]);
    for path in
        ["/v1/messages/5ec4e700-0000-4000-8000-000000000000?code=S3CRET&state=S3CRET", "/S3CRET?code=S3CRET"]
    {
        hub.request(Method::GET, path, Role::Admin).send().await.unwrap();
    }
    let text = recorded.text();
    assert!(!text.contains("S3CRET") && !text.contains("5ec4e700") && !text.contains("chk_"), "{text}");
    let line = text.lines().find(|line| line.contains("/v1/messages/{id}")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["status"], &line["method"], &line["address"]),
        (&json!(200), &json!("GET"), &json!("127.0.0.1"))
    );
    assert!(text.contains("unmatched"));
}

#[tokio::test]
async fn a_panic_in_a_handler_is_a_500_that_tells_nothing() {
    let recorded = Recorded::default();
    let config = LogConfig { format: LogFormat::Text, level: "info".to_owned() };
    let _log = tracing::subscriber::set_default(subscriber(&config, recorded.writer()));
    let hub = start(&[]);
    let path = "/v1/tenants/t/connections/o/history";
    let response = hub.request(Method::GET, path, Role::Admin).send().await.unwrap();
    let problem = problem(response).await;
    assert_eq!(problem["type"], "/problems/internal");
    assert!(!problem.to_string().contains("abc"));
    assert!(recorded.text().contains("a handler panicked"));
    assert_eq!(hub.get("/health/live").await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn readiness_names_what_is_not_ready() {
    let readiness = Readiness::default();
    readiness.add("store", || Ok(()));
    assert!(readiness.report().ready);
    readiness.add("projections", || Err("`due` stopped at an event it can't read".to_owned()));
    let report = readiness.report();
    assert!(!report.ready && report.checks[0].ready);
    assert_eq!(report.checks[1].reason.as_deref(), Some("`due` stopped at an event it can't read"));

    let hub = start(&[]);
    let ready: ops::ReadinessReport = hub.get("/health/ready").await.json().await.unwrap();
    assert!(ready.ready);
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let hub = start(&[]);
    hub.get("/health/live").await;
    let text =
        hub.request(Method::GET, "/metrics", Role::Operator).send().await.unwrap().text().await.unwrap();
    assert!(
        text.contains(r#"http_requests_total{method="GET",route="/health/live",status="204"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn the_description_and_the_problems_can_be_read_by_anyone() {
    let hub = start(&[]);
    let description: serde_json::Value = hub.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(description["info"]["title"], "Chancery");
    assert_eq!(description["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    let kind: problem::Problem = hub.get("/problems/idempotency-key-reused").await.json().await.unwrap();
    assert_eq!(kind.status, 422);
}

#[tokio::test]
async fn stopping_lets_an_open_request_finish_and_takes_no_new_one() {
    let (entered, mut entered_seen) = mpsc::channel::<()>(1);
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let stuck = futures_util::FutureExt::shared(async move {
        entered.send(()).await.unwrap();
        released.await.unwrap();
    });
    let hub = start_with(&config(&[]), api(stuck));
    let open = tokio::spawn(hub.request(Method::GET, "/v1/accounts/a/history", Role::Admin).send());
    entered_seen.recv().await.unwrap();
    hub.lifecycle.stop();
    let (_signal, signals) = mpsc::channel(1);
    let ended = tokio::spawn(hub.lifecycle.run(std::time::Duration::from_mins(10), signals));
    while TcpStream::connect(hub.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    assert_eq!(open.await.unwrap().unwrap().text().await.unwrap(), "done");
    assert_eq!(format!("{:?}", ended.await.unwrap()), format!("{:?}", std::process::ExitCode::SUCCESS));
}

#[tokio::test]
async fn dropping_closes_a_request_that_does_not_finish() {
    let (entered, mut entered_seen) = mpsc::channel::<()>(1);
    let stuck = futures_util::FutureExt::shared(async move {
        entered.send(()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let hub = start_with(&config(&[]), api(stuck));
    let open = tokio::spawn(hub.request(Method::GET, "/v1/accounts/a/history", Role::Admin).send());
    entered_seen.recv().await.unwrap();
    let (signal, signals) = mpsc::channel(2);
    signal.send(()).await.unwrap();
    signal.send(()).await.unwrap();
    hub.lifecycle.run(std::time::Duration::from_mins(10), signals).await;
    assert!(open.await.unwrap().is_err());
}

#[tokio::test]
async fn a_head_that_is_not_http_does_not_trouble_the_hub() {
    let hub = start(&[]);
    let mut socket = TcpStream::connect(hub.address).await.unwrap();
    socket.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    assert_eq!(hub.get("/health/live").await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn with_a_certificate_the_hub_speaks_https() {
    let tls = serve::tests::TestTls::new();
    let files = tls.files();
    let hub = start(&[
        ("CHANCERY_SERVER__TLS__CERT_FILE", files.cert.to_str().unwrap()),
        ("CHANCERY_SERVER__TLS__KEY_FILE", files.key.to_str().unwrap()),
    ]);
    let authority = format!("{}/test-authority.pem", serve::tests::TEST_KEYS);
    let client = crate::cli::client::http(Some(authority.as_ref())).unwrap();
    let url = format!("https://localhost:{}/health/live", hub.address.port());
    assert_eq!(client.get(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(
        self::client().get(format!("{}/health/live", hub.url)).send().await.is_err(),
        "plain HTTP is not answered"
    );
}
