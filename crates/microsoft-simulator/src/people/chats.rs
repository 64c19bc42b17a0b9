//! Every chat that ever was, by Graph's id and by the Bot Framework's. A group has only the latter here: nobody
//! asks Graph for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::graph::store::{Chat, Members};

#[derive(Default)]
pub(crate) struct Chats(RwLock<Known>);

#[derive(Default)]
struct Known {
    by_id: HashMap<String, Arc<Chat>>,
    by_conversation: HashMap<String, Arc<Chat>>,
}

impl Chats {
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Chat>> {
        self.read().by_id.get(id).cloned()
    }

    pub(crate) fn by_conversation(&self, id: &str) -> Option<Arc<Chat>> {
        self.read().by_conversation.get(id).cloned()
    }

    /// The group of a tenant, if it has one.
    pub(crate) fn group(&self, tid: Uuid) -> Option<Arc<Chat>> {
        self.by_conversation(&Chat::group(tid).conversation_id)
    }

    /// All of them, groups too, by their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Chat>> {
        let mut chats: Vec<_> = self.read().by_conversation.values().cloned().collect();
        chats.sort_by(|one, other| one.id.cmp(&other.id));
        chats
    }

    pub(super) fn add(&self, chat: &Arc<Chat>) {
        let mut known = self.write();
        if matches!(chat.members, Members::One(_)) {
            known.by_id.insert(chat.id.clone(), chat.clone());
        }
        known.by_conversation.insert(chat.conversation_id.clone(), chat.clone());
    }

    pub(super) fn clear(&self) {
        *self.write() = Known::default();
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
