//! The control API: what only a simulator has. All of it is JSON and needs `Authorization: Bearer <control token>`.
//!
//! | Call | What |
//! |---|---|
//! | `GET /control/people` | everybody, with chat ids, consents and switches |
//! | `POST /control/people/{oid}` | a [`PersonChange`]: `disabled`, `app_installed`, `bot_blocked`, `locale`, `consent_revoked`, `admin_consent_required`, `ca_blocked`, `mfa_required`, `sign_in_frequency_seconds`, `mail`, `edov`, `new_chat` |
//! | `POST /control/people/{oid}/revoke` | ends all their sign-ins |
//! | `POST /control/people/{oid}/say` | `{"text": "login", "group": false}`: types it, and gives what the bot answered |
//! | `POST /control/people/{oid}/submit` | `{"message": "…", "value": {…}}`: submits the card in a message of the bot |
//! | `POST /control/people/{oid}/announce` | tells the bot once more that it is installed |
//! | `GET /control/calls?operation=&oid=` | counts by operation, person and status (0: no answer) |
//! | `GET /control/messages?chat=&oid=&by=` | every message stored that is by `graph` (which is the default), `person`, `bot` or `anybody` |
//! | `POST /control/activities` | a [`Sending`]: any activity with any token, as often as wanted; gives what the bot answered |
//! | `GET /control/activities?oid=` | the last activities sent, and what the bot answered |
//! | `POST /control/bot-token` | `{"service_url": "…", "flaw": "expired"}`: a token as activities have, for posting by hand |
//! | `POST`, `GET`, `DELETE /control/faults` | a [`Fault`]; those that wait; none any more |
//! | `GET /control/clock`, `POST /control/clock/advance` | `{"seconds": 3600}` |
//! | `GET`, `POST /control/settings` | a [`DialsChange`]: `rotation`, `throttle`, `retry_after`, `secret_expired`, `distribution`, `access_token_seconds`, `keep_old_key`, `echo`, `install_order`, `redelivery`, `answer_timeout_ms`, `messaging_endpoint`, `service_url`, `client_secret`, `redirect_uris` |
//! | `POST /control/keys/roll` | the other key signs |
//! | `GET /control/secrets` | every secret ever issued |
//! | `POST /control/reset` | everything as at the start |
//!
//! Calls, messages and activities can be waited for: with `at_least=3` the answer comes as soon as there are three, or after 30
//! seconds with what there is.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{Fault, Simulator};

pub use crate::activities::{Act, Sending, Sent, TokenFlaw, What};
pub use crate::dials::{Dials, DialsChange, Distribution, Echo, InstallOrder, Redelivery, Rotation};
pub use crate::entra::grants::IssuedSecret;
pub use crate::graph::store::{Author, MessageRecord};
pub use crate::simulator::{PersonChange, PersonView};

pub(crate) fn routes(simulator: &Simulator) -> Router<Simulator> {
    Router::new()
        .route("/control/people", get(people))
        .route("/control/people/{oid}", post(change_person))
        .route("/control/people/{oid}/revoke", post(revoke))
        .route("/control/people/{oid}/say", post(say))
        .route("/control/people/{oid}/submit", post(submit))
        .route("/control/people/{oid}/announce", post(announce))
        .route("/control/activities", get(activities).post(send))
        .route("/control/bot-token", post(bot_token))
        .route("/control/calls", get(calls))
        .route("/control/messages", get(messages))
        .route("/control/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/control/clock", get(clock))
        .route("/control/clock/advance", post(advance))
        .route("/control/settings", get(settings).post(turn))
        .route("/control/keys/roll", post(roll_keys))
        .route("/control/secrets", get(secrets))
        .route("/control/reset", post(reset))
        .route_layer(middleware::from_fn_with_state(simulator.clone(), authorize))
}

/// Why a control call was refused.
struct Problem(StatusCode, String);

impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

type Answer = Result<Json<Value>, Problem>;

async fn authorize(State(simulator): State<Simulator>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let token = given.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    if !bool::from(token.ct_eq(simulator.0.settings.control_token.as_bytes())) {
        return Problem(StatusCode::UNAUTHORIZED, "the control token is missing or wrong".into())
            .into_response();
    }
    next.run(request).await
}

async fn people(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!(simulator.people())))
}

async fn change_person(State(simulator): State<Simulator>, Path(oid): Path<Uuid>, body: Bytes) -> Answer {
    let person = simulator.change_person(oid, read(&body)?).ok_or_else(nobody)?;
    Ok(Json(json!(person)))
}

