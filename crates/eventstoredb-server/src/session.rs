//! What users read, session by session: one user on one connection.
//!
//! **Invariant.** Nothing is shown to a user before the session is on record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use store::StreamName;
use tokio::sync::OnceCell;
use tonic::Status;
use uuid::Uuid;

use crate::{
    access::Caller,
    limits,
    protocol::reading::{ReadReply, read_reply::Content},
    users::{Role, User},
};

/// Keeps record of who read what.
#[async_trait]
pub trait Audit: Send + Sync {
    /// A user is about to read, for the first time on a connection. Answers with an id for what was begun. Where this
    /// fails, nothing is shown.
    async fn begun(&self, user: &str) -> Result<Uuid, NotRecorded>;

    /// The connection ended.
    async fn ended(&self, session: Uuid, user: &str, read: Readings);
}

/// A session could not be put on record; what kept it from that was logged there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecorded;

/// What was shown in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    pub events: u64,
    /// Events of all streams, in the order of the log, filtered or not.
    pub log: bool,
    /// Streams that were read by name, as far as they are counted: see [`limits::STREAMS_NAMED_MAX`].
    pub streams: BTreeSet<StreamName>,
    /// There were more streams.
    pub more: bool,
}

/// The sessions on one connection, by user.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<Arc<str>, Arc<Session>>>);

#[derive(Default)]
struct Session {
    id: OnceCell<Uuid>,
    events: AtomicU64,
    read: Mutex<Readings>,
}

/// What a call reads.
pub(crate) enum What {
    Log,
    Stream(StreamName),
}

impl Caller {
    /// To be asked before anything is read. Answers with what notes what is shown.
    pub(crate) async fn reads(&self) -> Result<Reader, Status> {
        let Self::User { user, audit, sessions, .. } = self else { return Ok(Reader(None)) };
        if user.role == Role::Hub {
            // What a hub reads serves its own users, of whom it keeps record itself.
            return Ok(Reader(None));
        }
        let session = sessions.of(user);
        let begun = session.id.get_or_try_init(|| audit.begun(&user.name)).await;
        begun.map_err(|_| Status::unavailable("the reading can't be put on record, so nothing is shown"))?;
        Ok(Reader(Some(session)))
    }
}

/// Notes what is shown to a user.
pub(crate) struct Reader(Option<Arc<Session>>);

impl Reader {
    pub(crate) fn note(
        self,
        what: What,
        replies: BoxStream<'static, Result<ReadReply, Status>>,
    ) -> BoxStream<'static, Result<ReadReply, Status>> {
        let Some(session) = self.0 else { return replies };
        let anything = AtomicBool::new(false);
        replies
            .inspect(move |reply| {
                let shown =
                    reply.as_ref().is_ok_and(|reply| matches!(reply.content, Some(Content::Event(_))));
                if shown {
                    session.events.fetch_add(1, Ordering::Relaxed);
                    if !anything.swap(true, Ordering::Relaxed) {
                        session.saw(&what);
                    }
                }
            })
            .boxed()
    }
}

impl Session {
    fn saw(&self, what: &What) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            What::Log => read.log = true,
            What::Stream(stream) if read.streams.contains(stream) => {}
            What::Stream(_) if read.streams.len() >= limits::STREAMS_NAMED_MAX => read.more = true,
            What::Stream(stream) => _ = read.streams.insert(stream.clone()),
        }
    }
}

impl Sessions {
    fn of(&self, user: &User) -> Arc<Session> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(Arc::clone(&user.name)).or_default())
    }

    /// Puts on record what was read in each of them.
    pub(crate) async fn end(&self, audit: &dyn Audit) {
        let sessions = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (user, session) in sessions {
            if let Some(&id) = session.id.get() {
                let mut read = session.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
                read.events = session.events.load(Ordering::Relaxed);
                audit.ended(id, &user, read).await;
            }
        }
    }
}
