//! What a client may say in a message: read strictly, each mistake told by its field.

use std::fmt;

use domain::message::{Content, KeyResultProgress};
use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{
    extract::{invalid, parse_part},
    problem::ApiError,
};

/// Longest title, unit and summary, in characters.
const TITLE_MAX: usize = 200;
const UNIT_MAX: usize = 32;
const SUMMARY_MAX: usize = 1000;
/// The newest version of Adaptive Cards that Teams shows.
const CARD_VERSION_MAX: (u32, u32) = (1, 5);

// Only described by this: `parse` looks at `type` itself, so that a wrong field is named exactly.
/// What is to be said.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum ContentBody {
    Text(TextContent),
    Html(HtmlContent),
    AdaptiveCard(CardContent),
    Template(TemplateContent),
}

/// `"type": "text"`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextContent {
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^text$", example = "text")]
    _type: IgnoredAny,
    #[schema(example = "Your check-in is due today.")]
    text: String,
}

/// `"type": "html"`: the tags that Teams knows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HtmlContent {
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^html$", example = "html")]
    _type: IgnoredAny,
    #[schema(example = "<p>Your check-in is <b>due today</b>.</p>")]
    html: String,
}

/// `"type": "adaptive_card"`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CardContent {
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^adaptive_card$", example = "adaptive_card")]
    _type: IgnoredAny,
    /// An Adaptive Card of version 1.5 at most.
    #[schema(value_type = Object)]
    card: Value,
    /// Shown where a card can't be, such as in notifications; 1 to 1000 characters.
    summary: String,
}

/// `"type": "template"`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateContent {
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^template$", example = "template")]
    _type: IgnoredAny,
    #[schema(example = "key_result_progress")]
    template: String,
    #[schema(value_type = ProgressData)]
    data: Value,
}

/// Template `key_result_progress`. Numbers are decimals in strings, so that none is rounded on the way.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressData {
    /// 1 to 200 characters.
    title: String,
    #[schema(value_type = String, example = "0")]
    start: ExactDecimal,
    #[schema(value_type = String, example = "1500000.00")]
    target: ExactDecimal,
    #[schema(value_type = String, example = "725000.50")]
    current: ExactDecimal,
    /// At most 32 characters; may be empty.
    #[schema(example = "EUR")]
    unit: String,
}

/// Reads the `content` of a message.
pub fn parse(content: Value) -> Result<Content, ApiError> {
    if !content.is_object() {
        return Err(invalid("content", "must be an object"));
    }
    match content["type"].as_str() {
        Some("text") => {
            let TextContent { text, .. } = parse_part("content", content)?;
            within("content.text", &text, 1..=usize::MAX)?;
            Ok(Content::Text { text })
        }
        Some("html") => {
            let HtmlContent { html, .. } = parse_part("content", content)?;
            within("content.html", &html, 1..=usize::MAX)?;
            Ok(Content::Html { html })
        }
        Some("adaptive_card") => {
            let CardContent { card, summary, .. } = parse_part("content", content)?;
            check_card(&card)?;
            within("content.summary", &summary, 1..=SUMMARY_MAX)?;
            Ok(Content::AdaptiveCard { card, summary })
        }
        Some("template") => template(parse_part("content", content)?),
        _ => Err(invalid("content.type", "must be `text`, `html`, `adaptive_card` or `template`")),
    }
}

fn template(TemplateContent { template, data, .. }: TemplateContent) -> Result<Content, ApiError> {
    if template != "key_result_progress" {
        return Err(invalid("content.template", "must be `key_result_progress`, the one template there is"));
    }
    let ProgressData { title, start, target, current, unit } = parse_part("content.data", data)?;
    within("content.data.title", &title, 1..=TITLE_MAX)?;
    within("content.data.unit", &unit, 0..=UNIT_MAX)?;
    let (start, target, current) = (start.0, target.0, current.0);
    Ok(Content::KeyResultProgress(KeyResultProgress { title, start, target, current, unit }))
}

/// Checks the number of characters, and that there is something to be seen where there must be something.
fn within(field: &str, text: &str, characters: std::ops::RangeInclusive<usize>) -> Result<(), ApiError> {
    if *characters.start() > 0 && text.trim().is_empty() {
        return Err(invalid(field, "must not be blank"));
    }
    if text.chars().nth(*characters.end()).is_some() {
        return Err(invalid(field, &format!("must have at most {} characters", characters.end())));
    }
    Ok(())
}

