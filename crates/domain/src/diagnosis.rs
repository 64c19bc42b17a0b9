//! What a provider said when something went wrong, reduced to what may be kept: codes and ids, never its text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Codes and trace ids of a provider's error. Every field is shape-checked where it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// OAuth's `error` or Graph's `error.code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suberror: Option<String>,
    /// The number of an `AADSTSnnnnn` code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<u32>,
    /// Entra's `trace_id` or Graph's `request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
