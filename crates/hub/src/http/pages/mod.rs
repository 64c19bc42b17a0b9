//! What a person sees in a browser: the sign-in page or the login panel, the page for an administrator, and what came of
//! it.
//!
//! **Invariants.** Opening a link changes nothing. A button is pressed by the browser that was shown it, or nothing
//! happens. Links are built from `public_url`, never from `Host`.

mod consent;
mod frame;
mod panel;
mod said;
mod words;

use std::net::SocketAddr;

use axum::{
    Form, Router,
    extract::{ConnectInfo, Path, Query, State, rejection::FormRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use custody::SignInPurpose;
use domain::{
    SignInId,
    connection::{Connection, Status},
    sign_in::{FailureReason, SignIn, Stage},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use self::{
    frame::{Reader, browser, csrf, hash, keep, new_browser, pressed_in, redirect},
    said::Said,
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
pub use frame::{STYLE, document};

/// The routes of these files.
pub fn routes(hub: Hub) -> Router {
    Router::new()
        .route("/sign-in/{link}", get(open))
        .route("/sign-in/{link}/microsoft", get(back).post(choose))
        .route("/sign-in/{link}/password", get(back).post(password))
        .route("/consent/{link}", get(consent::open).post(consent::ask))
        .route(CALLBACK, get(callback))
        .route(STYLE, get(style))
        .with_state(hub)
}

async fn style() -> impl IntoResponse {
    let cache = (header::CACHE_CONTROL, "public, max-age=300");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), cache], include_str!("pages.css"))
}

/// `GET /sign-in/{link}`: shows the ways in, and changes nothing.
async fn open(State(hub): State<Hub>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let reader = Reader::of(&hub, &headers);
    let Some(id) = sign_ins::by_link(&hub, &link) else { return Said::NotOurs.page(reader) };
    show(reader, id, &link, browser(&headers), None).await
}

/// `GET` where a form was sent to: whoever asks for its address means the page with the form.
async fn back(State(hub): State<Hub>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    match sign_ins::by_link(&hub, &link) {
        Some(id) => redirect(&link_of(&hub, id)),
        None => Said::NotOurs.page(Reader::of(&hub, &headers)),
    }
}

/// What the link leads to now, in this browser; with the user name that was typed there a moment ago.
async fn show(
    reader: Reader<'_>,
    id: SignInId,
    link: &str,
    known: Option<String>,
    typed: Option<&SecretString>,
) -> Response {
    let hub = reader.hub;
    let state = match hub.commands.load::<SignIn>(id).await {
        Ok(loaded) => loaded.state,
        Err(error) => return reader.show_broken(&error),
    };
    let reader = reader.in_sign_in(&state);
    match beyond(hub, &state, known.as_deref()) {
        Some(Said::Done) if was_unlinked(hub, &state).await => return Said::Used.page(reader),
        Some(said) => return said.page(reader),
        None => {}
    }
    let browser = known.unwrap_or_else(|| new_browser(hub));
    let token = csrf(hub, id, &browser);
    let page = match sign_ins::shown(hub, id, &state).await {
        Ok(Some(person)) => match sign_ins::code(hub, id, &state) {
            Some(code) => panel::code_page(reader, &person, &code),
            None => panel::panel(reader, &state, &person, link, &token, typed),
        },
        Ok(None) => panel::for_product(reader, &state, link, &token),
        Err(error) => return reader.show_broken(&error),
    };
    keep(page, &browser)
}

/// What every button sends along.
#[derive(Deserialize)]
struct Pressed {
    csrf: String,
}

/// Who reads what comes of a sign-in. Should it not be known now, the browser's language does as well.
async fn reader_of<'a>(hub: &'a Hub, headers: &HeaderMap, id: SignInId) -> Reader<'a> {
    let reader = Reader::of(hub, headers);
    hub.commands.load::<SignIn>(id).await.map_or(reader, |loaded| reader.in_sign_in(&loaded.state))
}

