//! Whom the bot believes: good tokens of the Bot Framework, and every kind of bad one.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::Request, http::header, routing::get};
use chancery_microsoft::{
    bot::{Activity, ISSUER, Inbound, InboundConfig, InboundProblem as Problem, NotTrusted},
    jose::IssuerUnavailable,
};
use domain::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use crate::{
    activity,
    support::{Shared, Signer, client, refused, serve},
};

const APP: Uuid = Uuid::from_u128(0xb0);
const NOW_S: i64 = 1_795_435_200;

struct Fixture {
    jwks: Arc<Shared<Value>>,
    fetches: watch::Sender<u32>,
    /// Keys are not answered any more.
    hangs: Arc<Shared<bool>>,
    inbound: Inbound,
    signer: Signer,
}

impl Fixture {
    async fn new() -> Self {
        let (jwks, hangs) = (Arc::new(Shared::<Value>::default()), Arc::new(Shared::<bool>::default()));
        let fetches = watch::Sender::new(0);
        let (served, counted, hanging) = (jwks.clone(), fetches.clone(), hangs.clone());
        let keys = async move || {
            counted.send_modify(|count| *count += 1);
            if hanging.get() {
                std::future::pending::<()>().await;
            }
            Json(served.get())
        };
        let metadata = async |request: Request| {
            let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
            Json(json!({ "issuer": "not asked", "jwks_uri": format!("http://{host}/keys") }))
        };
        let router = Router::new().route("/metadata", get(metadata)).route("/keys", get(keys));
        let inbound = inbound(serve(router).await.join("metadata").unwrap());
        let signer = Signer::new(1);
        jwks.set(json!({ "keys": [
            key(&signer, "k1", json!(["webchat", "msteams"])),
            key(&signer, "web only", json!(["webchat"])),
            signer.jwk("unendorsed", None),
            key(&signer, "endorsed by null", json!(null)),
        ] }));
        Self { jwks, fetches, hangs, inbound, signer }
    }

    fn fetches(&self) -> u32 {
        *self.fetches.borrow()
    }

    async fn check(&self, token: &str) -> Result<(), NotTrusted> {
        self.check_for(token, &activity::message()).await
    }

    async fn check_for(&self, token: &str, activity: &Value) -> Result<(), NotTrusted> {
        let activity = Activity::parse(activity.to_string().as_bytes()).unwrap();
        let vouched = self.inbound.check(Some(&format!("Bearer {token}")), now()).await?;
        vouched.vouches_for(&activity)
    }

    async fn problem(&self, token: &str) -> Problem {
        why(self.check(token).await)
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.signer.sign(&header("k1"), &claims)
    }
}

fn inbound(metadata_url: Url) -> Inbound {
    Inbound::new(InboundConfig { app_id: APP, metadata_url, issuer: ISSUER.into() }, client())
}

fn key(signer: &Signer, kid: &str, endorsements: Value) -> Value {
    let mut key = signer.jwk(kid, None);
    key["endorsements"] = endorsements;
    key
}

fn now() -> Timestamp {
    Timestamp::from_micros(NOW_S * 1_000_000)
}

fn header(kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "kid": kid })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": APP, "nbf": NOW_S, "exp": NOW_S + 3600,
        "serviceurl": activity::message()["serviceUrl"],
    })
}

fn why(result: Result<(), NotTrusted>) -> Problem {
    match result {
        Err(NotTrusted::Forbidden { why }) => why,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn a_good_token_is_believed_and_the_keys_are_kept() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        assert_eq!(fixture.check(&fixture.token(|_| {})).await, Ok(()));
    }
    assert_eq!(fixture.fetches(), 1);
    let lower = format!("bearer {}", fixture.token(|_| {}));
    assert!(fixture.inbound.check(Some(&lower), now()).await.is_ok());
}

#[tokio::test]
async fn without_a_bearer_token_nobody_is_believed() {
    let fixture = Fixture::new().await;
    let basic = format!("Basic {}", fixture.token(|_| {}));
    for authorization in [None, Some(""), Some("Bearer"), Some("Bearer  "), Some(basic.as_str())] {
        let result = fixture.inbound.check(authorization, now()).await;
        assert_eq!(result.unwrap_err(), NotTrusted::Unauthenticated);
    }
}

