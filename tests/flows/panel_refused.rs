//! Panels that are used in another way than they should be: links passed on, codes guessed, products that fail or lie.

use std::time::Duration;

use chancery::services::sign_ins::CodeTried;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{
    World,
    browser::{Browser, query, with_query},
    log::count,
    microsoft::{ADA, BRUNO, DAY, HOUR},
    panel::{Endpoint, PASSWORD},
};

#[tokio::test]
async fn who_is_not_the_one_that_typed_login_is_refused_at_microsoft_and_both_are_on_record() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let page = Browser::new().sign_in(link.url.as_str(), BRUNO).await;
    assert_eq!(page.title(), "You are not connected yet");
    let events = world.events().await;
    let failed = events.iter().find(|event| event.name == "signin.failed.v1").unwrap();
    let requested = events.iter().find(|event| event.name == "signin.requested.v2").unwrap();
    let of = |person| serde_json::to_value(person).unwrap();
    assert_eq!(
        (&failed.data["why"], &failed.data["came"]),
        (&Value::from("wrong_person"), &of(world.person(BRUNO)))
    );
    assert_eq!(requested.data["by"]["person"], of(world.person(ADA)));
    assert!(!events.iter().any(|event| event.name == "connection.linked.v1"));
}

#[tokio::test]
async fn a_password_typed_at_a_link_that_was_passed_on_gives_nobody_the_account() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let page = Browser::new().type_password(link.url.as_str(), "bruno", PASSWORD).await;
    let code = page.typed_code().unwrap();
    // Bruno sees Ada's name, and types the code, if at all, in his own chat.
    assert!(page.text.contains("Only if you typed login as Name of ada@"));
    assert_eq!(world.type_code(BRUNO, &code).await, CodeTried::NothingOpen);
    world.advance(HOUR);
    assert_eq!(world.type_code(ADA, &code).await, CodeTried::Void);
    assert_eq!(world.recorded("account.linked.v1").await, 0);
}

#[tokio::test]
async fn of_two_who_race_for_one_link_the_first_browser_goes_on() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let url = link.url.as_str();
    let (mut one, mut other) = (Browser::new(), Browser::new());
    // Both have the panel before either of them presses.
    let tokens = [one.get(url).await.csrf().unwrap(), other.get(url).await.csrf().unwrap()];
    let form = |name, token| [("name", name), ("password", PASSWORD), ("csrf", token)];
    let (to, forms) = (format!("{url}/password"), [form("ada", &*tokens[0]), form("bruno", &*tokens[1])]);
    let (first, second) = tokio::join!(one.post(&to, &forms[0]), other.post(&to, &forms[1]));
    let (won, lost) = if first.status == 303 { (&mut one, second) } else { (&mut other, first) };
    assert_eq!((lost.status, lost.title().as_str()), (403, "This link is used in another browser"));
    assert!(won.get(url).await.typed_code().is_some());
}

#[tokio::test]
async fn a_form_that_was_not_shown_to_this_browser_does_nothing() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let url = format!("{}/password", link.url);
    let before = world.events().await.len();
    let foreign = Browser::new().get(link.url.as_str()).await.csrf().unwrap();
    let mut browser = Browser::new();
    let own = browser.get(link.url.as_str()).await.csrf().unwrap();
    let typed = [("name", "ada"), ("password", PASSWORD)];
    for token in [foreign.as_str(), "", &own[1..]] {
        let page = browser.post(&url, &[typed.as_slice(), &[("csrf", token)]].concat()).await;
        assert_eq!((page.status, page.title().as_str()), (403, "Please start again"));
    }
    assert_eq!(browser.post(&url, &typed).await.status, 403);
    assert_eq!(world.events().await.len(), before);
}

#[tokio::test]
async fn a_new_login_calls_the_former_off_and_the_same_one_again_does_not() {
    let world = World::with_passwords(&[]).await;
    let activity = Uuid::from_u128(7);
    let former = world.login_by(ADA, activity).await;
    assert_eq!(world.login_by(ADA, activity).await.url, former.url, "brought again, it is the same link");
    let mut browser = Browser::new();
    let code = browser.type_password(former.url.as_str(), "ada", PASSWORD).await.typed_code().unwrap();
    let newer = world.login(ADA).await;
    assert_eq!(browser.get(former.url.as_str()).await.title(), "This link does not count any more");
    assert_eq!(world.type_code(ADA, &code).await, CodeTried::NothingOpen);
    assert_eq!(browser.sign_in(newer.url.as_str(), ADA).await.title(), "You are connected");
}

