//! The keys that requests are let in by, kept in memory.
//!
//! **Invariant.** What is in memory follows the read model `clients`, a moment behind the log at most. A hub that shares its
//! store lets nobody in any more once it has been cut off from it for a while: a key may have been revoked at another.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use anyhow::Result;
use domain::{ClientId, Timestamp};
use projections::clients::{self, ClientRow};

use crate::{
    http::auth::{Caller, KeyDirectory},
    hub::Hub,
};

/// For so many leases keys are good at a hub that is cut off from its store: a minute, as leases are.
const CUT_OFF_LEASES: u32 = 10;

/// Clients by the hashes of their keys.
#[derive(Default)]
pub struct Keys {
    by_hash: RwLock<HashMap<String, (ClientId, ClientRow)>>,
    /// Held from reading to replacing, so that what was read earlier never replaces what was read later.
    reloading: tokio::sync::Mutex<()>,
}

impl Keys {
    /// Reads all clients anew.
    pub async fn reload(&self, hub: &Hub) -> Result<()> {
        let _reloading = self.reloading.lock().await;
        let mut by_hash = HashMap::new();
        for (client, row) in clients::all(&hub.clients).await? {
            for key in row.keys.values() {
                by_hash.insert(key.hash.clone(), (client.clone(), row.clone()));
            }
        }
        *self.by_hash.write().unwrap_or_else(PoisonError::into_inner) = by_hash;
        Ok(())
    }

    fn find(&self, hash: &str, now: Timestamp) -> Option<Caller> {
        let by_hash = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        let (client, row) = by_hash.get(hash)?;
        let good = row.keys.values().any(|key| key.hash == hash && key.is_good(now));
        good.then(|| Caller { client: client.clone(), role: row.role, tenants: row.tenants.clone() })
    }
}

impl KeyDirectory for Hub {
    fn find(&self, key_hash: &str) -> Option<Caller> {
        self.keys.find(key_hash, self.clock.now())
    }

    fn is_current(&self) -> bool {
        self.store.is_ours_alone() || self.shards.cut_off_for() < self.config.hubs.lease * CUT_OFF_LEASES
    }
}
