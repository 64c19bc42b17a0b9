//! The hub's tasks, and how they end.
//!
//! Tasks are spawned by name. The first signal asks them to take no new work and finish what they have; the second one,
//! or the deadline, drops them where they stand, which is safe because every effect is preceded by a recorded intent.
//!
//! **Invariant.** A task that ends before it was asked to stops the hub, with exit code 1: a hub without its delivery or
//! its server must not look alive.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A handle for spawning tasks and for learning of the end. Clones are the same lifecycle.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work may be begun.
    pub fn stopping(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when what is not finished is dropped.
    pub fn dropping(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Asks all tasks to finish, as the first signal does.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Runs a task until it ends, which it should do soon after [`Self::stopping`] is cancelled and not before.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let lifecycle = self.clone();
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
                () = lifecycle.hard.cancelled() => {
                    tracing::warn!(task = name, "task dropped before it had finished");
                    return;
                }
            };
            lifecycle.ended(name, ended.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))));
        });
    }

    fn ended(&self, name: &'static str, result: anyhow::Result<()>) {
        match result {
            Ok(()) if self.soft.is_cancelled() => return tracing::debug!(task = name, "task finished"),
            Ok(()) => tracing::error!(task = name, "task ended on its own; the hub stops"),
            Err(error) => {
                tracing::error!(task = name, error = format!("{error:#}"), "task failed; the hub stops");
            }
        }
        self.failed.store(true, Ordering::Relaxed);
        self.soft.cancel();
    }

    /// Waits for the end: until the first of `signals` or a failed task, and then for the tasks, at most `deadline`.
    pub async fn run(self, deadline: Duration, mut signals: mpsc::Receiver<()>) -> ExitCode {
        tokio::select! {
            Some(()) = signals.recv() => tracing::info!("stopping; a second signal drops what is not finished"),
            () = self.soft.cancelled() => {}
        }
        self.soft.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            Some(()) = signals.recv() => tracing::warn!("second signal; dropping what is not finished"),
            () = tokio::time::sleep(deadline) => tracing::warn!("deadline reached; dropping what is not finished"),
        }
        self.hard.cancel();
        self.tasks.wait().await;
        if self.failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// One message for each SIGINT or SIGTERM that this process gets from now on. To be asked for before anybody can learn
/// that the process is there: until then a signal ends it where it stands.
pub fn signals() -> std::io::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (sender, receiver) = mpsc::channel(2);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn code(code: ExitCode) -> String {
        format!("{code:?}")
    }

    #[tokio::test]
    async fn the_first_signal_lets_tasks_finish() {
        let lifecycle = Lifecycle::new();
        let (finished, mut seen) = mpsc::channel(1);
        let stopping = lifecycle.stopping();
        lifecycle.spawn("worker", async move {
            stopping.cancelled().await;
            finished.send(()).await?;
            Ok(())
        });
        let (signal, signals) = mpsc::channel(2);
        signal.send(()).await.unwrap();
        assert_eq!(code(lifecycle.run(LONG, signals).await), code(ExitCode::SUCCESS));
        assert_eq!(seen.recv().await, Some(()));
    }

    #[tokio::test]
    async fn the_second_signal_drops_a_task_that_does_not_finish() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stubborn", std::future::pending());
        let (signal, signals) = mpsc::channel(2);
        signal.send(()).await.unwrap();
        signal.send(()).await.unwrap();
        assert_eq!(code(lifecycle.run(LONG, signals).await), code(ExitCode::SUCCESS));
    }

    #[tokio::test]
    async fn the_deadline_drops_a_task_that_does_not_finish() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stubborn", std::future::pending());
        lifecycle.stop();
        let (_signal, signals) = mpsc::channel(2);
        assert_eq!(code(lifecycle.run(Duration::from_millis(1), signals).await), code(ExitCode::SUCCESS));
    }

    #[tokio::test]
    async fn a_task_that_ends_on_its_own_stops_the_hub_with_code_1() {
        let ends: [fn() -> anyhow::Result<()>; 3] = [|| Ok(()), || anyhow::bail!("no"), || panic!("broken")];
        for end in ends {
            let lifecycle = Lifecycle::new();
            let stopping = lifecycle.stopping();
            lifecycle.spawn("other", async move {
                stopping.cancelled().await;
                Ok(())
            });
            lifecycle.spawn("ending", async move { end() });
            let (_signal, signals) = mpsc::channel(2);
            assert_eq!(code(lifecycle.run(LONG, signals).await), code(ExitCode::FAILURE));
        }
    }
}
