//! Which hubs live and who holds which shard, as far as this hub has read the log.
//!
//! **Invariant.** No clock but this hub's own monotonic one is asked, and that one counts only while this hub's heartbeats
//! come back to it through the log: who was stopped, or cut off from the store, does not take the others for dead.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use domain::{
    Aggregate as _, HubId, ShardId, Undecodable,
    aggregate::decode,
    hub::{self, Presence},
    shard::{self, Command, Shard},
};
use store::{Position, Recorded};
use tokio::time::Instant;

use super::share::{Holders, share};

/// A hub that was silent for so many leases is forgotten.
const FORGOTTEN_AFTER: u32 = 20;

pub(super) struct View {
    me: HubId,
    epoch: u64,
    lease: Duration,
    /// How long this hub has been listening.
    heard: Duration,
    /// When its own last heartbeat came back.
    heard_at: Option<Instant>,
    pub(super) others: HashMap<HubId, Other>,
    shards: Vec<Known>,
}

/// Another hub.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) epoch: u64,
    pub(super) leaving: bool,
    /// How long this hub had been listening when it last heard of that one.
    heard: Duration,
    pub(super) seen_at: Instant,
}

/// What is known of a shard.
#[derive(Clone, Debug)]
struct Known {
    shard: Shard,
    revision: Option<u64>,
    /// Of its last event.
    position: Position,
}

/// What an event was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This hub's own heartbeat of that number has come back.
    OwnBeat(u64),
    Shard(ShardId),
    Other,
}

/// A change that this hub would make to a shard.
pub(super) struct Move {
    pub(super) shard: ShardId,
    pub(super) revision: Option<u64>,
    pub(super) event: shard::Event,
}

impl View {
    pub(super) fn new(me: HubId, epoch: u64, lease: Duration) -> Self {
        let unknown = || Known { shard: Shard::default(), revision: None, position: Position::START };
        let shards = ShardId::all().map(|_| unknown()).collect();
        Self { me, epoch, lease, heard: Duration::ZERO, heard_at: None, others: HashMap::new(), shards }
    }

    /// Takes in an event of a hub or a shard; what is known already changes nothing.
    pub(super) fn fold(&mut self, recorded: &Recorded, now: Instant) -> Result<News, Undecodable> {
        let unreadable =
            || Undecodable { name: recorded.stream.to_string(), why: "no stream of ours".to_owned() };
        if recorded.stream.category() == Shard::CATEGORY {
            let shard: ShardId = recorded.stream.id().parse().map_err(|_| unreadable())?;
            let event = decode::<Shard>(&recorded.name, &recorded.data)?;
            self.apply(shard, event, recorded.revision, recorded.position);
            return Ok(News::Shard(shard));
        }
        let hub = HubId(recorded.stream.id().parse().map_err(|_| unreadable())?);
        let hub::Event::Heartbeat { beat, epoch, leaving } =
            decode::<Presence>(&recorded.name, &recorded.data)?;
        if hub == self.me {
            self.heard = self.heard_by(now);
            self.heard_at = Some(now);
            let (heard, forgotten) = (self.heard, self.lease * FORGOTTEN_AFTER);
            self.others.retain(|_, other| heard.saturating_sub(other.heard) < forgotten);
            return Ok(News::OwnBeat(beat));
        }
        self.others.insert(hub, Other { epoch, leaving, heard: self.heard_by(now), seen_at: now });
        Ok(News::Other)
    }

    pub(super) fn apply(&mut self, shard: ShardId, event: shard::Event, revision: u64, position: Position) {
        let known = self.known_mut(shard);
        if known.revision.is_none_or(|before| before < revision) {
            let shard = std::mem::take(&mut known.shard).evolve(event);
            *known = Known { shard, revision: Some(revision), position };
        }
    }

    /// A gap between two own heartbeats counts as half a lease at most, however long it was.
    fn heard_by(&self, now: Instant) -> Duration {
        let since = self.heard_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.heard + since.min(self.lease / 2)
    }

    /// The hubs that work, this one among them.
    pub(super) fn living(&self) -> BTreeSet<HubId> {
        let living = self.others.iter().filter(|(hub, other)| !other.leaving && !self.is_dead(**hub));
        living.map(|(hub, _)| *hub).chain([self.me]).collect()
    }

    /// Nothing was heard of the hub for the length of a lease.
    pub(super) fn is_dead(&self, hub: HubId) -> bool {
        let last = self.others.get(&hub).map_or(Duration::ZERO, |other| other.heard);
        hub != self.me && self.heard.saturating_sub(last) >= self.lease
    }

    pub(super) fn holder(&self, shard: ShardId) -> Option<HubId> {
        self.known(shard).shard.holder
    }

    /// Where in the log this hub took the shard; `None` where it does not hold it.
    pub(super) fn taken_at(&self, shard: ShardId) -> Option<Position> {
        let known = self.known(shard);
        (known.shard.holder == Some(self.me)).then_some(known.position)
    }

    pub(super) fn revision(&self, shard: ShardId) -> Option<u64> {
        self.known(shard).revision
    }

    /// What this hub has to take, where nobody living holds it, and to give away.
    pub(super) fn moves(&self) -> Vec<Move> {
        let holders: Holders = std::array::from_fn(|shard| self.shards[shard].shard.holder);
        let shares = share(&holders, &self.living());
        let (hub, epoch) = (self.me, self.epoch);
        let decide = |shard: ShardId| {
            let command = if shares[usize::from(shard.0)] == Some(hub) {
                Command::Take { hub, epoch, dead: self.holder(shard).filter(|holder| self.is_dead(*holder)) }
            } else {
                Command::Release { hub, epoch }
            };
            self.decide(shard, command)
        };
        ShardId::all().filter_map(decide).collect()
    }

