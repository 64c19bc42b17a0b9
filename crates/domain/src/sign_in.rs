//! A sign-in: a link that one browser follows once, from the request for it to the grant it brings.
//!
//! **Invariants.** Only the browser that chose first may go on. What a sign-in brought counts for nothing before it is
//! completed, and it is completed at most once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::request::{By, ByBot, ByClient, Request};
use crate::{AccountHash, Aggregate, ClientId, PersonId, Sealed, Timestamp, diagnosis::Diagnosis};

mod request;

/// How often the code of a provisional sign-in may be typed wrongly.
pub const CODE_TRIES_MAX: u32 = 5;

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
    /// Wrong codes since the way in was taken that is to be confirmed.
    pub wrong_codes: u32,
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
    /// Called off before its time: see [`VoidReason`].
    Voided,
    Lapsed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    pub hash: String,
    pub attempt: u32,
}

/// What a way in brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorized {
    pub attempt: u32,
    pub person: PersonId,
    /// What Microsoft gave; a password brings none.
    pub grant: Option<Granted>,
    /// The product's account, where not the request named it but the product itself.
    pub account: Option<ProductAccount>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    pub profile: Sealed,
    pub scopes: Vec<String>,
    pub expires_at: Timestamp,
}

/// The product's own user id, as it stands in events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductAccount {
    pub hash: AccountHash,
    /// Under the sign-in's own key.
    pub account: Sealed,
    /// What the product calls its user, under the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Sealed>,
}

/// A way into the product's bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// OAuth2 with the person's Microsoft account.
    Microsoft,
    /// The product's own user name and password.
    Password,
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
    /// No such account, or another password: the product does not tell which.
    WrongPassword,
    /// The password was right; the product wants a second factor with it.
    SecondFactorRequired,
    /// Too many passwords were tried, by this person or for this account.
    TooManyAttempts,
    /// The product did not answer, or not in a way that can be read.
    ProductUnavailable,
}

/// Why a sign-in was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// The person asked for another one.
    NewerLogin,
    /// The code was typed wrongly too often.
    WrongCodes,
    /// The person asked to be linked no longer.
    Logout,
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
        account: Option<ProductAccount>,
        now: Timestamp,
    },
    /// The product vouched for one of its accounts; that it is the person's is still to be confirmed.
    AcceptPassword {
        attempt: u32,
        account: ProductAccount,
        now: Timestamp,
    },
    Fail {
        attempt: u32,
        why: FailureReason,
        diagnosis: Diagnosis,
        came: Option<PersonId>,
    },
    /// A code was typed that is not the one of this attempt.
    CountWrongCode {
        attempt: u32,
        now: Timestamp,
    },
    /// Whoever asked for the link says that the browser is the right person's: the client, or the person in the chat.
    Confirm {
        attempt: u32,
        now: Timestamp,
    },
    /// The account turned out to be somebody else's.
    Refuse,
    /// The person wants something else since.
    Void {
        why: VoidReason,
    },
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
    #[serde(rename = "signin.requested.v2")]
    Requested { by: By, lapses_at: Timestamp },
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
        /// What the product says this person's account is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<Box<ProductAccount>>,
    },
    /// Provisional until the person types the code in the chat where the sign-in began.
    #[serde(rename = "signin.password-accepted.v1")]
    PasswordAccepted { attempt: u32, person: PersonId, account: Box<ProductAccount> },
    /// Another code than the one of this attempt.
    #[serde(rename = "signin.code-tried.v1")]
    CodeTried { attempt: u32 },
    #[serde(rename = "signin.confirmed.v1")]
    Confirmed {
        /// The client that asked for the link; absent where it was the person, in the chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<ClientId>,
    },
    #[serde(rename = "signin.completed.v1")]
    Completed { person: PersonId },
    #[serde(rename = "signin.failed.v1")]
    Failed {
        attempt: u32,
        why: FailureReason,
        diagnosis: Diagnosis,
        /// Who it was, where another one was expected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came: Option<PersonId>,
    },
    #[serde(rename = "signin.voided.v1")]
    Voided { why: VoidReason },
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
    #[error("this way in is not offered by this link")]
    NotOffered,
    #[error("the link was called off: ask for a new one")]
    Voided,
}

