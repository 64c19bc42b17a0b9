//! The look of every page: plain HTML that works without JavaScript, light or dark as the reader likes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// A whole page. `refresh_seconds` makes the browser ask for it again and again.
pub(crate) fn page(status: StatusCode, title: &str, refresh_seconds: Option<u32>, body: &Markup) -> Response {
    answer(status, title, refresh_seconds, &html! { body { main { (body) } } }, "'none'")
}

/// A page that stands in a frame of another one of ours.
pub(crate) fn frame(title: &str, refresh_seconds: Option<u32>, body: &Markup) -> Response {
    answer(StatusCode::OK, title, refresh_seconds, &html! { body.frame { (body) } }, "'self'")
}

/// `framed_by` says who may show it in a frame.
fn answer(
    status: StatusCode,
    title: &str,
    refresh_seconds: Option<u32>,
    body: &Markup,
    framed_by: &str,
) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh_seconds { meta http-equiv="refresh" content=(seconds); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            (body)
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors {framed_by}"
    );
    let mut response = (status, Html(markup.into_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(HeaderValue::from_str(&policy).ok().map(|it| (header::CONTENT_SECURITY_POLICY, it)));
    response
}
