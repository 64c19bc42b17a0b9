//! Reading, and what the client gives as what the store gives.

use std::time::Duration;

use eventstore::{
    Error, ReadAllOptions, ReadStream, ReadStreamOptions, ResolvedEvent, StreamPosition, SubscriptionFilter,
};

use super::connection::{CallError, Connection, as_user, within};
use crate::{ContentType, Direction, Filter, Page, Position, Recorded, StoreError, StreamName};

/// A server that looks for a few events in a long log says nothing meanwhile. That it is there at all the client sees
/// to, by asking every 10 s.
const LOOKING: Duration = Duration::from_mins(1);

impl Connection {
    pub(super) async fn read_stream(
        &self,
        stream: &StreamName,
        direction: Direction,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let from = if from == u64::MAX { StreamPosition::End } else { StreamPosition::Position(from) };
        // The direction comes last, because the position changes it.
        let options = as_user!(self, ReadStreamOptions::default().position(from).max_count(limit));
        let options = &match direction {
            Direction::Forward => options.forwards(),
            Direction::Backward => options.backwards(),
        };
        let patience = self.options.patience;
        let read = self.call(|client| async move {
            collect(patience, client.read_stream(stream.as_str(), options)).await
        });
        match read.await {
            Ok(events) => events.iter().map(recorded).collect(),
            Err(CallError::Missing) => Ok(Vec::new()),
            Err(CallError::Deleted) => Err(StoreError::Deleted(stream.clone())),
            Err(CallError::Failed(error)) => Err(error),
        }
    }

    /// A page that is not full says that there is nothing further, so it is known then how far the log goes. That is
    /// asked after the page, and what came in between is read as well: nothing is taken for looked at that was not.
    pub(super) async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut events = self.read_log(after, filter, limit).await?;
        let mut upto = events.last().map_or(after, |event| event.position);
        let mut at_head = events.len() < limit;
        if at_head {
            let head = self.head().await?;
            if head > upto {
                let more = self.read_log(upto, filter, limit - events.len()).await?;
                at_head = events.len() + more.len() < limit;
                upto = more.last().map_or(upto, |event| event.position);
                events.extend(more);
                upto = if at_head { upto.max(head) } else { upto };
            }
        }
        Ok(Page { events, upto, at_head })
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        // The event at the position is read too, where it is wanted.
        let options = ReadAllOptions::default().position(behind(after)).forwards();
        let options = as_user!(self, options.max_count(limit.saturating_add(1)));
        let options = &match for_server(filter) {
            Some(filter) => options.filter(filter),
            None => options,
        };
        let silence = LOOKING.max(self.options.patience);
        let read = self.call(|client| async move { collect(silence, client.read_all(options)).await });
        let read = read.await.map_err(of_the_log)?;
        let mut events = read.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        events.retain(|event| event.position > after);
        events.truncate(limit);
        Ok(events)
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().max_count(1);
        let options = &as_user!(self, options);
        let patience = self.options.patience;
        let read = self.call(|client| async move { collect(patience, client.read_all(options)).await });
        let newest = read.await.map_err(of_the_log)?;
        let position = newest.first().map(|event| event.get_original_event().position.commit);
        Ok(position.map_or(Position::START, Position))
    }
}

/// All that a read gives. A server that says nothing for `silence` is taken for gone.
async fn collect(
    silence: Duration,
    begin: impl Future<Output = Result<ReadStream, Error>>,
) -> Result<Vec<ResolvedEvent>, Error> {
    let mut read = within(silence, begin).await?;
    let mut events = Vec::new();
    while let Some(event) = within(silence, read.next()).await? {
        events.push(event);
    }
    Ok(events)
}

fn of_the_log(error: CallError) -> StoreError {
    match error {
        CallError::Failed(error) => error,
        CallError::Missing | CallError::Deleted => StoreError::Broken("the server has no log".into()),
    }
}

pub(super) fn behind(after: Position) -> StreamPosition<eventstore::Position> {
    match after {
        Position::START => StreamPosition::Start,
        Position(position) => {
            StreamPosition::Position(eventstore::Position { commit: position, prepare: position })
        }
    }
}

/// `None` for everything.
pub(super) fn for_server(filter: &Filter) -> Option<SubscriptionFilter> {
    let by_name = SubscriptionFilter::on_stream_name();
    if filter.stream_prefixes.is_empty() {
        return Some(by_name.exclude_system_events());
    }
    let whole = filter.stream_prefixes.iter().any(|prefix| prefix.is_empty());
    (!whole).then(|| filter.stream_prefixes.iter().fold(by_name, SubscriptionFilter::add_prefix))
}

pub(super) fn recorded(event: &ResolvedEvent) -> Result<Recorded, StoreError> {
    let event = event.get_original_event();
    let stream = StreamName::parse(event.stream_id())
        .ok_or_else(|| StoreError::Broken("a stream's name is longer than 256 bytes".into()))?;
    Ok(Recorded {
        id: event.id,
        stream,
        revision: event.revision,
        position: Position(event.position.commit),
        name: event.event_type.as_str().into(),
        content_type: if event.is_json { ContentType::Json } else { ContentType::Octets },
        data: event.data.clone(),
        metadata: event.custom_metadata.clone(),
        created_us: event.created.timestamp_micros(),
    })
}
