//! Who waits for a read model to get somewhere, and for where.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use store::Position;
use tokio::sync::watch;

/// The positions that are waited for.
pub(super) struct Asked {
    waiting: Mutex<BTreeMap<Position, usize>>,
    nearest: watch::Sender<Option<Position>>,
}

/// Somebody waits, until this is dropped.
pub(super) struct Waiting<'a> {
    asked: &'a Asked,
    position: Position,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), nearest: watch::Sender::new(None) }
    }

    pub(super) fn wait(&self, position: Position) -> Waiting<'_> {
        self.change(|waiting| *waiting.entry(position).or_default() += 1);
        Waiting { asked: self, position }
    }

    /// The nearest position that somebody waits for.
    pub(super) fn nearest(&self) -> watch::Receiver<Option<Position>> {
        self.nearest.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Position, usize>)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        let nearest = waiting.keys().next().copied();
        self.nearest.send_if_modified(|known| std::mem::replace(known, nearest) != nearest);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.asked.change(|waiting| {
            if let Some(count) = waiting.get_mut(&self.position) {
                *count -= 1;
                if *count == 0 {
                    waiting.remove(&self.position);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_told_until_nobody_waits_for_it() {
        let asked = Asked::new();
        let nearest = asked.nearest();
        let far = asked.wait(Position(9));
        let (near, too) = (asked.wait(Position(3)), asked.wait(Position(3)));
        assert_eq!(*nearest.borrow(), Some(Position(3)));
        drop(near);
        assert_eq!(*nearest.borrow(), Some(Position(3)));
        drop(too);
        assert_eq!(*nearest.borrow(), Some(Position(9)));
        drop(far);
        assert_eq!(*nearest.borrow(), None);
    }
}
