//! Whose turn it is with the bot.
//!
//! **Invariant.** Everybody is in one place: ready, waiting for a time, or being answered. So nobody's waiting holds others
//! up, and each step costs what it does, however many wait.

use std::collections::{BTreeSet, HashMap, VecDeque};

use domain::{ConnectionId, Timestamp};

/// How a person's first activity was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Handled; there may be another one.
    Handled,
    /// There is none.
    Nothing,
    /// Not before then.
    Until(Timestamp),
    /// It failed; not before then.
    Failed(Timestamp),
}

#[derive(Default)]
pub(super) struct Turns {
    everybody: HashMap<ConnectionId, Standing>,
    ready: VecDeque<ConnectionId>,
    later: BTreeSet<(Timestamp, ConnectionId)>,
}

#[derive(Clone, Copy, Default)]
struct Standing {
    /// Times in a row that their first activity failed.
    failures: u32,
    /// They did something since they were looked at.
    news: bool,
}

impl Turns {
    /// This person did something. Who waits or is being answered has no other turn for it.
    pub(super) fn add(&mut self, person: ConnectionId) {
        if let Some(standing) = self.everybody.get_mut(&person) {
            standing.news = true;
        } else {
            self.everybody.insert(person, Standing::default());
            self.ready.push_back(person);
        }
    }

    /// Makes those ready whose time has come.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while self.next_at().is_some_and(|at| at <= now) {
            self.ready.extend(self.later.pop_first().map(|(_, person)| person));
        }
    }

    /// Who is to be looked at, and how often their first activity has failed.
    pub(super) fn next(&mut self) -> Option<(ConnectionId, u32)> {
        let person = self.ready.pop_front()?;
        let standing = self.everybody.entry(person).or_default();
        standing.news = false;
        Some((person, standing.failures))
    }

    /// Whom [`Self::next`] named is no longer being answered.
    pub(super) fn settle(&mut self, person: ConnectionId, left: Left) {
        let standing = self.everybody.entry(person).or_default();
        standing.failures = if matches!(left, Left::Failed(_)) { standing.failures + 1 } else { 0 };
        match left {
            Left::Until(at) | Left::Failed(at) => drop(self.later.insert((at, person))),
            Left::Nothing if !standing.news => self.forget(person),
            Left::Nothing | Left::Handled => self.ready.push_back(person),
        }
    }

    /// Whom [`Self::next`] named is another hub's to answer.
    pub(super) fn forget(&mut self, person: ConnectionId) {
        self.everybody.remove(&person);
    }

    /// When somebody's time comes; after [`Self::wake`] later than what that was told.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn person(n: u128) -> ConnectionId {
        ConnectionId(Uuid::from_u128(n))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// Everybody who is ready, in their order.
    fn all(turns: &mut Turns) -> Vec<(ConnectionId, u32)> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn a_person_has_one_turn_at_a_time() {
        let mut turns = Turns::default();
        turns.add(person(1));
        turns.add(person(1));
        assert_eq!(all(&mut turns), [(person(1), 0)]);
        turns.add(person(1));
        assert_eq!(all(&mut turns), [], "who is being answered has no other turn");
        turns.settle(person(1), Left::Until(at(5)));
        turns.add(person(1));
        turns.wake(at(4));
        assert_eq!(all(&mut turns), [], "what is done first goes first");
    }

    #[test]
    fn what_came_while_nothing_was_found_is_looked_for_again() {
        let mut turns = Turns::default();
        turns.add(person(1));
        all(&mut turns);
        turns.add(person(1));
        turns.settle(person(1), Left::Nothing);
        assert_eq!(all(&mut turns), [(person(1), 0)]);
        turns.settle(person(1), Left::Nothing);
        assert_eq!(all(&mut turns), []);
        turns.add(person(1));
        assert_eq!(all(&mut turns), [(person(1), 0)]);
    }

    #[test]
    fn failures_in_a_row_are_counted() {
        let mut turns = Turns::default();
        turns.add(person(1));
        for failures in 0..3 {
            turns.wake(at(1));
            assert_eq!(all(&mut turns), [(person(1), failures)]);
            turns.settle(person(1), Left::Failed(at(1)));
        }
        turns.wake(at(1));
        all(&mut turns);
        turns.settle(person(1), Left::Handled);
        assert_eq!(all(&mut turns), [(person(1), 0)]);
    }

    #[test]
    fn where_everybody_is_to_wait_nobody_is_looked_at_before_their_time() {
        let mut turns = Turns::default();
        (0..1000).for_each(|n| turns.add(person(n)));
        let (mut now, mut sleeps, mut looks) = (at(0), 0, 0);
        while now < at(60) {
            // As the processor does: it looks, and sleeps until somebody's time comes.
            turns.wake(now);
            while let Some((person, _)) = turns.next() {
                looks += 1;
                turns.settle(person, Left::Until(now + Duration::from_secs(5)));
            }
            now = turns.next_at().expect("everybody waits");
            sleeps += 1;
        }
        assert_eq!((sleeps, looks), (12, 12_000));
        turns.add(person(5000));
        assert_eq!(all(&mut turns), [(person(5000), 0)], "who comes anew need not wait for them");
    }

    #[test]
    fn whose_time_has_come_wakes_nobody_any_more_while_there_is_no_room_for_them() {
        let mut turns = Turns::default();
        (1..=2).for_each(|n| turns.add(person(n)));
        for (person, _) in all(&mut turns) {
            turns.settle(person, Left::Until(at(5)));
        }
        turns.wake(at(5));
        assert_eq!(turns.next(), Some((person(1), 0)));
        assert_eq!(turns.next_at(), None);
    }
}
