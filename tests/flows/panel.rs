//! The login panel: who types `login` to the bot, and the ways in from there.

use chancery::services::sign_ins::CodeTried;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    World,
    browser::Browser,
    microsoft::{ADA, BRUNO, EMEKA},
    panel::{Endpoint, PASSWORD},
    teams::card,
};

#[tokio::test]
async fn the_panel_names_the_person_and_offers_both_ways_and_looking_changes_nothing() {
    let world = World::with_passwords(&[("PRODUCT__NAME", "Goals")]).await;
    let link = world.login(ADA).await;
    let before = world.events().await.len();
    let page = Browser::new().get(link.url.as_str()).await;
    for text in
        ["Name of ada@", &world.person(ADA).tenant.to_string(), "Sign in with Office 365", "Goals password"]
    {
        assert!(page.text.contains(text), "{text} in {}", page.text);
    }
    assert!(page.text.contains("/consent/"), "an administrator's approval is always offered");
    assert_eq!(world.events().await.len(), before);
}

#[tokio::test]
async fn the_panel_and_the_code_name_the_organisation_where_an_operator_did() {
    let world = World::with_passwords(&[]).await;
    let tenant = world.person(ADA).tenant;
    let admit = format!("/v1/tenants/{tenant}/admit");
    assert_eq!(world.api.post(&admit, "name", &json!({ "name": "<i>Goals & Co" })).await.status, 202);
    let link = world.login(ADA).await;
    let mut browser = Browser::new();
    let panel = browser.get(link.url.as_str()).await;
    let code = browser.type_password(link.url.as_str(), "ada", PASSWORD).await;
    for page in [panel, code] {
        assert!(page.text.contains("Name of ada@contoso.example, &lt;i&gt;Goals &amp; Co"), "{}", page.text);
        assert!(page.text.contains(&tenant.to_string()), "{}", page.text);
    }
}

#[tokio::test]
async fn who_logs_out_is_connected_by_no_link_that_lies_about() {
    let world = World::with_passwords(&[]).await;
    world.listen();
    world.install(ADA).await;
    let used = world.login(ADA).await;
    let mut browser = Browser::new();
    assert_eq!(browser.sign_in(used.url.as_str(), ADA).await.title(), "You are connected");
    world.microsoft.until_heard(ADA, 1).await;
    assert_eq!(browser.get(used.url.as_str()).await.title(), "You are connected");

    assert_eq!(world.microsoft.say(ADA, "login").await, 200);
    let said = world.microsoft.until_heard(ADA, 2).await.remove(1);
    assert!(said.starts_with("You are connected already"), "{said}");
    let open = card(&world.microsoft.heard(ADA)[1])["actions"][0]["url"].as_str().unwrap().to_owned();
    assert!(browser.get(&open).await.text.contains("Sign in with Office 365"));
    assert_eq!(world.microsoft.say(ADA, "logout").await, 200);
    assert!(world.microsoft.until_heard(ADA, 3).await[2].contains("disconnected"));

    let page = browser.get(used.url.as_str()).await;
    assert_eq!((page.status, page.title().as_str()), (410, "This link was used"));
    let page = browser.get(&open).await;
    assert_eq!((page.status, page.title().as_str()), (410, "This link does not count any more"));
    let voided = world.events().await.into_iter().find(|event| event.name == "signin.voided.v1").unwrap();
    assert_eq!(voided.data["why"], "logout");
}

#[tokio::test]
async fn pages_speak_the_language_of_the_persons_teams_or_else_of_the_browser() {
    let world =
        World::with_passwords(&[("PASSWORD__STRETCH_MINUTES", "7"), ("SIGN_IN__LINK_LIFE_MINUTES", "9")])
            .await;
    let mut browser = Browser::reading("en-GB,en;q=0.9");
    let link = world.login_in(Some("de-AT"), ADA, Uuid::from_u128(1)).await;
    let url = link.url.as_str();
    let panel = browser.get(url).await;
    for text in
        ["<html lang=\"de\">", "Mit Office 365 anmelden", "meine Organisation muss genehmigen", "30 Tage"]
    {
        assert!(panel.text.contains(text), "{text} in {}", panel.text);
    }
    for _ in 0..5 {
        let page = browser.type_password(url, "ada", "wrong").await;
        assert!(page.text.contains("oder das Passwort ist falsch"), "{}", page.text);
    }
    let page = browser.type_password(url, "ada", "wrong").await;
    assert_eq!((page.status, page.title().as_str()), (429, "Zu viele Passwörter versucht"));
    assert!(page.text.contains("warten Sie ab dem letzten 7 Minuten"), "{}", page.text);

    let english = world.login_in(Some("en-US"), BRUNO, Uuid::from_u128(2)).await;
    let mut german = Browser::reading("de");
    assert!(german.get(english.url.as_str()).await.text.contains("Sign in with Office 365"));
    let french = world.login_in(Some("fr-FR"), BRUNO, Uuid::from_u128(3)).await;
    let page = german.type_password(french.url.as_str(), "bruno", PASSWORD).await;
    assert_eq!(page.title(), "Noch ein Schritt", "{}", page.text);
    assert!(page.text.contains("Er gilt 9 Minuten") && page.text.contains("für 5 Versuche"), "{}", page.text);
    let consent = format!("{}{}", world.url, panel.consent_link());
    assert_eq!(german.get(&consent).await.title(), "Diese App für Ihre Organisation genehmigen");
    assert_eq!(german.get(&format!("{}/sign-in/x", world.url)).await.title(), "Dieser Link geht nicht");
}

