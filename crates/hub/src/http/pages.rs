//! What a person sees in a browser: the sign-in page, and what came of it.
//!
//! **Invariants.** Opening a link changes nothing. The button is pressed by the browser that was shown it, or nothing
//! happens. Links are built from `public_url`, never from `Host`.

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use custody::SignInPurpose;
use domain::{
    SignInId,
    sign_in::{FailureReason, Refusal, SignIn, Stage},
};
use maud::{DOCTYPE, Markup, html};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::{
    commands::Failure,
    hub::Hub,
    services::sign_ins::{self, Answer, CALLBACK, Outcome},
};

/// Only this host, only over TLS (or on this machine), no script: the browser that a sign-in is bound to.
const COOKIE: &str = "__Host-chancery";

/// The routes of this file.
pub fn routes(hub: Hub) -> Router {
    Router::new()
        .route("/sign-in/{link}", get(open))
        .route("/sign-in/{link}/microsoft", post(choose))
        .route(CALLBACK, get(callback))
        .route("/sign-in/style.css", get(style))
        .with_state(hub)
}

async fn style() -> impl IntoResponse {
    let cache = (header::CACHE_CONTROL, "public, max-age=300");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), cache], include_str!("pages.css"))
}

/// `GET /sign-in/{link}`: shows the way in, and changes nothing.
async fn open(State(hub): State<Hub>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let Some(id) = sign_ins::by_link(&hub, &link) else { return Said::NotOurs.page(&hub) };
    let state = match hub.commands.load::<SignIn>(id).await {
        Ok(loaded) => loaded.state,
        Err(error) => return broken(&hub, &error),
    };
    let known = browser(&headers);
    if let Some(said) = beyond(&hub, &state, known.as_deref()) {
        return said.page(&hub);
    }
    let browser = known.unwrap_or_else(|| new_browser(&hub));
    let page = html! {
        h1 { "Connect Microsoft Teams" }
        p { "Sign in with your work or school account, and messages for you will arrive in Microsoft Teams." }
        @if let Some(why) = state.last_failure { p.note role="status" { (failure_text(why)) } }
        form method="post" action={ "/sign-in/" (link) "/microsoft" } {
            input type="hidden" name="csrf" value=(csrf(&hub, id, &browser));
            button type="submit" { "Continue with Microsoft" }
        }
        p.small { "You will be asked to let this app read your profile and post messages to your chat with its bot." }
    };
    let mut response = shown(&hub, StatusCode::OK, "Connect Microsoft Teams", &page);
    let cookie = format!("{COOKIE}={browser}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[derive(Deserialize)]
struct Pressed {
    csrf: String,
}

/// `POST /sign-in/{link}/microsoft`: binds the sign-in to this browser and sends it to Microsoft.
async fn choose(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Pressed>, axum::extract::rejection::FormRejection>,
) -> Response {
    let Some(id) = sign_ins::by_link(&hub, &link) else { return Said::NotOurs.page(&hub) };
    let (Some(browser), Ok(Form(pressed))) = (browser(&headers), form) else {
        return Said::NoCookie.page(&hub);
    };
    let good: bool = csrf(&hub, id, &browser).as_bytes().ct_eq(pressed.csrf.as_bytes()).into();
    if !good || comes_from_elsewhere(&hub, &headers) {
        return Said::NoCookie.page(&hub);
    }
    match sign_ins::choose(&hub, id, hash(&browser)).await {
        Ok(url) => redirect(url.as_str()),
        Err(Failure::Refused(refusal)) => Said::from(refusal).page(&hub),
        Err(error) => broken(&hub, &error),
    }
}

/// What Microsoft appends to the redirect URI (authorization code flow, successful response and error response).
#[derive(Deserialize)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// `GET /sign-in/callback`: Microsoft's answer.
async fn callback(State(hub): State<Hub>, Query(returned): Query<Returned>, headers: HeaderMap) -> Response {
    let Some((id, attempt)) = returned.state.as_deref().and_then(|state| sign_ins::by_state(&hub, state))
    else {
        return Said::NotOurs.page(&hub);
    };
    let Some(browser) = browser(&headers) else { return Said::NoCookie.page(&hub) };
    let answer = match (returned.code, returned.error) {
        (Some(code), None) => Answer::Code(code.into()),
        (_, Some(error)) => Answer::Error { error, aadsts: aadsts(returned.error_description.as_deref()) },
        (None, None) => return Said::NotOurs.page(&hub),
    };
    match sign_ins::authorize(&hub, id, attempt, &hash(&browser), answer).await {
        Ok(Outcome::Completed) => Said::Done.page(&hub),
        Ok(Outcome::Provisional { return_to }) => redirect(return_to.as_str()),
        Ok(Outcome::Failed(why)) => Said::Failed(why, link_of(&hub, id)).page(&hub),
        Ok(Outcome::Refused(refusal)) => Said::from(refusal).page(&hub),
        Err(error) => broken(&hub, &error),
    }
}

/// The number of the first `AADSTSnnnnn`; nothing else of the text is looked at.
fn aadsts(description: Option<&str>) -> Option<u32> {
    let behind = description?.split_once("AADSTS")?.1;
    let digits = behind.find(|c: char| !c.is_ascii_digit()).map_or(behind, |end| &behind[..end]);
    digits.parse().ok()
}

/// Where the same browser can try again.
fn link_of(hub: &Hub, id: SignInId) -> String {
    format!("/sign-in/{id}.{}", hub.custody.sign_in_secret(SignInPurpose::Link, id, 0).expose_secret())
}

/// What there is to say instead of the button.
fn beyond(hub: &Hub, state: &SignIn, browser: Option<&str>) -> Option<Said> {
    let hash = browser.map(hash);
    match state.stage {
        Stage::Absent => Some(Said::NotOurs),
        Stage::Completed => Some(Said::Done),
        Stage::Voided => Some(Said::Voided),
        Stage::Refused => Some(Said::Failed(FailureReason::AccountLinkedElsewhere, String::new())),
        _ if !state.is_open(hub.clock.now()) => Some(Said::Lapsed),
        _ if sign_ins::is_bound_elsewhere(state, hash.as_deref()) => Some(Said::OtherBrowser),
        Stage::Open | Stage::Provisional | Stage::Lapsed => None,
    }
}

/// Everything that these pages say, the button excepted.
enum Said {
    Done,
    NotOurs,
    NoCookie,
    OtherBrowser,
    Lapsed,
    Voided,
    Stale,
    /// Why, and where to try again; empty where that makes no sense.
    Failed(FailureReason, String),
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchSignIn | Refusal::NotOffered => Self::NotOurs,
            Refusal::Lapsed => Self::Lapsed,
            Refusal::Voided => Self::Voided,
            Refusal::OtherBrowser => Self::OtherBrowser,
            Refusal::Completed => Self::Done,
            Refusal::StaleAttempt | Refusal::NothingToConfirm => Self::Stale,
            Refusal::WrongPerson => Self::Failed(FailureReason::WrongPerson, String::new()),
        }
    }
}

