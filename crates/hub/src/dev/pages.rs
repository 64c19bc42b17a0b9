//! What `chancery dev` adds to the hub: the clock's control, and the pages that a product would have.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::{AccountId, ClientId, SignInId};
use maud::{Markup, html};
use microsoft_simulator::Simulator;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{
    CLIENT, keep_clock_offset,
    passwords::{PASSWORD, USERS},
    templates,
};
use crate::{
    bot::catalogue::Language,
    clock::{Clock as _, MovableClock},
    http::{
        auth::Caller,
        pages::{STYLE, document},
    },
    hub::Hub,
    services::sign_ins::{self, Wish},
};

/// What can be moved.
#[derive(Clone)]
pub(super) struct Control {
    pub clock: Arc<MovableClock>,
    pub simulator: Simulator,
    pub token: String,
    pub data: PathBuf,
    pub simulator_url: String,
}

#[derive(Clone)]
struct Shared {
    hub: Hub,
    control: Arc<Control>,
}

pub(super) fn routes(hub: Hub, control: Control) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/dev")))
        .route("/dev", get(home))
        .route("/dev/sign-in", post(sign_in))
        .route("/dev/return", get(returned))
        .route("/dev/clock/advance", post(advance))
        .route("/dev/templates", get(templates::page))
        .route("/dev/style.css", get(templates::style))
        .layer(axum::middleware::from_fn(only_this_machine))
        .with_state(Shared { hub, control: Arc::new(control) })
}

/// A page elsewhere that names this machine in its own address space (DNS rebinding) comes with its own `Host`.
async fn only_this_machine(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "Only for this machine.").into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

/// The time after it was moved.
#[derive(Serialize, Deserialize)]
pub(super) struct Now {
    pub now: String,
}

async fn advance(State(shared): State<Shared>, headers: HeaderMap, Json(by): Json<Advance>) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(shared.control.token.as_bytes())) {
        return (StatusCode::UNAUTHORIZED, "Send the control token.").into_response();
    }
    let by = Duration::from_secs(by.seconds);
    shared.control.simulator.advance_clock(by);
    let offset = shared.control.clock.advance(by);
    if let Err(error) = keep_clock_offset(&shared.control.data, offset) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response();
    }
    Json(Now { now: shared.control.clock.now().to_string() }).into_response()
}

/// The product's settings page, as far as it matters here.
async fn home(State(shared): State<Shared>) -> Response {
    page(
        "Chancery dev",
        &html! {
            h1 { "The product" }
            p { "This page plays the product: it asks the hub for a sign-in link for one of its users, and goes there." }
            form method="post" action="/dev/sign-in" {
                p {
                    label for="account" { "Account" }
                    input id="account" name="account" value="u-1001" required;
                }
                button type="submit" { "Connect Microsoft Teams" }
            }
            p { a href={ (shared.control.simulator_url) "/teams" } { "Teams, as its users see it" } }
            p { a href="/dev/templates" { "The templates of messages" } }
            p.small {
                "Who types login to the bot there can come in as "
                @for (name, account) in USERS { code { (name) } " (" (account) "), " }
                "each with the password " code { (PASSWORD) } "."
            }
        },
    )
}

#[derive(Deserialize)]
struct Account {
    account: AccountId,
}

fn caller() -> anyhow::Result<(ClientId, Caller)> {
    let client: ClientId = CLIENT.parse()?;
    Ok((client.clone(), Caller { client, role: domain::client::Role::Admin, tenants: None }))
}

async fn sign_in(State(shared): State<Shared>, Form(form): Form<Account>) -> Response {
    let hub = &shared.hub;
    let wish = Wish { account: form.account, expected: None, return_url: None };
    let invited = match caller() {
        Ok((_, caller)) => sign_ins::invite(hub, &caller, &hub.ids.uuid().to_string(), wish).await,
        Err(error) => Err(error.into()),
    };
    match invited {
        Ok(invitation) => Redirect::to(invitation.url.as_str()).into_response(),
        Err(refusal) => (StatusCode::BAD_REQUEST, refusal.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Returned {
    sign_in: SignInId,
    code: String,
}

/// The product's registered return page: it knows who is logged in to it, and so can say that it was the right browser.
async fn returned(State(shared): State<Shared>, Query(returned): Query<Returned>) -> Response {
    let confirmed = match caller() {
        Ok((client, _)) => sign_ins::confirm(&shared.hub, &client, returned.sign_in, &returned.code).await,
        Err(error) => Err(error.into()),
    };
    let text = match &confirmed {
        Ok(()) => "You are connected. The product has confirmed that it was you.".to_owned(),
        Err(refusal) => format!("That did not work: {refusal}."),
    };
    page(
        "The product",
        &html! {
            h1 { "The product" }
            p { (text) }
            p { a href={ (shared.control.simulator_url) "/teams" } { "Go to Teams" } }
        },
    )
}

pub(super) fn page(title: &str, content: &Markup) -> Response {
    let page = document(Language::English, title, &[STYLE, "/dev/style.css"], content);
    let policy =
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page.into_string())).into_response()
}
