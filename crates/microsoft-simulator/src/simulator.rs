//! The simulator's state, and the handle by which it is looked at and changed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::activities::Activities;
use crate::calls::Calls;
use crate::chance::Chance;
use crate::clock::{self, Clock};
use crate::connector::AppTokens;
use crate::connector::framework::BotKeys;
use crate::dials::{Dials, DialsChange, present};
use crate::entra::grants::{Grants, IssuedSecret};
use crate::entra::keys::Keys;
use crate::faults::Faults;
use crate::graph::store::{Author, Members, MessageRecord};
use crate::people::{Directory, Person};
use crate::{CallCount, Fault, Settings, lock};

/// A simulator; clones are the same one. Everything that the control API does is done through this.
#[derive(Clone)]
pub struct Simulator(pub(crate) Arc<World>);

pub(crate) struct World {
    pub(crate) settings: Settings,
    /// Scheme, host and port of everything.
    pub(crate) base: String,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) directory: Directory,
    pub(crate) grants: Grants,
    pub(crate) keys: Keys,
    pub(crate) app_tokens: AppTokens,
    pub(crate) bot_keys: BotKeys,
    pub(crate) activities: Activities,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) dials: Mutex<Dials>,
    pub(crate) client_secret: Mutex<String>,
    pub(crate) redirect_uris: Mutex<Vec<String>>,
    /// Cancelled when the simulator ends, so that hanging calls do.
    pub(crate) closing: CancellationToken,
}

/// What the control API can do to a person.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersonChange {
    pub disabled: Option<bool>,
    /// The bot hears of it, if it changes.
    pub app_installed: Option<bool>,
    pub bot_blocked: Option<bool>,
    /// The language of their Teams, such as `de-DE`.
    pub locale: Option<String>,
    /// `true`: consents of the person and of their tenant are forgotten.
    pub consent_revoked: Option<bool>,
    pub admin_consent_required: Option<bool>,
    pub ca_blocked: Option<bool>,
    /// `true`: only a sign-in from now on satisfies it.
    pub mfa_required: Option<bool>,
    /// `null`: no such policy.
    #[serde(deserialize_with = "present")]
    pub sign_in_frequency_seconds: Option<Option<u64>>,
    /// `null`: none.
    #[serde(deserialize_with = "present")]
    pub mail: Option<Option<String>>,
    /// The claim `xms_edov` (`true`, `1`, `"1"`, …); `null`: not configured.
    #[serde(deserialize_with = "present")]
    pub edov: Option<Option<Value>>,
    /// `true`: the chat with the bot is gone, and there is a new one.
    pub new_chat: Option<bool>,
}

/// A person as the control API shows them.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the control API")]
pub struct PersonView {
    pub oid: Uuid,
    pub tid: Uuid,
    /// A guest's own tenant.
    pub home_tid: Option<Uuid>,
    pub name: String,
    pub upn: String,
    pub mail: Option<String>,
    pub edov: Option<Value>,
    pub chat_id: String,
    /// What the Bot Framework calls the same chat.
    pub conversation_id: String,
    /// What the Bot Framework calls the person.
    pub user_id: String,
    pub installation_id: String,
    pub disabled: bool,
    pub app_installed: bool,
    pub bot_blocked: bool,
    pub locale: String,
    pub consented: Vec<String>,
    pub admin_consent_required: bool,
    pub ca_blocked: bool,
    pub mfa_required: bool,
    pub sign_in_frequency_seconds: Option<u64>,
}

