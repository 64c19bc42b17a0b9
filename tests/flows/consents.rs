//! Word of an administrator's consent: who is told of it, when, and how often.

use std::{sync::Arc, time::Duration};

use chancery::services::consent;
use microsoft_simulator::Kind;

use crate::harness::{
    PATIENCE, World,
    browser::{Browser, with_query},
    faltering::{Faltering, Way},
    log::{Event, count},
    microsoft::{ADA, BRUNO, CHIARA, HOUR},
};

const MINUTE: Duration = Duration::from_mins(1);

/// A world where these people have the bot.
async fn world(people: &[&str]) -> World {
    let world = World::start().await;
    world.listen();
    for upn in people {
        assert_eq!(world.microsoft.say(upn, "help").await, 200);
        world.microsoft.until_heard(upn, 1).await;
    }
    world.until_recorded("activity.handled.v1", people.len()).await;
    world
}

/// Somebody tries to sign in, and Microsoft wants an administrator first. Answers the link, and the browser.
async fn waits(world: &World, upn: &str) -> (String, Browser) {
    let link = world.login(upn).await.url.to_string();
    world.microsoft.deny("token.code", 90_094);
    let mut browser = Browser::new();
    let page = browser.sign_in(&link, upn).await;
    assert!(page.text.contains("administrator to approve"), "{}", page.text);
    (link, browser)
}

/// An administrator of Ada's organisation comes back from Microsoft.
async fn report(world: &World) {
    let link = consent::link(world.hub(), world.person(ADA).tenant);
    let (url, mut admin) = (format!("{}{link}", world.url), Browser::new());
    let csrf = admin.get(&url).await.csrf().unwrap();
    let asked = admin.post(&url, &[("csrf", &csrf)]).await.location.unwrap();
    let back = admin.at_microsoft(&asked, &[("consent", "accept")]).await;
    assert_eq!(admin.get(&back).await.title(), "Thank you");
}

/// Waits until so many reports were passed on.
async fn until_told(world: &World, reports: usize) -> Vec<Event> {
    world.until_recorded("tenant.consent-told.v1", reports).await
}

/// How often somebody heard of it.
fn heard(world: &World, upn: &str) -> usize {
    let said = world.microsoft.heard(upn);
    said.iter().filter(|message| message.content.contains("Your administrator has approved")).count()
}

#[tokio::test]
async fn though_the_connector_throttles_at_first_all_who_wait_are_told_and_each_once() {
    let people = [ADA, BRUNO, CHIARA];
    let world = world(&people).await;
    for upn in people {
        waits(&world, upn).await;
    }
    let throttled = Kind::Status { status: 429, retry_after_seconds: Some(1) };
    world.microsoft.faults("connector.send", 5, throttled);
    report(&world).await;
    for failures in [3, 5] {
        world.until_recorded("notice.failed.v1", failures).await;
        world.advance(MINUTE);
    }
    let events = until_told(&world, 1).await;
    assert_eq!(people.map(|upn| heard(&world, upn)), [1, 1, 1]);
    assert_eq!((count(&events, "tenant.consent-reported.v1"), count(&events, "notice.failed.v1")), (1, 5));
}

#[tokio::test]
async fn a_hub_that_dies_between_the_report_and_the_telling_is_followed_by_one_that_tells() {
    for way in [Way::StopBefore, Way::StopAfter] {
        // Where the notice is begun, where its outcome is recorded, and where it is that all are told.
        for (stream, at) in [("notice-", 1), ("notice-", 2), ("tenant-", 2)] {
            let mut world = world(&[ADA]).await;
            waits(&world, ADA).await;
            world.end(PATIENCE).await;
            let sound = world.store().await;
            let faltering = Arc::new(Faltering::at_nth(sound.clone(), way, stream, at));
            world.begin(faltering.clone()).await;
            report(&world).await;
            faltering.stopped.cancelled().await;
            world.end(Duration::ZERO).await;
            world.begin(sound).await;
            let events = until_told(&world, 1).await;
            // What was begun and has no outcome may have been said, and is not said again.
            let (heard, unknown) = (heard(&world, ADA), count(&events, "notice.unknown.v1"));
            assert!(heard == 1 || (heard, unknown) == (0, 1), "{way:?} {stream} {at}: {heard}, {unknown}");
            assert_eq!(count(&events, "tenant.consent-told.v1"), 1, "{way:?} {stream} {at}");
        }
    }
}

