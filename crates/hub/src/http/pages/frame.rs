//! What all pages have in common: who reads them, their frame, their headers, and the browser's cookie.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use custody::SignInPurpose;
use domain::{
    SignInId,
    sign_in::{Request, SignIn},
};
use maud::{DOCTYPE, Markup, html};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::{
    said::Said,
    words::{Facts, Words},
};
use crate::{bot::catalogue::Language, hub::Hub, services::sign_ins};

/// Where [`super::style`] is.
pub const STYLE: &str = "/sign-in/style.css";

/// Only this host, only over TLS (or on this machine), no script: the browser that a sign-in is bound to.
const COOKIE: &str = "__Host-chancery";

/// Whom a page is for.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) hub: &'a Hub,
    language: Language,
}

impl<'a> Reader<'a> {
    /// Somebody of whom nothing is known but what their browser says.
    pub(super) fn of(hub: &'a Hub, headers: &HeaderMap) -> Self {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self { hub, language: Language::accepted(wanted.unwrap_or_default()) }
    }

    /// Who typed `login` reads what the bot speaks to them.
    pub(super) fn in_sign_in(self, state: &SignIn) -> Self {
        let by = state.request.as_ref().and_then(Request::of_bot);
        let language = by.and_then(|by| by.locale.as_deref()).and_then(Language::named);
        Self { language: language.unwrap_or(self.language), ..self }
    }

    pub(super) fn words(self) -> &'static Words {
        Words::of(self.language)
    }

    pub(super) fn facts(self) -> Facts {
        Facts::of(self.hub)
    }

    pub(super) fn show(self, status: StatusCode, title: &str, content: &Markup) -> Response {
        let page = document(self.language, title, &[STYLE], content).into_string();
        // A form that is answered by a redirect must be allowed to end where that leads.
        let microsoft = sign_ins::microsoft_origins(self.hub).into_iter().collect::<Vec<_>>().join(" ");
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {microsoft}; frame-ancestors 'none'; base-uri 'none'"
        );
        let mut response =
            (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    pub(super) fn show_broken(self, error: &dyn std::fmt::Display) -> Response {
        tracing::error!(error = %error, "A sign-in page could not be shown.");
        let (title, text) = self.words().broken;
        let content = html! { h1 { (title) } p { (text) } };
        self.show(StatusCode::INTERNAL_SERVER_ERROR, title, &content)
    }
}

/// A whole page, with these style sheets.
pub fn document(language: Language, title: &str, styles: &[&str], content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                @for style in styles { link rel="stylesheet" href=(style); }
            }
            body { main { (content) } }
        }
    }
}

pub(super) fn redirect(to: &str) -> Response {
    let headers = [
        (header::LOCATION, to),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The value of our cookie, if it can be one of ours.
pub(super) fn browser(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.into_iter().find_map(|(name, value)| (name == COOKIE).then_some(value))?;
    (value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        .then(|| value.to_owned())
}

/// Has the browser keep who it is.
pub(super) fn keep(mut response: Response, browser: &str) -> Response {
    let cookie = format!("{COOKIE}={browser}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// 256 bits, of which two random ids give 244.
pub(super) fn new_browser(hub: &Hub) -> String {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(hub.ids.uuid().as_bytes());
    bytes[16..].copy_from_slice(hub.ids.uuid().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn hash(browser: &str) -> String {
    hex::encode(digest(&SHA256, browser.as_bytes()))
}

/// Good for one sign-in in one browser.
pub(super) fn csrf(hub: &Hub, id: SignInId, browser: &str) -> String {
    let secret = hub.custody.sign_in_secret(SignInPurpose::Csrf, id, 0);
    hash(&format!("{}.{browser}", secret.expose_secret()))
}

/// The browser in which a button was pressed, if it is the one that was shown it: the form's token is `csrf`'s for it.
pub(super) fn pressed_in(
    hub: &Hub,
    headers: &HeaderMap,
    token: Option<&str>,
    csrf: impl Fn(&str) -> String,
) -> Result<String, Said> {
    let (browser, token) = browser(headers).zip(token).ok_or(Said::NoCookie)?;
    let good: bool = csrf(&browser).as_bytes().ct_eq(token.as_bytes()).into();
    if good && !comes_from_elsewhere(hub, headers) { Ok(browser) } else { Err(Said::NoCookie) }
}

/// What the browser itself says of where a form came from (Fetch Metadata; RFC 6454 section 7).
fn comes_from_elsewhere(hub: &Hub, headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = said("sec-fetch-site").is_some_and(|site| site != "same-origin");
    let own = hub.config.server.public_url.origin().ascii_serialization();
    site || said("origin").is_some_and(|origin| origin != own && origin != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cookie_of_our_shape_is_taken() {
        let with = |cookie: String| {
            browser(&HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(cookie).unwrap())]))
        };
        let good = "a".repeat(43);
        assert_eq!(with(format!("other=1; {COOKIE}={good}")), Some(good.clone()));
        assert_eq!(with(format!("{COOKIE}=short")), None);
        assert_eq!(with(format!("x{COOKIE}={good}")), None);
    }
}
