//! The authorize endpoint: pick a person, consent, and go back with a code.
//!
//! The pages' forms are posted to the very URL that showed them, so nothing is kept in between, cookies are not
//! needed, and a script can post both answers at once:
//!
//! | Form field | Values |
//! |---|---|
//! | `person` | an object id or a user principal name |
//! | `consent` | `accept`; `cancel` declines (`access_denied`, or `consent_required` where only an administrator could consent); `request` asks an administrator |
//!
//! Without `consent`, a person who has consented before goes straight back with a code; others get the page.
//!
//! **Invariant.** Nobody is redirected to an address that was not registered.

use std::collections::{BTreeSet, HashMap};

use axum::extract::{Form, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use uuid::Uuid;

use super::denial::Denial;
use super::grants::SignIn;
use super::{Authority, consent, refuse_plainly, scopes};
use crate::calls::{Call, perform};
use crate::people::Person;
use crate::{Simulator, lock};

pub(crate) type Fields = HashMap<String, String>;

const CODE_LENGTH: usize = 600;

/// `GET /{tenant}/oauth2/v2.0/authorize`
pub(crate) async fn show(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    Query(query): Query<Fields>,
) -> Response {
    let call = Call { operation: "authorize", oid: None, chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| match Request::read(&world, tenant, &query) {
        Ok(request) if request.prompt == "none" => {
            let denial = Denial::saying(50058, "A silent sign-in was asked for, but nobody is signed in.");
            request.turn_away(&world, "interaction_required", &denial)
        }
        Ok(request) => consent::pick(&world, &request, None),
        Err(refusal) => refusal.answer(&world),
    })
    .await
}

/// `POST /{tenant}/oauth2/v2.0/authorize`, with the query of the `GET`.
pub(crate) async fn answer(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    Query(query): Query<Fields>,
    Form(form): Form<Fields>,
) -> Response {
    let person = form.get("person").and_then(|name| simulator.0.directory.find(name));
    let call = Call { operation: "authorize.answer", oid: person.map(|person| person.oid), chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| match Request::read(&world, tenant, &query) {
        Ok(request) => request.decide(&world, &form),
        Err(refusal) => refusal.answer(&world),
    })
    .await
}

/// An authorize request that may be answered by redirection.
pub(crate) struct Request {
    pub(crate) authority: Authority,
    pub(crate) login_hint: Option<String>,
    pub(crate) scopes: BTreeSet<String>,
    tenant: String,
    back: Back,
    prompt: String,
    nonce: Option<String>,
    code_challenge: Option<String>,
}

/// Where to send the browser back to.
#[derive(Clone)]
struct Back {
    redirect_uri: String,
    state: Option<String>,
}

enum Refusal {
    /// Shown to the person, because the request cannot be trusted with a redirect.
    Page(Denial),
    Redirect(Back, Denial),
}

impl Refusal {
    fn answer(self, simulator: &Simulator) -> Response {
        match self {
            Self::Page(denial) => consent::refusal(simulator, StatusCode::BAD_REQUEST, &denial),
            Self::Redirect(back, denial) => back.with_error(simulator, denial.error, &denial),
        }
    }
}

impl Request {
    fn read(simulator: &Simulator, tenant: String, query: &Fields) -> Result<Self, Refusal> {
        let field = |name: &str| query.get(name).filter(|value| !value.is_empty()).cloned();
        let settings = &simulator.0.settings;
        let authority = Authority::parse(&tenant).ok_or_else(|| Refusal::Page(Denial::new(90002)))?;
        let client_id = field("client_id").ok_or_else(|| Refusal::Page(missing("client_id")))?;
        if client_id.parse() != Ok(settings.client_id) {
            return Err(Refusal::Page(Denial::new(700_016)));
        }
        let redirect_uri = field("redirect_uri").ok_or_else(|| Refusal::Page(missing("redirect_uri")))?;
        if !lock(&simulator.0.redirect_uris).contains(&redirect_uri) {
            return Err(Refusal::Page(Denial::new(50011)));
        }
        let back = Back { redirect_uri, state: field("state") };
        let redirect = |denial: Denial| Refusal::Redirect(back.clone(), denial);
        match field("response_type").as_deref() {
            Some("code") => {}
            Some(_) => return Err(redirect(Denial::new(700_054))),
            None => return Err(redirect(missing("response_type"))),
        }
        if field("response_mode").is_some_and(|mode| mode != "query") {
            let message = "The simulator knows the response mode 'query' only.";
            return Err(redirect(Denial::saying(9_002_313, message)));
        }
        let code_challenge = field("code_challenge");
        let challenged = code_challenge.as_ref().is_some_and(|it| is_s256(it));
        if code_challenge.is_some()
            && !(challenged && field("code_challenge_method").as_deref() == Some("S256"))
        {
            let message = "The code challenge must be of the method 'S256', and 43 characters long.";
            return Err(redirect(Denial::saying(9_002_313, message)));
        }
        let scopes = scopes::parse(&field("scope").unwrap_or_default()).map_err(redirect)?;
        Ok(Self {
            authority,
            tenant,
            login_hint: field("login_hint"),
            scopes,
            prompt: field("prompt").unwrap_or_default(),
            nonce: field("nonce"),
            code_challenge,
            back,
        })
    }

    fn decide(&self, simulator: &Simulator, form: &Fields) -> Response {
        let choice = form.get("consent").map(String::as_str).unwrap_or_default();
        let Some(name) = form.get("person") else {
            return match choice {
                "cancel" => self.turn_away(simulator, "access_denied", &Denial::new(65004)),
                _ => consent::pick(simulator, self, Some(&missing("person"))),
            };
        };
        let Some(person) = simulator.0.directory.find(name) else {
            return consent::pick(simulator, self, Some(&Denial::new(50034)));
        };
        let person = self.authority.resolve(&simulator.0.directory, person);
        if let Err(denial) = self.admit(person) {
            return consent::refusal(simulator, StatusCode::BAD_REQUEST, &denial);
        }
        let granted = simulator.0.directory.consents(person);
        let lacking: Vec<_> = self.scopes.difference(&granted).cloned().collect();
        let needs_admin = lock(&person.state).admin_consent_required
            && lacking.iter().any(|scope| scopes::reaches_teams(scope));
        match choice {
            "cancel" if needs_admin => self.turn_away(simulator, "consent_required", &Denial::new(90094)),
            "request" if needs_admin => self.turn_away(simulator, "consent_required", &Denial::new(90095)),
            "cancel" => self.turn_away(simulator, "access_denied", &Denial::new(65004)),
            _ if needs_admin => consent::approval(person, &lacking),
            "accept" => {
                lock(&person.state).consented.extend(lacking);
                self.let_in(simulator, person)
            }
            _ if !lacking.is_empty() || self.prompt == "consent" => consent::ask(person, &self.scopes),
            _ => self.let_in(simulator, person),
        }
    }

    /// Whether this person can sign in here at all.
    fn admit(&self, person: &Person) -> Result<(), Denial> {
        if !self.authority.admits(person) {
            return Err(Denial::new(if person.is_personal() { 500_200 } else { 50020 }));
        }
        let state = lock(&person.state);
        if state.disabled {
            return Err(Denial::new(50057));
        }
        if state.ca_blocked {
            return Err(Denial::new(53003));
        }
        Ok(())
    }

    fn let_in(&self, simulator: &Simulator, person: &Person) -> Response {
        let world = &simulator.0;
        let person = world.directory.person(person.oid).expect("the person was found in the directory");
        let now_ms = world.clock.now_ms();
        let (session_epoch, mfa_epoch) = {
            let state = lock(&person.state);
            (state.session_epoch, state.mfa_epoch)
        };
        let sign_in = SignIn {
            id: world.chance.uuid(),
            person: person.clone(),
            scopes: self.scopes.clone(),
            nonce: self.nonce.clone(),
            tenant: self.tenant.clone(),
            redirect_uri: self.back.redirect_uri.clone(),
            code_challenge: self.code_challenge.clone(),
            signed_in_ms: now_ms,
            session_epoch,
            mfa_epoch,
        };
        let code = world.chance.text("1.A", CODE_LENGTH);
        world.grants.add_code(code.clone(), sign_in, now_ms);
        let session: Uuid = world.chance.uuid();
        self.back.with(&[("code", &code), ("session_state", &session.to_string())])
    }

    fn turn_away(&self, simulator: &Simulator, error: &str, denial: &Denial) -> Response {
        self.back.with_error(simulator, error, denial)
    }
}

impl Back {
    fn with_error(&self, simulator: &Simulator, error: &str, denial: &Denial) -> Response {
        let (trace, correlation) = (simulator.0.chance.uuid(), simulator.0.chance.uuid());
        let description = denial.description(simulator, trace, correlation);
        let mut fields = vec![("error", error), ("error_description", &description)];
        if error == "access_denied" {
            fields.push(("error_subcode", "cancel"));
        }
        self.with(&fields)
    }

    fn with(&self, fields: &[(&str, &str)]) -> Response {
        let state = self.state.as_deref().map(|state| ("state", state));
        redirect(&self.redirect_uri, fields.iter().copied().chain(state))
    }
}

/// `302` to a registered address, with `fields` added to its query.
pub(super) fn redirect<'a>(to: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Response {
    let Ok(mut url) = Url::parse(to) else {
        return (StatusCode::BAD_REQUEST, "The registered redirect URI is not a URL.\n").into_response();
    };
    url.query_pairs_mut().extend_pairs(fields);
    (StatusCode::FOUND, [(header::LOCATION, url.as_str()), (header::CACHE_CONTROL, "no-store")])
        .into_response()
}

/// Whether this could be a SHA-256 hash in base64url.
fn is_s256(challenge: &str) -> bool {
    URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|hash| hash.len() == 32)
}

pub(super) fn missing(field: &str) -> Denial {
    Denial::saying(900_144, format!("The request must contain the parameter '{field}'."))
}