#[tokio::test]
async fn a_wrong_claim_is_named() {
    let fixture = Fixture::new().await;
    let mut cases = vec![];
    for (name, value, problem) in [
        ("aud", json!("another bot"), Problem::Audience),
        ("aud", json!(format!("28:{APP}")), Problem::Audience),
        ("aud", json!(null), Problem::Malformed),
        ("aud", json!([APP, "another bot"]), Problem::Malformed),
        ("exp", json!(NOW_S - 300), Problem::Expired),
        ("exp", json!(null), Problem::Malformed),
        ("exp", json!("tomorrow"), Problem::Malformed),
        ("nbf", json!(NOW_S + 301), Problem::NotYetValid),
        ("iss", json!(null), Problem::Malformed),
        ("iss", json!(format!("{ISSUER}/")), Problem::Issuer),
        ("iss", json!("https://api.botframework.us"), Problem::Issuer),
        ("serviceurl", json!(null), Problem::ServiceUrl),
        ("serviceurl", json!("https://smba.trafficmanager.net/emea"), Problem::ServiceUrl),
        ("serviceurl", json!("https://smba.trafficmanager.net/amer/"), Problem::ServiceUrl),
        ("serviceurl", json!(7), Problem::Malformed),
    ] {
        cases.push((problem, fixture.token(|claims| claims[name] = value)));
    }
    // Those of the Bot Framework Emulator.
    for issuer in [
        "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/",
        "https://login.microsoftonline.com/d6d49420-f39b-4df7-a1dc-d59a935871db/v2.0",
        "https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/",
        "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a/v2.0",
    ] {
        let token = fixture.token(|claims| {
            claims["iss"] = json!(issuer);
            claims["appid"] = json!(APP);
        });
        cases.push((Problem::Issuer, token));
    }
    for (number, (problem, token)) in cases.into_iter().enumerate() {
        assert_eq!(fixture.problem(&token).await, problem, "case {number}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_five_minutes() {
    let fixture = Fixture::new().await;
    for (name, value) in [("exp", NOW_S - 299), ("nbf", NOW_S + 300)] {
        assert_eq!(fixture.check(&fixture.token(|claims| claims[name] = json!(value))).await, Ok(()));
    }
}

#[tokio::test]
async fn only_rs256_by_a_key_of_the_issuer_is_believed() {
    let fixture = Fixture::new().await;
    let forged = Signer::new(2).sign(&header("k1"), &claims());
    assert_eq!(fixture.problem(&forged).await, Problem::Signature);
    for alg in ["none", "HS256", "RS512", "ES256"] {
        let token = fixture.signer.sign(&json!({ "alg": alg, "kid": "k1" }), &claims());
        assert_eq!(fixture.problem(&token).await, Problem::Algorithm, "{alg}");
    }
    let good = fixture.token(|_| {});
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = fixture.token(|claims| claims["exp"] = json!(NOW_S + 7200));
    let swapped = format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap());
    for token in [swapped, format!("{header}.{payload}.")] {
        assert_eq!(fixture.problem(&token).await, Problem::Signature);
    }
    for garbage in [&format!("{header}.{payload}"), "x", "a.b.c", "....", &format!("{good}.x")] {
        assert_eq!(fixture.problem(garbage).await, Problem::Malformed, "{garbage}");
    }
}

#[tokio::test]
async fn a_key_vouches_only_for_the_channels_it_is_endorsed_for() {
    let fixture = Fixture::new().await;
    for kid in ["web only", "unendorsed", "endorsed by null"] {
        let token = fixture.signer.sign(&header(kid), &claims());
        assert_eq!(fixture.problem(&token).await, Problem::Endorsement, "{kid}");
    }
    for channel in ["webchat", "MSTEAMS", "emulator"] {
        let mut activity = activity::message();
        activity["channelId"] = json!(channel);
        let result = fixture.check_for(&fixture.token(|_| {}), &activity).await;
        assert_eq!(why(result), Problem::Channel, "{channel}");
    }
}

#[tokio::test]
async fn a_token_vouches_only_for_its_own_service_url() {
    let fixture = Fixture::new().await;
    let mut activity = activity::message();
    activity["serviceUrl"] = json!("https://evil.example/");
    assert_eq!(why(fixture.check_for(&fixture.token(|_| {}), &activity).await), Problem::ServiceUrl);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_a_minute_and_no_more() {
    let fixture = Fixture::new().await;
    fixture.check(&fixture.token(|_| {})).await.unwrap();
    let next = Signer::new(2);
    fixture.jwks.set(json!({ "keys": [key(&next, "k2", json!(["msteams"]))] }));
    assert_eq!(fixture.check(&next.sign(&header("k2"), &claims())).await, Ok(()));
    assert_eq!(fixture.fetches(), 2);
    for _ in 0..10 {
        assert_eq!(fixture.problem(&next.sign(&header("k3"), &claims())).await, Problem::UnknownKey);
    }
    assert_eq!(fixture.fetches(), 2, "not within the same minute");
    tokio::time::pause();
    tokio::time::advance(Duration::from_hours(25)).await;
    tokio::time::resume();
    fixture.check(&next.sign(&header("k2"), &claims())).await.unwrap();
    assert_eq!(fixture.fetches(), 3, "the keys are a day old");
}

#[tokio::test]
async fn a_known_key_is_not_kept_waiting_by_the_search_for_another() {
    let fixture = Arc::new(Fixture::new().await);
    fixture.check(&fixture.token(|_| {})).await.unwrap();
    fixture.hangs.set(true);
    let (searching, mut fetches) = (fixture.clone(), fixture.fetches.subscribe());
    let search = tokio::spawn(async move {
        let token = searching.signer.sign(&header("k9"), &claims());
        searching.check(&token).await
    });
    fetches.wait_for(|count| *count == 2).await.unwrap();
    assert_eq!(fixture.check(&fixture.token(|_| {})).await, Ok(()));
    assert!(!search.is_finished());
    search.abort();
}

#[tokio::test]
async fn a_search_that_failed_does_not_turn_a_new_key_into_a_wrong_one() {
    let fixture = Fixture::new().await;
    fixture.check(&fixture.token(|_| {})).await.unwrap();
    fixture.jwks.set(json!("no keys"));
    for _ in 0..3 {
        let result = fixture.check(&fixture.signer.sign(&header("k2"), &claims())).await;
        assert_eq!(result, Err(NotTrusted::Unavailable(IssuerUnavailable::Keys)));
    }
    assert_eq!(fixture.check(&fixture.token(|_| {})).await, Ok(()));
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_fault_of_the_sender_and_asked_for_with_pauses() {
    let nobody = inbound(refused().await);
    let token = format!("Bearer {}", Signer::new(1).sign(&header("k1"), &claims()));
    let result = nobody.check(Some(&token), now()).await;
    assert_eq!(result.unwrap_err(), NotTrusted::Unavailable(IssuerUnavailable::Metadata));

    let fixture = Fixture::new().await;
    let good = fixture.jwks.get();
    fixture.jwks.set(json!("no keys"));
    for _ in 0..10 {
        let result = fixture.check(&fixture.token(|_| {})).await;
        assert_eq!(result, Err(NotTrusted::Unavailable(IssuerUnavailable::Keys)));
    }
    assert_eq!(fixture.fetches(), 1);
    fixture.jwks.set(good);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(fixture.check(&fixture.token(|_| {})).await, Ok(()));
}

#[tokio::test]
async fn no_token_shows_in_an_error() {
    let fixture = Fixture::new().await;
    let token = fixture.token(|claims| claims["iss"] = json!("canary"));
    let error = fixture.check(&token).await.unwrap_err();
    let seen = format!("{error} {error:?}");
    assert!(!seen.contains("canary") && !seen.contains(&token[..20]), "{seen}");
}
