//! The token endpoint: codes and refresh tokens against access tokens.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;
use uuid::Uuid;

use super::denial::Denial;
use super::grants::{AccessToken, SignIn};
use super::id_token::id_token;
use super::{Authority, app_token, scopes};
use crate::calls::{Call, Refusal, perform};
use crate::{Flaw, Simulator, lock};

/// Microsoft's tokens are about this long, and column widths and header limits should know it.
const ACCESS_TOKEN_LENGTH: usize = 1500;
const REFRESH_TOKEN_LENGTH: usize = 1000;

/// `POST /{tenant}/oauth2/v2.0/token`
pub(crate) async fn token(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request::read(tenant, &headers, &body);
    let call = Call {
        operation: match request.grant_type() {
            "authorization_code" => "token.code",
            "refresh_token" => "token.refresh",
            app_token::GRANT_TYPE => "token.app",
            _ => "token.other",
        },
        oid: request.secret().and_then(|secret| simulator.0.grants.owner(secret)),
        chat: None,
    };
    let correlation = request.correlation;
    let (refusing, handling) = (simulator.clone(), simulator.clone());
    perform(
        &simulator,
        call,
        move |refusal| refuse(&refusing, refusal, correlation),
        move |flaw| {
            let answer = match request.grant_type() {
                app_token::GRANT_TYPE => app_token::issue(&handling, &request),
                _ => request
                    .grant(&handling)
                    .map(|(sign_in, scopes)| issue(&handling, &request, &sign_in, scopes, flaw)),
            };
            answer.unwrap_or_else(|denial| denial.answer(&handling, correlation))
        },
    )
    .await
}

pub(super) struct Request {
    pub(super) tenant: String,
    fields: HashMap<String, String>,
    /// Client id and secret in an `Authorization: Basic` header.
    basic: Option<(String, String)>,
    correlation: Option<Uuid>,
}

impl Request {
    fn read(tenant: String, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_form = text(header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        Self {
            tenant,
            fields: if is_form {
                form_urlencoded::parse(body).into_owned().collect()
            } else {
                HashMap::new()
            },
            basic: text(header::AUTHORIZATION.as_str()).and_then(basic),
            correlation: text("client-request-id").and_then(|id| id.parse().ok()),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn demand(&self, name: &str) -> Result<&str, Denial> {
        self.field(name).ok_or_else(|| {
            Denial::saying(900_144, format!("The request body must contain the parameter '{name}'."))
        })
    }

    fn grant_type(&self) -> &str {
        self.field("grant_type").unwrap_or_default()
    }

    /// The secret that is to be exchanged.
    fn secret(&self) -> Option<&str> {
        self.field("code").or_else(|| self.field("refresh_token"))
    }

    /// The sign-in that the request has a right to, and the scopes that it wants of it.
    fn grant(&self, simulator: &Simulator) -> Result<(Arc<SignIn>, BTreeSet<String>), Denial> {
        let world = &simulator.0;
        let authority = Authority::parse(&self.tenant).ok_or_else(|| Denial::new(90002))?;
        let grant_type = self.demand("grant_type")?;
        self.authenticate(simulator)?;
        let wanted = self.field("scope").map(scopes::parse).transpose()?;
        let now_ms = world.clock.now_ms();
        let consents = |person: &_| world.directory.consents(person);
        let sign_in = match grant_type {
            "authorization_code" => {
                let code = self.demand("code")?;
                let redirect_uri = self.demand("redirect_uri")?;
                if let Some(verifier) = self.field("code_verifier") {
                    world.grants.record_ours("code_verifier", verifier);
                }
                world.grants.redeem(
                    code,
                    now_ms,
                    |it| self.fits_code(it, redirect_uri, wanted.as_ref()),
                    consents,
                )?
            }
            "refresh_token" => {
                let token = self.demand("refresh_token")?;
                let fits = |it: &SignIn| {
                    if !authority.admits(&it.person) {
                        return Err(Denial::new(50020));
                    }
                    within(wanted.as_ref(), it)
                };
                world.grants.refresh(token, simulator.dials().rotation, now_ms, fits, consents)?
            }
            _ => return Err(Denial::new(70003)),
        };
        let scopes = wanted.unwrap_or_else(|| sign_in.scopes.clone());
        Ok((sign_in, scopes))
    }

    fn authenticate(&self, simulator: &Simulator) -> Result<(), Denial> {
        self.authenticate_as(simulator.0.settings.client_id, &lock(&simulator.0.client_secret))?;
        if simulator.dials().secret_expired {
            return Err(Denial::new(7_000_222));
        }
        Ok(())
    }

    /// Whether it comes from the application with this id, which proves it by this secret.
    pub(super) fn authenticate_as(&self, client_id: Uuid, client_secret: &str) -> Result<(), Denial> {
        let (basic_id, basic_secret) =
            self.basic.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str())).unzip();
        let given = match self.field("client_id").or(basic_id) {
            Some(id) => id,
            None => self.demand("client_id")?,
        };
        if given.parse() != Ok(client_id) {
            return Err(Denial::saying(
                700_016,
                format!("Application '{given}' was not found in the directory."),
            ));
        }
        let secret = self.field("client_secret").or(basic_secret).ok_or_else(|| Denial::new(7_000_218))?;
        if !bool::from(secret.as_bytes().ct_eq(client_secret.as_bytes())) {
            return Err(Denial::new(7_000_215));
        }
        Ok(())
    }

    fn fits_code(
        &self,
        sign_in: &SignIn,
        redirect_uri: &str,
        wanted: Option<&BTreeSet<String>>,
    ) -> Result<(), Denial> {
        if self.tenant != sign_in.tenant {
            return Err(Denial::new(700_005));
        }
        if redirect_uri != sign_in.redirect_uri {
            return Err(Denial::new(500_112));
        }
        if let Some(challenge) = &sign_in.code_challenge {
            let verifier = self.field("code_verifier").unwrap_or_default();
            let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
            if hash != *challenge {
                return Err(Denial::new(501_481));
            }
        }
        within(wanted, sign_in)
    }
}

/// Only what was signed in for can be asked of the token endpoint.
fn within(wanted: Option<&BTreeSet<String>>, sign_in: &SignIn) -> Result<(), Denial> {
    match wanted {
        Some(wanted) if !wanted.is_subset(&sign_in.scopes) => Err(Denial::new(65001)),
        _ => Ok(()),
    }
}

fn basic(value: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    // RFC 6749, section 2.3.1: both are form-encoded before they are put together.
    let plain =
        |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned());
    Some((plain(id)?, plain(secret)?))
}

