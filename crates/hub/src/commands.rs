//! The one way in which anything is decided: load, decide, append at the exact revision, and on conflict load again.
//!
//! **Invariants.** A command id is done once in its stream. Only [`Done::Appended`] permits an outside effect. Event ids
//! are drawn anew for each decision and used again only to repeat that very append after a lost acknowledgement.

mod at_last;
mod beginnings;
mod context;
mod gathering;
mod heard;
mod loaded;
mod states;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{Aggregate, CommandId, Metadata, Timestamp, Undecodable, aggregate::encode};
use store::{
    Append, Appended, ContentType, Direction, EventStore, Expected, NewEvent, Page, Position, StoreError,
    StreamName,
};
use tokio::time::Instant;

pub use self::{
    beginnings::First,
    context::Context,
    gathering::AtWork,
    loaded::{Loaded, metadata},
};
use self::{gathering::Gathering, states::States};
use crate::clock::{Clock, Ids};

/// Conflicts in a row before a command gives up: somebody else must then be writing without end.
const CONFLICTS_MAX: usize = 16;
/// Times that an append without an acknowledgement is repeated.
const REPEATS_MAX: usize = 5;
/// Events read at a time.
const PAGE: usize = 512;
/// And at first: most streams are short, and so is what was added to one that is known.
const FIRST_PAGE: usize = 32;
/// How old what is known of a stream may be to be acted on without a look at the store, where others write too. As much
/// time may lie between any look and the act: a token is fetched, a pace kept, a store or a socket slow.
pub const MOMENT: Duration = Duration::from_millis(250);

/// What came of a command.
#[derive(Clone, Debug)]
pub enum Done<A: Aggregate> {
    /// The events are recorded, by this very call.
    Appended { events: Vec<A::Event>, after: Loaded<A> },
    /// There was nothing to do, or it had been done before.
    AlreadyDone(Loaded<A>),
}

impl<A: Aggregate> Done<A> {
    pub fn after(&self) -> &Loaded<A> {
        match self {
            Self::Appended { after, .. } | Self::AlreadyDone(after) => after,
        }
    }

    pub fn into_after(self) -> Loaded<A> {
        match self {
            Self::Appended { after, .. } | Self::AlreadyDone(after) => after,
        }
    }
}

/// What a command is answered with.
pub type Answer<A> = Result<Done<A>, Failure<<A as Aggregate>::Refusal>>;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure<R> {
    /// The rules say no: tell whoever asked.
    #[error("{0}")]
    Refused(R),
    /// The store says no: try again later, or look at it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream has an event that this program can't read.
    #[error(transparent)]
    Unreadable(#[from] Undecodable),
    /// Others kept writing to the stream.
    #[error("the stream {0} is being written to without end; try again")]
    Contended(StreamName),
}

/// What [`Commands::begin_many`] begins a stream with.
pub struct Beginning<A: Aggregate> {
    pub id: String,
    pub command_id: CommandId,
    pub context: Context,
    pub command: A::Command,
    /// Whose order it has to keep; see [`Append::line`].
    pub line: Option<Arc<str>>,
}

/// What was decided on one occasion, among what is recorded together.
pub struct Decided<'a, E> {
    pub command_id: &'a CommandId,
    pub context: &'a Context,
    pub events: &'a [E],
}

/// Loads, decides, appends.
pub struct Commands {
    store: Arc<dyn EventStore>,
    gathering: Arc<Gathering>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    states: Mutex<States>,
    /// The latest time that stands in an event of this process, in microseconds: a clock that is put back tells no
    /// earlier one.
    latest_us: AtomicI64,
    written: AtomicU64,
}

