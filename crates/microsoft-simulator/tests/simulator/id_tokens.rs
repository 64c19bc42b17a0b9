//! ID tokens: honest ones, and each flaw.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_microsoft_simulator::control::PersonChange;
use chancery_microsoft_simulator::{CONSUMERS, CONTOSO, FABRIKAM, Flaw, Kind};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};

use crate::harness::*;

struct IdToken {
    kid: String,
    claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl IdToken {
    fn read(answer: &Value) -> Self {
        let token = text(answer, "id_token");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let part = |part: &str| -> Value { serde_json::from_slice(&decode(part)).unwrap() };
        assert_eq!(part(header)["alg"], "RS256");
        Self {
            kid: text(&part(header), "kid"),
            claims: part(claims),
            signed: signed.to_owned(),
            signature: decode(signature),
        }
    }

    /// The issuer of the published key that signed this, if one did.
    async fn key_issuer(&self, microsoft: &Microsoft) -> Option<String> {
        let url = format!("{}/organizations/v2.0/.well-known/openid-configuration", microsoft.base);
        let (_, metadata) = asked(microsoft.client.get(url)).await;
        let (_, jwks) = asked(microsoft.client.get(text(&metadata, "jwks_uri"))).await;
        let key =
            jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == self.kid.as_str())?.clone();
        let public = RsaPublicKeyComponents { n: decode(&text(&key, "n")), e: decode(&text(&key, "e")) };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature).ok()?;
        Some(text(&key, "issuer"))
    }
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

async fn flawed(microsoft: &Microsoft, flaw: Flaw) -> Value {
    microsoft.fault("token.code", Kind::Flaw(flaw));
    microsoft.sign_in(ADA).await
}

#[tokio::test]
async fn an_honest_token_holds_what_the_scopes_say() {
    let microsoft = Microsoft::start().await;
    microsoft.change(ADA, PersonChange { edov: Some(Some(json!("1"))), ..PersonChange::default() });
    let token = IdToken::read(&microsoft.sign_in(ADA).await);
    let claims = &token.claims;
    let oid = microsoft.oid(ADA);
    assert_eq!(claims["iss"], format!("{}/{CONTOSO}/v2.0", microsoft.base));
    assert_eq!(claims["aud"], microsoft.settings.client_id.to_string());
    assert_eq!((&claims["tid"], &claims["oid"]), (&json!(CONTOSO), &json!(oid)));
    assert_eq!((&claims["nonce"], &claims["ver"]), (&json!("a nonce"), &json!("2.0")));
    assert_eq!((&claims["preferred_username"], &claims["email"]), (&json!(ADA), &json!(ADA)));
    assert_eq!((&claims["name"], &claims["xms_edov"]), (&json!("Ada Bergström"), &json!("1")));
    let template = format!("{}/{{tenantid}}/v2.0", microsoft.base);
    assert_eq!(token.key_issuer(&microsoft).await, Some(template));

    let code = microsoft.code(ADA, &[("scope", "openid")]).await;
    let token = IdToken::read(&microsoft.redeem(&code, &[]).await.1);
    for absent in ["oid", "name", "preferred_username", "email"] {
        assert_eq!(token.claims[absent], Value::Null, "{absent}");
    }
    assert_eq!(token.claims["sub"], *claims["sub"].as_str().unwrap());
}

#[tokio::test]
async fn two_people_share_an_email_and_one_has_none() {
    let microsoft = Microsoft::start().await;
    let ada = IdToken::read(&microsoft.sign_in(ADA).await).claims;
    let other = IdToken::read(&microsoft.sign_in(ADA_OF_FABRIKAM).await).claims;
    assert_eq!(ada["email"], other["email"]);
    assert_eq!((&ada["tid"], &other["tid"]), (&json!(CONTOSO), &json!(FABRIKAM)));
    assert_eq!(IdToken::read(&microsoft.sign_in(CHIARA).await).claims["email"], Value::Null);
}

#[tokio::test]
async fn personal_accounts_have_a_key_of_their_own() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(GWEN, &[("tenant", "common")]).await;
    let token = IdToken::read(&microsoft.redeem(&code, &[("tenant", "common")]).await.1);
    let issuer = format!("{}/{CONSUMERS}/v2.0", microsoft.base);
    assert_eq!(token.claims["iss"], issuer);
    assert_eq!(token.key_issuer(&microsoft).await, Some(issuer));
}

