//! What is fetched by plain HTTP on the same port: by probes, by clients that look for nodes, by people.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tonic::body::Body;

use crate::{access::Access, cluster, connection::Connection, wire};

pub(crate) fn answer<B>(connection: &Connection, request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    match request.uri().path() {
        "/health/live" => empty(StatusCode::NO_CONTENT),
        "/info" => page(&json!({
            "esVersion": cluster::VERSION,
            "state": "leader",
            "features": { "projections": false, "userManagement": false, "atomPub": false },
            "authentication": { "type": authentication(&connection.server.access) },
        })),
        "/gossip" => page(&gossip(connection)),
        // There are no persistent subscriptions.
        "/subscriptions" => page(&json!([])),
        _ => empty(StatusCode::NOT_FOUND),
    }
}

fn authentication(access: &Access) -> &'static str {
    match access {
        Access::Open => "insecure",
        Access::Users { .. } => "basic",
    }
}

/// All that clients insist on; where there is nothing to tell, it is zero.
fn gossip(connection: &Connection) -> Value {
    let (server, address) = (&connection.server, connection.address);
    let (ip, port) = (address.ip().to_string(), address.port());
    let now = jiff::Timestamp::from_microsecond(wire::now_us()).unwrap_or_default();
    json!({
        "members": [{
            "instanceId": server.store.id(),
            "timeStamp": now.to_string(),
            "state": "Leader",
            "isAlive": true,
            "internalTcpIp": ip,
            "internalTcpPort": 0,
            "internalSecureTcpPort": 0,
            "externalTcpIp": ip,
            "externalTcpPort": 0,
            "externalSecureTcpPort": 0,
            "httpEndPointIp": ip,
            "httpEndPointPort": port,
            "lastCommitPosition": 0,
            "writerCheckpoint": 0,
            "chaserCheckpoint": 0,
            "epochPosition": 0,
            "epochNumber": 0,
            "epochId": server.store.id(),
            "nodePriority": 0,
            "isReadOnlyReplica": false,
        }],
        "serverIp": ip,
        "serverPort": port,
    })
}

fn page(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(value.to_string()))));
    let json = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
