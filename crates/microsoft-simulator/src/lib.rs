//! A Microsoft to rehearse with: Entra ID, Graph, Bot Connector and a small Teams page, with faults on demand and a
//! clock that can be moved. It binds to loopback only and knows nothing of the hub.
//!
//! | Path | What |
//! |---|---|
//! | `/{tenant}/oauth2/v2.0/authorize`, `…/token`, `/{tenant}/v2.0/.well-known/openid-configuration`, `/{tenant}/discovery/v2.0/keys`, `/{tenant}/v2.0/adminconsent` | Entra ID, see [`entra`] |
//! | `/v1.0/…` | Graph, see [`graph`] |
//! | `/connector/v3/…`, `/botframework/…` | Bot Connector and Bot Framework, see [`connector`] |
//! | `/teams`, `/teams/{oid}` | each person's Teams: chat with the bot, install it, remove it, block it |
//! | `/control/…` | what only a simulator has, see [`control`] |
//!
//! # Signing in without a browser
//!
//! `POST` to the authorize URL itself, its query unchanged, with the form fields `person` (object id or user
//! principal name) and `consent=accept`. The answer is `302` to the redirect URI with `code` and `state`. No
//! cookies are used. `consent=cancel` declines. See [`entra::authorize`].
//!
//! # The bot
//!
//! Whether the bot is in a person's chat and whether Graph lists the app are one thing, `app_installed`. Most people
//! have the app from the start, and the bot was not told: it hears of them when they type, or by
//! [`Simulator::announce`]. Installing and removing it, on the Teams page or by the control API, is told if it is a
//! change. What Graph posts into the chat is told too, as said by the person (`echo`). Where no messaging endpoint is
//! set, nobody is told anything, and the rest works as it does with one. See [`activities`].
//!
//! **Invariant.** No request is answered whose `Host` is not a loopback name, so no web page can reach this
//! through a name of its own.

pub mod activities;
mod calls;
mod chance;
mod clock;
pub mod connector;
pub mod control;
mod dials;
pub mod entra;
mod faults;
pub mod graph;
mod page;
mod people;
mod signing;
mod simulator;
mod sockets;
mod teams;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use uuid::{Uuid, uuid};

pub use calls::CallCount;
pub use connector::Complaint;
pub use faults::{Fault, Flaw, Garbage, Kind, OPERATIONS};
pub use people::{CONSUMERS, CONTOSO, FABRIKAM, organisations};
pub use simulator::Simulator;
use sockets::{Cut, Sockets};

/// How a simulator is set up. It cannot be printed, because it holds secrets.
#[derive(Clone)]
pub struct Settings {
    /// Makes everything random repeatable, as far as calls come in the same order.
    pub seed: Option<u64>,
    /// Where it is reached, without a slash at the end. Found out from the socket if absent.
    pub public_url: Option<String>,
    /// The bearer token of the control API.
    pub control_token: String,
    /// The one application registered at Entra ID.
    pub client_id: Uuid,
    pub client_secret: String,
    /// The application that the bot is, which has a token of its own for the Bot Connector.
    pub bot_app_id: Uuid,
    pub bot_app_secret: String,
    /// Where the bot is told of what happens in Teams: an `http` URL on this machine, such as
    /// `http://localhost:8400/api/messages`. Without it, nothing is sent to anybody.
    pub messaging_endpoint: Option<String>,
    /// Compared exactly.
    pub redirect_uris: Vec<String>,
    /// The Teams app's id in its manifest: `externalId` of an app in the organisation's catalog.
    pub teams_app_id: String,
    /// How many people Contoso has besides those that everybody knows, `person-00001@contoso.example` and on.
    pub crowd: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: None,
            public_url: None,
            control_token: "simulator-control-token".into(),
            client_id: uuid!("c0ffee00-7a1b-4c2d-8e3f-405162738495"),
            client_secret: "simulator~client.secret".into(),
            bot_app_id: uuid!("b07b07b0-2c3d-4e5f-8a6b-71829304a5b6"),
            bot_app_secret: "simulator~bot.secret".into(),
            messaging_endpoint: None,
            redirect_uris: vec![],
            teams_app_id: "7e5ac0de-1b2c-4d3e-9f40-516273849506".into(),
            crowd: 0,
        }
    }
}

/// Serves a simulator until `shutdown`, then lets calls in flight end (hanging ones are cut).
///
/// Fails if `listener` is bound to anything but a loopback address.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    let settings = Settings {
        public_url: settings.public_url.or_else(|| Some(format!("http://{address}"))),
        ..settings
    };
    let (router, simulator) = simulator(settings)?;
    serve_simulator(listener, router, simulator, shutdown).await
}

/// Serves what [`simulator`] gave, where the caller wants to keep the handle.
///
/// Fails if `listener` is bound to anything but a loopback address.
pub async fn serve_simulator(
    listener: TcpListener,
    router: Router,
    simulator: Simulator,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    ensure!(address.ip().is_loopback(), "the simulator is for loopback addresses only, not {address}");
    tracing::info!(%address, "The Microsoft simulator is ready.");
    let shutdown = async move {
        shutdown.await;
        simulator.close();
    };
    axum::serve(Sockets(listener), router.into_make_service_with_connect_info::<Cut>())
        .with_graceful_shutdown(shutdown)
        .await
        .context("the simulator stopped serving")
}

/// A simulator as a router, and the handle by which it is controlled in the same process.
///
/// Fails if `public_url` is absent, since tokens name it. Faults that cut the socket need [`serve_simulator`];
/// elsewhere they break off the body.
pub fn simulator(settings: Settings) -> anyhow::Result<(Router, Simulator)> {
    let simulator = Simulator::new(settings)?;
    let router = Router::new()
        .merge(entra::routes())
        .merge(graph::routes())
        .merge(connector::routes())
        .merge(teams::routes())
        .merge(control::routes(&simulator))
        .layer(middleware::from_fn(guard))
        .with_state(simulator.clone());
    Ok((router, simulator))
}

/// Refuses callers that came by another name than a loopback one, and cuts sockets where a fault says so.
async fn guard(request: Request, next: Next) -> Response {
    if !is_loopback_host(&request) {
        return (StatusCode::MISDIRECTED_REQUEST, "The simulator answers to loopback names only.\n")
            .into_response();
    }
    let socket = request.extensions().get::<ConnectInfo<Cut>>().map(|ConnectInfo(cut)| cut.clone());
    sockets::cut_if_asked(socket, next.run(request).await)
}

fn is_loopback_host(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.or_else(|| request.uri().authority().map(Authority::as_str)) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|loopback| name.eq_ignore_ascii_case(loopback))
}

/// Locks; what a panicking call left behind is still good enough to rehearse with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
