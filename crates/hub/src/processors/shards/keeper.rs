//! Beats, follows the other hubs, and takes and releases shards: what there is to do where a store is shared.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use anyhow::Result;
use domain::{
    Aggregate as _, CommandId, HubId, ShardId,
    hub::{self, Presence},
    shard::{self, Shard},
};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use store::{Appended, Direction, Filter, Page, Position, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    HubReport, HubState, Until,
    view::{Move, News, View},
};
use crate::{
    commands::{Commands, Context, stream},
    hub::Hub,
    metrics::ShardMove,
    processors::PAUSE,
};

/// Shards being taken or released at once.
const MOVES_MAX: usize = 64;
/// Heartbeats that the store keeps: the newest one says all, and one more to compare it with.
const BEATS_KEPT: u64 = 2;
/// Heartbeats of which it is remembered when they were sent.
const SENT_MAX: usize = 16;

type Pages = BoxStream<'static, Result<Page, StoreError>>;

pub(super) struct Keeper {
    hub: Hub,
    /// Its own, so that a heartbeat is not among the writes that reads wait for.
    commands: Arc<Commands>,
    view: View,
    /// Everything up to there is in the view.
    upto: Position,
    /// What this hub last said of itself, and where that stands in its stream.
    presence: Presence,
    revision: Option<u64>,
    sent: VecDeque<(u64, Instant)>,
    beating: Option<BoxFuture<'static, Result<Appended, StoreError>>>,
    beat_at: Instant,
    sure_until: Option<Instant>,
    /// When this hub was last sure, while it is not.
    lapsed_at: Instant,
    moves: FuturesUnordered<BoxFuture<'static, (Move, Result<Appended, StoreError>)>>,
    /// Being moved; true where it is released.
    moving: HashMap<ShardId, bool>,
    /// Moved by somebody else, of which the log is still to tell.
    blocked: HashSet<ShardId>,
    /// After a move that failed nothing is moved before then.
    moves_at: Instant,
}

impl Keeper {
    pub(super) fn new(hub: Hub) -> Self {
        let commands = Commands::new(hub.store.clone(), hub.clock.clone(), hub.ids.clone());
        let now = Instant::now();
        Self {
            commands: Arc::new(commands),
            view: View::new(hub.id, hub.epoch, hub.config.hubs.lease),
            hub,
            upto: Position::START,
            presence: Presence::default(),
            revision: None,
            sent: VecDeque::new(),
            beating: None,
            beat_at: now,
            sure_until: None,
            lapsed_at: now,
            moves: FuturesUnordered::new(),
            moving: HashMap::new(),
            blocked: HashSet::new(),
            moves_at: now,
        }
    }

    pub(super) async fn run(mut self, stopping: CancellationToken) -> Result<()> {
        let Some(mut pages) = stopping.run_until_cancelled(self.begin()).await else { return Ok(()) };
        let mut due = self.hub.due.watch();
        loop {
            self.beat();
            self.start_moves();
            let waits_for_due = self.publish();
            let sure_until = self.sure_until;
            tokio::select! {
                () = stopping.cancelled() => break,
                page = pages.next() => match page {
                    Some(Ok(page)) => self.fold(&page),
                    broken => pages = self.follow_later(broken),
                },
                Some(answer) = outcome(&mut self.beating) => self.beaten(answer),
                Some((it, answer)) = self.moves.next() => self.moved(&it, answer),
                () = tokio::time::sleep_until(self.beat_at), if self.beating.is_none() => {}
                () = until(sure_until) => self.lapsed_at = self.sure_until.take().unwrap_or(self.lapsed_at),
                _ = due.changed(), if waits_for_due => {}
            }
        }
        self.leave().await;
        Ok(())
    }

    /// Sees to it that heartbeats don't pile up, reads who holds what, and follows from there. A store that can't be read yet is asked again.
    async fn begin(&mut self) -> Pages {
        while let Err(error) = self.read().await {
            tracing::warn!(error = %error, "Who holds which shard could not be read; trying again.");
            tokio::time::sleep(PAUSE).await;
        }
        self.follow()
    }

    /// The last event of each shard says all. Of the hubs those are heard that live.
    async fn read(&mut self) -> Result<(), StoreError> {
        self.hub.store.keep_newest(&stream::<Presence>(self.hub.id), BEATS_KEPT).await?;
        self.upto = self.hub.store.head().await?;
        let store = self.hub.store.clone();
        let last = |shard| {
            let store = store.clone();
            async move { store.read_stream(&stream::<Shard>(shard), Direction::Backward, u64::MAX, 1).await }
        };
        let mut shards = stream::iter(ShardId::all()).map(last).buffer_unordered(MOVES_MAX);
        while let Some(events) = shards.next().await {
            let (upto, at_head) = (self.upto, true);
            self.fold(&Page { events: events?, upto, at_head });
        }
        Ok(())
    }

