//! Who signed in: what is believed of an ID token, and what is not.

use std::{sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use chancery_microsoft::{
    Entra, Redeem, RedeemError, SignedIn,
    entra::{IdTokenProblem as Problem, Identity},
};
use domain::{TenantId, Timestamp};
use serde_json::{Value, json};

use crate::{
    entra::{CLIENT, Stub, TENANT, config},
    support::{Signer, client},
};

const NOW_S: i64 = 1_795_435_200;
const OBJECT: &str = "00000000-0000-0000-0000-00000000a11c";
const TEMPLATE: &str = "https://login.example/{tenantid}/v2.0";

struct Fixture {
    stub: Arc<Stub>,
    entra: Entra,
    signer: Signer,
}

impl Fixture {
    async fn new() -> Self {
        let (stub, address) = Stub::start().await;
        let signer = Signer::new(1);
        stub.jwks.set(json!({ "keys": [
            { "kty": "EC", "kid": "not for us" },
            signer.jwk("k1", Some(TEMPLATE)),
            signer.jwk("other tenant's", Some("https://login.example/11111111-0000-0000-0000-000000000000/v2.0")),
            signer.jwk("anyone's", None),
        ] }));
        Self { stub, entra: Entra::new(config(address), client()).unwrap(), signer }
    }

    async fn redeem(&self, id_token: String) -> Result<SignedIn, RedeemError> {
        self.redeem_at(id_token, None).await
    }

    async fn redeem_at(&self, id_token: String, tenant: Option<TenantId>) -> Result<SignedIn, RedeemError> {
        self.stub.token.set((
            200,
            json!({
                "token_type": "Bearer", "expires_in": 3599, "access_token": "a", "refresh_token": "r",
                "id_token": id_token,
            }),
        ));
        let redemption =
            Redeem { tenant, code: "code".into(), code_verifier: "verifier".into(), nonce: "the nonce" };
        self.entra.redeem(redemption, Timestamp::from_micros(NOW_S * 1_000_000)).await
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.signer.sign(&header("k1"), &claims)
    }

    async fn identity(&self, change: impl FnOnce(&mut Value)) -> Identity {
        self.redeem(self.token(change)).await.unwrap().identity
    }

    async fn problem(&self, id_token: String) -> Problem {
        match self.redeem(id_token).await {
            Err(RedeemError::IdTokenInvalid { why }) => why,
            other => panic!("expected an invalid token, not {other:?}"),
        }
    }
}

fn header(kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "kid": kid })
}

fn claims() -> Value {
    json!({
        "iss": format!("https://login.example/{TENANT}/v2.0"), "aud": CLIENT, "tid": TENANT, "oid": OBJECT,
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3600, "nonce": "the nonce", "sub": "pairwise",
        "name": "Alice", "preferred_username": "alice@contoso.example", "email": "alice@example.com",
    })
}

/// What a test does to good claims.
type Change = Box<dyn FnOnce(&mut Value)>;

fn set(name: &'static str, value: impl Into<Value>) -> impl FnOnce(&mut Value) {
    let value = value.into();
    move |claims| claims[name] = value
}

fn unset(name: &'static str) -> impl FnOnce(&mut Value) {
    move |claims| {
        claims.as_object_mut().unwrap().remove(name);
    }
}

#[tokio::test]
async fn a_good_token_says_who_signed_in() {
    let fixture = Fixture::new().await;
    let identity = fixture.identity(|_| {}).await;
    assert_eq!(identity.person.tenant, TENANT);
    assert_eq!(identity.person.object_id.to_string(), OBJECT);
    assert_eq!(identity.name.as_deref(), Some("Alice"));
    assert_eq!(identity.user_principal_name.as_deref(), Some("alice@contoso.example"));
    assert_eq!(identity.email.as_deref(), Some("alice@example.com"));
    assert!(!identity.email_verified);
    assert!(!format!("{identity:?}").to_lowercase().contains("alice"));

    let (tenant, form) = fixture.stub.asked.get().remove(0);
    assert_eq!(tenant, "organizations");
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!((form["code"].as_str(), form["code_verifier"].as_str()), ("code", "verifier"));
    assert_eq!(form["redirect_uri"], "https://hub.example/sign-in/return");
}

