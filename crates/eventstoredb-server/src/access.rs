//! Who may do what.
//!
//! **Invariants.** Nobody but a hub writes, deletes or sets metadata where the hub does. What is hidden is seen in no way
//! of reading. Who submits, submits in the own name.

use std::{fmt, sync::Arc};

use http::HeaderMap;
use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::error::Category;
use store::{ContentType, NewEvent, StreamName};
use tonic::Status;

use crate::{
    refusal::{self, Refusal},
    session::{Audit, Sessions},
    users::{Role, User, Users},
};

/// Whom the port serves.
#[expect(clippy::large_enum_variant, reason = "there is one in a server")]
pub enum Access {
    /// Everybody on this machine, and they may do everything.
    Open,
    Users {
        users: Users,
        rules: &'static Rules,
        audit: Arc<dyn Audit>,
    },
}

/// Whose the streams are, by category: what stands before the first `-` of a name. A stream's metadata goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The hub's own; others are anybody's who may write.
    pub owned: &'static [&'static str],
    /// What only hubs read.
    pub hidden: &'static [&'static str],
    /// What says why a submission was refused, in a stream named by the submitted event's id.
    pub rejections: &'static str,
    pub intake: Intake,
}

/// Where submissions go: to `<category>-0` and so on.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    pub category: &'static str,
    pub streams: u8,
    /// The only type of event that is taken.
    pub event: &'static str,
}

/// Who makes a call.
#[derive(Clone)]
pub(crate) enum Caller {
    Anybody,
    User { user: Arc<User>, rules: &'static Rules, audit: Arc<dyn Audit>, sessions: Arc<Sessions> },
}

impl Access {
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        sessions: &Arc<Sessions>,
    ) -> Result<Caller, Status> {
        match self {
            Self::Open => Ok(Caller::Anybody),
            Self::Users { users, rules, audit } => {
                let user = users.authenticate(headers).await?;
                let (audit, sessions) = (Arc::clone(audit), Arc::clone(sessions));
                Ok(Caller::User { user, rules, audit, sessions })
            }
        }
    }
}

impl Caller {
    pub(crate) fn may_read(&self, stream: &StreamName) -> Result<(), Status> {
        let Self::User { user, rules, .. } = self else { return Ok(()) };
        let may = match user.role {
            Role::Hub => true,
            Role::Read | Role::Operate => !rules.hides(stream.as_str()),
            Role::Submit => stream.category() == rules.rejections,
        };
        if may { Ok(()) } else { Err(refusal::access_denied()) }
    }

    /// Of all streams, but for what is [hidden](Self::hides).
    pub(crate) fn may_read_all(&self) -> Result<(), Status> {
        match self {
            Self::User { user, .. } if user.role == Role::Submit => Err(refusal::access_denied()),
            _ => Ok(()),
        }
    }

    pub(crate) fn hides(&self, stream: &str) -> bool {
        match self {
            Self::User { user, rules, .. } => user.role != Role::Hub && rules.hides(stream),
            Self::Anybody => false,
        }
    }

    pub(crate) fn may_append(&self, stream: &StreamName, events: &[NewEvent]) -> Result<(), Refusal> {
        match self {
            Self::User { user, rules, .. } if user.role == Role::Submit => {
                rules.intake.takes(stream.as_str(), events, &user.name)
            }
            _ => self.may_change(stream),
        }
    }

    pub(crate) fn may_change(&self, stream: &StreamName) -> Result<(), Refusal> {
        let Self::User { user, rules, .. } = self else { return Ok(()) };
        let may = match user.role {
            Role::Hub => true,
            Role::Operate => !rules.owns(stream.as_str()),
            Role::Read | Role::Submit => false,
        };
        if may { Ok(()) } else { Err(Refusal::Denied) }
    }
}

impl Rules {
    fn hides(&self, stream: &str) -> bool {
        self.hidden.contains(&category(stream))
    }

    /// The system's own streams are nobody's but the hub's.
    fn owns(&self, stream: &str) -> bool {
        self.owned.contains(&category(stream)) || category(stream).starts_with('$')
    }
}

/// Of the stream itself, or of the one whose metadata it holds.
fn category(stream: &str) -> &str {
    let subject = stream.trim_start_matches("$$");
    subject.split_once('-').map_or(subject, |(category, _)| category)
}

impl Intake {
    fn takes(&self, stream: &str, events: &[NewEvent], user: &str) -> Result<(), Refusal> {
        let mut streams = (0..self.streams).map(|number| format!("{}-{number}", self.category));
        if !streams.any(|name| name == stream) {
            return Err(Refusal::Denied);
        }
        events.iter().try_for_each(|event| {
            if &*event.name != self.event || event.content_type != ContentType::Json {
                return Err(Refusal::Denied);
            }
            names_only(&event.data, user)
        })
    }
}

