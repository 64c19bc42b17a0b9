//! The newest events, kept in memory as they were written: all who follow close behind the head are shown these, rather
//! than that each reads them back from the file.
//!
//! **Invariants.** What is kept is all of the log from some position up to the head that followers are told of. What is let
//! go of in the file is let go of here before it is answered that it was.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;

use super::reader::is_shown;
use crate::{Appended, Filter, NewEvent, Page, Position, Recorded, StreamName};

/// Events kept, and their payload; a follower that is further behind reads the file.
const EVENTS_MAX: usize = if cfg!(test) { 8 } else { 4096 };
const BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) struct Tail(Mutex<Kept>);

struct Kept {
    /// Everything behind this position is kept.
    after: Position,
    /// As they were committed together.
    groups: VecDeque<Arc<[Recorded]>>,
    events: usize,
    bytes: usize,
}

impl Tail {
    pub(super) fn behind(head: Position) -> Self {
        Self(Mutex::new(Kept::behind(head)))
    }

    /// Takes what was committed behind all that is kept.
    pub(super) fn extend(&self, group: Vec<Recorded>) {
        if group.is_empty() {
            return;
        }
        let group = compact(group);
        let mut kept = self.kept();
        kept.events += group.len();
        kept.bytes += bytes(&group);
        kept.groups.push_back(group);
        while kept.events > EVENTS_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.groups.pop_front() else { return };
            kept.after = oldest.last().map_or(kept.after, |event| event.position);
            kept.events -= oldest.len();
            kept.bytes -= bytes(&oldest);
        }
    }

    /// Lets go of everything, up to the head.
    pub(super) fn clear(&self, head: Position) {
        *self.kept() = Kept::behind(head);
    }

    /// A page as the file would give it; `None` where it has to.
    pub(super) fn page(&self, after: Position, filter: &Filter, limit: usize) -> Option<Page> {
        let kept = self.kept();
        if after < kept.after {
            return None;
        }
        let ends_behind = |group: &Arc<[Recorded]>| group.last().is_some_and(|last| last.position > after);
        let newer = kept.groups.iter().rev().take_while(|group| ends_behind(group)).count();
        let groups: Vec<_> = kept.groups.range(kept.groups.len() - newer..).cloned().collect();
        drop(kept);
        let mut page = Page { events: Vec::new(), upto: after, at_head: true };
        for event in groups.iter().flat_map(|group| &**group).filter(|event| event.position > after) {
            if page.events.len() == limit {
                page.at_head = false;
                break;
            }
            page.upto = event.position;
            if is_shown(&event.as_ref(), filter) {
                page.events.push(event.clone());
            }
        }
        Some(page)
    }

    /// Those of the events at these positions that are kept.
    pub(super) fn at(&self, positions: &[Position]) -> Vec<Option<Recorded>> {
        let kept = self.kept();
        let event = |position: &Position| {
            let ends_before =
                |group: &Arc<[Recorded]>| group.last().is_some_and(|last| last.position < *position);
            let group = kept.groups.get(kept.groups.partition_point(ends_before))?;
            let index = group.binary_search_by_key(position, |event| event.position).ok()?;
            Some(group[index].clone())
        };
        positions.iter().map(event).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn behind(head: Position) -> Self {
        Self { after: head, groups: VecDeque::new(), events: 0, bytes: 0 }
    }
}

/// An event as it would be read back from its place.
pub(super) fn recorded(event: &NewEvent, stream: &StreamName, place: Appended, created_us: i64) -> Recorded {
    let NewEvent { id, name, content_type, data, metadata } = event.clone();
    let (stream, Appended { revision, position }) = (stream.clone(), place);
    Recorded { id, stream, revision, position, name, content_type, data, metadata, created_us }
}

fn bytes(group: &[Recorded]) -> usize {
    group.iter().map(|event| event.data.len() + event.metadata.len()).sum()
}

