//! The token endpoint: what it gives, and each way in which it refuses.

use std::time::Duration;

use chancery_microsoft_simulator::control::{DialsChange, PersonChange, Rotation};
use serde_json::Value;

use crate::harness::*;

#[tokio::test]
async fn a_code_brings_tokens_of_microsofts_size() {
    let microsoft = Microsoft::start().await;
    let answer = microsoft.sign_in(ADA).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert!((3600..=5400).contains(&answer["expires_in"].as_u64().unwrap()));
    let (access, refresh) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    assert!(access.starts_with("EwB") && access.len() == 1500);
    assert!(refresh.starts_with("0.A") && refresh.len() == 1000);
    let (status, me) = asked(microsoft.get(&access, "/me")).await;
    assert_eq!(status, 200);
    assert_eq!((text(&me, "id"), text(&me, "mail")), (microsoft.oid(ADA).to_string(), ADA.into()));
}

#[tokio::test]
async fn only_what_was_asked_for_is_given() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[("scope", "User.Read")]).await;
    let (_, answer) = microsoft.redeem(&code, &[]).await;
    assert_eq!((&answer["refresh_token"], &answer["id_token"]), (&Value::Null, &Value::Null));

    let code = microsoft.code(ADA, &[]).await;
    let (_, answer) = microsoft.redeem(&code, &[("scope", "User.Read")]).await;
    let (status, error) =
        asked(microsoft.post(&text(&answer, "access_token"), &microsoft.chat(ADA), &hello())).await;
    assert_eq!((status.as_u16(), text(&error["error"], "code")), (403, "Forbidden".into()));
}

#[tokio::test]
async fn a_code_is_redeemed_once() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[]).await;
    assert_eq!(microsoft.redeem(&code, &[]).await.0, 200);
    assert_eq!(aadsts(&microsoft.redeem(&code, &[]).await), 54005);
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[]).await;
    microsoft.simulator.advance_clock(Duration::from_mins(10));
    assert_eq!(aadsts(&microsoft.redeem(&code, &[]).await), 70008);
}

#[tokio::test]
async fn each_mismatch_has_its_number_and_uses_nothing_up() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[]).await;
    let cases = [
        ("tenant", "contoso.example", 700_005),
        ("tenant", "nowhere.example", 90002),
        ("redirect_uri", "http://localhost:8080/other", 500_112),
        ("redirect_uri", "", 900_144),
        ("code_verifier", "wrong", 501_481),
        ("code_verifier", "", 501_481),
        ("client_id", "11111111-1111-4111-8111-111111111111", 700_016),
        ("client_secret", "wrong", 7_000_215),
        ("client_secret", "", 7_000_218),
        ("grant_type", "password", 70003),
        ("grant_type", "", 900_144),
        ("code", "1.Aunknown", 70000),
        ("scope", "Mail.Read", 70011),
        ("scope", "Chat.Create", 65001),
    ];
    for (field, value, expected) in cases {
        assert_eq!(aadsts(&microsoft.redeem(&code, &[(field, value)]).await), expected, "{field}={value}");
    }
    assert_eq!(microsoft.redeem(&code, &[]).await.0, 200);
}

#[tokio::test]
async fn the_client_may_use_http_basic() {
    let microsoft = Microsoft::start().await;
    let code = microsoft.code(ADA, &[]).await;
    let request = |secret: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let url = format!("{}/organizations/oauth2/v2.0/token", microsoft.base);
        microsoft
            .client
            .post(url)
            .basic_auth(microsoft.settings.client_id, Some(escaped(secret)))
            .form(&fields)
    };
    assert_eq!(aadsts(&asked(request("wrong")).await), 7_000_215);
    assert_eq!(asked(request(&microsoft.settings.client_secret)).await.0, 200);
}

#[tokio::test]
async fn an_expired_secret_stops_everybody_until_there_is_a_new_one() {
    let microsoft = Microsoft::start().await;
    let token = text(&microsoft.sign_in(ADA).await, "refresh_token");
    microsoft.simulator.turn(DialsChange { secret_expired: Some(true), ..DialsChange::default() });
    assert_eq!(aadsts(&microsoft.refresh(&token).await), 7_000_222);
    let change = DialsChange {
        secret_expired: Some(false),
        client_secret: Some("a new secret".into()),
        ..DialsChange::default()
    };
    microsoft.simulator.turn(change);
    assert_eq!(aadsts(&microsoft.refresh(&token).await), 7_000_215);
    let fields =
        [("grant_type", "refresh_token"), ("refresh_token", &token), ("client_secret", "a new secret")];
    assert_eq!(microsoft.token(&fields).await.0, 200);
}