    fn follow(&self) -> Pages {
        self.hub.store.follow(self.upto, Filter::categories([Presence::CATEGORY, Shard::CATEGORY]))
    }

    /// After a pause, in which the rest goes on.
    fn follow_later(&self, broken: Option<Result<Page, StoreError>>) -> Pages {
        if let Some(Err(error)) = broken {
            tracing::warn!(error = %error, "The other hubs could not be followed; trying again.");
        }
        let (pause, pages) = (self.hub.config.hubs.heartbeat, self.follow());
        async move {
            tokio::time::sleep(pause).await;
            pages
        }
        .flatten_stream()
        .boxed()
    }

    fn fold(&mut self, page: &Page) {
        for recorded in &page.events {
            match self.view.fold(recorded, Instant::now()) {
                Ok(News::OwnBeat(beat)) => self.came_back(beat),
                Ok(News::Shard(shard)) => _ = self.blocked.remove(&shard),
                Ok(News::Other) => {}
                // Who can't be understood is silent; a shard that can't be read is left alone.
                Err(error) => tracing::error!(error = %error, "Another hub can't be understood."),
            }
        }
        self.upto = page.upto;
    }

    /// A heartbeat of this hub stands in the log, and everything before it is known here.
    fn came_back(&mut self, beat: u64) {
        while let Some((number, sent_at)) = self.sent.front().copied().filter(|(number, _)| *number <= beat) {
            self.sent.pop_front();
            if number == beat {
                self.sure_until = Some(sent_at + self.hub.config.hubs.lease);
            }
        }
    }

    /// Says that this hub lives, when it is time and the last word was answered.
    fn beat(&mut self) {
        let now = Instant::now();
        if self.beating.is_none() && self.beat_at <= now {
            self.beat_at = now + self.hub.config.hubs.heartbeat;
            self.say(hub::Command::Beat { epoch: self.hub.epoch }, now);
        }
    }

