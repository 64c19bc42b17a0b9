//! A subscription to the whole log.
//!
//! **Invariant.** A checkpoint comes after every event up to its position that is wanted.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use store::{Page, Position, StoreError};
use tonic::Status;

use super::{Batch, Form, From, Replies, failed, flatten, next_page};
use crate::{
    Server,
    filter::{Selection, everything},
    protocol::reading::{CaughtUp, Checkpoint, read_reply::Content},
    wire,
};

/// Begins behind the position. The filter has with it after how many events looked at a checkpoint is due.
pub(super) async fn follow(
    server: Arc<Server>,
    from: From<Position>,
    filter: Option<(Selection, u64)>,
    form: Form,
) -> Result<Replies, Status> {
    let after = match from {
        From::Start => Position::START,
        From::At(position) => position,
        From::End => server.store.head().await.map_err(failed)?,
    };
    let for_store = filter.as_ref().map_or_else(everything, |(selection, _)| selection.for_store());
    let pages = server.store.follow(after, for_store);
    let following = Following { server, pages, filter, checkpoint: after, behind: true, form };
    Ok(flatten(stream::unfold(Some(following), |following| async { following?.next().await })))
}

struct Following {
    server: Arc<Server>,
    pages: BoxStream<'static, Result<Page, StoreError>>,
    filter: Option<(Selection, u64)>,
    /// The last that was sent, or where it all began.
    checkpoint: Position,
    /// The client has not been told yet that it has caught up.
    behind: bool,
    form: Form,
}

impl Following {
    async fn next(mut self) -> Option<(Batch, Option<Self>)> {
        match self.page().await {
            Ok(batch) => Some((batch, Some(self))),
            Err(status) => Some((vec![Err(status)], None)),
        }
    }

    async fn page(&mut self) -> Result<Batch, Status> {
        let page = next_page(&self.server, &mut self.pages).await?;
        let picked = match &self.filter {
            Some((selection, _)) => Some(selection.pick(&page.events).await?),
            None => None,
        };
        let mut batch = Batch::with_capacity(page.events.len());
        for (place, event) in page.events.into_iter().enumerate() {
            let position = event.position;
            if picked.as_ref().is_none_or(|picked| picked.contains(&place)) {
                batch.push(Ok(self.form.reply(event)));
            }
            self.pass(position, false, &mut batch);
        }
        let caught_up = page.at_head && std::mem::take(&mut self.behind);
        self.pass(page.upto, caught_up, &mut batch);
        if caught_up {
            let position = Some(wire::position(page.upto));
            let caught_up = CaughtUp { timestamp: Some(wire::now()), stream_revision: None, position };
            batch.push(Ok(wire::reply(Content::CaughtUp(caught_up))));
        }
        self.behind |= !page.at_head;
        Ok(batch)
    }

    /// Sends a checkpoint where one is due, or if it is to be sent before its time. Positions are counted for events,
    /// since there is one at nearly each.
    fn pass(&mut self, upto: Position, at_once: bool, batch: &mut Batch) {
        let Some((_, interval)) = self.filter else { return };
        let passed = upto.0.saturating_sub(self.checkpoint.0);
        if passed >= interval || (at_once && passed > 0) {
            self.checkpoint = upto;
            let (commit, prepare) = (upto.0, upto.0);
            let checkpoint = Checkpoint { commit, prepare, timestamp: Some(wire::now()) };
            batch.push(Ok(wire::reply(Content::Checkpoint(checkpoint))));
        }
    }
}
