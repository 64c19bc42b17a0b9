//! Following: a subscription to the whole log, cut into pages.
//!
//! A task takes from the subscription, because what waits for its next event must not be broken off in the middle. A
//! subscription on which nothing came for a while is dropped and begun anew behind what was seen last: it may be dead
//! without anybody having been told.

use std::sync::Arc;

use eventstore::{Error, SubscribeToAllOptions, SubscriptionEvent};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout};

use super::{Connection, behind, for_server, recorded};
use crate::{Filter, Page, Position, StoreError};

/// Events of a page at most, and how many wait to be put on one.
const PAGE: usize = 1024;

type Said = Result<SubscriptionEvent, Error>;

struct Follower {
    connection: Arc<Connection>,
    filter: Filter,
    /// What was looked at last.
    upto: Position,
    /// `None` until it is begun, and after silence.
    said: Option<mpsc::Receiver<Said>>,
    /// The server has said that there is nothing further for now.
    live: bool,
    /// It has still to be passed on that the head was reached.
    reached: bool,
}

pub(super) fn follow(
    connection: Arc<Connection>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<Page, StoreError>> {
    let follower = Follower { connection, filter, upto: after, said: None, live: false, reached: false };
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
        let mut events = Vec::new();
        if std::mem::take(&mut self.reached) {
            return Ok(Page { events, upto: self.upto, at_head: true });
        }
        let mut said = self.wait().await?;
        loop {
            match said {
                SubscriptionEvent::EventAppeared(event) => {
                    let event = recorded(&event)?;
                    self.upto = event.position;
                    self.reached = self.live;
                    events.push(event);
                }
                SubscriptionEvent::Checkpoint(position) => {
                    self.upto = self.upto.max(Position(position.commit));
                }
                SubscriptionEvent::CaughtUp(_) => (self.live, self.reached) = (true, true),
                _ => {}
            }
            if events.len() >= PAGE {
                break;
            }
            let Some(next) = self.said.as_mut().and_then(|said| said.try_recv().ok()) else { break };
            said = next.map_err(|error| self.connection.failed(&error))?;
        }
        let at_head = events.is_empty() && (std::mem::take(&mut self.reached) || self.live);
        Ok(Page { events, upto: self.upto, at_head })
    }

    /// The next thing said, by a subscription begun anew where there is none that speaks.
    async fn wait(&mut self) -> Result<SubscriptionEvent, StoreError> {
        loop {
            if self.said.is_none() {
                self.said = Some(self.subscribe());
            }
            let Some(said) = &mut self.said else { continue };
            match timeout(self.connection.options.silence, said.recv()).await {
                Ok(Some(said)) => return said.map_err(|error| self.connection.failed(&error)),
                Ok(None) => return Err(StoreError::Unavailable("the subscription ended".into())),
                Err(_) => (self.said, self.live) = (None, false),
            }
        }
    }

    fn subscribe(&self) -> mpsc::Receiver<Said> {
        let options = SubscribeToAllOptions::default().position(behind(self.upto));
        let options = match for_server(&self.filter) {
            Some(filter) => options.filter(filter),
            None => options,
        };
        let client = self.connection.client();
        let (say, said) = mpsc::channel(PAGE);
        tokio::spawn(async move {
            let mut subscription = client.subscribe_to_all(&options).await;
            loop {
                let next = tokio::select! {
                    next = subscription.next_subscription_event() => next,
                    () = say.closed() => return,
                };
                let ended = next.is_err();
                let confirmed = matches!(next, Ok(SubscriptionEvent::Confirmed(_)));
                if !confirmed && say.send(next).await.is_err() || ended {
                    return;
                }
            }
        });
        said
    }
}
