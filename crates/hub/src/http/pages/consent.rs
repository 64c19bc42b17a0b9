//! The page for an administrator, who consents for a whole organisation.

use axum::{
    Form,
    extract::{Path, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use maud::html;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::{
    frame::{broken, browser, comes_from_elsewhere, hash, keep, new_browser, redirect, shown},
    said::Said,
};
use crate::{
    hub::Hub,
    services::consent::{self, Nowhere, Returned},
};

const TITLE: &str = "Approve this app for your organisation";

/// `GET /consent/{link}`: says what is asked, and changes nothing.
pub(super) async fn open(State(hub): State<Hub>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let page = match consent::by_link(&hub, &link) {
        Ok(page) => page,
        Err(nowhere) => return Said::from(nowhere).page(&hub),
    };
    let browser = browser(&headers).unwrap_or_else(|| new_browser(&hub));
    let content = html! {
        h1 { (TITLE) }
        p { "Somebody of your organisation wants to get messages in Microsoft Teams by this app, and Microsoft wants an administrator to approve it first." }
        p { "Microsoft will ask you for these rights, for everybody of your organisation who signs in:" }
        ul { @for scope in &hub.config.microsoft.scopes { li { code { (scope) } } } }
        form method="post" action={ "/consent/" (link) } {
            input type="hidden" name="csrf" value=(consent::csrf(&hub, page, &browser));
            button type="submit" { "Continue to Microsoft" }
        }
        p.small { "Organisation " (page.tenant) ". Only an administrator of it can approve." }
    };
    keep(shown(&hub, StatusCode::OK, TITLE, &content), &browser)
}

#[derive(Deserialize)]
pub(super) struct Pressed {
    csrf: String,
}

/// `POST /consent/{link}`: sends the administrator to Microsoft.
pub(super) async fn ask(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let page = match consent::by_link(&hub, &link) {
        Ok(page) => page,
        Err(nowhere) => return Said::from(nowhere).page(&hub),
    };
    let (Some(browser), Ok(Form(pressed))) = (browser(&headers), form) else {
        return Said::NoCookie.page(&hub);
    };
    let good: bool = consent::csrf(&hub, page, &browser).as_bytes().ct_eq(pressed.csrf.as_bytes()).into();
    if !good || comes_from_elsewhere(&hub, &headers) {
        return Said::NoCookie.page(&hub);
    }
    redirect(consent::ask(&hub, page, &hash(&browser)).as_str())
}

/// Microsoft's answer to the administrator's browser.
pub(super) async fn returned(hub: &Hub, headers: &HeaderMap, state: &str, consented: bool) -> Response {
    let Some(browser) = browser(headers) else { return Said::NoCookie.page(hub) };
    match consent::returned(hub, state, &hash(&browser), consented).await {
        Ok(Returned::Reported | Returned::Again) => Said::ConsentReported.page(hub),
        Ok(Returned::Declined) => Said::ConsentDeclined.page(hub),
        Ok(Returned::Nowhere(nowhere)) => Said::from(nowhere).page(hub),
        Err(error) => broken(hub, &error),
    }
}

impl From<Nowhere> for Said {
    fn from(nowhere: Nowhere) -> Self {
        match nowhere {
            Nowhere::NotOurs => Self::NotOurs,
            Nowhere::Lapsed => Self::Lapsed,
        }
    }
}
