//! A sign-in: a link that one browser follows once, from the request for it to the grant it brings.
//!
//! **Invariants.** Only the browser that chose first may go on. What a sign-in brought counts for nothing before it is
//! completed, and it is completed at most once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountHash, Aggregate, ClientId, KeyedHash, PersonId, Sealed, Timestamp, diagnosis::Diagnosis};

/// A sign-in as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignIn {
    pub request: Option<Request>,
    /// The browser that chose a way in, and how often it did.
    pub browser: Option<Browser>,
    pub authorized: Option<Authorized>,
    pub stage: Stage,
    /// All that follows from the end is done, and what was of no use any more is destroyed.
    pub settled: bool,
    /// Why the last attempt came to nothing.
    pub last_failure: Option<FailureReason>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Absent,
    /// Asked for; nothing has come of it yet.
    Open,
    /// Authorized, but nobody has vouched yet for whom the browser belongs to.
    Provisional,
    Completed,
    /// Completed, but its account belongs to somebody else.
    Refused,
    Lapsed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub client: ClientId,
    pub account_hash: AccountHash,
    pub account: Sealed,
    pub expected: Option<PersonId>,
    pub return_url: Option<String>,
    pub request_hash: KeyedHash,
    pub lapses_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    pub hash: String,
    pub attempt: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Authorized {
    pub attempt: u32,
    pub person: PersonId,
    pub profile: Sealed,
    pub scopes: Vec<String>,
    pub expires_at: Timestamp,
}

/// A way into the product's bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// OAuth2 with the person's Microsoft account.
    Microsoft,
}

/// Why an attempt to sign in came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The person cancelled, or declined to consent.
    Declined,
    ConsentRequired,
    AdminConsentRequired,
    /// Somebody else signed in than the link was made for.
    WrongPerson,
    TenantNotAdmitted,
    PersonalAccount,
    /// The ID token is not good: signature, issuer, audience, nonce or times.
    IdTokenInvalid,
    /// `offline_access` was not granted, so nothing could be kept alive.
    NoRefreshToken,
    /// Microsoft refused the code or the sign-in.
    Refused,
    /// Microsoft did not answer, or not in a way that can be read.
    ProviderUnavailable,
    /// The hub's own registration at Microsoft is wrong (secret, redirect URI, scope).
    Misconfigured,
    /// The account belongs to another person.
    AccountLinkedElsewhere,
}

#[derive(Clone, Debug)]
pub enum Command {
    Ask(Request),
    /// The button was pressed.
    Choose {
        method: Method,
        browser_hash: String,
        now: Timestamp,
    },
    /// The provider vouched for a person, and the vault has the tokens.
    Authorize {
        attempt: u32,
        person: PersonId,
        profile: Sealed,
        scopes: Vec<String>,
        expires_at: Timestamp,
        now: Timestamp,
    },
    Fail {
        attempt: u32,
        why: FailureReason,
        diagnosis: Diagnosis,
    },
    /// The client that asked for the link says that the browser is its user's.
    Confirm {
        attempt: u32,
        now: Timestamp,
    },
    /// The account turned out to be somebody else's.
    Refuse,
    Lapse {
        now: Timestamp,
    },
    /// What follows from the end is done.
    Settle,
}