#[tokio::test]
async fn at_entra_an_old_refresh_token_stays_valid() {
    let microsoft = Microsoft::start().await;
    let first = text(&microsoft.sign_in(ADA).await, "refresh_token");
    let (_, answer) = microsoft.refresh(&first).await;
    let second = text(&answer, "refresh_token");
    assert_ne!(first, second);
    assert_eq!(microsoft.refresh(&first).await.0, 200);
    assert_eq!(microsoft.refresh(&second).await.0, 200);
}

#[tokio::test]
async fn with_strict_rotation_reuse_ends_the_family() {
    let microsoft = Microsoft::start().await;
    microsoft.simulator.turn(DialsChange { rotation: Some(Rotation::Strict), ..DialsChange::default() });
    let first = text(&microsoft.sign_in(ADA).await, "refresh_token");
    let other_family = text(&microsoft.sign_in(ADA).await, "refresh_token");
    let second = text(&microsoft.refresh(&first).await.1, "refresh_token");
    let third = text(&microsoft.refresh(&second).await.1, "refresh_token");
    assert_eq!(aadsts(&microsoft.refresh(&first).await), 70000);
    assert_eq!(aadsts(&microsoft.refresh(&third).await), 70000);
    assert_eq!(microsoft.refresh(&other_family).await.0, 200);
}

#[tokio::test]
async fn ninety_days_of_rest_end_a_refresh_token() {
    let microsoft = Microsoft::start().await;
    let first = text(&microsoft.sign_in(ADA).await, "refresh_token");
    microsoft.simulator.advance_clock(89 * DAY);
    let second = text(&microsoft.refresh(&first).await.1, "refresh_token");
    microsoft.simulator.advance_clock(89 * DAY);
    assert_eq!(microsoft.refresh(&second).await.0, 200);
    microsoft.simulator.advance_clock(90 * DAY);
    assert_eq!(aadsts(&microsoft.refresh(&second).await), 700_082);
}

#[tokio::test]
async fn what_happens_to_a_person_ends_their_refresh() {
    let on = PersonChange::default;
    let cases = [
        (PersonChange { disabled: Some(true), ..on() }, 50057, None),
        (PersonChange { ca_blocked: Some(true), ..on() }, 53003, Some("message_only")),
        (PersonChange { mfa_required: Some(true), ..on() }, 50076, Some("basic_action")),
        (PersonChange { consent_revoked: Some(true), ..on() }, 65001, Some("consent_required")),
        (PersonChange { sign_in_frequency_seconds: Some(Some(0)), ..on() }, 70043, Some("bad_token")),
    ];
    for (change, expected, suberror) in cases {
        let microsoft = Microsoft::start().await;
        let token = text(&microsoft.sign_in(ADA).await, "refresh_token");
        microsoft.change(ADA, change);
        let answer = microsoft.refresh(&token).await;
        assert_eq!(aadsts(&answer), expected);
        assert_eq!(answer.1["suberror"].as_str(), suberror);
        let error = if expected == 50076 { "interaction_required" } else { "invalid_grant" };
        assert_eq!(answer.1["error"], error);
    }
}

#[tokio::test]
async fn a_new_sign_in_satisfies_what_ended_the_old_one() {
    let microsoft = Microsoft::start().await;
    let old = text(&microsoft.sign_in(ADA).await, "refresh_token");
    microsoft.simulator.revoke_sessions(microsoft.oid(ADA));
    microsoft.change(ADA, PersonChange { mfa_required: Some(true), ..PersonChange::default() });
    assert_eq!(aadsts(&microsoft.refresh(&old).await), 50173);
    let new = text(&microsoft.sign_in(ADA).await, "refresh_token");
    assert_eq!(microsoft.refresh(&new).await.0, 200);
    assert_eq!(aadsts(&microsoft.refresh(&old).await), 50173);
}

#[tokio::test]
async fn a_refresh_token_is_not_for_another_tenant() {
    let microsoft = Microsoft::start().await;
    let token = text(&microsoft.sign_in(ADA).await, "refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let at = |tenant| [fields.as_slice(), &[("tenant", tenant)]].concat();
    assert_eq!(aadsts(&microsoft.token(&at("fabrikam.example")).await), 50020);
    assert_eq!(microsoft.token(&at("contoso.example")).await.0, 200);
}

#[tokio::test]
async fn the_correlation_id_is_the_callers() {
    let microsoft = Microsoft::start().await;
    let url = format!("{}/organizations/oauth2/v2.0/token", microsoft.base);
    let id = "0a1b2c3d-1111-4222-8333-444455556666";
    let (_, body) = asked(microsoft.client.post(url).header("client-request-id", id)).await;
    assert_eq!(body["correlation_id"], id);
}
