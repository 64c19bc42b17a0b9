//! `chancery api-keys`. A key goes to standard output, alone, so that it can be piped to where it is kept.

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::{
    ClientId,
    client::{Profile, Role},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    args::{ApiKeysCommand, HubArgs},
    clients::{Office, said},
    messages::{pretty, text},
    print, table,
};
use crate::{
    clock::{Clock as _, SystemClock},
    http::access::role_name,
};

pub(super) async fn run(command: ApiKeysCommand, hub: &HubArgs, json: bool) -> anyhow::Result<()> {
    let office = match command {
        ApiKeysCommand::Create { .. } => Office::of_any(hub).await?,
        _ => Office::of(hub).await?,
    };
    match command {
        ApiKeysCommand::Create { client, role, expires_in } => {
            shown_once(&client, &create(&office, &client, role, expires_in).await?, json)
        }
        ApiKeysCommand::Rotate { client, key, overlap } => {
            shown_once(&client, &rotate(&office, &client, key, overlap).await?, json)
        }
        ApiKeysCommand::Revoke { client, key } => {
            office.revoke_key(&client, key).await?;
            eprintln!("The key {key} of {client} is revoked.");
            said(json, &json!({ "client": client, "key_id": key }))
        }
        ApiKeysCommand::List { client } => {
            let keys = keys(&office, client.as_ref()).await?;
            print(&if json { pretty(&json!({ "items": keys })) } else { listed(&keys) })
        }
    }
}

fn shown_once(client: &ClientId, issued: &Value, json: bool) -> anyhow::Result<()> {
    let key_id = text(&issued["key_id"]);
    eprintln!(
        "This is the key {key_id} of {client}. It is shown this once: keep it now, where secrets are kept."
    );
    print(&if json { pretty(issued) } else { text(&issued["key"]) + "\n" })
}

/// A key for the client, which is made known first where need be.
async fn create(
    office: &Office,
    client: &ClientId,
    role: Option<Role>,
    expires_in: Option<Duration>,
) -> anyhow::Result<Value> {
    let clients = office.list().await?;
    match (clients.iter().find(|known| known["id"] == client.as_str()), role) {
        (None, None) => bail!("there is no client {client} yet; --role makes it known"),
        (None, Some(role)) => {
            office.create(client, Profile { role, tenants: None, return_urls: vec![] }).await?;
        }
        (Some(known), Some(role)) if known["role"] != role_name(role) => {
            let has = text(&known["role"]);
            bail!(
                "{client} has the role {has}; `chancery clients role {client} {}` changes it",
                role_name(role)
            )
        }
        (Some(_), _) => {}
    }
    office.create_key(client, expires_in.map(|life| SystemClock.now() + life)).await
}

async fn rotate(
    office: &Office,
    client: &ClientId,
    key: Option<Uuid>,
    overlap: Duration,
) -> anyhow::Result<Value> {
    let key = match key {
        Some(key) => key,
        None => only_good_key(office, client).await?,
    };
    office.rotate_key(client, key, overlap).await
}

async fn only_good_key(office: &Office, client: &ClientId) -> anyhow::Result<Uuid> {
    let keys = keys(office, Some(client)).await?;
    let good: Vec<_> = keys.iter().filter(|key| status(key) == "good").collect();
    match good[..] {
        [only] => text(&only["key_id"]).parse().context("a key without an id"),
        [] => bail!("{client} has no key to replace; `chancery api-keys create {client}` makes one"),
        _ => bail!("{client} has {} keys; say which one to replace (`chancery api-keys list`)", good.len()),
    }
}

/// Keys as the API lists them, each with its client.
async fn keys(office: &Office, only: Option<&ClientId>) -> anyhow::Result<Vec<Value>> {
    let clients = office.list().await?;
    let of_client = |known: Value| {
        let keys = known["keys"].as_array().cloned().unwrap_or_default();
        keys.into_iter().map(move |mut key| {
            key["client"] = known["id"].clone();
            key
        })
    };
    let wanted = |known: &Value| only.is_none_or(|only| known["id"] == only.as_str());
    if let Some(only) = only
        && !clients.iter().any(wanted)
    {
        bail!("there is no client {only}")
    }
    Ok(clients.into_iter().filter(wanted).flat_map(of_client).collect())
}

fn status(key: &Value) -> &'static str {
    let expired = key["expires_at"]
        .as_str()
        .and_then(|end| end.parse::<domain::Timestamp>().ok())
        .is_some_and(|end| end <= SystemClock.now());
    match (key["revoked_at"].is_null(), expired) {
        (false, _) => "revoked",
        (true, true) => "expired",
        (true, false) => "good",
    }
}

fn listed(keys: &[Value]) -> String {
    let row = |key: &Value| {
        let [client, id, created, expires] =
            ["client", "key_id", "created_at", "expires_at"].map(|member| text(&key[member]));
        vec![client, id, status(key).to_owned(), created, expires]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    table::render(&["CLIENT", "KEY", "STATUS", "CREATED", "EXPIRES"], &rows)
}

#[cfg(test)]
mod tests {
    use super::{super::clients::tests::stopped, *};
    use crate::http::auth::ApiKey;

    fn okr() -> ClientId {
        "okr".parse().unwrap()
    }

    /// What [`keys`] lists, as status by id.
    async fn statuses(office: &Office) -> Vec<(String, &'static str)> {
        let keys = keys(office, Some(&okr())).await.unwrap();
        keys.iter().map(|key| (text(&key["key_id"]), status(key))).collect()
    }

    #[tokio::test]
    async fn the_first_key_is_made_with_its_client_and_only_its_hash_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let office = stopped(directory.path()).await;
        let error = create(&office, &okr(), None, None).await.unwrap_err().to_string();
        assert!(error.contains("--role"), "{error}");
        let issued = create(&office, &okr(), Some(Role::Admin), Some(Duration::from_hours(1))).await.unwrap();
        let key = ApiKey::parse(issued["key"].as_str().unwrap()).unwrap();

        let listed = listed(&keys(&office, None).await.unwrap());
        assert!(listed.contains(issued["key_id"].as_str().unwrap()) && listed.contains("good"), "{listed}");
        assert!(!listed.contains(key.expose()) && !listed.contains(&key.hash()));
        let another = create(&office, &okr(), Some(Role::Service), None).await.unwrap_err().to_string();
        assert!(another.contains("has the role admin"), "{another}");
    }

    #[tokio::test]
    async fn a_key_is_rotated_and_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let office = stopped(directory.path()).await;
        let first = create(&office, &okr(), Some(Role::Service), None).await.unwrap();
        let second = rotate(&office, &okr(), None, Duration::from_hours(1)).await.unwrap();
        let several = rotate(&office, &okr(), None, Duration::from_hours(1)).await.unwrap_err().to_string();
        assert!(several.contains("2 keys"), "{several}");

        let [first, second] = [first, second].map(|key| text(&key["key_id"]));
        office.revoke_key(&okr(), first.parse().unwrap()).await.unwrap();
        assert_eq!(statuses(&office).await, [(first, "revoked"), (second, "good")]);
        assert!(keys(&office, Some(&"crm".parse().unwrap())).await.is_err());
    }
}