#[tokio::test]
async fn who_signed_in_meanwhile_is_not_told() {
    let world = world(&[ADA, BRUNO]).await;
    let (link, mut browser) = waits(&world, ADA).await;
    waits(&world, BRUNO).await;
    world.microsoft.faults("connector.send", 2, Kind::Status { status: 503, retry_after_seconds: Some(60) });
    report(&world).await;
    world.until_recorded("notice.failed.v1", 2).await;
    assert_eq!(browser.sign_in(&link, ADA).await.title(), "You are connected");
    world.advance(MINUTE);
    until_told(&world, 1).await;
    assert_eq!((heard(&world, ADA), heard(&world, BRUNO)), (0, 1));
}

#[tokio::test]
async fn who_begins_to_wait_after_a_report_is_told_of_the_next_one() {
    let world = world(&[ADA, BRUNO]).await;
    waits(&world, ADA).await;
    report(&world).await;
    until_told(&world, 1).await;
    waits(&world, BRUNO).await;
    assert_eq!((heard(&world, ADA), heard(&world, BRUNO)), (1, 0));
    report(&world).await;
    until_told(&world, 2).await;
    assert_eq!((heard(&world, ADA), heard(&world, BRUNO)), (1, 1));
}

#[tokio::test]
async fn who_declines_or_does_not_say_that_they_consented_is_not_taken_to_have() {
    let world = world(&[ADA]).await;
    waits(&world, ADA).await;
    let link = consent::link(world.hub(), world.person(ADA).tenant);
    let (url, mut admin) = (format!("{}{link}", world.url), Browser::new());
    let csrf = admin.get(&url).await.csrf().unwrap();
    let asked = admin.post(&url, &[("csrf", &csrf)]).await.location.unwrap();
    let declined = admin.at_microsoft(&asked, &[("consent", "cancel")]).await;
    let accepted = admin.at_microsoft(&asked, &[("consent", "accept")]).await;
    for back in
        [&declined, &with_query(&accepted, "admin_consent", "False"), &with_query(&accepted, "error", "x")]
    {
        let page = admin.get(back).await;
        assert_eq!((page.status, page.title().as_str()), (200, "Not approved"), "{back}");
    }
    assert_eq!(world.recorded("tenant.consent-reported.v1").await, 0);
    assert_eq!(admin.get(&accepted).await.title(), "Thank you", "one may think better of it");
    until_told(&world, 1).await;
    assert_eq!(heard(&world, ADA), 1);
}

#[tokio::test]
async fn who_was_told_and_waits_again_is_told_again() {
    let world = world(&[ADA]).await;
    for reports in 1..=2 {
        waits(&world, ADA).await;
        report(&world).await;
        until_told(&world, reports).await;
        assert_eq!(heard(&world, ADA), reports);
    }
}

/// Microsoft wants an administrator's consent where somebody who is linked needs a new token.
async fn loses_consent(world: &World, upn: &str) {
    world.link("u-1", upn).await;
    world.advance(2 * HOUR);
    world.microsoft.deny("token.refresh", 65_001);
    let message = world.api.send("u-1", "Hello").await;
    assert_eq!(world.until_message_is(&message, "parked").await["why"], "consent_required");
}

#[tokio::test]
async fn whose_link_ended_and_who_could_not_sign_in_again_either_is_told_once() {
    let world = world(&[ADA]).await;
    loses_consent(&world, ADA).await;
    waits(&world, ADA).await;
    report(&world).await;
    until_told(&world, 1).await;
    assert_eq!(heard(&world, ADA), 1);
}

#[tokio::test]
async fn who_could_not_be_told_at_once_is_told_later_though_those_whose_link_ended_were() {
    let world = world(&[ADA, BRUNO]).await;
    loses_consent(&world, ADA).await;
    waits(&world, BRUNO).await;
    // Bruno's turn is first.
    world.microsoft.fault("connector.send", Kind::Status { status: 429, retry_after_seconds: Some(1) });
    report(&world).await;
    world.until_recorded("notice.failed.v1", 1).await;
    world.advance(MINUTE);
    until_told(&world, 1).await;
    assert_eq!((heard(&world, ADA), heard(&world, BRUNO)), (1, 1));
}

#[tokio::test]
async fn whose_link_ended_for_want_of_consent_is_told_once_however_often_it_is_reported() {
    let world = world(&[ADA]).await;
    loses_consent(&world, ADA).await;
    for reports in 1..=2 {
        report(&world).await;
        until_told(&world, reports).await;
        assert_eq!(heard(&world, ADA), 1);
    }
}
