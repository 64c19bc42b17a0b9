//! Sign-ins that Microsoft, the person or the hub's rules bring to nothing: nothing is left half-done.

use microsoft_simulator::{Flaw, Garbage, Kind, control::PersonChange};
use serde_json::Value;

use crate::harness::{
    World,
    api::{Link, answer},
    browser::Browser,
    microsoft::{ADA, BRUNO, EMEKA, GWEN},
};

/// Signs somebody in by a new link, and holds what is shown and recorded to be this failure and nothing else.
async fn fails(world: &World, upn: &str, why: &str) -> String {
    let link = world.api.invite("u-1001", None).await;
    let page = Browser::new().sign_in(&link.url, upn).await;
    assert_eq!(
        (page.status, page.title().as_str()),
        (200, "You are not connected yet"),
        "{why}: {}",
        page.text
    );
    nothing_came_of(world, &link, why).await;
    page.text
}

async fn nothing_came_of(world: &World, link: &Link, why: &str) {
    let events = world.events().await;
    let stream = format!("signin-{}", link.id);
    let names: Vec<_> = events.iter().filter(|it| it.stream == stream).map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["signin.requested.v2", "signin.method-chosen.v1", "signin.failed.v1"], "{why}");
    let beyond = |name: &str| name.starts_with("account.") || name.starts_with("connection.");
    assert!(!events.iter().any(|it| beyond(&it.name)), "{why}");
    let shown = world.api.sign_in(&link.id).await;
    assert_eq!((&shown["status"], &shown["failure"]), (&Value::from("open"), &Value::from(why)));
    assert!(!world.has_tokens(&link.id).await, "{why}");
}

#[tokio::test]
async fn an_id_token_that_is_not_good_in_any_way_is_refused() {
    let world = World::start().await;
    for flaw in [
        Flaw::WrongNonce,
        Flaw::WrongAudience,
        Flaw::WrongIssuer,
        Flaw::WrongKey,
        Flaw::ForeignKey,
        Flaw::UnknownKey,
        Flaw::Expired,
        Flaw::NoIdToken,
    ] {
        world.microsoft.flaw(flaw);
        let page = fails(&world, ADA, "id_token_invalid").await;
        assert!(page.contains("Microsoft's answer was not good"), "{flaw:?}");
    }
}

#[tokio::test]
async fn without_a_refresh_token_there_is_no_sign_in() {
    let world = World::start().await;
    world.microsoft.flaw(Flaw::NoRefreshToken);
    assert!(fails(&world, ADA, "no_refresh_token").await.contains("no lasting permission"));
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_no_answers() {
    let world = World::start().await;
    for form in [Garbage::Html, Garbage::Truncated, Garbage::Empty] {
        world.microsoft.fault("token.code", Kind::Garbage { form });
        fails(&world, ADA, "provider_unavailable").await;
    }
    for fault in [Kind::Reset, Kind::AcceptThenReset, Kind::Status { status: 503, retry_after_seconds: None }]
    {
        world.microsoft.fault("token.code", fault);
        let page = fails(&world, ADA, "provider_unavailable").await;
        assert!(page.contains("could not be reached"));
    }
}

#[tokio::test]
async fn a_microsoft_that_hangs_does_not_keep_the_person_waiting_for_ever() {
    let quick = [("OUTBOUND__REQUEST_TIMEOUT_MS", "500"), ("OUTBOUND__CONNECT_TIMEOUT_MS", "400")];
    let world = World::with(&quick).await;
    world.microsoft.fault("jwks", Kind::Hang);
    fails(&world, ADA, "provider_unavailable").await;
    assert_eq!(world.microsoft.count("token.code"), 0, "no code is spent before its ID token can be checked");
    world.microsoft.fault("token.code", Kind::Hang);
    fails(&world, ADA, "provider_unavailable").await;
}

#[tokio::test]
async fn what_entra_refuses_is_told_in_words_that_help() {
    let world = World::start().await;
    for (aadsts, why, words) in [
        (65001, "consent_required", "agree first"),
        (90094, "admin_consent_required", "administrator"),
        (53003, "refused", "not good"),
        (50076, "refused", "not good"),
        (54005, "refused", "not good"),
        (7_000_222, "misconfigured", "wrong on our side"),
        (7_000_215, "misconfigured", "wrong on our side"),
        (90033, "provider_unavailable", "could not be reached"),
    ] {
        world.microsoft.deny("token.code", aadsts);
        let page = fails(&world, ADA, why).await;
        assert!(page.contains(words), "{aadsts}: {page}");
        assert!(!page.contains("AADSTS") && !page.contains(&aadsts.to_string()), "{page}");
    }
}

#[tokio::test]
async fn a_person_who_cancels_can_try_again_by_the_same_link() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", Some(world.person(ADA))).await;
    let mut browser = Browser::new();
    let authorize = browser.press(&link.url).await;
    let callback = browser.at_microsoft(&authorize, &[("person", ADA), ("consent", "cancel")]).await;
    let page = browser.get(&callback).await;
    assert!(page.text.contains("You cancelled at Microsoft"), "{}", page.text);
    nothing_came_of(&world, &link, "declined").await;
    assert_eq!(browser.sign_in(&link.url, ADA).await.title(), "You are connected");
}

#[tokio::test]
async fn where_an_administrator_must_approve_the_person_is_told_so() {
    let world = World::start().await;
    let change = PersonChange { admin_consent_required: Some(true), ..PersonChange::default() };
    world.microsoft.change(ADA, change);
    let link = world.api.invite("u-1001", None).await;
    let mut browser = Browser::new();
    let authorize = browser.press(&link.url).await;
    let callback = browser.at_microsoft(&authorize, &[("person", ADA), ("consent", "request")]).await;
    let page = browser.get(&callback).await;
    assert!(page.text.contains("administrator to approve"), "{}", page.text);
    nothing_came_of(&world, &link, "admin_consent_required").await;
}

#[tokio::test]
async fn another_person_than_expected_is_not_linked() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", Some(world.person(ADA))).await;
    let page = Browser::new().sign_in(&link.url, BRUNO).await;
    assert!(page.text.contains("another account than the one this link was made for"), "{}", page.text);
    nothing_came_of(&world, &link, "wrong_person").await;
}

#[tokio::test]
async fn a_personal_account_is_turned_away_by_entra_itself() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let mut browser = Browser::new();
    let authorize = browser.press(&link.url).await;
    let form = [("person", GWEN), ("consent", "accept")];
    let answer = crate::harness::browser::http().post(authorize).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn only_people_of_admitted_tenants_are_let_in() {
    let world = World::with(&[("SIGN_IN__TENANTS", "listed")]).await;
    let page = fails(&world, ADA, "tenant_not_admitted").await;
    assert!(page.contains("has not been admitted"), "{page}");
    let tenant = |upn: &str, what: &str| {
        let path = format!("/v1/tenants/{}/{what}", world.person(upn).tenant);
        answer(world.api.request(reqwest::Method::POST, &path))
    };
    assert_eq!(tenant(ADA, "admit").await.status, 202);
    fails(&world, EMEKA, "tenant_not_admitted").await;
    world.link("u-1", ADA).await;
}

#[tokio::test]
async fn people_of_a_blocked_tenant_are_not_let_in_though_others_are() {
    let world = World::start().await;
    let path = format!("/v1/tenants/{}/block", world.person(EMEKA).tenant);
    assert_eq!(answer(world.api.request(reqwest::Method::POST, &path)).await.status, 202);
    fails(&world, EMEKA, "tenant_not_admitted").await;
    world.link("u-1", ADA).await;
}
