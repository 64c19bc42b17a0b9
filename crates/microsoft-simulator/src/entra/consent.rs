//! The pages of Entra ID: who are you, may this application, and sorry.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use uuid::Uuid;

use super::authorize::Request;
use super::denial::Denial;
use super::scopes;
use crate::Simulator;
use crate::page::page;
use crate::people::{Person, TENANTS};

/// A crowd is not for picking from; a script names its person.
const SHOWN_MAX: usize = 24;

/// The page to pick a person on; `problem` says why the last pick was not good.
pub(super) fn pick(simulator: &Simulator, request: &Request, problem: Option<&Denial>) -> Response {
    let hinted = request.login_hint.as_deref().and_then(|hint| simulator.0.directory.find(hint));
    let is_hinted = |person: &Person| hinted.is_some_and(|it| it.oid == person.oid);
    let mut people: Vec<_> =
        simulator.0.directory.people().iter().filter(|person| request.authority.admits(person)).collect();
    people.sort_by_key(|person| !is_hinted(person));
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page(
        status,
        "Sign in",
        None,
        &html! {
            h1 { "Pick an account" }
            p.soft { "This is the Microsoft simulator. There are no passwords." }
            @if let Some(problem) = problem { p.error { (problem.text()) } }
            form.pick method="post" {
                @for person in people.iter().take(SHOWN_MAX) {
                    button.hinted[is_hinted(person)] autofocus[is_hinted(person)] name="person" value=(person.oid) {
                        (person.name())
                        small { (person.upn) " · " (tenant_name(person.tid)) @if person.home.is_some() { ", as a guest" } }
                    }
                }
            }
            form method="post" { button name="consent" value="cancel" { "Cancel" } }
        },
    )
}

/// The page that asks for a person's consent.
pub(super) fn ask(person: &Person, scopes: &BTreeSet<String>) -> Response {
    page(
        StatusCode::OK,
        "Permissions requested",
        None,
        &html! {
            p.soft { (person.upn) }
            h1 { "Permissions requested" }
            p { "This application would like to:" }
            (list(scopes.iter()))
            form method="post" {
                input type="hidden" name="person" value=(person.oid);
                button.main name="consent" value="accept" { "Accept" }
                button name="consent" value="cancel" { "Cancel" }
            }
        },
    )
}

/// The page for a person whose tenant lets only administrators consent.
pub(super) fn approval(person: &Person, lacking: &[String]) -> Response {
    page(
        StatusCode::OK,
        "Need admin approval",
        None,
        &html! {
            p.soft { (person.upn) }
            h1 { "Need admin approval" }
            p { "This application needs permissions that only an administrator of " (tenant_name(person.tid)) " can grant:" }
            (list(lacking.iter()))
            p.error { (Denial::new(90094).text()) }
            form method="post" {
                input type="hidden" name="person" value=(person.oid);
                button.main name="consent" value="request" { "Request approval" }
                button name="consent" value="cancel" { "Return to the application without granting consent" }
            }
        },
    )
}

/// The page that asks an administrator's consent for everybody of a tenant; they pick the tenant if it is open.
pub(super) fn ask_admin(tenants: &[Uuid], scopes: &BTreeSet<String>) -> Response {
    page(
        StatusCode::OK,
        "Permissions requested",
        None,
        &html! {
            h1 { "Permissions requested" }
            p { "Review for your organization. This application would like to:" }
            (list(scopes.iter()))
            @for tid in tenants {
                form method="post" {
                    input type="hidden" name="tenant" value=(tid);
                    button.main name="consent" value="accept" { "Accept for " (tenant_name(*tid)) }
                }
            }
            form method="post" { button name="consent" value="cancel" { "Cancel" } }
        },
    )
}

/// The page that ends a sign-in which cannot go on.
pub(super) fn refusal(simulator: &Simulator, status: StatusCode, denial: &Denial) -> Response {
    page(
        status,
        "Sign in",
        None,
        &html! {
            h1 { "Sorry, but we’re having trouble signing you in." }
            p.error { (denial.text()) }
            p.soft { "Request id: " (simulator.0.chance.uuid()) }
        },
    )
}

fn list<'a>(wanted: impl Iterator<Item = &'a String>) -> Markup {
    html! { ul.scopes { @for scope in wanted { li { (scopes::meaning(scope)) " " small { (scope) } } } } }
}

fn tenant_name(tid: Uuid) -> &'static str {
    TENANTS.iter().find(|(_, _, it)| *it == tid).map_or("an unknown tenant", |(name, _, _)| name)
}
