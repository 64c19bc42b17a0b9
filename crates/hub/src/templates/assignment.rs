//! Tells a person what was put into their hands.

use domain::message::{Template, TemplateName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Parameters, Rendered,
    fields::{Day, Lines, Link, Text},
    sheet::Sheet,
};

/// Template `assignment`, version 1.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    what: What,
    title: Text<1, 200>,
    /// Who assigned it.
    assigned_by: Text<1, 100>,
    /// What it belongs to.
    objective: Option<Text<1, 200>>,
    due: Option<Day>,
    /// Words of who assigned it.
    note: Option<Lines<1000>>,
    link: Link,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum What {
    Objective,
    KeyResult,
    Initiative,
    Task,
}

impl Parameters for Assignment {
    const TEMPLATE: Template = Template { name: TemplateName::Assignment, version: 1 };

    fn sample() -> Value {
        json!({
            "what": "key_result",
            "title": "Open an office in Tromsø",
            "assigned_by": "Chiara Okafor",
            "objective": "Grow in the north",
            "due": "2026-12-18",
            "note": "Could you take this on?\nThe budget is approved.",
            "link": "https://product.example.com/key-results/31",
        })
    }

    fn render(&self) -> Rendered {
        let (occasion, open) = match self.what {
            What::Objective => ("Objective assigned to you", "Open objective"),
            What::KeyResult => ("Key result assigned to you", "Open key result"),
            What::Initiative => ("Initiative assigned to you", "Open initiative"),
            What::Task => ("Task assigned to you", "Open task"),
        };
        let mut sheet = Sheet::new(occasion, &self.title);
        sheet.fact("Assigned by", &self.assigned_by);
        if let Some(objective) = &self.objective {
            sheet.fact("Objective", objective);
        }
        if let Some(due) = self.due {
            sheet.fact("Due", &due.to_string());
        }
        if let Some(note) = &self.note {
            sheet.quote(note);
        }
        sheet.link(open, &self.link);
        sheet.finish(format!("{occasion}: {}", &*self.title))
    }
}
