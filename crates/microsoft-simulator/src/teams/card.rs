//! Adaptive cards, simply: text, facts, what holds them, and links.

use maud::{Markup, html};
use serde_json::Value;

use super::text::is_web_address;

/// Cards nest; this is deeper than any sensible one.
const DEPTH_MAX: u32 = 16;

pub(super) fn card(card: &Value) -> Markup {
    html! {
        section.card {
            (elements(&card["body"], DEPTH_MAX))
            @if let Some(actions) = card["actions"].as_array() {
                div.row { @for action in actions { (link(action)) } }
            }
        }
    }
}

fn elements(list: &Value, depth: u32) -> Markup {
    html! { @for it in list.as_array().into_iter().flatten() { (element(it, depth)) } }
}

fn element(it: &Value, depth: u32) -> Markup {
    if depth == 0 {
        return html! {};
    }
    let depth = depth - 1;
    match it["type"].as_str().unwrap_or_default() {
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
                div { (elements(&column["items"], depth)) }
            } }
        },
        "Container" | "Column" => elements(&it["items"], depth),
        "ActionSet" => {
            html! { @for action in it["actions"].as_array().into_iter().flatten() { (link(action)) } }
        }
        "Image" => html! { p.soft { (words(&it["altText"])) } },
        _ => html! {},
    }
}

fn is_strong(text: &Value) -> bool {
    text["weight"] == "Bolder" || text["style"] == "heading" || text["size"] == "Large"
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn link(action: &Value) -> Markup {
    let url = words(&action["url"]);
    let title = words(&action["title"]);
    html! {
        @if action["type"] == "Action.OpenUrl" && is_web_address(url) { a href=(url) rel="noreferrer" { (title) } }
        @else { span.soft { (title) } }
    }
}
