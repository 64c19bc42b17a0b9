//! Where the cluster is, and who asks: the string that every client of `EventStoreDB` takes.
//!
//! It is looked at here before the client does, because the client passes over settings that it does not know, takes
//! percent-encoded passwords as they stand, and repeats the whole string when it can't read it.
//!
//! **Invariant.** No part of what was given is repeated in an error; `Debug` shows the hosts and nothing else.

use std::{fmt, str::FromStr};

use eventstore::{ClientSettings, Credentials};
use percent_encoding::percent_decode_str;

/// `esdb://user:password@host:2113?tls=true`, or `esdb+discover://…` for a cluster that is found by its gossip.
#[derive(Clone)]
pub struct ConnectionString {
    pub(super) settings: ClientSettings,
    /// Those that the client would take wrongly; it knows the others itself.
    pub(super) credentials: Option<Credentials>,
    pub(super) hosts: String,
}

/// Why a connection string is refused, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAConnectionString {
    #[error("it has to begin with esdb:// or esdb+discover://")]
    Scheme,
    #[error(
        "its user and password can't be read: write user:password@ in front of the host, and in them %3A for a colon, \
         %40 for @, %2F for a slash, %3F for a question mark, %23 for # and %25 for a percent sign"
    )]
    User,
    #[error(
        "its hosts can't be read: write host or host:port, commas between several, and then the settings behind a ?"
    )]
    Host,
    #[error("it has a setting that is not known; known are {}", SETTINGS.join(", "))]
    Setting,
    #[error("the value of its setting {0} can't be read")]
    Value(&'static str),
    #[error("its setting nodePreference has to be leader: only the leader knows what was written last")]
    NotTheLeader,
    #[error("the file that its setting tlsCAFile names can't be read, or has no certificate")]
    NoCertificate,
}

/// Milliseconds between attempts to find a node, if the string does not say.
const DISCOVERY_MS: u32 = 50;

const SETTINGS: [&str; 13] = [
    "tls",
    "tlsVerifyCert",
    "tlsCAFile",
    "userCertFile",
    "userKeyFile",
    "nodePreference",
    "maxDiscoverAttempts",
    "discoveryInterval",
    "gossipTimeout",
    "keepAliveInterval",
    "keepAliveTimeout",
    "defaultDeadline",
    "connectionName",
];

impl FromStr for ConnectionString {
    type Err = NotAConnectionString;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAConnectionString::Scheme)?;
        if !["esdb", "esdb+discover"].contains(&scheme) {
            return Err(NotAConnectionString::Scheme);
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, hosts) = match place.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, place),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        // A password with a slash or a question mark ends the place too soon.
        if user.is_some_and(|user| user.contains(['@', '/', '#']))
            || rest.contains('#')
            || query.contains('@')
        {
            return Err(NotAConnectionString::User);
        }
        if !hosts.split(',').all(is_host) {
            return Err(NotAConnectionString::Host);
        }
        let credentials = user.map(credentials).transpose()?;
        let query = settings(query)?;
        // What holds no percent sign the client reads as it is meant.
        let encoded = user.is_some_and(|user| user.contains('%'));
        let user = user.filter(|_| !encoded).map(|user| format!("{user}@")).unwrap_or_default();
        // The client waits so long before every first connection, half a second if it is not told otherwise; the first of
        // two settings of a name is passed over.
        let settings = format!("{scheme}://{user}{hosts}?discoveryInterval={DISCOVERY_MS}&{query}").parse();
        Ok(Self {
            settings: settings.map_err(|_| NotAConnectionString::Host)?,
            credentials: credentials.filter(|_| encoded),
            hosts: hosts.into(),
        })
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({})", self.hosts)
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let written_well = |character: char| character.is_ascii_alphanumeric() || ".-_:".contains(character);
    let is_name =
        !inner.is_empty() && inner.chars().all(written_well) && (inner != name || !name.contains(':'));
    is_name && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn credentials(user: &str) -> Result<Credentials, NotAConnectionString> {
    let (name, password) = user.split_once(':').ok_or(NotAConnectionString::User)?;
    let read = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(read) if !read.is_empty() => Ok(read.into_owned()),
        _ => Err(NotAConnectionString::User),
    };
    Ok(Credentials::new(read(name)?, read(password)?))
}

