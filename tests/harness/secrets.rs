//! Looking for secrets where none may be: in files, logs and answers, in clear and encoded.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE_NO_PAD};
use microsoft_simulator::Simulator;

/// A secret in all forms in which it might be found.
pub(crate) struct Needle {
    what: String,
    forms: Vec<String>,
}

impl Needle {
    pub(crate) fn new(what: &str, secret: &str) -> Self {
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        let mut forms = vec![secret.to_owned(), hex::encode(secret)];
        for offset in 0..3 {
            // Wherever in a longer text it was encoded; the characters at the edges depend on the neighbours.
            let shifted = [&vec![0; offset], secret.as_bytes()].concat();
            for encoded in [BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)]
            {
                forms.push(encoded[4..encoded.len() - 4].to_owned());
            }
        }
        Self { what: what.to_owned(), forms }
    }

    /// One that is so short that parts of its base64 forms could stand anywhere.
    pub(crate) fn short(what: &str, secret: &str) -> Self {
        Self { what: what.to_owned(), forms: vec![secret.to_owned(), hex::encode(secret)] }
    }
}

/// Every secret that the simulator gave out.
pub(crate) fn issued(simulator: &Simulator) -> Vec<Needle> {
    let mut needles = Vec::new();
    for secret in simulator.secrets() {
        needles.push(Needle::new(secret.kind, &secret.value));
        if secret.kind == "id_token" {
            // Its parts are as bad as the whole, the header excepted.
            needles
                .extend(secret.value.split('.').skip(1).map(|part| Needle::new("part of an id_token", part)));
        }
    }
    needles
}

/// What of them stands in a text.
pub(crate) fn found<'a>(text: &str, needles: &'a [Needle]) -> Vec<&'a str> {
    let stands = |needle: &&Needle| needle.forms.iter().any(|form| text.contains(form.as_str()));
    needles.iter().filter(stands).map(|needle| needle.what.as_str()).collect()
}

/// Holds a text to be free of all of them.
pub(crate) fn hold_free(place: &str, text: &str, needles: &[Needle]) {
    let found = found(text, needles);
    assert!(found.is_empty(), "in {place} stand {found:?}");
}

/// The same for every file below a directory. Answers how many there were.
pub(crate) fn hold_files_free(directory: &Path, needles: &[Needle]) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += hold_files_free(&path, needles);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            hold_free(&path.to_string_lossy(), &String::from_utf8_lossy(&bytes), needles);
            files += 1;
        }
    }
    files
}