impl Commands {
    pub fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            gathering: Arc::new(Gathering::new(Arc::clone(&store))),
            store,
            clock,
            ids,
            states: Mutex::default(),
            latest_us: AtomicI64::new(i64::MIN),
            written: AtomicU64::new(Position::START.0),
        }
    }

    /// Does the command in the stream of this id.
    pub async fn execute<A>(
        &self,
        id: impl fmt::Display,
        command_id: &CommandId,
        context: &Context,
        command: A::Command,
    ) -> Answer<A>
    where
        A: Aggregate,
        A::Command: Clone,
    {
        let stream = stream::<A>(id);
        let loaded = Arc::unwrap_or_clone(self.load_stream::<A>(&stream).await?);
        self.decide_from(stream, loaded, Keep::Yes, command_id, context, command).await
    }

    /// Like [`Commands::execute`], for a stream that most likely does not exist yet: reads it only where it does.
    pub async fn begin<A>(
        &self,
        id: impl fmt::Display,
        command_id: &CommandId,
        context: &Context,
        command: A::Command,
    ) -> Answer<A>
    where
        A: Aggregate,
        A::Command: Clone,
    {
        self.decide_from(stream::<A>(id), Loaded::default(), Keep::No, command_id, context, command).await
    }

    /// Begins many streams with one append each, committed together where the store can. The answers come in order, and
    /// behind one that could not be recorded none of its line is.
    pub async fn begin_many<A>(&self, beginnings: Vec<Beginning<A>>) -> Vec<Answer<A>>
    where
        A: Aggregate,
        A::Command: Clone,
    {
        let mut answers: Vec<Option<Answer<A>>> = Vec::with_capacity(beginnings.len());
        let mut appends = Vec::new();
        let mut waiting = Vec::new();
        for (index, Beginning { id, command_id, context, command, line }) in beginnings.iter().enumerate() {
            match A::default().decide(command.clone()) {
                Err(refusal) => answers.push(Some(Err(Failure::Refused(refusal)))),
                Ok(events) => {
                    let recorded_at = self.now();
                    let new = self.new_events(&events, recorded_at, command_id, context);
                    let last = new.last().map(|event| event.id);
                    appends.push(Append {
                        stream: stream::<A>(id),
                        expected: Expected::NoStream,
                        events: new,
                        line: line.clone(),
                    });
                    waiting.push((index, events, last, recorded_at));
                    answers.push(None);
                }
            }
        }
        let begun = Instant::now();
        let results = self.store.append_many(appends).await;
        results.iter().flatten().for_each(|appended| self.wrote(appended, begun));
        let mut held = HashSet::new();
        for ((index, events, last, recorded_at), result) in waiting.into_iter().zip(results) {
            let Beginning { id, command_id, context, command, line } = &beginnings[index];
            answers[index] = Some(match result {
                Ok(appended) => {
                    let after = Loaded::default().after(&events, last, appended, recorded_at, command_id);
                    Ok(Done::Appended { events, after })
                }
                Err(_) if line.as_ref().is_some_and(|line| held.contains(line)) => {
                    Err(StoreError::Unavailable("what goes before it was not recorded".into()).into())
                }
                // The stream is there already, or the answer was lost: one by one, with a look at the stream.
                Err(_) => {
                    let answer = self.execute::<A>(id, command_id, context, command.clone()).await;
                    held.extend(line.clone().filter(|_| matches!(answer, Err(Failure::Store(_)))));
                    answer
                }
            });
        }
        answers.into_iter().flatten().collect()
    }

    /// Records events that were decided from a read model's row, at the revision that the row was folded from. A conflict
    /// means that the row was stale: wait for the read model, and look again.
    pub async fn append_at<A: Aggregate>(
        &self,
        id: impl fmt::Display,
        revision: Option<u64>,
        command_id: &CommandId,
        context: &Context,
        events: &[A::Event],
    ) -> Result<Appended, StoreError> {
        self.append_decided::<A>(id, revision, &[Decided { command_id, context, events }], When::Now).await
    }

    /// The same for what was decided on several occasions, one after the other: recorded as a whole, or not at all. With what
    /// others [at work](Commands::begin_work) append at about the same time.
    pub async fn append_in_company_at<A: Aggregate>(
        &self,
        id: impl fmt::Display,
        revision: Option<u64>,
        decided: &[Decided<'_, A::Event>],
    ) -> Result<Appended, StoreError> {
        self.append_decided::<A>(id, revision, decided, When::InCompany).await
    }

    /// Says that [`Commands::append_in_company_at`] will be called time and again.
    pub fn begin_work(&self) -> AtWork {
        self.gathering.join()
    }

    async fn append_decided<A: Aggregate>(
        &self,
        id: impl fmt::Display,
        revision: Option<u64>,
        decided: &[Decided<'_, A::Event>],
        when: When,
    ) -> Result<Appended, StoreError> {
        let expected = revision.map_or(Expected::NoStream, Expected::Revision);
        let now = self.now();
        let new = |Decided { command_id, context, events }: &Decided<'_, A::Event>| {
            self.new_events(events, now, command_id, context)
        };
        let events = decided.iter().flat_map(new).collect();
        let stream = stream::<A>(id);
        let appended = self.append(&stream, expected, events, when).await?;
        self.states().outdate(&stream, appended.revision);
        Ok(appended)
    }

    /// Whether this process itself appended to the stream behind `revision`.
    pub fn knows_later<A: Aggregate>(&self, id: impl fmt::Display, revision: Option<u64>) -> bool {
        self.states().last(&stream::<A>(id)) > revision
    }

    /// The state of a stream, as it is now.
    pub async fn load<A: Aggregate>(&self, id: impl fmt::Display) -> Result<Loaded<A>, LoadError> {
        Ok(Arc::unwrap_or_clone(self.load_stream(&stream::<A>(id)).await?))
    }

    /// The state of a stream, from memory where it is what the caller hopes for, and nobody else can have changed it or it
    /// was so a [`MOMENT`] ago at most. Anything else may have been changed by what a read model knows already and this
    /// process is about to hear. Good for looking, not for deciding: a decision is appended at a revision, and is told if
    /// that is not the last one.
    pub async fn recall<A: Aggregate>(
        &self,
        id: impl fmt::Display,
        hoped_for: impl FnOnce(&A) -> bool,
    ) -> Result<Arc<Loaded<A>>, LoadError> {
        let stream = stream::<A>(id);
        let known = self.states().newest::<A>(&stream);
        if let Some((loaded, at)) = known
            && (self.store.is_ours_alone() || at.is_some_and(|at| at.elapsed() < MOMENT))
            && hoped_for(&loaded.state)
        {
            return Ok(loaded);
        }
        self.load_stream(&stream).await
    }

    /// From now on [`Commands::hear`] is told of everything behind this position.
    pub fn listen_from(&self, position: Position) {
        self.states().listen_from(position);
    }

    /// What was written, by others or by this process, to streams that are recalled.
    pub fn hear(&self, page: &Page) {
        self.states().hear(page);
    }

    async fn decide_from<A>(
        &self,
        stream: StreamName,
        mut loaded: Loaded<A>,
        keep: Keep,
        command_id: &CommandId,
        context: &Context,
        command: A::Command,
    ) -> Answer<A>
    where
        A: Aggregate,
        A::Command: Clone,
    {
        for _ in 0..CONFLICTS_MAX {
            if loaded.command_ids.contains(command_id) {
                return Ok(Done::AlreadyDone(loaded));
            }
            let events = loaded.state.decide(command.clone()).map_err(Failure::Refused)?;
            if events.is_empty() {
                return Ok(Done::AlreadyDone(loaded));
            }
            let recorded_at = self.now().max(loaded.recorded_at);
            let new = self.new_events(&events, recorded_at, command_id, context);
            let last = new.last().map(|event| event.id);
            let expected = loaded.revision.map_or(Expected::NoStream, Expected::Revision);
            let begun = Instant::now();
            match self.append(&stream, expected, new, When::Now).await {
                Ok(appended) => {
                    let after = loaded.after(&events, last, appended, recorded_at, command_id);
                    if keep == Keep::Yes {
                        self.states().put(&stream, Arc::new(after.clone()), begun);
                    }
                    return Ok(Done::Appended { events, after });
                }
                Err(StoreError::Conflict { .. }) => {
                    loaded = Arc::unwrap_or_clone(self.load_stream(&stream).await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::Contended(stream))
    }

    /// Appends, and where the acknowledgement was lost repeats that very append.
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
        when: When,
    ) -> Result<Appended, StoreError> {
        let begun = Instant::now();
        let (mut repeats, mut pause) = (0, Duration::from_millis(20));
        loop {
            let append = Append { stream: stream.clone(), expected, events: events.clone(), line: None };
            match self.gathering.append(append, when).await {
                Err(StoreError::Uncertain(_)) if repeats < REPEATS_MAX => tokio::time::sleep(pause).await,
                answer => return answer.inspect(|appended| self.wrote(appended, begun)),
            }
            (repeats, pause) = (repeats + 1, pause * 2);
        }
    }

    fn wrote(&self, appended: &Appended, begun: Instant) {
        self.written.fetch_max(appended.position.0, Ordering::Relaxed);
        self.states().heard.appended(appended.position, begun);
    }

    /// The position of the last event that this process has had acknowledged.
    pub fn written(&self) -> Position {
        Position(self.written.load(Ordering::Relaxed))
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now().as_micros();
        Timestamp::from_micros(self.latest_us.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn new_events<E: serde::Serialize>(
        &self,
        events: &[E],
        recorded_at: Timestamp,
        command_id: &CommandId,
        context: &Context,
    ) -> Vec<NewEvent> {
        let metadata = Metadata {
            recorded_at,
            correlation_id: context.correlation_id.clone(),
            causation_id: context.causation_id.map(|id| id.to_string()),
            actor: context.actor.clone(),
            command_id: command_id.clone(),
            writer: concat!("chancery/", env!("CARGO_PKG_VERSION")).to_owned(),
            tenant: context.tenant,
            client: context.client.clone(),
            provider_request_id: context.provider_request_id.clone(),
        };
        let metadata = bytes::Bytes::from(metadata.to_json());
        let new = |event| {
            let (name, data) = encode(event);
            NewEvent {
                id: self.ids.uuid(),
                name: name.into(),
                content_type: ContentType::Json,
                data: data.into(),
                metadata: metadata.clone(),
            }
        };
        events.iter().map(new).collect()
    }

    /// Starts from what was kept of the stream, and reads only what came since.
    async fn load_stream<A: Aggregate>(&self, stream: &StreamName) -> Result<Arc<Loaded<A>>, LoadError> {
        let kept = {
            let mut states = self.states();
            states.expect(stream);
            states.get::<A>(stream)
        };
        let begun = Instant::now();
        let mut loaded = kept.unwrap_or_default();
        let mut limit = FIRST_PAGE;
        loop {
            let from = loaded.revision.map_or(0, |revision| revision + 1);
            let page = self.store.read_stream(stream, Direction::Forward, from, limit).await?;
            if !page.is_empty() {
                loaded = Arc::new(page.iter().try_fold(Arc::unwrap_or_clone(loaded), Loaded::and)?);
            }
            if page.len() < limit {
                break;
            }
            limit = PAGE;
        }
        self.states().put(stream, loaded.clone(), begun);
        Ok(loaded)
    }

    fn states(&self) -> std::sync::MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stream's state is worth keeping for the next command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    /// A stream that is written once.
    No,
}

/// When something is appended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    /// A moment later, if others come until then.
    InCompany,
}

/// Why a stream could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unreadable(#[from] Undecodable),
}

impl<R> From<LoadError> for Failure<R> {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            LoadError::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

/// The stream of an aggregate: its category, a dash, the id.
pub fn stream<A: Aggregate>(id: impl fmt::Display) -> StreamName {
    StreamName::new(format!("{}-{id}", A::CATEGORY))
}
