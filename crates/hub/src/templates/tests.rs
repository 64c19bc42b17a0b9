//! What holds for every template.

use std::collections::BTreeSet;

use microsoft::ChatMessage;
use serde_json::Map;
use uuid::Uuid;

use super::*;

/// Every object of a card, wherever it stands.
fn elements(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Object(object) => [vec![object], object.values().flat_map(elements).collect()].concat(),
        Value::Array(items) => items.iter().flat_map(elements).collect(),
        _ => vec![],
    }
}

/// The data with other strings in place of those that are free text by the schema.
fn filled(schema: &Value, data: &Value, text: &dyn Fn(u64) -> String) -> Value {
    match data {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), filled(&schema["properties"][name], value, text)))
            .collect(),
        Value::Array(items) => {
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
            items.iter().cycle().take(most).map(|item| filled(&schema["items"], item, text)).collect()
        }
        Value::String(_) if schema["maxLength"].is_u64() && schema["pattern"].is_null() => {
            text(schema["maxLength"].as_u64().unwrap()).into()
        }
        other => other.clone(),
    }
}

#[test]
fn each_template_stands_there_once() {
    let names: BTreeSet<_> = ALL.iter().map(|known| known.template.to_string()).collect();
    assert_eq!(names.len(), ALL.len());
    assert!(ALL.iter().all(|known| known.template.version > 0));
}

#[test]
fn a_card_is_of_a_version_that_teams_shows_and_says_the_same_as_its_text() {
    for known in ALL {
        let rendered = known.render(&(known.sample)()).unwrap();
        assert_eq!(rendered.card["type"], "AdaptiveCard");
        assert!(rendered.card["version"].as_str().unwrap() <= "1.5");
        assert!(!rendered.summary.contains('\n'), "{}", rendered.summary);
        let text = rendered.text.replace(['\n', '\\'], " ");
        for element in elements(&rendered.card["body"]) {
            let words = element.get("text").and_then(Value::as_str).unwrap_or_default();
            for word in words.split_whitespace().filter(|word| *word != "·") {
                assert!(text.contains(word), "{}: {word} is missing in {text}", known.template);
            }
        }
    }
}

#[test]
fn what_people_wrote_is_nowhere_read_as_markup() {
    let hostile = "[a](https://evil.example) *b* <at>c</at> \\[d] `e`";
    for known in ALL {
        let data = filled(&known.schema(), &(known.sample)(), &|most| {
            hostile.chars().take(usize::try_from(most).unwrap()).collect()
        });
        let card = known.render(&data).unwrap().card;
        let fallback = card["fallbackText"].as_str().unwrap();
        assert!(!fallback.contains("[a]") && !fallback.contains("<at>"), "{fallback}");
        assert!(
            fallback.contains("\\[a\\](https://evil.example) \\*b\\* \\<at\\>c\\</at\\> \\\\\\[d\\]"),
            "{fallback}"
        );
        for element in elements(&card) {
            let kind = element.get("type").and_then(Value::as_str).unwrap_or_default();
            assert!(
                !matches!(kind, "FactSet" | "Image" | "Media"),
                "{kind} reads Markdown, or loads something"
            );
            if kind == "TextBlock" || kind == "Action.OpenUrl" {
                assert!(!json!(element).to_string().contains("evil"), "{element:?}");
            }
        }
    }
}

#[test]
fn the_longest_message_of_each_fits_into_a_message_of_graph() {
    for known in ALL {
        let data =
            filled(&known.schema(), &(known.sample)(), &|most| "m".repeat(usize::try_from(most).unwrap()));
        let Rendered { card, summary, .. } = known.render(&data).unwrap();
        let message = ChatMessage::Card { summary_text: summary, card, attachment_id: Uuid::nil() };
        assert!(message.utf16_bytes() <= 25_600, "{}: {}", known.template, message.utf16_bytes());
    }
}

#[test]
fn one_more_than_the_schema_allows_is_refused_by_its_field() {
    for known in ALL {
        let full = filled(&known.schema(), &(known.sample)(), &|_| "m".to_owned());
        for (name, value) in full.as_object().unwrap() {
            let Some(items) = value.as_array() else { continue };
            assert!(known.check(full.clone()).is_ok());
            let mut more = full.clone();
            more[name] = items.iter().chain(items.first()).cloned().collect();
            assert_eq!(known.check(more).unwrap_err().path().to_string(), *name, "{}", known.template);
        }
    }
}

#[test]
fn a_template_of_a_newer_hub_is_no_reason_to_guess() {
    let newer = Template { version: 99, ..ALL[0].template };
    assert!(render(newer, &json!({})).err().unwrap().to_string().contains("has no template assignment.v99"));
}
