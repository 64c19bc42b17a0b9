//! The authorization address and the token endpoint.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Form as Body, Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use chancery_microsoft::{
    Authorize, Entra, EntraConfig, Redeem, RedeemError, TokenFailure, Transport, entra::Prompt,
};
use domain::{TenantId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::support::{Form, Shared, answering, client, refused, reset, serve, silent};

pub(crate) const CLIENT: Uuid = Uuid::from_u128(0xc11e);
pub(crate) const TENANT: TenantId = TenantId(Uuid::from_u128(0x7e4a));
/// Appears wherever a secret does; must appear nowhere else.
const CANARY: &str = "canary-0123456789-0123456789-0123456789-secret";

/// An Entra that answers as it is told and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Stub {
    pub(crate) token: Shared<(u16, Value)>,
    pub(crate) jwks: Shared<Value>,
    pub(crate) jwks_fetches: Shared<u32>,
    pub(crate) asked: Shared<Vec<(String, Form)>>,
}

impl Stub {
    pub(crate) async fn start() -> (Arc<Self>, Url) {
        let stub = Arc::new(Self::default());
        let router = Router::new()
            .route("/{tenant}/v2.0/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/{tenant}/oauth2/v2.0/token", post(token))
            .with_state(stub.clone());
        let address = serve(router).await;
        (stub, address)
    }
}

async fn metadata(request: axum::extract::Request) -> Json<Value> {
    let host = request.headers()[header::HOST].to_str().unwrap();
    Json(json!({
        "issuer": "https://login.example/{tenantid}/v2.0",
        "jwks_uri": format!("http://{host}/keys"),
    }))
}

async fn keys(State(stub): State<Arc<Stub>>) -> Json<Value> {
    stub.jwks_fetches.update(|count| *count += 1);
    Json(stub.jwks.get())
}

