//! Sign-ins that are used in another way than they should be, and come to nothing or to one thing.

use microsoft_simulator::Kind;

use crate::harness::{
    World,
    api::{drawn, wish},
    browser::{Browser, query, with_query},
    microsoft::{ADA, BRUNO, CHIARA, HOUR},
};

#[tokio::test]
async fn opening_a_link_changes_nothing_however_often() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let before = world.events().await.len();
    let mut browser = Browser::new();
    for _ in 0..5 {
        assert_eq!(browser.get(&link.url).await.status, 200);
        assert_eq!(browser.head(&link.url).await.status, 200);
        // A previewer brings no cookie, and so gets another one each time.
        assert_eq!(Browser::new().get(&link.url).await.status, 200);
    }
    assert_eq!(world.events().await.len(), before);
    assert_eq!(browser.sign_in(&link.url, ADA).await.status, 303);
}

#[tokio::test]
async fn a_link_that_is_not_ours_leads_nowhere() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let (id, secret) = link.url.rsplit_once('.').unwrap();
    let other = world.api.invite("u-1002", None).await;
    let (_, foreign) = other.url.rsplit_once('.').unwrap();
    for wrong in [
        format!("{id}.{}", &secret[1..]),
        format!("{id}.{foreign}"),
        id.to_owned(),
        format!("{}/sign-in/x", world.url),
    ] {
        let page = Browser::new().get(&wrong).await;
        assert_eq!((page.status, page.title().as_str()), (404, "This link does not work"), "{wrong}");
    }
}

#[tokio::test]
async fn a_link_lapses() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let mut browser = Browser::new();
    let callback = browser.callback(&link.url, ADA).await;
    world.advance(HOUR);
    for page in [browser.get(&callback).await, browser.get(&link.url).await] {
        assert_eq!((page.status, page.title().as_str()), (410, "This link is too old"));
    }
    let events = world.until_recorded("signin.lapsed.v1", 1).await;
    assert!(!events.iter().any(|event| event.name == "signin.authorized.v1"));
    assert_eq!(world.microsoft.count("token.code"), 0, "the code of a lapsed link is not redeemed");
    assert_eq!(world.api.sign_in(&link.id).await["status"], "lapsed");
}

#[tokio::test]
async fn what_was_brought_but_not_confirmed_in_time_is_destroyed() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let page = Browser::new().sign_in(&link.url, ADA).await;
    assert!(world.has_tokens(&link.id).await);
    world.advance(HOUR);
    world.until_recorded("signin.lapsed.v1", 1).await;
    let refusal = world.api.confirm(&link.id, &page.code()).await;
    refusal.is_problem(409, "conflict");
    world.until_no_tokens(&link.id).await;
}

#[tokio::test]
async fn a_link_belongs_to_the_browser_that_used_it_first() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let (mut first, mut second) = (Browser::new(), Browser::new());
    second.get(&link.url).await;
    let csrf = second.get(&link.url).await.csrf().unwrap();
    let callback = first.callback(&link.url, ADA).await;

    let shown = second.get(&link.url).await;
    assert_eq!((shown.status, shown.title().as_str()), (403, "This link is used in another browser"));
    let pressed = second.press_with(&link.url, &csrf, &[]).await;
    assert_eq!(pressed.title(), "This link is used in another browser");
    assert_eq!(second.get(&callback).await.title(), "This link is used in another browser");
    assert_eq!(Browser::new().get(&callback).await.title(), "Please start again");
    assert_eq!(world.microsoft.count("token.code"), 0);
    assert_eq!(first.get(&callback).await.status, 303, "the first one is not disturbed");
}