/// Copies the payload into one buffer: what it came in may be a part of a far larger one.
fn compact(mut group: Vec<Recorded>) -> Arc<[Recorded]> {
    let mut buffer = BytesMut::with_capacity(bytes(&group));
    for payload in group.iter_mut().flat_map(|event| [&mut event.data, &mut event.metadata]) {
        buffer.extend_from_slice(payload);
        *payload = buffer.split().freeze();
    }
    group.into()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ContentType;

    fn event(position: u64, stream: &str, payload: &[u8]) -> Recorded {
        let new = NewEvent {
            id: Uuid::from_u128(position.into()),
            name: "thing.happened.v1".into(),
            content_type: ContentType::Octets,
            data: payload.to_vec().into(),
            metadata: "{}".into(),
        };
        let place = Appended { revision: position, position: Position(position) };
        recorded(&new, &StreamName::new(stream), place, 7)
    }

    fn group(positions: std::ops::RangeInclusive<u64>) -> Vec<Recorded> {
        positions.map(|position| event(position, &format!("thing-{}", position % 2), b"data")).collect()
    }

    fn positions(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.position.0).collect()
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let tail = Tail::behind(Position(2));
        tail.extend(group(3..=5));
        tail.extend(group(6..=7));
        let first = tail.page(Position(2), &Filter::all(), 4).unwrap();
        assert_eq!((positions(&first), first.upto, first.at_head), (vec![3, 4, 5, 6], Position(6), false));
        let second = tail.page(first.upto, &Filter::all(), 4).unwrap();
        assert_eq!((positions(&second), second.upto, second.at_head), (vec![7], Position(7), true));
        assert_eq!(second.events[0].data, "data");
        assert_eq!(second.events[0].metadata, "{}");
        let third = tail.page(second.upto, &Filter::all(), 4).unwrap();
        assert_eq!((positions(&third), third.upto, third.at_head), (vec![], Position(7), true));
    }

    #[test]
    fn an_event_is_found_by_its_position_while_it_is_kept() {
        let tail = Tail::behind(Position(2));
        tail.extend(group(3..=5));
        tail.extend(group(6..=7));
        let at = |positions: &[u64]| {
            let positions: Vec<_> = positions.iter().map(|position| Position(*position)).collect();
            let found = tail.at(&positions).into_iter();
            found.map(|event| event.map(|event| event.position.0)).collect::<Vec<_>>()
        };
        assert_eq!(at(&[7, 3, 6, 3]), [Some(7), Some(3), Some(6), Some(3)]);
        assert_eq!(at(&[2, 8, u64::MAX]), [None; 3]);
        tail.extend(group(8..=7 + EVENTS_MAX as u64));
        assert_eq!(at(&[7, 8]), [None, Some(8)]);
    }

    #[test]
    fn others_are_passed_over() {
        let tail = Tail::behind(Position(0));
        tail.extend(vec![event(1, "$$thing-1", b""), event(2, "thing-1", b""), event(3, "other-1", b"")]);
        let page = tail.page(Position(0), &Filter::categories(["thing"]), 9).unwrap();
        assert_eq!((positions(&page), page.upto, page.at_head), (vec![2], Position(3), true));
        assert_eq!(positions(&tail.page(Position(0), &Filter::all(), 9).unwrap()), [2, 3]);
    }

    #[test]
    fn what_is_no_longer_kept_is_left_to_the_file() {
        let tail = Tail::behind(Position(2));
        assert!(tail.page(Position(1), &Filter::all(), 9).is_none());
        tail.extend(group(3..=3 + EVENTS_MAX as u64 / 2));
        tail.extend(group(20..=19 + EVENTS_MAX as u64 / 2));
        assert!(tail.page(Position(2), &Filter::all(), 9).is_none());
        let oldest = Position(3 + EVENTS_MAX as u64 / 2);
        assert_eq!(tail.page(oldest, &Filter::all(), 99).unwrap().events.len(), EVENTS_MAX / 2);

        tail.extend(vec![event(40, "thing-1", &vec![0; BYTES_MAX])]);
        assert!(tail.page(Position(39), &Filter::all(), 9).is_none());
        assert!(tail.page(Position(40), &Filter::all(), 9).unwrap().at_head);
        tail.extend(group(41..=42));
        tail.clear(Position(42));
        assert!(tail.page(Position(41), &Filter::all(), 9).is_none());
    }
}
