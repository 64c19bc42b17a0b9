//! The bot's own chat with a person: where it is, and whether the bot may write there.
//!
//! **Invariant.** What is said of a conversation that is no longer the person's changes nothing, and neither does what comes
//! late: Teams' words are ordered by its own times, and where two are of one moment the bot is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Event};
use crate::{PersonId, Timestamp};

/// The bot as this person has it, or had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    pub conversation: Conversation,
    pub reachable: Reachable,
    /// Up to when Teams' words on it are known, by Teams' own clock; `None` where it told no time.
    pub told_at: Option<Timestamp>,
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

/// What shows that the person has the bot.
#[derive(Clone, Debug)]
pub struct Installation {
    pub person: PersonId,
    pub conversation: Conversation,
    /// When that was, by Teams' own clock, where it told.
    pub at: Option<Timestamp>,
    /// Teams says that it was installed. Otherwise the person wrote, which shows that it had been.
    pub installed: bool,
}

impl Bot {
    /// Whether this was before what is known already.
    fn is_late(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| self.told_at.is_some_and(|told_at| at < told_at))
    }
}

impl Connection {
    /// That the person wrote is not recorded each time; that it was installed is, where that is later than what is known,
    /// so that a removal which went before is seen to be late.
    pub(super) fn install_bot(&self, installation: Installation) -> Vec<Event> {
        let Installation { person, conversation, at, installed } = installation;
        let news = self.bot.as_ref().is_none_or(|bot| {
            let known = bot.reachable == Reachable::Installed && bot.conversation.agrees(&conversation);
            !bot.is_late(at) && (!known || installed && at > bot.told_at)
        });
        if news { vec![Event::BotInstalled { person, conversation, at }] } else { vec![] }
    }

    /// `at` is when it was removed, by Teams' own clock; `None` where Teams has just answered that the bot is not there.
    pub(super) fn remove_bot(&self, conversation_id: &str, at: Option<Timestamp>) -> Vec<Event> {
        let late = |bot: &Bot| at.is_some_and(|at| bot.told_at.is_some_and(|told_at| at <= told_at));
        match self.bot_in(conversation_id) {
            Some(Reachable::Installed | Reachable::Blocked) if !self.bot.as_ref().is_some_and(late) => {
                vec![Event::BotRemoved { at }]
            }
            _ => vec![],
        }
    }

    pub(super) fn block_bot(&self, conversation_id: &str) -> Vec<Event> {
        match self.bot_in(conversation_id) {
            Some(Reachable::Installed) => vec![Event::BotBlocked {}],
            Some(Reachable::Removed | Reachable::Blocked) | None => vec![],
        }
    }

    pub(super) fn have_bot(&mut self, conversation: Conversation, at: Option<Timestamp>) {
        let told_at = at.max(self.bot.as_ref().and_then(|bot| bot.told_at));
        self.bot = Some(Bot { conversation, reachable: Reachable::Installed, told_at });
    }

    pub(super) fn lose_bot(&mut self, reachable: Reachable, at: Option<Timestamp>) {
        if let Some(bot) = &mut self.bot {
            bot.reachable = reachable;
            bot.told_at = at.max(bot.told_at);
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
        told(service_url, activity_id, None)
    }

    fn told(service_url: &str, activity_id: &str, at: Option<Timestamp>) -> Command {
        let conversation = conversation(service_url, activity_id);
        let installation = Installation { person: testing::person(1), conversation, at, installed: true };
        Command::InstallBot(installation)
    }

    /// The same bot, as Teams tells of it at that time.
    fn installed_at(seconds: i64) -> Event {
        let conversation = conversation("https://a/", "1");
        Event::BotInstalled { person: testing::person(1), conversation, at: Some(testing::at(seconds)) }
    }

    fn install_at(seconds: i64) -> Command {
        told("https://a/", "1", Some(testing::at(seconds)))
    }

    fn removed_at(seconds: i64) -> Event {
        Event::BotRemoved { at: Some(testing::at(seconds)) }
    }

    fn remove_at(seconds: i64) -> Command {
        Command::RemoveBot { conversation_id: "a:1".into(), at: Some(testing::at(seconds)) }
    }

    fn installed(service_url: &str, activity_id: &str) -> Event {
        let conversation = conversation(service_url, activity_id);
        Event::BotInstalled { person: testing::person(1), conversation, at: None }
    }

    fn remove() -> Command {
        Command::RemoveBot { conversation_id: "a:1".into(), at: None }
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
        for lost in [Event::BotRemoved { at: None }, Event::BotBlocked {}] {
            given::<Connection>([installed("https://a/", "1"), lost])
                .when(install("https://a/", "2"))
                .then([installed("https://a/", "2")]);
        }
    }

    #[test]
    fn removing_and_blocking_are_recorded_once_and_a_removed_bot_is_not_blocked() {
        let there = installed("https://a/", "1");
        given::<Connection>([there.clone()]).when(remove()).then([Event::BotRemoved { at: None }]);
        given::<Connection>([there.clone()]).when(block()).then([Event::BotBlocked {}]);
        given::<Connection>([there.clone(), Event::BotBlocked {}]).when(block()).then([]);
        given::<Connection>([there.clone(), Event::BotBlocked {}])
            .when(remove())
            .then([Event::BotRemoved { at: None }]);
        given::<Connection>([there, Event::BotRemoved { at: None }]).when(block()).then([]);
        given::<Connection>([]).when(remove()).then([]);
    }

    #[test]
    fn what_is_said_of_another_conversation_changes_nothing() {
        let elsewhere = Command::RemoveBot { conversation_id: "a:2".into(), at: None };
        given::<Connection>([installed("https://a/", "1")]).when(elsewhere).then([]);
    }

    #[test]
    fn a_removal_that_comes_after_the_next_installation_is_late() {
        given::<Connection>([installed_at(1)]).when(install_at(3)).then([installed_at(3)]);
        given::<Connection>([installed_at(1), installed_at(3)]).when(remove_at(2)).then([]);
        given::<Connection>([installed_at(1), installed_at(3)]).when(remove_at(4)).then([removed_at(4)]);
    }

    #[test]
    fn an_installation_that_comes_after_its_removal_is_late() {
        let gone = [installed_at(1), removed_at(4)];
        given::<Connection>(gone.clone()).when(install_at(3)).then([]);
        given::<Connection>(gone).when(install_at(5)).then([installed_at(5)]);
    }

    #[test]
    fn of_an_installation_and_a_removal_at_one_moment_the_installation_stays() {
        given::<Connection>([installed_at(2)]).when(remove_at(2)).then([]);
        given::<Connection>([installed_at(1), removed_at(2)]).when(install_at(2)).then([installed_at(2)]);
    }

    #[test]
    fn that_the_person_writes_is_recorded_only_where_it_was_not_known() {
        let wrote = |seconds| {
            let Command::InstallBot(installation) = install_at(seconds) else { unreachable!() };
            Command::InstallBot(Installation { installed: false, ..installation })
        };
        given::<Connection>([]).when(wrote(1)).then([installed_at(1)]);
        given::<Connection>([installed_at(1)]).when(wrote(9)).then([]);
        given::<Connection>([installed_at(1), removed_at(2)]).when(wrote(3)).then([installed_at(3)]);
    }

    #[test]
    fn what_microsoft_answers_now_is_never_late() {
        given::<Connection>([installed_at(2)]).when(remove()).then([Event::BotRemoved { at: None }]);
        given::<Connection>([installed_at(2), Event::BotRemoved { at: None }]).when(install_at(1)).then([]);
    }
}