/// What can happen to a sign-in, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "signin.requested.v1")]
    Requested {
        client: ClientId,
        account_hash: AccountHash,
        account: Sealed,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<PersonId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_url: Option<String>,
        /// Of the canonical request, to tell a repeat from another request under the same key.
        request_hash: KeyedHash,
        lapses_at: Timestamp,
    },
    #[serde(rename = "signin.method-chosen.v1")]
    MethodChosen {
        method: Method,
        /// SHA-256 of the browser's cookie, hex.
        browser_hash: String,
        attempt: u32,
    },
    #[serde(rename = "signin.authorized.v1")]
    Authorized {
        attempt: u32,
        person: PersonId,
        profile: Sealed,
        scopes: Vec<String>,
        expires_at: Timestamp,
        /// Nobody had said who was expected, so the client has to confirm.
        provisional: bool,
    },
    #[serde(rename = "signin.confirmed.v1")]
    Confirmed { by: ClientId },
    #[serde(rename = "signin.completed.v1")]
    Completed { person: PersonId },
    #[serde(rename = "signin.failed.v1")]
    Failed { attempt: u32, why: FailureReason, diagnosis: Diagnosis },
    #[serde(rename = "signin.lapsed.v1")]
    Lapsed {},
    /// After its end: links are made, and what it brought or knew and nobody needs is destroyed.
    #[serde(rename = "signin.settled.v1")]
    Settled {},
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such sign-in")]
    NoSuchSignIn,
    #[error("the link is no longer good: ask for a new one")]
    Lapsed,
    #[error("the link is being used in another browser")]
    OtherBrowser,
    #[error("the sign-in is completed already")]
    Completed,
    #[error("the attempt is not the latest one: start again from the link")]
    StaleAttempt,
    #[error("somebody else signed in than the link was made for")]
    WrongPerson,
    #[error("nobody has signed in yet")]
    NothingToConfirm,
}

impl SignIn {
    /// Whether the link still leads anywhere at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Open | Stage::Provisional)
            && self.request.as_ref().is_some_and(|request| now < request.lapses_at)
    }

    fn open(&self, now: Timestamp) -> Result<&Request, Refusal> {
        match (&self.request, self.stage) {
            (None, _) => Err(Refusal::NoSuchSignIn),
            (_, Stage::Completed | Stage::Refused) => Err(Refusal::Completed),
            (Some(request), Stage::Open | Stage::Provisional) if now < request.lapses_at => Ok(request),
            _ => Err(Refusal::Lapsed),
        }
    }

    fn current_attempt(&self) -> u32 {
        self.browser.as_ref().map_or(0, |browser| browser.attempt)
    }
}

