//! Personal data as it stands in events: encrypted, with the name of its key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ciphertext and what is needed to open it, the key excepted. `custody` makes and opens it; here it is plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The name of the key: `person/<uuid>`, `content/<uuid>/2026-11`, `sign-in/<uuid>`.
    pub key: String,
    /// `A256GCM` (RFC 7518 section 5.3).
    pub algorithm: String,
    /// 12 bytes, base64url without padding.
    pub nonce: String,
    /// Ciphertext with its tag, base64url without padding.
    pub ciphertext: String,
}
