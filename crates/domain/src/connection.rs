//! A person's link to Microsoft: the grant in force, the generations of its tokens, and the chat with the bot.
//!
//! **Invariants.** At most one claim to refresh is open at a time, and one claim makes at most one call. Generations of a
//! grant count up by one. What a command says of an older grant, generation or claim changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    bot::{Bot, Conversation, Installation, Reachable},
    grant::{Claim, Grant},
};
use crate::{Aggregate, HubId, PersonId, Sealed, SignInId, Timestamp, diagnosis::Diagnosis};

mod bot;
mod grant;

/// A connection as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    pub person: Option<PersonId>,
    /// The key under which this person's data is sealed; kept through unlinking.
    pub person_key: Option<Uuid>,
    pub status: Status,
    /// The newest grant, also when it is no longer good.
    pub grant: Option<Grant>,
    pub chat_id: Option<String>,
    /// The bot's own chat with the person, once it was told of one. It may be there before anybody was linked.
    pub bot: Option<Bot>,
    /// The sign-in that the person asked the bot for last.
    pub begun: Option<Begun>,
}

/// Of the sign-ins that a person asked the bot for, only the newest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub sign_in: SignInId,
    /// The one before it, which is to be called off.
    pub former: Option<SignInId>,
}

/// Whether messages can be posted with this person's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Absent,
    /// An account of the product is this person's; there is no Microsoft token, and the bot speaks for itself.
    Linked,
    Active,
    /// The grant is dead; only the person can bring a new one.
    ReauthorizationRequired,
    /// A person or an administrator has to consent.
    ConsentRequired,
    /// Microsoft says that the person is disabled or gone.
    Suspended,
    Unlinked,
}

/// Why nothing but a new sign-in helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReauthorizationReason {
    /// Revoked, expired or otherwise not valid any more.
    GrantDead,
    /// The organisation wants to see the person again: multi-factor, sign-in frequency.
    InteractionRequired,
    /// Conditional Access blocks the person or the device.
    Blocked,
    /// Graph asked for claims that only a sign-in can bring.
    ClaimsChallenge,
    /// The vault no longer holds the grant's tokens.
    TokensLost,
}

/// What a failed refresh means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The grant is dead.
    Final,
    ConsentRequired,
    Suspended,
    /// Something is wrong between the hub and the person's organisation.
    Tenant,
    /// The hub's own registration is wrong; never the person's fault.
    Hub,
    Throttled,
    /// Nothing was sent.
    NotSent,
    Transient,
    /// Perhaps it happened, perhaps not.
    Ambiguous,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// A completed sign-in links the person.
    Link(Link),
    /// The person asked the bot for a sign-in.
    BeginSignIn {
        sign_in: SignInId,
    },
    /// Claims the right to call the token endpoint once.
    StartRefresh(StartRefresh),
    /// The vault holds this generation.
    FinishRefresh {
        grant: SignInId,
        generation: u64,
        claim: u64,
        scopes: Vec<String>,
        expires_at: Timestamp,
    },
    FailRefresh(RefreshFailure),
    Expire {
        grant: SignInId,
        generation: u64,
    },
    /// Something other than a refresh showed that the grant is of no use.
    RequireReauthorization {
        grant: SignInId,
        why: ReauthorizationReason,
        diagnosis: Diagnosis,
    },
    /// The log and the vault are those of a backup, and Microsoft may have given newer tokens to the hub that was lost.
    Restore {
        backed_up_at: Timestamp,
    },
    FindChat {
        chat_id: String,
    },
    /// The chat that was known is gone.
    LoseChat {
        chat_id: String,
    },
    /// The person has the bot: it was installed, or they wrote to it.
    InstallBot(Installation),
    /// The bot is no longer in this conversation; since when, where Teams told that of its own accord.
    RemoveBot {
        conversation_id: String,
        at: Option<Timestamp>,
    },
    /// The person lets the bot write no more in this conversation.
    BlockBot {
        conversation_id: String,
    },
    Unlink,
    /// The tokens of an unlinked person's grant are out of the vault.
    RecordDestroyed {
        grant: SignInId,
    },
}