#[tokio::test]
async fn five_wrong_codes_call_it_off() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let mut browser = Browser::new();
    let code = browser.type_password(link.url.as_str(), "ada", PASSWORD).await.typed_code().unwrap();
    for left in [4, 3, 2, 1] {
        assert_eq!(world.type_code(ADA, "00000000").await, CodeTried::Wrong { left });
    }
    assert_eq!(world.type_code(ADA, "00000000").await, CodeTried::Void);
    assert_eq!(world.type_code(ADA, &code).await, CodeTried::Void);
    assert_eq!(browser.get(link.url.as_str()).await.title(), "This link does not count any more");
}

#[tokio::test]
async fn the_code_of_an_attempt_that_another_overtook_is_void() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let url = link.url.as_str();
    let mut browser = Browser::new();
    let token = browser.get(url).await.csrf().unwrap();
    let code = browser.type_password(url, "ada", PASSWORD).await.typed_code().unwrap();
    // Another window of the same browser still shows the panel.
    assert_eq!(browser.press_with(url, &token, &[]).await.status, 303);
    assert_eq!(world.type_code(ADA, &code).await, CodeTried::Void);
    assert_eq!(world.recorded("account.linked.v1").await, 0);
}

#[tokio::test]
async fn a_thousand_guesses_are_five_and_the_right_password_is_let_in_when_the_stretch_is_over() {
    let world = World::with_passwords(&[("SIGN_IN__LINK_LIFE_MINUTES", "60")]).await;
    let link = world.login(ADA).await;
    let url = link.url.as_str();
    let mut browser = Browser::new();
    let token = browser.get(url).await.csrf().unwrap();
    let before = world.events().await.len();
    for guess in 0..1000 {
        let password = format!("guess-{guess}");
        let form = [("csrf", token.as_str()), ("name", "ada"), ("password", &password)];
        let page = browser.post(&format!("{url}/password"), &form).await;
        assert_eq!(page.status, if guess < 5 { 200 } else { 429 }, "guess {guess}: {}", page.text);
    }
    assert_eq!(world.recorded("attempts.made.v1").await, 10, "five by the person, and five for the account");
    assert_eq!(world.events().await.len(), before + 5 * 4, "what is refused leaves no trace in the log");
    let page = browser.type_password(url, "ada", PASSWORD).await;
    assert_eq!(page.status, 429, "the right one is a guess like any other: {}", page.text);

    world.advance(Duration::from_mins(15));
    assert!(browser.type_password(url, "ada", PASSWORD).await.typed_code().is_some());
}

#[tokio::test]
async fn a_guess_counts_for_as_long_as_a_stretch_whenever_that_begins() {
    let world = World::with_passwords(&[("SIGN_IN__LINK_LIFE_MINUTES", "60")]).await;
    let link = world.login(ADA).await;
    let (url, mut browser) = (link.url.as_str(), Browser::new());
    // A minute before the border between two stretches of a quarter of an hour.
    let now_us = u64::try_from(world.hub().clock.now().as_micros()).unwrap();
    world.advance(Duration::from_micros(900_000_000 - now_us % 900_000_000) + Duration::from_mins(14));
    for _ in 0..5 {
        assert_eq!(browser.type_password(url, "ada", "wrong").await.status, 200);
    }
    world.advance(Duration::from_mins(2));
    assert_eq!(browser.type_password(url, "ada", PASSWORD).await.status, 429, "another stretch has begun");
    world.advance(Duration::from_mins(13));
    assert!(browser.type_password(url, "ada", PASSWORD).await.typed_code().is_some());
}

#[tokio::test]
async fn a_product_that_was_not_reached_costs_no_try_and_one_that_was_silent_does() {
    let endpoint = Endpoint::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}/");
    for (url, status, answer, counted) in [
        (&nobody, 200, "", false),
        (&endpoint.url, 503, "", false),
        (&endpoint.url, 200, r#"{"result":"unavailable"}"#, false),
        (&endpoint.url, 200, "silence", true),
        (&endpoint.url, 500, "", true),
    ] {
        endpoint.answers(status, answer);
        let world = World::with(&[
            ("PASSWORD__KIND", "endpoint"),
            ("PASSWORD__ENDPOINT_URL", url),
            ("PASSWORD__ENDPOINT_SECRET", "shared"),
            ("PASSWORD__TRIES_PER_PERSON", "2"),
            ("PRODUCT__TIMEOUT_MS", "200"),
        ])
        .await;
        let link = world.login(ADA).await;
        let mut browser = Browser::new();
        let mut taken = 0;
        while browser.type_password(link.url.as_str(), "ada", "pw").await.status == 200 {
            taken += 1;
        }
        assert_eq!(taken, if counted { 2 } else { 4 }, "{url} {status} {answer}");
        assert_eq!(
            world.recorded("attempts.made.v1").await,
            taken * 2,
            "each was recorded before it was asked"
        );
    }
}

