//! What the bot says, in the shape that the Bot Connector takes.

use std::fmt;

use serde_json::{Value, json};

/// A message of the bot: a text, a card, or a card below a text. Its content is personal data and stays out of its debug
/// output.
#[derive(Clone, PartialEq)]
pub struct OutgoingActivity {
    text: Option<(TextFormat, String)>,
    card: Option<Card>,
    locale: Option<String>,
}

#[derive(Clone, PartialEq)]
struct Card {
    card: Value,
    summary: String,
}

/// How the text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    Plain,
    Markdown,
    /// The few HTML tags that Teams knows.
    Xml,
}

impl OutgoingActivity {
    pub fn text(format: TextFormat, text: impl Into<String>) -> Self {
        Self { text: Some((format, text.into())), card: None, locale: None }
    }

    /// An Adaptive Card, of version 1.5 or older, as later ones don't show everywhere. `summary` is what notifications and
    /// clients without cards show of it.
    pub fn card(card: Value, summary: impl Into<String>) -> Self {
        Self { text: None, card: Some(Card { card, summary: summary.into() }), locale: None }
    }

    /// With a text above the card.
    #[must_use]
    pub fn below(self, format: TextFormat, text: impl Into<String>) -> Self {
        Self { text: Some((format, text.into())), ..self }
    }

    /// The language it is in, such as `de` or `en-GB`.
    #[must_use]
    pub fn in_language(self, locale: impl Into<String>) -> Self {
        Self { locale: Some(locale.into()), ..self }
    }

    /// Bytes in UTF-16 of what counts towards Teams' limit of about 100 KB: text, summary and card.
    pub fn utf16_bytes(&self) -> usize {
        let count = |text: &str| 2 * text.encode_utf16().count();
        let text = self.text.as_ref().map_or(0, |(_, text)| count(text));
        text + self.card.as_ref().map_or(0, |card| count(&card.summary) + count(&card.card.to_string()))
    }

    pub(super) fn to_json(&self) -> Value {
        let mut activity = json!({ "type": "message" });
        if let Some((format, text)) = &self.text {
            activity["text"] = json!(text);
            activity["textFormat"] = json!(format.as_str());
        }
        if let Some(Card { card, summary }) = &self.card {
            activity["summary"] = json!(summary);
            let content_type = "application/vnd.microsoft.card.adaptive";
            activity["attachments"] = json!([{ "contentType": content_type, "content": card }]);
        }
        if let Some(locale) = &self.locale {
            activity["locale"] = json!(locale);
        }
        activity
    }
}

impl TextFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Markdown => "markdown",
            Self::Xml => "xml",
        }
    }
}

impl fmt::Debug for OutgoingActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutgoingActivity(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_how_it_is_to_be_read() {
        let activity = OutgoingActivity::text(TextFormat::Plain, "Hello").in_language("en");
        assert_eq!(
            activity.to_json(),
            json!({ "type": "message", "text": "Hello", "textFormat": "plain", "locale": "en" })
        );
    }

    #[test]
    fn a_card_travels_as_json_with_its_summary() {
        let card = json!({ "type": "AdaptiveCard", "version": "1.5" });
        let activity = OutgoingActivity::card(card.clone(), "Check in").below(TextFormat::Markdown, "*Hi*");
        assert_eq!(
            activity.to_json(),
            json!({
                "type": "message", "text": "*Hi*", "textFormat": "markdown", "summary": "Check in",
                "attachments": [{ "contentType": "application/vnd.microsoft.card.adaptive", "content": card }],
            })
        );
    }

    #[test]
    fn size_is_counted_in_utf16_and_content_stays_out_of_debug_output() {
        let activity = OutgoingActivity::card(json!({}), "a🙂").below(TextFormat::Plain, "ä");
        assert_eq!(activity.utf16_bytes(), 2 * (2 + 3 + 1));
        assert_eq!(format!("{activity:?}"), "OutgoingActivity(…)");
    }
}
