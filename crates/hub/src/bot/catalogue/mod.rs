//! Everything that the bot says, in every language that it speaks.
//!
//! **Invariant.** Each language has words for each notice; the compiler sees to it. Personal data, links and codes stand
//! in what is said and nowhere else, so a notice has no debug output.

mod english;
mod german;

use domain::{connection::Status, notice::Kind};
use microsoft::bot::{OutgoingActivity, TextFormat};
use serde_json::Value;
use url::Url;

use super::cards;

/// Something that the bot says.
pub enum Notice {
    /// What the bot can do.
    Help,
    /// The way to the panel.
    Login {
        url: Url,
        /// For how long it is good.
        minutes: u64,
        /// Of who is connected already: the product's accounts.
        connected: Option<Vec<String>>,
    },
    Status {
        standing: Standing,
        /// The product's accounts of this person.
        accounts: Vec<String>,
    },
    LoggedOut,
    NotLinked,
    /// A sign-in brought a link.
    Linked {
        accounts: Vec<String>,
    },
    CodeWrong {
        left: u32,
    },
    /// No more tries of the code.
    CodeVoid,
    /// What was signed in to is somebody else's.
    LinkRefused,
    /// To the person who is linked: somebody else tried to link the account.
    LinkAttempted,
    /// An administrator says that the organisation consented.
    ConsentReported,
    PersonalChatOnly,
    TenantNotAdmitted,
}

/// How somebody stands with the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    NotLinked,
    /// Linked without a Microsoft token, or with a good one.
    Linked,
    /// Linked, and Microsoft wants to see them again.
    SignInAgain,
    ConsentRequired,
    Suspended,
}

impl Standing {
    pub fn of(status: Status) -> Self {
        match status {
            Status::Absent | Status::Unlinked => Self::NotLinked,
            Status::Linked | Status::Active => Self::Linked,
            Status::ReauthorizationRequired => Self::SignInAgain,
            Status::ConsentRequired => Self::ConsentRequired,
            Status::Suspended => Self::Suspended,
        }
    }
}

/// A language that the bot speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    German,
}

impl Language {
    /// The language of a locale such as `de-AT`; English where it is another one, or not known.
    pub fn of(locale: Option<&str>) -> Self {
        locale.and_then(Self::named).unwrap_or(Self::English)
    }

    /// The language of a locale, if it is one of these.
    pub fn named(locale: &str) -> Option<Self> {
        let language = locale.split('-').next()?;
        [Self::English, Self::German].into_iter().find(|known| language.eq_ignore_ascii_case(known.tag()))
    }

    /// The one of these that a browser likes best, by its `Accept-Language` (RFC 9110, section 12.5.4); English where it
    /// names none of them.
    pub fn accepted(header: &str) -> Self {
        let weighed = header.split(',').filter_map(|wish| {
            let (range, weight) = wish.split_once(';').unwrap_or((wish, "q=1"));
            let weight: f32 =
                weight.trim().strip_prefix("q=")?.parse().ok().filter(|weight| *weight > 0.0)?;
            Some((Self::named(range.trim())?, weight))
        });
        // Of equals the first.
        let best = weighed.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(Self::English, |(language, _)| language)
    }

    /// As in `Accept-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Plain text; lines are parted by `\n`.
    fn text(self, notice: &Notice) -> String {
        match self {
            Self::English => english::text(notice),
            Self::German => german::text(notice),
        }
    }

    fn labels(self) -> &'static Labels {
        match self {
            Self::English => &english::LABELS,
            Self::German => &german::LABELS,
        }
    }
}

/// What stands on buttons.
pub(super) struct Labels {
    pub(super) sign_in: &'static str,
    pub(super) status: &'static str,
    pub(super) log_out: &'static str,
}

