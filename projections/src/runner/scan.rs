//! Reading a long stretch of the log: one thread reads, some decode, the caller folds.
//!
//! Decoding is by far the dearest step, so it alone is spread over threads. Pages go round among the decoders and are
//! taken from them in the same round, which keeps the log's order without sorting. Folding stays in one place, hence an
//! event may touch rows of any key.

use std::{
    ops::ControlFlow,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use anyhow::Result;
use store::{EventStore, Position, RecordedRef, StoreError};
use tokio::runtime::Handle;

use super::fold::Batch;
use crate::{EventRef, Projection};

/// As many as the smallest machine we run on has cores; with more of them the reading is the limit.
const DECODERS: usize = 2;
/// Events copied and sent at once. Few in tests, so that there are several pages.
const PAGE: usize = if cfg!(test) { 7 } else { 1_000 };
/// Pages that may wait before each step. With events of 1 KiB this bounds the memory to some 10 MiB.
const WAITING: usize = 2;

/// A page of borrowed events, copied into two buffers rather than into objects of their own.
struct Copied {
    /// What was looked at before this page.
    after: Position,
    upto: Position,
    texts: String,
    bytes: Vec<u8>,
    events: Vec<Place>,
}

/// Where an event's stream and name end in the texts, its data and metadata in the bytes; each begins where the one
/// before it ends.
struct Place {
    stream: usize,
    name: usize,
    data: usize,
    metadata: usize,
    /// The rest of the event.
    fixed: RecordedRef<'static>,
}

impl Copied {
    fn behind(after: Position) -> Self {
        Self { after, upto: after, texts: String::new(), bytes: Vec::new(), events: Vec::with_capacity(PAGE) }
    }

    fn push(&mut self, event: RecordedRef<'_>) {
        self.texts.push_str(event.stream);
        let stream = self.texts.len();
        self.texts.push_str(event.name);
        let name = self.texts.len();
        self.bytes.extend_from_slice(event.data);
        let data = self.bytes.len();
        self.bytes.extend_from_slice(event.metadata);
        let metadata = self.bytes.len();
        self.upto = event.position;
        let fixed = RecordedRef { stream: "", name: "", data: &[], metadata: &[], ..event };
        self.events.push(Place { stream, name, data, metadata, fixed });
    }

    fn events(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        let (mut texts, mut bytes) = (0, 0);
        self.events.iter().map(move |place| {
            let event = RecordedRef {
                stream: &self.texts[texts..place.stream],
                name: &self.texts[place.stream..place.name],
                data: &self.bytes[bytes..place.data],
                metadata: &self.bytes[place.data..place.metadata],
                ..place.fixed
            };
            (texts, bytes) = (place.name, place.metadata);
            EventRef(event)
        })
    }
}

/// Hands `each` the log behind `after` up to `upto` in batches, in order, until it breaks off. Blocks.
pub(super) fn scan<P: Projection>(
    store: &dyn EventStore,
    runtime: &Handle,
    after: Position,
    upto: Position,
    mut each: impl FnMut(Batch<P>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    thread::scope(|scope| {
        let mut to_decoders = Vec::new();
        let mut batches = Vec::new();
        for _ in 0..DECODERS {
            let (to_decoder, pages) = sync_channel(WAITING);
            let (to_fold, decoded) = sync_channel(WAITING);
            scope.spawn(move || decode::<P>(&pages, &to_fold));
            to_decoders.push(to_decoder);
            batches.push(decoded);
        }
        scope.spawn(move || {
            let _runtime = runtime.enter(); // The store's scan may need it.
            read::<P>(store, after, upto, &to_decoders);
        });
        // The first decoder that has no more was the last one to be given something. One that panicked looks the same
        // here, but then so does this scope when it ends.
        for batches in batches.iter().cycle() {
            let Ok(batch) = batches.recv() else { break };
            if each(batch?)?.is_break() {
                break;
            }
        }
        // Leaving drops the receivers, and each thread ends when nobody takes what it has.
        Ok(())
    })
}

type Sent = Result<Copied, StoreError>;

fn read<P: Projection>(
    store: &dyn EventStore,
    after: Position,
    upto: Position,
    decoders: &[SyncSender<Sent>],
) {
    let mut round = decoders.iter().cycle();
    let mut send = |page: Sent| round.next().is_some_and(|decoder| decoder.send(page).is_ok());
    let mut page = Copied::behind(after);
    let mut wanted = true;
    let reached = store.scan(after, upto, &P::filter(), &mut |event| {
        page.push(event);
        if page.events.len() < PAGE {
            return ControlFlow::Continue(());
        }
        let next = Copied::behind(page.upto);
        wanted = send(Ok(std::mem::replace(&mut page, next)));
        if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match reached {
        Ok(reached) if wanted => {
            page.upto = reached;
            send(Ok(page));
        }
        Ok(_) => {}
        Err(error) => {
            send(Err(error));
        }
    }
}

fn decode<P: Projection>(pages: &Receiver<Sent>, batches: &SyncSender<Result<Batch<P>, StoreError>>) {
    for page in pages {
        let batch = page.map(|page| Batch::read(page.after, page.events(), page.upto));
        if batches.send(batch).is_err() {
            return;
        }
    }
}