/// `POST /sign-in/{link}/microsoft`: binds the sign-in to this browser and sends it to Microsoft.
async fn choose(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let Some(id) = sign_ins::by_link(&hub, &link) else {
        return Said::NotOurs.page(Reader::of(&hub, &headers));
    };
    let reader = reader_of(&hub, &headers, id).await;
    let token = form.ok().map(|Form(form)| form.csrf);
    let browser = match pressed_in(&hub, &headers, token.as_deref(), |browser| csrf(&hub, id, browser)) {
        Ok(browser) => browser,
        Err(said) => return said.page(reader),
    };
    match sign_ins::choose(&hub, id, hash(&browser)).await {
        Ok(url) => redirect(url.as_str()),
        Err(Failure::Refused(refusal)) => Said::from(refusal).page(reader),
        Err(error) => reader.show_broken(&error),
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
    let Some(id) = sign_ins::by_link(&hub, &link) else {
        return Said::NotOurs.page(Reader::of(&hub, &headers));
    };
    let reader = reader_of(&hub, &headers, id).await;
    let form = form.ok().map(|Form(form)| form);
    let token = form.as_ref().map(|form| form.csrf.as_str());
    let browser = match pressed_in(&hub, &headers, token, |browser| csrf(&hub, id, browser)) {
        Ok(browser) => browser,
        Err(said) => return said.page(reader),
    };
    let again = link_of(&hub, id);
    let Some(typed) = form.and_then(PasswordForm::typed) else {
        return Said::Failed(FailureReason::WrongPassword, again).page(reader);
    };
    let proxies = &hub.config.server.trusted_proxies;
    let address = (!proxies.is_empty()).then(|| address::network_of(peer.ip(), &headers, proxies));
    let name = typed.name.clone();
    match sign_ins::try_password(&hub, id, hash(&browser), address, typed).await {
        Ok(Tried::Failed(why @ FailureReason::TooManyAttempts)) => Said::Failed(why, again).page(reader),
        // Nobody has to type their name twice (WCAG 2.2, 3.3.7).
        Ok(Tried::Failed(_)) => show(reader, id, &link, Some(browser), Some(&name)).await,
        // The page is asked for anew, so that loading it again types nothing again.
        Ok(Tried::Provisional) => redirect(&again),
        Ok(Tried::Refused(refusal)) => Said::from(refusal).page(reader),
        Err(error) => reader.show_broken(&error),
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
    let reader = Reader::of(&hub, &headers);
    if let Some(state) = returned.state.as_deref().filter(|state| is_state(state)) {
        let said = returned.admin_consent.is_some_and(|said| said.eq_ignore_ascii_case("true"));
        return consent::returned(reader, &headers, state, said && returned.error.is_none()).await;
    }
    let Some((id, attempt)) = returned.state.as_deref().and_then(|state| sign_ins::by_state(&hub, state))
    else {
        return Said::NotOurs.page(reader);
    };
    let reader = reader_of(&hub, &headers, id).await;
    let Some(browser) = browser(&headers) else { return Said::NoCookie.page(reader) };
    let answer = match (returned.code, returned.error) {
        (Some(code), None) => Answer::Code(code.into()),
        (_, Some(error)) => Answer::Error { error, aadsts: aadsts(returned.error_description.as_deref()) },
        (None, None) => return Said::NotOurs.page(reader),
    };
    match sign_ins::authorize(&hub, id, attempt, &hash(&browser), answer).await {
        Ok(Outcome::Completed) => Said::Done.page(reader),
        Ok(Outcome::Provisional { return_to }) => redirect(return_to.as_str()),
        Ok(Outcome::Failed(why)) => Said::Failed(why, link_of(&hub, id)).page(reader),
        Ok(Outcome::Refused(refusal)) => Said::from(refusal).page(reader),
        Err(error) => reader.show_broken(&error),
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

/// Whether who was linked by the sign-in is linked no more. Where that can't be found out now, it is not said.
async fn was_unlinked(hub: &Hub, state: &SignIn) -> bool {
    let Some(authorized) = &state.authorized else { return false };
    let connection = hub.commands.load::<Connection>(authorized.person.connection()).await;
    connection.is_ok_and(|connection| connection.state.status == Status::Unlinked)
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
