//! What the hub posts as the person comes back to the bot as if the person had written to it. It is known again here, so
//! that the bot reacts to nothing that the hub said itself.
//!
//! It may come back before Graph's answer, and changed: Teams rewrites markup, spaces and quotes. So what is compared is
//! the letters and digits, with those of what was given to Graph lately and may have arrived.
//!
//! **Invariant.** A command of the bot is never taken for an echo: a message that is one is not accepted. Nor is one that
//! is plainly a one-time code; but eight letters may be two words, so those are accepted, and known again when they come back.

use std::{collections::HashSet, time::Duration};

use anyhow::Result;
use domain::{
    MessageId, PersonId, Surface, Timestamp,
    activity::BotCommand,
    aggregate::decode,
    lane::{Event, Lane},
    message::{self, Message},
};
use microsoft::{ChatMessage, bot::folded};
use store::Direction;

use crate::{
    bot::commands,
    commands::{metadata, stream},
    hub::Hub,
    services::messages::{self, Posting},
};

/// How long something that was delivered may take to come back.
const RECENT: Duration = Duration::from_mins(10);
/// Events of a lane that are looked through, from its end.
const EVENTS_MAX: usize = 256;
/// Messages that a text is compared with, the newest first.
const MESSAGES_MAX: usize = 32;

/// The longest name of an entity, with its semicolon.
const ENTITY_MAX: usize = 10;

/// Whether a text that came from this person is one that the hub posted in their name.
pub async fn is_echo(hub: &Hub, person: PersonId, text: &str) -> Result<bool> {
    if matches!(commands::said(text), Some(command) if command != BotCommand::Code) {
        return Ok(false);
    }
    for id in perhaps_posted(hub, person).await? {
        let Some((_, message::Event::Accepted(accepted))) = hub.commands.beginning::<Message>(id).await?
        else {
            continue;
        };
        let posted = messages::render(hub, id, &accepted).await?;
        if posted.is_some_and(|Posting { message, .. }| agree(&message, text)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the bot would take a message for a command or a code, should it come back.
pub fn is_command(message: &ChatMessage) -> bool {
    let text = words(message);
    [text, &visible(text)].into_iter().any(|text| match commands::said(text) {
        Some(BotCommand::Code) => is_plainly_a_code(text),
        command => command.is_some(),
    })
}

/// Whether a text of the shape of a code can hardly be anything else: with a digit, and in one part or two of one length.
fn is_plainly_a_code(text: &str) -> bool {
    let folded = folded(text);
    let parts: Vec<_> = folded.split([' ', '-']).map(str::len).collect();
    matches!(parts[..], [8] | [4, 4]) && folded.contains(|c: char| c.is_ascii_digit())
}

/// What was given to Graph for this person and may have arrived: what is open or unknown, and what was delivered lately.
async fn perhaps_posted(hub: &Hub, person: PersonId) -> Result<Vec<MessageId>> {
    let lane = stream::<Lane>(person.connection());
    let events = hub.store.read_stream(&lane, Direction::Backward, u64::MAX, EVENTS_MAX).await?;
    let now = hub.clock.now();
    let mut posted = Posted::default();
    for recorded in &events {
        let event = decode::<Lane>(&recorded.name, &recorded.data)?;
        posted.before(&event, metadata(recorded)?.recorded_at, now);
    }
    Ok(posted.messages)
}

/// Found from the end of a lane to its beginning.
#[derive(Default)]
struct Posted {
    messages: Vec<MessageId>,
    /// Attempts of which something is known: not that they left anything in doubt.
    concluded: HashSet<(MessageId, u32)>,
    arrived: HashSet<(MessageId, u32)>,
}

impl Posted {
    fn before(&mut self, event: &Event, at: Timestamp, now: Timestamp) {
        match event {
            Event::Delivered { message, attempt, .. } => _ = self.arrived.insert((*message, *attempt)),
            Event::Deferred { message, attempt, .. }
            | Event::Parked { message, attempt, .. }
            | Event::Rejected { message, attempt, .. }
            | Event::DeadLettered { message, attempt, .. } => {
                self.concluded.insert((*message, *attempt));
            }
            Event::DeliveryStarted { message, attempt, surface: Surface::Graph, .. } => {
                let of = (*message, *attempt);
                let late = self.arrived.contains(&of) && now >= at + RECENT;
                if !late && !self.concluded.contains(&of) && self.messages.len() < MESSAGES_MAX {
                    self.messages.push(*message);
                }
            }
            Event::DeliveryStarted { surface: Surface::Bot, .. }
            | Event::Unknown { .. }
            | Event::Resent { .. }
            | Event::Resumed { .. }
            | Event::Expired { .. } => {}
        }
    }
}

/// Whether this is what became of the message on its way. A card may come back without any words.
fn agree(message: &ChatMessage, text: &str) -> bool {
    let back = essence(text);
    let alone = back.is_empty() && matches!(message, ChatMessage::Card { .. });
    alone || back == essence(words(message))
}

/// The words that a message is seen by.
fn words(message: &ChatMessage) -> &str {
    match message {
        ChatMessage::Text(text) | ChatMessage::Html(text) => text,
        ChatMessage::Card { summary_text, .. } => summary_text,
    }
}

/// Letters and digits in lower case; of a text that has none, what else can be seen.
fn essence(text: &str) -> String {
    let seen = folded(&visible(text));
    let essence: String = seen.chars().filter(|c| c.is_alphanumeric()).collect();
    if essence.is_empty() { seen } else { essence }
}

/// Without markup, which may be escaped.
fn visible(text: &str) -> String {
    let plain = unescaped(text);
    let mut rest = plain.as_str();
    let mut seen = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('<') {
        seen.push_str(before);
        let begins = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        let (between, after) = match begins.then(|| after.split_once('>')).flatten() {
            Some((_, after)) => (' ', after),
            None => ('<', after),
        };
        seen.push(between);
        rest = after;
    }
    unescaped(&(seen + rest))
}

/// With characters in the place of their entities.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let end = after.bytes().take(ENTITY_MAX).position(|b| b == b';');
        let entity = end.and_then(|end| Some((entity(&after[..end])?, &after[end + 1..])));
        let (character, after) = entity.unwrap_or(('&', after));
        plain.push(character);
        rest = after;
    }
    plain + rest
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            return char::from_u32(code.ok()?);
        }
    })
}

