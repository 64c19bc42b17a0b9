//! Adaptive cards, simply: text, facts, what holds them, inputs, links and buttons that submit.

use std::collections::HashMap;

use maud::{Markup, html};
use serde_json::{Value, json};

use super::text::is_web_address;

/// Cards nest; this is deeper than any sensible one.
const DEPTH_MAX: u32 = 16;

/// The newest version that Teams shows; of a newer card it shows the fallback text.
const VERSION_MAX: (u32, u32) = (1, 5);

/// Where a card can be submitted.
pub(super) struct Submitting {
    pub(super) url: String,
    pub(super) message: u64,
}

/// The card, with its fallback text below it to compare; buttons that submit only `submitting`.
pub(super) fn card(card: &Value, submitting: Option<&Submitting>) -> Markup {
    let fallback = words(&card["fallbackText"]);
    if version(card).is_none_or(|version| version > VERSION_MAX) {
        return html! { section.card { p { (fallback) } p.soft { "Teams does not show cards of this version." } } };
    }
    let submits = submits(card);
    let inside = Inside { submits: if submitting.is_some() { &submits } else { &[] } };
    let content = html! {
        (inside.elements(&card["body"], DEPTH_MAX))
        (inside.actions(&card["actions"], DEPTH_MAX))
    };
    html! {
        @match submitting {
            Some(to) if !submits.is_empty() => form.card method="post" action=(to.url) {
                input type="hidden" name="message" value=(to.message);
                (content)
            }
            _ => section.card { (content) }
        }
        @if !fallback.is_empty() { details.soft { summary { "Without the card" } (fallback) } }
    }
}

/// Whether there is something to fill in.
pub(super) fn has_inputs(card: &Value) -> bool {
    match card {
        Value::Object(fields) => {
            words(&card["type"]).starts_with("Input.") || fields.values().any(has_inputs)
        }
        Value::Array(list) => list.iter().any(has_inputs),
        _ => false,
    }
}

/// What submitting by the button of this number gives: the data of its action, and the inputs.
pub(super) fn submitted(card: &Value, number: usize, fields: &HashMap<String, String>) -> Option<Value> {
    let action = *submits(card).get(number)?;
    let mut value = match &action["data"] {
        Value::Object(data) => Value::Object(data.clone()),
        Value::Null => json!({}),
        other => return Some(other.clone()),
    };
    switched_off(card, &mut value);
    for (name, text) in fields {
        if let Some(id) = name.strip_prefix("input.") {
            value[id] = text.as_str().into();
        }
    }
    Some(value)
}

/// Says of each toggle that it is off: a browser says only of those which are on what they are.
fn switched_off(it: &Value, value: &mut Value) {
    match it {
        Value::Object(_) if it["type"] == "Input.Toggle" => {
            value[words(&it["id"])] = it["valueOff"].as_str().unwrap_or("false").into();
        }
        Value::Object(fields) => fields.values().for_each(|it| switched_off(it, value)),
        Value::Array(list) => list.iter().for_each(|it| switched_off(it, value)),
        _ => {}
    }
}

/// The actions that submit, in the order in which they are shown.
fn submits(card: &Value) -> Vec<&Value> {
    let mut found = vec![];
    collect(card, &mut found, DEPTH_MAX);
    found
}

fn collect<'a>(it: &'a Value, found: &mut Vec<&'a Value>, depth: u32) {
    if depth == 0 {
        return;
    }
    match it {
        Value::Array(list) => list.iter().for_each(|it| collect(it, found, depth)),
        Value::Object(_) => {
            if it["type"] == "Action.Submit" {
                found.push(it);
            }
            for part in ["body", "items", "columns", "card", "actions"] {
                collect(&it[part], found, depth - 1);
            }
        }
        _ => {}
    }
}

fn version(card: &Value) -> Option<(u32, u32)> {
    let (major, minor) = card["version"].as_str()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The inside of a card.
struct Inside<'a> {
    /// The actions that can be submitted, by their numbers.
    submits: &'a [&'a Value],
}

