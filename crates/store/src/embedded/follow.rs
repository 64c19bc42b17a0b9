//! Following: reading pages up to the head, from memory where they are there, then sleeping until the writer has moved it.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;

use super::{closed, reader::Readers, tail::Tail};
use crate::{Filter, Page, Position, StoreError};

/// Events of a page at most.
const PAGE: usize = 1024;

struct Follower {
    readers: Arc<Readers>,
    tail: Arc<Tail>,
    head: watch::Receiver<Position>,
    filter: Arc<Filter>,
    after: Position,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Reading,
    /// At the head, which has still to be said.
    Reached,
    Waiting,
    Ended,
}

pub(super) fn follow(
    readers: Arc<Readers>,
    tail: Arc<Tail>,
    head: watch::Receiver<Position>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<Page, StoreError>> {
    let follower = Follower { readers, tail, head, filter: Arc::new(filter), after, state: State::Reading };
    stream::unfold(follower, |mut follower| async {
        let page = follower.next().await?;
        if page.is_err() {
            follower.state = State::Ended;
        }
        Some((page, follower))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Page, StoreError>> {
        loop {
            match self.state {
                State::Reading => return Some(self.read().await),
                // Under load the head has moved on before it could be said that it was reached.
                State::Reached if *self.head.borrow() > self.after => self.state = State::Reading,
                State::Reached => {
                    self.state = State::Waiting;
                    return Some(Ok(Page { events: Vec::new(), upto: self.after, at_head: true }));
                }
                State::Waiting => {
                    let after = self.after;
                    if self.head.wait_for(|head| *head > after).await.is_err() {
                        return Some(Err(closed()));
                    }
                    self.state = State::Reading;
                }
                State::Ended => return None,
            }
        }
    }

    async fn read(&mut self) -> Result<Page, StoreError> {
        let page = match self.tail.page(self.after, &self.filter, PAGE) {
            Some(page) => page,
            None => self.readers.page(self.after, Arc::clone(&self.filter), PAGE).await?,
        };
        self.after = page.upto;
        self.state = match (page.at_head, page.events.is_empty()) {
            (false, _) => State::Reading,
            (true, false) => State::Reached,
            (true, true) => State::Waiting,
        };
        Ok(page)
    }
}
