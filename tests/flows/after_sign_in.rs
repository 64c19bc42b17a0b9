//! What follows a sign-in, and its end: the chat is found, consent is waited for, all accounts are let go.

use chancery::services::{
    people::{LoggedOut, logout},
    sign_ins::CodeTried,
};
use microsoft_simulator::Kind;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{
    World,
    api::{by_person, drawn, text},
    browser::Browser,
    log::count,
    microsoft::{ADA, BRUNO, CHIARA, HOUR},
    panel::PASSWORD,
};

/// Comes in with Office 365 after a `login` in Teams; answers the title of the last page.
async fn come_in(world: &World, upn: &str) -> String {
    let link = world.login(upn).await;
    Browser::new().sign_in(link.url.as_str(), upn).await.title()
}

async fn send_to(world: &World, upn: &str, content: &str) -> String {
    let recipient = by_person(world.person(upn));
    let body = json!({ "recipient": recipient, "content": { "type": "text", "text": content } });
    text(&world.api.post("/v1/messages", &drawn(), &body).await.body["id"])
}

#[tokio::test]
async fn the_chat_is_found_after_the_sign_in_and_not_looked_for_again() {
    let world = World::start().await;
    assert_eq!(come_in(&world, ADA).await, "You are connected");
    let events = world.until_recorded("connection.chat-found.v1", 1).await;
    assert_eq!(count(&events, "message.accepted.v1"), 0, "nobody sent anything yet");
    let looks = world.microsoft.count("graph.apps");
    let message = send_to(&world, ADA, "Hello").await;
    world.until_message_is(&message, "delivered").await;
    assert_eq!(
        (world.microsoft.count("graph.apps"), world.microsoft.texts(ADA)),
        (looks, vec!["Hello".into()])
    );
}

#[tokio::test]
async fn a_chat_that_graph_would_not_tell_of_after_the_sign_in_is_found_by_a_delivery() {
    let world = World::start().await;
    let unavailable = Kind::Status { status: 503, retry_after_seconds: None };
    for (upn, fault) in [(ADA, unavailable), (BRUNO, Kind::Reset)] {
        // After the sign-in, and by the delivery's first look.
        world.microsoft.faults("graph.apps", 2, fault);
        let looks = world.microsoft.count("graph.apps");
        assert_eq!(come_in(&world, upn).await, "You are connected", "{fault:?}");
        world.microsoft.called("graph.apps", looks + 1).await;
        let message = send_to(&world, upn, "Hello").await;
        world.until_message_is(&message, "deferred").await;
        world.advance(HOUR / 4);
        let delivered = world.until_message_is(&message, "delivered").await;
        assert_eq!(delivered["attempts"], 1, "what was only looked for was no attempt");
        assert_eq!(world.microsoft.texts(upn), ["Hello"]);
    }
    assert_eq!(world.recorded("connection.chat-found.v1").await, 2);
}

#[tokio::test]
async fn a_graph_that_hangs_over_one_persons_chat_keeps_no_other_waiting() {
    let world = World::start().await;
    for upn in [ADA, BRUNO] {
        world.install(upn).await;
    }
    world.microsoft.fault("graph.apps", Kind::Hang);
    assert_eq!(come_in(&world, ADA).await, "You are connected");
    world.microsoft.called("graph.apps", 1).await;
    assert_eq!(come_in(&world, BRUNO).await, "You are connected");
    // The sign-in that ends now is Bruno's: Ada's is still at it.
    let events = world.until_recorded("signin.settled.v1", 1).await;
    let found: Vec<_> = events.iter().filter(|event| event.name == "connection.chat-found.v1").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].stream, format!("connection-{}", world.person(BRUNO).connection()));
}

#[tokio::test]
async fn who_logs_out_lets_go_of_every_account_and_hears_the_same_when_it_is_said_again() {
    let world = World::start().await;
    world.link("u-1", ADA).await;
    let link = world.api.invite("u-2", Some(world.person(ADA))).await;
    assert_eq!(Browser::new().sign_in(&link.url, ADA).await.title(), "You are connected");
    world.link("u-3", BRUNO).await;
    let (ada, this, later) = (world.person(ADA), Uuid::from_u128(1), Uuid::from_u128(2));
    for (cause, told) in [(this, LoggedOut::Done), (this, LoggedOut::Done), (later, LoggedOut::NotLinked)] {
        assert_eq!(logout(world.hub(), ada, cause).await.unwrap(), told);
    }
    world.until_no_tokens(&link.id).await;
    let events = world.events().await;
    let unlinked = |name: &str| events.iter().filter(|event| event.name == name).collect::<Vec<_>>();
    assert_eq!((unlinked("account.unlinked.v1").len(), unlinked("connection.unlinked.v1").len()), (2, 1));
    assert_eq!(unlinked("connection.unlinked.v1")[0].metadata["actor"], "person");
    world.deliver("u-3", "Bruno is linked still.").await;
    // Who was never here has nothing to leave.
    let stranger = logout(world.hub(), world.person(CHIARA), Uuid::from_u128(3)).await.unwrap();
    assert_eq!(stranger, LoggedOut::NotLinked);
}