#[tokio::test]
async fn guesses_at_one_account_are_counted_whoever_makes_them_and_after_a_restart() {
    let mut world = World::with_passwords(&[("PASSWORD__TRIES_PER_ACCOUNT", "3")]).await;
    for upn in [ADA, BRUNO] {
        let link = world.login(upn).await;
        Browser::new().type_password(link.url.as_str(), "ada", "wrong").await;
        if upn == ADA {
            world.restart(&[]).await;
        }
    }
    let link = world.login(BRUNO).await;
    let mut browser = Browser::new();
    assert_eq!(browser.type_password(link.url.as_str(), " ADA ", "wrong").await.status, 200);
    assert_eq!(browser.type_password(link.url.as_str(), "ada", PASSWORD).await.status, 429);
    let page = browser.type_password(link.url.as_str(), "bruno", PASSWORD).await;
    assert!(page.typed_code().is_some(), "another account is open: {}", page.text);
}

#[tokio::test]
async fn guesses_from_one_address_are_counted_where_proxies_that_are_believed_tell_it_and_only_there() {
    let limits = [("PASSWORD__TRIES_PER_ADDRESS", "3"), ("PASSWORD__TRIES_PER_PERSON", "100")];
    for proxies in ["", "127.0.0.1, ::1"] {
        let settings = [&limits[..], &[("SERVER__TRUSTED_PROXIES", proxies)]].concat();
        let world = World::with_passwords(&settings).await;
        let link = world.login(ADA).await;
        let mut browser = Browser::new();
        let mut guesses = 0;
        let mut guess = async |from: &'static str| {
            guesses += 1;
            browser.forwarded_for = Some(from);
            let name = format!("somebody-{guesses}");
            let form = [("name", name.as_str()), ("password", "guess")];
            browser.submit(link.url.as_str(), "password", &form).await.status
        };
        for from in ["203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.7:4711"] {
            assert_eq!(guess(from).await, 200, "{from}");
        }
        let limited = if proxies.is_empty() { 200 } else { 429 };
        // What stands before it anybody could have written there.
        for from in ["203.0.113.7", "203.0.113.8, 203.0.113.7", "203.0.113.7, 127.0.0.1"] {
            assert_eq!(guess(from).await, limited, "{from}");
        }
        assert_eq!(guess("203.0.113.8").await, 200, "another address");
        for from in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"] {
            assert_eq!(guess(from).await, 200, "{from}");
        }
        assert_eq!(guess("2001:db8:0:1::4").await, limited, "one customer's network is one address");
        assert_eq!(guess("2001:db8:0:2::1").await, 200, "another network");
    }
}

