//! Unwrapped keys, kept in memory for a short while so that sealing does not wait for the vault each time.
//!
//! **Invariant.** A key that was evicted is not put back by someone who read it from the vault before.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{cipher::Key, vault::EntryId};

/// Another process may have destroyed a key; this is how long that can stay unnoticed.
const AGE_MAX: Duration = Duration::from_mins(1);

/// Two halves: what is used moves to the young one, and when that is full the old one is dropped.
pub(crate) struct Cache {
    halves: Mutex<Halves>,
    half_entries_max: usize,
}

#[derive(Default)]
struct Halves {
    young: HashMap<EntryId, Kept>,
    old: HashMap<EntryId, Kept>,
    evictions: u64,
}

struct Kept {
    key: Arc<Key>,
    since: Instant,
}

impl Kept {
    fn unless_aged(&self) -> Option<Arc<Key>> {
        (self.since.elapsed() < AGE_MAX).then(|| Arc::clone(&self.key))
    }
}

/// Taken before reading the vault, given back with what was read.
#[derive(Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Cache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { halves: Mutex::default(), half_entries_max: entries_max / 2 }
    }

    pub(crate) fn get(&self, id: &EntryId) -> Option<Arc<Key>> {
        let mut halves = self.lock();
        if let Some(kept) = halves.young.get(id) {
            let key = kept.unless_aged();
            if key.is_none() {
                halves.young.remove(id);
            }
            return key;
        }
        let kept = halves.old.remove(id)?;
        let key = kept.unless_aged()?;
        self.keep(&mut halves, id, kept);
        Some(key)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.lock().evictions)
    }

    pub(crate) fn insert(&self, ticket: Ticket, id: &EntryId, key: Arc<Key>) {
        let mut halves = self.lock();
        if halves.evictions == ticket.0 {
            self.keep(&mut halves, id, Kept { key, since: Instant::now() });
        }
    }

    pub(crate) fn evict(&self, id: &EntryId) {
        let mut halves = self.lock();
        halves.evictions += 1;
        halves.young.remove(id);
        halves.old.remove(id);
    }

    fn keep(&self, halves: &mut Halves, id: &EntryId, kept: Kept) {
        if !halves.young.contains_key(id) && halves.young.len() >= self.half_entries_max {
            halves.old = mem::take(&mut halves.young);
        }
        halves.young.insert(id.clone(), kept);
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        // Each change is whole in itself, so what another's panic left behind is sound.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cipher::fresh_key, vault::Kind};

    fn id(number: usize) -> EntryId {
        EntryId::new(Kind::Person, number.to_string())
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_keeps_what_is_used() {
        let cache = Cache::new(8);
        for number in 0..100 {
            cache.insert(cache.ticket(), &id(number), Arc::new(fresh_key()));
            assert!(cache.get(&id(0)).is_some());
        }
        assert!((0..100).filter(|number| cache.get(&id(*number)).is_some()).count() <= 8);
    }

    #[test]
    fn a_key_read_before_its_eviction_is_not_put_back() {
        let cache = Cache::new(8);
        let ticket = cache.ticket();
        cache.evict(&id(1));
        cache.insert(ticket, &id(1), Arc::new(fresh_key()));
        assert!(cache.get(&id(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_read_anew_after_a_minute_however_much_it_is_used() {
        let cache = Cache::new(8);
        cache.insert(cache.ticket(), &id(1), Arc::new(fresh_key()));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(cache.get(&id(1)).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.get(&id(1)).is_none());
    }
}