impl SignIn {
    /// Whether the link still leads anywhere at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Open | Stage::Provisional)
            && self.request.as_ref().is_some_and(|request| now < request.lapses_at)
    }

    /// Whether nothing more can come of it but what follows from its end.
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Completed | Stage::Refused | Stage::Voided | Stage::Lapsed)
    }

    fn open(&self, now: Timestamp) -> Result<&Request, Refusal> {
        match (&self.request, self.stage) {
            (None, _) => Err(Refusal::NoSuchSignIn),
            (_, Stage::Completed | Stage::Refused) => Err(Refusal::Completed),
            (_, Stage::Voided) => Err(Refusal::Voided),
            (Some(request), Stage::Open | Stage::Provisional) if now < request.lapses_at => Ok(request),
            _ => Err(Refusal::Lapsed),
        }
    }

    /// Counts the attempts from 1; 0 before the first.
    pub fn current_attempt(&self) -> u32 {
        self.browser.as_ref().map_or(0, |browser| browser.attempt)
    }

    /// What the attempt named brought, which has to be the latest.
    fn provisional(&self, attempt: u32) -> Result<&Authorized, Refusal> {
        let authorized = self.authorized.as_ref().ok_or(Refusal::NothingToConfirm)?;
        // Whoever vouched did so for this attempt; what another one brings, or is about to, is not meant.
        if attempt != authorized.attempt || attempt != self.current_attempt() {
            return Err(Refusal::StaleAttempt);
        }
        Ok(authorized)
    }

    fn choose(&self, method: Method, browser_hash: String, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let request = self.open(now)?;
        if method == Method::Password && matches!(request.by, By::Client(_)) {
            return Err(Refusal::NotOffered);
        }
        match &self.browser {
            Some(browser) if browser.hash != browser_hash => Err(Refusal::OtherBrowser),
            _ => Ok(vec![Event::MethodChosen { method, browser_hash, attempt: self.current_attempt() + 1 }]),
        }
    }

    fn brought(&mut self, authorized: Authorized) {
        self.stage = Stage::Provisional;
        self.last_failure = None;
        self.wrong_codes = 0;
        self.authorized = Some(authorized);
    }

    fn accept_password(
        &self,
        attempt: u32,
        account: ProductAccount,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let person = match &self.open(now)?.by {
            By::Bot(by) => by.person,
            By::Client(_) => return Err(Refusal::NotOffered),
        };
        if attempt == 0 || attempt != self.current_attempt() {
            return Err(Refusal::StaleAttempt);
        }
        Ok(vec![Event::PasswordAccepted { attempt, person, account: Box::new(account) }])
    }
}

