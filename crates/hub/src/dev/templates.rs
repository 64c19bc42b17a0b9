//! The templates of messages, each filled in by its sample: about as Teams shows it, as text, and as the JSON it is.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::Value;

use super::pages;
use crate::templates::{self, Rendered};

/// `GET /dev/templates`
pub(super) async fn page() -> Response {
    pages::page(
        "Templates of messages",
        &html! {
            div.wide {
                h1 { "Templates of messages" }
                p { "Each with the sample of its schema. Teams has its own fonts and colours; what stands where, and the words, are these." }
                @for known in templates::ALL {
                    @let sample = (known.sample)();
                    h2 id=(known.template) { (known.template) }
                    @match known.render(&sample) {
                        Ok(rendered) => { (shown(&rendered, &sample)) }
                        Err(error) => { p role="alert" { (error) } }
                    }
                }
            }
        },
    )
}

/// `GET /dev/style.css`
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("pages.css"))
}

fn shown(Rendered { card, summary, text }: &Rendered, sample: &Value) -> Markup {
    html! {
        p.small { "In notifications: " (summary) }
        article.card {
            (elements(&card["body"]))
            @for action in items(&card["actions"]) { a.action href=(words(&action["url"])) { (words(&action["title"])) } }
        }
        details { summary { "Instead of the card" } pre tabindex="0" { (text) } }
        details { summary { "Data" } pre tabindex="0" { (format!("{sample:#}")) } }
        details { summary { "Card" } pre tabindex="0" { (format!("{card:#}")) } }
    }
}

fn elements(list: &Value) -> Markup {
    html! { @for element in items(list) { (shown_element(element)) } }
}

/// Of the elements of Adaptive Cards those that our templates use; another is named, so that it is missed.
fn shown_element(element: &Value) -> Markup {
    let rule = (element["separator"] == true).then_some("rule");
    match words(&element["type"]) {
        "TextBlock" => {
            html! { p class={ (rule.unwrap_or_default()) " " (look(element)) } { (words(&element["text"])) } }
        }
        "RichTextBlock" => html! {
            p { @for run in items(&element["inlines"]) { span class=(look(run)) { (words(&run["text"])) } } }
        },
        "ColumnSet" => bar(&element["columns"]),
        other => html! { p role="alert" { "This page does not know " (other) "." } },
    }
}

/// The parts of a bar, which is all that columns are used for.
fn bar(columns: &Value) -> Markup {
    let width = |style: &str| {
        let part = items(columns).iter().find(|column| column["style"] == style);
        part.map_or(0, |column| column["width"].as_u64().unwrap_or_default())
    };
    let (done, open) = (width("accent"), width("emphasis"));
    html! { progress aria-label="Progress" value=(done) max=(done + open) { (done) " %" } }
}

/// The classes of a text.
fn look(text: &Value) -> String {
    let subtle = if text["isSubtle"] == true { "Subtle" } else { "" };
    [words(&text["size"]), words(&text["weight"]), words(&text["color"]), subtle].join(" ")
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
