//! Who exists: two tenants with their people, one personal account, and what the control API did to them.

mod born;
mod chats;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest;
use serde_json::Value;
use uuid::{Uuid, uuid};

use crate::graph::store::Chat;
use crate::lock;
use born::{GUESTS, PEOPLE};
use chats::Chats;

pub const CONTOSO: Uuid = uuid!("5f2c1a7e-6b1d-4c55-9a3e-0c1d2e3f4a01");
pub const FABRIKAM: Uuid = uuid!("8c4e7b2d-93af-4d1e-b6c8-1a2b3c4d5e02");
/// The tenant of all personal accounts, the same one as Microsoft's.
pub const CONSUMERS: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

/// Name, verified domain and id of each tenant.
pub(crate) const TENANTS: [(&str, &str, Uuid); 3] = [
    ("Contoso", "contoso.example", CONTOSO),
    ("Fabrikam", "fabrikam.example", FABRIKAM),
    ("Personal accounts", "live.example", CONSUMERS),
];

/// Name and id of each organisation.
pub fn organisations() -> impl Iterator<Item = (&'static str, Uuid)> {
    TENANTS.into_iter().filter(|(_, _, id)| *id != CONSUMERS).map(|(name, _, id)| (name, id))
}

/// Somebody who can sign in.
pub(crate) struct Person {
    pub(crate) tid: Uuid,
    pub(crate) oid: Uuid,
    pub(crate) given: String,
    pub(crate) surname: String,
    /// The user principal name: what they sign in with.
    pub(crate) upn: String,
    /// Where a guest is at home.
    pub(crate) home: Option<Home>,
    mail_at_first: Option<String>,
    app_at_first: bool,
    pub(crate) state: Mutex<State>,
}

/// Tenant, object id and user principal name of a guest in their own tenant.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) tid: Uuid,
    pub(crate) oid: Uuid,
    pub(crate) upn: String,
}

/// What can change about a person.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the control API")]
pub(crate) struct State {
    pub(crate) mail: Option<String>,
    /// The value of the optional claim `xms_edov`, if the application is configured to get it.
    pub(crate) edov: Option<Value>,
    pub(crate) disabled: bool,
    /// Whether the Teams app, and with it the bot, is there.
    pub(crate) app_installed: bool,
    /// Whether the person does not want to hear from the bot.
    pub(crate) bot_blocked: bool,
    /// The language of their Teams.
    pub(crate) locale: String,
    pub(crate) consented: BTreeSet<String>,
    pub(crate) admin_consent_required: bool,
    pub(crate) ca_blocked: bool,
    pub(crate) mfa_required: bool,
    /// Counts how often multi-factor authentication was demanded: sign-ins of before don't satisfy it.
    pub(crate) mfa_epoch: u64,
    /// Counts how often all sessions were revoked: sign-ins of before are over.
    pub(crate) session_epoch: u64,
    pub(crate) sign_in_frequency_seconds: Option<u64>,
    /// The chat with the bot. A new one can take its place; the old one is gone then.
    pub(crate) chat: Arc<Chat>,
}

impl Person {
    fn new(
        (tid, oid, given, surname, upn, mail, app): (Uuid, Uuid, &str, &str, &str, Option<&str>, bool),
    ) -> Self {
        let mail = mail.map(ToOwned::to_owned);
        Self {
            tid,
            oid,
            given: given.into(),
            surname: surname.into(),
            upn: upn.into(),
            home: None,
            state: Mutex::new(first_state(oid, mail.clone(), app)),
            mail_at_first: mail,
            app_at_first: app,
        }
    }

    /// The same human being in another tenant, known there by another object id.
    fn guest_of(&self, tid: Uuid, oid: Uuid) -> Self {
        let host = TENANTS.iter().find(|(_, _, it)| *it == tid).map_or("", |(_, domain, _)| domain);
        let upn = format!("{}#ext#@{host}", self.upn.replace('@', "_"));
        let (given, surname) = (self.given.as_str(), self.surname.as_str());
        let guest = Self::new((tid, oid, given, surname, &upn, self.mail_at_first.as_deref(), true));
        Self { home: Some(Home { tid: self.tid, oid: self.oid, upn: self.upn.clone() }), ..guest }
    }

    /// How the Bot Framework names them, whichever the conversation.
    pub(crate) fn user_id(&self) -> String {
        format!("29:1{}", opaque(&self.oid.to_string()))
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.given, self.surname)
    }

    /// Names this person's installation of the app; looks like Microsoft's, and means nothing.
    pub(crate) fn installation(&self) -> String {
        STANDARD.encode(format!("1#{}##app", self.oid))
    }

    pub(crate) fn is_personal(&self) -> bool {
        self.tid == CONSUMERS
    }
}

/// Something that means nothing to others and is always the same for `what`.
pub(crate) fn opaque(what: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA512, what.as_bytes()))
}

