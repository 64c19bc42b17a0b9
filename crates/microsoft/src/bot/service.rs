//! Which service URLs the app's token may be sent to.
//!
//! **Invariant.** A host is on the list letter by letter, with its port where that is not 443; nothing in front of it, behind
//! it or beside it counts.

use url::{Host, Url};

use crate::http::ClientError;

/// Where Microsoft's Bot Connector serves Teams: the public cloud, GCC and GCC High.
pub const SERVICE_HOSTS: [&str; 3] =
    ["smba.trafficmanager.net", "smba.infra.gcc.teams.microsoft.com", "smba.infra.gov.teams.microsoft.us"];

/// The services that the bot talks to.
#[derive(Clone, Debug)]
pub struct Services {
    hosts: Vec<String>,
    loopback_http: bool,
}

impl Services {
    /// `hosts` are as [`is_host`] wants them. `loopback_http` also allows this machine, by plain HTTP and with any port: only
    /// for `dev` and tests.
    pub fn new(hosts: Vec<String>, loopback_http: bool) -> Result<Self, ClientError> {
        if hosts.iter().all(|host| is_host(host)) {
            return Ok(Self { hosts, loopback_http });
        }
        let problem = "must be bare host names in lower case, such as smba.trafficmanager.net";
        Err(ClientError::Setting { setting: "service_hosts", problem })
    }

    /// Whether the bot may answer there.
    pub fn allow(&self, service_url: &str) -> bool {
        self.base(service_url).is_some()
    }

    /// The URL without a slash at its end, if it is allowed.
    pub(super) fn base(&self, service_url: &str) -> Option<String> {
        let url = Url::parse(service_url).ok()?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let listed = url.scheme() == "https" && self.hosts.contains(&host(&url)?);
        let local = self.loopback_http && url.scheme() == "http" && is_loopback(&url);
        (bare && (listed || local)).then(|| url.as_str().trim_end_matches('/').to_owned())
    }
}

/// Whether this may stand on the list: a host as it stands in an address, in lower case, with a port where that is not 443.
pub fn is_host(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b));
    let url = Url::parse(&format!("https://{text}/"));
    plain && url.is_ok_and(|url| host(&url).is_some_and(|host| host == text))
}

fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(loopback_http: bool) -> Services {
        Services::new(SERVICE_HOSTS.map(String::from).into(), loopback_http).unwrap()
    }

    #[test]
    fn only_hosts_on_the_list_are_allowed_and_only_by_https() {
        let services = services(false);
        for url in ["https://smba.trafficmanager.net/amer/", "https://smba.trafficmanager.net:443"] {
            assert!(services.allow(url), "{url}");
        }
        for url in [
            "http://smba.trafficmanager.net/amer/",
            "https://evil.trafficmanager.net/",
            "https://trafficmanager.net/",
            "https://smba.trafficmanager.net.evil.example/",
            "https://smba.trafficmanager.net./",
            "https://xsmba.trafficmanager.net/",
            "https://smba.trafficmanager.net@evil.example/",
            "https://smba.trafficmanager.net:443@evil.example/",
            "https://user@smba.trafficmanager.net/",
            "https://:secret@smba.trafficmanager.net/",
            "https://smba.trafficmanager.net:8443/",
            "https://smba.trafficmanager.net?x=https://a/",
            "https://smba.trafficmanager.net/#x",
            "https://evil.example\\@smba.trafficmanager.net/",
            "https://evil.example/smba.trafficmanager.net",
            "https://smba。trafficmanager。net.evil.example/",
            "//smba.trafficmanager.net/",
            "ftp://smba.trafficmanager.net/",
            "http://127.0.0.1:3978/",
            "",
        ] {
            assert!(!services.allow(url), "{url}");
        }
    }

    #[test]
    fn a_port_is_part_of_what_is_listed() {
        let hosts = ["bots.example.com:8443", "localhost:3978", "[::1]:3978"];
        let services = Services::new(hosts.map(String::from).into(), false).unwrap();
        for url in ["https://bots.example.com:8443/amer/", "https://localhost:3978", "https://[::1]:3978/"] {
            assert!(services.allow(url), "{url}");
        }
        for url in ["https://bots.example.com/", "https://bots.example.com:84/", "http://localhost:3978/"] {
            assert!(!services.allow(url), "{url}");
        }
    }

    #[test]
    fn this_machine_is_allowed_only_where_asked_for() {
        let services = services(true);
        for url in ["http://127.0.0.1:3978/connector/", "http://localhost/", "http://[::1]:1/"] {
            assert!(services.allow(url), "{url}");
        }
        for url in
            ["http://localhost.evil.example/", "http://10.0.0.1/", "http://a@127.0.0.1/", "ftp://localhost/"]
        {
            assert!(!services.allow(url), "{url}");
        }
    }

    #[test]
    fn a_list_of_anything_but_bare_hosts_stops_the_start() {
        for host in [
            "",
            "https://a.example",
            "a.example:443",
            "a.example/x",
            "A.example",
            "u@a.example",
            "a b",
            "*.a",
        ] {
            assert!(Services::new(vec![host.into()], false).is_err(), "{host}");
        }
    }
}