#[tokio::test]
async fn office_365_links_the_person_with_tokens_and_without_an_account() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let page = Browser::new().sign_in(link.url.as_str(), ADA).await;
    assert_eq!(page.title(), "You are connected", "{}", page.text);
    let events = world.events().await;
    assert!(events.iter().any(|event| event.name == "connection.token-issued.v1"));
    assert!(!events.iter().any(|event| event.name == "account.linked.v1"));
}

#[tokio::test]
async fn a_password_counts_once_its_code_was_typed_in_the_same_chat_by_the_same_person() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let mut browser = Browser::new();
    let page = browser.type_password(link.url.as_str(), "Ada", PASSWORD).await;
    assert_eq!(page.title(), "One more step", "{}", page.text);
    assert!(page.text.contains("Only if you typed login as Name of ada@contoso.example"));
    let code = page.typed_code().unwrap();
    assert_eq!(world.recorded("account.linked.v1").await, 0, "nothing counts yet");

    assert_eq!(world.type_code(BRUNO, &code).await, CodeTried::NothingOpen);
    assert_eq!(world.type_code_in("a:another-chat", ADA, &code).await, CodeTried::NothingOpen);
    assert_eq!(world.type_code(ADA, "ZZZZ ZZZZ").await, CodeTried::Wrong { left: 4 });
    assert_eq!(world.type_code(ADA, &code.to_lowercase()).await, CodeTried::Linked);
    assert_eq!(world.type_code(ADA, &code).await, CodeTried::Linked, "said twice, done once");
    assert_eq!(browser.get(link.url.as_str()).await.title(), "You are connected");

    let events = world.events().await;
    let count = |name: &str| events.iter().filter(|event| event.name == name).count();
    assert_eq!((count("account.linked.v1"), count("connection.linked.v1")), (1, 1));
    assert_eq!(count("connection.token-issued.v1"), 0);
    let person = world.person(ADA);
    let path = format!("/v1/tenants/{}/connections/{}", person.tenant, person.object_id);
    let head = world.hub().position(world.hub().store.head().await.unwrap());
    let shown = world.api.get(&format!("{path}?after={head}")).await;
    assert_eq!(shown.body["status"], "linked", "{shown:?}");
}

#[tokio::test]
async fn the_tokens_of_who_signed_in_at_microsoft_stay_when_a_password_links_another_account() {
    let world = World::with_passwords(&[]).await;
    world.link("u-7", ADA).await;
    let link = world.login(ADA).await;
    let page = Browser::new().type_password(link.url.as_str(), "ada", PASSWORD).await;
    assert_eq!(world.type_code(ADA, &page.typed_code().unwrap()).await, CodeTried::Linked);
    world.deliver("u-7", "Still by Graph.").await;
    world.deliver("u-1001", "And so for the other account.").await;
}

