//! The key-encryption key: what the operator keeps, outside of everything it protects.
//!
//! One line of text, `chancery-key-1:<id>:<key>`: the key in base64url, and as its id eight hex digits computed from
//! it. So a mistyped or cut-off line is told apart from a sound key that belongs to another vault.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest;
use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

use crate::cipher::{self, Key};

const PREFIX: &str = "chancery-key-1:";
const ID_BYTES: usize = 4;
/// Prefix, id, colon, 32 bytes in base64url.
const LINE_BYTES: usize = PREFIX.len() + 2 * ID_BYTES + 1 + 43;
/// Room for dozens of keys; whatever is larger is some other file.
const FILE_BYTES_MAX: u64 = 4096;

/// The key that wraps what goes into the vault, and older ones that still open what they wrapped.
///
/// Keys stand in lines (or are parted by spaces); the first one wraps.
pub struct KeyEncryptionKey {
    current: Kek,
    older: Vec<Kek>,
}

/// One key with its id.
pub(crate) struct Kek {
    pub(crate) id: KekId,
    pub(crate) key: Key,
}

/// Names a key without giving anything of it away: the first bytes of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KekId(pub(crate) [u8; ID_BYTES]);

impl KeyEncryptionKey {
    /// Reads a key file. Refuses one that group or others may touch, and anything that is not wholly a key.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Io { path: path.into(), source };
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing { path: path.into() },
            _ => failed(source),
        })?;
        let malformed = |problem| KeyFileError::Malformed { place: path.display().to_string(), problem };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(malformed("is a directory; name the key file in it"));
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.into(), mode });
        }
        let mut content = Zeroizing::new(Vec::with_capacity(4200));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
        match std::str::from_utf8(&content) {
            Ok(text) if text.len() as u64 <= FILE_BYTES_MAX => parse(text).map_err(malformed),
            _ => Err(malformed(NOT_A_KEY)),
        }
    }

    /// Reads a key from a value such as that of an environment variable.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        parse(text).map_err(|problem| KeyFileError::Malformed { place: "the given key".into(), problem })
    }

    /// Draws a new key and writes it to a new file that only its owner can read; durable once this returns.
    pub fn create_file(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Io { path: path.into(), source };
        let current = Kek::of(cipher::fresh_key());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::AlreadyExists => KeyFileError::AlreadyExists { path: path.into() },
                    _ => failed(source),
                }
            })?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let written = file
            .write_all(current.line().as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(directory.unwrap_or(Path::new(".")))?.sync_all());
        if let Err(source) = written {
            // Nothing was sealed with it yet; half a key would only be in the way.
            let _ = fs::remove_file(path);
            return Err(failed(source));
        }
        Ok(Self { current, older: Vec::new() })
    }

    pub(crate) fn current(&self) -> &Kek {
        &self.current
    }

    pub(crate) fn find(&self, id: KekId) -> Option<&Kek> {
        std::iter::once(&self.current).chain(&self.older).find(|kek| kek.id == id)
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEncryptionKey({})", self.current.id)
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Kek {
    fn of(key: Key) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"chancery key id");
        context.update(key.expose_secret());
        let digest = context.finish();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest.as_ref()[..ID_BYTES]);
        Self { id: KekId(id), key }
    }

    fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(LINE_BYTES));
        line.push_str(PREFIX);
        line.push_str(&self.id.to_string());
        line.push(':');
        BASE64_URL_SAFE_NO_PAD.encode_string(self.key.expose_secret(), &mut line);
        line
    }
}

const NOT_A_KEY: &str =
    "holds no Chancery key, which begins with `chancery-key-1:`; name the right file or value";
const DAMAGED: &str = "holds a key with a wrong character in it; restore it from its backup";

fn parse(text: &str) -> Result<KeyEncryptionKey, &'static str> {
    let mut keys = text.split_ascii_whitespace().map(parse_line);
    let current = keys.next().ok_or("is empty; restore the key from its backup")??;
    Ok(KeyEncryptionKey { current, older: keys.collect::<Result<_, _>>()? })
}

fn parse_line(line: &str) -> Result<Kek, &'static str> {
    if !line.starts_with(PREFIX) {
        // A cut can fall within the prefix too.
        return Err(if PREFIX.starts_with(line) { TRUNCATED } else { NOT_A_KEY });
    }
    if line.len() < LINE_BYTES {
        return Err(TRUNCATED);
    }
    let encoded = line.get(LINE_BYTES - 43..).ok_or(DAMAGED)?;
    // One byte more than a key has, since the decoder rounds up what it may need.
    let mut bytes = Zeroizing::new([0; 33]);
    if BASE64_URL_SAFE_NO_PAD.decode_slice(encoded, &mut *bytes) != Ok(32) {
        return Err(DAMAGED);
    }
    let kek = Kek::of(SecretBox::init_with_mut(|key: &mut [u8; 32]| key.copy_from_slice(&bytes[..32])));
    if *kek.line() == line { Ok(kek) } else { Err(DAMAGED) }
}

const TRUNCATED: &str = "holds a key that is cut off; restore it from its backup";

