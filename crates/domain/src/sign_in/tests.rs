//! The rules of a sign-in.

use uuid::Uuid;

use super::*;
use crate::{
    KeyedHash,
    aggregate::{decode, testing::given},
    testing,
};

fn request(expected: Option<PersonId>) -> Request {
    let by = ByClient {
        client: testing::client(),
        account_hash: AccountHash("a1".into()),
        account: testing::sealed(),
        expected,
        return_url: None,
        request_hash: KeyedHash("k:1".into()),
    };
    Request { by: By::Client(Box::new(by)), lapses_at: testing::at(600) }
}

fn chosen(attempt: u32) -> Event {
    Event::MethodChosen { method: Method::Microsoft, browser_hash: "b1".into(), attempt }
}

fn choose(browser: &str, now: i64) -> Command {
    Command::Choose { method: Method::Microsoft, browser_hash: browser.into(), now: testing::at(now) }
}

fn authorize(attempt: u32, person: u128, now: i64) -> Command {
    Command::Authorize {
        attempt,
        person: testing::person(person),
        profile: testing::sealed(),
        scopes: vec!["User.Read".into()],
        expires_at: testing::at(5000),
        account: None,
        now: testing::at(now),
    }
}

fn authorized(attempt: u32, person: u128, provisional: bool) -> Event {
    Event::Authorized {
        attempt,
        person: testing::person(person),
        profile: testing::sealed(),
        scopes: vec!["User.Read".into()],
        expires_at: testing::at(5000),
        provisional,
        account: None,
    }
}

#[test]
fn the_expected_person_completes_the_sign_in_at_once() {
    given::<SignIn>([request(Some(testing::person(1))).into(), chosen(1)])
        .when(authorize(1, 1, 60))
        .then([authorized(1, 1, false), Event::Completed { person: testing::person(1) }]);
}

#[test]
fn where_nobody_was_expected_the_client_has_to_confirm() {
    given::<SignIn>([request(None).into(), chosen(1)])
        .when(authorize(1, 1, 60))
        .then([authorized(1, 1, true)]);
    given::<SignIn>([request(None).into(), chosen(1), authorized(1, 1, true)])
        .when(Command::Confirm { attempt: 1, now: testing::at(90) })
        .then([
            Event::Confirmed { by: Some(testing::client()) },
            Event::Completed { person: testing::person(1) },
        ]);
}

#[test]
fn a_second_browser_is_refused_and_the_first_may_try_again() {
    given::<SignIn>([request(None).into(), chosen(1)]).when(choose("b2", 10)).refused(Refusal::OtherBrowser);
    given::<SignIn>([request(None).into(), chosen(1)]).when(choose("b1", 10)).then([chosen(2)]);
}

#[test]
fn somebody_else_than_expected_brings_nothing() {
    given::<SignIn>([request(Some(testing::person(1))).into(), chosen(1)])
        .when(authorize(1, 2, 60))
        .refused(Refusal::WrongPerson);
}

#[test]
fn an_older_attempt_brings_nothing() {
    given::<SignIn>([request(None).into(), chosen(1), chosen(2)])
        .when(authorize(1, 1, 60))
        .refused(Refusal::StaleAttempt);
}

#[test]
fn a_link_lapses_after_its_time() {
    given::<SignIn>([request(None).into()]).when(choose("b1", 600)).refused(Refusal::Lapsed);
    given::<SignIn>([request(None).into(), chosen(1)]).when(authorize(1, 1, 600)).refused(Refusal::Lapsed);
    let lapse = Command::Lapse { now: testing::at(600) };
    given::<SignIn>([request(None).into()]).when(lapse.clone()).then([Event::Lapsed {}]);
    given::<SignIn>([request(None).into(), Event::Lapsed {}]).when(lapse).then([]);
    given::<SignIn>([request(None).into()]).when(Command::Lapse { now: testing::at(599) }).then([]);
}

#[test]
fn a_confirmation_of_an_attempt_that_another_overtook_is_refused() {
    let confirm = Command::Confirm { attempt: 1, now: testing::at(90) };
    let overtaken = [request(None).into(), chosen(1), authorized(1, 1, true), chosen(2)];
    given::<SignIn>(overtaken.clone()).when(confirm.clone()).refused(Refusal::StaleAttempt);
    given::<SignIn>(overtaken.into_iter().chain([authorized(2, 2, true)]))
        .when(confirm)
        .refused(Refusal::StaleAttempt);
}

#[test]
fn only_an_ended_sign_in_is_settled_and_once() {
    given::<SignIn>([request(None).into()]).when(Command::Settle).then([]);
    given::<SignIn>([request(None).into(), Event::Lapsed {}]).when(Command::Settle).then([Event::Settled {}]);
    given::<SignIn>([request(None).into(), Event::Lapsed {}, Event::Settled {}])
        .when(Command::Settle)
        .then([]);
}