#[tokio::test]
async fn a_product_that_is_down_slow_or_lies_lets_nobody_in() {
    let endpoint = Endpoint::start().await;
    let world = World::with(&[
        ("PASSWORD__KIND", "endpoint"),
        ("PASSWORD__ENDPOINT_URL", &endpoint.url),
        ("PASSWORD__ENDPOINT_SECRET", "shared"),
        ("PASSWORD__TRIES_PER_PERSON", "100"),
        ("PRODUCT__TIMEOUT_MS", "200"),
    ])
    .await;
    let url = world.login(ADA).await.url;
    let mut browser = Browser::new();
    let long = format!(r#"{{"result":"ok","account":"u-1","display_name":"{}"}}"#, "x".repeat(20_000));
    for (status, answer) in [
        (500, ""),
        (302, r#"{"result":"ok","account":"u-1"}"#),
        (201, r#"{"result":"ok","account":"u-1"}"#),
        (200, "silence"),
        (200, "<html>"),
        (200, r#"{"result":"ok"}"#),
        (200, r#"{"result":"ok","account":""}"#),
        (200, r#"{"result":"yes","account":"u-1"}"#),
        (200, r#"{"result":"unavailable"}"#),
        (200, &long),
    ] {
        endpoint.answers(status, answer);
        let page = browser.type_password(url.as_str(), "ada", "secret-pw").await;
        assert!(page.text.contains("could not be checked"), "{status} {answer}: {}", page.text);
    }
    endpoint.answers(200, r#"{"result":"wrong"}"#);
    let page = browser.type_password(url.as_str(), "ada", "secret-pw").await;
    assert!(page.text.contains("user name or the password is wrong"), "{}", page.text);
    let events = world.events().await;
    assert_eq!((count(&events, "signin.provisional.v1"), count(&events, "account.linked.v1")), (0, 0));
    for event in events {
        let text = event.data.to_string();
        assert!(!text.contains("secret-pw") && !text.contains("\"ada\""), "{text}");
    }
    assert!(!std::fs::read_to_string(crate::harness::log_file()).unwrap().contains("secret-pw"));
}

#[tokio::test]
async fn a_product_that_is_down_slow_or_lies_about_an_account_links_nobody_and_the_next_try_does() {
    let endpoint = Endpoint::start().await;
    let world = World::with(&[
        ("PRODUCT__ACCOUNT_URL", &endpoint.url),
        ("PRODUCT__SECRET", "shared"),
        ("PRODUCT__TIMEOUT_MS", "200"),
    ])
    .await;
    let url = world.login(ADA).await.url;
    let mut browser = Browser::new();
    let long = format!(r#"{{"account":"u-1","found_by":"person","more":"{}"}}"#, "x".repeat(20_000));
    for (status, answer) in [
        (500, ""),
        (503, ""),
        (302, r#"{"account":"u-1","found_by":"person"}"#),
        (201, r#"{"account":"u-1","found_by":"person"}"#),
        (200, "silence"),
        (200, "<html>"),
        (200, r#"{"account":"","found_by":"person"}"#),
        (200, r#"{"account":7,"found_by":"person"}"#),
        (200, r#"{"account":"u-1","found_by":"guess"}"#),
        (200, &long),
    ] {
        endpoint.answers(status, answer);
        let page = browser.sign_in(url.as_str(), ADA).await;
        assert_eq!(page.title(), "You are not connected yet", "{status} {answer}: {}", page.text);
    }
    let events = world.events().await;
    for name in ["account.linked.v1", "connection.linked.v1", "connection.token-issued.v1"] {
        assert_eq!(count(&events, name), 0, "{name}");
    }
    endpoint.answers(200, r#"{"account":"u-1","found_by":"person"}"#);
    assert_eq!(browser.sign_in(url.as_str(), ADA).await.title(), "You are connected");
    world.until_recorded("account.linked.v1", 1).await;
}

#[tokio::test]
async fn where_passwords_are_off_the_panel_has_none_and_takes_none() {
    let world = World::start().await;
    let url = world.login(ADA).await.url;
    let mut browser = Browser::new();
    assert!(!browser.get(url.as_str()).await.text.contains("Password"));
    let page = browser.submit(url.as_str(), "password", &[("name", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(page.status, 404, "{}", page.text);
}

#[tokio::test]
async fn word_of_consent_that_nobody_asked_for_is_not_taken() {
    let world = World::with_passwords(&[]).await;
    let panel = Browser::new().get(world.login(ADA).await.url.as_str()).await;
    let consent = format!("{}{}", world.url, panel.consent_link());
    for wrong in [
        format!("{consent}x"),
        consent.replacen("/consent/", "/consent/0", 1),
        format!("{}/consent/x", world.url),
    ] {
        assert_eq!(Browser::new().get(&wrong).await.status, 404, "{wrong}");
    }
    let mut admin = Browser::new();
    let token = admin.get(&consent).await.csrf().unwrap();
    assert_eq!(Browser::new().post(&consent, &[("csrf", &token)]).await.status, 403, "of another browser");
    let asked = admin.post(&consent, &[("csrf", &token)]).await.location.unwrap();
    let back = admin.at_microsoft(&asked, &[("consent", "accept")]).await;
    let state = query(&back, "state").unwrap();
    let foreign = state.replacen(&world.person(ADA).tenant.to_string(), &Uuid::from_u128(5).to_string(), 1);
    for wrong in [foreign, format!("{state}x"), "consent.x".to_owned()] {
        let page = admin.get(&with_query(&back, "state", &wrong)).await;
        assert_eq!((page.status, page.title().as_str()), (404, "This link does not work"), "{wrong}");
    }
    assert_eq!(Browser::new().get(&back).await.title(), "Please start again", "of another browser");
    let mut another = Browser::new();
    another.get(&consent).await;
    assert_eq!(another.get(&back).await.status, 404, "the state is bound to the browser that pressed");
    world.advance(HOUR);
    assert_eq!(admin.get(&back).await.status, 410, "a state is good for ten minutes");
    assert_eq!(world.recorded("tenant.consent-reported.v1").await, 0);
    world.advance(DAY * 31);
    let late = admin.get(&consent).await;
    assert_eq!((late.status, late.title().as_str()), (410, "That took too long"));
    assert!(late.text.contains("good for 30 days"), "{}", late.text);
}