#[tokio::test]
async fn a_button_that_was_not_shown_to_this_browser_does_nothing() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let before = world.events().await.len();
    let mut browser = Browser::new();
    let csrf = browser.get(&link.url).await.csrf().unwrap();
    let foreign = Browser::new().get(&link.url).await.csrf().unwrap();
    let origin: &[(&str, &str)] = &[("origin", "https://elsewhere.example")];
    let site: &[(&str, &str)] = &[("sec-fetch-site", "cross-site")];
    for (csrf, headers) in [(&foreign, [].as_slice()), (&String::new(), &[]), (&csrf, origin), (&csrf, site)]
    {
        let page = browser.press_with(&link.url, csrf, headers).await;
        assert_eq!((page.status, page.title().as_str()), (403, "Please start again"));
    }
    let without = Browser::new().press_with(&link.url, &csrf, &[]).await;
    assert_eq!((without.status, without.title().as_str()), (403, "Please start again"));
    assert_eq!(world.events().await.len(), before);
}

#[tokio::test]
async fn a_state_that_is_not_ours_is_not_looked_at() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let mut browser = Browser::new();
    let callback = browser.callback(&link.url, ADA).await;
    let before = world.events().await.len();
    let state = query(&callback, "state").unwrap();
    let other = world.api.invite("u-1002", None).await;
    let foreign = state.replacen(&link.id, &other.id, 1);
    for wrong in [foreign, state[..state.len() - 1].to_owned(), String::new(), "x.1.y".to_owned()] {
        let page = browser.get(&with_query(&callback, "state", &wrong)).await;
        assert_eq!((page.status, page.title().as_str()), (404, "This link does not work"), "{wrong}");
    }
    assert_eq!(world.events().await.len(), before + 1, "nothing but the other invitation");
    assert_eq!(world.microsoft.count("token.code"), 0);
}

#[tokio::test]
async fn an_answer_that_comes_again_changes_nothing() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", Some(world.person(ADA))).await;
    let mut browser = Browser::new();
    let callback = browser.callback(&link.url, ADA).await;
    assert_eq!(browser.get(&callback).await.title(), "You are connected");
    let before = world.events().await.len();
    assert_eq!(browser.get(&callback).await.title(), "You are connected");
    assert_eq!(browser.get(&link.url).await.title(), "You are connected");
    assert_eq!(world.events().await.len(), before);
    assert_eq!(world.microsoft.count("token.code"), 1, "a code is redeemed once");
}

#[tokio::test]
async fn an_answer_that_comes_twice_at_once_links_once() {
    let world = World::start().await;
    for round in 0..5 {
        let link = world.api.invite(&format!("u-{round}"), Some(world.person(ADA))).await;
        let mut browser = Browser::new();
        let callback = browser.callback(&link.url, ADA).await;
        let mut twin = browser.clone();
        let (one, other) = tokio::join!(browser.get(&callback), twin.get(&callback));
        let connected = [&one, &other].iter().filter(|page| page.title() == "You are connected").count();
        assert!(connected >= 1, "{} and {}", one.text, other.text);
        assert_eq!(world.api.sign_in(&link.id).await["status"], "completed");
        assert_eq!(world.recorded("connection.linked.v1").await, round + 1);
        assert_eq!(world.recorded("account.linked.v1").await, round + 1);
    }
    world.deliver("u-0", "Once").await;
}

#[tokio::test]
async fn an_answer_to_an_older_attempt_is_not_taken() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    let mut browser = Browser::new();
    let older = browser.callback(&link.url, ADA).await;
    let newer = browser.callback(&link.url, ADA).await;
    let page = browser.get(&older).await;
    assert_eq!((page.status, page.title().as_str()), (409, "Please start again"));
    assert_eq!(browser.get(&newer).await.status, 303);
}

#[tokio::test]
async fn only_the_right_code_from_the_right_client_confirms() {
    let world = World::start().await;
    let link = world.api.invite("u-1001", None).await;
    world.api.confirm(&link.id, "early").await.is_problem(409, "conflict");
    let code = Browser::new().sign_in(&link.url, ADA).await.code();
    world.api.confirm(&link.id, "wrong").await.is_problem(403, "forbidden");
    let other = world.client("other", domain::client::Role::Service).await;
    other.confirm(&link.id, &code).await.is_problem(404, "not-found");
    other.get(&format!("/v1/sign-ins/{}", link.id)).await.is_problem(404, "not-found");
    assert_eq!(world.recorded("connection.linked.v1").await, 0);
    assert_eq!(world.api.confirm(&link.id, &code).await.status, 204);
}

