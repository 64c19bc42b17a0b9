//! The store's port in `chancery dev`, and its users: one for each role that an outsider has.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::{ClientId, CommandId, client};
use eventstoredb_server::{Cost, PasswordHash, Role, User};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use store::eventstoredb::{EventStoreDb, Options};

use super::write_private;
use crate::{
    app,
    commands::{Context, Failure},
    http::{
        auth::ApiKey,
        serve::{ServeError, TlsFiles, bind_for},
    },
    hub::Hub,
    store_port::StorePort,
};

/// Those that are shown.
pub(super) const NAMES: [&str; 3] = ["auditor", BACKEND, "operator"];

/// Who submits; a client of the hub, too.
const BACKEND: &str = "backend";

/// The hub itself, where it comes to its store by this port.
const HUB: &str = "hub";

const USERS: [(&str, Role); 4] =
    [("auditor", Role::Read), (BACKEND, Role::Submit), ("operator", Role::Operate), (HUB, Role::Hub)];

/// Where EventStoreDB's clients look, and how many ports behind it are tried.
const PORT: u16 = 2113;
const PORTS: u16 = 100;

/// What the user needs for a client of the store.
#[derive(Clone, Serialize, Deserialize)]
pub struct StoreFile {
    pub address: SocketAddr,
    /// Passwords by name.
    pub users: BTreeMap<String, String>,
    /// What vouches for the port where TLS is spoken: its own certificate, as PEM.
    pub ca_file: PathBuf,
}

impl StoreFile {
    /// In clear.
    pub(super) fn string(&self, name: &str) -> String {
        format!("esdb://{name}:{}@{}?tls=false", self.users[name], self.address)
    }

    /// The store as a hub has it that shares it with others.
    pub(super) async fn connect(&self) -> Result<EventStoreDb> {
        let store = EventStoreDb::new(self.string(HUB).parse()?, Options::default())?;
        app::prepare(&store).await?;
        Ok(store)
    }

    /// By TLS, without which the clients for Python and Node send no password.
    pub(super) fn tls_string(&self, name: &str) -> String {
        let (password, port) = (&self.users[name], self.address.port());
        format!("esdb://{name}:{password}@localhost:{port}?tlsCaFile={}", self.ca_file.display())
    }
}

/// The usual port, or the next free one: several `chancery dev` may run at a time.
pub(super) fn bind() -> Result<TcpListener> {
    let bind = |port| bind_for("--port", (Ipv4Addr::LOCALHOST, port).into());
    let mut last = bind(PORT);
    for port in PORT + 1..PORT + PORTS {
        if !matches!(last, Err(ServeError::InUse { .. })) {
            break;
        }
        last = bind(port);
    }
    Ok(last?)
}

/// The users' passwords are those of earlier runs in the directory.
pub(super) fn open(listener: TcpListener, directory: &Path) -> Result<(StorePort, StoreFile)> {
    let passwords = passwords(&directory.join("store-users.json"))?;
    let users = USERS.into_iter().map(|(name, role)| {
        let password = PasswordHash::of(&passwords[name], drawn(), Cost::Drawn);
        User { name: name.into(), role, password }
    });
    let tls = certificate(directory)?;
    let port = StorePort::on(listener, users.collect(), &tls)?;
    let ca_file = std::path::absolute(tls.cert)?;
    let file = StoreFile { address: port.address()?, users: passwords, ca_file };
    Ok((port, file))
}

fn passwords(path: &Path) -> Result<BTreeMap<String, String>> {
    let former = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut passwords: BTreeMap<String, String> = former.unwrap_or_default();
    for (name, _) in USERS {
        passwords.entry(name.to_owned()).or_insert_with(|| hex::encode(drawn()));
    }
    write_private(path, &serde_json::to_vec_pretty(&passwords)?)?;
    Ok(passwords)
}

/// For `localhost`, signed by itself; that of an earlier run where there is one.
fn certificate(directory: &Path) -> Result<TlsFiles> {
    let files = TlsFiles { cert: directory.join("store-cert.pem"), key: directory.join("store-key.pem") };
    if files.load().is_err() {
        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let made = rcgen::generate_simple_self_signed(names).context("making the store's certificate")?;
        write_private(&files.key, pem("PRIVATE KEY", &made.signing_key.serialize_der()).as_bytes())?;
        write_private(&files.cert, pem("CERTIFICATE", made.cert.der()).as_bytes())?;
    }
    Ok(files)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn drawn() -> [u8; 16] {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// Makes the backend a client of the hub, which takes submissions only of those. Its key is nobody's: it comes by the store.
pub(super) async fn admit(hub: &Hub) -> Result<()> {
    let client: ClientId = BACKEND.parse()?;
    let context = Context::hub("dev", BACKEND);
    let execute = async |what: &str, command| {
        let command_id = CommandId::new(format!("{what}/{}", hub.ids.uuid()));
        hub.commands.execute::<client::Client>(&client, &command_id, &context, command).await
    };
    let create = client::Command::Create { role: client::Role::Service, tenants: None, return_urls: vec![] };
    match execute("create", create).await {
        Ok(_) => {}
        Err(Failure::Refused(client::Refusal::Exists)) => return Ok(()),
        Err(error) => return Err(error).context("making the backend known"),
    }
    let key = ApiKey::generate(&SystemRandom::new());
    execute("key", client::Command::CreateKey { key: hub.ids.uuid(), hash: key.hash(), expires_at: None })
        .await?;
    Ok(())
}
