//! Everything random here comes from one seed, so that a run can be repeated.
//!
//! This is no cryptography: the tokens only have to look like real ones and never collide.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use crate::lock;

/// A `SplitMix64` generator that many can share.
pub(crate) struct Chance(Mutex<u64>);

impl Chance {
    /// From `seed`, or from the operating system's randomness.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            SystemRandom::new().fill(&mut bytes).expect("the operating system has randomness");
            u64::from_le_bytes(bytes)
        })))
    }

    pub(crate) fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `prefix` and then random letters up to `length` characters in all.
    pub(crate) fn text(&self, prefix: &str, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        let mut text = prefix.to_owned() + &URL_SAFE_NO_PAD.encode(bytes);
        text.truncate(length);
        text
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        low + u64::from_le_bytes(bytes) % (high - low + 1)
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut state = lock(&self.0);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let (one, other) = (Chance::new(Some(7)), Chance::new(Some(7)));
        assert_eq!(one.text("EwB", 1500), other.text("EwB", 1500));
        assert_eq!(one.text("EwB", 1500).len(), 1500);
        assert_ne!(one.uuid(), one.uuid());
    }
}
