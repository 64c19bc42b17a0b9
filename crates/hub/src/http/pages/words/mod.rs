//! Everything that the pages say, in every language that the bot speaks too.
//!
//! **Invariants.** Each language has all words; the compiler sees to it. What is a setting, or a limit of the code, is
//! told as it is.

mod english;
mod german;

use domain::sign_in::FailureReason;

use super::said::Said;
use crate::{bot::catalogue::Language, hub::Hub, services::consent};

/// The words of one language. What a sentence has in its middle is handed in; it is plain text both ways.
pub(super) struct Words {
    pub(super) connect: &'static str,
    /// In front of whose panel it is, and behind.
    pub(super) for_whom: (&'static str, &'static str),
    pub(super) organisation: &'static str,
    pub(super) by_microsoft: &'static str,
    pub(super) sign_in_with_microsoft: &'static str,
    /// By the product's name.
    pub(super) by_password: fn(Option<&str>) -> String,
    pub(super) user_name: &'static str,
    pub(super) password: &'static str,
    pub(super) second_factor: &'static str,
    pub(super) sign_in: &'static str,
    /// In front of the link to the page for an administrator, and on it.
    pub(super) approval: (&'static str, &'static str),
    /// Behind it, by the days for which it is good.
    pub(super) approval_link: fn(u64) -> String,
    /// The sign-in page of a product's own link.
    pub(super) sign_in_for_messages: &'static str,
    pub(super) continue_with_microsoft: &'static str,
    pub(super) what_is_asked: &'static str,
    pub(super) one_more_step: &'static str,
    pub(super) type_the_code: &'static str,
    pub(super) only_if: fn(&str) -> String,
    /// By whose account it is.
    pub(super) tell_nobody: fn(Option<&str>) -> String,
    pub(super) code_is_good: fn(&Facts) -> String,
    pub(super) approve: &'static str,
    pub(super) approval_wanted: &'static str,
    pub(super) rights: &'static str,
    pub(super) continue_to_microsoft: &'static str,
    /// By the organisation's name and id.
    pub(super) only_administrators: fn(&str) -> String,
    pub(super) try_again: &'static str,
    /// Title and text of what went wrong on our side.
    pub(super) broken: (&'static str, &'static str),
    /// Title and text.
    pub(super) said: fn(&Said, &Facts) -> (&'static str, String),
    pub(super) failure: fn(FailureReason, &Facts) -> String,
}

/// What the words tell of the hub's settings and limits.
pub(super) struct Facts {
    /// For how long a sign-in link and its code are good.
    pub(super) link_minutes: u64,
    /// How long a try at a password counts.
    pub(super) stretch_minutes: u64,
    pub(super) approval_link_days: u64,
    /// From the administrator's button to Microsoft and back.
    pub(super) approval_minutes: u64,
}

impl Facts {
    pub(super) fn of(hub: &Hub) -> Self {
        Self {
            link_minutes: hub.config.sign_in.link_life.as_secs() / 60,
            stretch_minutes: hub.config.password.stretch.as_secs() / 60,
            approval_link_days: consent::LINK_LIFE.as_secs() / (24 * 60 * 60),
            approval_minutes: consent::STATE_LIFE.as_secs() / 60,
        }
    }
}

impl Words {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &english::WORDS,
            Language::German => &german::WORDS,
        }
    }
}
