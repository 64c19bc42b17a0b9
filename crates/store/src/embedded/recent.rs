//! The ids of the last events written, by which a repeated append that expects nothing in particular is known.
//!
//! `EventStoreDB` does the same: with `Any` and `StreamExists` there is no slot to compare an id with, so a repeat is
//! found as long as the first time is remembered, which a restart ends.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use uuid::Uuid;

use crate::{Appended, NewEvent, StreamName};

/// How many events are remembered, in about 2 MiB.
const CAPACITY: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct RecentIds {
    hasher: RandomState,
    places: HashMap<Key, Appended>,
    /// Oldest first.
    order: VecDeque<Key>,
    /// Those of the transaction that is still open.
    uncommitted: Vec<Key>,
}

/// An event's id and a hash of its stream. Two streams are taken for one only if they hash alike and an id is used in
/// both.
type Key = (Uuid, u64);

/// What the ids of an append say about it.
pub(super) enum Seen {
    /// The first id is new, and the others are not looked at.
    New,
    /// All of them are in the stream already; this is where the last one is.
    Repeated(Appended),
    /// The first is in the stream and another is not.
    Mixed,
}

impl RecentIds {
    pub(super) fn look_for(&self, stream: &StreamName, events: &[NewEvent]) -> Seen {
        let stream = self.hasher.hash_one(stream);
        let mut seen = Seen::New;
        for (index, event) in events.iter().enumerate() {
            match self.places.get(&(event.id, stream)) {
                Some(place) => seen = Seen::Repeated(*place),
                None if index == 0 => return Seen::New,
                None => return Seen::Mixed,
            }
        }
        seen
    }

    pub(super) fn remember(&mut self, id: Uuid, stream: &StreamName, place: Appended) {
        let key = (id, self.hasher.hash_one(stream));
        self.places.insert(key, place);
        self.uncommitted.push(key);
    }

    pub(super) fn commit(&mut self) {
        self.order.extend(self.uncommitted.drain(..));
        while self.order.len() > CAPACITY {
            self.order.pop_front().and_then(|oldest| self.places.remove(&oldest));
        }
    }

    pub(super) fn roll_back(&mut self) {
        for key in self.uncommitted.drain(..) {
            self.places.remove(&key);
        }
    }
}
