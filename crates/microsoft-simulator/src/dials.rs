//! What can be turned while the simulator runs.

use serde::{Deserialize, Deserializer, Serialize};

/// What can be turned while it runs.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the control API")]
pub struct Dials {
    pub rotation: Rotation,
    /// Whether a chat takes one message a second only, and a conversation of the bot what its limits say.
    pub throttle: bool,
    /// Whether a throttled call is told how long to wait.
    pub retry_after: bool,
    /// Whether the client secret has expired.
    pub secret_expired: bool,
    /// How the Teams app got to people.
    pub distribution: Distribution,
    /// How long access tokens live; random from 3600 to 5400 if absent.
    pub access_token_seconds: Option<u64>,
    /// Whether the JWKS still lists the signing key of before the last roll-over.
    pub keep_old_key: bool,
    /// When the bot hears of what Graph posted into its chat.
    pub echo: Echo,
    pub install_order: InstallOrder,
    /// Whether an activity that the bot answers too late, or with 502, 503 or 504, is sent once more.
    pub redelivery: Redelivery,
    /// How long the bot has for its answer.
    pub answer_timeout_ms: u64,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            rotation: Rotation::Entra,
            throttle: true,
            retry_after: true,
            secret_expired: false,
            distribution: Distribution::Organization,
            access_token_seconds: None,
            keep_old_key: true,
            echo: Echo::After,
            install_order: InstallOrder::ConversationUpdateFirst,
            redelivery: Redelivery::SameId,
            answer_timeout_ms: 15_000,
        }
    }
}

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays valid, as at Entra ID.
    Entra,
    /// Using it again revokes all tokens of that sign-in, as at stricter providers.
    Strict,
}

/// Where people got the Teams app from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// `externalId` is the manifest's id.
    Organization,
    /// `id` is the manifest's id, and there is no `externalId`.
    Store,
}

/// When the bot hears, as said by the person, what Graph posted into its chat in their name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// Before Graph answers.
    Before,
    /// Once Graph has answered.
    After,
    Never,
}

/// In which order the bot hears of its being installed or removed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallOrder {
    ConversationUpdateFirst,
    InstallationUpdateFirst,
}

/// What Teams does if the bot does not answer well.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Redelivery {
    Never,
    SameId,
    /// Seen in the field: the same activity under another id.
    NewId,
}

/// New values for some [`Dials`], and for the registration of the application. It cannot be printed, because it
/// holds a secret.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialsChange {
    pub rotation: Option<Rotation>,
    pub throttle: Option<bool>,
    pub retry_after: Option<bool>,
    pub secret_expired: Option<bool>,
    pub distribution: Option<Distribution>,
    /// `null` for random.
    #[serde(deserialize_with = "present")]
    pub access_token_seconds: Option<Option<u64>>,
    pub keep_old_key: Option<bool>,
    pub echo: Option<Echo>,
    pub install_order: Option<InstallOrder>,
    pub redelivery: Option<Redelivery>,
    pub answer_timeout_ms: Option<u64>,
    /// Where the bot is told of things; `null`: nowhere.
    #[serde(deserialize_with = "present")]
    pub messaging_endpoint: Option<Option<String>>,
    /// The service URL that activities name; `null`: the simulator's own.
    #[serde(deserialize_with = "present")]
    pub service_url: Option<Option<String>>,
    /// A new client secret; the old one is wrong from now on.
    pub client_secret: Option<String>,
    /// The redirect URIs registered from now on.
    pub redirect_uris: Option<Vec<String>>,
}

/// Tells a field that is `null` from one that is absent.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
