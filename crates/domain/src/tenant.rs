//! An organisation at Microsoft: whether and how its people may sign in, which way messages reach them, and whether
//! deliveries to it are held back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Aggregate, PersonId, Surface, SurfaceChoice, ids::NotAnId};

/// What is known of a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    pub seen: bool,
    pub admission: Admission,
    /// What people call it, where an operator said so: Microsoft does not.
    pub name: Option<Name>,
    pub policy: Policy,
    /// The surfaces whose breaker is open.
    pub breakers: BTreeSet<Surface>,
    pub consent: Consent,
    /// Who could not sign in for want of consent, and is to be told when there is word of it. No more than the organisation has
    /// people: each has typed `login` themselves.
    pub awaiting: BTreeSet<PersonId>,
    /// Who waited when there was word of it, and by which report; until all of them are told.
    pub to_tell: BTreeMap<PersonId, u32>,
    /// The newest report; 0 where there was none.
    pub reported: u32,
    /// The newest report of which all were told who waited for it.
    pub told: u32,
}

/// What is known of an administrator's consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    #[default]
    Unknown,
    /// A browser brought word of it. That proves nothing, but it is worth another try.
    Reported,
    /// A sign-in after that really brought the scopes.
    Granted,
}

/// What an operator said about a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Nothing: the installation's setting (`listed` or `open`) decides.
    #[default]
    Unspecified,
    Admitted,
    Blocked,
}

impl Admission {
    /// Whether people of this tenant may sign in where unlisted tenants are (`open`) or are not let in.
    pub fn lets_in(self, open: bool) -> bool {
        match self {
            Self::Unspecified => open,
            Self::Admitted => true,
            Self::Blocked => false,
        }
    }
}

/// What people call an organisation: 1 to 100 characters on one line, none of which turns the direction of writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        // What nobody sees, another line, and what has the rest read in another order than it is written (Unicode Annex 9).
        let unseen = |c| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let problem = if text.trim() != text || !(1..=100).contains(&text.chars().count()) {
            "must have 1 to 100 characters, no space at either end"
        } else if text.chars().any(|c| c.is_control() || unseen(c)) {
            "must not contain control characters"
        } else {
            return Ok(Self(text.into()));
        };
        Err(NotAnId { what: "the name of an organisation", problem })
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How things are done in a tenant. What is not set is as the installation has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which way messages go that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<SurfaceChoice>,
    /// Whether people may come by the product's own password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<bool>,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Somebody of this tenant came.
    See,
    /// Without a name it keeps the one that it has.
    Admit {
        name: Option<Name>,
    },
    Block,
    SetPolicy(Policy),
    /// Too many deliveries in a row whose outcome is unknown.
    OpenBreaker {
        surface: Surface,
        unknowns: u32,
    },
    CloseBreaker {
        surface: Surface,
    },
    /// Somebody could not sign in because nobody has consented.
    AwaitConsent {
        person: PersonId,
    },
    ReportConsent,
    /// Who waited for this report is told, as far as that can be.
    RecordTold {
        report: u32,
    },
    /// A sign-in returned these scopes.
    GrantConsent {
        scopes: BTreeSet<String>,
    },
}

/// What can happen to a tenant, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "tenant.seen.v1")]
    Seen {},
    #[serde(rename = "tenant.admitted.v1")]
    Admitted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
    },
    #[serde(rename = "tenant.blocked.v1")]
    Blocked {},
    #[serde(rename = "tenant.policy-changed.v1")]
    PolicyChanged(Policy),
    #[serde(rename = "tenant.breaker-opened.v1")]
    BreakerOpened { surface: Surface, unknowns: u32 },
    #[serde(rename = "tenant.breaker-closed.v1")]
    BreakerClosed { surface: Surface },
    /// Somebody could not sign in because nobody has consented.
    #[serde(rename = "tenant.consent-awaited.v1")]
    ConsentAwaited { person: PersonId },
    /// A browser came back from Microsoft saying that an administrator consented.
    #[serde(rename = "tenant.consent-reported.v1")]
    ConsentReported {
        /// Counted from 1. None was written when those who waited were told by the request itself: they are not told again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<u32>,
    },
    /// Those who waited for this report, or an earlier one, were told, as far as that could be.
    #[serde(rename = "tenant.consent-told.v1")]
    ConsentTold { report: u32 },
    /// The first sign-in after that brought these scopes.
    #[serde(rename = "tenant.consent-granted.v1")]
    ConsentGranted { scopes: BTreeSet<String> },
}

