//! The login panel, which the bot's answer to `login` leads to, the page with the code behind a password, and the sign-in
//! page of a product's own link.
//!
//! **Invariant.** Whoever looks at a panel sees for whom in Teams the link was made: a link that somebody passed on shows
//! the wrong name.

use axum::{http::StatusCode, response::Response};
use domain::sign_in::{FailureReason, Request, SignIn};
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};

use super::{frame::Reader, words::Words};
use crate::services::{consent, sign_ins::Shown};

/// Both ways in, side by side; with the user name that was typed a moment ago.
pub(super) fn panel(
    reader: Reader<'_>,
    state: &SignIn,
    person: &Shown,
    link: &str,
    csrf: &str,
    typed: Option<&SecretString>,
) -> Response {
    let (hub, words, facts) = (reader.hub, reader.words(), reader.facts());
    let page = html! {
        h1 { (words.connect) }
        p {
            (words.for_whom.0) strong { (who(person)) } (words.for_whom.1) br;
            (organisation(words, person))
        }
        @if let Some(why) = state.last_failure { p.note role="alert" { ((words.failure)(why, &facts)) } }
        div.ways {
            section aria-labelledby="office" {
                h2 #office { "Office 365" }
                p { (words.by_microsoft) }
                (microsoft_form(link, csrf, words.sign_in_with_microsoft))
            }
            @if person.password {
                (password_form(words, hub.config.product.name.as_deref(), state.last_failure, link, csrf, typed))
            }
        }
        @if let Some(by) = state.request.as_ref().and_then(Request::of_bot) {
            p.small {
                (words.approval.0)
                a href=(consent::link(hub, by.person.tenant)) { (words.approval.1) }
                ((words.approval_link)(facts.approval_link_days))
            }
        }
    };
    reader.show(StatusCode::OK, words.connect, &page)
}

/// The name and the organisation's, or else its id: what stands last is never of the person's own making.
fn who(Shown { name, organisation, tenant, .. }: &Shown) -> String {
    organisation
        .as_ref()
        .map_or_else(|| format!("{name}, {tenant}"), |organisation| format!("{name}, {organisation}"))
}

/// The one thing about an organisation that nobody can make up.
fn organisation(words: &Words, Shown { tenant, .. }: &Shown) -> Markup {
    html! { span.small { (words.organisation) " " (tenant) } }
}

fn microsoft_form(link: &str, csrf: &str, button: &str) -> Markup {
    html! {
        form method="post" action={ "/sign-in/" (link) "/microsoft" } {
            input type="hidden" name="csrf" value=(csrf);
            button type="submit" { (button) }
        }
    }
}

fn password_form(
    words: &Words,
    product: Option<&str>,
    failure: Option<FailureReason>,
    link: &str,
    csrf: &str,
    typed: Option<&SecretString>,
) -> Markup {
    html! {
        section aria-labelledby="password-way" {
            h2 #password-way { ((words.by_password)(product)) }
            form method="post" action={ "/sign-in/" (link) "/password" } {
                input type="hidden" name="csrf" value=(csrf);
                label for="name" { (words.user_name) }
                input #name name="name" value=[typed.map(ExposeSecret::expose_secret)] autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256" required;
                label for="password" { (words.password) }
                input #password name="password" type="password" autocomplete="current-password" maxlength="1024" required;
                @if failure == Some(FailureReason::SecondFactorRequired) {
                    label for="second-factor" { (words.second_factor) }
                    input #second-factor name="second_factor" autocomplete="one-time-code" inputmode="numeric" maxlength="256" required;
                }
                button type="submit" { (words.sign_in) }
            }
        }
    }
}

/// After a right password: the code that has to be typed in the chat.
pub(super) fn code_page(reader: Reader<'_>, person: &Shown, code: &SecretString) -> Response {
    let (words, (front, back)) = (reader.words(), code.expose_secret().split_at(4));
    let page = html! {
        h1 { (words.one_more_step) }
        p { (words.type_the_code) }
        p.code { (front) " " (back) }
        p.note {
            strong { ((words.only_if)(&who(person))) }
            ((words.tell_nobody)(person.account.as_deref())) br;
            (organisation(words, person))
        }
        p.small { ((words.code_is_good)(&reader.facts())) }
    };
    reader.show(StatusCode::OK, words.one_more_step, &page)
}

/// The way in of who comes from the product.
pub(super) fn for_product(reader: Reader<'_>, state: &SignIn, link: &str, csrf: &str) -> Response {
    let words = reader.words();
    let page = html! {
        h1 { (words.connect) }
        p { (words.sign_in_for_messages) }
        @if let Some(why) = state.last_failure {
            p.note role="status" { ((words.failure)(why, &reader.facts())) }
        }
        (microsoft_form(link, csrf, words.continue_with_microsoft))
        p.small { (words.what_is_asked) }
    };
    reader.show(StatusCode::OK, words.connect, &page)
}
