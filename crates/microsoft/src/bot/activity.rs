//! Activities that Teams sends, as far as the hub needs them (Bot Framework activity schema, 3.1 of its specification).
//!
//! **Invariant.** An error names a field, never what stands in it.

use std::fmt;

use domain::{ObjectId, PersonId, TenantId, Timestamp};
use serde_json::Value;

use super::text;
use crate::wire::is_id;

/// An activity of more bytes is not read. Teams' own messages stay below 100 KB.
const BYTES_MAX: usize = 256 * 1024;
const SERVICE_URL_BYTES_MAX: usize = 2048;
const NAME_CHARS_MAX: usize = 256;

/// Something that happened in a conversation of the bot. It holds personal data, which its debug output leaves out.
#[derive(Clone, PartialEq)]
pub struct Activity {
    /// Unique within the conversation; like all ids here 1 to 256 visible ASCII characters.
    pub id: String,
    pub kind: Kind,
    /// When it happened, by the channel's own clock, where that can be read.
    pub at: Option<Timestamp>,
    pub channel_id: String,
    /// Where to answer, once the token that came with the activity vouches for it.
    pub service_url: String,
    pub from: Party,
    /// The bot.
    pub recipient: Party,
    pub conversation: Conversation,
    /// Of a submit: the activity that the card came with.
    pub reply_to_id: Option<String>,
    /// A language tag such as `en-GB`.
    pub locale: Option<String>,
    channel_tenant: Option<TenantId>,
}

/// What happened.
#[derive(Clone, PartialEq)]
pub enum Kind {
    /// Without the mention of the bot, and trimmed; perhaps empty.
    Message {
        text: String,
    },
    /// A card was filled in.
    Submit {
        value: Value,
    },
    /// The app with the bot was added.
    Installed,
    Removed,
    /// Somebody joined or left; who, is said of the bot only.
    MembersChanged {
        bot: Option<Membership>,
    },
    /// A question that wants its answer in the HTTP answer.
    Invoke {
        name: String,
        value: Value,
    },
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Joined,
    Left,
}

/// A person or the bot, as the channel names them.
#[derive(Clone, PartialEq, Eq)]
pub struct Party {
    /// `29:…` for persons, `28:…` for bots.
    pub id: String,
    pub name: Option<String>,
    /// Of persons whom Entra knows.
    pub object_id: Option<ObjectId>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: String,
    pub scope: Scope,
    pub tenant: Option<TenantId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One person and the bot.
    Personal,
    Group,
    Channel,
    Unsaid,
}

/// The body is not an activity that can be used: answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivityProblem {
    #[error("the activity is too large")]
    TooLarge,
    #[error("the activity is not a JSON object")]
    NotJson,
    #[error("the activity lacks {field}")]
    Missing { field: &'static str },
    #[error("{field} of the activity is of another type, too long or otherwise not what it must be")]
    Wrong { field: &'static str },
}

/// The activity does not say which tenant it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantProblem {
    #[error("the activity names no tenant")]
    Missing,
    #[error("the activity names two tenants")]
    Contradiction,
}

impl Activity {
    /// Reads the body of a request. Nothing of it is to be believed before [`super::Inbound::check`].
    pub fn parse(body: &[u8]) -> Result<Self, ActivityProblem> {
        if body.len() > BYTES_MAX {
            return Err(ActivityProblem::TooLarge);
        }
        let json: Value = serde_json::from_slice(body).map_err(|_| ActivityProblem::NotJson)?;
        if !json.is_object() {
            return Err(ActivityProblem::NotJson);
        }
        let recipient = party(&json, ["recipient.id", "recipient.name", "recipient.aadObjectId"])?;
        Ok(Self {
            kind: kind(&json, &recipient.id)?,
            at: string(&json, "timestamp")?.and_then(|text| text.parse().ok()),
            id: required_id(&json, "id")?,
            channel_id: required_id(&json, "channelId")?,
            service_url: service_url(&json)?,
            from: party(&json, ["from.id", "from.name", "from.aadObjectId"])?,
            recipient,
            conversation: Conversation {
                id: required_id(&json, "conversation.id")?,
                scope: match string(&json, "conversation.conversationType")? {
                    Some("personal") => Scope::Personal,
                    Some("groupChat") => Scope::Group,
                    Some("channel") => Scope::Channel,
                    _ => Scope::Unsaid,
                },
                tenant: uuid(&json, "conversation.tenantId")?,
            },
            reply_to_id: id(&json, "replyToId")?,
            locale: string(&json, "locale")?.filter(|text| is_locale(text)).map(str::to_owned),
            channel_tenant: uuid(&json, "channelData.tenant.id")?,
        })
    }

    /// The tenant: of the two places where it can stand, one is enough, but they must not contradict each other.
    pub fn tenant(&self) -> Result<TenantId, TenantProblem> {
        match (self.channel_tenant, self.conversation.tenant) {
            (Some(one), Some(other)) if one != other => Err(TenantProblem::Contradiction),
            (Some(tenant), _) | (None, Some(tenant)) => Ok(tenant),
            (None, None) => Err(TenantProblem::Missing),
        }
    }