fn issue(
    simulator: &Simulator,
    request: &Request,
    sign_in: &Arc<SignIn>,
    scopes: BTreeSet<String>,
    flaw: Option<Flaw>,
) -> Response {
    let world = &simulator.0;
    let now_ms = world.clock.now_ms();
    let expires_in =
        simulator.dials().access_token_seconds.unwrap_or_else(|| world.chance.between(3600, 5400));
    let access_token = world.chance.text("EwB", ACCESS_TOKEN_LENGTH);
    let turn = usize::try_from(world.chance.between(0, 99)).unwrap_or_default();
    let mut answer = json!({
        "token_type": "Bearer",
        "scope": scopes::write(&scopes, turn),
        "expires_in": expires_in,
        "ext_expires_in": expires_in,
        "access_token": access_token,
    });
    if scopes.contains("openid") && flaw != Some(Flaw::NoIdToken) {
        let nonce = sign_in.nonce.as_deref().filter(|_| request.grant_type() == "authorization_code");
        answer["id_token"] = id_token(simulator, sign_in, nonce, flaw).into();
    }
    if sign_in.scopes.contains("offline_access") && flaw != Some(Flaw::NoRefreshToken) {
        let token = world.chance.text("0.A", REFRESH_TOKEN_LENGTH);
        answer["refresh_token"] = token.as_str().into();
        world.grants.add_refresh_token(token, sign_in, now_ms);
    }
    let token =
        AccessToken { person: sign_in.person.clone(), scopes, expires_ms: now_ms + expires_in * 1000 };
    world.grants.add_access_token(access_token, token);
    answered(answer)
}

/// A token response: nobody may keep a copy.
pub(super) fn answered(answer: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(answer)).into_response()
}

fn refuse(simulator: &Simulator, refusal: Refusal, correlation: Option<Uuid>) -> Response {
    match refusal {
        Refusal::Aadsts(code) => Denial::new(code).answer(simulator, correlation),
        Refusal::ClaimsChallenge | Refusal::Connector(_) => Denial::new(50076).answer(simulator, correlation),
        Refusal::Status { status, retry_after_seconds } => {
            let denial = match status {
                StatusCode::UNAUTHORIZED => Denial::new(7_000_215),
                StatusCode::TOO_MANY_REQUESTS => Denial::new(90055),
                status if status.is_server_error() => Denial::new(90033),
                _ => Denial::new(9_002_313),
            };
            let mut response = denial.answer_with(status, simulator, correlation);
            if let Some(seconds) = retry_after_seconds {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}