/// Why there is no key. The texts say what is wrong and what to do, never what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{path}: there is no key file; restore it, or for a new installation run `chancery keys create {path}`", path = path.display())]
    Missing { path: PathBuf },
    #[error("{path}: others than its owner may use this key file (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{place} {problem}")]
    Malformed { place: String, problem: &'static str },
    #[error("{path}: a file is there already; choose another path, since it may hold a key in use", path = path.display())]
    AlreadyExists { path: PathBuf },
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CustodyError, testing::Home};

    /// A sound line, and what it must not be shown to hold.
    fn line() -> (String, String) {
        let line = Kek::of(cipher::fresh_key()).line().to_string();
        let secret = line[LINE_BYTES - 43..].to_owned();
        (line, secret)
    }

    fn write(home: &Home, content: impl AsRef<[u8]>) -> PathBuf {
        let path = home.path("key");
        fs::write(&path, content).unwrap();
        path
    }

    fn problem(result: Result<KeyEncryptionKey, KeyFileError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_created_key_is_its_owners_alone_and_reads_back_the_same() {
        let home = Home::new();
        let path = home.path("another");
        let created = KeyEncryptionKey::create_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let read = KeyEncryptionKey::from_file(&path).unwrap();
        assert_eq!(created.current.key.expose_secret(), read.current.key.expose_secret());
        let text = fs::read_to_string(&path).unwrap();
        assert!(KeyEncryptionKey::from_text(&text).unwrap().current.id == created.current.id);
    }

    #[test]
    fn creating_never_overwrites() {
        let home = Home::new();
        let before = fs::read(home.path("key")).unwrap();
        let error = KeyEncryptionKey::create_file(&home.path("key")).unwrap_err();
        assert!(matches!(error, KeyFileError::AlreadyExists { .. }), "{error}");
        assert_eq!(fs::read(home.path("key")).unwrap(), before);
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let path = Home::new().path("nowhere");
        let text = problem(KeyEncryptionKey::from_file(&path));
        assert!(text.contains(path.to_str().unwrap()) && text.contains("chancery keys create"), "{text}");
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let home = Home::new();
        let path = home.path("key");
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let text = problem(KeyEncryptionKey::from_file(&path));
            assert!(text.contains(&format!("mode {mode:04o}")) && text.contains("chmod 600"), "{text}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(KeyEncryptionKey::from_file(&path).is_ok());
    }

    #[test]
    fn wherever_a_key_is_cut_off_it_is_refused_as_cut_off() {
        let home = Home::new();
        let (line, secret) = line();
        for length in 1..line.len() {
            let text = problem(KeyEncryptionKey::from_file(&write(&home, &line[..length])));
            assert!(text.contains("cut off") && !text.contains(&secret[..8]), "{length}: {text}");
        }
        assert!(problem(KeyEncryptionKey::from_file(&write(&home, "\n"))).contains("is empty"));
    }

    #[test]
    fn wherever_a_character_is_wrong_the_key_is_refused_and_not_shown() {
        let (line, secret) = line();
        for position in 0..line.len() {
            let mut wrong = line.clone().into_bytes();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            let text = problem(KeyEncryptionKey::from_text(std::str::from_utf8(&wrong).unwrap()));
            let expected = if position < PREFIX.len() { "no Chancery key" } else { "wrong character" };
            assert!(text.contains(expected) && !text.contains(&secret[..8]), "{position}: {text}");
        }
    }

    #[test]
    fn another_file_is_refused_as_no_key() {
        let home = Home::new();
        for content in [&b"-----BEGIN PRIVATE KEY-----"[..], &[0xff; 32], &[b' '; 10_000]] {
            assert!(problem(KeyEncryptionKey::from_file(&write(&home, content))).contains("no Chancery key"));
        }
        assert!(problem(KeyEncryptionKey::from_file(&home.path("."))).contains("is a directory"));
    }

    #[tokio::test]
    async fn a_sound_key_of_another_vault_is_told_apart() {
        let home = Home::new();
        drop(home.open().await);
        let (line, secret) = line();
        let error = home.open_with(KeyEncryptionKey::from_text(&line).unwrap()).await.unwrap_err();
        let CustodyError::WrongKey { vault, .. } = &error else { panic!("{error}") };
        assert_eq!(*vault, home.key().current.id.to_string());
        assert!(!error.to_string().contains(&secret[..8]));
    }

    #[tokio::test]
    async fn an_older_key_behind_a_new_one_still_opens_the_vault() {
        let home = Home::new();
        drop(home.open().await);
        let keys = format!("{} {}", line().0, home.key().current.line().as_str());
        assert!(home.open_with(KeyEncryptionKey::from_text(&keys).unwrap()).await.is_ok());
    }

    #[test]
    fn debug_output_shows_the_id_alone() {
        let (line, secret) = line();
        let shown = format!("{:?}", KeyEncryptionKey::from_text(&line).unwrap());
        assert!(shown.contains(&line[PREFIX.len()..][..8]) && !shown.contains(&secret[..8]), "{shown}");
    }
}
