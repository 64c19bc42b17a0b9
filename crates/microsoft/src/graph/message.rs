//! Messages to a chat, in the shape that Graph takes.

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

/// A message to post. Its content is personal data and stays out of its debug output.
#[derive(Clone, PartialEq)]
pub enum ChatMessage {
    Text(String),
    /// In the HTML that Teams knows; Graph may rewrite it.
    Html(String),
    /// An Adaptive Card, with the text shown above it.
    Card {
        summary_text: String,
        card: Value,
        /// Chosen by us, and found again in the stored message: derive it from the message's own id.
        attachment_id: Uuid,
    },
}

impl fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(…)",
            Self::Html(_) => "Html(…)",
            Self::Card { .. } => "Card(…)",
        })
    }
}

impl ChatMessage {
    /// Bytes in UTF-16 of what counts towards Teams' limit of about 28 KB: content, markup and card.
    pub fn utf16_bytes(&self) -> usize {
        let (content, card) = match self {
            Self::Text(content) | Self::Html(content) => (content.clone(), None),
            Self::Card { summary_text, card, attachment_id } => {
                (card_html(summary_text, *attachment_id), Some(card.to_string()))
            }
        };
        2 * (content.encode_utf16().count() + card.map_or(0, |card| card.encode_utf16().count()))
    }

    /// The body of `POST /chats/{id}/messages`.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(content) => json!({ "body": { "contentType": "text", "content": content } }),
            Self::Html(content) => json!({ "body": { "contentType": "html", "content": content } }),
            Self::Card { summary_text, card, attachment_id } => json!({
                "body": { "contentType": "html", "content": card_html(summary_text, *attachment_id) },
                "attachments": [{
                    "id": attachment_id,
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": null,
                    // A string of JSON, not JSON.
                    "content": card.to_string(),
                    "name": null,
                    "thumbnailUrl": null,
                }],
            }),
        }
    }
}

fn card_html(summary_text: &str, attachment_id: Uuid) -> String {
    let mut html = String::with_capacity(summary_text.len() + 80);
    for c in summary_text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '\n' => html.push_str("<br>"),
            c => html.push(c),
        }
    }
    html + &format!("<attachment id=\"{attachment_id}\"></attachment>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_travels_as_a_string_beside_html_that_refers_to_it() {
        let card = json!({ "type": "AdaptiveCard", "version": "1.5" });
        let message = ChatMessage::Card {
            summary_text: "Q3 <on track> & well".into(),
            card: card.clone(),
            attachment_id: Uuid::from_u128(7),
        };
        let body = message.to_json();
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            body["body"],
            json!({
                "contentType": "html",
                "content": format!("Q3 &lt;on track&gt; &amp; well<attachment id=\"{id}\"></attachment>"),
            })
        );
        assert_eq!(body["attachments"][0]["id"], id);
        let content = body["attachments"][0]["content"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(content).unwrap(), card);
    }

    #[test]
    fn size_is_counted_in_utf16() {
        assert_eq!(ChatMessage::Text("ä".into()).utf16_bytes(), 2);
        assert_eq!(ChatMessage::Html("a🙂".into()).utf16_bytes(), 6);
        let card =
            ChatMessage::Card { summary_text: "x".into(), card: json!({}), attachment_id: Uuid::nil() };
        assert_eq!(card.utf16_bytes(), 2 * (1 + "<attachment id=\"\"></attachment>".len() + 36 + 2));
    }

    #[test]
    fn content_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", ChatMessage::Text("Salary review".into())), "Text(…)");
    }
}
