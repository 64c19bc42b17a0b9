//! What others write, as this process hears of it by following the log.
//!
//! **Invariant.** Everything that was acknowledged to anybody before [`Heard::as_of`] has been heard: an own append stands
//! behind all that was acknowledged before it was begun, and is heard behind it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use domain::{Aggregate as _, message::Message};
use std::sync::Arc;
use store::{Page, Position, Recorded, StreamName};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

/// Own appends that are waited for: one in this time, so many at most.
const STEP: Duration = Duration::from_millis(5);
const AWAITED_MAX: usize = 64;
/// Of beginnings that nobody has asked for yet, how much is kept.
const BEGINNINGS_MAX: usize = 16_384;
const BEGINNINGS_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Heard {
    /// `None` where nobody listens.
    upto: Option<Position>,
    /// Own appends that have not been heard yet, and when they were begun.
    awaited: VecDeque<(Position, Instant)>,
    as_of: Option<Instant>,
    beginnings: Beginnings,
}

/// The event that began a stream.
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) name: Arc<str>,
    pub(super) data: Bytes,
}

impl Heard {
    pub(super) fn from(position: Position) -> Self {
        Self { upto: Some(position), ..Self::default() }
    }

    /// Whatever was acknowledged before then is known.
    pub(super) fn as_of(&self) -> Option<Instant> {
        self.as_of
    }

    pub(super) fn appended(&mut self, position: Position, begun: Instant) {
        let Some(upto) = self.upto else { return };
        if position <= upto {
            self.as_of = self.as_of.max(Some(begun));
        } else if self.awaited.len() < AWAITED_MAX
            && self.awaited.back().is_none_or(|(_, last)| begun >= *last + STEP)
        {
            self.awaited.push_back((position, begun));
        }
    }

    pub(super) fn hear(&mut self, page: &Page) {
        page.events.iter().for_each(|event| self.beginnings.hear(event));
        self.upto = self.upto.max(Some(page.upto));
        self.awaited.retain(|(position, begun)| {
            let heard = *position <= page.upto;
            if heard {
                self.as_of = self.as_of.max(Some(*begun));
            }
            !heard
        });
    }

    /// Once.
    pub(super) fn beginning(&mut self, stream: &StreamName) -> Option<Known> {
        self.beginnings.take(stream)
    }
}

/// Messages that were accepted lately, of which most are delivered next.
#[derive(Default)]
struct Beginnings {
    kept: HashMap<StreamName, Known>,
    order: VecDeque<StreamName>,
    bytes: usize,
}

impl Beginnings {
    fn hear(&mut self, event: &Recorded) {
        if event.stream.category() != Message::CATEGORY || event.revision != 0 {
            return;
        }
        // A copy, since what came over the wire holds on to all that came with it.
        let data = Bytes::copy_from_slice(&event.data);
        let known = Known { id: event.id, name: event.name.clone(), data };
        self.bytes += known.data.len();
        if let Some(before) = self.kept.insert(event.stream.clone(), known) {
            self.bytes -= before.data.len();
        }
        self.order.push_back(event.stream.clone());
        while self.bytes > BEGINNINGS_BYTES_MAX || self.order.len() > BEGINNINGS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.take(&oldest);
        }
    }

    fn take(&mut self, stream: &StreamName) -> Option<Known> {
        let known = self.kept.remove(stream)?;
        self.bytes -= known.data.len();
        Some(known)
    }
}
