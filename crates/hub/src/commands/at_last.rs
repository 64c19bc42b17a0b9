//! Commands that are repeated until the store takes them: for what would be lost, or never be known, otherwise.

use std::{fmt, time::Duration};

use domain::{Aggregate, CommandId};
use store::StoreError;

use super::{Answer, Commands, Context, Failure};

/// Between tries.
const PAUSE: Duration = Duration::from_millis(200);

impl Commands {
    /// Like [`Commands::execute`], however long the store takes. Where an answer was lost on the way, and the command is
    /// found to have been taken, that is `AlreadyDone`.
    pub async fn execute_at_last<A>(
        &self,
        id: impl fmt::Display + Copy,
        command_id: &CommandId,
        context: &Context,
        command: A::Command,
    ) -> Answer<A>
    where
        A: Aggregate,
        A::Command: Clone,
    {
        loop {
            match self.execute::<A>(id, command_id, context, command.clone()).await {
                Err(Failure::Store(error @ (StoreError::Unavailable(_) | StoreError::Uncertain(_)))) => {
                    tracing::error!(stream = format!("{}-{id}", A::CATEGORY), %error, "A command could not be recorded; trying again.");
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}
