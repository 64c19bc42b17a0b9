//! What a person sees in a browser: the sign-in page or the login panel, the page for an administrator, and what came of
//! it.
//!
//! **Invariants.** Opening a link changes nothing. A button is pressed by the browser that was shown it, or nothing
//! happens. Links are built from `public_url`, never from `Host`.

mod consent;
mod frame;
mod panel;
mod said;

use std::net::SocketAddr;

use axum::{
    Form, Router,
    extract::{ConnectInfo, Path, Query, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use custody::SignInPurpose;
use domain::{
    SignInId,
    sign_in::{FailureReason, SignIn, Stage},
};
use maud::html;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use self::{
    frame::{broken, browser, comes_from_elsewhere, csrf, hash, keep, new_browser, redirect, shown},
    said::{Said, failure_text},
};
use super::address;
use crate::{
    commands::Failure,
    hub::Hub,
    services::{
        consent::is_state,
        passwords::Typed,
        sign_ins::{self, Answer, CALLBACK, Outcome, Tried},
    },
};

/// The routes of these files.
pub fn routes(hub: Hub) -> Router {
    Router::new()
        .route("/sign-in/{link}", get(open))
        .route("/sign-in/{link}/microsoft", post(choose))
        .route("/sign-in/{link}/password", post(password))
        .route("/consent/{link}", get(consent::open).post(consent::ask))
        .route(CALLBACK, get(callback))
        .route("/sign-in/style.css", get(style))
        .with_state(hub)
}

async fn style() -> impl IntoResponse {
    let cache = (header::CACHE_CONTROL, "public, max-age=300");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), cache], include_str!("pages.css"))
}

/// `GET /sign-in/{link}`: shows the ways in, and changes nothing.
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
    let token = csrf(&hub, id, &browser);
    let page = match sign_ins::shown(&hub, id, &state).await {
        Ok(Some(person)) => match sign_ins::code(&hub, id, &state) {
            Some(code) => panel::code_page(&hub, &person, &code),
            None => panel::panel(&hub, &state, &person, &link, &token),
        },
        Ok(None) => {
            let content = html! {
                h1 { "Connect Microsoft Teams" }
                p { "Sign in with your work or school account, and messages for you will arrive in Microsoft Teams." }
                @if let Some(why) = state.last_failure { p.note role="status" { (failure_text(why)) } }
                form method="post" action={ "/sign-in/" (link) "/microsoft" } {
                    input type="hidden" name="csrf" value=(token);
                    button type="submit" { "Continue with Microsoft" }
                }
                p.small { "You will be asked to let this app read your profile and post messages to your chat with its bot." }
            };
            shown(&hub, StatusCode::OK, "Connect Microsoft Teams", &content)
        }
        Err(error) => return broken(&hub, &error),
    };
    keep(page, &browser)
}

#[derive(Deserialize)]
struct Pressed {
    csrf: String,
}

/// The sign-in and the browser of a button that was pressed where it was shown.
fn pressed(
    hub: &Hub,
    link: &str,
    headers: &HeaderMap,
    token: Option<&str>,
) -> Result<(SignInId, String), Said> {
    let id = sign_ins::by_link(hub, link).ok_or(Said::NotOurs)?;
    let (browser, token) = browser(headers).zip(token).ok_or(Said::NoCookie)?;
    let good: bool = csrf(hub, id, &browser).as_bytes().ct_eq(token.as_bytes()).into();
    if !good || comes_from_elsewhere(hub, headers) {
        return Err(Said::NoCookie);
    }
    Ok((id, browser))
}

/// `POST /sign-in/{link}/microsoft`: binds the sign-in to this browser and sends it to Microsoft.
async fn choose(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let token = form.ok().map(|Form(form)| form.csrf);
    let (id, browser) = match pressed(&hub, &link, &headers, token.as_deref()) {
        Ok(pressed) => pressed,
        Err(said) => return said.page(&hub),
    };
    match sign_ins::choose(&hub, id, hash(&browser)).await {
        Ok(url) => redirect(url.as_str()),
        Err(Failure::Refused(refusal)) => Said::from(refusal).page(&hub),
        Err(error) => broken(&hub, &error),
    }
}

/// What a person types. Neither of it is kept.
#[derive(Deserialize)]
struct PasswordForm {
    csrf: String,
    name: SecretString,
    password: SecretString,
    second_factor: Option<SecretString>,
}

/// In bytes; what is longer is nobody's.
const NAME_MAX: usize = 256;
const PASSWORD_MAX: usize = 1024;

impl PasswordForm {
    /// `None` where nothing was typed, or more than anybody would.
    fn typed(self) -> Option<Typed> {
        let fits = |text: &SecretString, most| (1..=most).contains(&text.expose_secret().len());
        let good = fits(&self.name, NAME_MAX) && fits(&self.password, PASSWORD_MAX);
        let second_factor = self.second_factor.filter(|code| fits(code, NAME_MAX));
        good.then_some(Typed { name: self.name, password: self.password, second_factor })
    }
}

/// `POST /sign-in/{link}/password`: binds the sign-in to this browser and has the password checked.
async fn password(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Response {
    let form = form.ok().map(|Form(form)| form);
    let token = form.as_ref().map(|form| form.csrf.as_str());
    let (id, browser) = match pressed(&hub, &link, &headers, token) {
        Ok(pressed) => pressed,
        Err(said) => return said.page(&hub),
    };
    let again = link_of(&hub, id);
    let Some(typed) = form.and_then(PasswordForm::typed) else {
        return Said::Failed(FailureReason::WrongPassword, again).page(&hub);
    };
    let proxies = &hub.config.server.trusted_proxies;
    let address = (!proxies.is_empty()).then(|| address::network_of(peer.ip(), &headers, proxies));
    match sign_ins::try_password(&hub, id, hash(&browser), address, typed).await {
        Ok(Tried::Failed(why @ FailureReason::TooManyAttempts)) => Said::Failed(why, again).page(&hub),
        // The page is asked for anew, so that loading it again types nothing again.
        Ok(Tried::Provisional | Tried::Failed(_)) => redirect(&again),
        Ok(Tried::Refused(refusal)) => Said::from(refusal).page(&hub),
        Err(error) => broken(&hub, &error),
    }
}

/// What Microsoft appends to the redirect URI (authorization code flow, successful response and error response; admin
/// consent).
#[derive(Deserialize)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    admin_consent: Option<String>,
}

/// `GET /sign-in/callback`: Microsoft's answer.
async fn callback(State(hub): State<Hub>, Query(returned): Query<Returned>, headers: HeaderMap) -> Response {
    if let Some(state) = returned.state.as_deref().filter(|state| is_state(state)) {
        let said = returned.admin_consent.is_some_and(|said| said.eq_ignore_ascii_case("true"));
        return consent::returned(&hub, &headers, state, said && returned.error.is_none()).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_microsofts_text_is_read() {
        assert_eq!(aadsts(Some("AADSTS65004: User declined to consent.")), Some(65004));
        assert_eq!(aadsts(Some("AADSTS: nothing")), None);
        assert_eq!(aadsts(Some("nothing")), None);
    }
}