/// That each `client` in the object is the user. What is no JSON at all names nobody, and is the hub's to reject.
fn names_only(data: &[u8], user: &str) -> Result<(), Refusal> {
    let mut json = serde_json::Deserializer::from_slice(data);
    match json.deserialize_map(Clients(user)) {
        Ok(false) => Err(Refusal::Denied),
        Err(error) if error.classify() == Category::Data => {
            Err(Refusal::Invalid("a submission is a JSON object whose `client` is the user's name"))
        }
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Whether all are this one. A field that stands twice is read by some as the first and by others as the last.
struct Clients<'a>(&'a str);

impl<'de> Visitor<'de> for Clients<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut own = true;
        while let Some(key) = map.next_key::<String>()? {
            if key == "client" {
                own &= map.next_value::<String>()? == self.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::{RULES, caller};

    fn event(name: &str, data: &str) -> NewEvent {
        NewEvent {
            id: Uuid::from_u128(1),
            name: name.into(),
            content_type: ContentType::Json,
            data: data.to_owned().into(),
            metadata: "".into(),
        }
    }

    fn submits(stream: &str, event: NewEvent) -> bool {
        caller(Role::Submit).may_append(&StreamName::new(stream), &[event]).is_ok()
    }

    #[test]
    fn who_submits_writes_one_kind_of_event_to_the_intake_and_nothing_else() {
        let submitted = |data| event(RULES.intake.event, data);
        for stream in ["intake-0", "intake-9", "intake-15"] {
            assert!(submits(stream, submitted(r#"{"client":"ada"}"#)), "{stream}");
        }
        for stream in [
            "intake-16",
            "intake-00",
            "intake-",
            "intake",
            "intake-1-1",
            "intake-+1",
            "Intake-1",
            "$$intake-1",
            "connection-1",
            "thing-1",
            "$settings",
        ] {
            assert!(!submits(stream, submitted("{}")), "{stream}");
        }
        assert!(!submits("intake-1", event("connection.linked.v1", "{}")));
        assert!(!submits("intake-1", NewEvent { content_type: ContentType::Octets, ..submitted("{}") }));
        assert!(caller(Role::Submit).may_change(&StreamName::new("intake-1")).is_err());
        let mixed = [submitted("{}"), event("other", "{}")];
        assert!(caller(Role::Submit).may_append(&StreamName::new("intake-1"), &mixed).is_err());
    }

    #[test]
    fn nobody_submits_in_anothers_name_however_it_is_written() {
        let submitted = |data: &str| submits("intake-1", event(RULES.intake.event, data));
        for good in ["{}", r#"{"content":{"client":"eve"}}"#, r#"{"client":"ada","x":[{}],"client":"ada"}"#] {
            assert!(submitted(good), "{good}");
        }
        for bad in [
            r#"{"client":"eve"}"#,
            r#"{"client":"eve","client":"ada"}"#,
            r#"{"client":"ada","client":"eve"}"#,
            r#"{"\u0063lient":"eve"}"#,
            r#"{"client":null}"#,
            r#"{"client":["ada"]}"#,
            r#"["eve","key"]"#,
            r#""ada""#,
        ] {
            assert!(!submitted(bad), "{bad}");
        }
        for no_json in ["", "{", "no json", "{\"client\":\"e", "{\"a\":1,}"] {
            assert!(submitted(no_json), "{no_json}: it names nobody");
        }
    }

    #[test]
    fn what_the_hub_writes_is_changed_by_no_user() {
        for (stream, by_operator) in [
            ("thing-1", true),
            ("connections-1", true),
            ("$$thing-1", true),
            ("connection-1", false),
            ("connection", false),
            ("$$connection-1", false),
            ("$$$$connection-1", false),
            ("intake-1", false),
            ("vault-1", false),
            ("$settings", false),
            ("$$$settings", false),
        ] {
            let stream = StreamName::new(stream);
            let may = |role| caller(role).may_change(&stream).is_ok();
            assert_eq!((may(Role::Operate), may(Role::Hub)), (by_operator, true), "{stream}");
            assert!(!may(Role::Read) && !may(Role::Submit), "{stream}");
        }
    }

    #[test]
    fn readers_see_everything_but_what_is_hidden_and_submitters_only_rejections() {
        for (stream, reader, submitter) in [
            ("connection-1", true, false),
            ("$$connection-1", true, false),
            ("audit-1", true, false),
            ("rejection-1", true, true),
            ("$$rejection-1", true, false),
            ("intake-1", false, false),
            ("$$intake-1", false, false),
            ("vault-1", false, false),
            ("vault", false, false),
        ] {
            let name = StreamName::new(stream);
            let may = |role| caller(role).may_read(&name).is_ok();
            assert_eq!(
                (may(Role::Read), may(Role::Operate), may(Role::Submit)),
                (reader, reader, submitter),
                "{stream}"
            );
            assert_eq!(caller(Role::Read).hides(stream), !reader);
            assert!(may(Role::Hub) && !caller(Role::Hub).hides(stream));
        }
        assert!(caller(Role::Submit).may_read_all().is_err() && caller(Role::Read).may_read_all().is_ok());
    }
}