/// The settings as they were, each of them known and tried.
fn settings(query: &str) -> Result<&str, NotAConnectionString> {
    for setting in query.split('&').filter(|setting| !setting.is_empty()) {
        let (given, value) = setting.split_once('=').unwrap_or((setting, ""));
        let known = SETTINGS.iter().find(|known| known.eq_ignore_ascii_case(given));
        let name = *known.ok_or(NotAConnectionString::Setting)?;
        // Each of these two needs the other; what they name is looked at when the client is made.
        let of_a_pair = ["userCertFile", "userKeyFile"].contains(&name);
        let alone = format!("esdb://localhost?{name}={value}").parse::<ClientSettings>();
        if value.is_empty() || (alone.is_err() && !of_a_pair) {
            return Err(NotAConnectionString::Value(name));
        }
        match name {
            "nodePreference" if !value.eq_ignore_ascii_case("leader") => {
                return Err(NotAConnectionString::NotTheLeader);
            }
            "tlsCAFile" if !alone.is_ok_and(|alone| has_certificate(&alone)) => {
                return Err(NotAConnectionString::NoCertificate);
            }
            _ => {}
        }
    }
    Ok(query)
}

/// The client panics where it has none.
fn has_certificate(settings: &ClientSettings) -> bool {
    let file = settings.tls_ca_file().and_then(|file| std::fs::read_to_string(file).ok());
    file.is_some_and(|pem| pem.contains("-----BEGIN CERTIFICATE-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> NotAConnectionString {
        let refused = text.parse::<ConnectionString>().unwrap_err();
        assert!(!refused.to_string().contains("hunter"), "{refused}");
        refused
    }

    #[test]
    fn what_operators_write_is_read() {
        for text in [
            "esdb://localhost",
            "esdb://localhost:2113/?tls=false",
            "esdb://10.0.0.7:2113?TLS=true&tlsverifycert=false&connectionName=hub",
            "esdb://admin:changeit@store.example:2113?nodePreference=leader",
            "esdb+discover://admin:changeit@cluster.example?defaultDeadline=5000",
            "esdb://one.example:2113,two.example:2114,three.example?keepAliveInterval=10000",
            "esdb://[::1]:2113?tls=false",
        ] {
            assert!(text.parse::<ConnectionString>().is_ok(), "{text}");
        }
        let several: ConnectionString = "esdb://one:2113,two:2114".parse().unwrap();
        assert_eq!(several.settings.hosts().len(), 2);
        let found: ConnectionString = "esdb+discover://cluster".parse().unwrap();
        assert!(found.settings.is_dns_discovery_enabled() && found.settings.is_secure_mode_enabled());
    }

    #[test]
    fn a_wrong_string_is_refused_with_what_to_write_instead() {
        use NotAConnectionString::{Host, NoCertificate, NotTheLeader, Scheme, Setting, User, Value};
        for (text, why) in [
            ("", Scheme),
            ("localhost:2113", Scheme),
            ("http://localhost:2113", Scheme),
            ("tcp://hunter:hunter2@localhost:1113", Scheme),
            ("esdb://", Host),
            ("esdb://?tls=false", Host),
            ("esdb://localhost:port", Host),
            ("esdb://localhost:0", Host),
            ("esdb://localhost:2113/streams", Host),
            ("esdb://one:2113,,two", Host),
            ("esdb://::1", Host),
            ("esdb://hunter@localhost", User),
            ("esdb://hunter:hunt@er2@localhost", User),
            ("esdb://hunter:hunt/er2@localhost", User),
            ("esdb://hunter:hunt?er2@localhost", User),
            ("esdb://hunter:hunter#2@localhost", User),
            ("esdb://localhost?tsl=false", Setting),
            ("esdb://localhost?hunter2", Setting),
            ("esdb://localhost?tls=no", Value("tls")),
            ("esdb://localhost?gossipTimeout=soon", Value("gossipTimeout")),
            ("esdb://localhost?connectionName=", Value("connectionName")),
            ("esdb://localhost?nodePreference=nearest", Value("nodePreference")),
            ("esdb://localhost?nodePreference=Follower", NotTheLeader),
            ("esdb://localhost?tlsCAFile=nowhere/ca.pem", NoCertificate),
        ] {
            assert_eq!(refused(text), why, "{text}");
        }
    }

    #[test]
    fn a_password_with_any_character_is_understood() {
        let string: ConnectionString = "esdb://hub:hunter%402%2F%3F%23%25@localhost".parse().unwrap();
        assert_eq!(string.credentials, Some(Credentials::new("hub", "hunter@2/?#%")));
        let plain: ConnectionString = "esdb://hub:hunter2@localhost".parse().unwrap();
        assert_eq!(plain.credentials, None);
        assert_eq!(*plain.settings.default_authenticated_user(), Some(Credentials::new("hub", "hunter2")));
        refused("esdb://hub:hunter%ff@localhost");
    }

    #[test]
    fn debug_output_shows_hosts_only() {
        let string: ConnectionString = "esdb://hunter:hunter2@one:2113,two?tls=false".parse().unwrap();
        assert_eq!(format!("{string:?}"), "ConnectionString(one:2113,two)");
    }
}