impl Inside<'_> {
    fn elements(&self, list: &Value, depth: u32) -> Markup {
        html! { @for it in list.as_array().into_iter().flatten() { (self.element(it, depth)) } }
    }

    fn element(&self, it: &Value, depth: u32) -> Markup {
        if depth == 0 || it["isVisible"] == false {
            return html! {};
        }
        let depth = depth - 1;
        match words(&it["type"]) {
            "TextBlock" if is_strong(it) => html! { p { strong { (words(&it["text"])) } } },
            "TextBlock" if it["isSubtle"] == true => html! { p.soft { (words(&it["text"])) } },
            "TextBlock" => html! { p { (words(&it["text"])) } },
            "RichTextBlock" => html! {
                p { @for run in it["inlines"].as_array().into_iter().flatten() {
                    @if run.is_string() { (words(run)) } @else { (words(&run["text"])) }
                } }
            },
            "FactSet" => html! {
                dl { @for fact in it["facts"].as_array().into_iter().flatten() {
                    dt { (words(&fact["title"])) } dd { (words(&fact["value"])) }
                } }
            },
            "ColumnSet" => html! {
                div.row { @for column in it["columns"].as_array().into_iter().flatten() {
                    div { (self.elements(&column["items"], depth)) }
                } }
            },
            "Container" | "Column" => self.elements(&it["items"], depth),
            "ActionSet" => self.actions(&it["actions"], depth),
            "Image" => html! { p.soft { (words(&it["altText"])) } },
            kind => kind.strip_prefix("Input.").map(|kind| input(it, kind)).unwrap_or_default(),
        }
    }

    fn actions(&self, list: &Value, depth: u32) -> Markup {
        html! {
            @if let Some(actions) = list.as_array() {
                div.row { @for action in actions { (self.action(action, depth)) } }
            }
        }
    }

    fn action(&self, action: &Value, depth: u32) -> Markup {
        let (url, title) = (words(&action["url"]), words(&action["title"]));
        let number = self.submits.iter().position(|it| std::ptr::eq(*it, action));
        match words(&action["type"]) {
            "Action.OpenUrl" if is_web_address(url) => html! {
                a href=(url) target="_blank" rel="noopener noreferrer" { (title) }
            },
            "Action.ShowCard" if depth > 0 => html! {
                details {
                    summary { (title) }
                    (self.elements(&action["card"]["body"], depth - 1))
                    (self.actions(&action["card"]["actions"], depth - 1))
                }
            },
            _ => html! {
                @if let Some(number) = number { button name="action" value=(number) { (title) } }
                @else { span.soft { (title) } }
            },
        }
    }
}

fn input(it: &Value, kind: &str) -> Markup {
    let name = format!("input.{}", words(&it["id"]));
    let value = words(&it["value"]);
    let required = it["isRequired"] == true;
    let label = [&it["label"], &it["title"], &it["placeholder"], &it["id"]];
    let label = label.into_iter().map(words).find(|text| !text.is_empty()).unwrap_or_default();
    let kind = match kind {
        "Number" => "number",
        "Date" => "date",
        "Time" => "time",
        "Text" if it["style"] == "Password" => "password",
        "Text" if it["isMultiline"] == true => "lines",
        "Toggle" => "checkbox",
        "ChoiceSet" => "choice",
        _ => "text",
    };
    html! {
        label {
            span { (label) }
            @match kind {
                "lines" => textarea name=(name) required[required] { (value) }
                "choice" => select name=(name) required[required] {
                    @for choice in it["choices"].as_array().into_iter().flatten() {
                        option value=(words(&choice["value"])) selected[words(&choice["value"]) == value] {
                            (words(&choice["title"]))
                        }
                    }
                }
                "checkbox" => input type=(kind) name=(name) value=(on(it)) checked[value == on(it)];
                _ => input type=(kind) name=(name) value=(value) required[required] autocomplete="off";
            }
        }
    }
}

/// What a toggle gives when it is on.
fn on(it: &Value) -> &str {
    it["valueOn"].as_str().unwrap_or("true")
}

fn is_strong(text: &Value) -> bool {
    text["weight"] == "Bolder" || text["style"] == "heading" || text["size"] == "Large"
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
