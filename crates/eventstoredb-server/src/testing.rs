//! A server without a socket, for tests of what no client of ours sends.

use std::sync::Arc;

use async_trait::async_trait;
use store::embedded::{EmbeddedStore, Options};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Access, Audit, Cost, Intake, NotRecorded, PasswordHash, Readings, Role, Rules, Server, Service, User,
    access::Caller,
};

pub(crate) static RULES: Rules = Rules {
    owned: &["audit", "connection", "intake", "rejection", "vault"],
    hidden: &["intake", "vault"],
    rejections: "rejection",
    intake: Intake { category: "intake", streams: 16, event: "message.submitted.v1" },
};

pub(crate) fn server() -> (Arc<Server>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(dir.path(), Options::default()).unwrap());
    let service = Service { store, access: Access::Open, tls: None };
    (Arc::new(Server::new(service, ([127, 0, 0, 1], 2113).into(), CancellationToken::new())), dir)
}

/// Ada, in that role.
pub(crate) fn caller(role: Role) -> Caller {
    let password = PasswordHash::of("", [0; 16], Cost::Drawn);
    Caller::User {
        user: Arc::new(User { name: "ada".into(), role, password }),
        rules: &RULES,
        audit: Arc::new(Nobody),
        sessions: Arc::default(),
    }
}

struct Nobody;

#[async_trait]
impl Audit for Nobody {
    async fn begun(&self, _: &str) -> Result<Uuid, NotRecorded> {
        Err(NotRecorded)
    }

    async fn ended(&self, _: Uuid, _: &str, _: Readings) {}
}
