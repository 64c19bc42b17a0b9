//! A subscription to one stream: what is in it already, then what comes, for ever.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use store::{Direction, Filter, Page, Position, Recorded, StoreError, StreamName, served::DELETED_REVISION};
use tonic::Status;

use super::{Batch, Form, From, Replies, failed, flatten, next_page, stream::Cursor};
use crate::{
    Server,
    protocol::reading::{CaughtUp, read_reply::Content},
    refusal,
    retention::Shown,
    wire,
};

/// Begins behind the revision.
pub(super) async fn follow(
    server: Arc<Server>,
    name: StreamName,
    from: From<u64>,
    form: Form,
) -> Result<Replies, Status> {
    // What is written from here on is found by following, what is there by reading, and nothing by neither.
    let head = server.store.head().await.map_err(failed)?;
    let state = server.store.state(&name).await.map_err(failed)?;
    if state.deleted {
        return Err(refusal::stream_deleted(&name));
    }
    let shown = Shown::of(&state, name.metadata_of().is_some());
    let end = state.last.map_or(0, |last| last + 1);
    let next = match from {
        From::Start => 0,
        From::At(revision) => revision.saturating_add(1),
        From::End => end,
    };
    // Of a stream that was deleted softly nothing is shown that is there.
    let next = next.max(shown.map_or(end, |shown| shown.first));
    let source = Source::Stream(Cursor::new(name.clone(), Direction::Forward, next));
    let since_us = shown.map_or(i64::MIN, |shown| shown.since_us);
    let following = Following { server, name, head, source, next, since_us, behind: true, form };
    Ok(flatten(stream::unfold(Some(following), |following| async { following?.next().await })))
}

struct Following {
    server: Arc<Server>,
    name: StreamName,
    /// Of the log, from before the stream was first looked at.
    head: Position,
    source: Source,
    /// The revision that has not been sent yet.
    next: u64,
    /// Older events are not shown.
    since_us: i64,
    /// The client has not been told yet that it has caught up.
    behind: bool,
    form: Form,
}

enum Source {
    Stream(Cursor),
    Log(BoxStream<'static, Result<Page, StoreError>>),
}

impl Following {
    async fn next(mut self) -> Option<(Batch, Option<Self>)> {
        match self.page().await {
            Ok(batch) => {
                let ended = batch.last().is_some_and(Result::is_err);
                Some((batch, (!ended).then_some(self)))
            }
            Err(status) => Some((vec![Err(status)], None)),
        }
    }

    async fn page(&mut self) -> Result<Batch, Status> {
        match &mut self.source {
            Source::Stream(cursor) => {
                let events = cursor.read(&self.server, u64::MAX).await.map_err(failed)?;
                if cursor.ended {
                    let filter = Filter { stream_prefixes: vec![self.name.as_str().into()] };
                    self.source = Source::Log(self.server.store.follow(self.head, filter));
                }
                Ok(self.show(events))
            }
            Source::Log(pages) => {
                let page = next_page(&self.server, pages).await?;
                let mut batch = self.show(page.events);
                if page.at_head && std::mem::take(&mut self.behind) {
                    batch.push(Ok(wire::reply(Content::CaughtUp(self.caught_up()))));
                }
                self.behind |= !page.at_head;
                Ok(batch)
            }
        }
    }

    /// The events that are this stream's and were not shown before.
    fn show(&mut self, events: Vec<Recorded>) -> Batch {
        let mut batch = Batch::new();
        for event in events {
            if event.stream != self.name || event.revision < self.next {
                continue;
            }
            if event.revision == DELETED_REVISION {
                batch.push(Err(refusal::stream_deleted(&self.name)));
                break;
            }
            self.next = event.revision + 1;
            if event.created_us >= self.since_us {
                batch.push(Ok(self.form.reply(event)));
            }
        }
        batch
    }

    fn caught_up(&self) -> CaughtUp {
        let stream_revision = self.next.checked_sub(1).map(u64::cast_signed);
        CaughtUp { timestamp: Some(wire::now()), stream_revision, position: None }
    }
}