    /// Who did it, if it was a person whom Entra knows.
    pub fn sender(&self) -> Option<PersonId> {
        Some(PersonId { tenant: self.tenant().ok()?, object_id: self.from.object_id? })
    }
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Submit { .. } => "submit",
            Self::Installed => "installed",
            Self::Removed => "removed",
            Self::MembersChanged { .. } => "members-changed",
            Self::Invoke { .. } => "invoke",
            Self::Other => "other",
        }
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Party(…)")
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("scope", &self.scope).finish_non_exhaustive()
    }
}

fn kind(json: &Value, bot: &str) -> Result<Kind, ActivityProblem> {
    let value = || at(json, "value").map(Option::<&Value>::cloned);
    Ok(match string(json, "type")?.ok_or(ActivityProblem::Missing { field: "type" })? {
        "message" => {
            if let Some(value) = value()? {
                return Ok(Kind::Submit { value });
            }
            let text = string(json, "text")?.unwrap_or_default();
            Kind::Message { text: text::clean(text, &mentions_of_others(json, bot)) }
        }
        "installationUpdate" => match string(json, "action")? {
            Some("add" | "add-upgrade") => Kind::Installed,
            Some("remove" | "remove-upgrade") => Kind::Removed,
            _ => Kind::Other,
        },
        "conversationUpdate" => {
            let joined = has_member(json, "membersAdded", bot)?;
            let left = has_member(json, "membersRemoved", bot)?;
            let bot = if joined { Some(Membership::Joined) } else { left.then_some(Membership::Left) };
            Kind::MembersChanged { bot }
        }
        "invoke" => Kind::Invoke { name: required_id(json, "name")?, value: value()?.unwrap_or_default() },
        _ => Kind::Other,
    })
}

/// The texts by which somebody other than the bot is mentioned. Entities come in many shapes; what is not a mention is
/// no concern of ours.
fn mentions_of_others<'j>(json: &'j Value, bot: &str) -> Vec<&'j str> {
    let entities = json.get("entities").and_then(Value::as_array).into_iter().flatten();
    let of_others = entities.filter(|entity| {
        entity["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("mention"))
            && entity["mentioned"]["id"].as_str() != Some(bot)
    });
    of_others.filter_map(|mention| mention["text"].as_str()).collect()
}

fn has_member(json: &Value, field: &'static str, wanted: &str) -> Result<bool, ActivityProblem> {
    let Some(members) = at(json, field)? else { return Ok(false) };
    let members = members.as_array().ok_or(ActivityProblem::Wrong { field })?;
    Ok(members.iter().any(|member| member["id"].as_str() == Some(wanted)))
}

fn party(json: &Value, [id, name, object_id]: [&'static str; 3]) -> Result<Party, ActivityProblem> {
    // A name is shown to people who decide by it, so nothing in it may hide or turn the words around it.
    let visible = |c: &char| !c.is_control() && !text::is_invisible(*c);
    let shown = |name: &str| name.trim().chars().filter(visible).take(NAME_CHARS_MAX).collect::<String>();
    Ok(Party {
        id: required_id(json, id)?,
        name: string(json, name)?.map(shown).filter(|name| !name.is_empty()),
        object_id: uuid(json, object_id)?,
    })
}

fn service_url(json: &Value) -> Result<String, ActivityProblem> {
    let field = "serviceUrl";
    let text = string(json, field)?.ok_or(ActivityProblem::Missing { field })?;
    if text.len() > SERVICE_URL_BYTES_MAX {
        return Err(ActivityProblem::Wrong { field });
    }
    Ok(text.to_owned())
}

fn is_locale(text: &str) -> bool {
    (2..=35).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// What stands at a path of names; `None` where it is absent, empty or null.
fn at<'j>(json: &'j Value, field: &'static str) -> Result<Option<&'j Value>, ActivityProblem> {
    let mut found = json;
    for name in field.split('.') {
        let object = found.as_object().ok_or(ActivityProblem::Wrong { field })?;
        match object.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => found = value,
        }
    }
    Ok(Some(found).filter(|value| value.as_str() != Some("")))
}

fn string<'j>(json: &'j Value, field: &'static str) -> Result<Option<&'j str>, ActivityProblem> {
    let Some(value) = at(json, field)? else { return Ok(None) };
    value.as_str().map(Some).ok_or(ActivityProblem::Wrong { field })
}

fn id(json: &Value, field: &'static str) -> Result<Option<String>, ActivityProblem> {
    match string(json, field)? {
        Some(text) if !is_id(text) => Err(ActivityProblem::Wrong { field }),
        found => Ok(found.map(str::to_owned)),
    }
}

fn required_id(json: &Value, field: &'static str) -> Result<String, ActivityProblem> {
    id(json, field)?.ok_or(ActivityProblem::Missing { field })
}

fn uuid<T: std::str::FromStr>(json: &Value, field: &'static str) -> Result<Option<T>, ActivityProblem> {
    string(json, field)?.map(str::parse).transpose().map_err(|_| ActivityProblem::Wrong { field })
}
