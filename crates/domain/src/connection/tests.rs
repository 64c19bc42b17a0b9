//! The rules of connections.

use super::*;
use crate::{aggregate::testing::given, testing};

fn link(sign_in: u128) -> Command {
    Command::Link(Link {
        person: testing::person(1),
        person_key: Uuid::from_u128(7),
        profile: testing::sealed(),
        sign_in: testing::sign_in(sign_in),
        tokens: Some(FirstTokens { scopes: vec!["ChatMessage.Send".into()], expires_at: testing::at(3600) }),
    })
}

fn linked(sign_in: u128) -> Event {
    Event::Linked {
        person: testing::person(1),
        person_key: Uuid::from_u128(7),
        profile: testing::sealed(),
        sign_in: testing::sign_in(sign_in),
    }
}

fn issued(sign_in: u128, grant_number: u64) -> Event {
    Event::TokenIssued {
        grant: testing::sign_in(sign_in),
        grant_number,
        generation: 1,
        scopes: vec!["ChatMessage.Send".into()],
        expires_at: testing::at(3600),
    }
}

fn start(generation: u64, dead_claim: Option<u64>) -> Command {
    Command::StartRefresh(StartRefresh {
        grant: testing::sign_in(1),
        generation,
        hub: testing::hub(),
        timeout_ms: 30_000,
        dead_claim,
    })
}

fn started(generation: u64, claim: u64) -> Event {
    Event::RefreshStarted {
        grant: testing::sign_in(1),
        generation,
        claim,
        hub: testing::hub(),
        timeout_ms: 30_000,
    }
}

fn finish(generation: u64, claim: u64) -> Command {
    Command::FinishRefresh {
        grant: testing::sign_in(1),
        generation,
        claim,
        scopes: vec![],
        expires_at: testing::at(9000),
    }
}

fn refreshed(generation: u64, claim: u64) -> Event {
    Event::TokenRefreshed {
        grant: testing::sign_in(1),
        generation,
        claim,
        scopes: vec![],
        expires_at: testing::at(9000),
    }
}

fn fail(claim: u64, class: FailureClass) -> Command {
    Command::FailRefresh(RefreshFailure {
        grant: testing::sign_in(1),
        claim,
        class,
        reason: None,
        diagnosis: Diagnosis::default(),
        not_before: None,
    })
}

fn failed(claim: u64, class: FailureClass) -> Event {
    Event::RefreshFailed {
        grant: testing::sign_in(1),
        generation: 2,
        claim,
        class,
        diagnosis: Diagnosis::default(),
        not_before: None,
    }
}

#[test]
fn a_sign_in_links_once_and_a_later_one_brings_the_next_grant() {
    given::<Connection>([]).when(link(1)).then([linked(1), issued(1, 1)]);
    given::<Connection>([linked(1), issued(1, 1)]).when(link(1)).then([]);
    given::<Connection>([linked(1), issued(1, 1)]).when(link(2)).then([linked(2), issued(2, 2)]);
}

#[test]
fn a_person_keeps_the_key_that_their_data_is_sealed_under() {
    let other = Command::Link(Link {
        person: testing::person(1),
        person_key: Uuid::from_u128(8),
        profile: testing::sealed(),
        sign_in: testing::sign_in(2),
        tokens: None,
    });
    given::<Connection>([linked(1), issued(1, 1), Event::Unlinked {}])
        .when(other)
        .refused(Refusal::OtherPersonKey(Uuid::from_u128(7)));
}

#[test]
fn one_claim_is_open_at_a_time() {
    let open = Claim { number: 1, hub: testing::hub(), timeout_ms: 30_000 };
    given::<Connection>([linked(1), issued(1, 1)]).when(start(1, None)).then([started(2, 1)]);
    given::<Connection>([linked(1), issued(1, 1), started(2, 1)])
        .when(start(1, None))
        .refused(Refusal::RefreshUnderWay(open));
    given::<Connection>([linked(1), issued(1, 1), started(2, 1)])
        .when(start(1, Some(1)))
        .then([started(2, 2)]);
}

#[test]
fn a_refresh_of_an_older_generation_is_refused() {
    given::<Connection>([linked(1), issued(1, 1), started(2, 1), refreshed(2, 1)])
        .when(start(1, None))
        .refused(Refusal::Superseded);
}

#[test]
fn a_refresh_is_recorded_once_also_for_a_claim_that_another_overtook() {
    let overtaken = [linked(1), issued(1, 1), started(2, 1), started(2, 2)];
    given::<Connection>(overtaken.clone()).when(finish(2, 1)).then([refreshed(2, 1)]);
    given::<Connection>(overtaken.into_iter().chain([refreshed(2, 1)])).when(finish(2, 2)).then([]);
    given::<Connection>([linked(1), issued(1, 1)]).when(finish(2, 1)).then([]);
}

