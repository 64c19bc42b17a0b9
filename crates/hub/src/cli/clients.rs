//! `chancery clients`, and what `chancery api-keys` shares with it: a running hub is asked by its API, the data of a
//! stopped one are opened. Either way the answers have the shape of the API's.

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::{
    ClientId, Timestamp,
    client::{Profile, Role},
};
use projections::{Projection as _, ReadModel, clients};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    args::{ClientsCommand, HubArgs},
    client::{Client, send},
    data::Data,
    messages::{pretty, text},
    print, table,
};
use crate::{
    app::DEV_MARK,
    clock::{Ids as _, SystemClock, SystemIds},
    commands::{Commands, Context},
    http::access::role_name,
    services::clients::{ClientView, Clients},
};

/// How long the read model of a stopped hub may take to catch up.
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) async fn run(command: ClientsCommand, hub: &HubArgs, json: bool) -> anyhow::Result<()> {
    let office = match command {
        ClientsCommand::Create { .. } => Office::of_any(hub).await?,
        _ => Office::of(hub).await?,
    };
    match command {
        ClientsCommand::List => {
            let clients = office.list().await?;
            print(&if json { pretty(&json!({ "items": clients })) } else { listed(&clients) })
        }
        ClientsCommand::Create { client, role, tenants, return_urls } => {
            let tenants = (!tenants.is_empty()).then_some(tenants);
            office.create(&client, Profile { role, tenants, return_urls }).await?;
            eprintln!(
                "The client {client} is made; `chancery api-keys create {client}` makes its first key."
            );
            said(json, &json!({ "id": client }))
        }
        ClientsCommand::Role { client, role } => {
            office.change_role(&client, role).await?;
            eprintln!("The client {client} has the role {} now.", role_name(role));
            said(json, &json!({ "id": client, "role": role }))
        }
    }
}

/// What was done, for machines.
pub(super) fn said(json: bool, what: &Value) -> anyhow::Result<()> {
    if json { print(&pretty(what)) } else { Ok(()) }
}

fn listed(clients: &[Value]) -> String {
    let row = |client: &Value| {
        let tenants = match &client["tenants"] {
            Value::Array(tenants) => tenants.iter().map(text).collect::<Vec<_>>().join(" "),
            _ => "all".to_owned(),
        };
        let keys = client["keys"].as_array().map_or(0, Vec::len).to_string();
        vec![text(&client["id"]), text(&client["role"]), tenants, keys, text(&client["created_at"])]
    };
    let rows: Vec<_> = clients.iter().map(row).collect();
    table::render(&["CLIENT", "ROLE", "TENANTS", "KEYS", "CREATED"], &rows)
}

/// Who looks after clients.
pub(super) enum Office {
    Running(Client),
    Stopped { data: Data, commands: Box<Commands> },
}

impl Office {
    /// For a hub that was begun already.
    pub(super) async fn of(hub: &HubArgs) -> anyhow::Result<Self> {
        Data::named(&hub.data).await?.map_or_else(|| Self::running(hub), |data| Ok(Self::stopped(data)))
    }

    /// The same, or for one that this begins.
    pub(super) async fn of_any(hub: &HubArgs) -> anyhow::Result<Self> {
        let data = Data::named_or_new(&hub.data).await?;
        data.map_or_else(|| Self::running(hub), |data| Ok(Self::stopped(data)))
    }

    fn running(hub: &HubArgs) -> anyhow::Result<Self> {
        let client = Client::new(&hub.server);
        Ok(Self::Running(match hub.server.url {
            Some(_) => client?,
            None => client.context(
                "no hub to ask (for a first key, name the configuration of a stopped hub with --config)",
            )?,
        }))
    }

    fn stopped(data: Data) -> Self {
        let commands = Commands::new(
            data.store.clone(),
            std::sync::Arc::new(SystemClock),
            std::sync::Arc::new(SystemIds),
        );
        Self::Stopped { data, commands: Box::new(commands) }
    }