impl Simulator {
    pub(crate) fn new(settings: Settings) -> anyhow::Result<Self> {
        let base = settings.public_url.clone().context("the simulator needs its `public_url`")?;
        let grants = Grants::default();
        grants.record_ours("client_secret", &settings.client_secret);
        grants.record_ours("bot_secret", &settings.bot_app_secret);
        Ok(Self(Arc::new(World {
            base: base.trim_end_matches('/').to_owned(),
            clock: Clock::default(),
            chance: Chance::new(settings.seed),
            directory: Directory::new(settings.crowd),
            grants,
            keys: Keys::new(),
            app_tokens: AppTokens::default(),
            bot_keys: BotKeys::new(),
            activities: Activities::new(settings.messaging_endpoint.clone())?,
            faults: Faults::default(),
            calls: Calls::default(),
            dials: Mutex::default(),
            client_secret: Mutex::new(settings.client_secret.clone()),
            redirect_uris: Mutex::new(settings.redirect_uris.clone()),
            closing: CancellationToken::new(),
            settings,
        })))
    }

    pub fn people(&self) -> Vec<PersonView> {
        self.0.directory.people().iter().map(|person| self.view(person)).collect()
    }

    /// Changes a person; absent if there is no such person.
    pub fn change_person(&self, oid: Uuid, change: PersonChange) -> Option<PersonView> {
        let person = self.0.directory.person(oid)?;
        if change.consent_revoked == Some(true) {
            self.0.directory.withdraw_consent(person);
        }
        if change.new_chat == Some(true) {
            self.0.directory.move_chat(person);
        }
        if let Some(installed) = change.app_installed {
            self.deliver_later(self.set_installed(person, installed));
        }
        {
            let mut state = lock(&person.state);
            if change.mfa_required == Some(true) {
                state.mfa_epoch += 1;
            }
            set(&mut state.disabled, change.disabled);
            set(&mut state.bot_blocked, change.bot_blocked);
            set(&mut state.locale, change.locale);
            set(&mut state.admin_consent_required, change.admin_consent_required);
            set(&mut state.ca_blocked, change.ca_blocked);
            set(&mut state.mfa_required, change.mfa_required);
            set(&mut state.sign_in_frequency_seconds, change.sign_in_frequency_seconds);
            set(&mut state.mail, change.mail);
            set(&mut state.edov, change.edov);
        }
        Some(self.view(person))
    }

    /// Ends all of a person's sign-ins; says whether there is such a person.
    pub fn revoke_sessions(&self, oid: Uuid) -> bool {
        let Some(person) = self.0.directory.person(oid) else { return false };
        lock(&person.state).session_epoch += 1;
        true
    }

    /// How often each operation was called, by whom, and with which outcome.
    pub fn calls(&self) -> Vec<CallCount> {
        self.0.calls.list()
    }

    /// Every message that Graph posted, chat by chat, oldest first; only of this chat or person if one is given.
    pub fn messages(&self, chat: Option<&str>, oid: Option<Uuid>) -> Vec<MessageRecord> {
        self.said(Some(Author::Graph), chat, oid)
    }

    /// Everything said by this kind of author, or by anybody, in this chat, or with this person; groups come with
    /// everybody in them.
    pub fn said(&self, by: Option<Author>, chat: Option<&str>, oid: Option<Uuid>) -> Vec<MessageRecord> {
        let tid = oid.and_then(|oid| self.0.directory.person(oid)).map(|person| person.tid);
        let is_with = |members: Members| match members {
            Members::One(owner) => oid.is_none_or(|oid| owner == oid),
            Members::Everybody(of) => oid.is_none() || tid == Some(of),
        };
        let chats = self.0.directory.chats.all();
        let wanted = chats.iter().filter(|it| {
            chat.is_none_or(|id| it.id == id || it.conversation_id == id) && is_with(it.members)
        });
        let records = wanted.flat_map(|chat| chat.records());
        records.filter(|record| by.is_none_or(|by| record.author == by)).collect()
    }