#[test]
fn a_completed_sign_in_is_over() {
    let completed = Event::Completed { person: testing::person(1) };
    let events = [request(Some(testing::person(1))).into(), chosen(1), authorized(1, 1, false), completed];
    given::<SignIn>(events.clone()).when(choose("b1", 10)).refused(Refusal::Completed);
    given::<SignIn>(events.clone()).when(Command::Confirm { attempt: 1, now: testing::at(9) }).then([]);
    given::<SignIn>(events).when(Command::Lapse { now: testing::at(900) }).then([]);
}

fn login() -> Event {
    let by = ByBot {
        person: testing::person(1),
        conversation_id: "a:1".into(),
        name: testing::sealed(),
        locale: None,
        activity: Uuid::from_u128(9),
    };
    Event::from(Request { by: By::Bot(Box::new(by)), lapses_at: testing::at(600) })
}

fn account() -> ProductAccount {
    ProductAccount { hash: AccountHash("a1".into()), account: testing::sealed(), name: None }
}

fn by_password(attempt: u32) -> Event {
    Event::MethodChosen { method: Method::Password, browser_hash: "b1".into(), attempt }
}

fn accepted(attempt: u32) -> Event {
    Event::PasswordAccepted { attempt, person: testing::person(1), account: Box::new(account()) }
}

fn wrong_code() -> Command {
    Command::CountWrongCode { attempt: 1, now: testing::at(60) }
}

#[test]
fn a_password_is_only_good_for_who_typed_login_and_has_to_be_confirmed() {
    let accept = Command::AcceptPassword { attempt: 1, account: account(), now: testing::at(60) };
    given::<SignIn>([login(), by_password(1)]).when(accept.clone()).then([accepted(1)]);
    given::<SignIn>([login(), by_password(1), by_password(2)]).when(accept).refused(Refusal::StaleAttempt);
    given::<SignIn>([login(), by_password(1), accepted(1)])
        .when(Command::Confirm { attempt: 1, now: testing::at(90) })
        .then([Event::Confirmed { by: None }, Event::Completed { person: testing::person(1) }]);
}

#[test]
fn a_link_that_a_client_made_takes_no_password() {
    let choose =
        Command::Choose { method: Method::Password, browser_hash: "b1".into(), now: testing::at(10) };
    given::<SignIn>([request(None).into()]).when(choose).refused(Refusal::NotOffered);
}

#[test]
fn the_person_who_typed_login_completes_at_microsoft_at_once_and_nobody_else_can() {
    given::<SignIn>([login(), chosen(1)]).when(authorize(1, 2, 60)).refused(Refusal::WrongPerson);
    given::<SignIn>([login(), chosen(1)])
        .when(authorize(1, 1, 60))
        .then([authorized(1, 1, false), Event::Completed { person: testing::person(1) }]);
}

#[test]
fn the_fifth_wrong_code_calls_the_sign_in_off() {
    let tried = Event::CodeTried { attempt: 1 };
    let provisional = [login(), by_password(1), accepted(1)];
    given::<SignIn>(provisional.clone()).when(wrong_code()).then([tried.clone()]);
    let voided = Event::Voided { why: VoidReason::WrongCodes };
    let four_times = provisional.into_iter().chain(vec![tried.clone(); 4]);
    given::<SignIn>(four_times.clone()).when(wrong_code()).then([tried.clone(), voided.clone()]);
    given::<SignIn>(four_times.chain([tried, voided])).when(wrong_code()).refused(Refusal::Voided);
}

#[test]
fn a_newer_login_calls_an_open_one_off_and_no_other() {
    let voided = Event::Voided { why: VoidReason::NewerLogin };
    given::<SignIn>([login()]).when(Command::Void { why: VoidReason::NewerLogin }).then([voided.clone()]);
    given::<SignIn>([login(), voided.clone()]).when(choose("b1", 10)).refused(Refusal::Voided);
    given::<SignIn>([login(), voided.clone()]).when(Command::Settle).then([Event::Settled {}]);
    given::<SignIn>([login(), voided]).when(Command::Void { why: VoidReason::NewerLogin }).then([]);
    given::<SignIn>([login(), Event::Completed { person: testing::person(1) }])
        .when(Command::Void { why: VoidReason::NewerLogin })
        .then([]);
}

#[test]
fn a_failure_after_another_attempt_brought_something_is_recorded() {
    let why = FailureReason::WrongPassword;
    let fail = |attempt| Command::Fail { attempt, why, diagnosis: Diagnosis::default(), came: None };
    let failed = Event::Failed { attempt: 2, why, diagnosis: Diagnosis::default(), came: None };
    given::<SignIn>([login(), by_password(1), accepted(1), by_password(2)]).when(fail(2)).then([failed]);
    given::<SignIn>([login(), by_password(1), accepted(1)]).when(fail(1)).then([]);
}

#[test]
fn a_request_of_the_first_version_was_a_clients() {
    let v1 = br#"{"client":"okr","account_hash":"a1","account":{"key":"person/1","algorithm":"A256GCM",
        "nonce":"n","ciphertext":"c"},"request_hash":"k:1","lapses_at":"1970-01-01T00:10:00.000000Z"}"#;
    let event = decode::<SignIn>("signin.requested.v1", v1).unwrap();
    assert_eq!(event, Event::from(request(None)));
}
