//! The few operations everything else is made of: fresh keys, derived keys, AES-256-GCM, unambiguous bytes.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

/// 256 bits, wiped when dropped.
pub(crate) type Key = SecretBox<[u8; 32]>;

pub(crate) const NONCE_BYTES: usize = NONCE_LEN;

pub(crate) fn fresh_key() -> Key {
    SecretBox::init_with_mut(|bytes: &mut [u8; 32]| fill_randomly(bytes))
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_randomly(&mut bytes);
    bytes
}

/// Keys and nonces are the one kind of chance that is never handed in: a repeated one would give secrets away.
fn fill_randomly(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system gives random bytes");
}

/// HKDF-SHA-256 (RFC 5869) of `key` and `salt`; whoever lacks either learns nothing of what comes out.
pub(crate) fn derive(key: &Key, salt: &[u8], info: &[u8]) -> Key {
    let info = [info];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.expose_secret());
    let okm = prk.expand(&info, hkdf::HKDF_SHA256).expect("32 bytes are within HKDF's bound");
    SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
        okm.fill(bytes).expect("the output is as long as it was announced");
    })
}

/// AES-256-GCM under a nonce drawn at random: no key here seals anything near the 2^32 messages that this allows.
pub(crate) fn encrypt(key: &Key, associated: &[u8], plaintext: &[u8]) -> ([u8; NONCE_BYTES], Vec<u8>) {
    let nonce = random();
    // Reserved at once, so that growing leaves no copy of the plaintext behind.
    let mut buffer = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
    buffer.extend_from_slice(plaintext);
    aead_key(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut buffer)
        .expect("the plaintext is shorter than 64 GiB");
    (nonce, buffer)
}

/// `None` when the tag does not fit: another key, other associated data, or changed bytes.
pub(crate) fn decrypt(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = aead_key(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut buffer)
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

/// Each part behind its length (8 bytes, big endian), so that no two lists of parts give the same bytes.
pub(crate) fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn aead_key(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose_secret()).expect("a key has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_can_not_be_shifted_from_one_field_into_the_next() {
        assert_ne!(fields(&[b"ab", b"c"]), fields(&[b"a", b"bc"]));
        assert_ne!(fields(&[b"a"]), fields(&[b"a", b""]));
    }

    #[test]
    fn what_was_encrypted_opens_only_with_the_same_associated_data() {
        let key = fresh_key();
        let (nonce, ciphertext) = encrypt(&key, b"here", b"text");
        assert_eq!(decrypt(&key, nonce, b"here", &ciphertext).unwrap().as_slice(), b"text");
        assert!(decrypt(&key, nonce, b"there", &ciphertext).is_none());
        assert!(decrypt(&fresh_key(), nonce, b"here", &ciphertext).is_none());
    }
}
