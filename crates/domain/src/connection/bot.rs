//! The bot's own chat with a person: where it is, and whether the bot may write there.
//!
//! **Invariant.** What is said of a conversation that is no longer the person's changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Event};
use crate::PersonId;

/// The bot as this person has it, or had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    pub conversation: Conversation,
    pub reachable: Reachable,
}

/// What the bot needs to write to a person of its own accord (a *conversation reference*). Names of Microsoft's, none of
/// them personal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// `28:` and the bot's application id.
    pub bot_id: String,
    /// Where the Bot Connector takes messages for this conversation; the newest one counts.
    pub service_url: String,
    pub conversation_id: String,
    /// `29:…`: the person, as this bot knows them.
    pub user_id: String,
    /// The language in which Teams speaks to the person (BCP 47), where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The activity from which this is known.
    pub activity_id: String,
}

/// Whether the bot may write to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reachable {
    Installed,
    Removed,
    Blocked,
}

impl Conversation {
    /// Whether the other one says the same, whatever it is known from.
    fn agrees(&self, other: &Self) -> bool {
        let known_from_there = Self { activity_id: other.activity_id.clone(), ..self.clone() };
        known_from_there == *other
    }
}

impl Connection {
    pub(super) fn install_bot(&self, person: PersonId, conversation: Conversation) -> Vec<Event> {
        let known = self.bot.as_ref().is_some_and(|bot| {
            bot.reachable == Reachable::Installed && bot.conversation.agrees(&conversation)
        });
        if known { vec![] } else { vec![Event::BotInstalled { person, conversation }] }
    }

    pub(super) fn remove_bot(&self, conversation_id: &str) -> Vec<Event> {
        match self.bot_in(conversation_id) {
            Some(Reachable::Installed | Reachable::Blocked) => vec![Event::BotRemoved {}],
            Some(Reachable::Removed) | None => vec![],
        }
    }

    pub(super) fn block_bot(&self, conversation_id: &str) -> Vec<Event> {
        match self.bot_in(conversation_id) {
            Some(Reachable::Installed) => vec![Event::BotBlocked {}],
            Some(Reachable::Removed | Reachable::Blocked) | None => vec![],
        }
    }

    pub(super) fn lose_bot(&mut self, reachable: Reachable) {
        if let Some(bot) = &mut self.bot {
            bot.reachable = reachable;
        }
    }

    /// Whether the bot may write in this conversation, if it is the person's.
    fn bot_in(&self, conversation_id: &str) -> Option<Reachable> {
        let bot = self.bot.as_ref().filter(|bot| bot.conversation.conversation_id == conversation_id)?;
        Some(bot.reachable)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Command, *};
    use crate::{aggregate::testing::given, testing};

    fn conversation(service_url: &str, activity_id: &str) -> Conversation {
        Conversation {
            bot_id: "28:app".into(),
            service_url: service_url.into(),
            conversation_id: "a:1".into(),
            user_id: "29:1".into(),
            locale: None,
            activity_id: activity_id.into(),
        }
    }

    fn install(service_url: &str, activity_id: &str) -> Command {
        let conversation = conversation(service_url, activity_id);
        Command::InstallBot { person: testing::person(1), conversation }
    }

    fn installed(service_url: &str, activity_id: &str) -> Event {
        let conversation = conversation(service_url, activity_id);
        Event::BotInstalled { person: testing::person(1), conversation }
    }

    fn remove() -> Command {
        Command::RemoveBot { conversation_id: "a:1".into() }
    }

    fn block() -> Command {
        Command::BlockBot { conversation_id: "a:1".into() }
    }

    #[test]
    fn both_words_of_one_installation_record_one_event() {
        given::<Connection>([]).when(install("https://a/", "1")).then([installed("https://a/", "1")]);
        given::<Connection>([installed("https://a/", "1")]).when(install("https://a/", "2")).then([]);
    }

    #[test]
    fn the_newest_service_url_counts() {
        given::<Connection>([installed("https://a/", "1")])
            .when(install("https://b/", "2"))
            .then([installed("https://b/", "2")]);
    }

    #[test]
    fn who_removed_or_blocked_the_bot_and_writes_again_has_it_again() {
        for lost in [Event::BotRemoved {}, Event::BotBlocked {}] {
            given::<Connection>([installed("https://a/", "1"), lost])
                .when(install("https://a/", "2"))
                .then([installed("https://a/", "2")]);
        }
    }

    #[test]
    fn removing_and_blocking_are_recorded_once_and_a_removed_bot_is_not_blocked() {
        let there = installed("https://a/", "1");
        given::<Connection>([there.clone()]).when(remove()).then([Event::BotRemoved {}]);
        given::<Connection>([there.clone()]).when(block()).then([Event::BotBlocked {}]);
        given::<Connection>([there.clone(), Event::BotBlocked {}]).when(block()).then([]);
        given::<Connection>([there.clone(), Event::BotBlocked {}])
            .when(remove())
            .then([Event::BotRemoved {}]);
        given::<Connection>([there, Event::BotRemoved {}]).when(block()).then([]);
        given::<Connection>([]).when(remove()).then([]);
    }

    #[test]
    fn what_is_said_of_another_conversation_changes_nothing() {
        let elsewhere = Command::RemoveBot { conversation_id: "a:2".into() };
        given::<Connection>([installed("https://a/", "1")]).when(elsewhere).then([]);
    }
}
