//! The echo: what Graph posts into the chat with the bot in a person's name, the bot hears as said by that person.
//!
//! **Invariant.** What was stored is echoed, whatever a fault makes of Graph's answer.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::shape;
use crate::dials::Echo;
use crate::graph::store::{Chat, Message};
use crate::people::Person;
use crate::{Simulator, lock};

/// The echo of one call of Graph. What waits for Graph's answer goes out when the last holder lets go of this.
pub(crate) struct Echoing {
    simulator: Simulator,
    waiting: Mutex<Option<Value>>,
    early: Mutex<Option<JoinHandle<()>>>,
}

impl Echoing {
    pub(crate) fn new(simulator: &Simulator) -> Arc<Self> {
        Arc::new(Self { simulator: simulator.clone(), waiting: Mutex::default(), early: Mutex::default() })
    }

    /// Takes note of a message that was stored.
    pub(crate) fn stored(&self, person: &Person, chat: &Chat, message: &Message) {
        let when = self.simulator.dials().echo;
        if when == Echo::Never
            || self.simulator.0.activities.endpoint().is_none()
            || lock(&person.state).bot_blocked
        {
            return;
        }
        let activity = shape::posted(&self.simulator, person, chat, message);
        if when == Echo::After {
            *lock(&self.waiting) = Some(activity);
            return;
        }
        let simulator = self.simulator.clone();
        let told = tokio::spawn(async move { drop(simulator.deliver(activity).await) });
        *lock(&self.early) = Some(told);
    }

    /// Waits until the bot has heard of what it is to hear of before Graph's answer.
    pub(crate) async fn early(&self) {
        let told = lock(&self.early).take();
        if let Some(told) = told {
            // It can only fail by a panic, which has been reported.
            let _ = told.await;
        }
    }
}

impl Drop for Echoing {
    fn drop(&mut self) {
        if let Some(activity) = lock(&self.waiting).take()
            && Handle::try_current().is_ok()
        {
            self.simulator.deliver_later(vec![activity]);
        }
    }
}
