//! Answers what clients submit through the store: the streams `intake-0` to `intake-15`, each in its own order.
//!
//! **Invariants.** What was submitted is answered once, by an acceptance or a rejection that begins a stream, so that
//! a repeat after a crash finds it there. No event stops a stream, whatever is in it; trouble with the store or the
//! vault does, until it is over.

mod answer;

use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::intake::{CATEGORY, STREAMS};
use futures_util::StreamExt as _;
use store::{Direction, Filter, Page, StoreError, StreamName, served::DELETED_EVENT};
use tokio_util::sync::CancellationToken;

use super::PAUSE;
use crate::hub::Hub;

/// Events of a stream that are answered together. They may be of 1 MiB each.
const PAGE: usize = 128;
/// Where the log grows by other things only, it is looked at no more often than this.
const BREATH: Duration = Duration::from_millis(10);

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
    let mut intake = Intake::look(hub).await?;
    loop {
        intake.work(hub, stopping).await?;
        let page = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            page = pages.next() => page.context("the log is not followed any more")??,
        };
        if page.events.is_empty() {
            tokio::time::sleep(BREATH).await;
        }
        intake.notice(&page);
    }
}

/// The streams, by their numbers.
struct Intake([Stream; STREAMS as usize]);

/// How far one is answered.
#[derive(Clone, Copy, Default)]
struct Stream {
    /// The revision to go on at.
    next: u64,
    /// Behind its last event.
    end: u64,
    /// What stands before this may have been answered already.
    known_from: u64,
}

impl Intake {
    async fn look(hub: &Hub) -> Result<Self> {
        let mut streams = [Stream::default(); STREAMS as usize];
        for (number, stream) in (0..).zip(&mut streams) {
            let newest = match hub.store.read_stream(&name(number), Direction::Backward, u64::MAX, 1).await {
                // Nothing more can be submitted to it.
                Err(StoreError::Deleted(_)) => continue,
                newest => newest?,
            };
            let Some(newest) = newest.first().filter(|event| *event.name != *DELETED_EVENT) else { continue };
            let end = newest.revision + 1;
            *stream = Stream { next: 0, end, known_from: end };
        }
        Ok(Self(streams))
    }

    fn notice(&mut self, page: &Page) {
        for event in &page.events {
            let stream = event.stream.id().parse().ok().and_then(|number: usize| self.0.get_mut(number));
            if let Some(stream) = stream.filter(|_| *event.name != *DELETED_EVENT) {
                stream.end = stream.end.max(event.revision + 1);
            }
        }
    }

    /// Answers everything that is known to be there, some of each stream at a time.
    async fn work(&mut self, hub: &Hub, stopping: &CancellationToken) -> Result<()> {
        while self.waiting() > 0 {
            for (number, stream) in (0..).zip(&mut self.0) {
                if stopping.is_cancelled() {
                    return Ok(());
                }
                if stream.next < stream.end {
                    stream.answer_some(hub, number).await?;
                }
            }
            hub.metrics.intake_waiting(self.waiting());
        }
        Ok(())
    }

    fn waiting(&self) -> u64 {
        self.0.iter().map(|stream| stream.end.saturating_sub(stream.next)).sum()
    }
}

impl Stream {
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