    fn say(&mut self, command: hub::Command, now: Instant) {
        let Ok(events) = self.presence.decide(command) else { return };
        // Whatever comes of it, the number is not used again.
        self.presence = events.iter().cloned().fold(std::mem::take(&mut self.presence), Presence::evolve);
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.presence.beat, now));
        let (commands, id, revision) = (self.commands.clone(), self.hub.id, self.revision);
        let command_id = CommandId::new(format!("beat/{}", self.presence.beat));
        let context = context(id);
        self.beating = Some(Box::pin(async move {
            commands.append_at::<Presence>(id, revision, &command_id, &context, &events).await
        }));
    }

    fn beaten(&mut self, answer: Result<Appended, StoreError>) {
        self.beating = None;
        match answer {
            Ok(appended) => self.revision = Some(appended.revision),
            // An earlier one of which the store had not said that it took it.
            Err(StoreError::Conflict { actual, .. }) => self.revision = actual,
            Err(error) => tracing::warn!(error = %error, "A heartbeat could not be recorded."),
        }
    }

    fn is_sure(&self) -> bool {
        self.sure_until.is_some_and(|until| Instant::now() < until)
    }

    fn start_moves(&mut self) {
        if !self.is_sure() || Instant::now() < self.moves_at {
            return;
        }
        for it in self.view.moves() {
            let busy = self.moving.contains_key(&it.shard) || self.blocked.contains(&it.shard);
            if !busy && self.moves.len() < MOVES_MAX {
                self.start_move(it);
            }
        }
    }

    fn start_move(&mut self, it: Move) {
        let releases = matches!(it.event, shard::Event::Released { .. });
        self.moving.insert(it.shard, releases);
        let (commands, id) = (self.commands.clone(), self.hub.id);
        let what = if releases { "release" } else { "take" };
        let command_id = CommandId::new(format!("{what}/{}", self.hub.ids.uuid()));
        self.moves.push(Box::pin(async move {
            let events = [it.event.clone()];
            let answer =
                commands.append_at::<Shard>(it.shard, it.revision, &command_id, &context(id), &events).await;
            (it, answer)
        }));
    }

    fn moved(&mut self, it: &Move, answer: Result<Appended, StoreError>) {
        let releases = self.moving.remove(&it.shard) == Some(true);
        match answer {
            Ok(appended) => {
                self.view.apply(it.shard, it.event.clone(), appended.revision, appended.position);
                self.hub.metrics.shard_moved(if releases { ShardMove::Released } else { ShardMove::Taken });
            }
            Err(StoreError::Conflict { actual, .. }) => {
                if self.view.revision(it.shard) < actual {
                    self.blocked.insert(it.shard);
                }
            }
            Err(error) => {
                tracing::warn!(shard = it.shard.0, error = %error, "A shard could not be moved; trying again.");
                self.moves_at = Instant::now() + self.hub.config.hubs.heartbeat;
            }
        }
    }

    /// Tells the processors what they may work; gains when all moves are done, so that they look anew once and not for each.
    /// True where a shard waits for `due` to know all that was done in it before.
    fn publish(&mut self) -> bool {
        let known = self.hub.due.watch().borrow().position;
        let mut waits = false;
        let mut shards = [false; ShardId::COUNT];
        if self.is_sure() {
            for shard in ShardId::all().filter(|shard| self.moving.get(shard) != Some(&true)) {
                let Some(taken_at) = self.view.taken_at(shard) else { continue };
                shards[usize::from(shard.0)] = taken_at <= known;
                waits |= taken_at > known;
            }
        }
        if !self.moves.is_empty() {
            ShardId::all().for_each(|shard| shards[usize::from(shard.0)] &= self.hub.shards.holds(shard));
        }
        let living = self.view.living().len();
        let until = Until::Then(self.sure_until.unwrap_or(self.lapsed_at));
        let held = shards.iter().filter(|held| **held).count();
        if self.hub.shards.publish(shards, until) {
            tracing::info!(
                shards.held = held,
                hubs.living = living,
                "This hub works other shards than before."
            );
        }
        self.hub.metrics.shards(held, living);
        self.hub.shards.report(self.reports());
        waits
    }

    fn reports(&self) -> Vec<HubReport> {
        let mut held = HashMap::<HubId, usize>::new();
        for holder in ShardId::all().filter_map(|shard| self.view.holder(shard)) {
            *held.entry(holder).or_default() += 1;
        }
        let mut of = |id| held.remove(&id).unwrap_or_default();
        let me = self.hub.id;
        let state = if self.is_sure() { HubState::Working } else { HubState::Silent };
        let mut reports =
            vec![HubReport { id: me, epoch: Some(self.hub.epoch), state, shards: of(me), seen_at: None }];
        for (id, other) in &self.view.others {
            let state = match other.leaving {
                true => HubState::Leaving,
                false if self.view.is_dead(*id) => HubState::Silent,
                false => HubState::Working,
            };
            let (epoch, seen_at) = (Some(other.epoch), Some(other.seen_at));
            reports.push(HubReport { id: *id, epoch, state, shards: of(*id), seen_at });
        }
        let silent =
            |(id, shards)| HubReport { id, epoch: None, state: HubState::Silent, shards, seen_at: None };
        reports.extend(held.into_iter().map(silent));
        reports.sort_by_key(|report| report.id);
        reports
    }

    /// Gives everything away, so that nobody has to wait for a lease to end.
    async fn leave(&mut self) {
        self.hub.shards.publish([false; ShardId::COUNT], Until::Then(Instant::now()));
        let lease = self.hub.config.hubs.lease;
        if tokio::time::timeout(lease, self.give_away()).await.is_err() {
            tracing::warn!("The shards could not be released in time; they are taken over.");
        }
    }

    async fn give_away(&mut self) {
        if let Some(answer) = outcome(&mut self.beating).await {
            self.beaten(answer);
        }
        while let Some((it, answer)) = self.moves.next().await {
            self.moved(&it, answer);
        }
        self.say(hub::Command::Leave { epoch: self.hub.epoch }, Instant::now());
        if let Some(Err(error)) = outcome(&mut self.beating).await {
            tracing::warn!(error = %error, "That this hub leaves could not be recorded.");
        }
        let mut releases = self.view.releases().into_iter();
        loop {
            let left = MOVES_MAX - self.moves.len();
            releases.by_ref().take(left).for_each(|it| self.start_move(it));
            let Some((it, answer)) = self.moves.next().await else { return };
            self.moved(&it, answer);
        }
    }
}

fn context(hub: HubId) -> Context {
    Context::hub("shards", hub.to_string())
}

/// What came of it, if there is anything under way.
async fn outcome<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> Option<T> {
    match under_way {
        Some(future) => Some(future.await),
        None => None,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
