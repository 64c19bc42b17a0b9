//! What the lanes at work append, gathered: appends that are handed to the embedded store together share a sync of the disk,
//! which takes about as much as delivering a message does. On a shared store nothing is gathered: there one that is slow would
//! hold up the answers of all.
//!
//! **Invariant.** Nobody waits for company who would be long in finding it: what has gathered goes as soon as half of those at
//! work wait, or after [`WAIT_MAX`]. Where so many have not come lately in twice that time, nobody waits at all.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use store::{Append, Appended, EventStore, StoreError};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::When;

/// How long an append waits for others: less than a person notices, and as long as a busy hub delivers some thirty messages.
const WAIT_MAX: Duration = Duration::from_millis(8);

pub(super) struct Gathering {
    store: Arc<dyn EventStore>,
    at_work: AtomicUsize,
    gathered: Mutex<Gathered>,
}

struct Gathered {
    /// Which gathering it is.
    number: u64,
    waiting: Vec<Waiting>,
    /// How many came since then, and whether as many as are enough came soon after each other before.
    came: usize,
    since: Instant,
    close: bool,
}

struct Waiting {
    append: Append,
    answer: oneshot::Sender<Result<Appended, StoreError>>,
}

/// Somebody who appends time and again, until it is dropped.
pub struct AtWork(Arc<Gathering>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gathering {
    pub(super) fn new(store: Arc<dyn EventStore>) -> Self {
        let gathered =
            Gathered { number: 0, waiting: Vec::new(), came: 0, since: Instant::now(), close: false };
        Self { store, at_work: AtomicUsize::default(), gathered: Mutex::new(gathered) }
    }

    pub(super) fn join(self: &Arc<Self>) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    /// Appends, with others if there are any. Where one who writes for others is dropped, those are told that it is uncertain.
    pub(super) async fn append(&self, append: Append, when: When) -> Result<Appended, StoreError> {
        let enough = self.at_work.load(Ordering::Relaxed) / 2;
        let gathers = when == When::InCompany && enough > 1 && self.store.is_ours_alone();
        if !gathers || !self.gathered().come_close(enough) {
            let Append { stream, expected, events, .. } = append;
            return self.store.append(&stream, expected, events).await;
        }
        let (answer, mut answered) = oneshot::channel();
        let (number, complete) = self.gathered().add(Waiting { append, answer }, enough);
        let waiting = match complete {
            Some(waiting) => waiting,
            None => match timeout(WAIT_MAX, &mut answered).await {
                Ok(answer) => return answer.unwrap_or_else(|_| Err(broken_off())),
                Err(_) => self.gathered().take_if(number),
            },
        };
        self.write(waiting).await;
        answered.await.unwrap_or_else(|_| Err(broken_off()))
    }

    async fn write(&self, waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let (appends, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|Waiting { append, answer }| (append, answer)).unzip();
        for (answer, result) in answers.into_iter().zip(self.store.append_many(appends).await) {
            // Who no longer waits does not need the answer.
            let _ = answer.send(result);
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    /// Counts one more. Answers whether they come soon enough after each other that some are worth waiting for.
    fn come_close(&mut self, enough: usize) -> bool {
        self.came += 1;
        let now = Instant::now();
        let are_close = now.saturating_duration_since(self.since) <= 2 * WAIT_MAX;
        let is_worth_it = self.close && are_close;
        if self.came >= enough {
            (self.came, self.since, self.close) = (0, now, are_close);
        }
        is_worth_it
    }

    /// Answers with the number of the gathering, and with all of it where it is complete.
    fn add(&mut self, waiting: Waiting, enough: usize) -> (u64, Option<Vec<Waiting>>) {
        self.waiting.push(waiting);
        (self.number, (self.waiting.len() >= enough).then(|| self.take()))
    }

    fn take(&mut self) -> Vec<Waiting> {
        self.number += 1;
        mem::take(&mut self.waiting)
    }

    /// Nothing where somebody took it meanwhile.
    fn take_if(&mut self, number: u64) -> Vec<Waiting> {
        if self.number == number { self.take() } else { Vec::new() }
    }
}

fn broken_off() -> StoreError {
    StoreError::Uncertain("who was writing it stopped".into())
}
