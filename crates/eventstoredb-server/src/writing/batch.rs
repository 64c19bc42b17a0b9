//! `BatchAppend`: many appends over one call, each answered when it is written, in whatever order that is.
//!
//! **Invariants.** Each append has its own answer, whatever becomes of its neighbours. Appends go to the store in the
//! order in which their last parts came.

use std::{
    collections::{HashMap, VecDeque},
    mem::take,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered, ReadyChunks},
};
use store::{Append, Expected, StreamName};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{Gathered, compare, succeeded};
use crate::{
    Server,
    access::Caller,
    limits,
    protocol::{
        shared::{self, StreamIdentifier, Time},
        writing::{BatchAppendReply, BatchAppendRequest, Success, Target, batch_append_reply, target},
    },
    refusal::{self, Refusal},
    wire,
};

/// Appends that go to the store together, where so many have come.
const TOGETHER: usize = 64;

pub(crate) fn append(
    server: Arc<Server>,
    caller: Caller,
    request: Request<Streaming<BatchAppendRequest>>,
) -> Response<impl Stream<Item = Result<BatchAppendReply, Status>> + Send> {
    let session = Session {
        server,
        caller,
        requests: Some(request.into_inner().ready_chunks(TOGETHER)),
        begun: HashMap::new(),
        writing: FuturesUnordered::new(),
        in_flight: 0,
        writing_bytes: 0,
        answers: VecDeque::new(),
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
    caller: Caller,
    /// As many at a time as have come. `None` when the client has no more.
    requests: Option<ReadyChunks<Streaming<BatchAppendRequest>>>,
    /// Appends of which a part has come, by correlation id.
    begun: HashMap<Uuid, Begun>,
    writing: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Appends that are being written, and their payload.
    in_flight: usize,
    writing_bytes: usize,
    /// To be passed on.
    answers: VecDeque<BatchAppendReply>,
}

/// What became of appends that went to the store together.
struct Written {
    answers: Vec<BatchAppendReply>,
    bytes: usize,
}

struct Begun {
    target: Target,
    /// Or why it is going to be refused.
    events: Result<Gathered, Refusal>,
}

/// An append that can go to the store.
struct Ready {
    correlation_id: shared::Uuid,
    identifier: Option<StreamIdentifier>,
    stream: StreamName,
    expected: Expected,
    events: Gathered,
    within: Duration,
}

impl Session {
    async fn next(&mut self) -> Option<Result<BatchAppendReply, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(Ok(answer));
            }
            let room =
                self.in_flight < limits::BATCH_IN_FLIGHT_MAX && self.writing_bytes < limits::BATCH_BYTES;
            tokio::select! {
                requests = next_requests(&mut self.requests), if self.requests.is_some() && room => {
                    match requests {
                        Some(requests) => if let Err(status) = self.take_all(requests) {
                            return Some(Err(status));
                        },
                        None => self.requests = None,
                    }
                }
                Some(written) = self.writing.next(), if !self.writing.is_empty() => {
                    self.in_flight -= written.answers.len();
                    self.writing_bytes -= written.bytes;
                    self.answers.extend(written.answers);
                }
                () = self.server.shutdown.cancelled(), if self.requests.is_some() && self.writing.is_empty() => {
                    return Some(Err(refusal::stopping()));
                }
                else => return None,
            }
        }
    }

    /// What is whole goes to the store, as much together as may be.
    fn take_all(&mut self, requests: Vec<Result<BatchAppendRequest, Status>>) -> Result<(), Status> {
        let mut together: Vec<Ready> = Vec::new();
        for request in requests {
            let Some((correlation_id, append)) = self.take(request?)? else { continue };
            let identifier = append.target.stream.clone();
            match append.ready(&self.caller) {
                Ok((stream, expected, events, within)) => {
                    let ready = Ready { correlation_id, identifier, stream, expected, events, within };
                    if together.last().is_some_and(|last| !last.goes_with(&ready)) {
                        self.write(take(&mut together));
                    }
                    together.push(ready);
                }
                Err(refusal) => self.answers.push_back(reply(correlation_id, identifier, Err(refusal))),
            }
        }
        self.write(together);
        Ok(())
    }

    /// Takes a part of an append; answers with the append if it was the last part.
    fn take(&mut self, request: BatchAppendRequest) -> Result<Option<(shared::Uuid, Begun)>, Status> {
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
            return Ok(Some((correlation_id, append)));
        }
        if self.begun.len() >= limits::BATCH_PARTS_MAX {
            return Err(Status::resource_exhausted("too many appends were begun and not finished"));
        }
        self.begun.insert(key, append);
        Ok(None)
    }

    fn write(&mut self, together: Vec<Ready>) {
        if together.is_empty() {
            return;
        }
        let bytes = together.iter().map(|ready| ready.events.bytes).sum();
        self.in_flight += together.len();
        self.writing_bytes += bytes;
        let server = Arc::clone(&self.server);
        let writing = async move { Written { answers: write(&server, together).await, bytes } };
        self.writing.push(writing.boxed());
    }
}

