//! Answers what clients submit through the store: the streams `intake-0` to `intake-15`, each in its own order.
//!
//! What was submitted is in clear. Once it is answered it is deleted from the log, a second later at the most.
//!
//! **Invariants.** What was submitted is answered once, by an acceptance or a rejection that begins a stream, so that
//! a repeat after a crash finds it there. No event stops a stream, whatever is in it; trouble with the store or the
//! vault does, until it is over.

mod answer;

use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::{
    ShardId,
    intake::{CATEGORY, STREAMS},
};
use futures_util::{StreamExt as _, future::join_all};
use store::{Direction, Filter, Page, StoreError, StreamName, served::DELETED_EVENT};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PAUSE;
use crate::hub::Hub;

/// Events of a stream that are answered together. They may be of 1 MiB each.
const PAGE: usize = 128;
/// Where the log grows by other things only, it is looked at no more often than this.
const BREATH: Duration = Duration::from_millis(10);
/// Deleting holds up who else writes, so it is done for many events at a time.
const DELETE_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    while !stopping.is_cancelled() {
        let Err(error) = follow(&hub, &stopping).await else { return Ok(()) };
        tracing::warn!(
            error = format!("{error:#}"),
            "What was submitted could not be answered; trying again."
        );
        tokio::select! {
            () = stopping.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    Ok(())
}

/// Until the hub stops, or something goes wrong: then it is begun anew, and nothing is lost.
async fn follow(hub: &Hub, stopping: &CancellationToken) -> Result<()> {
    // What comes while the streams are looked at is seen twice.
    let mut pages = hub.store.follow(hub.store.head().await?, Filter::categories([CATEGORY]));
    let mut shards = hub.shards.changes();
    let mut intake = Intake { streams: [None; STREAMS as usize], delete_at: Instant::now() };
    loop {
        intake.work(hub, stopping).await?;
        tokio::select! {
            () = stopping.cancelled() => {
                intake.delete_answered(hub).await;
                return Ok(());
            }
            () = shards.next() => intake.look(hub).await?,
            () = tokio::time::sleep_until(intake.delete_at), if intake.has_answered() => {
                intake.delete_answered(hub).await;
            }
            // It is not sure at this moment whose these are.
            () = tokio::time::sleep(PAUSE), if intake.waiting() > 0 => {}
            page = pages.next() => {
                let page = page.context("the log is not followed any more")??;
                if page.events.is_empty() {
                    tokio::time::sleep(BREATH).await;
                }
                intake.notice(&page);
            }
        }
    }
}

/// The streams, by their numbers.
struct Intake {
    /// Without those that are another hub's.
    streams: [Option<Stream>; STREAMS as usize],
    /// Not before then.
    delete_at: Instant,
}

/// How far one is answered.
#[derive(Clone, Copy, Default)]
struct Stream {
    /// What stands before this is deleted.
    first: u64,
    /// The revision to go on at.
    next: u64,
    /// Behind its last event.
    end: u64,
    /// What stands before this may have been answered already.
    known_from: u64,
}

impl Intake {
    /// Another hub may have answered something of each meanwhile.
    async fn look(&mut self, hub: &Hub) -> Result<()> {
        for (number, stream) in (0..).zip(&mut self.streams) {
            *stream = if is_ours(hub, number) { Some(Stream::look(hub, number).await?) } else { None };
        }
        Ok(())
    }

    fn notice(&mut self, page: &Page) {
        for event in &page.events {
            let stream =
                event.stream.id().parse().ok().and_then(|number: usize| self.streams.get_mut(number));
            let stream = stream.and_then(Option::as_mut);
            if let Some(stream) = stream.filter(|_| *event.name != *DELETED_EVENT) {
                stream.end = stream.end.max(event.revision + 1);
            }
        }
    }

    /// Answers everything that is known to be there, some of each stream at a time.
    async fn work(&mut self, hub: &Hub, stopping: &CancellationToken) -> Result<()> {
        loop {
            hub.metrics.intake_waiting(self.waiting());
            let mut at_rest = true;
            for (number, stream) in streams(&mut self.streams) {
                if stopping.is_cancelled() {
                    return Ok(());
                }
                if stream.waiting() > 0 && is_ours(hub, number) {
                    stream.answer_some(hub, number).await?;
                    at_rest = false;
                }
            }
            if at_rest {
                return Ok(());
            }
            if self.delete_at <= Instant::now() {
                self.delete_answered(hub).await;
            }
        }
    }

    /// Where that fails it is tried again, and nobody has to wait for it.
    async fn delete_answered(&mut self, hub: &Hub) {
        let answered = streams(&mut self.streams).filter(|(_, stream)| stream.first < stream.next);
        let deleted = answered.map(async |(number, stream)| {
            match hub.store.truncate_before(&name(number), stream.next).await {
                Ok(()) | Err(StoreError::Deleted(_)) => stream.first = stream.next,
                Err(error) => {
                    tracing::warn!(intake = number, error = %error, "What was answered could not be deleted; trying again.");
                }
            }
        });
        join_all(deleted).await;
        self.delete_at = Instant::now() + DELETE_EVERY;
    }

    fn has_answered(&self) -> bool {
        self.streams.iter().flatten().any(|stream| stream.first < stream.next)
    }

    fn waiting(&self) -> u64 {
        self.streams.iter().flatten().map(Stream::waiting).sum()
    }
}

fn streams(streams: &mut [Option<Stream>]) -> impl Iterator<Item = (u8, &mut Stream)> {
    (0..).zip(streams).filter_map(|(number, stream)| Some((number, stream.as_mut()?)))
}

/// A stream is worked by the hub that has the shard of its number.
fn is_ours(hub: &Hub, number: u8) -> bool {
    hub.shards.holds(ShardId(number))
}

impl Stream {
    async fn look(hub: &Hub, number: u8) -> Result<Self> {
        let read = async |direction, from| {
            let one = hub.store.read_stream(&name(number), direction, from, 1).await?;
            Ok(one.into_iter().find(|event| *event.name != *DELETED_EVENT))
        };
        let ends =
            async { Ok((read(Direction::Forward, 0).await?, read(Direction::Backward, u64::MAX).await?)) };
        match ends.await {
            Ok((Some(first), Some(last))) => {
                let (first, end) = (first.revision, last.revision + 1);
                Ok(Self { first, next: first, end, known_from: end })
            }
            // Nothing is there, or an operator deleted it for good, and nothing can be submitted to it any more.
            Ok(_) | Err(StoreError::Deleted(_)) => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn waiting(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }

    async fn answer_some(&mut self, hub: &Hub, number: u8) -> Result<()> {
        let name = name(number);
        let events = hub.store.read_stream(&name, Direction::Forward, self.next, PAGE).await?;
        if events.is_empty() {
            // Deleted by an operator meanwhile.
            self.next = self.end;
            return Ok(());
        }
        let again = self.next < self.known_from;
        let answers = answer::answer(hub, number, &events, again).await;
        let mut trouble = None;
        for (event, answer) in events.iter().zip(answers) {
            match answer {
                Ok(()) => self.next = event.revision + 1,
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }
}

fn name(number: u8) -> StreamName {
    StreamName::new(format!("{CATEGORY}-{number}"))
}