    /// All shards of this hub, given away.
    pub(super) fn releases(&self) -> Vec<Move> {
        let release = Command::Release { hub: self.me, epoch: self.epoch };
        ShardId::all().filter_map(|shard| self.decide(shard, release)).collect()
    }

    fn decide(&self, shard: ShardId, command: Command) -> Option<Move> {
        let known = self.known(shard);
        let event = known.shard.decide(command).ok()?.pop()?;
        Some(Move { shard, revision: known.revision, event })
    }

    fn known(&self, shard: ShardId) -> &Known {
        &self.shards[usize::from(shard.0)]
    }

    fn known_mut(&mut self, shard: ShardId) -> &mut Known {
        &mut self.shards[usize::from(shard.0)]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::aggregate::encode;
    use store::{ContentType, StreamName};
    use uuid::Uuid;

    use super::*;

    const LEASE: Duration = Duration::from_secs(6);
    const SECOND: Duration = Duration::from_secs(1);

    fn hub(n: u128) -> HubId {
        HubId(Uuid::from_u128(n))
    }

    fn recorded<E: serde::Serialize>(stream: &str, revision: u64, event: &E) -> Recorded {
        let (name, data) = encode(event);
        Recorded {
            id: Uuid::nil(),
            stream: StreamName::new(stream),
            revision,
            position: Position(revision),
            name: name.into(),
            content_type: ContentType::Json,
            data: data.into(),
            metadata: Bytes::new(),
            created_us: 0,
        }
    }

    /// Hub 1's view, and its clock.
    struct Told {
        view: View,
        now: Instant,
        beats: u64,
    }

    impl Told {
        fn new() -> Self {
            let mut told = Self { view: View::new(hub(1), 1, LEASE), now: Instant::now(), beats: 0 };
            told.beat(1);
            told
        }

        fn beat(&mut self, n: u128) {
            self.beats += 1;
            let event = hub::Event::Heartbeat { beat: self.beats, epoch: 1, leaving: false };
            self.view.fold(&recorded(&format!("hub-{}", hub(n)), self.beats, &event), self.now).unwrap();
        }

        /// Seconds go by in which these hubs are heard.
        fn pass(&mut self, seconds: u32, beating: &[u128]) {
            for _ in 0..seconds {
                self.now += SECOND;
                for n in beating {
                    self.beat(*n);
                }
            }
        }

        fn take(&mut self, n: u128) {
            for shard in ShardId::all() {
                let revision = self.view.revision(shard).map_or(0, |revision| revision + 1);
                let taken = shard::Event::Taken { hub: hub(n), epoch: 1 };
                self.view.fold(&recorded(&format!("shard-{shard}"), revision, &taken), self.now).unwrap();
            }
        }

        fn moves(&self) -> usize {
            self.view.moves().len()
        }
    }

    #[test]
    fn a_hub_alone_takes_what_is_free_at_once() {
        assert_eq!(Told::new().moves(), 256);
    }

    #[test]
    fn what_another_holds_is_taken_after_its_lease_and_not_before() {
        let mut told = Told::new();
        told.take(2);
        told.pass(1, &[2, 1]);
        assert_eq!(told.moves(), 0, "the other one gives its half away itself");
        told.pass(5, &[1]);
        assert_eq!(told.moves(), 0);
        told.pass(1, &[1]);
        assert_eq!(told.moves(), 256);
    }

    #[test]
    fn a_hub_that_was_never_heard_is_given_a_lease_too() {
        let mut told = Told::new();
        told.take(2);
        told.pass(5, &[1]);
        assert_eq!(told.moves(), 0);
        told.pass(1, &[1]);
        assert_eq!(told.moves(), 256);
    }

    #[test]
    fn who_was_stopped_for_an_hour_does_not_take_the_others_for_dead() {
        let mut told = Told::new();
        told.take(2);
        told.pass(3, &[2, 1]);
        // Neither was heard: the store was away.
        told.now += Duration::from_hours(1);
        told.beat(1);
        assert_eq!(told.moves(), 0);
        told.pass(2, &[1, 2]);
        assert!(!told.view.is_dead(hub(2)));
    }

    #[test]
    fn half_is_given_away_to_a_hub_that_came() {
        let mut told = Told::new();
        told.take(1);
        assert_eq!(told.moves(), 0);
        told.beat(2);
        let moves = told.view.moves();
        assert_eq!(moves.len(), 128);
        assert!(moves.iter().all(|it| matches!(it.event, shard::Event::Released { .. })));
    }

    #[test]
    fn a_hub_that_leaves_gets_nothing_and_nothing_is_taken_from_it_before_it_gives() {
        let mut told = Told::new();
        told.take(2);
        let leaving = hub::Event::Heartbeat { beat: 9, epoch: 1, leaving: true };
        told.view.fold(&recorded(&format!("hub-{}", hub(2)), 9, &leaving), told.now).unwrap();
        assert_eq!((told.view.living().len(), told.moves()), (1, 0));
        let released = shard::Event::Released { hub: hub(2), epoch: 1 };
        told.view.fold(&recorded("shard-7", 1, &released), told.now).unwrap();
        assert_eq!(told.moves(), 1);
    }

    #[test]
    fn what_is_known_already_changes_nothing() {
        let mut told = Told::new();
        told.take(2);
        told.take(1);
        let old = shard::Event::Taken { hub: hub(2), epoch: 1 };
        told.view.fold(&recorded("shard-7", 0, &old), told.now).unwrap();
        assert_eq!(told.view.holder(ShardId(7)), Some(hub(1)));
    }
}
