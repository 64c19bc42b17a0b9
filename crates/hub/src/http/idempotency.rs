//! `Idempotency-Key`: names a request for ever, so that repeating it does nothing twice.

use axum::{extract::FromRequestParts, http::request::Parts};

use super::problem::{ApiError, Kind};

const HEADER: &str = "idempotency-key";
const LENGTH_MAX: usize = 200;

/// 1 to 200 visible ASCII characters, as the client chose them; scoped to the client.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// `None` when the text can't be a key.
    pub fn parse(text: &str) -> Option<Self> {
        let good = (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut given = parts.headers.get_all(HEADER).iter();
        let refuse = |detail: &str| Err(ApiError::new(Kind::IdempotencyKeyMissing, detail));
        match (given.next(), given.next()) {
            (Some(key), None) => key
                .to_str()
                .ok()
                .and_then(Self::parse)
                .map_or_else(|| refuse("An Idempotency-Key has 1 to 200 visible ASCII characters."), Ok),
            (None, _) => refuse(
                "Send a header such as `Idempotency-Key: order-1001-reminder`, new for each request that is meant to happen.",
            ),
            (Some(_), Some(_)) => refuse("Send one Idempotency-Key."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_stated_length() {
        assert!(IdempotencyKey::parse("check-in/2026-11/u-1").is_some());
        for bad in ["", "a b", "ä", &"a".repeat(201)] {
            assert!(IdempotencyKey::parse(bad).is_none(), "{bad:?}");
        }
    }
}
