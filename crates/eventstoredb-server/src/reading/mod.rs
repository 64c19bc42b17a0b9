//! Read: what is asked for, and who answers it. `stream` and `log` read once; `follow_stream` and `follow_log` for ever.

mod follow_log;
mod follow_stream;
mod log;
mod stream;

use std::sync::Arc;

use futures_util::{
    StreamExt,
    future::Either,
    stream::{self as streams, BoxStream},
};
use store::{Direction, Position, Recorded, StreamName};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    Server,
    access::Caller,
    filter::{Selection, View},
    protocol::reading::{
        AllOptions, Confirmation, FilterOptions, ReadOptions, ReadReply, ReadRequest, StreamOptions,
        all_options, filter_options, read_options, read_reply, stream_options, uuid_option,
    },
    refusal,
    session::What,
    wire,
};

type Replies = BoxStream<'static, Result<ReadReply, Status>>;

/// What a page of events becomes. A status is the last of them.
type Batch = Vec<Result<ReadReply, Status>>;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From<T> {
    Start,
    At(T),
    End,
}

/// How events are to be written.
#[derive(Clone, Copy)]
struct Form {
    ids_as_strings: bool,
}

impl Form {
    fn reply(self, event: Recorded) -> ReadReply {
        wire::event(event, self.ids_as_strings)
    }
}

pub(crate) async fn read(
    server: Arc<Server>,
    caller: Caller,
    request: Request<ReadRequest>,
) -> Result<Response<Replies>, Status> {
    let options = request.into_inner().options.ok_or_else(|| wire::invalid("there are no options"))?;
    let form = Form { ids_as_strings: ids_as_strings(&options) };
    let direction = match options.direction {
        0 => Direction::Forward,
        1 => Direction::Backward,
        _ => return Err(wire::invalid("the direction is neither forward nor backward")),
    };
    let how_much = options.how_much.ok_or_else(|| wire::invalid("neither a count nor a subscription"))?;
    let filter = match options.filtering {
        Some(read_options::Filtering::Filter(filter)) => Some(filter),
        Some(read_options::Filtering::NoFilter(_)) => None,
        None => return Err(wire::invalid("neither a filter nor none")),
    };
    let what = options.what.ok_or_else(|| wire::invalid("neither a stream nor all"))?;
    let read = match &what {
        read_options::What::All(_) => {
            caller.may_read_all()?;
            What::Log
        }
        read_options::What::Stream(options) => {
            let (stream, _) = parse_stream_from(options)?;
            caller.may_read(&stream)?;
            What::Stream(stream)
        }
    };
    let reader = caller.reads().await?;
    let replies = match (what, how_much, direction, filter) {
        (read_options::What::Stream(what), read_options::HowMuch::Count(count), direction, None) => {
            let (stream, from) = parse_stream_from(&what)?;
            let positions = options.control_option.is_some_and(|option| option.compatibility >= 1);
            stream::read(server, stream, direction, from, count, positions, form).await?
        }
        (
            read_options::What::Stream(what),
            read_options::HowMuch::Subscription(_),
            Direction::Forward,
            None,
        ) => {
            let (stream, from) = parse_stream_from(&what)?;
            let begun = Begun::new(&server)?;
            begun.confirm(follow_stream::follow(server, stream, from, form).await?)
        }
        (read_options::What::All(what), read_options::HowMuch::Count(count), direction, filter) => {
            let from = parse_log_from(&server, &what).await?;
            let view = View { caller, wanted: filter.map(Selection::parse).transpose()? };
            log::read(server, direction, from, count, view, form)
        }
        (
            read_options::What::All(what),
            read_options::HowMuch::Subscription(_),
            Direction::Forward,
            filter,
        ) => {
            let from = parse_log_from(&server, &what).await?;
            let (wanted, interval) = filter.map(parse_filter).transpose()?.unzip();
            let begun = Begun::new(&server)?;
            begun.confirm(follow_log::follow(server, from, View { caller, wanted }, interval, form).await?)
        }
        (read_options::What::Stream(_), _, _, Some(_)) => {
            return Err(wire::invalid("a filter is for reading all streams"));
        }
        (_, read_options::HowMuch::Subscription(_), Direction::Backward, _) => {
            return Err(wire::invalid("a subscription goes forward"));
        }
    };
    Ok(Response::new(reader.note(read, replies)))
}

