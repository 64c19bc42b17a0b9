//! The page for an administrator, who consents for a whole organisation.

use axum::{
    Form,
    extract::{Path, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use domain::{TenantId, tenant::Tenant};
use maud::html;

use super::{
    Pressed,
    frame::{Reader, browser, hash, keep, new_browser, pressed_in, redirect},
    said::Said,
};
use crate::{
    hub::Hub,
    services::consent::{self, Nowhere, Returned},
};

/// `GET /consent/{link}`: says what is asked, and changes nothing.
pub(super) async fn open(State(hub): State<Hub>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let reader = Reader::of(&hub, &headers);
    let page = match consent::by_link(&hub, &link) {
        Ok(page) => page,
        Err(nowhere) => return Said::from(nowhere).page(reader),
    };
    let organisation = match hub.commands.load::<Tenant>(page.tenant).await {
        Ok(tenant) => named(&tenant.state, page.tenant),
        Err(error) => return reader.show_broken(&error),
    };
    let (words, browser) = (reader.words(), browser(&headers).unwrap_or_else(|| new_browser(&hub)));
    let content = html! {
        h1 { (words.approve) }
        p { (words.approval_wanted) }
        p { (words.rights) }
        ul { @for scope in &hub.config.microsoft.scopes { li { code { (scope) } } } }
        form method="post" action={ "/consent/" (link) } {
            input type="hidden" name="csrf" value=(consent::csrf(&hub, page, &browser));
            button type="submit" { (words.continue_to_microsoft) }
        }
        p.small { ((words.only_administrators)(&organisation)) }
    };
    keep(reader.show(StatusCode::OK, words.approve, &content), &browser)
}

/// An organisation as its administrator may know it: by the name that the operator gave it, if any, and its id.
fn named(tenant: &Tenant, id: TenantId) -> String {
    tenant.name.as_ref().map_or_else(|| id.to_string(), |name| format!("{name} ({id})"))
}

/// `POST /consent/{link}`: sends the administrator to Microsoft.
pub(super) async fn ask(
    State(hub): State<Hub>,
    Path(link): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let asked = consent::by_link(&hub, &link).map_err(Said::from).and_then(|page| {
        let token = form.ok().map(|Form(form)| form.csrf);
        let csrf = |browser: &str| consent::csrf(&hub, page, browser);
        Ok((page, pressed_in(&hub, &headers, token.as_deref(), csrf)?))
    });
    match asked {
        Ok((page, browser)) => redirect(consent::ask(&hub, page, &hash(&browser)).as_str()),
        Err(said) => said.page(Reader::of(&hub, &headers)),
    }
}

/// Microsoft's answer to the administrator's browser.
pub(super) async fn returned(
    reader: Reader<'_>,
    headers: &HeaderMap,
    state: &str,
    consented: bool,
) -> Response {
    let Some(browser) = browser(headers) else { return Said::NoCookie.page(reader) };
    match consent::returned(reader.hub, state, &hash(&browser), consented).await {
        Ok(Returned::Reported | Returned::Again) => Said::ConsentReported.page(reader),
        Ok(Returned::Declined) => Said::ConsentDeclined.page(reader),
        Ok(Returned::Nowhere(nowhere)) => Said::from(nowhere).page(reader),
        Err(error) => reader.show_broken(&error),
    }
}

impl From<Nowhere> for Said {
    fn from(nowhere: Nowhere) -> Self {
        match nowhere {
            Nowhere::NotOurs => Self::NotOurs,
            Nowhere::Lapsed => Self::ConsentLapsed,
        }
    }
}