/// Of requests that are there to be asked for.
async fn next_requests(
    requests: &mut Option<ReadyChunks<Streaming<BatchAppendRequest>>>,
) -> Option<Vec<Result<BatchAppendRequest, Status>>> {
    requests.as_mut()?.next().await
}

impl Begun {
    fn ready(self, caller: &Caller) -> Result<(StreamName, Expected, Gathered, Duration), Refusal> {
        let (stream, expected) = wire::parse_target(&self.target).map_err(Refusal::Invalid)?;
        let (events, within) = (self.events?, within(self.target.deadline).ok_or(Refusal::Late)?);
        caller.may_append(&stream, &events.events)?;
        Ok((stream, expected, events, within))
    }
}

impl Ready {
    /// Both are written, and their clients wait as long.
    fn goes_with(&self, other: &Self) -> bool {
        let written = |ready: &Self| !ready.events.events.is_empty();
        written(self) && written(other) && self.within == other.within
    }
}

/// Has appends that go together written.
async fn write(server: &Server, together: Vec<Ready>) -> Vec<BatchAppendReply> {
    let within = together.first().map_or(limits::WRITE, |first| first.within);
    let (mut asked, mut appends) = (Vec::with_capacity(together.len()), Vec::with_capacity(together.len()));
    for Ready { correlation_id, identifier, stream, expected, events, .. } in together {
        asked.push((correlation_id, identifier, expected));
        appends.push(Append { stream, expected, events: events.events, line: None });
    }
    let writing = async {
        match &appends[..] {
            // Nothing goes with it.
            [Append { stream, expected, events, .. }] if events.is_empty() => {
                vec![compare(&*server.store, stream, *expected).await]
            }
            _ => {
                let appended = server.store.append_many(appends).await;
                appended.into_iter().map(|answer| answer.map(succeeded)).collect()
            }
        }
    };
    let mut answers = timeout(within, writing).await.ok().map(Vec::into_iter);
    let mut answer_to = |expected| match answers.as_mut().and_then(Iterator::next) {
        Some(answer) => answer.map_err(|error| Refusal::Store(error, expected)),
        None => Err(Refusal::Late),
    };
    let reply =
        |(correlation_id, identifier, expected)| reply(correlation_id, identifier, answer_to(expected));
    asked.into_iter().map(reply).collect()
}