fn first_state(oid: Uuid, mail: Option<String>, app_installed: bool) -> State {
    State {
        mail,
        edov: None,
        disabled: false,
        app_installed,
        bot_blocked: false,
        locale: "en-US".into(),
        consented: BTreeSet::new(),
        admin_consent_required: false,
        ca_blocked: false,
        mfa_required: false,
        mfa_epoch: 0,
        session_epoch: 0,
        sign_in_frequency_seconds: None,
        chat: Arc::new(Chat::new(oid, 0)),
    }
}

/// All people and all chats.
pub(crate) struct Directory {
    people: Vec<Arc<Person>>,
    by_oid: HashMap<Uuid, usize>,
    by_upn: HashMap<String, usize>,
    /// By the Bot Framework's id.
    by_user_id: HashMap<String, usize>,
    /// Scopes that an administrator granted for all people of a tenant.
    granted: Mutex<HashMap<Uuid, BTreeSet<String>>>,
    pub(crate) chats: Chats,
}

impl Directory {
    /// The people everybody knows, and `crowd` more at Contoso.
    pub(crate) fn new(crowd: u32) -> Self {
        let mut known: Vec<_> = PEOPLE.into_iter().map(Person::new).collect();
        for (tid, oid, home) in GUESTS {
            known.extend(known.iter().find(|it| it.oid == home).map(|it| it.guest_of(tid, oid)));
        }
        let crowd = (1..=crowd).map(|number| {
            let upn = format!("person-{number:05}@contoso.example");
            let oid = Uuid::new_v5(&CONTOSO, upn.as_bytes());
            Person::new((CONTOSO, oid, "Person", &format!("{number:05}"), &upn, Some(&upn), true))
        });
        let people: Vec<_> = known.into_iter().chain(crowd).map(Arc::new).collect();
        let directory = Self {
            by_oid: people.iter().enumerate().map(|(index, person)| (person.oid, index)).collect(),
            by_upn: people.iter().enumerate().map(|(index, person)| (person.upn.clone(), index)).collect(),
            by_user_id: people.iter().enumerate().map(|(index, it)| (it.user_id(), index)).collect(),
            people,
            granted: Mutex::default(),
            chats: Chats::default(),
        };
        directory.collect_chats();
        directory
    }

    pub(crate) fn people(&self) -> &[Arc<Person>] {
        &self.people
    }

    pub(crate) fn person(&self, oid: Uuid) -> Option<&Arc<Person>> {
        self.by_oid.get(&oid).map(|&index| &self.people[index])
    }

    /// By object id or by user principal name.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Person>> {
        match name.parse() {
            Ok(oid) => self.person(oid),
            Err(_) => self.by_upn.get(&name.to_lowercase()).map(|&index| &self.people[index]),
        }
    }

    /// By the Bot Framework's id, or by object id.
    pub(crate) fn member(&self, id: &str) -> Option<&Arc<Person>> {
        match self.by_user_id.get(id) {
            Some(&index) => Some(&self.people[index]),
            None => self.person(id.parse().ok()?),
        }
    }

    /// Who this person is in that tenant: a guest has an object id of their own there.
    pub(crate) fn within<'a>(&'a self, tid: Uuid, person: &'a Arc<Person>) -> Option<&'a Arc<Person>> {
        let is_guest = |it: &&Arc<Person>| it.home.as_ref().is_some_and(|home| home.oid == person.oid);
        if person.tid == tid {
            return Some(person);
        }
        self.people.iter().filter(|it| it.tid == tid).find(is_guest)
    }

    /// Puts a new chat in the place of a person's chat with the bot. The old one's messages stay on record.
    pub(crate) fn move_chat(&self, person: &Person) {
        let mut state = lock(&person.state);
        state.chat = Arc::new(Chat::new(person.oid, state.chat.number + 1));
        self.chats.add(&state.chat);
    }

    pub(crate) fn grant_for_tenant(&self, tid: Uuid, scopes: impl IntoIterator<Item = String>) {
        lock(&self.granted).entry(tid).or_default().extend(scopes);
    }

    /// What the person or an administrator of theirs has consented to.
    pub(crate) fn consents(&self, person: &Person) -> BTreeSet<String> {
        let mut scopes = lock(&person.state).consented.clone();
        scopes.extend(lock(&self.granted).get(&person.tid).into_iter().flatten().cloned());
        scopes
    }

    pub(crate) fn withdraw_consent(&self, person: &Person) {
        lock(&person.state).consented.clear();
        lock(&self.granted).remove(&person.tid);
    }

    /// Everybody as they were born, with empty chats.
    pub(crate) fn reset(&self) {
        lock(&self.granted).clear();
        for person in &self.people {
            *lock(&person.state) = first_state(person.oid, person.mail_at_first.clone(), person.app_at_first);
        }
        self.collect_chats();
    }

    fn collect_chats(&self) {
        self.chats.clear();
        for tid in [CONTOSO, FABRIKAM] {
            self.chats.add(&Arc::new(Chat::group(tid)));
        }
        for person in &self.people {
            self.chats.add(&lock(&person.state).chat);
        }
    }
}