impl Said {
    fn page(&self, hub: &Hub) -> Response {
        let (status, title, text) = match self {
            Self::Done => (
                StatusCode::OK,
                "You are connected",
                "Messages for you will arrive in your chat with the bot in Microsoft Teams. You can close this page.",
            ),
            Self::NotOurs => (
                StatusCode::NOT_FOUND,
                "This link does not work",
                "It may have been cut off when it was copied. Ask for a new one where you got it.",
            ),
            Self::NoCookie => (
                StatusCode::FORBIDDEN,
                "Please start again",
                "This page must be used in the browser in which the link was opened, with cookies allowed. Open the link again.",
            ),
            Self::OtherBrowser => (
                StatusCode::FORBIDDEN,
                "This link is used in another browser",
                "It works only in the browser in which it was used first. Go on there, or ask for a new link.",
            ),
            Self::Lapsed => (
                StatusCode::GONE,
                "This link is too old",
                "Links are good for a few minutes only. Ask for a new one where you got it.",
            ),
            Self::Voided => (
                StatusCode::GONE,
                "This link does not count any more",
                "You typed login again since, or the code was wrong too often. Use the newest link in your chat with the bot, or type login there.",
            ),
            Self::Stale => (
                StatusCode::CONFLICT,
                "Please start again",
                "You have begun anew since. Go on in the newer window, or open the link again.",
            ),
            Self::Failed(why, _) => (StatusCode::OK, "You are not connected yet", failure_text(*why)),
        };
        let page = html! {
            h1 { (title) }
            p { (text) }
            @if let Self::Failed(_, again) = self {
                @if !again.is_empty() { p { a.button href=(again) { "Try again" } } }
            }
        };
        shown(hub, status, title, &page)
    }
}