impl Aggregate for SignIn {
    const CATEGORY: &'static str = "signin";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Ask(_) if self.request.is_some() => Ok(vec![]),
            Command::Ask(request) => Ok(vec![Event::from(request)]),
            Command::Choose { method, browser_hash, now } => {
                self.open(now)?;
                match &self.browser {
                    Some(browser) if browser.hash != browser_hash => Err(Refusal::OtherBrowser),
                    _ => Ok(vec![Event::MethodChosen {
                        method,
                        browser_hash,
                        attempt: self.current_attempt() + 1,
                    }]),
                }
            }
            Command::Authorize { attempt, person, profile, scopes, expires_at, now } => {
                let request = self.open(now)?;
                if attempt == 0 || attempt != self.current_attempt() {
                    return Err(Refusal::StaleAttempt);
                }
                if request.expected.is_some_and(|expected| expected != person) {
                    return Err(Refusal::WrongPerson);
                }
                let provisional = request.expected.is_none();
                let mut events =
                    vec![Event::Authorized { attempt, person, profile, scopes, expires_at, provisional }];
                if !provisional {
                    events.push(Event::Completed { person });
                }
                Ok(events)
            }
            // A failure of an attempt that something came of, or that another one overtook, is of no interest.
            Command::Fail { attempt, .. }
                if self.stage != Stage::Open || attempt != self.current_attempt() =>
            {
                Ok(vec![])
            }
            Command::Fail { attempt, why, diagnosis } => Ok(vec![Event::Failed { attempt, why, diagnosis }]),
            Command::Confirm { .. } if self.stage == Stage::Completed => Ok(vec![]),
            Command::Confirm { attempt, now } => {
                let by = self.open(now)?.client.clone();
                let authorized = self.authorized.as_ref().ok_or(Refusal::NothingToConfirm)?;
                // Whoever vouched did so for this attempt; what another one brings, or is about to, is not meant.
                if attempt != authorized.attempt || attempt != self.current_attempt() {
                    return Err(Refusal::StaleAttempt);
                }
                Ok(vec![Event::Confirmed { by }, Event::Completed { person: authorized.person }])
            }
            Command::Refuse if self.stage == Stage::Completed => Ok(vec![Event::Failed {
                attempt: self.current_attempt(),
                why: FailureReason::AccountLinkedElsewhere,
                diagnosis: Diagnosis::default(),
            }]),
            Command::Lapse { now }
                if matches!(self.stage, Stage::Open | Stage::Provisional) && !self.is_open(now) =>
            {
                Ok(vec![Event::Lapsed {}])
            }
            Command::Settle
                if matches!(self.stage, Stage::Completed | Stage::Refused | Stage::Lapsed)
                    && !self.settled =>
            {
                Ok(vec![Event::Settled {}])
            }
            Command::Refuse | Command::Lapse { .. } | Command::Settle => Ok(vec![]),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Requested {
                client,
                account_hash,
                account,
                expected,
                return_url,
                request_hash,
                lapses_at,
            } => {
                self.stage = Stage::Open;
                self.request = Some(Request {
                    client,
                    account_hash,
                    account,
                    expected,
                    return_url,
                    request_hash,
                    lapses_at,
                });
            }
            Event::MethodChosen { browser_hash, attempt, .. } => {
                self.browser = Some(Browser { hash: browser_hash, attempt });
            }
            Event::Authorized { attempt, person, profile, scopes, expires_at, .. } => {
                self.stage = Stage::Provisional;
                self.last_failure = None;
                self.authorized = Some(Authorized { attempt, person, profile, scopes, expires_at });
            }
            Event::Confirmed { .. } => {}
            Event::Completed { .. } => self.stage = Stage::Completed,
            Event::Failed { why, .. } => {
                self.last_failure = Some(why);
                if why == FailureReason::AccountLinkedElsewhere {
                    self.stage = Stage::Refused;
                }
            }
            Event::Lapsed {} => self.stage = Stage::Lapsed,
            Event::Settled {} => self.settled = true,
        }
        self
    }
}

impl From<Request> for Event {
    fn from(request: Request) -> Self {
        let Request { client, account_hash, account, expected, return_url, request_hash, lapses_at } =
            request;
        Self::Requested { client, account_hash, account, expected, return_url, request_hash, lapses_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn request(expected: Option<PersonId>) -> Request {
        Request {
            client: testing::client(),
            account_hash: AccountHash("a1".into()),
            account: testing::sealed(),
            expected,
            return_url: None,
            request_hash: KeyedHash("k:1".into()),
            lapses_at: testing::at(600),
        }
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
                Event::Confirmed { by: testing::client() },
                Event::Completed { person: testing::person(1) },
            ]);
    }

    #[test]
    fn a_second_browser_is_refused_and_the_first_may_try_again() {
        given::<SignIn>([request(None).into(), chosen(1)])
            .when(choose("b2", 10))
            .refused(Refusal::OtherBrowser);
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
        given::<SignIn>([request(None).into(), chosen(1)])
            .when(authorize(1, 1, 600))
            .refused(Refusal::Lapsed);
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
        given::<SignIn>([request(None).into(), Event::Lapsed {}])
            .when(Command::Settle)
            .then([Event::Settled {}]);
        given::<SignIn>([request(None).into(), Event::Lapsed {}, Event::Settled {}])
            .when(Command::Settle)
            .then([]);
    }

    #[test]
    fn a_completed_sign_in_is_over() {
        let completed = Event::Completed { person: testing::person(1) };
        let events =
            [request(Some(testing::person(1))).into(), chosen(1), authorized(1, 1, false), completed];
        given::<SignIn>(events.clone()).when(choose("b1", 10)).refused(Refusal::Completed);
        given::<SignIn>(events.clone()).when(Command::Confirm { attempt: 1, now: testing::at(9) }).then([]);
        given::<SignIn>(events).when(Command::Lapse { now: testing::at(900) }).then([]);
    }
}
