//! What this process remembers of streams.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, VecDeque},
};

use domain::Aggregate;
use store::StreamName;

use super::Loaded;

/// Streams whose state is kept between commands.
const STATES_MAX: usize = 8192;

/// States by stream, as of some revision: a head start for loading, and where nobody else writes, the answer.
///
/// **Invariant.** What is kept of a stream only moves forward.
#[derive(Default)]
pub(super) struct States {
    kept: HashMap<(TypeId, StreamName), Kept>,
    order: VecDeque<(TypeId, StreamName)>,
}

struct Kept {
    /// The last revision that is known of; the state may be an older one.
    newest: Option<u64>,
    /// A [`Loaded`], and its revision.
    state: Option<(Option<u64>, Box<dyn Any + Send>)>,
}

impl States {
    pub(super) fn get<A: Aggregate>(&self, stream: &StreamName) -> Option<Loaded<A>> {
        let kept = self.kept.get(&(TypeId::of::<A>(), stream.clone()))?;
        kept.state.as_ref()?.1.downcast_ref::<Loaded<A>>().cloned()
    }

    /// The state, if it is that of the last revision that is known of.
    pub(super) fn newest<A: Aggregate>(&self, stream: &StreamName) -> Option<Loaded<A>> {
        let kept = self.kept.get(&(TypeId::of::<A>(), stream.clone()))?;
        kept.state.as_ref().filter(|(revision, _)| *revision == kept.newest)?;
        self.get(stream)
    }

    /// The last revision that is known of.
    pub(super) fn last<A: Aggregate>(&self, stream: &StreamName) -> Option<u64> {
        self.kept.get(&(TypeId::of::<A>(), stream.clone()))?.newest
    }

    pub(super) fn put<A: Aggregate>(&mut self, stream: &StreamName, loaded: Loaded<A>) {
        let kept = self.entry::<A>(stream);
        if kept.state.as_ref().is_none_or(|(revision, _)| *revision <= loaded.revision) {
            kept.newest = kept.newest.max(loaded.revision);
            kept.state = Some((loaded.revision, Box::new(loaded)));
        }
    }

    /// Something was appended that the state does not know of.
    pub(super) fn outdate<A: Aggregate>(&mut self, stream: &StreamName, revision: u64) {
        let kept = self.entry::<A>(stream);
        kept.newest = kept.newest.max(Some(revision));
    }

    fn entry<A: Aggregate>(&mut self, stream: &StreamName) -> &mut Kept {
        let key = (TypeId::of::<A>(), stream.clone());
        if !self.kept.contains_key(&key) {
            self.order.push_back(key.clone());
            while self.order.len() > STATES_MAX {
                if let Some(oldest) = self.order.pop_front() {
                    self.kept.remove(&oldest);
                }
            }
        }
        self.kept.entry(key).or_insert(Kept { newest: None, state: None })
    }
}