fn check_card(card: &Value) -> Result<(), ApiError> {
    if card.get("type").and_then(Value::as_str) != Some("AdaptiveCard") {
        return Err(invalid("content.card", "must be an object with `\"type\": \"AdaptiveCard\"`"));
    }
    let good = |version: &Value| {
        let (major, minor) = version.as_str()?.split_once('.')?;
        let version: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        (version <= CARD_VERSION_MAX).then_some(())
    };
    match card.get("version") {
        Some(version) if good(version).is_none() => {
            Err(invalid("content.card.version", "must be a version in a string, at most \"1.5\""))
        }
        _ => Ok(()),
    }
}

/// A decimal that is kept as it was written: a JSON string of digits, with a sign and a point if need be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ExactDecimal(Decimal);

impl<'de> Deserialize<'de> for ExactDecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = ExactDecimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a decimal in a string such as \"12.50\", of at most 28 digits and without exponent",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ExactDecimal, E> {
                let decimal = exact(text).map(ExactDecimal);
                decimal.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// `Decimal` itself takes more than that: signs, underscores and missing digits.
fn exact(text: &str) -> Option<Decimal> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let shaped = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    if !shaped || unsigned.len() > 64 { None } else { Decimal::from_str_exact(text).ok() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(content: Value) -> (String, String) {
        let problem = parse(content).unwrap_err().problem();
        (problem.more["field"].as_str().unwrap_or_default().to_owned(), problem.detail.unwrap())
    }

    fn progress(current: &Value) -> Value {
        let data =
            json!({ "title": "Revenue", "start": "0", "target": "10", "current": current, "unit": "EUR" });
        json!({ "type": "template", "template": "key_result_progress", "data": data })
    }

    #[test]
    fn decimals_are_kept_as_they_were_written() {
        for text in [
            "0",
            "-1",
            "0.10",
            "1500000.00",
            "79228162514264337593543950335",
            "0.0000000000000000000000000001",
        ] {
            let Content::KeyResultProgress(read) = parse(progress(&json!(text))).unwrap() else { panic!() };
            assert_eq!(read.current.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_exact_decimal_is_refused_by_its_field_and_not_repeated() {
        let too_long = format!("0.{}1", "0".repeat(28));
        for bad in [
            json!(1),
            json!(0.5),
            json!(null),
            json!("1e3"),
            json!("NaN"),
            json!("+1"),
            json!("1_000"),
            json!(".5"),
            json!("1."),
            json!(""),
            json!("-"),
            json!(" 1"),
            json!("１"),
            json!(too_long),
            json!("9".repeat(40)),
        ] {
            let (field, detail) = refused(progress(&bad));
            assert_eq!(field, "content.data.current", "{bad}");
            assert!(detail.contains("must be a decimal in a string"), "{detail}");
        }
    }

    #[test]
    fn each_mistake_names_its_field() {
        let card = json!({ "type": "AdaptiveCard", "version": "1.6" });
        for (content, field) in [
            (json!("hello"), "content"),
            (json!({}), "content.type"),
            (json!({ "type": "video" }), "content.type"),
            (json!({ "type": "text" }), "content"),
            (json!({ "type": "text", "text": "  \n" }), "content.text"),
            (json!({ "type": "text", "text": 1 }), "content.text"),
            (json!({ "type": "text", "text": "hello", "colour": "red" }), "content.colour"),
            (json!({ "type": "html", "html": "" }), "content.html"),
            (json!({ "type": "adaptive_card", "card": [], "summary": "s" }), "content.card"),
            (json!({ "type": "adaptive_card", "card": card, "summary": "s" }), "content.card.version"),
            (
                json!({ "type": "adaptive_card", "card": { "type": "AdaptiveCard" }, "summary": " " }),
                "content.summary",
            ),
            (json!({ "type": "template", "template": "poem", "data": {} }), "content.template"),
        ] {
            assert_eq!(refused(content.clone()).0, field, "{content}");
        }
    }

    #[test]
    fn a_card_of_a_version_that_teams_knows_is_taken() {
        for card in [json!({ "type": "AdaptiveCard" }), json!({ "type": "AdaptiveCard", "version": "1.5" })] {
            assert!(parse(json!({ "type": "adaptive_card", "card": card, "summary": "s" })).is_ok());
        }
    }
}
