//! What a message says, put down once: it becomes a card and the text that stands in for it.
//!
//! **Invariant.** What was written by people goes into runs of a `RichTextBlock` only. Markdown is read in a `TextBlock` and
//! in facts, so nobody's words can become a link or a mention. Escaping them instead would not do: Teams has shown the
//! backslashes on telephones. A `TextBlock` says what stands in this program.

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde_json::{Value, json};

use super::{
    Rendered,
    fields::{Amount, Link},
};

/// The oldest version that has all that is used here.
const VERSION: &str = "1.4";

/// Schemes of colours that every client has; the word always says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Warning,
    Attention,
}

pub(super) struct Sheet {
    body: Vec<Value>,
    actions: Vec<Value>,
    text: Vec<String>,
}

impl Sheet {
    /// `occasion` says what kind of message it is.
    pub(super) fn new(occasion: &'static str, title: &str) -> Self {
        let mut sheet = Self { body: Vec::new(), actions: Vec::new(), text: Vec::new() };
        sheet.body.push(
            json!({ "type": "TextBlock", "text": occasion, "isSubtle": true, "size": "Small", "wrap": true }),
        );
        sheet.body.push(line(
            [json!({ "type": "TextRun", "text": title, "weight": "Bolder", "size": "Large" })],
            "Small",
        ));
        sheet.text.push(format!("{occasion}: {title}"));
        sheet
    }

    /// Begins a part of the message.
    pub(super) fn heading(&mut self, words: &'static str) {
        self.body.push(json!({
            "type": "TextBlock", "text": words, "weight": "Bolder", "wrap": true, "separator": true, "spacing": "Medium",
        }));
        self.text.push(format!("{words}:"));
    }

    pub(super) fn fact(&mut self, label: &'static str, value: &str) {
        self.body.push(line([quiet(&format!("{label}: ")), run(value)], "Small"));
        self.text.push(format!("{label}: {value}"));
    }

    /// A person's own words, in their own lines.
    pub(super) fn quote(&mut self, words: &str) {
        self.body.extend(
            words.lines().filter(|words| !words.trim().is_empty()).map(|words| line([run(words)], "Small")),
        );
        self.text.push(words.to_owned());
    }

    /// How far something has come, as a bar and in words.
    pub(super) fn progress(&mut self, percent: Decimal) {
        let words = format!("{percent} %");
        self.body.push(line(
            [json!({ "type": "TextRun", "text": words, "weight": "Bolder", "size": "ExtraLarge" })],
            "Medium",
        ));
        self.body.push(bar(percent));
        self.text.push(words);
    }

    /// One of several things, and what there is to say of it.
    pub(super) fn item(&mut self, title: &str, details: &[(&str, Option<Colour>)]) {
        let coloured = |(words, colour): &(&str, Option<Colour>)| match colour {
            Some(colour) => {
                json!({ "type": "TextRun", "text": words, "color": colour.name(), "weight": "Bolder" })
            }
            None => quiet(words),
        };
        let mut runs: Vec<_> = details.iter().flat_map(|detail| [coloured(detail), quiet(" · ")]).collect();
        runs.pop();
        self.body.push(line([run(title)], "Default"));
        if !runs.is_empty() {
            self.body.push(line(runs, "None"));
        }
        let details: Vec<_> = details.iter().map(|(words, _)| *words).collect();
        let behind = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        self.text.push(format!("- {title}{behind}"));
    }

    /// Words of ours, in small.
    pub(super) fn remark(&mut self, words: &str) {
        self.body.push(line([quiet(words)], "Small"));
        self.text.push(words.to_owned());
    }

    /// A button.
    pub(super) fn link(&mut self, words: &'static str, link: &Link) {
        self.actions.push(json!({ "type": "Action.OpenUrl", "title": words, "url": &**link }));
        self.text.push(format!("{words}: {}", &**link));
    }

    pub(super) fn finish(self, summary: String) -> Rendered {
        let text = self.text.join("\n");
        let mut card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": VERSION,
            "fallbackText": escaped(&text),
            "body": self.body,
        });
        if !self.actions.is_empty() {
            card["actions"] = self.actions.into();
        }
        Rendered { card, summary, text }
    }
}

impl Colour {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Warning => "Warning",
            Self::Attention => "Attention",
        }
    }
}

fn run(words: &str) -> Value {
    json!({ "type": "TextRun", "text": words })
}

fn quiet(words: &str) -> Value {
    json!({ "type": "TextRun", "text": words, "isSubtle": true })
}

fn line(runs: impl IntoIterator<Item = Value>, spacing: &str) -> Value {
    json!({ "type": "RichTextBlock", "spacing": spacing, "inlines": runs.into_iter().collect::<Vec<_>>() })
}

/// Two columns without a gap, their widths as the parts that are done and not. Beyond its ends there is no bar.
fn bar(percent: Decimal) -> Value {
    let done = percent.clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).round().to_u32().unwrap_or_default();
    let part = |width: u32, style: &str| {
        (width > 0).then(|| {
            // A column that holds nothing is left out by some clients.
            let nothing = json!({ "type": "TextBlock", "text": " ", "size": "Small" });
            json!({
                "type": "Column", "width": width, "style": style, "spacing": "None", "minHeight": "8px", "items": [nothing],
            })
        })
    };
    let columns: Vec<_> =
        [part(done, "accent"), part(100 - done, "emphasis")].into_iter().flatten().collect();
    json!({ "type": "ColumnSet", "spacing": "Small", "columns": columns })
}

/// An amount with its unit, if it has one.
pub(super) fn amount(Amount(number): Amount, unit: &str) -> String {
    format!("{number} {unit}").trim_end().to_owned()
}

/// Text for `fallbackText`, which is Markdown and has no other way to say things plainly.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\n\n"),
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '`' | '~' | '#' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}
