//! Following: reading up to the head, then a subscription to the whole log, cut into pages.
//!
//! A subscription tells of each event that it passes over, because somebody may wait for it to be. The server looks at
//! one event at a time then, which is slow over a long stretch: so that is read before.
//!
//! A task takes from the subscription, because what waits for its next event must not be broken off in the middle. A
//! subscription on which nothing came for a while is dropped and begun anew behind what was seen last: it may be dead
//! without anybody having been told. If the new one does not even begin, the whole connection is, and is made anew.

use std::sync::Arc;

use eventstore::{Error, SubscribeToAllOptions, SubscriptionEvent};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Options,
    connection::{Connection, as_user},
    reading::{behind, for_server, recorded},
};
use crate::{Filter, Page, Position, Recorded, StoreError};

/// Events of a page at most, and how many wait to be put on one.
const PAGE: usize = 1024;

type Said = Result<SubscriptionEvent, Error>;

struct Begun {
    said: mpsc::Receiver<Said>,
    /// Of the client.
    generation: u64,
    /// It said something.
    speaks: bool,
}

enum Source {
    /// To be read up to its head.
    Log,
    /// A subscription that is to be begun.
    Nothing,
    Subscription(Begun),
}

struct Follower {
    connection: Arc<Connection>,
    filter: Filter,
    /// What was looked at last.
    upto: Position,
    source: Source,
    /// The server has said that there is nothing further for now.
    live: bool,
    /// It has still to be passed on that the head was reached.
    reached: bool,
    /// It was, and nothing has come since.
    told: bool,
}

pub(super) fn follow(
    connection: Arc<Connection>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<Page, StoreError>> {
    let follower = Follower {
        connection,
        filter,
        upto: after,
        source: Source::Log,
        live: false,
        reached: false,
        told: false,
    };
    stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        let page = follower.next().await;
        let goes_on = page.is_ok();
        Some((page, goes_on.then_some(follower)))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Result<Page, StoreError> {
        while let Source::Log = self.source {
            let page = self.connection.read_all(self.upto, &self.filter, PAGE).await?;
            let before = std::mem::replace(&mut self.upto, page.upto);
            if page.at_head {
                (self.source, self.reached) = (Source::Nothing, true);
            }
            if !page.events.is_empty() || (page.upto > before && !self.reached) {
                return Ok(Page { at_head: false, ..page });
            }
        }
        loop {
            if std::mem::take(&mut self.reached) {
                self.told = true;
                return Ok(Page { events: Vec::new(), upto: self.upto, at_head: true });
            }
            let before = self.upto;
            let events = self.take().await?;
            if !events.is_empty() {
                return Ok(Page { events, upto: self.upto, at_head: false });
            }
            self.reached |= self.live && self.upto > before;
            if self.upto > before && !self.reached {
                return Ok(Page { events, upto: self.upto, at_head: false });
            }
        }
    }

    /// What is said next, and what has been said meanwhile.
    async fn take(&mut self) -> Result<Vec<Recorded>, StoreError> {
        let mut events = Vec::new();
        let mut said = self.wait().await?;
        loop {
            match said {
                SubscriptionEvent::EventAppeared(event) => {
                    let event = recorded(&event)?;
                    self.upto = event.position;
                    (self.reached, self.told) = (self.live, false);
                    events.push(event);
                }
                SubscriptionEvent::Checkpoint(position) => {
                    self.upto = self.upto.max(Position(position.commit));
                }
                SubscriptionEvent::CaughtUp(_) => (self.live, self.reached) = (true, !self.told),
                SubscriptionEvent::FellBehind(_) => self.live = false,
                _ => {}
            }
            if events.len() >= PAGE {
                return Ok(events);
            }
            let Source::Subscription(begun) = &mut self.source else { return Ok(events) };
            let Ok(next) = begun.said.try_recv() else { return Ok(events) };
            let generation = begun.generation;
            said = next.map_err(|error| self.connection.failed(generation, &error))?;
        }
    }

    /// The next thing said, by a subscription begun anew where there is none that speaks.
    async fn wait(&mut self) -> Result<SubscriptionEvent, StoreError> {
        loop {
            let Source::Subscription(begun) = &mut self.source else {
                self.source = Source::Subscription(subscribe(&self.connection, self.upto, &self.filter));
                continue;
            };
            // To begin takes a connection, to go on does not.
            let Options { silence, patience } = self.connection.options;
            let silence = if begun.speaks { silence } else { silence.max(patience) };
            match timeout(silence, begun.said.recv()).await {
                Ok(Some(Ok(said))) => {
                    begun.speaks = true;
                    if !matches!(said, SubscriptionEvent::Confirmed(_)) {
                        return Ok(said);
                    }
                }
                Ok(Some(Err(error))) => return Err(self.connection.failed(begun.generation, &error)),
                Ok(None) => return Err(StoreError::Unavailable("the subscription ended".into())),
                Err(_) => {
                    if !begun.speaks {
                        self.connection.renew(begun.generation);
                    }
                    (self.source, self.live, self.told) = (Source::Nothing, false, false);
                }
            }
        }
    }
}

fn subscribe(connection: &Connection, after: Position, filter: &Filter) -> Begun {
    let options = as_user!(connection, SubscribeToAllOptions::default().position(behind(after)));
    let options = match for_server(filter) {
        Some(filter) => options.filter(filter.max(1)),
        None => options,
    };
    let (generation, client) = connection.client();
    let (say, said) = mpsc::channel(PAGE);
    tokio::spawn(async move {
        let mut subscription = client.subscribe_to_all(&options).await;
        loop {
            let next = tokio::select! {
                next = subscription.next_subscription_event() => next,
                () = say.closed() => return,
            };
            let ended = next.is_err();
            if say.send(next).await.is_err() || ended {
                return;
            }
        }
    });
    Begun { said, generation, speaks: false }
}
