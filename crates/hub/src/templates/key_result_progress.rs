//! How far a key result has come, in exact decimals.

use domain::message::{Template, TemplateName};
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Parameters, Rendered,
    fields::{Amount, Link, Text},
    sheet::{Sheet, amount},
};

/// Template `key_result_progress`, version 1. Numbers are decimals in strings, so that none is rounded on the way.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyResultProgress {
    title: Text<1, 200>,
    /// What the key result belongs to.
    objective: Option<Text<1, 200>>,
    start: Amount,
    target: Amount,
    current: Amount,
    /// Of the three numbers; may be empty.
    unit: Text<0, 32>,
    link: Option<Link>,
}

impl Parameters for KeyResultProgress {
    const TEMPLATE: Template = Template { name: TemplateName::KeyResultProgress, version: 1 };

    fn sample() -> Value {
        json!({
            "title": "Net new revenue",
            "objective": "Grow in the north",
            "start": "0",
            "target": "1500000.00",
            "current": "725000.50",
            "unit": "EUR",
            "link": "https://product.example.com/key-results/17",
        })
    }

    fn render(&self) -> Rendered {
        let unit = &self.unit;
        let mut sheet = Sheet::new("Key result progress", &self.title);
        if let Some(objective) = &self.objective {
            sheet.fact("Objective", objective);
        }
        let percent = percent(self.start.0, self.target.0, self.current.0);
        if let Some(percent) = percent {
            sheet.progress(percent);
        }
        sheet.fact("Start", &amount(self.start, unit));
        sheet.fact("Current", &amount(self.current, unit));
        sheet.fact("Target", &amount(self.target, unit));
        if let Some(link) = &self.link {
            sheet.link("Open key result", link);
        }
        let percent = percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"));
        let (current, target) = (self.current.0, amount(self.target, unit));
        sheet.finish(format!("{}: {current} of {target} ({percent})", &*self.title))
    }
}

/// `(current - start) / (target - start)` in percent, rounded to one place, half away from zero.
/// `None` where start and target are the same, or the numbers are too large to divide.
fn percent(start: Decimal, target: Decimal, current: Decimal) -> Option<Decimal> {
    let way = target.checked_sub(start)?;
    let done = current.checked_sub(start)?;
    let percent = done.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(way)?;
    Some(percent.round_dp_with_strategy(1, RoundingStrategy::MidpointAwayFromZero).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_exact() {
        let of = |start: &str, target: &str, current: &str| {
            let [start, target, current] = [start, target, current].map(|text| text.parse().unwrap());
            percent(start, target, current).map(|percent| percent.to_string())
        };
        assert_eq!(of("0", "0.3", "0.1").unwrap(), "33.3");
        assert_eq!(of("0.1", "0.3", "0.3").unwrap(), "100");
        assert_eq!(of("100", "0", "25").unwrap(), "75");
        assert_eq!(of("0", "10", "12").unwrap(), "120");
        assert_eq!(of("5", "5", "5"), None);
        assert_eq!(of("-1", "79228162514264337593543950335", "0"), None);
    }

    #[test]
    fn what_has_no_way_to_go_has_no_bar() {
        let mut data = KeyResultProgress::sample();
        data["start"] = data["target"].clone();
        let rendered = KeyResultProgress::deserialize(data).unwrap().render();
        assert!(rendered.summary.ends_with("(–)"), "{}", rendered.summary);
        assert!(!rendered.text.contains('%'), "{}", rendered.text);
    }
}
