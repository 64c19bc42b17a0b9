//! The layers of values, each value with its origin, and the reading of a section out of them.

use std::{
    collections::BTreeMap,
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use toml::{Table, Value};
use url::Url;
use uuid::Uuid;

use super::{ConfigError, DEFAULTS, Sources};

/// Keys whose values are never shown.
const SECRETS: [&str; 6] = [
    "bot.app_secret",
    "keys.key_encryption_key",
    "microsoft.client_secret",
    "store.connection_string",
    "password.endpoint_secret",
    "product.secret",
];

/// Variables with our prefix that are not settings: the command line's own.
pub(super) const OTHER_VARIABLES: [&str; 3] = ["CHANCERY_CONFIG", "CHANCERY_URL", "CHANCERY_API_KEY"];

/// Where a value was set.
#[derive(Clone, Debug)]
enum Origin {
    Default,
    Preset,
    File(PathBuf),
    Environment,
}

/// All values by dotted key (`server.tls.cert_file`); every known key has one.
pub(super) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    defaults: BTreeMap<String, Value>,
    loopback_http: bool,
    problems: Vec<String>,
}

impl Layers {
    /// A file that can't be read at all is told alone: everything else would only be missing because of it.
    ///
    /// # Panics
    /// When the built-in defaults are not TOML; a test reads them.
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let defaults = flatten(DEFAULTS.parse().expect("the built-in defaults are TOML"));
        let values =
            defaults.iter().map(|(key, value)| (key.clone(), (value.clone(), Origin::Default))).collect();
        let mut layers =
            Self { values, defaults, loopback_http: sources.loopback_http, problems: Vec::new() };
        for (key, value) in &sources.presets {
            layers.set(key, value.clone(), Origin::Preset);
        }
        if let Some(path) = &sources.file {
            layers.read_file(path).map_err(|problem| ConfigError { problems: vec![problem] })?;
        }
        for (name, value) in &sources.environment {
            layers.read_variable(name, value);
        }
        Ok(layers)
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { layers: self, name }
    }

    pub(super) fn into_problems(self) -> Vec<String> {
        self.problems
    }

    /// TOML of all values, secrets as `***`.
    pub(super) fn effective(&self) -> String {
        let mut root = Table::new();
        for (key, (value, _)) in &self.values {
            let set = value.as_str() != Some("");
            let shown =
                if set && SECRETS.contains(&key.as_str()) { Value::from("***") } else { value.clone() };
            let mut table = &mut root;
            let mut parts = key.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    table.insert(part.to_owned(), shown);
                    break;
                }
                let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
                table = inner.as_table_mut().expect("a section is a table");
            }
        }
        toml::to_string(&root).expect("values that came from TOML go back to it")
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
        match text.parse::<Table>() {
            Ok(table) => {
                for (key, value) in flatten(table) {
                    self.set(&key, value, Origin::File(path.to_owned()));
                }
            }
            // The error's own text would show the line, and with it perhaps a secret.
            Err(error) => {
                let line = error
                    .span()
                    .map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                return Err(format!("{}, line {line}, is not TOML", path.display()));
            }
        }
        Ok(())
    }

    /// `CHANCERY_SERVER__LISTEN` sets `server.listen`.
    fn read_variable(&mut self, name: &str, text: &str) {
        let Some(path) = name.strip_prefix("CHANCERY_") else { return };
        if OTHER_VARIABLES.contains(&name) || name.starts_with("CHANCERY_TEST_") {
            return;
        }
        let key = path.to_ascii_lowercase().replace("__", ".");
        let value = match self.defaults.get(&key) {
            Some(Value::Integer(_)) => text.parse().map_or_else(|_| Value::from(text), Value::Integer),
            Some(Value::Array(_)) => text
                .split([',', ' '])
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect::<Vec<_>>()
                .into(),
            _ => Value::from(text),
        };
        self.set(&key, value, Origin::Environment);
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        match self.defaults.get(key) {
            None => self.problems.push(self.unknown(key, &origin)),
            Some(default) if !same_type(default, &value) => {
                let given = if SECRETS.contains(&key) { String::new() } else { format!(", not {value}") };
                let wanted = match default {
                    Value::Integer(_) => "a whole number",
                    Value::Array(_) => "a list of strings",
                    _ => "a string",
                };
                self.problems.push(format!("{} must be {wanted}{given}", place(key, &origin)));
            }
            Some(_) => {
                self.values.insert(key.to_owned(), (value, origin));
            }
        }
    }

    /// What to write instead: the nearest key, judged without its section if the section is wrong too.
    fn unknown(&self, key: &str, origin: &Origin) -> String {
        let alike = |known: &str| {
            let whole = strsim::jaro_winkler(&known.replace('.', "_"), &key.replace('.', "_"));
            // The right key in the wrong section is nearer than a similar one in the right section.
            if known.rsplit('.').next() == key.rsplit('.').next() { whole.max(0.95) } else { whole }
        };
        let nearest = self.defaults.keys().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        let advice = match nearest {
            // What other programs call it, and no likeness of letters would find.
            _ if ["server.port", "server.host", "server.address", "server.bind"].contains(&key) => {
                format!("did you mean {}?", spelled("server.listen", origin))
            }
            Some(known) if alike(known) > 0.85 => format!("did you mean {}?", spelled(known, origin)),
            _ => "config.default.toml lists all settings".to_owned(),
        };
        format!("{} is no setting; {advice}", place(key, origin))
    }
}