fn reply(
    correlation_id: shared::Uuid,
    stream: Option<StreamIdentifier>,
    written: Result<Success, Refusal>,
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
    use http_body_util::Full;
    use prost::Message;
    use tonic::codec::{Codec, ProstCodec};

    use super::*;
    use crate::{
        protocol::writing::{ProposedEvent, success},
        testing::server,
        wire::NOTHING,
    };

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

    /// A part of an append; the first part has the stream.
    fn part(
        append: u128,
        stream: Option<&'static str>,
        events: &[u128],
        is_final: bool,
    ) -> BatchAppendRequest {
        let target = stream.map(|name| Target {
            stream: Some(StreamIdentifier { name: name.into() }),
            expected: Some(target::Expected::NoStream(NOTHING)),
            deadline: None,
        });
        let event = |&id: &u128| ProposedEvent {
            id: Some(wire::uuid(Uuid::from_u128(id), true)),
            metadata: [("type", "e"), ("content-type", "application/json")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            custom_metadata: "".into(),
            data: "{}".into(),
        };
        BatchAppendRequest {
            correlation_id: Some(wire::uuid(Uuid::from_u128(append), false)),
            target,
            events: events.iter().map(event).collect(),
            is_final,
        }
    }

    /// All answers, by correlation id: the revision, or the message of the error.
    async fn answers(requests: &[BatchAppendRequest]) -> Result<HashMap<u128, Result<u64, String>>, Status> {
        let (server, _dir) = server();
        let mut body = Vec::new();
        for request in requests {
            body.push(0);
            body.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
            body.extend(request.encode_to_vec());
        }
        let decoder = ProstCodec::<BatchAppendReply, BatchAppendRequest>::default().decoder();
        let requests = Streaming::new_request(decoder, Full::new(bytes::Bytes::from(body)), None, None);
        let mut replies =
            std::pin::pin!(append(server, Caller::Anybody, Request::new(requests)).into_inner());
        let mut answers = HashMap::new();
        while let Some(reply) = replies.next().await {
            let reply = reply?;
            let answer = match reply.result.unwrap() {
                batch_append_reply::Result::Success(done) => match done.current {
                    Some(success::Current::Revision(revision)) => Ok(revision),
                    other => panic!("{other:?}"),
                },
                batch_append_reply::Result::Error(status) => Err(status.message),
            };
            answers.insert(wire::parse_uuid(&reply.correlation_id.unwrap()).unwrap().as_u128(), answer);
        }
        Ok(answers)
    }

    #[tokio::test]
    async fn appends_that_come_in_mixed_parts_are_put_together() {
        let requests = [
            part(1, Some("thing-1"), &[11], false),
            part(2, Some("thing-2"), &[21, 22], false),
            part(1, None, &[12, 13], false),
            part(3, Some("thing-1"), &[31], true),
            part(2, None, &[], true),
            part(1, None, &[14], true),
        ];
        let answers = answers(&requests).await.unwrap();
        assert_eq!((&answers[&3], &answers[&2]), (&Ok(0), &Ok(1)));
        assert_eq!(answers[&1], Err("WrongExpectedVersion".into()));
    }

    #[tokio::test]
    async fn what_is_wrong_with_one_append_is_told_to_no_other() {
        let mut late = part(1, Some("thing-1"), &[11], true);
        late.target.as_mut().unwrap().deadline =
            Some(target::Deadline::Within(Time { seconds: 0, nanos: 0 }));
        let mut typeless = part(2, Some("thing-2"), &[21], true);
        typeless.events[0].metadata.clear();
        let mut large = part(3, Some("thing-3"), &[31, 32], true);
        large.events.iter_mut().for_each(|event| event.data = vec![0; 600_000].into());
        let nameless = part(4, Some(""), &[41], true);
        let good = part(5, Some("thing-5"), &[51], true);

        let answers = answers(&[late, typeless, large, nameless, good]).await.unwrap();

        let error = |name: &str| Err(name.to_owned());
        assert_eq!(answers[&1], error("Timeout"));
        assert_eq!(answers[&2], error("BadRequest"));
        assert_eq!(answers[&3], error("MaximumAppendSizeExceeded"));
        assert_eq!((&answers[&4], &answers[&5]), (&error("BadRequest"), &Ok(0)));
    }

    #[tokio::test]
    async fn more_beginnings_than_are_kept_end_the_call() {
        let begun: Vec<_> = (0..100).map(|append| part(append, Some("thing-1"), &[], false)).collect();
        assert_eq!(answers(&begun).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        let orphan = answers(&[part(1, None, &[1], true)]).await;
        assert_eq!(orphan.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