#[tokio::test]
async fn confirming_again_after_a_newer_sign_in_takes_nothing_from_it() {
    let mut world = World::start().await;
    let older = world.api.invite("u-1", None).await;
    let code = Browser::new().sign_in(&older.url, ADA).await.code();
    assert_eq!(world.api.confirm(&older.id, &code).await.status, 204);
    world.link("u-2", ADA).await;
    assert_eq!(world.api.confirm(&older.id, &code).await.status, 204);
    world.restart(&[]).await;
    world.deliver("u-1", "Hello").await;
    assert!(!world.has_tokens(&older.id).await, "the older grant is of no use any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_signs_in_is_told_so_and_has_one_key_whoever_finishes_first() {
    let world = World::start().await;
    for number in 1..=8 {
        let upn = format!("person-{number:05}@contoso.example");
        world.link(&format!("u-{number}"), &upn).await;
    }
    let events = world.events().await;
    for linked in events.iter().filter(|event| event.name == "connection.linked.v1") {
        let accounts = events.iter().filter(|event| event.name == "account.linked.v1");
        let account = accounts.clone().find(|it| it.data["person"] == linked.data["person"]).unwrap();
        assert_eq!(account.data["account"]["key"], linked.data["profile"]["key"]);
    }
}

#[tokio::test]
async fn an_account_is_one_person_until_it_is_unlinked() {
    let world = World::start().await;
    world.link("u-1001", ADA).await;
    let link = world.api.invite("u-1001", Some(world.person(BRUNO))).await;
    let page = Browser::new().sign_in(&link.url, BRUNO).await;
    assert!(page.text.contains("connected to somebody else"), "{}", page.text);
    assert_eq!(world.api.sign_in(&link.id).await["status"], "refused");
    assert!(!world.has_tokens(&link.id).await);
    assert_eq!(world.recorded("connection.linked.v1").await, 1);

    let unlink = world.api.request(reqwest::Method::POST, "/v1/accounts/u-1001/unlink");
    assert_eq!(crate::harness::api::answer(unlink).await.status, 202);
    world.link("u-1001", BRUNO).await;
    world.deliver("u-1001", "Hello, Bruno.").await;
    assert_eq!(world.microsoft.texts(BRUNO), ["Hello, Bruno."]);
}

#[tokio::test]
async fn an_email_that_the_id_token_lacks_is_no_obstacle() {
    let world = World::start().await;
    world.link("u-1003", CHIARA).await;
    // Nor is a directory that does not answer.
    world
        .microsoft
        .change(BRUNO, microsoft_simulator::control::PersonChange { mail: Some(None), ..Default::default() });
    world.microsoft.fault("graph.me", Kind::Status { status: 503, retry_after_seconds: None });
    world.link("u-1002", BRUNO).await;
    assert_eq!(world.recorded("connection.linked.v1").await, 2);
}

#[tokio::test]
async fn the_same_request_brings_the_same_link_and_another_one_under_its_key_is_refused() {
    let world = World::start().await;
    let key = drawn();
    let first = world.api.post("/v1/sign-ins", &key, &wish("u-1001", None)).await;
    let again = world.api.post("/v1/sign-ins", &key, &wish("u-1001", None)).await;
    assert_eq!((first.status, &first.body["url"]), (again.status, &again.body["url"]));
    let other = world.api.post("/v1/sign-ins", &key, &wish("u-1002", None)).await;
    other.is_problem(422, "idempotency-key-reused");
    assert_eq!(world.recorded("signin.requested.v2").await, 1);
}
