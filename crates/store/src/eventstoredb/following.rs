//! Following: reading up to the head, then what the [`Tail`] holds, cut into pages.
//!
//! A subscription tells of each event that it passes over, because somebody may wait for it to be. The server looks at
//! one event at a time then, which is slow over a long stretch: so that is read before.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;

use super::{
    connection::Connection,
    tail::{News, PAGE, Tail},
};
use crate::{Filter, Page, Position, StoreError};

struct Follower {
    connection: Arc<Connection>,
    tail: Arc<Tail>,
    filter: Filter,
    /// What was looked at last.
    upto: Position,
    source: Source,
    /// It has still to be passed on that the head was reached.
    reached: bool,
    /// Which time that was passed on last.
    told: u64,
}

enum Source {
    /// To be read up to its head.
    Log,
    Tail(watch::Receiver<()>),
}

pub(super) fn follow(
    connection: Arc<Connection>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<Page, StoreError>> {
    // The system's own streams are nobody else's business.
    let tail = if filter.stream_prefixes.iter().any(|prefix| prefix.is_empty() || prefix.starts_with('$')) {
        Arc::new(Tail::new(filter.clone()))
    } else {
        Arc::clone(&connection.tail)
    };
    let source = Source::Log;
    let follower = Follower { connection, tail, filter, upto: after, source, reached: false, told: 0 };
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
        loop {
            if std::mem::take(&mut self.reached) {
                return Ok(Page { events: Vec::new(), upto: self.upto, at_head: true });
            }
            if let Source::Log = self.source {
                let page = self.connection.read_all(self.upto, &self.filter, PAGE).await?;
                let before = std::mem::replace(&mut self.upto, page.upto);
                if page.at_head {
                    (self.source, self.reached) = (Source::Tail(self.listen()), true);
                }
                if !page.events.is_empty() || (page.upto > before && !self.reached) {
                    return Ok(Page { at_head: false, ..page });
                }
                continue;
            }
            match self.tail.news(&self.filter, self.upto, &mut self.told) {
                News::Page(page) => {
                    self.upto = page.upto;
                    return Ok(page);
                }
                News::TooOld => self.source = Source::Log,
                News::Failed(error) => return Err(error),
                News::Nothing => {
                    if let Source::Tail(news) = &mut self.source
                        && news.changed().await.is_err()
                    {
                        return Err(StoreError::Unavailable("the subscription ended".into()));
                    }
                }
            }
        }
    }

    fn listen(&self) -> watch::Receiver<()> {
        self.tail.listen(&self.connection, self.upto)
    }
}