async fn revoke(State(simulator): State<Simulator>, Path(oid): Path<Uuid>) -> Answer {
    if simulator.revoke_sessions(oid) { done() } else { Err(nobody()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichCalls {
    operation: Option<String>,
    oid: Option<Uuid>,
    #[serde(default)]
    at_least: u64,
}

async fn calls(State(simulator): State<Simulator>, Query(which): Query<WhichCalls>) -> Answer {
    let wanted = |simulator: &Simulator| -> Vec<_> {
        let calls = simulator.calls().into_iter();
        calls
            .filter(|it| which.operation.as_deref().is_none_or(|operation| it.operation == operation))
            .filter(|it| which.oid.is_none() || it.oid == which.oid)
            .collect()
    };
    wait(&simulator, |it| wanted(it).iter().map(|call| call.count).sum::<u64>() >= which.at_least).await;
    Ok(Json(json!(wanted(&simulator))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichMessages {
    chat: Option<String>,
    oid: Option<Uuid>,
    #[serde(default)]
    by: By,
    #[serde(default)]
    at_least: usize,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    #[default]
    Graph,
    Person,
    Bot,
    Anybody,
}

impl By {
    fn author(self) -> Option<Author> {
        match self {
            Self::Graph => Some(Author::Graph),
            Self::Person => Some(Author::Person),
            Self::Bot => Some(Author::Bot),
            Self::Anybody => None,
        }
    }
}

async fn messages(State(simulator): State<Simulator>, Query(which): Query<WhichMessages>) -> Response {
    let wanted = |simulator: &Simulator| simulator.said(which.by.author(), which.chat.as_deref(), which.oid);
    wait(&simulator, |it| which.at_least == 0 || wanted(it).len() >= which.at_least).await;
    Json(wanted(&simulator)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    text: String,
    #[serde(default)]
    group: bool,
}

async fn say(State(simulator): State<Simulator>, Path(oid): Path<Uuid>, body: Bytes) -> Answer {
    let Say { text, group } = read(&body)?;
    let told = if group { simulator.say_in_group(oid, &text).await } else { simulator.say(oid, &text).await };
    told.map(|sent| Json(json!(sent))).ok_or_else(unheard)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submit {
    message: String,
    #[serde(default)]
    value: Value,
}

async fn submit(State(simulator): State<Simulator>, Path(oid): Path<Uuid>, body: Bytes) -> Answer {
    let Submit { message, value } = read(&body)?;
    simulator.submit(oid, &message, value).await.map(|sent| Json(json!(sent))).ok_or_else(unheard)
}

async fn announce(State(simulator): State<Simulator>, Path(oid): Path<Uuid>) -> Answer {
    simulator.announce(oid).await;
    done()
}

async fn send(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let sent = simulator.send(read(&body)?).await;
    sent.map(|sent| Json(json!(sent))).map_err(|problem| Problem(StatusCode::BAD_REQUEST, problem))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichActivities {
    oid: Option<Uuid>,
    #[serde(default)]
    at_least: usize,
}

async fn activities(State(simulator): State<Simulator>, Query(which): Query<WhichActivities>) -> Answer {
    let wanted = |simulator: &Simulator| -> Vec<_> {
        let sent = simulator.sent().into_iter();
        sent.filter(|it| which.oid.is_none() || it.oid() == which.oid).collect()
    };
    wait(&simulator, |it| which.at_least == 0 || wanted(it).len() >= which.at_least).await;
    Ok(Json(json!(wanted(&simulator))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichToken {
    service_url: Option<String>,
    flaw: Option<TokenFlaw>,
}

async fn bot_token(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let WhichToken { service_url, flaw } = read(&body)?;
    let service_url = service_url.unwrap_or_else(|| simulator.service_url());
    Ok(Json(json!({ "token": simulator.bot_token(&service_url, flaw) })))
}

/// Waits for something to happen, but not for ever, nor beyond the end of the simulator.
async fn wait(simulator: &Simulator, holds: impl Fn(&Simulator) -> bool) {
    tokio::select! {
        () = simulator.wait_until(holds) => {}
        () = simulator.pause(WAIT_MS) => {}
    }
}

const WAIT_MS: u64 = 30_000;

async fn faults(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!(simulator.faults())))
}

async fn add_fault(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let fault: Fault = read(&body)?;
    simulator.add_fault(fault).map_err(|problem| Problem(StatusCode::BAD_REQUEST, problem))?;
    done()
}

async fn clear_faults(State(simulator): State<Simulator>) -> Answer {
    simulator.clear_faults();
    done()
}

async fn clock(State(simulator): State<Simulator>) -> Answer {
    let (now, ahead_ms) = simulator.time();
    Ok(Json(json!({ "now": now, "ahead_ms": ahead_ms })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u32,
}

async fn advance(state: State<Simulator>, body: Bytes) -> Answer {
    let Advance { seconds } = read(&body)?;
    state.advance_clock(Duration::from_secs(seconds.into()));
    clock(state).await
}

async fn settings(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!(simulator.dials())))
}

async fn turn(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    Ok(Json(json!(simulator.turn(read(&body)?))))
}

async fn roll_keys(State(simulator): State<Simulator>) -> Answer {
    simulator.roll_keys();
    done()
}

async fn secrets(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!(simulator.secrets())))
}

async fn reset(State(simulator): State<Simulator>) -> Answer {
    simulator.reset();
    done()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem(StatusCode::BAD_REQUEST, error.to_string()))
}

#[expect(clippy::unnecessary_wraps, reason = "it ends handlers that can fail")]
fn done() -> Answer {
    Ok(Json(json!({})))
}

fn unheard() -> Problem {
    let problem = "there is no such person, no such chat, or no messaging endpoint on this machine";
    Problem(StatusCode::CONFLICT, problem.into())
}

fn nobody() -> Problem {
    Problem(StatusCode::NOT_FOUND, "there is no such person".into())
}
