//! What this process remembers of streams.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use domain::Aggregate;
use store::{Page, Position, StreamName};
use tokio::time::Instant;

use super::{
    Loaded,
    heard::{Heard, Known},
};

/// Streams whose state is kept between commands.
const STATES_MAX: usize = 8192;

/// States by stream, as of some revision: a head start for loading, and where nobody else has written, the answer.
///
/// **Invariant.** What is kept of a stream only moves forward, and what is heard of it while it is being loaded counts.
#[derive(Default)]
pub(super) struct States {
    kept: HashMap<StreamName, Kept>,
    order: VecDeque<StreamName>,
    /// What others write.
    pub(super) heard: Heard,
}

#[derive(Default)]
struct Kept {
    /// The last revision that is known of; the state may be an older one.
    newest: Option<u64>,
    /// An `Arc<Loaded>`, and its revision.
    state: Option<(Option<u64>, Box<dyn Any + Send>)>,
    /// Then the state was the stream's.
    read_at: Option<Instant>,
}

impl States {
    pub(super) fn get<A: Aggregate>(&self, stream: &StreamName) -> Option<Arc<Loaded<A>>> {
        self.kept.get(stream)?.state::<A>()
    }

    /// The state, if it is that of the last revision that is known of, and when the store last said that it is.
    pub(super) fn newest<A: Aggregate>(
        &self,
        stream: &StreamName,
    ) -> Option<(Arc<Loaded<A>>, Option<Instant>)> {
        let kept = self.kept.get(stream)?;
        kept.state.as_ref().filter(|(revision, _)| *revision == kept.newest)?;
        Some((kept.state::<A>()?, kept.read_at.max(self.heard.as_of())))
    }

    /// The last revision that is known of.
    pub(super) fn last(&self, stream: &StreamName) -> Option<u64> {
        self.kept.get(stream)?.newest
    }

    /// From now on, what is heard of the stream counts. Before it is read.
    pub(super) fn expect(&mut self, stream: &StreamName) {
        self.entry(stream);
    }

    /// Keeps a state that was the stream's at that moment.
    pub(super) fn put<A: Aggregate>(&mut self, stream: &StreamName, loaded: Arc<Loaded<A>>, at: Instant) {
        // Of one that was let go of in between it was not heard what came.
        let Some(kept) = self.kept.get_mut(stream) else { return };
        if kept.state.as_ref().is_none_or(|(revision, _)| *revision <= loaded.revision) {
            kept.newest = kept.newest.max(loaded.revision);
            kept.read_at = kept.read_at.max(Some(at));
            kept.state = Some((loaded.revision, Box::new(loaded)));
        }
    }

    /// Something was appended that the state does not know of.
    pub(super) fn outdate(&mut self, stream: &StreamName, revision: u64) {
        let kept = self.entry(stream);
        kept.newest = kept.newest.max(Some(revision));
    }

    /// Of what is kept it is not known any more what others wrote.
    pub(super) fn listen_from(&mut self, position: Position) {
        self.kept.clear();
        self.order.clear();
        self.heard = Heard::from(position);
    }

    /// Others may have written these events.
    pub(super) fn hear(&mut self, page: &Page) {
        for event in &page.events {
            if let Some(kept) = self.kept.get_mut(&event.stream) {
                kept.newest = kept.newest.max(Some(event.revision));
            }
        }
        self.heard.hear(page);
    }

    /// The event that began a stream, if it was heard lately and nobody has asked yet.
    pub(super) fn beginning(&mut self, stream: &StreamName) -> Option<Known> {
        self.heard.beginning(stream)
    }

    fn entry(&mut self, stream: &StreamName) -> &mut Kept {
        if !self.kept.contains_key(stream) {
            self.order.push_back(stream.clone());
            while self.order.len() > STATES_MAX {
                if let Some(oldest) = self.order.pop_front() {
                    self.kept.remove(&oldest);
                }
            }
        }
        self.kept.entry(stream.clone()).or_default()
    }
}

impl Kept {
    fn state<A: Aggregate>(&self) -> Option<Arc<Loaded<A>>> {
        self.state.as_ref()?.1.downcast_ref::<Arc<Loaded<A>>>().cloned()
    }
}

#[cfg(test)]
mod tests {
    use domain::tenant::Tenant;
    use store::{ContentType, Recorded};
    use uuid::Uuid;

    use super::*;

    fn heard(stream: &StreamName, revision: u64) -> Page {
        let event = Recorded {
            id: Uuid::nil(),
            stream: stream.clone(),
            revision,
            position: Position(revision + 1),
            name: "tenant.seen.v1".into(),
            content_type: ContentType::Json,
            data: "{}".into(),
            metadata: "{}".into(),
            created_us: 0,
        };
        Page { events: vec![event], upto: Position(revision + 1), at_head: false }
    }

    #[test]
    fn what_is_heard_of_a_stream_while_it_is_read_outdates_what_was_read() {
        let stream = StreamName::new("tenant-1");
        let read = || Arc::new(Loaded::<Tenant> { revision: Some(0), ..Loaded::default() });
        let mut states = States::default();
        states.listen_from(Position::START);
        states.expect(&stream);
        states.hear(&heard(&stream, 1));
        states.put(&stream, read(), Instant::now());
        assert!(states.get::<Tenant>(&stream).is_some() && states.newest::<Tenant>(&stream).is_none());

        // The same where the listening began in between, so that nothing is known of what came before.
        states.expect(&stream);
        states.listen_from(Position(9));
        states.put(&stream, read(), Instant::now());
        assert!(states.get::<Tenant>(&stream).is_none());
    }
}