#[cfg(test)]
mod tests {
    use domain::Diagnosis;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn card() -> ChatMessage {
        let (summary_text, card) = ("Revenue: 72 %".into(), json!({}));
        ChatMessage::Card { summary_text, card, attachment_id: Uuid::nil() }
    }

    #[test]
    fn what_teams_rewrote_is_known_again() {
        let html = ChatMessage::Html("<p>Your check-in is <b>due</b> &amp; late.</p>".into());
        for back in [
            "Your check-in is due & late.",
            "<p>Your check-in is&nbsp;<strong>due</strong> &amp; late.</p>",
            "<div><div>Your check\u{2011}in is <b>due</b> & late.</div></div>",
            "&lt;p&gt;Your check-in is due &amp;amp; late.&lt;/p&gt;",
        ] {
            assert!(agree(&html, back), "{back}");
        }
        assert!(agree(&ChatMessage::Text("1 < 2 \u{201c}ok\u{201d}".into()), "1 &lt; 2 &quot;ok&quot;"));
        assert!(agree(&ChatMessage::Text("🎉".into()), "<p>🎉</p>"));
        assert!(agree(&card(), "Revenue: 72 %<attachment id=\"x\"></attachment>") && agree(&card(), ""));
    }

    #[test]
    fn what_a_person_writes_is_not() {
        let text = ChatMessage::Text("Your check-in is due.".into());
        for own in ["Your check-in is not due.", "thanks", ""] {
            assert!(!agree(&text, own), "{own}");
        }
        assert!(!agree(&card(), "thanks") && !agree(&ChatMessage::Text("🎉".into()), "👍"));
    }

    #[test]
    fn a_message_that_the_bot_would_obey_is_known_in_any_dress() {
        for text in ["login", " Status\u{a0}", "LOGOUT", "help", "0123-abcd", "7abcdefg", "ABCD 123X"] {
            assert!(is_command(&ChatMessage::Text(text.into())), "{text}");
        }
        for html in ["<p>login</p>", "<div><b>help</b>&nbsp;</div>", "&lt;p&gt;status&lt;/p&gt;"] {
            assert!(is_command(&ChatMessage::Html(html.into())), "{html}");
        }
        for text in ["login now", "Good work", "message 1", "Status?", "Your status is due", "card"] {
            assert!(!is_command(&ChatMessage::Text(text.into())), "{text}");
        }
    }

    #[test]
    fn only_what_may_have_arrived_by_graph_can_come_back() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let id = |n| MessageId(Uuid::from_u128(n));
        let started = |n, surface| Event::DeliveryStarted {
            message: id(n),
            attempt: 1,
            surface,
            grant: None,
            generation: None,
            template: None,
            content_hash: None,
            hub: domain::HubId(Uuid::nil()),
            epoch: 1,
            timeout_ms: 1,
            client_request_id: Uuid::nil(),
        };
        let delivered = |n| Event::Delivered {
            message: id(n),
            attempt: 1,
            chat_id: "c".into(),
            provider_message_id: Some("1".into()),
            provider_request_id: None,
        };
        let diagnosis = Diagnosis::default;
        let events = [
            (0, started(1, Surface::Graph)),
            (1, delivered(1)),
            (2, started(2, Surface::Graph)),
            (3, Event::Unknown { message: id(2), attempt: 1, diagnosis: diagnosis() }),
            (700, started(3, Surface::Graph)),
            (701, delivered(3)),
            (702, started(4, Surface::Bot)),
            (703, delivered(4)),
            (704, started(5, Surface::Graph)),
            (705, Event::DeadLettered { message: id(5), attempt: 1, diagnosis: diagnosis() }),
            (706, started(6, Surface::Graph)),
        ];
        let mut posted = Posted::default();
        for (second, event) in events.iter().rev() {
            posted.before(event, at(*second), at(720));
        }
        assert_eq!(posted.messages, [id(6), id(3), id(2)]);
    }
}