fn ids_as_strings(options: &ReadOptions) -> bool {
    let content = options.uuid_option.as_ref().and_then(|option| option.content.as_ref());
    matches!(content, Some(uuid_option::Content::String(_)))
}

fn parse_stream_from(options: &StreamOptions) -> Result<(StreamName, From<u64>), Status> {
    let stream = wire::parse_stream(options.stream.as_ref()).map_err(wire::invalid)?;
    match options.from {
        Some(stream_options::From::Revision(revision)) => Ok((stream, From::At(revision))),
        Some(stream_options::From::Start(_)) => Ok((stream, From::Start)),
        Some(stream_options::From::End(_)) => Ok((stream, From::End)),
        None => Err(wire::invalid("where to begin is not said")),
    }
}

/// A position has to be one of this log.
async fn parse_log_from(server: &Server, options: &AllOptions) -> Result<From<Position>, Status> {
    let position = match &options.from {
        Some(all_options::From::Position(position)) => position,
        Some(all_options::From::Start(_)) => return Ok(From::Start),
        Some(all_options::From::End(_)) => return Ok(From::End),
        None => return Err(wire::invalid("where to begin is not said")),
    };
    if (position.commit, position.prepare) == (u64::MAX, u64::MAX) {
        return Ok(From::End);
    }
    let head = server.store.head().await.map_err(failed)?;
    if position.commit != position.prepare || position.commit > head.0 {
        return Err(refusal::no_such_position());
    }
    Ok(From::At(Position(position.commit)))
}

/// The filter of a subscription, and after how many events looked at a checkpoint is due.
fn parse_filter(options: FilterOptions) -> Result<(Selection, u64), Status> {
    let window = match options.window {
        Some(filter_options::Window::Max(max)) => max.max(1),
        Some(filter_options::Window::Count(_)) | None => WINDOW,
    };
    if options.checkpoint_interval_multiplier == 0 {
        return Err(wire::invalid("the checkpoint interval is at least one window"));
    }
    let interval = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
    Ok((Selection::parse(options)?, interval))
}

/// `EventStoreDB`'s own, where the client names none.
const WINDOW: u32 = 32;

/// A subscription that may be had.
struct Begun {
    place: OwnedSemaphorePermit,
    id: Uuid,
}

impl Begun {
    fn new(server: &Arc<Server>) -> Result<Self, Status> {
        let place = Arc::clone(&server.subscriptions)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("there are too many subscriptions"))?;
        let number = server.subscriptions_begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Self { place, id: Uuid::new_v5(&server.store.id(), &number.to_be_bytes()) })
    }

    /// Says that it began, then what it brings. Should that end, the client is told to begin anew.
    fn confirm(self, replies: Replies) -> Replies {
        let Self { place, id } = self;
        let confirmation = Confirmation { subscription_id: id.to_string() };
        let confirmation = Ok(wire::reply(read_reply::Content::Confirmation(confirmation)));
        let end = streams::iter([Err(refusal::stopping())]);
        streams::iter([confirmation])
            .chain(replies)
            .chain(end)
            .inspect(move |_| {
                let _held_as_long_as_the_stream = &place;
            })
            .boxed()
    }
}

/// One by one what comes in batches.
fn flatten(batches: impl futures_util::Stream<Item = Batch> + Send + 'static) -> Replies {
    batches.flat_map(streams::iter).boxed()
}

/// What a failed read is to the client.
fn failed(error: store::StoreError) -> Status {
    // A read expects nothing.
    refusal::status(error, store::Expected::Any)
}

/// The next page of the log; an error when the server stops or the store is closed.
async fn next_page(
    server: &Server,
    pages: &mut BoxStream<'static, Result<store::Page, store::StoreError>>,
) -> Result<store::Page, Status> {
    match futures_util::future::select(pages.next(), std::pin::pin!(server.shutdown.cancelled())).await {
        Either::Left((Some(page), _)) => page.map_err(failed),
        Either::Left((None, _)) | Either::Right(_) => Err(refusal::stopping()),
    }
}

#[cfg(test)]
mod tests;