impl Notice {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Help => Kind::Help,
            Self::Login { .. } => Kind::Login,
            Self::Status { .. } => Kind::Status,
            Self::LoggedOut => Kind::LoggedOut,
            Self::NotLinked => Kind::NotLinked,
            Self::Linked { .. } => Kind::Linked,
            Self::CodeWrong { .. } => Kind::CodeWrong,
            Self::CodeVoid => Kind::CodeVoid,
            Self::LinkRefused => Kind::LinkRefused,
            Self::LinkAttempted => Kind::LinkAttempted,
            Self::ConsentReported => Kind::ConsentReported,
            Self::PersonalChatOnly => Kind::PersonalChatOnly,
            Self::TenantNotAdmitted => Kind::TenantNotAdmitted,
        }
    }

    /// As it is sent: a text, or a card that has the text as its fallback.
    pub fn in_words(&self, language: Language) -> OutgoingActivity {
        let text = language.text(self);
        let said = match self.card(language) {
            Some(card) => OutgoingActivity::card(card, text),
            None => OutgoingActivity::text(TextFormat::Plain, text),
        };
        said.in_language(language.tag())
    }

    /// The card, of notices that have one.
    pub fn card(&self, language: Language) -> Option<Value> {
        let (text, labels) = (language.text(self), language.labels());
        match self {
            Self::Help => Some(cards::help(&text, labels)),
            Self::Login { url, .. } => Some(cards::login(&text, url, labels)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_the_locale_and_english_is_for_all_others() {
        for (locale, language) in [
            (Some("de"), Language::German),
            (Some("DE-at"), Language::German),
            (Some("en-GB"), Language::English),
            (Some("den"), Language::English),
            (None, Language::English),
        ] {
            assert_eq!(Language::of(locale), language, "{locale:?}");
        }
    }

    #[test]
    fn of_the_languages_that_a_browser_takes_the_best_liked_counts() {
        for (header, language) in [
            ("de-DE,de;q=0.9,en;q=0.8", Language::German),
            ("en-US,en;q=0.9,de;q=0.8", Language::English),
            ("fr-FR, fr;q=0.9, en;q=0.3, de ; q=0.5", Language::German),
            ("fr, de;q=0", Language::English),
            ("*", Language::English),
            ("de;q=x, ,;q=1", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[test]
    fn accounts_are_named_where_they_are_known() {
        let status = |accounts: &[&str]| Notice::Status {
            standing: Standing::Linked,
            accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
        };
        for language in [Language::English, Language::German] {
            assert!(language.text(&status(&["u-1", "u-2"])).contains("u-1, u-2"));
            assert!(!language.text(&status(&[])).contains(':'), "{}", language.text(&status(&[])));
        }
    }

    #[test]
    fn who_logs_in_hears_how_long_the_link_is_good_and_whether_they_are_connected_already() {
        let login = |minutes, connected: Option<&str>| Notice::Login {
            url: Url::parse("https://hub.example.com/sign-in/x.y").unwrap(),
            minutes,
            connected: connected.map(|account| vec![account.to_owned()]),
        };
        let [english, german] = [Language::English, Language::German];
        assert!(english.text(&login(1, None)).ends_with("1 minute."));
        assert!(english.text(&login(2, None)).ends_with("2 minutes."));
        assert!(german.text(&login(1, None)).ends_with("1 Minute gültig."));
        assert!(german.text(&login(2, None)).ends_with("2 Minuten gültig."));
        for language in [english, german] {
            assert!(language.text(&login(1, Some("u-1"))).contains("u-1"));
        }
        assert!(english.text(&login(1, Some("u-1"))).starts_with("You are connected already"));
        assert!(german.text(&login(1, Some("u-1"))).starts_with("Sie sind schon verbunden"));
    }

    #[test]
    fn the_last_try_of_a_code_is_said_in_the_singular() {
        assert!(Language::English.text(&Notice::CodeWrong { left: 1 }).contains("1 more try"));
        assert!(Language::German.text(&Notice::CodeWrong { left: 2 }).contains("2 Versuche"));
    }
}
