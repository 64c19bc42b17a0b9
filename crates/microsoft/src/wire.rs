//! Microsoft's ids and codes: which of them may be kept, and how they stand in a path.

use url::form_urlencoded;

/// As one segment of a path: everything but letters, digits and `*-._` is escaped, `:` and `@` too.
pub(crate) fn encoded(segment: &str) -> String {
    form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
}

/// An id of Microsoft's as it may stand in an event: 1 to 256 visible ASCII characters.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An error's code, if it is shaped like one: 1 to 64 letters, digits, `_`, `-` and `.`.
pub(crate) fn code(text: &str) -> Option<String> {
    let shaped = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(shaped)).then(|| text.to_owned())
}
