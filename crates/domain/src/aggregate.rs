//! What every aggregate is: a state that decides on commands and evolves by events.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, value::StrDeserializer},
};
use serde_json::Value;

/// A stream's state and its rules.
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// The stream's category, without a dash; the stream is `<category>-<id>`.
    const CATEGORY: &'static str;
    type Command;
    /// An enum tagged `name` and `data`; see [`encode`].
    type Event: Serialize + DeserializeOwned + Clone + fmt::Debug + PartialEq + Send + Sync;
    type Refusal;

    /// What follows from the command, or why nothing may. No events means that there is nothing to do.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    #[must_use]
    fn evolve(self, event: Self::Event) -> Self;

    /// Brings the data of an old version to the shape of the newest. `None` when this name needs nothing.
    fn upcast(_name: &str, _data: &Value) -> Option<(&'static str, Value)> {
        None
    }
}

/// An event of ours that can't be read. Never skipped in silence.
#[derive(Debug, thiserror::Error)]
#[error("the event {name} can't be read: {why}")]
pub struct Undecodable {
    pub name: String,
    /// A position and what was expected there; never the data itself.
    pub why: String,
}

/// The name and the JSON data under which an event is stored.
///
/// # Panics
/// When the event is not an enum tagged `name` and `data`: a mistake in the type, found by its first test.
pub fn encode<E: Serialize>(event: &E) -> (String, Vec<u8>) {
    let text = to_json(event);
    let text = str::from_utf8(&text).expect("JSON is UTF-8");
    // Taken apart rather than parsed: this is how serde writes such an enum, the tag first, and no name needs escapes.
    let tagged = text.strip_prefix("{\"name\":\"").and_then(|tagged| tagged.strip_suffix('}'));
    let (name, data) = tagged.and_then(|tagged| tagged.split_once('"')).expect("an event is name and data");
    let data = data.strip_prefix(",\"data\":").expect("an event without fields has braces all the same");
    (name.to_owned(), data.into())
}

/// What most events and their metadata fit in, so that writing one seldom moves it.
const JSON_BYTES: usize = 512;

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(JSON_BYTES);
    serde_json::to_writer(&mut json, value).expect("events and metadata serialize");
    json
}

/// Reads an event of the aggregate `A` from the name and data that the store kept.
pub fn decode<A: Aggregate>(name: &str, data: &[u8]) -> Result<A::Event, Undecodable> {
    let undecodable = |error: serde_json::Error| Undecodable {
        name: name.to_owned(),
        // serde_json's text can quote a value; the category and the place are enough to find it.
        why: format!("{:?} at line {} column {}", error.classify(), error.line(), error.column()),
    };
    let direct = read::<A::Event>(name, data);
    let Err(error) = direct else {
        return direct.map_err(undecodable);
    };
    let Ok(old) = serde_json::from_slice::<Value>(data) else {
        return Err(undecodable(error));
    };
    match A::upcast(name, &old) {
        Some((newer, data)) => {
            let bytes = serde_json::to_vec(&data).expect("a JSON value serializes");
            decode::<A>(newer, &bytes)
        }
        None => Err(undecodable(error)),
    }
}

/// Feeds serde the two fields of the tagged enum, the tag first, so that the data is read straight into the variant.
fn read<E: DeserializeOwned>(name: &str, data: &[u8]) -> Result<E, serde_json::Error> {
    struct Tagged<'a> {
        name: Option<&'a str>,
        data: Option<&'a [u8]>,
    }

    impl<'de> MapAccess<'de> for Tagged<'de> {
        type Error = serde_json::Error;

        fn next_key_seed<K: DeserializeSeed<'de>>(
            &mut self,
            seed: K,
        ) -> Result<Option<K::Value>, Self::Error> {
            let key = match (self.name, self.data) {
                (Some(_), _) => "name",
                (None, Some(_)) => "data",
                (None, None) => return Ok(None),
            };
            let key: StrDeserializer<'_, Self::Error> = key.into_deserializer();
            seed.deserialize(key).map(Some)
        }

        fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
            if let Some(name) = self.name.take() {
                let name: StrDeserializer<'_, Self::Error> = name.into_deserializer();
                return seed.deserialize(name);
            }
            let data = self.data.take().unwrap_or_default();
            let mut deserializer = serde_json::Deserializer::from_slice(data);
            let value = seed.deserialize(&mut deserializer)?;
            deserializer.end()?;
            Ok(value)
        }
    }

    E::deserialize(serde::de::value::MapAccessDeserializer::new(Tagged {
        name: Some(name),
        data: Some(data),
    }))
}

/// Facts about an event that stand beside it rather than in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The hub's clock; never falls within a stream. *As of* uses this.
    pub recorded_at: crate::Timestamp,
    #[serde(rename = "$correlationId")]
    pub correlation_id: String,
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// `client/<id>`, `hub/<process>`, `operator/<client>`, `person` (in a browser).
    pub actor: String,
    pub command_id: crate::CommandId,
    /// Program and version.
    pub writer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<crate::TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<crate::ClientId>,
    /// The provider's request id, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
}

impl Metadata {
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Given events, when a command, then events or a refusal: how rules are tested.
#[cfg(test)]
pub(crate) mod testing {
    use super::Aggregate;

    pub(crate) struct Given<A>(A);

    pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
        Given(events.into_iter().fold(A::default(), A::evolve))
    }

    impl<A: Aggregate> Given<A>
    where
        A::Refusal: std::fmt::Debug + PartialEq,
    {
        pub(crate) fn when(self, command: A::Command) -> When<A> {
            When(self.0.decide(command))
        }
    }

    pub(crate) struct When<A: Aggregate>(Result<Vec<A::Event>, A::Refusal>);

    impl<A: Aggregate> When<A>
    where
        A::Refusal: std::fmt::Debug + PartialEq,
    {
        #[track_caller]
        pub(crate) fn then(self, events: impl IntoIterator<Item = A::Event>) {
            assert_eq!(self.0, Ok(events.into_iter().collect()));
        }

        #[track_caller]
        pub(crate) fn refused(self, refusal: A::Refusal) {
            assert_eq!(self.0, Err(refusal));
        }
    }
}
