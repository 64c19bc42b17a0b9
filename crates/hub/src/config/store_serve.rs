//! The store's own port: where it is, who uses it, and by what certificate.

use std::{collections::BTreeSet, io::ErrorKind, net::SocketAddr};

use domain::ClientId;
use eventstoredb_server::{PasswordHash, Role, User};

use super::{Section, StoreKind};
use crate::http::serve::TlsFiles;

#[derive(Debug)]
pub struct StoreServeConfig {
    pub listen: SocketAddr,
    /// Without any, the port is closed.
    pub users: Vec<User>,
    pub tls: Option<TlsFiles>,
}

impl StoreServeConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let allowed = "an IP address and a port such as \"127.0.0.1:2113\"";
        let config = Self {
            listen: section.parsed("listen", allowed, |text| text.parse().ok()),
            users: Self::read_users(section),
            tls: TlsFiles::read(section),
        };
        if !config.users.is_empty() && config.tls.is_none() && !config.listen.ip().is_loopback() {
            section.refuse(
                "listen",
                "can be reached from elsewhere, and passwords would go there in clear: set cert_file and key_file in \
                 [store.serve.tls], or listen on 127.0.0.1",
            );
        }
        config
    }

    /// Of a hub, which is the only one on its embedded store.
    pub(super) fn read_of_hub(section: &mut Section<'_>, kind: StoreKind) -> Self {
        let config = Self::read(section);
        if kind != StoreKind::Embedded && !config.users.is_empty() {
            section.refuse("users_file", "is for the embedded store only: the other one has its own users");
        }
        if let Some(hub) = config.users.iter().find(|user| user.role == Role::Hub) {
            let problem = format!(
                "names the user {}, whose role `hub` is for `chancery store serve`: this hub shares its store with no other",
                hub.name
            );
            section.refuse("users_file", &problem);
        }
        config
    }

    fn read_users(section: &mut Section<'_>) -> Vec<User> {
        let Some(path) = section.file("users_file") else { return Vec::new() };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                section.refuse("users_file", &format!("names {}, which is not text", path.display()));
                return Vec::new();
            }
            // What kept `file` from opening it was told there already.
            Err(_) => return Vec::new(),
        };
        let (mut users, mut names) = (Vec::new(), BTreeSet::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let user = read_user(line).and_then(|user| {
                if names.insert(user.name.clone()) { Ok(user) } else { Err("names a user again".to_owned()) }
            });
            match user {
                Ok(user) => users.push(user),
                Err(problem) => {
                    section.refuse(
                        "users_file",
                        &format!("names {}, whose line {number} {problem}", path.display()),
                    );
                }
            }
        }
        users
    }
}

/// `<name> <role> <hash>`. What is wrong follows "the line"; of the hash nothing is told.
fn read_user(line: &str) -> Result<User, String> {
    let mut parts = line.split_whitespace();
    let (Some(name), Some(role), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("is no name, role and hash, as `chancery store users hash` prints them".to_owned());
    };
    let name: ClientId = name.parse().map_err(|error| format!("begins with no name of a user: {error}"))?;
    let role = Role::parse(role).ok_or_else(|| format!("has no role: it must be {}", role_names()))?;
    let password = PasswordHash::parse(hash).map_err(|error| format!("has a third word that {error}"))?;
    Ok(User { name: name.as_str().into(), role, password })
}

pub(crate) fn role_names() -> String {
    Role::ALL.map(Role::name).join(", ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use eventstoredb_server::Cost;

    use super::*;
    use crate::config::{Sources, StoreOnlyConfig, layers::Layers};

    fn hash() -> String {
        PasswordHash::of("a password", [1; 16], Cost::Drawn).as_str().to_owned()
    }

    fn sources(users: &str, listen: &str) -> (Sources, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(users.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let set = [("LISTEN", listen.to_owned()), ("USERS_FILE", path)];
        let environment = set.map(|(key, value)| (format!("CHANCERY_STORE__SERVE__{key}"), value)).to_vec();
        (Sources { environment, ..Sources::default() }, file)
    }

    fn load(users: &str, listen: &str) -> Result<StoreServeConfig, String> {
        let (sources, _file) = sources(users, listen);
        StoreOnlyConfig::load(&sources).map(|config| config.serve).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_a_user_in_each_line() {
        let hash = hash();
        let text = format!("# who\n\nauditor read {hash}\n  okr-backend  submit\t{hash}\n");
        let config = load(&text, "127.0.0.1:2113").unwrap();
        let users: Vec<_> = config.users.iter().map(|user| (&*user.name, user.role)).collect();
        assert_eq!(users, [("auditor", Role::Read), ("okr-backend", Role::Submit)]);
        assert_eq!(config.users[0].password.as_str(), hash);
    }

    #[test]
    fn a_line_that_is_no_user_is_told_by_its_number_and_without_what_may_be_a_password() {
        let hash = hash();
        for (line, wrong) in [
            ("auditor read".to_owned(), "is no name, role and hash"),
            (format!("auditor read {hash} more"), "is no name, role and hash"),
            (format!("Auditor read {hash}"), "no name of a user"),
            (format!("auditor king {hash}"), "must be read, submit, operate, hub"),
            ("auditor read hunter2-hunter2".to_owned(), "no hash of a password"),
            (format!("first read {hash}"), "a user again"),
        ] {
            let told = load(&format!("first read {hash}\n{line}\n"), "127.0.0.1:2113").unwrap_err();
            assert!(told.contains(wrong) && told.contains("line 2"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains(&hash), "{told}");
        }
    }

    #[test]
    fn passwords_do_not_cross_the_network_in_clear() {
        let user = format!("auditor read {}", hash());
        let told = load(&user, "0.0.0.0:2113").unwrap_err();
        assert!(told.contains("in clear") && told.contains("[store.serve.tls]"), "{told}");
        load("", "0.0.0.0:2113").unwrap();
        load(&user, "[::1]:2113").unwrap();
    }

    #[test]
    fn a_hub_does_not_share_its_embedded_store_with_another() {
        let (sources, _file) = sources(&format!("other hub {}", hash()), "127.0.0.1:2113");
        StoreOnlyConfig::load(&sources).unwrap();
        let mut layers = Layers::read(&sources).unwrap();
        StoreServeConfig::read_of_hub(&mut layers.section("store.serve"), StoreKind::Embedded);
        assert!(layers.into_problems()[0].contains("shares its store with no other"));
    }
}