#[test]
fn only_a_final_failure_asks_the_person_to_sign_in_again() {
    let open = [linked(1), issued(1, 1), started(2, 1)];
    given::<Connection>(open.clone()).when(fail(1, FailureClass::Final)).then([
        failed(1, FailureClass::Final),
        Event::ReauthorizationRequired {
            grant: testing::sign_in(1),
            generation: 1,
            why: ReauthorizationReason::GrantDead,
            diagnosis: Diagnosis::default(),
        },
    ]);
    for class in [FailureClass::Hub, FailureClass::Transient, FailureClass::Ambiguous, FailureClass::Tenant] {
        given::<Connection>(open.clone()).when(fail(1, class)).then([failed(1, class)]);
    }
}

#[test]
fn a_failure_of_an_overtaken_claim_changes_nothing() {
    given::<Connection>([linked(1), issued(1, 1), started(2, 1), started(2, 2)])
        .when(fail(1, FailureClass::Final))
        .then([]);
}

#[test]
fn expiring_twice_records_one_event() {
    let expire = Command::Expire { grant: testing::sign_in(1), generation: 1 };
    let expired =
        Event::TokenExpired { grant: testing::sign_in(1), generation: 1, expired_at: testing::at(3600) };
    given::<Connection>([linked(1), issued(1, 1)]).when(expire.clone()).then([expired.clone()]);
    given::<Connection>([linked(1), issued(1, 1), expired]).when(expire).then([]);
}

#[test]
fn tokens_of_a_backup_are_not_good_to_use_whatever_their_time() {
    let backed_up_at = testing::at(50);
    let restored = Event::TokensRestored { grant: testing::sign_in(1), generation: 1, backed_up_at };
    let restore = Command::Restore { backed_up_at };
    given::<Connection>([linked(1), issued(1, 1)]).when(restore.clone()).then([restored.clone()]);
    given::<Connection>([linked(1), issued(1, 1), Event::Unlinked {}]).when(restore).then([]);
    let connection =
        [linked(1), issued(1, 1), restored].into_iter().fold(Connection::default(), Connection::evolve);
    assert!(connection.grant.unwrap().expired);
}

#[test]
fn a_late_word_on_an_older_grant_changes_nothing() {
    let require = Command::RequireReauthorization {
        grant: testing::sign_in(1),
        why: ReauthorizationReason::ClaimsChallenge,
        diagnosis: Diagnosis::default(),
    };
    given::<Connection>([linked(1), issued(1, 1), linked(2), issued(2, 2)]).when(require).then([]);
}

#[test]
fn an_unlinked_persons_tokens_are_destroyed_once() {
    let grant = testing::sign_in(1);
    let destroyed = Event::TokensDestroyed { grant };
    let unlinked = [linked(1), issued(1, 1), Event::Unlinked {}];
    given::<Connection>([linked(1), issued(1, 1)]).when(Command::RecordDestroyed { grant }).then([]);
    given::<Connection>(unlinked.clone()).when(Command::RecordDestroyed { grant }).then([destroyed.clone()]);
    given::<Connection>(unlinked.into_iter().chain([destroyed]))
        .when(Command::RecordDestroyed { grant })
        .then([]);
}

#[test]
fn what_is_not_linked_cannot_be_unlinked() {
    given::<Connection>([]).when(Command::Unlink).refused(Refusal::NotLinked);
    given::<Connection>([linked(1), issued(1, 1)]).when(Command::Unlink).then([Event::Unlinked {}]);
}

fn link_by_password(sign_in: u128) -> Command {
    let Command::Link(link) = link(sign_in) else { unreachable!() };
    Command::Link(Link { tokens: None, ..link })
}

#[test]
fn who_came_by_password_is_linked_without_a_grant() {
    given::<Connection>([]).when(link_by_password(1)).then([linked(1)]);
    given::<Connection>([linked(1)]).when(link_by_password(2)).then([]);
    assert_eq!(Connection::default().evolve(linked(1)).status, Status::Linked);
}

#[test]
fn a_password_takes_nothing_from_a_grant_and_links_again_who_was_unlinked() {
    given::<Connection>([linked(1), issued(1, 1)]).when(link_by_password(2)).then([]);
    let unlinked = [linked(1), issued(1, 1), Event::Unlinked {}];
    given::<Connection>(unlinked.clone()).when(link_by_password(2)).then([linked(2)]);
    let again = unlinked.into_iter().chain([linked(2)]).fold(Connection::default(), Connection::evolve);
    assert_eq!((again.status, again.grant.map(|grant| grant.number)), (Status::Linked, Some(1)));
}

#[test]
fn the_sign_in_asked_for_last_counts_and_knows_the_one_before_it() {
    let begun = |n| Event::SignInBegun { sign_in: testing::sign_in(n) };
    let ask = |n| Command::BeginSignIn { sign_in: testing::sign_in(n) };
    given::<Connection>([begun(1)]).when(ask(1)).then([]);
    given::<Connection>([begun(1)]).when(ask(2)).then([begun(2)]);
    let connection = [begun(1), begun(2)].into_iter().fold(Connection::default(), Connection::evolve);
    let newest = Begun { sign_in: testing::sign_in(2), former: Some(testing::sign_in(1)) };
    assert_eq!(connection.begun, Some(newest));
}