#[tokio::test]
async fn a_log_out_that_is_handled_again_leaves_who_has_signed_in_since() {
    let world = World::start().await;
    let (ada, cause) = (world.person(ADA), Uuid::from_u128(1));
    world.link("u-1", ADA).await;
    assert_eq!(logout(world.hub(), ada, cause).await.unwrap(), LoggedOut::Done);
    world.link("u-1", ADA).await;
    assert_eq!(logout(world.hub(), ada, cause).await.unwrap(), LoggedOut::Done);
    world.deliver("u-1", "Ada is linked still.").await;
    assert_eq!(world.recorded("connection.unlinked.v1").await, 1);
}

#[tokio::test]
async fn a_log_out_between_password_and_code_leaves_the_code_good_for_a_link_of_its_own() {
    let world = World::with_passwords(&[]).await;
    let link = world.login(ADA).await;
    let page = Browser::new().type_password(link.url.as_str(), "ada", PASSWORD).await;
    assert_eq!(
        logout(world.hub(), world.person(ADA), Uuid::from_u128(1)).await.unwrap(),
        LoggedOut::NotLinked
    );
    world.type_code(ADA, &page.typed_code().unwrap()).await;
    assert_eq!(logout(world.hub(), world.person(ADA), Uuid::from_u128(2)).await.unwrap(), LoggedOut::Done);
    assert_eq!(world.recorded("account.unlinked.v1").await, 1);
}

#[tokio::test]
async fn whose_account_somebody_else_tries_to_link_hears_of_each_try_and_nobody_else_does() {
    let world = World::with_passwords(&[]).await;
    world.link("u-1001", ADA).await;
    for upn in [ADA, BRUNO] {
        world.install(upn).await;
    }
    // By the product's link, and by the right password.
    let link = world.api.invite("u-1001", Some(world.person(BRUNO))).await;
    let page = Browser::new().sign_in(&link.url, BRUNO).await;
    assert!(page.text.contains("connected to somebody else"), "{}", page.text);
    world.microsoft.until_heard(ADA, 1).await;
    let link = world.login(BRUNO).await;
    let page = Browser::new().type_password(link.url.as_str(), "ada", PASSWORD).await;
    let tried = world.type_code(BRUNO, &page.typed_code().unwrap()).await;
    assert_eq!(tried, CodeTried::Refused);
    let heard = world.microsoft.until_heard(ADA, 2).await;
    assert!(
        heard.iter().all(|words| words.contains("Somebody else tried to connect your account")),
        "{heard:?}"
    );
    let events = world.until_recorded("signin.settled.v1", 3).await;
    let counts = ["account.linked.v1", "account.link-refused.v1", "connection.linked.v1"];
    assert_eq!(counts.map(|name| count(&events, name)), [1, 2, 1]);
    assert_eq!((world.microsoft.heard(ADA).len(), world.microsoft.heard(BRUNO).len()), (2, 0));
}

#[tokio::test]
async fn whoever_lacks_consent_whatever_microsoft_calls_it_hears_once_that_there_is_word_of_it() {
    let world = World::start().await;
    for upn in [ADA, BRUNO, CHIARA] {
        world.install(upn).await;
    }
    world.link("u-1", CHIARA).await;
    // Two at their sign-in, and one who is linked, at a refresh.
    for (upn, aadsts) in [(ADA, 65_001), (BRUNO, 90_094)] {
        world.microsoft.deny("token.code", aadsts);
        assert_eq!(come_in(&world, upn).await, "You are not connected yet", "{aadsts}");
    }
    assert_eq!(world.recorded("tenant.consent-awaited.v1").await, 2);
    world.advance(2 * HOUR);
    world.microsoft.deny("token.refresh", 65_001);
    let message = world.api.send("u-1", "For Chiara").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "consent_required");

    let panel = Browser::new().get(world.login(ADA).await.url.as_str()).await;
    let consent = format!("{}{}", world.url, panel.consent_link());
    for visit in 1..=2 {
        let mut admin = Browser::new();
        let token = admin.get(&consent).await.csrf().unwrap();
        let pressed = admin.post(&consent, &[("csrf", &token)]).await.location.unwrap();
        let back = admin.at_microsoft(&pressed, &[("consent", "accept")]).await;
        assert_eq!(admin.get(&back).await.title(), "Thank you");
        world.until_recorded("tenant.consent-reported.v1", visit).await;
        for upn in [ADA, BRUNO, CHIARA] {
            let words = world.microsoft.until_heard(upn, 1).await;
            assert!(words.len() == 1 && words[0].contains("login"), "{upn}, visit {visit}: {words:?}");
        }
    }
}
