//! A server without a socket, for tests of what no client of ours sends.

use std::sync::{Arc, atomic::AtomicU64};

use store::embedded::{EmbeddedStore, Options};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{Server, limits};

pub(crate) fn server() -> (Arc<Server>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), Options::default()).unwrap();
    let server = Server {
        store: Arc::new(store),
        address: ([127, 0, 0, 1], 2113).into(),
        shutdown: CancellationToken::new(),
        subscriptions: Arc::new(Semaphore::new(limits::SUBSCRIPTIONS_MAX)),
        subscriptions_begun: AtomicU64::default(),
    };
    (Arc::new(server), dir)
}