impl Aggregate for SignIn {
    const CATEGORY: &'static str = "signin";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn upcast(name: &str, data: &Value) -> Option<(&'static str, Value)> {
        (name == "signin.requested.v1").then(|| ("signin.requested.v2", request::upcast(data)))
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Ask(_) if self.request.is_some() => Ok(vec![]),
            Command::Ask(request) => Ok(vec![Event::from(request)]),
            Command::Choose { method, browser_hash, now } => self.choose(method, browser_hash, now),
            Command::AcceptPassword { attempt, account, now } => self.accept_password(attempt, account, now),
            Command::Authorize { attempt, person, profile, scopes, expires_at, account, now } => {
                let request = self.open(now)?;
                if attempt == 0 || attempt != self.current_attempt() {
                    return Err(Refusal::StaleAttempt);
                }
                if request.expected().is_some_and(|expected| expected != person) {
                    return Err(Refusal::WrongPerson);
                }
                let provisional = request.expected().is_none();
                let mut events = vec![Event::Authorized {
                    attempt,
                    person,
                    profile,
                    scopes,
                    expires_at,
                    provisional,
                    account: account.map(Box::new),
                }];
                if !provisional {
                    events.push(Event::Completed { person });
                }
                Ok(events)
            }
            // A failure of an attempt that something came of, or that another one overtook, is of no interest.
            Command::Fail { attempt, .. }
                if !matches!(self.stage, Stage::Open | Stage::Provisional)
                    || attempt != self.current_attempt()
                    || self.authorized.as_ref().is_some_and(|authorized| authorized.attempt == attempt) =>
            {
                Ok(vec![])
            }
            Command::Fail { attempt, why, diagnosis, came } => {
                Ok(vec![Event::Failed { attempt, why, diagnosis, came }])
            }
            Command::CountWrongCode { attempt, now } => {
                self.open(now)?;
                self.provisional(attempt)?;
                let last = self.wrong_codes + 1 >= CODE_TRIES_MAX;
                let voided = last.then_some(Event::Voided { why: VoidReason::WrongCodes });
                Ok(std::iter::once(Event::CodeTried { attempt }).chain(voided).collect())
            }
            Command::Confirm { .. } if self.stage == Stage::Completed => Ok(vec![]),
            Command::Confirm { attempt, now } => {
                let by = self.open(now)?.client().cloned();
                let person = self.provisional(attempt)?.person;
                Ok(vec![Event::Confirmed { by }, Event::Completed { person }])
            }
            Command::Refuse if self.stage == Stage::Completed => Ok(vec![Event::Failed {
                attempt: self.current_attempt(),
                why: FailureReason::AccountLinkedElsewhere,
                diagnosis: Diagnosis::default(),
                came: None,
            }]),
            Command::Void { why } if matches!(self.stage, Stage::Open | Stage::Provisional) => {
                Ok(vec![Event::Voided { why }])
            }
            Command::Lapse { now }
                if matches!(self.stage, Stage::Open | Stage::Provisional) && !self.is_open(now) =>
            {
                Ok(vec![Event::Lapsed {}])
            }
            Command::Settle if self.has_ended() && !self.settled => Ok(vec![Event::Settled {}]),
            Command::Refuse | Command::Void { .. } | Command::Lapse { .. } | Command::Settle => Ok(vec![]),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Requested { by, lapses_at } => {
                self.stage = Stage::Open;
                self.request = Some(Request { by, lapses_at });
            }
            Event::MethodChosen { browser_hash, attempt, .. } => {
                self.browser = Some(Browser { hash: browser_hash, attempt });
            }
            Event::Authorized { attempt, person, profile, scopes, expires_at, account, .. } => {
                let grant = Some(Granted { profile, scopes, expires_at });
                let account = account.map(|account| *account);
                self.brought(Authorized { attempt, person, grant, account });
            }
            Event::PasswordAccepted { attempt, person, account } => {
                self.brought(Authorized { attempt, person, grant: None, account: Some(*account) });
            }
            Event::CodeTried { .. } => self.wrong_codes += 1,
            Event::Confirmed { .. } => {}
            Event::Completed { .. } => self.stage = Stage::Completed,
            Event::Failed { why, .. } => {
                self.last_failure = Some(why);
                if why == FailureReason::AccountLinkedElsewhere {
                    self.stage = Stage::Refused;
                }
            }
            Event::Voided { .. } => self.stage = Stage::Voided,
            Event::Lapsed {} => self.stage = Stage::Lapsed,
            Event::Settled {} => self.settled = true,
        }
        self
    }
}

impl From<Request> for Event {
    fn from(Request { by, lapses_at }: Request) -> Self {
        Self::Requested { by, lapses_at }
    }
}

#[cfg(test)]
mod tests;