/// One section, and where to tell what is wrong with it.
pub struct Section<'a> {
    layers: &'a mut Layers,
    name: &'static str,
}

impl Section<'_> {
    /// `None` when not set.
    pub fn text(&self, key: &str) -> Option<String> {
        self.value(key).as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A value that may be absent. `allowed` completes the sentence "it must be …".
    pub fn optional<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            self.refuse(key, &format!("must be {allowed}, not {text:?}"));
        }
        parsed
    }

    /// A value that has a default.
    pub fn parsed<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        if self.text(key).is_none() {
            self.refuse(key, &format!("must be {allowed}, not empty"));
        }
        self.optional(key, allowed, &parse).unwrap_or_else(|| {
            let default = self.layers.defaults[&self.path(key)].as_str().and_then(&parse);
            default.expect("the built-in defaults are good")
        })
    }

    /// A value without a default. The empty string stands for it once its absence is told.
    pub fn required(&mut self, key: &str, what: &str) -> String {
        self.text(key).unwrap_or_else(|| {
            let variable = spelled(&self.path(key), &Origin::Environment);
            self.refuse(key, &format!("(or {variable}) must be set: {what}"));
            String::new()
        })
    }

    /// An id without a default.
    pub fn id(&mut self, key: &str, what: &str) -> Uuid {
        self.required(key, what);
        self.uuid(key).unwrap_or_default()
    }

    /// All zeros stand for what nobody has filled in yet.
    pub fn uuid(&mut self, key: &str) -> Option<Uuid> {
        self.optional(key, "a UUID, and not all zeros", |text| {
            Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
        })
    }

    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.parsed(key, &names.join(" or "), |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        })
    }

    pub fn number<N: TryFrom<i64>>(&mut self, key: &str, range: RangeInclusive<i64>) -> N {
        let given = self.value(key).as_integer().unwrap_or_default();
        let number = if range.contains(&given) {
            given
        } else {
            self.refuse(key, &format!("must be from {} to {}, not {given}", range.start(), range.end()));
            *range.start()
        };
        N::try_from(number).ok().expect("the range fits the type")
    }

    pub fn millis(&mut self, key: &str, range: RangeInclusive<i64>) -> Duration {
        Duration::from_millis(self.number(key, range))
    }

    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.value(key).as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A file that must be there and readable.
    pub fn file(&mut self, key: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(key)?);
        if let Err(error) = std::fs::File::open(&path).and_then(|file| file.metadata()).and_then(|metadata| {
            if metadata.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
        }) {
            self.refuse(key, &format!("names {}, which can't be read: {error}", path.display()));
        }
        Some(path)
    }

    /// A secret, given by the value of `key` or in the file that `<key>_file` names; never by both.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let given = self.text(key);
        let Some(path) = self.file(&file_key) else { return given.map(SecretString::from) };
        if given.is_some() {
            self.refuse(key, &format!("and {file_key} are both set; keep one of them"));
        }
        match std::fs::read_to_string(&path).as_deref().map(str::trim) {
            Ok("") => self.refuse(&file_key, &format!("names {}, which is empty", path.display())),
            Ok(secret) => return Some(secret.into()),
            // What kept `file` from opening it was told there already.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.refuse(&file_key, &format!("names {}, which is not text", path.display()));
            }
            Err(_) => {}
        }
        None
    }

    /// HTTPS, or plain HTTP with this machine where `dev` allows it. Without credentials, query and fragment.
    pub fn url(&mut self, key: &str) -> Option<Url> {
        let loopback_http = self.layers.loopback_http;
        self.optional(key, "an https:// address without user, query and fragment", |text| {
            let url = Url::parse(text).ok()?;
            let secure =
                url.scheme() == "https" || (loopback_http && url.scheme() == "http" && is_loopback(&url));
            let bare = url.username().is_empty() && url.password().is_none();
            (secure && bare && url.query().is_none() && url.fragment().is_none()).then_some(url)
        })
    }

    /// Tells what is wrong with the value of `key`; `problem` follows the key's place.
    pub fn refuse(&mut self, key: &str, problem: &str) {
        let path = self.path(key);
        let origin = self.layers.values.get(&path).map_or(&Origin::Default, |(_, origin)| origin);
        let problem = format!("{} {problem}", place(&path, origin));
        self.layers.problems.push(problem);
    }

    fn value(&self, key: &str) -> &Value {
        &self.layers.values[&self.path(key)].0
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

/// Whether the address is one of this machine, whatever the name service says.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn flatten(table: Table) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)));
            }
            value => _ = flat.insert(key, value),
        }
    }
    flat
}

fn same_type(default: &Value, value: &Value) -> bool {
    let strings = |value: &Value| value.as_array().is_none_or(|items| items.iter().all(Value::is_str));
    default.same_type(value) && strings(value)
}

/// The key as one would write it in that layer.
fn spelled(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Environment => format!("CHANCERY_{}", key.replace('.', "__").to_ascii_uppercase()),
        _ => match key.rsplit_once('.') {
            Some((section, key)) => format!("`{key}` in [{section}]"),
            None => format!("`{key}`"),
        },
    }
}

fn place(key: &str, origin: &Origin) -> String {
    format!("{}{origin}", spelled(key, origin))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, " of {}", path.display()),
            Self::Environment => write!(f, " of the environment"),
            Self::Default | Self::Preset => Ok(()),
        }
    }
}
