//! A message as a client writes it into an intake stream: read by the rules of one that is posted.

use std::{collections::BTreeSet, sync::LazyLock};

use domain::{ClientId, SurfaceChoice, intake::Why};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema};

use super::{
    batch::keyed_draft,
    content::ContentBody,
    messages::{NewMessage, RecipientBody},
};
use crate::{
    http::{
        extract::{invalid, parse_json},
        problem::ApiError,
    },
    services::messages::Draft,
};

/// A message for a person. How it is answered stands in `docs/INTAKE.md`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Submission {
    /// The client that submits it, of role `service`.
    #[schema(value_type = String, example = "okr-backend")]
    client: ClientId,
    /// Names this message for ever; 1 to 200 visible ASCII characters.
    idempotency_key: String,
    recipient: RecipientBody,
    #[schema(value_type = ContentBody)]
    content: Value,
    /// Which way it goes: `graph`, `bot` or `auto`; if nothing is said, as the tenant's policy or the hub's setting has it.
    #[schema(value_type = Option<String>, pattern = "^(graph|bot|auto)$", example = "auto")]
    surface: Option<SurfaceChoice>,
}

/// A submission that was read.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub client: ClientId,
    pub key: String,
    pub draft: Draft,
}

/// What is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub why: Why,
    pub field: Option<String>,
}

impl From<Why> for Wrong {
    fn from(why: Why) -> Self {
        Self { why, field: None }
    }
}

/// Reads the data of an event.
pub fn read(data: &[u8]) -> Result<Submitted, Wrong> {
    let submitted = || {
        // An array would be taken for the fields in their order.
        if !data.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("", "must be an object"));
        }
        let Submission { client, idempotency_key, recipient, content, surface } = parse_json(data)?;
        let (key, draft) = keyed_draft(&idempotency_key, NewMessage::new(recipient, content, surface))?;
        Ok(Submitted { client, key, draft })
    };
    submitted().map_err(|error| {
        if serde_json::from_slice::<IgnoredAny>(data).is_err() { Why::NotJson.into() } else { wrong(&error) }
    })
}

/// Who says that they submit it, as far as it can be read.
pub fn client_of(data: &[u8]) -> Option<ClientId> {
    #[derive(Deserialize)]
    struct Named {
        client: ClientId,
    }
    serde_json::from_slice(data).ok().map(|Named { client }| client)
}

/// The names of the fields there are, on whatever level.
static FIELDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    fn gather(schema: &Value, fields: &mut BTreeSet<String>) {
        match schema {
            Value::Object(members) => {
                let properties = members.get("properties").and_then(Value::as_object);
                fields.extend(properties.into_iter().flat_map(Map::keys).cloned());
                members.values().for_each(|member| gather(member, fields));
            }
            Value::Array(items) => items.iter().for_each(|item| gather(item, fields)),
            _ => {}
        }
    }
    // A card's content is its writer's, but for the version, which is looked at.
    let mut fields = BTreeSet::from(["version".to_owned()]);
    gather(&schema(), &mut fields);
    fields
});

/// Names of fields that there are not are the writer's own words, and not repeated.
fn wrong(error: &ApiError) -> Wrong {
    let problem = error.problem();
    let field = problem.more.get("field").and_then(Value::as_str).unwrap_or_default();
    // `key_results[2]` is one of `key_results`.
    let name = |part: &str| part.split_once('[').map_or(part, |(name, _)| name).to_owned();
    let known: Vec<_> = field.split('.').take_while(|part| FIELDS.contains(&name(part))).collect();
    let known = known.join(".");
    let why = if known == field { Why::Invalid } else { Why::UnknownField };
    Wrong { why, field: Some(known).filter(|field| !field.is_empty()) }
}

/// The schema of the data, complete in itself.
pub fn schema() -> Value {
    let mut used = Vec::new();
    <Submission as ToSchema>::schemas(&mut used);
    let definitions: Map<_, _> = used.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    let whole = json!({ "data": Submission::schema(), "$defs": definitions });
    let text = whole.to_string().replace("#/components/schemas/", "#/$defs/");
    serde_json::from_str(&text).expect("it was JSON before")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Value {
        json!({
            "client": "okr-backend",
            "idempotency_key": "k1",
            "recipient": { "account": "u-1" },
            "content": { "type": "text", "text": "Hello" },
            "surface": "auto",
        })
    }

    fn read_wrong(data: &[u8]) -> (Why, String) {
        let wrong = read(data).unwrap_err();
        (wrong.why, wrong.field.unwrap_or_default())
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        assert_eq!(read(good().to_string().as_bytes()).unwrap().key, "k1");
        for (pointer, value, why, field) in [
            ("/client", json!("Not A Client"), Why::Invalid, "client"),
            ("/idempotency_key", json!("with space"), Why::Invalid, "idempotency_key"),
            ("/recipient/account", json!(""), Why::Invalid, "recipient.account"),
            ("/recipient", json!({}), Why::Invalid, "recipient"),
            ("/content", json!({ "type": "text" }), Why::Invalid, "content"),
            ("/content/text", json!(" "), Why::Invalid, "content.text"),
            ("/content/type", json!("poem"), Why::Invalid, "content.type"),
            ("/surface", json!("pigeon"), Why::Invalid, "surface"),
        ] {
            let mut wrong = good();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read_wrong(wrong.to_string().as_bytes()), (why, field.to_owned()), "{wrong}");
        }
        assert_eq!(read_wrong(b"{}"), (Why::Invalid, String::new()));
    }

    #[test]
    fn a_field_too_many_is_not_repeated_because_its_name_may_say_anything() {
        for (place, field) in [("", ""), ("/recipient", "recipient"), ("/content", "content")] {
            let mut wrong = good();
            wrong.pointer_mut(place).unwrap()["ada@contoso.example"] = true.into();
            assert_eq!(read_wrong(wrong.to_string().as_bytes()), (Why::UnknownField, field.to_owned()));
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_what_is_no_object() {
        for data in [&b""[..], b"{", b"nonsense", b"\xff\xfe", b"{} {}"] {
            assert_eq!(read_wrong(data).0, Why::NotJson);
        }
        for data in [&b"[]"[..], b"null", b"1", br#"["okr-backend","k",{},{}]"#] {
            assert_eq!(read_wrong(data), (Why::Invalid, String::new()));
        }
        let deep = format!("{{\"client\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read_wrong(deep.as_bytes()).0, Why::Invalid);
    }

    #[test]
    fn who_submits_is_known_though_the_rest_is_wrong() {
        assert_eq!(client_of(br#"{"client":"okr-backend","x":1}"#).unwrap().as_str(), "okr-backend");
        assert_eq!(client_of(b"{"), None);
    }
}
