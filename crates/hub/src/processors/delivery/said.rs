//! What the messages of a lane say, as it was accepted.

use std::{collections::VecDeque, iter};

use domain::{MessageId, message::Message};
use projections::due::MessageRow;
use store::Position;

use crate::{commands::First, hub::Hub};

/// The first message is read by itself; once another is asked for, all that are left at the head are read together, since a
/// lane that goes on mostly does so for a while.
#[derive(Default)]
pub(super) struct Said {
    goes_on: bool,
    read: VecDeque<(MessageId, First<Message>)>,
}

impl Said {
    pub(super) async fn take(
        &mut self,
        hub: &Hub,
        message: MessageId,
        row: &MessageRow,
        behind: &VecDeque<(MessageId, MessageRow)>,
    ) -> First<Message> {
        if self.read.front().is_none_or(|(next, _)| *next != message) {
            // On a shared store each would be a call of its own, before any of them is needed.
            let together = self.goes_on && hub.store.is_ours_alone();
            let behind = behind.iter().filter(|_| together);
            let places =
                iter::once((message, row.position)).chain(behind.map(|(id, row)| (*id, row.position)));
            let places: Vec<_> = places.map(|(id, position)| (id, Position(position))).collect();
            let said = hub.commands.beginnings_at::<Message>(&places).await?;
            self.read = places.into_iter().map(|(id, _)| id).zip(said).collect();
        }
        self.goes_on = true;
        self.read.pop_front().map_or(Ok(None), |(_, said)| said)
    }
}
