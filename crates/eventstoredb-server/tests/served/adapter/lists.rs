//! The lists of who may do what, as the adapter leaves them for a server that heeds them.

use serde_json::{Value, json};
use store::{
    Access, Direction, EventStore, Keeping, StreamName,
    eventstoredb::{
        Options,
        access::{AUDITORS, CLIENTS, HUBS},
    },
};

use super::connect;
use crate::{Served, served};

async fn all(served: &Served, stream: &str) -> Vec<Value> {
    let stream = StreamName::new(stream);
    let events = served.store.read_stream(&stream, Direction::Forward, 0, 99).await.unwrap();
    events.iter().map(|event| serde_json::from_slice(&event.data).unwrap()).collect()
}

#[tokio::test]
async fn by_default_auditors_read_and_only_hubs_write_and_it_is_said_once() {
    let (served, _) = served().await;
    let store = connect(&served, Options::default());
    store.guard().await.unwrap();
    connect(&served, Options::default()).guard().await.unwrap();
    let said = all(&served, "$settings").await;
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["$userStreamAcl"]["$r"], json!([HUBS, AUDITORS]));
    for right in ["$w", "$d", "$mw"] {
        assert_eq!(said[0]["$userStreamAcl"][right], json!([HUBS]), "{right}");
        assert_eq!(said[0]["$systemStreamAcl"][right], json!([HUBS]), "{right}");
    }
}

#[tokio::test]
async fn a_default_that_somebody_loosened_is_set_again() {
    let (served, client) = served().await;
    let loose = json!({ "$userStreamAcl": { "$r": "$all", "$w": "$all" } });
    let event = eventstore::EventData::json("update-default-acl", &loose).unwrap();
    client.append_to_stream("$settings", &Default::default(), event).await.unwrap();
    connect(&served, Options::default()).guard().await.unwrap();
    assert_eq!(all(&served, "$settings").await.last().unwrap()["$userStreamAcl"]["$w"], json!([HUBS]));
}

#[tokio::test]
async fn a_stream_of_its_own_kind_says_so_beside_what_else_its_metadata_says() {
    let (served, _) = served().await;
    let store = connect(&served, Options::default());
    let (secret, intake) = (StreamName::new("vault-grant-1"), StreamName::new("intake-3"));
    store.truncate_before(&intake, 4).await.unwrap();
    store.reserve(&intake, Access::Clients).await.unwrap();
    store.reserve(&intake, Access::Clients).await.unwrap();
    store.reserve(&secret, Access::Hubs).await.unwrap();
    let said = all(&served, "$$intake-3").await;
    assert_eq!(said.len(), 2, "what is so already is not said again");
    assert_eq!((&said[1]["$tb"], &said[1]["$acl"]["$w"]), (&json!(4), &json!([HUBS, CLIENTS])));
    assert_eq!(said[1]["$acl"]["$r"], json!([HUBS]));
    let said = all(&served, "$$vault-grant-1").await;
    assert_eq!((&said[0]["$acl"]["$r"], &said[0]["$acl"]["$w"]), (&json!([HUBS]), &json!([HUBS])));
}
