//! What clients ask before they begin: what this server can do, and which nodes there are (this one).

use tonic::Response;

use crate::{
    connection::Connection,
    protocol::cluster::{
        ClusterInfo, Endpoint, Member, PersistentSubscriptions, SupportedMethod, SupportedMethods,
    },
    wire,
};

/// Which server clients are to take this one for.
pub(crate) const VERSION: &str = "24.10.0";

/// A single node leads itself.
const LEADER: i32 = 8;

/// Method, service, features; in lower case, as clients compare them.
const SERVED: [(&str, &str, &[&str]); 8] = [
    ("read", "event_store.client.streams.streams", &["position", "events"]),
    ("append", "event_store.client.streams.streams", &[]),
    ("batchappend", "event_store.client.streams.streams", &["deadline_duration"]),
    ("delete", "event_store.client.streams.streams", &[]),
    ("tombstone", "event_store.client.streams.streams", &[]),
    ("list", "event_store.client.persistent_subscriptions.persistentsubscriptions", &["stream", "all"]),
    ("read", "event_store.client.gossip.gossip", &[]),
    ("getsupportedmethods", "event_store.client.server_features.serverfeatures", &[]),
];

pub(crate) fn supported_methods() -> Response<SupportedMethods> {
    let methods = SERVED.map(|(method, service, features)| SupportedMethod {
        method: method.into(),
        service: service.into(),
        features: features.iter().map(|&feature| feature.into()).collect(),
    });
    Response::new(SupportedMethods { methods: methods.into(), server_version: VERSION.into() })
}

pub(crate) fn gossip(connection: &Connection) -> Response<ClusterInfo> {
    let member = Member {
        instance_id: Some(wire::uuid(connection.server.store.id(), false)),
        time_stamp: wire::now_us() * 10,
        state: LEADER,
        is_alive: true,
        http_endpoint: Some(Endpoint {
            address: connection.address.ip().to_string(),
            port: connection.address.port().into(),
        }),
    };
    Response::new(ClusterInfo { members: vec![member] })
}

pub(crate) fn persistent_subscriptions() -> Response<PersistentSubscriptions> {
    Response::new(PersistentSubscriptions {})
}
