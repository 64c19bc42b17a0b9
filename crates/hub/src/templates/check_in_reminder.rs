//! Tells a person that a check-in is due.

use domain::message::{Template, TemplateName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Parameters, Rendered,
    fields::{Amount, Day, Link, List, Text},
    sheet::{Sheet, amount},
};

/// Template `check_in_reminder`, version 1.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckInReminder {
    /// What is to be checked in.
    title: Text<1, 200>,
    due: Day,
    /// Who asks for it.
    asked_by: Option<Text<1, 100>>,
    /// Those that wait for the person's figures.
    #[serde(default)]
    key_results: List<Waiting, 10>,
    /// Where to check in.
    link: Link,
}

/// A key result, and where it stood last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Waiting {
    title: Text<1, 120>,
    current: Amount,
    target: Amount,
    /// Of both numbers; may be empty.
    unit: Text<0, 32>,
}

impl Parameters for CheckInReminder {
    const TEMPLATE: Template = Template { name: TemplateName::CheckInReminder, version: 1 };

    fn sample() -> Value {
        json!({
            "title": "Growth team, week 48",
            "due": "2026-11-27",
            "asked_by": "Bruno Conti",
            "key_results": [
                { "title": "Net new revenue", "current": "725000.50", "target": "1500000.00", "unit": "EUR" },
                { "title": "Time to first answer", "current": "4.5", "target": "2", "unit": "h" },
            ],
            "link": "https://product.example.com/check-ins/2026-48",
        })
    }

    fn render(&self) -> Rendered {
        let mut sheet = Sheet::new("Check-in due", &self.title);
        sheet.fact("Due", &self.due.to_string());
        if let Some(asked_by) = &self.asked_by {
            sheet.fact("Asked by", asked_by);
        }
        if !self.key_results.is_empty() {
            sheet.heading("Waiting for your figures");
        }
        for Waiting { title, current, target, unit } in self.key_results.iter() {
            let stood = format!("{} of {}", current.0, amount(*target, unit));
            sheet.item(title, &[(&stood, None)]);
        }
        sheet.link("Check in", &self.link);
        sheet.finish(format!("Check-in due on {}: {}", self.due, &*self.title))
    }
}
