//! A stretch of the whole log.

use std::sync::Arc;

use futures_util::stream;
use store::{Direction, Page, Position, StoreError};

use super::{Batch, Form, From, Replies, failed, flatten};
use crate::{Server, filter::View, limits};

/// Forward the event at the position is the first; backward it is the one before it.
pub(super) fn read(
    server: Arc<Server>,
    direction: Direction,
    from: From<Position>,
    count: u64,
    view: View,
    form: Form,
) -> Replies {
    let next = match (from, direction) {
        (From::Start, _) => Position::START,
        (From::At(position), Direction::Forward) => Position(position.0.saturating_sub(1)),
        (From::At(position), Direction::Backward) => position,
        (From::End, _) => Position(u64::MAX),
    };
    let reading = Reading { server, direction, next, left: count, view, form };
    flatten(stream::unfold(Some(reading), |reading| async { reading?.next().await }))
}

struct Reading {
    server: Arc<Server>,
    direction: Direction,
    /// What was looked at last.
    next: Position,
    left: u64,
    view: View,
    form: Form,
}

impl Reading {
    async fn next(mut self) -> Option<(Batch, Option<Self>)> {
        if self.left == 0 {
            return None;
        }
        let page = match self.page().await {
            Ok(page) => page,
            Err(error) => return Some((vec![Err(failed(error))], None)),
        };
        self.next = page.upto;
        let picked = match self.view.pick(&page.events).await {
            Ok(picked) => picked,
            Err(status) => return Some((vec![Err(status)], None)),
        };
        let events = page.events.into_iter().zip(picked).filter(|(_, picked)| *picked);
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let batch: Batch = events.take(left).map(|(event, _)| Ok(self.form.reply(event))).collect();
        self.left -= batch.len() as u64;
        Some((batch, (!page.at_head).then_some(self)))
    }

    async fn page(&self) -> Result<Page, StoreError> {
        let filter = self.view.for_store();
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(limits::PAGE_EVENTS_MAX);
        match self.direction {
            Direction::Forward => self.server.store.read_all(self.next, &filter, limit).await,
            Direction::Backward => self.server.store.read_all_backward(self.next, &filter, limit).await,
        }
    }
}