#[tokio::test]
async fn the_product_checks_passwords_itself_and_may_want_a_second_factor() {
    let endpoint = Endpoint::start().await;
    let world = World::with(&[
        ("PASSWORD__KIND", "endpoint"),
        ("PASSWORD__ENDPOINT_URL", &endpoint.url),
        ("PASSWORD__ENDPOINT_SECRET", "shared"),
    ])
    .await;
    let link = world.login(ADA).await;
    let url = link.url.as_str();
    let mut browser = Browser::new();
    endpoint.answers(200, r#"{"result":"second_factor"}"#);
    let page = browser.type_password(url, "ada@goals", "pw").await;
    assert!(page.text.contains("name=\"second_factor\""), "{}", page.text);
    assert!(endpoint.signed_with("shared"));

    endpoint.answers(200, r#"{"result":"ok","account":"u-9","display_name":"Ada of Goals"}"#);
    let fields = [("name", "ada@goals"), ("password", "pw"), ("second_factor", "123456")];
    assert_eq!(browser.submit(url, "password", &fields).await.status, 303);
    let page = browser.get(url).await;
    assert!(page.text.contains("Ada of Goals"), "{}", page.text);
    let person = world.person(ADA);
    let question = json!({
        "name": "ada@goals", "password": "pw", "second_factor": "123456",
        "tenant": person.tenant, "object_id": person.object_id,
    });
    assert_eq!(endpoint.asked()[1], question);
    assert_eq!(world.type_code(ADA, &page.typed_code().unwrap()).await, CodeTried::Linked);
}

#[tokio::test]
async fn after_office_365_the_product_says_whose_account_it_is_but_not_by_an_unverified_email() {
    let endpoint = Endpoint::start().await;
    let world = World::with(&[("PRODUCT__ACCOUNT_URL", &endpoint.url), ("PRODUCT__SECRET", "shared")]).await;
    for (answer, accounts) in [
        (r#"{"account":null}"#, 0),
        (r#"{"account":"u-1","found_by":"email"}"#, 0),
        (r#"{"account":"u-1"}"#, 0),
        (r#"{"account":"u-1","found_by":"person"}"#, 1),
    ] {
        endpoint.answers(200, answer);
        let link = world.login(ADA).await;
        let page = Browser::new().sign_in(link.url.as_str(), ADA).await;
        assert_eq!(page.title(), "You are connected", "{answer}");
        assert_eq!(world.recorded("account.linked.v1").await, accounts, "{answer}");
    }
    let asked = endpoint.asked();
    assert_eq!((&asked[0]["email"], &asked[0]["email_verified"]), (&json!(ADA), &Value::from(false)));
    assert!(endpoint.signed_with("shared"));

    endpoint.answers(500, "");
    let link = world.login(EMEKA).await;
    let page = Browser::new().sign_in(link.url.as_str(), EMEKA).await;
    assert_eq!(page.title(), "You are not connected yet", "{}", page.text);
    endpoint.answers(200, r#"{"account":"u-1","found_by":"person"}"#);
    let page = Browser::new().sign_in(world.login(EMEKA).await.url.as_str(), EMEKA).await;
    assert!(page.text.contains("connected to somebody else"), "one account is one person: {}", page.text);
}

#[tokio::test]
async fn an_administrator_approves_and_the_next_sign_in_shows_that_it_was_so() {
    let world = World::with_passwords(&[]).await;
    world.microsoft.deny("token.code", 90_094);
    let link = world.login(ADA).await;
    let mut person = Browser::new();
    let authorize = person.press(link.url.as_str()).await;
    let callback = person.at_microsoft(&authorize, &[("person", ADA), ("consent", "accept")]).await;
    let page = person.get(&callback).await;
    assert!(page.text.contains("administrator to approve"), "{}", page.text);
    assert_eq!(world.recorded("tenant.consent-awaited.v1").await, 1);

    let panel = person.get(link.url.as_str()).await;
    let consent = format!("{}{}", world.url, panel.consent_link());
    let mut admin = Browser::new();
    let page = admin.get(&consent).await;
    let token = page.csrf().unwrap();
    let pressed = admin.post(&consent, &[("csrf", &token)]).await;
    assert_eq!(pressed.status, 303, "{}", pressed.text);
    let back = admin.at_microsoft(&pressed.location.unwrap(), &[("consent", "accept")]).await;
    assert_eq!(world.recorded("tenant.consent-granted.v1").await, 0);
    for _ in 0..2 {
        assert_eq!(admin.get(&back).await.title(), "Thank you");
    }
    assert_eq!(world.recorded("tenant.consent-reported.v1").await, 1, "one visit is reported once");

    assert_eq!(person.sign_in(link.url.as_str(), ADA).await.title(), "You are connected");
    assert_eq!(world.recorded("tenant.consent-granted.v1").await, 1);
}

#[tokio::test]
async fn who_mistypes_a_password_need_not_type_the_name_again() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let (mut browser, url) = (Browser::new(), link.url.as_str());
    let page = browser.type_password(url, "a\"><b>da", "not the password").await;
    assert!(page.text.contains("value=\"a&quot;&gt;&lt;b&gt;da\""), "{}", page.text);
    assert!(!page.text.contains("not the password"), "{}", page.text);
    let csrf = page.csrf().unwrap();
    let to = format!("{url}/password");
    let fields = [("csrf", csrf.as_str()), ("name", "ada"), ("password", PASSWORD)];
    // Whoever asks for the address that a form was sent to is led to the form, which knows nothing of what was typed.
    let back = browser.get(&to).await;
    assert_eq!((back.status, back.location.as_deref()), (303, link.url.as_str().strip_prefix(&world.url)));
    assert!(!browser.get(url).await.text.contains("da\""));
    assert_eq!(browser.post(&to, &fields).await.status, 303);
    assert!(browser.get(url).await.typed_code().is_some());
    assert_eq!(browser.get(&format!("{}/sign-in/x/password", world.url)).await.status, 404);
}