async fn token(
    State(stub): State<Arc<Stub>>,
    Path(tenant): Path<String>,
    Body(form): Body<Form>,
) -> (StatusCode, Json<Value>) {
    stub.asked.update(|asked| asked.push((tenant, form)));
    let (status, body) = stub.token.get();
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

pub(crate) fn config(authority: Url) -> EntraConfig {
    EntraConfig {
        authority,
        issuer_template: None,
        sign_in_tenant: "organizations".into(),
        client_id: CLIENT,
        client_secret: CANARY.into(),
        redirect_uri: "https://hub.example/sign-in/return".parse().unwrap(),
        scopes: ["openid", "offline_access", "User.Read"].map(String::from).into(),
        authorize_endpoint: None,
        token_endpoint: None,
        jwks_uri: None,
    }
}

fn entra(authority: Url) -> Entra {
    Entra::new(config(authority), client()).unwrap()
}

async fn refresh(entra: &Entra) -> Result<chancery_microsoft::Tokens, TokenFailure> {
    entra.refresh(TENANT, &CANARY.into(), Duration::from_secs(20)).await
}

#[test]
fn the_authorization_address_carries_the_s256_challenge_and_never_the_verifier() {
    let entra = entra("https://login.microsoftonline.com/".parse().unwrap());
    // RFC 7636 appendix B.
    let verifier: SecretString = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
    let mut request = Authorize {
        tenant: None,
        state: "st",
        nonce: "no",
        code_verifier: &verifier,
        login_hint: Some("alice@example.com"),
        prompt: Some(Prompt::SelectAccount),
    };
    let url = entra.authorize_url(&request);
    assert_eq!(url.path(), "/organizations/oauth2/v2.0/authorize");
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("response_type", "code"),
        ("response_mode", "query"),
        ("client_id", &CLIENT.to_string()),
        ("redirect_uri", "https://hub.example/sign-in/return"),
        ("scope", "openid offline_access User.Read"),
        ("state", "st"),
        ("nonce", "no"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("login_hint", "alice@example.com"),
        ("prompt", "select_account"),
    ] {
        assert_eq!(query.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!url.as_str().contains(verifier.expose_secret()));
    request.tenant = Some(TENANT);
    assert_eq!(entra.authorize_url(&request).path(), format!("/{TENANT}/oauth2/v2.0/authorize"));
}

#[test]
fn endpoints_can_be_given_one_by_one() {
    let mut config = config("https://login.example".parse().unwrap());
    config.authorize_endpoint = Some("https://idp.example/{tenant}/auth".into());
    let entra = Entra::new(config.clone(), client()).unwrap();
    let verifier = CANARY.into();
    let request = Authorize {
        tenant: None,
        state: "s",
        nonce: "n",
        code_verifier: &verifier,
        login_hint: None,
        prompt: None,
    };
    assert!(entra.authorize_url(&request).as_str().starts_with("https://idp.example/organizations/auth?"));
    config.token_endpoint = Some("not an address".into());
    assert!(Entra::new(config, client()).is_err());
}

#[tokio::test]
async fn refreshing_asks_the_persons_tenant_and_brings_a_new_pair() {
    let (stub, address) = Stub::start().await;
    stub.token.set((
        200,
        json!({
            "token_type": "Bearer", "expires_in": 4321, "access_token": "a2", "refresh_token": "r2",
            "scope": "User.Read https://graph.microsoft.com/ChatMessage.Send", "ext_expires_in": 9999,
        }),
    ));
    let tokens = refresh(&entra(address)).await.unwrap();
    assert_eq!(tokens.access.expose_secret(), "a2");
    assert_eq!(tokens.refresh.unwrap().expose_secret(), "r2");
    assert_eq!(tokens.expires_in, Duration::from_secs(4321));
    assert_eq!(tokens.scopes, ["User.Read", "https://graph.microsoft.com/ChatMessage.Send"]);

    let (tenant, form) = stub.asked.get().remove(0);
    assert_eq!(tenant, TENANT.to_string());
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["refresh_token"], CANARY);
    assert_eq!(form["client_secret"], CANARY);
    assert!(!form.contains_key("scope"));
}

#[tokio::test]
async fn a_lifetime_may_be_written_as_text_and_be_missing() {
    let (stub, address) = Stub::start().await;
    let entra = entra(address);
    for (expires_in, seconds) in [(json!("3599"), 3599), (json!(3599), 3599), (json!(null), 600)] {
        let mut answer = json!({ "token_type": "Bearer", "access_token": "a2", "refresh_token": "r2" });
        answer["expires_in"] = expires_in.clone();
        stub.token.set((200, answer));
        let tokens = refresh(&entra).await.unwrap();
        assert_eq!(tokens.expires_in, Duration::from_secs(seconds), "{expires_in}");
        assert_eq!(tokens.refresh.unwrap().expose_secret(), "r2");
    }
}

#[tokio::test]
async fn a_success_without_an_access_token_is_ambiguous() {
    let (stub, address) = Stub::start().await;
    let entra = entra(address);
    for body in [json!({}), json!("x"), json!({ "token_type": "Bearer" }), json!({ "access_token": 7 })] {
        stub.token.set((200, body));
        assert!(matches!(refresh(&entra).await, Err(TokenFailure::Ambiguous { .. })));
    }
}

#[tokio::test]
async fn a_refused_socket_is_not_sent_and_everything_later_is_ambiguous() {
    let nowhere = "http://chancery.invalid/".parse().unwrap();
    for address in [refused().await, nowhere] {
        let failure = refresh(&entra(address)).await.unwrap_err();
        assert!(matches!(&failure, TokenFailure::NotSent { .. }), "{failure:?}");
    }
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"access_token\":";
    for address in [reset().await, answering(cut).await, answering("what?").await, answering("").await] {
        let failure = refresh(&entra(address)).await.unwrap_err();
        assert!(matches!(&failure, TokenFailure::Ambiguous { .. }), "{failure:?}");
        assert_eq!(failure.diagnosis().transport, Some(Transport::Broken));
    }
    let entra = entra(silent().await);
    let failure = entra.refresh(TENANT, &CANARY.into(), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(&failure, TokenFailure::Ambiguous { .. }), "{failure:?}");
    assert_eq!(failure.diagnosis().transport, Some(Transport::TimedOut));
}

#[tokio::test]
async fn an_error_keeps_its_meaning_over_the_wire() {
    let throttled = || async {
        let body = Json(json!({ "error": "temporarily_unavailable", "error_codes": [90055] }));
        (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")], body).into_response()
    };
    let router = Router::new().route("/{tenant}/oauth2/v2.0/token", post(throttled));
    let failure = refresh(&entra(serve(router).await)).await.unwrap_err();
    let seven = Some(Duration::from_secs(7));
    assert!(matches!(failure, TokenFailure::Throttled { retry_after, .. } if retry_after == seven));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stolen = Arc::new(Shared::<u32>::default());
    let thief = stolen.clone();
    let elsewhere = move || async move { thief.update(|count| *count += 1) };
    let router = Router::new()
        .route("/elsewhere", post(elsewhere))
        .route("/{tenant}/oauth2/v2.0/token", post(async || Redirect::temporary("/elsewhere")));
    let failure = refresh(&entra(serve(router).await)).await.unwrap_err();
    assert!(matches!(failure, TokenFailure::HubProblem { .. }), "{failure:?}");
    assert_eq!(stolen.get(), 0);
}

#[tokio::test]
async fn calls_can_be_spawned() {
    let entra = Arc::new(entra(refused().await));
    let call = tokio::spawn(async move {
        let redemption =
            Redeem { tenant: None, code: CANARY.into(), code_verifier: CANARY.into(), nonce: "n" };
        let redeemed = entra.redeem(redemption, Timestamp::default()).await;
        (redeemed.is_err(), refresh(&entra).await.is_err())
    });
    assert_eq!(call.await.unwrap(), (true, true));
}

#[tokio::test]
async fn a_code_is_not_spent_while_the_keys_cannot_be_had() {
    let (stub, address) = Stub::start().await;
    stub.jwks.set(json!("no keys"));
    let redemption = Redeem { tenant: None, code: CANARY.into(), code_verifier: CANARY.into(), nonce: "n" };
    let result = entra(address).redeem(redemption, Timestamp::default()).await;
    assert!(matches!(result, Err(RedeemError::Unavailable(_))));
    assert!(stub.asked.get().is_empty());
}

#[tokio::test]
async fn no_secret_shows_in_errors_or_debug_output() {
    let (stub, address) = Stub::start().await;
    stub.jwks.set(json!({ "keys": [] }));
    let entra = entra(address.clone());
    let mut seen = vec![format!("{:?}", config(address))];
    for (status, body) in [
        (
            400,
            json!({ "error": CANARY, "suberror": CANARY, "error_description": CANARY, "trace_id": CANARY }),
        ),
        (200, json!({ "access_token": [CANARY] })),
        (200, json!(CANARY)),
    ] {
        stub.token.set((status, body));
        let failure = refresh(&entra).await.unwrap_err();
        seen.push(format!("{failure} {failure:?}"));
    }
    stub.token.set((
        200,
        json!({ "token_type": "Bearer", "access_token": CANARY, "refresh_token": CANARY, "id_token": CANARY }),
    ));
    seen.push(format!("{:?}", refresh(&entra).await.unwrap()));
    let redemption =
        Redeem { tenant: None, code: CANARY.into(), code_verifier: CANARY.into(), nonce: CANARY };
    let error = entra.redeem(redemption, Timestamp::default()).await.unwrap_err();
    seen.push(format!("{error} {error:?}"));
    for address in [refused().await, reset().await] {
        let entra = Entra::new(config(address), client()).unwrap();
        let failure = refresh(&entra).await.unwrap_err();
        seen.push(format!("{failure} {failure:?}"));
    }
    assert!(seen.iter().all(|text| !text.contains("canary")), "{seen:#?}");
}