    /// All clients by name, as `GET /v1/clients` has them.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::Running(client) => {
                let list = send(client.request(Method::GET, &["v1", "clients"])?).await?;
                Ok(list["items"].as_array().cloned().unwrap_or_default())
            }
            Self::Stopped { data, .. } => {
                let views = read(data).await?.into_iter().map(|(id, row)| ClientView::of(id, row));
                views.map(|view| Ok(serde_json::to_value(view)?)).collect()
            }
        }
    }

    pub(super) async fn create(&self, client: &ClientId, profile: Profile) -> anyhow::Result<()> {
        match self {
            Self::Running(hub) => {
                let Profile { role, tenants, return_urls } = profile;
                let body =
                    json!({ "id": client, "role": role, "tenants": tenants, "return_urls": return_urls });
                let request = hub.request(Method::POST, &["v1", "clients"])?;
                send(request.header("idempotency-key", SystemIds.uuid().to_string()).json(&body)).await?;
            }
            Self::Stopped { data, commands } => {
                let clients = of_stopped(data, commands);
                clients.create(client, &clients.command_id("create"), profile).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn change_role(&self, client: &ClientId, role: Role) -> anyhow::Result<()> {
        match self {
            Self::Running(hub) => {
                let request = hub.request(Method::POST, &["v1", "clients", client.as_str(), "role"])?;
                send(request.json(&json!({ "role": role }))).await?;
            }
            Self::Stopped { data, commands } => {
                of_stopped(data, commands).change_role(client, role).await?;
            }
        }
        Ok(())
    }

    /// As the API answers: with the key, this once.
    pub(super) async fn create_key(
        &self,
        client: &ClientId,
        expires_at: Option<Timestamp>,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Running(hub) => {
                let request = hub.request(Method::POST, &["v1", "clients", client.as_str(), "keys"])?;
                send(request.json(&json!({ "expires_at": expires_at }))).await
            }
            Self::Stopped { data, commands } => {
                let issued = of_stopped(data, commands).create_key(client, expires_at).await?;
                Ok(serde_json::to_value(issued)?)
            }
        }
    }

    pub(super) async fn rotate_key(
        &self,
        client: &ClientId,
        key: Uuid,
        overlap: Duration,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Running(hub) => {
                let key = key.to_string();
                let path = ["v1", "clients", client.as_str(), "keys", &key, "rotate"];
                let body = json!({ "keep_old_for_s": overlap.as_secs() });
                send(hub.request(Method::POST, &path)?.json(&body)).await
            }
            Self::Stopped { data, commands } => {
                let issued = of_stopped(data, commands).rotate_key(client, key, overlap, None).await?;
                Ok(serde_json::to_value(issued)?)
            }
        }
    }

    pub(super) async fn revoke_key(&self, client: &ClientId, key: Uuid) -> anyhow::Result<()> {
        match self {
            Self::Running(hub) => {
                let key = key.to_string();
                let path = ["v1", "clients", client.as_str(), "keys", &key];
                send(hub.request(Method::DELETE, &path)?).await?;
            }
            Self::Stopped { data, commands } => {
                of_stopped(data, commands).revoke_key(client, key).await?;
            }
        }
        Ok(())
    }
}

fn of_stopped<'a>(data: &'a Data, commands: &'a Commands) -> Clients<'a> {
    Clients {
        store: &*data.store,
        commands,
        clock: &SystemClock,
        ids: &SystemIds,
        context: Context::hub("command-line", SystemIds.uuid().to_string()),
        loopback_http: data.directory.join(DEV_MARK).exists(),
    }
}

/// Brings the read model to the head of the log, and reads all of it.
async fn read(data: &Data) -> anyhow::Result<Vec<(ClientId, clients::ClientRow)>> {
    let (model, follower) = ReadModel::<clients::Clients>::open(&data.for_read_models(), data.store.clone())?;
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    let there = model.wait_for(data.store.head().await?, PATIENCE).await;
    let all = match there {
        Ok(()) => clients::all(&model).await,
        Err(behind) => Err(behind.into()),
    };
    stop.cancel();
    if let Err(error) = following.await? {
        bail!("the read model {} failed: {error:#}", clients::Clients::NAME)
    }
    all
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use custody::KeyEncryptionKey;

    use super::{super::args::DataArgs, *};

    pub(in super::super) async fn stopped(directory: &Path) -> Office {
        let kek = KeyEncryptionKey::create_file(&directory.join("key")).unwrap();
        Office::stopped(Data::begin(directory.join("data"), kek).await.expect("nobody else uses it"))
    }

    /// The arguments that name what [`stopped`] made.
    fn named(directory: &Path) -> HubArgs {
        let data = DataArgs { data_dir: Some(directory.join("data")), config: None };
        HubArgs { data, ..HubArgs::default() }
    }

    fn profile(role: Role) -> Profile {
        Profile { role, tenants: None, return_urls: vec![] }
    }

    #[tokio::test]
    async fn clients_are_made_and_listed_without_a_running_hub() {
        let directory = tempfile::tempdir().unwrap();
        let office = stopped(directory.path()).await;
        assert!(office.list().await.unwrap().is_empty());
        office.create(&"okr".parse().unwrap(), profile(Role::Service)).await.unwrap();
        office.create(&"admin".parse().unwrap(), profile(Role::Admin)).await.unwrap();
        let again = office.create(&"okr".parse().unwrap(), profile(Role::Service)).await;
        assert!(again.unwrap_err().to_string().contains("already"));
        office.change_role(&"okr".parse().unwrap(), Role::Operator).await.unwrap();

        let list = listed(&office.list().await.unwrap());
        let lines: Vec<Vec<&str>> =
            list.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
        assert_eq!(lines[1..], [["admin", "admin", "all", "0"], ["okr", "operator", "all", "0"]]);
    }

    #[tokio::test]
    async fn the_data_of_a_running_hub_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let _hub = stopped(directory.path()).await;
        let error = Office::of(&named(directory.path())).await.err().expect("it is in use");
        assert!(format!("{error:#}").contains("another process is using"), "{error:#}");
    }

    #[tokio::test]
    async fn data_that_are_not_there_are_neither_read_nor_begun_without_their_key() {
        let directory = tempfile::tempdir().unwrap();
        let args = named(directory.path());
        let read = Office::of(&args).await.err().expect("nothing is there");
        assert!(read.to_string().ends_with("data holds no Chancery data"), "{read}");
        let written = Office::of_any(&args).await.err().expect("no key was named");
        assert!(written.to_string().contains("--config"), "{written}");
        assert!(!directory.path().join("data").exists());
    }
}
