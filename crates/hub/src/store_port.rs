//! The store's own port, where EventStoreDB's clients find the embedded store.
//!
//! **Invariant.** Who reads there is on record before anything is shown.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::Result;
use async_trait::async_trait;
use domain::{
    Aggregate as _, ClientId, CommandId,
    audit::{Audit, Event},
    intake::{self, Rejection},
};
use eventstoredb_server::{Access, Intake, NotRecorded, Readings, Rules, Service, User, Users};
use ring::rand::SystemRandom;
use store::{EventStore, embedded::EmbeddedStore};
use uuid::Uuid;

use crate::{
    clock::{Clock, Ids},
    commands::{Commands, Context},
    config::StoreServeConfig,
    http::serve::{TlsFiles, bind_for},
    lifecycle::Lifecycle,
};

/// Whose the streams are, by category.
static RULES: Rules = Rules {
    owned: &[
        "account",
        "activity",
        "attempts",
        "audit",
        "client",
        "connection",
        "hub",
        "intake",
        "lane",
        "message",
        "notice",
        "rejection",
        "shard",
        "signin",
        "store",
        "tenant",
        "vault",
    ],
    // What is submitted is in clear until it is answered; the vault is where hubs that share a store keep secrets.
    hidden: &["intake", "vault"],
    rejections: Rejection::CATEGORY,
    intake: Intake { category: intake::CATEGORY, streams: intake::STREAMS, event: intake::SUBMITTED },
};

/// Whom the port is for.
pub enum For {
    Users(Vec<User>),
    /// Whoever is on this machine, to do whatever they like.
    Everybody,
}

/// A port that is taken, and served once [`StorePort::spawn`] is called.
pub struct StorePort {
    listener: TcpListener,
    whom: For,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl StorePort {
    /// As configured; `None` without users.
    pub fn configured(config: &StoreServeConfig) -> Result<Option<Self>> {
        if config.users.is_empty() {
            return Ok(None);
        }
        Self::bind(config.listen, For::Users(config.users.clone()), config.tls.as_ref()).map(Some)
    }

    pub fn bind(listen: SocketAddr, whom: For, tls: Option<&TlsFiles>) -> Result<Self> {
        let tls = tls.map(TlsFiles::load).transpose()?.map(Arc::new);
        Ok(Self { listener: bind_for("store.serve.listen", listen)?, whom, tls })
    }

    /// On a socket that the caller bound.
    pub fn on(listener: TcpListener, users: Vec<User>, tls: &TlsFiles) -> Result<Self> {
        Ok(Self { listener, whom: For::Users(users), tls: Some(Arc::new(tls.load()?)) })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    pub fn spawn(
        self,
        lifecycle: &Lifecycle,
        store: Arc<EmbeddedStore>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<()> {
        tracing::info!(address = %self.address()?, "The store listens.");
        let access = match self.whom {
            For::Everybody => Access::Open,
            For::Users(users) => Access::Users {
                users: Users::new(users, &SystemRandom::new()),
                rules: &RULES,
                audit: Arc::new(Sessions::new(store.clone(), clock, ids)),
            },
        };
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (service, stopping) = (Service { store, access, tls: self.tls }, lifecycle.stopping());
        lifecycle.spawn("store port", async move { Ok(service.run(listener, stopping).await?) });
        Ok(())
    }
}

/// Puts sessions on record, each as a stream of its own.
struct Sessions {
    commands: Commands,
    ids: Arc<dyn Ids>,
}

impl Sessions {
    fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { commands: Commands::new(store, clock, ids.clone()), ids }
    }

    async fn record(&self, session: Uuid, what: &str, client: &ClientId, event: Event) -> Result<()> {
        let context = Context::client(client, session.to_string());
        self.commands.execute::<Audit>(session, &CommandId::new(what), &context, event).await?;
        Ok(())
    }
}

#[async_trait]
impl eventstoredb_server::Audit for Sessions {
    async fn begun(&self, user: &str) -> Result<Uuid, NotRecorded> {
        let session = self.ids.uuid();
        let begun = async {
            let client: ClientId = user.parse()?;
            self.record(session, "begin", &client, Event::StoreSessionBegun { client: client.clone() }).await
        };
        begun.await.map(|()| session).map_err(|error| {
            tracing::error!(
                user,
                error = format!("{error:#}"),
                "A session on the store's port can't be put on record."
            );
            NotRecorded
        })
    }

    async fn ended(&self, session: Uuid, user: &str, read: Readings) {
        let Readings { events, log, streams, more } = read;
        let streams = streams.into_iter().map(|stream| stream.to_string()).collect();
        let ended = async {
            let client: ClientId = user.parse()?;
            let ended = Event::StoreSessionEnded { client: client.clone(), events, log, streams, more };
            self.record(session, "end", &client, ended).await
        };
        if let Err(error) = ended.await {
            tracing::error!(
                user,
                error = format!("{error:#}"),
                "What was read on the store's port is not on record."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use eventstoredb_server::Audit as _;
    use serde_json::{Value, json};
    use store::{Direction, StreamName, embedded::Options};

    use super::*;
    use crate::clock::{SystemClock, SystemIds};

    #[tokio::test]
    async fn a_session_is_one_stream_with_its_begin_and_what_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(directory.path(), Options::default()).unwrap());
        let sessions = Sessions::new(store.clone(), Arc::new(SystemClock), Arc::new(SystemIds));

        let session = sessions.begun("auditor").await.unwrap();
        let stream = StreamName::new(format!("audit-{session}"));
        assert_eq!(store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap().len(), 1);
        let read = Readings {
            events: 7,
            log: false,
            streams: [StreamName::new("connection-1")].into(),
            more: false,
        };
        sessions.ended(session, "auditor", read).await;

        let recorded = store.read_stream(&stream, Direction::Forward, 0, 9).await.unwrap();
        let [begun, ended] = &recorded[..] else { panic!("{} events", recorded.len()) };
        let data = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap();
        assert_eq!(
            (&*begun.name, data(&begun.data)),
            ("audit.store-session-begun.v1", json!({"client": "auditor"}))
        );
        assert_eq!(&*ended.name, "audit.store-session-ended.v1");
        let read = json!({
            "client": "auditor", "events": 7, "log": false, "streams": ["connection-1"], "more": false,
        });
        assert_eq!(data(&ended.data), read);
        assert_eq!(data(&ended.metadata)["actor"], "client/auditor");
    }

    #[tokio::test]
    async fn what_can_not_be_put_on_record_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(directory.path(), Options::default()).unwrap());
        let sessions = Sessions::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
        assert_eq!(sessions.begun("No Client's Name").await, Err(NotRecorded));
    }
}
