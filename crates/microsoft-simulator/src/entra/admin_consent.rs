//! Admin consent: an administrator lets the application in for everybody of their tenant.
//!
//! As with [`super::authorize`], forms are posted to the URL that showed them. Their fields are `consent`
//! (`accept` or `cancel`) and, where the path is `organizations`, `tenant` (the tenant's id).

use std::collections::BTreeSet;

use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use uuid::Uuid;

use super::authorize::{Fields, missing, redirect};
use super::denial::Denial;
use super::{Authority, consent, refuse_plainly, scopes};
use crate::calls::{Call, perform};
use crate::people::{CONTOSO, FABRIKAM};
use crate::{Simulator, lock};

/// `GET /{tenant}/v2.0/adminconsent`
pub(crate) async fn show(state: State<Simulator>, path: Path<String>, query: Query<Fields>) -> Response {
    respond(state, path, query, Fields::new()).await
}

/// `POST /{tenant}/v2.0/adminconsent`, with the query of the `GET`.
pub(crate) async fn answer(
    state: State<Simulator>,
    path: Path<String>,
    query: Query<Fields>,
    Form(form): Form<Fields>,
) -> Response {
    respond(state, path, query, form).await
}

async fn respond(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    Query(query): Query<Fields>,
    form: Fields,
) -> Response {
    let call = Call { operation: "adminconsent", oid: None, chat: None };
    let world = simulator.clone();
    perform(&simulator, call, refuse_plainly, move |_| {
        decide(&world, &tenant, &query, &form)
            .unwrap_or_else(|denial| consent::refusal(&world, StatusCode::BAD_REQUEST, &denial))
    })
    .await
}

fn decide(simulator: &Simulator, tenant: &str, query: &Fields, form: &Fields) -> Result<Response, Denial> {
    let world = &simulator.0;
    let demand = |name: &str| query.get(name).ok_or_else(|| missing(name));
    // `common` is not allowed here, nor are personal accounts.
    let tenants = match Authority::parse(tenant) {
        Some(Authority::Tenant(tid)) if [CONTOSO, FABRIKAM].contains(&tid) => vec![tid],
        Some(Authority::Organizations) => vec![CONTOSO, FABRIKAM],
        _ => return Err(Denial::new(90002)),
    };
    if demand("client_id")?.parse() != Ok(world.settings.client_id) {
        return Err(Denial::new(700_016));
    }
    let redirect_uri = demand("redirect_uri")?;
    if !lock(&world.redirect_uris).contains(redirect_uri) {
        return Err(Denial::new(50011));
    }
    let scopes = scopes::parse(demand("scope")?)?;
    let mut fields = vec![("admin_consent", "True".to_owned())];
    match form.get("consent").map(String::as_str) {
        Some("accept") => match chosen(&tenants, form) {
            Some(tid) => {
                world.directory.grant_for_tenant(tid, scopes.iter().cloned().chain(openid()));
                fields.push(("tenant", tid.to_string()));
                fields.push(("scope", scopes::write(&scopes, 1)));
            }
            None => return Ok(consent::ask_admin(&tenants, &scopes)),
        },
        Some("cancel") => {
            let denial = Denial::new(65004);
            let (trace, correlation) = (world.chance.uuid(), world.chance.uuid());
            fields.push(("error", denial.error.to_owned()));
            fields.push(("error_description", denial.description(simulator, trace, correlation)));
        }
        _ => return Ok(consent::ask_admin(&tenants, &scopes)),
    }
    fields.extend(query.get("state").map(|state| ("state", state.clone())));
    Ok(redirect(redirect_uri, fields.iter().map(|(name, value)| (*name, value.as_str()))))
}

fn chosen(tenants: &[Uuid], form: &Fields) -> Option<Uuid> {
    match (tenants, form.get("tenant")) {
        ([only], _) => Some(*only),
        (several, Some(tenant)) => several.iter().find(|tid| tenant.parse() == Ok(**tid)).copied(),
        _ => None,
    }
}

/// Signing in is part of what an administrator grants.
fn openid() -> BTreeSet<String> {
    scopes::parse("openid profile email offline_access").unwrap_or_default()
}
