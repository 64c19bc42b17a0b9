//! Who exists: two tenants with their people, one personal account, and what the control API did to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value;
use uuid::{Uuid, uuid};

use crate::graph::store::Chat;
use crate::lock;

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

/// A person as they are born: tenant, id, given name, surname, user name, mail, whether the app is installed.
type Born = (Uuid, Uuid, &'static str, &'static str, &'static str, Option<&'static str>, bool);

/// The people everybody knows. Both Adas have the same e-mail, Chiara has none, Dmitri lacks the app, and Gwen is
/// a personal account.
const PEOPLE: [Born; 9] = [
    (
        CONTOSO,
        uuid!("a1b0c001-4d2e-4f60-8a71-92b3c4d5e601"),
        "Ada",
        "Bergström",
        "ada@contoso.example",
        Some("ada@contoso.example"),
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c002-4d2e-4f60-8a71-92b3c4d5e602"),
        "Bruno",
        "Keller",
        "bruno@contoso.example",
        Some("Bruno.Keller@contoso.example"),
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c003-4d2e-4f60-8a71-92b3c4d5e603"),
        "Chiara",
        "Neri",
        "chiara@contoso.example",
        None,
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c004-4d2e-4f60-8a71-92b3c4d5e604"),
        "Dmitri",
        "Olsen",
        "dmitri@contoso.example",
        Some("dmitri@contoso.example"),
        false,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d001-5e3f-4a71-9b82-a3c4d5e6f701"),
        "Ada",
        "Lindqvist",
        "ada@fabrikam.example",
        Some("ada@contoso.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d002-5e3f-4a71-9b82-a3c4d5e6f702"),
        "Emeka",
        "Obi",
        "emeka@fabrikam.example",
        Some("emeka@fabrikam.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d003-5e3f-4a71-9b82-a3c4d5e6f703"),
        "Farah",
        "Haddad",
        "farah@fabrikam.example",
        Some("farah@fabrikam.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d004-5e3f-4a71-9b82-a3c4d5e6f704"),
        "Hugo",
        "O'Neill <&>",
        "hugo@fabrikam.example",
        Some("hugo@fabrikam.example"),
        true,
    ),
    (
        CONSUMERS,
        uuid!("00000000-0000-0000-66f3-3332eca7ea81"),
        "Gwen",
        "Parr",
        "gwen@live.example",
        Some("gwen@live.example"),
        false,
    ),
];

/// Somebody who can sign in.
pub(crate) struct Person {
    pub(crate) tid: Uuid,
    pub(crate) oid: Uuid,
    pub(crate) given: String,
    pub(crate) surname: String,
    /// The user principal name: what they sign in with.
    pub(crate) upn: String,
    mail_at_first: Option<String>,
    app_at_first: bool,
    pub(crate) state: Mutex<State>,
}

/// What can change about a person.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the control API")]
pub(crate) struct State {
    pub(crate) mail: Option<String>,
    /// The value of the optional claim `xms_edov`, if the application is configured to get it.
    pub(crate) edov: Option<Value>,
    pub(crate) disabled: bool,
    pub(crate) app_installed: bool,
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
            state: Mutex::new(first_state(oid, mail.clone(), app)),
            mail_at_first: mail,
            app_at_first: app,
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.given, self.surname)
    }

    /// Names this person's installation of the app; looks like Microsoft's, and means nothing.
    pub(crate) fn installation(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("1#{}##app", self.oid))
    }

    pub(crate) fn is_personal(&self) -> bool {
        self.tid == CONSUMERS
    }
}

fn first_state(oid: Uuid, mail: Option<String>, app_installed: bool) -> State {
    State {
        mail,
        edov: None,
        disabled: false,
        app_installed,
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
    /// Scopes that an administrator granted for all people of a tenant.
    granted: Mutex<HashMap<Uuid, BTreeSet<String>>>,
    chats: RwLock<HashMap<String, Arc<Chat>>>,
}

impl Directory {
    /// The people everybody knows, and `crowd` more at Contoso.
    pub(crate) fn new(crowd: u32) -> Self {
        let known = PEOPLE.into_iter().map(Person::new);
        let crowd = (1..=crowd).map(|number| {
            let upn = format!("person-{number:05}@contoso.example");
            let oid = Uuid::new_v5(&CONTOSO, upn.as_bytes());
            Person::new((CONTOSO, oid, "Person", &format!("{number:05}"), &upn, Some(&upn), true))
        });
        let people: Vec<_> = known.chain(crowd).map(Arc::new).collect();
        let directory = Self {
            by_oid: people.iter().enumerate().map(|(index, person)| (person.oid, index)).collect(),
            by_upn: people.iter().enumerate().map(|(index, person)| (person.upn.clone(), index)).collect(),
            people,
            granted: Mutex::default(),
            chats: RwLock::default(),
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

    pub(crate) fn chat(&self, id: &str) -> Option<Arc<Chat>> {
        self.chats.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Puts a new chat in the place of a person's chat with the bot. The old one's messages stay on record.
    pub(crate) fn move_chat(&self, person: &Person) {
        let mut state = lock(&person.state);
        state.chat = Arc::new(Chat::new(person.oid, state.chat.number + 1));
        let mut chats = self.chats.write().unwrap_or_else(PoisonError::into_inner);
        chats.insert(state.chat.id.clone(), state.chat.clone());
    }

    /// Every chat that ever was.
    pub(crate) fn chats(&self) -> Vec<Arc<Chat>> {
        let mut chats: Vec<_> =
            self.chats.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        chats.sort_by(|one, other| one.id.cmp(&other.id));
        chats
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
        let chats = self.people.iter().map(|person| lock(&person.state).chat.clone());
        *self.chats.write().unwrap_or_else(PoisonError::into_inner) =
            chats.map(|chat| (chat.id.clone(), chat)).collect();
    }
}
