//! A stream's state as commands are decided on it.

use std::collections::VecDeque;

use domain::{Aggregate, CommandId, Metadata, Timestamp, Undecodable, aggregate::decode};
use store::{Appended, Position, Recorded};
use uuid::Uuid;

/// Command ids remembered per stream; what an older repeat means is stopped by the attempt or generation that it names.
const COMMAND_IDS_MAX: usize = 256;

/// A stream's state, and where in the stream it was so.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub state: A,
    /// `None` where the stream has no event.
    pub revision: Option<u64>,
    /// Of the stream's last event.
    pub position: Position,
    /// The id of the stream's last event.
    pub last: Option<Uuid>,
    pub(super) recorded_at: Timestamp,
    pub(super) command_ids: VecDeque<CommandId>,
}

impl<A: Aggregate> Default for Loaded<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            revision: None,
            position: Position::START,
            last: None,
            recorded_at: Timestamp::default(),
            command_ids: VecDeque::new(),
        }
    }
}

impl<A: Aggregate> Loaded<A> {
    pub(super) fn and(mut self, recorded: &Recorded) -> Result<Self, Undecodable> {
        let metadata = metadata(recorded)?;
        self.state = self.state.evolve(decode::<A>(&recorded.name, &recorded.data)?);
        self.revision = Some(recorded.revision);
        self.position = recorded.position;
        self.last = Some(recorded.id);
        self.recorded_at = self.recorded_at.max(metadata.recorded_at);
        self.remember(&metadata.command_id);
        Ok(self)
    }

    pub(super) fn after(
        mut self,
        events: &[A::Event],
        last: Option<Uuid>,
        appended: Appended,
        recorded_at: Timestamp,
        command_id: &CommandId,
    ) -> Self {
        self.state = events.iter().cloned().fold(self.state, A::evolve);
        self.revision = Some(appended.revision);
        self.position = appended.position;
        self.last = last;
        self.recorded_at = recorded_at;
        self.remember(command_id);
        self
    }

    /// Whether the command was taken, as far as the stream's newest commands tell.
    pub fn knows(&self, command_id: &CommandId) -> bool {
        self.command_ids.contains(command_id)
    }

    fn remember(&mut self, command_id: &CommandId) {
        if self.command_ids.back() == Some(command_id) {
            return;
        }
        if self.command_ids.len() == COMMAND_IDS_MAX {
            self.command_ids.pop_front();
        }
        self.command_ids.push_back(command_id.clone());
    }
}

/// The metadata of a recorded event of ours.
pub fn metadata(recorded: &Recorded) -> Result<Metadata, Undecodable> {
    serde_json::from_slice(&recorded.metadata).map_err(|error| Undecodable {
        name: recorded.name.to_string(),
        why: format!("metadata: {:?} at column {}", error.classify(), error.column()),
    })
}
