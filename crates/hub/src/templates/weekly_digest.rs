//! The week at a glance: how key results stand, and what is due.

use domain::message::{Template, TemplateName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Parameters, Rendered,
    fields::{Amount, Day, Link, List, Text},
    sheet::{Colour, Sheet},
};

/// Template `weekly_digest`, version 1.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WeeklyDigest {
    /// Whose week it is: a team, or the person's own.
    title: Text<1, 100>,
    /// Its first day.
    week_of: Day,
    key_results: List<Standing, 10>,
    /// How many there are besides.
    #[serde(default)]
    more_key_results: u16,
    #[serde(default)]
    coming_up: List<Due, 5>,
    /// Where the whole of it can be seen.
    link: Link,
}

/// How a key result stands.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Standing {
    title: Text<1, 120>,
    status: Status,
    /// In percent.
    progress: Amount,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Status {
    OnTrack,
    AtRisk,
    OffTrack,
    Done,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Due {
    title: Text<1, 120>,
    due: Day,
}

impl Parameters for WeeklyDigest {
    const TEMPLATE: Template = Template { name: TemplateName::WeeklyDigest, version: 1 };

    fn sample() -> Value {
        json!({
            "title": "Growth team",
            "week_of": "2026-11-23",
            "key_results": [
                { "title": "Net new revenue", "status": "on_track", "progress": "48.3" },
                { "title": "Time to first answer", "status": "at_risk", "progress": "37.5" },
                { "title": "Offices in the north", "status": "off_track", "progress": "0" },
                { "title": "Price list renewed", "status": "done", "progress": "100" },
            ],
            "more_key_results": 3,
            "coming_up": [{ "title": "Check-in of week 48", "due": "2026-11-27" }],
            "link": "https://product.example.com/digests/2026-48",
        })
    }

    fn render(&self) -> Rendered {
        let mut sheet = Sheet::new("Weekly digest", &self.title);
        sheet.fact("Week of", &self.week_of.to_string());
        if !self.key_results.is_empty() {
            sheet.heading("Key results");
        }
        for Standing { title, status, progress } in self.key_results.iter() {
            let (word, colour) = status.shown();
            sheet.item(title, &[(word, Some(colour)), (&format!("{} %", progress.0), None)]);
        }
        match self.more_key_results {
            0 => {}
            1 => sheet.remark("1 more key result is not listed."),
            more => sheet.remark(&format!("{more} more key results are not listed.")),
        }
        if !self.coming_up.is_empty() {
            sheet.heading("Coming up");
        }
        for Due { title, due } in self.coming_up.iter() {
            sheet.item(title, &[(&due.to_string(), None)]);
        }
        sheet.link("Open digest", &self.link);
        sheet.finish(format!("{}: the week of {}", &*self.title, self.week_of))
    }
}

impl Status {
    fn shown(self) -> (&'static str, Colour) {
        match self {
            Self::OnTrack => ("On track", Colour::Good),
            Self::AtRisk => ("At risk", Colour::Warning),
            Self::OffTrack => ("Off track", Colour::Attention),
            Self::Done => ("Done", Colour::Good),
        }
    }
}