/// What a completed sign-in brings.
#[derive(Clone, Debug)]
pub struct Link {
    pub person: PersonId,
    pub person_key: Uuid,
    /// Name, user principal name and e-mail, sealed under the person's key.
    pub profile: Sealed,
    pub sign_in: SignInId,
    /// What Microsoft gave; `None` where the person came by the product's password.
    pub tokens: Option<FirstTokens>,
}

/// The first generation of a grant.
#[derive(Clone, Debug)]
pub struct FirstTokens {
    pub scopes: Vec<String>,
    pub expires_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct StartRefresh {
    pub grant: SignInId,
    /// The generation that the caller wants to replace.
    pub generation: u64,
    pub hub: HubId,
    pub timeout_ms: u64,
    /// An open claim whose time is known to be over.
    pub dead_claim: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct RefreshFailure {
    pub grant: SignInId,
    pub claim: u64,
    pub class: FailureClass,
    /// Set where the class is final.
    pub reason: Option<ReauthorizationReason>,
    pub diagnosis: Diagnosis,
    pub not_before: Option<Timestamp>,
}

/// What can happen to a connection, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "connection.linked.v1")]
    Linked { person: PersonId, person_key: Uuid, profile: Sealed, sign_in: SignInId },
    /// Another one that the person asked the bot for counts no longer.
    #[serde(rename = "connection.sign-in-begun.v1")]
    SignInBegun { sign_in: SignInId },
    #[serde(rename = "connection.token-issued.v1")]
    TokenIssued {
        grant: SignInId,
        grant_number: u64,
        generation: u64,
        scopes: Vec<String>,
        expires_at: Timestamp,
    },
    #[serde(rename = "connection.refresh-started.v1")]
    RefreshStarted { grant: SignInId, generation: u64, claim: u64, hub: HubId, timeout_ms: u64 },
    #[serde(rename = "connection.token-refreshed.v1")]
    TokenRefreshed {
        grant: SignInId,
        generation: u64,
        claim: u64,
        scopes: Vec<String>,
        expires_at: Timestamp,
    },
    #[serde(rename = "connection.refresh-failed.v1")]
    RefreshFailed {
        grant: SignInId,
        generation: u64,
        claim: u64,
        class: FailureClass,
        diagnosis: Diagnosis,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
    },
    #[serde(rename = "connection.token-expired.v1")]
    TokenExpired { grant: SignInId, generation: u64, expired_at: Timestamp },
    /// The tokens are those of a backup; they are replaced before they are used again.
    #[serde(rename = "connection.tokens-restored.v1")]
    TokensRestored { grant: SignInId, generation: u64, backed_up_at: Timestamp },
    #[serde(rename = "connection.reauthorization-required.v1")]
    ReauthorizationRequired {
        grant: SignInId,
        generation: u64,
        why: ReauthorizationReason,
        diagnosis: Diagnosis,
    },
    #[serde(rename = "connection.consent-required.v1")]
    ConsentRequired { grant: SignInId, generation: u64, diagnosis: Diagnosis },
    #[serde(rename = "connection.suspended.v1")]
    Suspended { grant: SignInId, generation: u64, diagnosis: Diagnosis },
    #[serde(rename = "connection.unlinked.v1")]
    Unlinked {},
    #[serde(rename = "connection.tokens-destroyed.v1")]
    TokensDestroyed { grant: SignInId },
    #[serde(rename = "connection.chat-found.v1")]
    ChatFound { chat_id: String },
    #[serde(rename = "connection.chat-lost.v1")]
    ChatLost { chat_id: String },
    /// The bot can write to the person. Recorded again when something of the conversation is another, and when the
    /// person is back.
    #[serde(rename = "connection.bot-installed.v1")]
    BotInstalled {
        person: PersonId,
        conversation: Conversation,
        /// By Teams' own clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    #[serde(rename = "connection.bot-removed.v1")]
    BotRemoved {
        /// By Teams' own clock; absent where a message could not be sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// The person has the bot, and does not let it write.
    #[serde(rename = "connection.bot-blocked.v1")]
    BotBlocked {},
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the person is not linked")]
    NotLinked,
    #[error("the person's data is sealed under another key: seal the profile under it and link again")]
    OtherPersonKey(Uuid),
    #[error("another refresh is under way")]
    RefreshUnderWay(Claim),
    #[error("the grant, or this generation of it, is no longer the newest")]
    Superseded,
    #[error("the grant can't be refreshed: its status is {0:?}")]
    NotActive(Status),
}

impl Connection {
    /// The grant, if it is the one meant and still in force.
    fn in_force(&self, grant: SignInId) -> Option<&Grant> {
        self.grant.as_ref().filter(|current| current.id == grant && self.status == Status::Active)
    }

    fn link(&self, link: Link) -> Result<Vec<Event>, Refusal> {
        let Link { person, person_key, profile, sign_in, tokens } = link;
        if self.grant.as_ref().is_some_and(|grant| grant.id == sign_in) {
            // Whoever finishes a sign-in a second time finds its grant in place.
            return Ok(vec![]);
        }
        if let Some(key) = self.person_key.filter(|key| *key != person_key) {
            return Err(Refusal::OtherPersonKey(key));
        }
        let linked = Event::Linked { person, person_key, profile, sign_in };
        match tokens {
            // Who is linked already stays so, with the grant that is there.
            None if !matches!(self.status, Status::Absent | Status::Unlinked) => Ok(vec![]),
            None => Ok(vec![linked]),
            Some(FirstTokens { scopes, expires_at }) => {
                let grant_number = self.grant.as_ref().map_or(0, |grant| grant.number) + 1;
                let issued =
                    Event::TokenIssued { grant: sign_in, grant_number, generation: 1, scopes, expires_at };
                Ok(vec![linked, issued])
            }
        }
    }

    fn start_refresh(&self, start: StartRefresh) -> Result<Vec<Event>, Refusal> {
        let StartRefresh { grant, generation, hub, timeout_ms, dead_claim } = start;
        let current = self.grant.as_ref().ok_or(Refusal::NotLinked)?;
        if self.status != Status::Active {
            return Err(Refusal::NotActive(self.status));
        }
        if current.id != grant || current.generation != generation {
            return Err(Refusal::Superseded);
        }
        match current.open_claim {
            Some(open) if dead_claim != Some(open.number) => Err(Refusal::RefreshUnderWay(open)),
            _ => {
                let claim = current.claims + 1;
                Ok(vec![Event::RefreshStarted { grant, generation: generation + 1, claim, hub, timeout_ms }])
            }
        }
    }

    /// A failure is recorded for the claim that is open; what it means for the connection follows at once.
    fn fail_refresh(&self, failure: RefreshFailure) -> Vec<Event> {
        let RefreshFailure { grant, claim, class, reason, diagnosis, not_before } = failure;
        let holds = |current: &&Grant| current.open_claim.is_some_and(|open| open.number == claim);
        let Some(generation) = self.in_force(grant).filter(holds).map(|current| current.generation) else {
            return vec![];
        };
        let consequence = match class {
            FailureClass::Final => {
                let why = reason.unwrap_or(ReauthorizationReason::GrantDead);
                Some(Event::ReauthorizationRequired { grant, generation, why, diagnosis: diagnosis.clone() })
            }
            FailureClass::ConsentRequired => {
                Some(Event::ConsentRequired { grant, generation, diagnosis: diagnosis.clone() })
            }
            FailureClass::Suspended => {
                Some(Event::Suspended { grant, generation, diagnosis: diagnosis.clone() })
            }
            _ => None,
        };
        let failed =
            Event::RefreshFailed { grant, generation: generation + 1, claim, class, diagnosis, not_before };
        std::iter::once(failed).chain(consequence).collect()
    }

    fn expire(&self, grant: SignInId, generation: u64) -> Vec<Event> {
        let due =
            |current: &&Grant| current.id == grant && current.generation == generation && !current.expired;
        self.grant.as_ref().filter(due).map_or_else(Vec::new, |current| {
            vec![Event::TokenExpired { grant, generation, expired_at: current.expires_at }]
        })
    }
}

impl Aggregate for Connection {
    const CATEGORY: &'static str = "connection";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Link(link) => self.link(link),
            Command::BeginSignIn { sign_in } if self.begun.is_some_and(|begun| begun.sign_in == sign_in) => {
                Ok(vec![])
            }
            Command::BeginSignIn { sign_in } => Ok(vec![Event::SignInBegun { sign_in }]),
            Command::StartRefresh(start) => self.start_refresh(start),
            Command::FinishRefresh { grant, generation, claim, scopes, expires_at } => {
                // Also for a claim that another one overtook: what the vault holds is what is true.
                let news = self.in_force(grant).is_some_and(|current| {
                    generation == current.generation + 1 && (1..=current.claims).contains(&claim)
                });
                let refreshed = Event::TokenRefreshed { grant, generation, claim, scopes, expires_at };
                Ok(news.then_some(refreshed).into_iter().collect())
            }
            Command::FailRefresh(failure) => Ok(self.fail_refresh(failure)),
            Command::Expire { grant, generation } => Ok(self.expire(grant, generation)),
            Command::RequireReauthorization { grant, why, diagnosis } => {
                let generation = self.in_force(grant).map(|current| current.generation);
                let required =
                    |generation| Event::ReauthorizationRequired { grant, generation, why, diagnosis };
                Ok(generation.map(required).into_iter().collect())
            }
            Command::Restore { backed_up_at } => {
                let active = self.grant.as_ref().filter(|_| self.status == Status::Active);
                let restored = active.map(|grant| Event::TokensRestored {
                    grant: grant.id,
                    generation: grant.generation,
                    backed_up_at,
                });
                Ok(restored.into_iter().collect())
            }
            Command::FindChat { chat_id } if self.chat_id.as_ref() == Some(&chat_id) => Ok(vec![]),
            Command::FindChat { chat_id } => Ok(vec![Event::ChatFound { chat_id }]),
            Command::LoseChat { chat_id } if self.chat_id.as_ref() == Some(&chat_id) => {
                Ok(vec![Event::ChatLost { chat_id }])
            }
            Command::LoseChat { .. } => Ok(vec![]),
            Command::InstallBot(installation) => Ok(self.install_bot(installation)),
            Command::RemoveBot { conversation_id, at } => Ok(self.remove_bot(&conversation_id, at)),
            Command::BlockBot { conversation_id } => Ok(self.block_bot(&conversation_id)),
            Command::Unlink if matches!(self.status, Status::Absent | Status::Unlinked) => {
                Err(Refusal::NotLinked)
            }
            Command::Unlink => Ok(vec![Event::Unlinked {}]),
            Command::RecordDestroyed { grant } => {
                let kept = |current: &&Grant| current.id == grant && !current.destroyed;
                let over = matches!(self.status, Status::Unlinked | Status::Linked);
                let news = over && self.grant.as_ref().is_some_and(|g| kept(&g));
                Ok(news.then_some(Event::TokensDestroyed { grant }).into_iter().collect())
            }
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Linked { person, person_key, .. } => {
                self.person = Some(person);
                self.person_key = Some(person_key);
                if matches!(self.status, Status::Absent | Status::Unlinked) {
                    self.status = Status::Linked;
                }
            }
            Event::SignInBegun { sign_in } => {
                self.begun = Some(Begun { sign_in, former: self.begun.map(|begun| begun.sign_in) });
            }
            Event::TokenIssued { grant, grant_number, generation, scopes, expires_at } => {
                self.status = Status::Active;
                let former = self.grant.as_ref().map(|former| former.id);
                let new = Grant::new(grant, grant_number, generation, scopes, expires_at);
                self.grant = Some(Grant { former, ..new });
            }
            Event::ReauthorizationRequired { .. } => self.end(Status::ReauthorizationRequired),
            Event::ConsentRequired { .. } => self.end(Status::ConsentRequired),
            Event::Suspended { .. } => self.end(Status::Suspended),
            Event::Unlinked {} => self.end(Status::Unlinked),
            Event::ChatFound { chat_id } => self.chat_id = Some(chat_id),
            Event::ChatLost { .. } => self.chat_id = None,
            Event::BotInstalled { person, conversation, at } => {
                self.person = Some(person);
                self.have_bot(conversation, at);
            }
            Event::BotRemoved { at } => self.lose_bot(Reachable::Removed, at),
            Event::BotBlocked {} => self.lose_bot(Reachable::Blocked, None),
            of_the_grant => {
                if let Some(grant) = &mut self.grant {
                    grant.evolve(of_the_grant);
                }
            }
        }
        self
    }
}

impl Connection {
    fn end(&mut self, status: Status) {
        self.status = status;
        if let Some(grant) = &mut self.grant {
            grant.open_claim = None;
        }
    }
}

#[cfg(test)]
mod tests;