fn failure_text(why: FailureReason) -> &'static str {
    match why {
        FailureReason::Declined => "You cancelled at Microsoft, or did not agree to what was asked.",
        FailureReason::ConsentRequired => {
            "Microsoft wants you to agree first. Try again, and agree to what is asked."
        }
        FailureReason::AdminConsentRequired => {
            "Your organisation wants an administrator to approve this app first. Please ask your IT department."
        }
        FailureReason::WrongPerson => {
            "You signed in with another account than the one this link was made for. Try again and choose that one."
        }
        FailureReason::TenantNotAdmitted => {
            "Your organisation has not been admitted here yet. Please ask who gave you the link."
        }
        FailureReason::PersonalAccount => {
            "That was a personal Microsoft account. Microsoft Teams needs a work or school account."
        }
        FailureReason::IdTokenInvalid | FailureReason::Refused => {
            "Microsoft's answer was not good. Please try again; if it happens again, tell who gave you the link."
        }
        FailureReason::NoRefreshToken => {
            "Microsoft gave no lasting permission. Try again, and agree to keep access when you are asked."
        }
        FailureReason::ProviderUnavailable => "Microsoft could not be reached. Please try again in a moment.",
        FailureReason::Misconfigured => {
            "Something is wrong on our side; it has been noted. Please try again later."
        }
        FailureReason::AccountLinkedElsewhere => {
            "This account of the product is connected to somebody else. It has to be disconnected there first."
        }
        FailureReason::WrongPassword => "The user name or the password is wrong.",
        FailureReason::SecondFactorRequired => "Please enter the code of your second factor as well.",
        FailureReason::TooManyAttempts => {
            "Too many passwords were tried. Please wait a quarter of an hour, or sign in with Office 365."
        }
        FailureReason::ProductUnavailable => {
            "The password could not be checked just now. Please try again in a moment."
        }
    }
}

fn shown(hub: &Hub, status: StatusCode, title: &str, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/sign-in/style.css";
            }
            body { main { (content) } }
        }
    };
    // A form that is answered by a redirect must be allowed to end where that leads.
    let authority = sign_ins::authorize_origin(hub);
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {authority}; frame-ancestors 'none'; base-uri 'none'"
    );
    let mut response =
        (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn redirect(to: &str) -> Response {
    let headers = [
        (header::LOCATION, to),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn broken(hub: &Hub, error: &dyn std::fmt::Display) -> Response {
    tracing::error!(error = %error, "A sign-in page could not be shown.");
    let text = html! {
        h1 { "Something went wrong" }
        p { "It has been noted. Please try again in a moment." }
    };
    shown(hub, StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", &text)
}

/// The value of our cookie, if it can be one of ours.
fn browser(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.into_iter().find_map(|(name, value)| (name == COOKIE).then_some(value))?;
    (value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        .then(|| value.to_owned())
}

/// 256 bits, of which two random ids give 244.
fn new_browser(hub: &Hub) -> String {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(hub.ids.uuid().as_bytes());
    bytes[16..].copy_from_slice(hub.ids.uuid().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn hash(browser: &str) -> String {
    hex::encode(digest(&SHA256, browser.as_bytes()))
}

/// Good for one sign-in in one browser.
fn csrf(hub: &Hub, id: SignInId, browser: &str) -> String {
    let secret = hub.custody.sign_in_secret(SignInPurpose::Csrf, id, 0);
    hash(&format!("{}.{browser}", secret.expose_secret()))
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
    fn only_the_number_of_microsofts_text_is_read() {
        assert_eq!(aadsts(Some("AADSTS65004: User declined to consent.")), Some(65004));
        assert_eq!(aadsts(Some("AADSTS: nothing")), None);
        assert_eq!(aadsts(Some("nothing")), None);
    }

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