/// A tenant refuses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl Aggregate for Tenant {
    const CATEGORY: &'static str = "tenant";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        Ok(match command {
            Command::See if !self.seen => vec![Event::Seen {}],
            Command::Admit { name }
                if self.admission != Admission::Admitted || (name.is_some() && name != self.name) =>
            {
                vec![Event::Admitted { name }]
            }
            Command::Block if self.admission != Admission::Blocked => vec![Event::Blocked {}],
            Command::SetPolicy(policy) if self.policy != policy => vec![Event::PolicyChanged(policy)],
            Command::OpenBreaker { surface, unknowns } if !self.breakers.contains(&surface) => {
                vec![Event::BreakerOpened { surface, unknowns }]
            }
            Command::CloseBreaker { surface } if self.breakers.contains(&surface) => {
                vec![Event::BreakerClosed { surface }]
            }
            Command::AwaitConsent { person } if !self.awaiting.contains(&person) => {
                vec![Event::ConsentAwaited { person }]
            }
            Command::ReportConsent => vec![Event::ConsentReported { report: Some(self.reported + 1) }],
            Command::RecordTold { report } if (self.told + 1..=self.reported).contains(&report) => {
                vec![Event::ConsentTold { report }]
            }
            Command::GrantConsent { scopes } if self.consent == Consent::Reported => {
                vec![Event::ConsentGranted { scopes }]
            }
            _ => vec![],
        })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Seen {} => self.seen = true,
            Event::Admitted { name } => {
                self.admission = Admission::Admitted;
                self.name = name.or(self.name);
            }
            Event::Blocked {} => self.admission = Admission::Blocked,
            Event::PolicyChanged(policy) => self.policy = policy,
            Event::BreakerOpened { surface, .. } => _ = self.breakers.insert(surface),
            Event::BreakerClosed { surface } => _ = self.breakers.remove(&surface),
            Event::ConsentAwaited { person } => _ = self.awaiting.insert(person),
            Event::ConsentReported { report } => {
                self.consent = Consent::Reported;
                let waited = std::mem::take(&mut self.awaiting);
                if let Some(report) = report {
                    self.reported = report;
                    self.to_tell.extend(waited.into_iter().map(|person| (person, report)));
                }
            }
            Event::ConsentTold { report } => {
                self.told = report;
                self.to_tell.retain(|_, of| *of > report);
            }
            Event::ConsentGranted { .. } => self.consent = Consent::Granted,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn admitted(name: Option<&str>) -> Event {
        Event::Admitted { name: name.map(|name| name.parse().unwrap()) }
    }

    #[test]
    fn a_tenant_is_seen_once() {
        given::<Tenant>([]).when(Command::See).then([Event::Seen {}]);
        given::<Tenant>([Event::Seen {}]).when(Command::See).then([]);
    }

    #[test]
    fn the_last_word_on_admission_counts() {
        let tenant = [admitted(None), Event::Blocked {}].into_iter().fold(Tenant::default(), Tenant::evolve);
        assert!(!tenant.admission.lets_in(true));
        let admit = Command::Admit { name: None };
        given::<Tenant>([admitted(None), Event::Blocked {}]).when(admit).then([admitted(None)]);
    }

    #[test]
    fn a_name_is_kept_until_there_is_another_one() {
        let admit = |name: Option<&str>| Command::Admit { name: name.map(|name| name.parse().unwrap()) };
        let named = [admitted(Some("Contoso")), admitted(None)];
        given::<Tenant>(named.clone()).when(admit(None)).then([]);
        given::<Tenant>(named.clone()).when(admit(Some("Contoso"))).then([]);
        given::<Tenant>(named).when(admit(Some("Contoso Ltd"))).then([admitted(Some("Contoso Ltd"))]);
    }

    #[test]
    fn a_name_is_short_and_on_one_line_and_reads_as_it_is_written() {
        for good in ["C", "Müller & Söhne <GmbH>", &"ä".repeat(100)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", " ", "Contoso ", "Con\ntoso", "Con\u{7f}toso", "\u{202e}osotnoC", &"ä".repeat(101)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn who_waits_for_consent_is_known_until_there_is_word_of_it() {
        let person = testing::person(1);
        let awaited = Event::ConsentAwaited { person };
        given::<Tenant>([]).when(Command::AwaitConsent { person }).then([awaited.clone()]);
        given::<Tenant>([awaited.clone()]).when(Command::AwaitConsent { person }).then([]);
        given::<Tenant>([awaited.clone(), Event::ConsentReported { report: Some(1) }])
            .when(Command::AwaitConsent { person })
            .then([awaited]);
    }

    #[test]
    fn all_who_wait_are_to_be_told_however_many() {
        let waits = (0..5000).map(|n| Event::ConsentAwaited { person: testing::person(n) });
        let tenant = waits.fold(Tenant::default(), Tenant::evolve);
        let more = tenant.decide(Command::AwaitConsent { person: testing::person(5000) }).unwrap();
        let reported = Event::ConsentReported { report: Some(1) };
        let tenant = more.into_iter().chain([reported]).fold(tenant, Tenant::evolve);
        assert_eq!(tenant.to_tell.len(), 5001);
    }

    #[test]
    fn who_waited_is_to_be_told_by_the_newest_report_until_that_is_recorded() {
        let [ada, bruno] = [1, 2].map(testing::person);
        let waits = |person| Event::ConsentAwaited { person };
        let reported = |report| Event::ConsentReported { report: Some(report) };
        let told = |report| Event::ConsentTold { report };
        let to_tell = |events: &[Event]| {
            events
                .iter()
                .cloned()
                .fold(Tenant::default(), Tenant::evolve)
                .to_tell
                .into_iter()
                .collect::<Vec<_>>()
        };
        let once = [waits(ada), reported(1), waits(bruno)];
        assert_eq!(to_tell(&once), [(ada, 1)], "who begins to wait later is left for the next report");
        let twice = [&once[..], &[waits(ada), reported(2)]].concat();
        assert_eq!(to_tell(&twice), [(ada, 2), (bruno, 2)]);
        assert_eq!(to_tell(&[&once[..], &[reported(2), told(1)]].concat()), [(bruno, 2)]);

        let tell = |report| Command::RecordTold { report };
        given::<Tenant>(once.clone()).when(tell(1)).then([told(1)]);
        given::<Tenant>(once.clone()).when(tell(2)).then([]);
        given::<Tenant>([&once[..], &[told(1)]].concat()).when(tell(1)).then([]);
        given::<Tenant>([&once[..], &[told(1)]].concat()).when(Command::ReportConsent).then([reported(2)]);
    }

    #[test]
    fn who_was_told_by_the_request_itself_is_not_to_be_told_again() {
        let before: Event =
            serde_json::from_str(r#"{"name":"tenant.consent-reported.v1","data":{}}"#).unwrap();
        let waited = Event::ConsentAwaited { person: testing::person(1) };
        let tenant = [waited, before].into_iter().fold(Tenant::default(), Tenant::evolve);
        assert_eq!((tenant.to_tell.len(), tenant.reported, tenant.consent), (0, 0, Consent::Reported));
    }

    #[test]
    fn reported_consent_is_granted_by_the_first_sign_in_that_brings_the_scopes() {
        let scopes = BTreeSet::from(["User.Read".to_owned()]);
        let grant = Command::GrantConsent { scopes: scopes.clone() };
        let granted = Event::ConsentGranted { scopes };
        given::<Tenant>([]).when(grant.clone()).then([]);
        given::<Tenant>([Event::ConsentReported { report: Some(1) }])
            .when(grant.clone())
            .then([granted.clone()]);
        given::<Tenant>([Event::ConsentReported { report: Some(1) }, granted]).when(grant).then([]);
    }

    #[test]
    fn a_policy_is_set_whole_and_once() {
        let bot = Policy { surface: Some(SurfaceChoice::Bot), password: None };
        let off = Policy { surface: None, password: Some(false) };
        given::<Tenant>([]).when(Command::SetPolicy(Policy::default())).then([]);
        given::<Tenant>([Event::PolicyChanged(bot)]).when(Command::SetPolicy(bot)).then([]);
        given::<Tenant>([Event::PolicyChanged(bot)])
            .when(Command::SetPolicy(off))
            .then([Event::PolicyChanged(off)]);
    }

    #[test]
    fn a_breaker_opens_once_until_it_is_closed() {
        let opened = Event::BreakerOpened { surface: Surface::Graph, unknowns: 3 };
        let open = Command::OpenBreaker { surface: Surface::Graph, unknowns: 3 };
        given::<Tenant>([]).when(open.clone()).then([opened.clone()]);
        given::<Tenant>([opened.clone()]).when(open).then([]);
        given::<Tenant>([opened])
            .when(Command::CloseBreaker { surface: Surface::Graph })
            .then([Event::BreakerClosed { surface: Surface::Graph }]);
    }
}
