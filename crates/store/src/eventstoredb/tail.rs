//! The newest events, by one subscription for all who follow.
//!
//! A subscription on which nothing came for a while is dropped and begun anew behind what was seen last: it may be dead
//! without anybody having been told. If the new one does not even begin, the whole connection is, and is made anew; where
//! that is done because a call failed, the subscription goes along. One that fails ends the following of all, who then begin again by themselves.
//!
//! **Invariant.** Everything that is wanted and stands behind `begin`, up to `upto`, is held.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eventstore::{Error, SubscribeToAllOptions, SubscriptionEvent};
use futures_util::{Stream, StreamExt, stream};
use tokio::{sync::watch, time::timeout};

use super::{
    Options,
    connection::{Connection, as_user},
    reading::{behind, for_server, recorded},
};
use crate::{Filter, Page, Position, Recorded, StoreError};

/// Events held, and those of a page, at most. Who falls further behind reads the log.
const EVENTS: usize = 4096;
const BYTES: usize = 8 * 1024 * 1024;
pub(super) const PAGE: usize = 1024;

/// A subscription, begun when somebody listens and ended when nobody does.
pub(super) struct Tail {
    /// What the server sends.
    filter: Filter,
    held: Mutex<Held>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Held {
    events: VecDeque<Recorded>,
    bytes: usize,
    begin: Position,
    upto: Position,
    /// How often the server said that there is nothing further.
    caught_up: u64,
    /// It is so still.
    live: bool,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Running,
    Failed(StoreError),
}

/// What there is for one who has seen everything up to some position.
pub(super) enum News {
    Page(Page),
    Nothing,
    /// It has to be read from the log.
    TooOld,
    Failed(StoreError),
}

impl Tail {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, held: Mutex::default(), news: watch::Sender::new(()) }
    }

    /// Listens, behind `upto` or longer. The receiver is told of news as long as it is there.
    pub(super) fn listen(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        upto: Position,
    ) -> watch::Receiver<()> {
        let mut held = self.held();
        let news = self.news.subscribe();
        if !matches!(held.state, State::Running) {
            let caught_up = held.caught_up;
            *held = Held { begin: upto, upto, caught_up, state: State::Running, ..Held::default() };
            tokio::spawn(Arc::clone(self).run(Arc::clone(connection)));
        }
        news
    }

    /// What matches behind `after`. `told` says which time that there is nothing further was passed on.
    pub(super) fn news(&self, filter: &Filter, after: Position, told: &mut u64) -> News {
        let held = self.held();
        if let State::Failed(error) = &held.state {
            return News::Failed(error.clone());
        }
        if after < held.begin {
            return News::TooOld;
        }
        let first = held.events.partition_point(|event| event.position <= after);
        let new = held.events.range(first..).filter(|event| filter.matches(event.stream.as_str()));
        let events: Vec<_> = new.take(PAGE).cloned().collect();
        if !events.is_empty() {
            *told = 0;
            let last = events.last().map_or(held.upto, |event| event.position);
            let upto = if events.len() < PAGE { held.upto } else { last };
            return News::Page(Page { events, upto, at_head: false });
        }
        if held.upto <= after && (!held.live || *told == held.caught_up) {
            return News::Nothing;
        }
        if held.live {
            *told = held.caught_up;
        }
        News::Page(Page { events, upto: held.upto.max(after), at_head: held.live })
    }

    /// Until nobody listens, or the subscription fails.
    async fn run(self: Arc<Self>, connection: Arc<Connection>) {
        let Options { silence, patience } = connection.options;
        loop {
            self.held().live = false;
            let (generation, said) = self.subscribe(&connection);
            let (mut said, mut renewed) = (pin!(said), pin!(connection.renewed(generation)));
            let mut speaks = false;
            loop {
                // To begin takes a connection, to go on does not.
                let silence = if speaks { silence } else { silence.max(patience) };
                let heard = tokio::select! {
                    () = self.news.closed() => {
                        if self.end() {
                            return;
                        }
                        continue;
                    }
                    // Somebody's call failed on the same connection.
                    () = &mut renewed => break,
                    heard = timeout(silence, said.next()) => heard,
                };
                match heard {
                    Ok(Some(heard)) => {
                        speaks = true;
                        if !self.hold(&connection, generation, heard) {
                            return;
                        }
                    }
                    Ok(None) => return self.fail(StoreError::Unavailable("the subscription ended".into())),
                    Err(_) => {
                        if !speaks {
                            connection.renew(generation);
                        }
                        break;
                    }
                }
            }
        }
    }

    /// What the server says behind what is held, as much at a time as has come. What waits for its next event must not be
    /// broken off in the middle; to stop waiting for it is no harm.
    fn subscribe(
        &self,
        connection: &Connection,
    ) -> (u64, impl Stream<Item = Vec<Result<SubscriptionEvent, Error>>> + use<>) {
        let options = SubscribeToAllOptions::default().position(behind(self.held().upto));
        let options = as_user!(connection, options);
        let options = match for_server(&self.filter) {
            Some(filter) => options.filter(filter.max(1)),
            None => options,
        };
        let (generation, client) = connection.client();
        let subscription = async move { client.subscribe_to_all(&options).await };
        let said = stream::once(subscription).flat_map(|subscription| {
            stream::unfold(Some(subscription), |subscription| async {
                let mut subscription = subscription?;
                let said = subscription.next_subscription_event().await;
                let goes_on = said.is_ok();
                Some((said, goes_on.then_some(subscription)))
            })
        });
        (generation, said.ready_chunks(PAGE))
    }

    /// False where it is over.
    fn hold(
        &self,
        connection: &Connection,
        generation: u64,
        heard: Vec<Result<SubscriptionEvent, Error>>,
    ) -> bool {
        let mut held = self.held();
        let mut failed = None;
        for said in heard {
            let taken =
                said.map_err(|error| connection.failed(generation, &error)).and_then(|said| held.take(said));
            failed = failed.or(taken.err());
        }
        let goes_on = failed.is_none();
        if let Some(error) = failed {
            held.state = State::Failed(error);
        }
        drop(held);
        self.news.send_replace(());
        goes_on
    }

    fn fail(&self, error: StoreError) {
        self.held().state = State::Failed(error);
        self.news.send_replace(());
    }

    /// Ends it, if nobody has come to listen meanwhile.
    fn end(&self) -> bool {
        let mut held = self.held();
        let alone = self.news.receiver_count() == 0;
        if alone {
            *held = Held { caught_up: held.caught_up, ..Held::default() };
        }
        alone
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn take(&mut self, said: SubscriptionEvent) -> Result<(), StoreError> {
        match said {
            SubscriptionEvent::EventAppeared(event) => {
                let event = recorded(&event)?;
                // A subscription begins with the event that it begins behind.
                if event.position > self.upto {
                    self.upto = event.position;
                    self.bytes += size(&event);
                    self.events.push_back(event);
                }
            }
            SubscriptionEvent::Checkpoint(position) => self.upto = self.upto.max(Position(position.commit)),
            SubscriptionEvent::CaughtUp(_) if !self.live => {
                (self.live, self.caught_up) = (true, self.caught_up + 1);
            }
            SubscriptionEvent::FellBehind(_) => self.live = false,
            _ => {}
        }
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.begin = oldest.position;
        }
        Ok(())
    }
}

fn size(event: &Recorded) -> usize {
    event.data.len() + event.metadata.len()
}
