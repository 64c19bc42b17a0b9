//! What the pages say that have nothing to press but, at most, "Try again".

use axum::{http::StatusCode, response::Response};
use domain::sign_in::{FailureReason, Refusal};
use maud::html;

use super::frame::shown;
use crate::hub::Hub;

/// Everything that these pages say, the button excepted.
pub(super) enum Said {
    Done,
    NotOurs,
    NoCookie,
    OtherBrowser,
    Lapsed,
    Voided,
    Stale,
    /// Why, and where to try again; empty where that makes no sense.
    Failed(FailureReason, String),
    /// The administrator has consented, or says so.
    ConsentReported,
    ConsentDeclined,
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchSignIn | Refusal::NotOffered => Self::NotOurs,
            Refusal::Lapsed => Self::Lapsed,
            Refusal::Voided => Self::Voided,
            Refusal::OtherBrowser => Self::OtherBrowser,
            Refusal::Completed => Self::Done,
            Refusal::StaleAttempt | Refusal::NothingToConfirm => Self::Stale,
            Refusal::WrongPerson => Self::Failed(FailureReason::WrongPerson, String::new()),
        }
    }
}

impl Said {
    pub(super) fn page(&self, hub: &Hub) -> Response {
        let (status, title, text) = match self {
            Self::Done => (
                StatusCode::OK,
                "You are connected",
                "Messages for you will arrive in your chat with the bot in Microsoft Teams. You can close this page.",
            ),
            Self::NotOurs => (
                StatusCode::NOT_FOUND,
                "This link does not work",
                "It may have been cut off when it was copied. Ask for a new one where you got it.",
            ),
            Self::NoCookie => (
                StatusCode::FORBIDDEN,
                "Please start again",
                "This page must be used in the browser in which the link was opened, with cookies allowed. Open the link again.",
            ),
            Self::OtherBrowser => (
                StatusCode::FORBIDDEN,
                "This link is used in another browser",
                "It works only in the browser in which it was used first. Go on there, or ask for a new link.",
            ),
            Self::Lapsed => (
                StatusCode::GONE,
                "This link is too old",
                "Links are good for a few minutes only. Ask for a new one where you got it.",
            ),
            Self::Voided => (
                StatusCode::GONE,
                "This link does not count any more",
                "You typed login again since, or the code was wrong too often. Use the newest link in your chat with the bot, or type login there.",
            ),
            Self::Stale => (
                StatusCode::CONFLICT,
                "Please start again",
                "You have begun anew since. Go on in the newer window, or open the link again.",
            ),
            Self::ConsentReported => (
                StatusCode::OK,
                "Thank you",
                "Microsoft says that you approved. The people of your organisation can sign in now; those who tried are told by the bot.",
            ),
            Self::ConsentDeclined => (
                StatusCode::OK,
                "Not approved",
                "Nothing was changed. As long as the link is good you can come back to it.",
            ),
            Self::Failed(FailureReason::TooManyAttempts, _) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many passwords were tried",
                failure_text(FailureReason::TooManyAttempts),
            ),
            Self::Failed(why, _) => (StatusCode::OK, "You are not connected yet", failure_text(*why)),
        };
        let page = html! {
            h1 { (title) }
            p { (text) }
            @if let Self::Failed(_, again) = self {
                @if !again.is_empty() { p { a.button href=(again) { "Try again" } } }
            }
        };
        shown(hub, status, title, &page)
    }
}

pub(super) fn failure_text(why: FailureReason) -> &'static str {
    match why {
        FailureReason::Declined => "You cancelled at Microsoft, or did not agree to what was asked.",
        FailureReason::ConsentRequired => {
            "Microsoft wants you to agree first. Try again, and agree to what is asked."
        }
        FailureReason::AdminConsentRequired => {
            "Your organisation wants an administrator to approve this app first. Please ask your IT department."
        }
        FailureReason::WrongPerson => {
            "You signed in with another account than the one this link was made for. Try again and choose that one."
        }
        FailureReason::TenantNotAdmitted => {
            "Your organisation has not been admitted here yet. Please ask who gave you the link."
        }
        FailureReason::PersonalAccount => {
            "That was a personal Microsoft account. Microsoft Teams needs a work or school account."
        }
        FailureReason::IdTokenInvalid | FailureReason::Refused => {
            "Microsoft's answer was not good. Please try again; if it happens again, tell who gave you the link."
        }
        FailureReason::NoRefreshToken => {
            "Microsoft gave no lasting permission. Try again, and agree to keep access when you are asked."
        }
        FailureReason::ProviderUnavailable => "Microsoft could not be reached. Please try again in a moment.",
        FailureReason::Misconfigured => {
            "Something is wrong on our side; it has been noted. Please try again later."
        }
        FailureReason::AccountLinkedElsewhere => {
            "This account of the product is connected to somebody else. It has to be disconnected there first."
        }
        FailureReason::WrongPassword => "The user name or the password is wrong.",
        FailureReason::SecondFactorRequired => "Please enter the code of your second factor as well.",
        FailureReason::TooManyAttempts => {
            "Too many passwords were tried. Please wait a quarter of an hour, or sign in with Office 365."
        }
        FailureReason::ProductUnavailable => {
            "The password could not be checked just now. Please try again in a moment."
        }
    }
}
