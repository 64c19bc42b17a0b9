//! What a client may say in a message: read strictly, each mistake told by its field.

use std::collections::BTreeSet;

use domain::message::{Content, Template};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Object, ObjectBuilder, OneOf, OneOfBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, Type},
    },
};

use crate::{
    http::{
        extract::{invalid, parse_part, wrong_part},
        problem::ApiError,
    },
    templates::{self, Known},
};

/// Longest summary, in characters.
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

/// `"type": "template"`. Described by [`crate::templates`]: each template's name and version go with its data.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateContent {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    template: String,
    #[serde(default = "first")]
    version: u32,
    data: Value,
}

/// Who names no version gets the first for ever, so that a newer one surprises nobody.
fn first() -> u32 {
    1
}

impl PartialSchema for TemplateContent {
    fn schema() -> RefOr<Schema> {
        let each = templates::ALL.iter().map(|known| {
            let Template { name, version } = known.template;
            let one = |value: Value| Object::builder().enum_values(Some([value]));
            let version =
                one(version.into()).schema_type(Type::Integer).default((version == 1).then(|| 1.into()));
            let object = Object::builder()
                .property("type", one("template".into()).schema_type(Type::String))
                .property("template", one(name.as_str().into()).schema_type(Type::String))
                .property("version", version)
                .property("data", Ref::from_schema_name(component(known)));
            let object = ["type", "template", "data"].into_iter().fold(object, ObjectBuilder::required);
            let object = if known.template.version == 1 { object } else { object.required("version") };
            object.additional_properties(Some(AdditionalProperties::FreeForm(false))).build()
        });
        let described = "`\"type\": \"template\"`: a message that the hub makes a card of. The data are those of the template.";
        each.fold(OneOf::builder(), OneOfBuilder::item).description(Some(described)).into()
    }
}

impl ToSchema for TemplateContent {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend(templates::ALL.iter().map(|known| {
            let schema = serde_json::from_value(known.schema());
            (component(known), RefOr::T(schema.expect("OpenAPI's schemas are those of JSON Schema")))
        }));
    }
}

/// What the data of a template are called in the description.
fn component(known: &Known) -> String {
    format!("{}.data", known.template)
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

fn template(TemplateContent { template, version, data, .. }: TemplateContent) -> Result<Content, ApiError> {
    let versions = || templates::ALL.iter().filter(|known| known.template.name.as_str() == template);
    if versions().next().is_none() {
        let names: BTreeSet<_> = templates::ALL.iter().map(|known| known.template.name.as_str()).collect();
        let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
        return Err(invalid("content.template", &format!("must be one of {}", names.join(", "))));
    }
    let Some(known) = versions().find(|known| known.template.version == version) else {
        return Err(invalid("content.version", "must be a version of this template"));
    };
    known.check(data.clone()).map_err(|error| wrong_part("content.data", &error))?;
    Ok(Content::Template { template: known.template, data })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(content: Value) -> (String, String) {
        let problem = parse(content).unwrap_err().problem();
        (problem.more["field"].as_str().unwrap_or_default().to_owned(), problem.detail.unwrap())
    }

    fn of(template: &str, data: &Value) -> Value {
        json!({ "type": "template", "template": template, "data": data })
    }

    #[test]
    fn a_template_is_taken_by_its_name_and_version_with_its_data_as_they_are() {
        for known in templates::ALL {
            let (Template { name, version }, data) = (known.template, (known.sample)());
            let mut content = of(name.as_str(), &data);
            content["version"] = version.into();
            assert_eq!(parse(content).unwrap(), Content::Template { template: known.template, data });
        }
    }

    #[test]
    fn the_description_has_the_schemas_of_the_data_as_they_are() {
        let mut described = Vec::new();
        TemplateContent::schemas(&mut described);
        for (known, (name, schema)) in templates::ALL.iter().zip(described) {
            let mut expected = known.schema();
            expected.as_object_mut().unwrap().remove("$schema");
            assert_eq!(json!(schema), expected, "{name}");
        }
    }

    #[test]
    fn who_names_no_version_gets_the_first() {
        let progress = templates::ALL.iter().find(|known| known.template.version == 1).unwrap();
        let content = parse(of(progress.template.name.as_str(), &(progress.sample)())).unwrap();
        assert_eq!(content.template(), Some(progress.template));
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
            (of("poem", &json!({})), "content.template"),
            (
                json!({ "type": "template", "template": "assignment", "version": 9, "data": {} }),
                "content.version",
            ),
            (of("assignment", &json!({})), "content.data"),
            (
                of("weekly_digest", &json!({ "key_results": [{ "title": 1 }] })),
                "content.data.key_results[0].title",
            ),
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
