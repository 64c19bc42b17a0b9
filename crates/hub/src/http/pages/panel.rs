//! The login panel, which the bot's answer to `login` leads to, and the page with the code behind a password.
//!
//! **Invariant.** Whoever looks at it sees for whom in Teams the link was made: a link that somebody passed on shows the
//! wrong name.

use axum::{http::StatusCode, response::Response};
use domain::sign_in::{FailureReason, Request, SignIn};
use maud::{Markup, html};
use secrecy::{ExposeSecret as _, SecretString};

use super::{frame::shown, said::failure_text};
use crate::{
    hub::Hub,
    services::{consent, sign_ins::Shown},
};

const TITLE: &str = "Connect Microsoft Teams";

/// Both ways in, side by side.
pub(super) fn panel(hub: &Hub, state: &SignIn, person: &Shown, link: &str, csrf: &str) -> Response {
    let page = html! {
        (for_whom(person))
        @if let Some(why) = state.last_failure { p.note role="alert" { (failure_text(why)) } }
        div.ways {
            section aria-labelledby="office" {
                h2 #office { "Office 365" }
                p { "With your work or school account at Microsoft." }
                form method="post" action={ "/sign-in/" (link) "/microsoft" } {
                    input type="hidden" name="csrf" value=(csrf);
                    button type="submit" { "Sign in with Office 365" }
                }
            }
            @if person.password { (password_form(hub, state, link, csrf)) }
        }
        @if let Some(by) = state.request.as_ref().and_then(Request::of_bot) {
            p.small {
                "Does Microsoft say that an administrator has to approve? Then "
                a href=(consent::link(hub, by.person.tenant)) { "my organisation must approve" }
                ": pass that page on to your IT department. It is good for 30 days."
            }
        }
    };
    framed(hub, TITLE, &page)
}

fn for_whom(person: &Shown) -> Markup {
    html! {
        h1 { (TITLE) }
        p {
            "For " strong { (who(person)) } ", who typed login in Teams" br;
            (organisation(person))
        }
    }
}

/// The name, and the organisation's where it is known.
fn who(Shown { name, organisation, .. }: &Shown) -> String {
    organisation.as_ref().map_or_else(|| name.clone(), |organisation| format!("{name}, {organisation}"))
}

/// The one thing about an organisation that nobody can make up.
fn organisation(Shown { tenant, .. }: &Shown) -> Markup {
    html! { span.small { "organisation " (tenant) } }
}

fn password_form(hub: &Hub, state: &SignIn, link: &str, csrf: &str) -> Markup {
    let second_factor = state.last_failure == Some(FailureReason::SecondFactorRequired);
    html! {
        section aria-labelledby="password-way" {
            h2 #password-way { (product(hub)) }
            form method="post" action={ "/sign-in/" (link) "/password" } {
                input type="hidden" name="csrf" value=(csrf);
                label for="name" { "User name" }
                input #name name="name" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256" required;
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" maxlength="1024" required;
                @if second_factor {
                    label for="second-factor" { "Code of your second factor" }
                    input #second-factor name="second_factor" autocomplete="one-time-code" inputmode="numeric" maxlength="256" required;
                }
                button type="submit" { "Sign in" }
            }
        }
    }
}

fn product(hub: &Hub) -> String {
    hub.config
        .product
        .name
        .as_ref()
        .map_or_else(|| "User name and password".to_owned(), |name| format!("{name} password"))
}

/// After a right password: the code that has to be typed in the chat.
pub(super) fn code_page(hub: &Hub, person: &Shown, code: &SecretString) -> Response {
    let (front, back) = code.expose_secret().split_at(4);
    let account = person.account.as_deref().unwrap_or("your account");
    let page = html! {
        h1 { "One more step" }
        p { "Type this code to the bot, in the chat where you typed login:" }
        p.code { (front) " " (back) }
        p.note {
            strong { "Only if you typed login as " (who(person)) }
            ". Tell the code to nobody: whoever types it in Teams is taken for " (account) "." br;
            (organisation(person))
        }
        p.small { "It is good for a few minutes and five tries. The bot then tells you that you are connected, and you can close this page." }
    };
    framed(hub, "One more step", &page)
}

fn framed(hub: &Hub, title: &str, page: &Markup) -> Response {
    shown(hub, StatusCode::OK, title, page)
}