#[tokio::test]
async fn an_email_is_verified_only_by_a_true_xms_edov() {
    let fixture = Fixture::new().await;
    for (edov, verified) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("0"), false),
        (json!("true"), false),
        (json!(null), false),
    ] {
        assert_eq!(fixture.identity(set("xms_edov", edov.clone())).await.email_verified, verified, "{edov}");
    }
    let identity = fixture
        .identity(|claims| {
            claims["xms_edov"] = json!(true);
            claims.as_object_mut().unwrap().remove("email");
        })
        .await;
    assert!(identity.email.is_none() && !identity.email_verified);
}

#[tokio::test]
async fn a_wrong_claim_is_named() {
    let fixture = Fixture::new().await;
    let elsewhere = "https://login.example/11111111-0000-0000-0000-000000000000/v2.0";
    let cases: [(Problem, Change); 13] = [
        (Problem::Issuer, Box::new(set("iss", elsewhere))),
        (Problem::Issuer, Box::new(set("iss", TEMPLATE))),
        (Problem::Issuer, Box::new(set("iss", format!("https://login.example/{TENANT}/v2.0/")))),
        (Problem::Malformed, Box::new(set("tid", "contoso.example"))),
        (Problem::Malformed, Box::new(unset("tid"))),
        (Problem::Malformed, Box::new(unset("oid"))),
        (Problem::Malformed, Box::new(unset("exp"))),
        (Problem::Audience, Box::new(set("aud", "someone else"))),
        (Problem::Malformed, Box::new(set("aud", json!([CLIENT, "someone else"])))),
        (Problem::Expired, Box::new(set("exp", NOW_S - 300))),
        (Problem::NotYetValid, Box::new(set("nbf", NOW_S + 301))),
        (Problem::Nonce, Box::new(set("nonce", "another"))),
        (Problem::Nonce, Box::new(unset("nonce"))),
    ];
    for (number, (problem, change)) in cases.into_iter().enumerate() {
        assert_eq!(fixture.problem(fixture.token(change)).await, problem, "case {number}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_five_minutes() {
    let fixture = Fixture::new().await;
    fixture.identity(set("exp", NOW_S - 299)).await;
    // RFC 7519 lets times have fractions.
    fixture.identity(|claims| claims["exp"] = format!("{}.5", NOW_S - 300).parse().unwrap()).await;
    fixture.identity(set("nbf", NOW_S + 300)).await;
    fixture.identity(unset("nbf")).await;
    fixture.identity(set("aud", json!([CLIENT]))).await;
}

#[tokio::test]
async fn only_rs256_by_a_known_key_is_believed() {
    let fixture = Fixture::new().await;
    let by = |signer: &Signer, header: &Value| signer.sign(header, &claims());
    let forged = by(&Signer::new(2), &header("k1"));
    assert_eq!(fixture.problem(forged).await, Problem::Signature);
    for alg in ["none", "HS256", "RS512", "rs256"] {
        let token = by(&fixture.signer, &json!({ "alg": alg, "kid": "k1" }));
        assert_eq!(fixture.problem(token).await, Problem::Algorithm, "{alg}");
    }
    let good = by(&fixture.signer, &header("k1"));
    let (message, _) = good.rsplit_once('.').unwrap();
    assert_eq!(fixture.problem(format!("{message}.")).await, Problem::Signature);
    for garbage in [message, "", "a.b.c", "....", "ä.ö.ü"] {
        assert_eq!(fixture.problem(garbage.to_owned()).await, Problem::Malformed, "{garbage}");
    }
    for header in [json!({ "alg": "RS256" }), json!({ "alg": "RS256", "kid": "k1", "crit": ["x"] })] {
        assert_eq!(fixture.problem(by(&fixture.signer, &header)).await, Problem::Malformed, "{header}");
    }
}

#[tokio::test]
async fn a_key_signs_only_for_its_own_issuer() {
    let fixture = Fixture::new().await;
    let token = fixture.signer.sign(&header("other tenant's"), &claims());
    assert_eq!(fixture.problem(token).await, Problem::Issuer);
    let token = fixture.signer.sign(&header("anyone's"), &claims());
    assert!(fixture.redeem(token).await.is_ok());
}

#[tokio::test]
async fn a_key_may_be_padded_and_start_with_a_zero() {
    let fixture = Fixture::new().await;
    let mut key = fixture.signer.jwk("k1", Some(TEMPLATE));
    for name in ["n", "e"] {
        let number = URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        key[name] = json!(URL_SAFE.encode([vec![0], number].concat()));
    }
    fixture.stub.jwks.set(json!({ "keys": [key] }));
    fixture.identity(|_| {}).await;
}

#[tokio::test]
async fn who_is_asked_to_sign_in_to_a_tenant_cannot_come_from_another() {
    let fixture = Fixture::new().await;
    let token = || fixture.token(|_| {});
    assert!(fixture.redeem_at(token(), Some(TENANT)).await.is_ok());
    let result = fixture.redeem_at(token(), Some(TenantId(CLIENT))).await;
    assert!(matches!(result, Err(RedeemError::IdTokenInvalid { why: Problem::Issuer })));
}

#[tokio::test]
async fn personal_accounts_are_refused() {
    let fixture = Fixture::new().await;
    let token = fixture.token(|claims| {
        claims["tid"] = json!(TenantId::PERSONAL_ACCOUNTS);
        claims["iss"] = json!(TEMPLATE.replace("{tenantid}", &TenantId::PERSONAL_ACCOUNTS.to_string()));
    });
    assert_eq!(fixture.redeem(token).await.unwrap_err(), RedeemError::PersonalAccount);
}

#[tokio::test]
async fn a_sign_in_without_id_token_or_refresh_token_is_refused() {
    let fixture = Fixture::new().await;
    let redeem = async |body: Value| {
        fixture.stub.token.set((200, body));
        let redemption =
            Redeem { tenant: None, code: "c".into(), code_verifier: "v".into(), nonce: "the nonce" };
        fixture.entra.redeem(redemption, Timestamp::from_micros(NOW_S * 1_000_000)).await.unwrap_err()
    };
    let mut body = json!({ "token_type": "Bearer", "access_token": "a", "refresh_token": "r" });
    assert_eq!(redeem(body.clone()).await, RedeemError::NoIdToken);
    body.as_object_mut().unwrap().remove("refresh_token");
    body["id_token"] = json!(fixture.token(|_| {}));
    assert_eq!(redeem(body).await, RedeemError::NoRefreshToken);
}

#[tokio::test]
async fn a_rotated_key_is_looked_for_once_a_minute_and_no_more() {
    let fixture = Fixture::new().await;
    fixture.identity(|_| {}).await;
    fixture.identity(|_| {}).await;
    assert_eq!(fixture.stub.jwks_fetches.get(), 1, "keys are kept");

    let next = Signer::new(2);
    fixture.stub.jwks.set(json!({ "keys": [next.jwk("k2", Some(TEMPLATE))] }));
    assert!(fixture.redeem(next.sign(&header("k2"), &claims())).await.is_ok());
    assert_eq!(fixture.stub.jwks_fetches.get(), 2, "an unknown key makes it look again");

    let unknown = || next.sign(&header("k3"), &claims());
    assert_eq!(fixture.problem(unknown()).await, Problem::UnknownKey);
    assert_eq!(fixture.problem(unknown()).await, Problem::UnknownKey);
    assert_eq!(fixture.stub.jwks_fetches.get(), 2, "not within the same minute");

    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(1)).await;
    tokio::time::resume();
    assert_eq!(fixture.problem(unknown()).await, Problem::UnknownKey);
    assert_eq!(fixture.stub.jwks_fetches.get(), 3);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_after_a_day() {
    let fixture = Fixture::new().await;
    fixture.identity(|_| {}).await;
    fixture.stub.jwks.set(json!({ "keys": [] }));
    fixture.identity(|_| {}).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_hours(25)).await;
    tokio::time::resume();
    assert_eq!(fixture.problem(fixture.token(|_| {})).await, Problem::UnknownKey);
}
