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
    filter::View,
    protocol::reading::{CaughtUp, Checkpoint, read_reply::Content},
    wire,
};

/// Begins behind the position. After `interval` events looked at a checkpoint is due; without a filter there are none.
pub(super) async fn follow(
    server: Arc<Server>,
    from: From<Position>,
    view: View,
    interval: Option<u64>,
    form: Form,
) -> Result<Replies, Status> {
    let after = match from {
        From::Start => Position::START,
        From::At(position) => position,
        From::End => server.store.head().await.map_err(failed)?,
    };
    let pages = server.store.follow(after, view.for_store());
    let following = Following { server, pages, view, interval, checkpoint: after, behind: true, form };
    Ok(flatten(stream::unfold(Some(following), |following| async { following?.next().await })))
}

struct Following {
    server: Arc<Server>,
    pages: BoxStream<'static, Result<Page, StoreError>>,
    view: View,
    interval: Option<u64>,
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
        let picked = self.view.pick(&page.events).await?;
        let mut batch = Batch::with_capacity(page.events.len());
        for (event, picked) in page.events.into_iter().zip(picked) {
            if picked {
                batch.push(Ok(self.form.reply(event)));
            }
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

    /// Sends a checkpoint where one is due, or if it is to be sent before its time: one for all that were due on a page.
    /// Positions are counted for events, since there is one at nearly each.
    fn pass(&mut self, upto: Position, at_once: bool, batch: &mut Batch) {
        let Some(interval) = self.interval else { return };
        let passed = upto.0.saturating_sub(self.checkpoint.0);
        if passed >= interval || (at_once && passed > 0) {
            self.checkpoint = upto;
            let (commit, prepare) = (upto.0, upto.0);
            let checkpoint = Checkpoint { commit, prepare, timestamp: Some(wire::now()) };
            batch.push(Ok(wire::reply(Content::Checkpoint(checkpoint))));
        }
    }
}
