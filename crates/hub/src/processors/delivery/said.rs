//! What the messages of a lane say, as it was accepted.

use std::{collections::VecDeque, iter};

use domain::{MessageId, message::Message};
use projections::due::MessageRow;
use store::Position;

use crate::{commands::First, hub::Hub};

/// The first message is read by itself; of those behind it, as many are read ahead as were taken already, since a lane that
/// goes on mostly does so for a while. On a shared store none are: each would be a call of its own, before any is needed.
#[derive(Default)]
pub(super) struct Said {
    taken: usize,
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
            let ahead = if hub.store.is_ours_alone() { self.taken } else { 0 };
            // What goes again has no place of its own.
            let behind = behind.iter().take(ahead).take_while(|(_, row)| row.position > 0);
            let places =
                iter::once((message, row.position)).chain(behind.map(|(id, row)| (*id, row.position)));
            let places: Vec<_> = places.map(|(id, position)| (id, Position(position))).collect();
            let said = hub.commands.beginnings_at::<Message>(&places).await?;
            self.read = places.into_iter().map(|(id, _)| id).zip(said).collect();
        }
        self.taken += 1;
        self.read.pop_front().map_or(Ok(None), |(_, said)| said)
    }
}