    /// Waits until `holds`, which is looked at now and after each simulated call; forever, if need be.
    pub async fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        self.0.calls.until(|| holds(self)).await;
    }

    /// Sets a fault, or says what is wrong with it.
    pub fn add_fault(&self, fault: Fault) -> Result<(), String> {
        fault.check()?;
        self.0.faults.add(fault);
        Ok(())
    }

    /// The faults that still wait for their calls.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.faults.list()
    }

    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }

    /// Moves the clock forward; it cannot go back, except by [`Self::reset`].
    pub fn advance_clock(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// What Microsoft believes the time to be, and how far ahead of real time that is (ms).
    pub fn time(&self) -> (String, u64) {
        (clock::stamp(self.0.clock.now_ms()), self.0.clock.offset_ms())
    }

    pub fn dials(&self) -> Dials {
        *lock(&self.0.dials)
    }

    pub fn turn(&self, change: DialsChange) -> Dials {
        if let Some(secret) = change.client_secret {
            self.0.grants.record_ours("client_secret", &secret);
            *lock(&self.0.client_secret) = secret;
        }
        set(&mut *lock(&self.0.redirect_uris), change.redirect_uris);
        set(&mut *lock(&self.0.activities.messaging_endpoint), change.messaging_endpoint);
        set(&mut *lock(&self.0.activities.service_url), change.service_url);
        let mut dials = lock(&self.0.dials);
        set(&mut dials.echo, change.echo);
        set(&mut dials.install_order, change.install_order);
        set(&mut dials.redelivery, change.redelivery);
        set(&mut dials.answer_timeout_ms, change.answer_timeout_ms);
        set(&mut dials.rotation, change.rotation);
        set(&mut dials.throttle, change.throttle);
        set(&mut dials.retry_after, change.retry_after);
        set(&mut dials.secret_expired, change.secret_expired);
        set(&mut dials.distribution, change.distribution);
        set(&mut dials.access_token_seconds, change.access_token_seconds);
        set(&mut dials.keep_old_key, change.keep_old_key);
        *dials
    }

    /// From now on the other key signs, of Entra ID and of the Bot Framework.
    pub fn roll_keys(&self) {
        self.0.keys.roll();
        self.0.bot_keys.roll();
    }

    /// Every secret that was ever given out, for searching logs and files for them. A reset does not forget them.
    pub fn secrets(&self) -> Vec<IssuedSecret> {
        self.0.grants.issued()
    }

    /// Everything as at the start, except [`Self::secrets`] and the random numbers.
    pub fn reset(&self) {
        self.0.directory.reset();
        self.0.grants.clear();
        self.0.keys.reset();
        self.0.app_tokens.clear();
        self.0.bot_keys.reset();
        self.0.activities.reset(self.0.settings.messaging_endpoint.clone());
        self.0.faults.clear();
        self.0.calls.clear();
        self.0.clock.reset();
        *lock(&self.0.dials) = Dials::default();
        lock(&self.0.client_secret).clone_from(&self.0.settings.client_secret);
        lock(&self.0.redirect_uris).clone_from(&self.0.settings.redirect_uris);
    }

    /// Ends hanging calls. Called by the shutdown of [`crate::serve`].
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    fn view(&self, person: &Person) -> PersonView {
        let consented = self.0.directory.consents(person).into_iter().collect();
        let state = lock(&person.state);
        PersonView {
            oid: person.oid,
            tid: person.tid,
            home_tid: person.home.as_ref().map(|home| home.tid),
            name: person.name(),
            upn: person.upn.clone(),
            mail: state.mail.clone(),
            edov: state.edov.clone(),
            chat_id: state.chat.id.clone(),
            conversation_id: state.chat.conversation_id.clone(),
            user_id: person.user_id(),
            installation_id: person.installation(),
            disabled: state.disabled,
            app_installed: state.app_installed,
            bot_blocked: state.bot_blocked,
            locale: state.locale.clone(),
            consented,
            admin_consent_required: state.admin_consent_required,
            ca_blocked: state.ca_blocked,
            mfa_required: state.mfa_required,
            sign_in_frequency_seconds: state.sign_in_frequency_seconds,
        }
    }
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}
