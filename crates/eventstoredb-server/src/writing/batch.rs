//! `BatchAppend`: many appends over one call, each answered when it is written, in whatever order that is.
//!
//! **Invariants.** Each append has its own answer, whatever becomes of its neighbours. Appends go to the store in the
//! order in which their last parts came.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use store::{Expected, StreamName};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{Gathered, write};
use crate::{
    Server, limits,
    protocol::{
        shared::{self, StreamIdentifier, Time},
        writing::{BatchAppendReply, BatchAppendRequest, Target, batch_append_reply, target},
    },
    refusal::{self, Refusal},
    wire,
};

pub(crate) fn append(
    server: Arc<Server>,
    request: Request<Streaming<BatchAppendRequest>>,
) -> Response<impl Stream<Item = Result<BatchAppendReply, Status>> + Send> {
    let session = Session {
        server,
        requests: Some(request.into_inner()),
        begun: HashMap::new(),
        writing: FuturesUnordered::new(),
    };
    Response::new(stream::unfold(session, |mut session| async {
        let reply = session.next().await?;
        if reply.is_err() {
            (session.requests, session.writing) = (None, FuturesUnordered::new());
        }
        Some((reply, session))
    }))
}

struct Session {
    server: Arc<Server>,
    /// `None` when the client has no more.
    requests: Option<Streaming<BatchAppendRequest>>,
    /// Appends of which a part has come, by correlation id.
    begun: HashMap<Uuid, Begun>,
    writing: FuturesUnordered<BoxFuture<'static, BatchAppendReply>>,
}

struct Begun {
    target: Target,
    /// Or why it is going to be refused.
    events: Result<Gathered, Refusal>,
}

impl Session {
    async fn next(&mut self) -> Option<Result<BatchAppendReply, Status>> {
        loop {
            let room = self.writing.len() < limits::BATCH_IN_FLIGHT_MAX;
            tokio::select! {
                request = next_request(&mut self.requests), if self.requests.is_some() && room => match request {
                    Ok(Some(request)) => match self.take(request) {
                        Ok(whole) => self.writing.extend(whole),
                        Err(status) => return Some(Err(status)),
                    },
                    Ok(None) => self.requests = None,
                    Err(status) => return Some(Err(status)),
                },
                Some(reply) = self.writing.next(), if !self.writing.is_empty() => return Some(Ok(reply)),
                () = self.server.shutdown.cancelled(), if self.requests.is_some() && self.writing.is_empty() => {
                    return Some(Err(refusal::stopping()));
                }
                else => return None,
            }
        }
    }

    /// Takes a part of an append; answers with the append's writing if it was the last part.
    fn take(
        &mut self,
        request: BatchAppendRequest,
    ) -> Result<Option<BoxFuture<'static, BatchAppendReply>>, Status> {
        let correlation_id = request.correlation_id.unwrap_or_default();
        let Some(key) = wire::parse_uuid(&correlation_id) else {
            return Err(Status::invalid_argument("an append needs a correlation id"));
        };
        let mut append = match (self.begun.remove(&key), request.target) {
            (Some(begun), _) => begun,
            (None, Some(target)) => Begun { target, events: Ok(Gathered::default()) },
            (None, None) => return Err(Status::invalid_argument("an append begins with its options")),
        };
        for event in request.events {
            if let Err(refusal) = append.events.as_mut().map_or(Ok(()), |events| events.add(event)) {
                append.events = Err(refusal);
            }
        }
        if request.is_final {
            return Ok(Some(append.write(Arc::clone(&self.server), correlation_id)));
        }
        if self.begun.len() >= limits::BATCH_PARTS_MAX {
            return Err(Status::resource_exhausted("too many appends were begun and not finished"));
        }
        self.begun.insert(key, append);
        Ok(None)
    }
}

/// Of requests that are there to be asked for.
async fn next_request(
    requests: &mut Option<Streaming<BatchAppendRequest>>,
) -> Result<Option<BatchAppendRequest>, Status> {
    match requests {
        Some(requests) => requests.message().await,
        None => Ok(None),
    }
}

impl Begun {
    fn write(
        self,
        server: Arc<Server>,
        correlation_id: shared::Uuid,
    ) -> BoxFuture<'static, BatchAppendReply> {
        let stream = self.target.stream.clone();
        let ready = self.ready();
        async move {
            let written = match ready {
                Ok((stream, expected, events, within)) => {
                    let writing = write(&*server.store, &stream, expected, events.events);
                    timeout(within, writing).await.unwrap_or(Err(Refusal::Late))
                }
                Err(refusal) => Err(refusal),
            };
            reply(correlation_id, stream, written)
        }
        .boxed()
    }

    fn ready(self) -> Result<(StreamName, Expected, Gathered, Duration), Refusal> {
        let (stream, expected) = wire::parse_target(&self.target).map_err(Refusal::Invalid)?;
        Ok((stream, expected, self.events?, within(self.target.deadline).ok_or(Refusal::Late)?))
    }
}

fn reply(
    correlation_id: shared::Uuid,
    stream: Option<StreamIdentifier>,
    written: Result<crate::protocol::writing::Success, Refusal>,
) -> BatchAppendReply {
    let result = match written {
        Ok(success) => batch_append_reply::Result::Success(success),
        Err(refusal) => batch_append_reply::Result::Error(refusal.into_batch_status()),
    };
    BatchAppendReply {
        correlation_id: Some(correlation_id),
        result: Some(result),
        stream: Some(stream.unwrap_or_default()),
    }
}

/// How long the client waits; `None` when that is over. A client is known to send a moment as a length of time, which
/// is longer than anybody waits.
fn within(deadline: Option<target::Deadline>) -> Option<Duration> {
    let length = |time: Time| {
        let (seconds, nanos) = (u64::try_from(time.seconds).ok()?, u32::try_from(time.nanos).ok()?);
        Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))
    };
    let wanted = match deadline {
        None => limits::WRITE,
        Some(target::Deadline::Within(time)) => length(time)?,
        Some(target::Deadline::Until(time)) => {
            let now = wire::now();
            length(time)?.checked_sub(length(now)?)?
        }
    };
    (!wanted.is_zero()).then(|| wanted.min(limits::WRITE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_length_of_time_or_a_moment_and_has_a_limit() {
        let of = |seconds| Some(target::Deadline::Within(Time { seconds, nanos: 0 }));
        assert_eq!(within(None), Some(limits::WRITE));
        assert_eq!(within(of(1)), Some(Duration::from_secs(1)));
        assert_eq!(within(of(1_700_000_000)), Some(limits::WRITE));
        assert_eq!((within(of(0)), within(of(-1))), (None, None));

        let until = |seconds| {
            within(Some(target::Deadline::Until(Time { seconds: wire::now().seconds + seconds, nanos: 0 })))
        };
        assert_eq!(until(-5), None);
        assert_eq!(until(3600), Some(limits::WRITE));
    }
}