#[tokio::test]
async fn after_a_roll_over_another_key_signs() {
    let microsoft = Microsoft::start().await;
    let before = IdToken::read(&microsoft.sign_in(ADA).await);
    microsoft.simulator.roll_keys();
    let after = IdToken::read(&microsoft.sign_in(ADA).await);
    assert_ne!(before.kid, after.kid);
    assert!(before.key_issuer(&microsoft).await.is_some());
    assert!(after.key_issuer(&microsoft).await.is_some());
}

#[tokio::test]
async fn each_flaw_spoils_one_thing() {
    let microsoft = Microsoft::start().await;
    let claims = async |flaw| IdToken::read(&flawed(&microsoft, flaw).await).claims;
    assert_ne!(claims(Flaw::WrongNonce).await["nonce"], "a nonce");
    assert_ne!(claims(Flaw::WrongAudience).await["aud"], microsoft.settings.client_id.to_string());
    let wrong_issuer = claims(Flaw::WrongIssuer).await;
    assert_eq!(wrong_issuer["iss"], format!("{}/{FABRIKAM}/v2.0", microsoft.base));
    assert_eq!(wrong_issuer["tid"], json!(CONTOSO));
    let expired = claims(Flaw::Expired).await;
    let honest = claims(Flaw::NoEmail).await;
    assert_eq!(honest["email"], Value::Null);
    assert!(expired["exp"].as_u64() < honest["nbf"].as_u64());

    for flaw in [Flaw::WrongKey, Flaw::UnknownKey] {
        assert_eq!(IdToken::read(&flawed(&microsoft, flaw).await).key_issuer(&microsoft).await, None);
    }
    let foreign = IdToken::read(&flawed(&microsoft, Flaw::ForeignKey).await);
    assert_eq!(foreign.key_issuer(&microsoft).await, Some(format!("{}/{CONSUMERS}/v2.0", microsoft.base)));
    assert_eq!(flawed(&microsoft, Flaw::NoRefreshToken).await["refresh_token"], Value::Null);
    assert_eq!(flawed(&microsoft, Flaw::NoIdToken).await["id_token"], Value::Null);
    IdToken::read(&microsoft.sign_in(ADA).await);
}

#[tokio::test]
async fn a_guest_is_another_at_the_tenant_they_visit_than_at_home() {
    let microsoft = Microsoft::start().await;
    let (host, home) = (FABRIKAM.to_string(), CONTOSO.to_string());
    let tokens = async |tenant: &str, name: &str| {
        let code = microsoft.code(name, &[("tenant", tenant)]).await;
        let (status, answer) = microsoft.redeem(&code, &[("tenant", tenant)]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let guest_oid = microsoft.oid(GUEST).to_string();
    let guest = tokens(&host, BRUNO).await;
    let claims = IdToken::read(&guest).claims;
    assert_eq!((text(&claims, "tid"), text(&claims, "oid")), (host.clone(), guest_oid.clone()));
    assert_eq!(claims["idp"], format!("https://sts.windows.net/{home}/"));
    assert_eq!(
        (text(&claims, "preferred_username"), text(&claims, "iss")),
        (BRUNO.into(), format!("{}/{host}/v2.0", microsoft.base))
    );
    let (_, me) = asked(microsoft.get(&text(&guest, "access_token"), "/me")).await;
    assert_eq!((text(&me, "id"), text(&me, "userPrincipalName")), (guest_oid.clone(), GUEST.into()));
    assert_eq!(text(&IdToken::read(&tokens(&host, &guest_oid).await).claims, "oid"), guest_oid);

    for tenant in ["organizations", &home] {
        let claims = IdToken::read(&tokens(tenant, BRUNO).await).claims;
        assert_eq!((text(&claims, "tid"), &claims["idp"]), (home.clone(), &Value::Null));
        let url = microsoft.authorize_url(&[("tenant", tenant)]);
        assert_eq!(microsoft.pick(url, &[("person", GUEST), ("consent", "accept")]).await.status(), 400);
    }
}
