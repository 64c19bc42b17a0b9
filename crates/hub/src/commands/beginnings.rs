//! Streams that are written once: all there is to know of one is the event that began it.

use std::fmt;

use domain::{Aggregate, aggregate::decode};
use store::{Direction, Position, StoreError, StreamName};
use uuid::Uuid;

use super::{Commands, LoadError, stream};

/// The event that began a stream of `A`, with its id; `None` where nothing was begun.
pub type First<A> = Result<Option<(Uuid, <A as Aggregate>::Event)>, LoadError>;

impl Commands {
    /// The events that began these streams. Not remembered, but for those that were heard lately. Where one stands in the log
    /// is no more than a hint, by which it is found sooner. What can't be decoded fails alone.
    pub async fn beginnings_at<A: Aggregate>(
        &self,
        places: &[(impl fmt::Display, Position)],
    ) -> Result<Vec<First<A>>, StoreError> {
        let positions: Vec<_> = places.iter().map(|(_, position)| *position).collect();
        let found = self.store.read_at(&positions).await?;
        debug_assert_eq!(found.len(), places.len(), "there is an answer for each");
        let mut beginnings = Vec::with_capacity(places.len());
        for ((id, _), found) in places.iter().zip(found) {
            let stream = stream::<A>(id);
            beginnings.push(match found.filter(|found| (&found.stream, found.revision) == (&stream, 0)) {
                Some(first) => first_of::<A>(first.id, &first.name, &first.data),
                None => self.first::<A>(&stream).await,
            });
        }
        Ok(beginnings)
    }

    /// The same of one, by the stream alone.
    pub async fn beginning<A: Aggregate>(&self, id: impl fmt::Display) -> First<A> {
        self.first::<A>(&stream::<A>(id)).await
    }

    async fn first<A: Aggregate>(&self, stream: &StreamName) -> First<A> {
        let heard = self.states().beginning(stream);
        if let Some(heard) = heard {
            return first_of::<A>(heard.id, &heard.name, &heard.data);
        }
        let first = self.store.read_stream(stream, Direction::Forward, 0, 1).await?;
        first.first().map_or(Ok(None), |first| first_of::<A>(first.id, &first.name, &first.data))
    }
}

fn first_of<A: Aggregate>(id: Uuid, name: &str, data: &[u8]) -> First<A> {
    Ok(Some((id, decode::<A>(name, data)?)))
}
