//! What the pages say that have nothing to press but, at most, "Try again".

use axum::{http::StatusCode, response::Response};
use domain::sign_in::{FailureReason, Refusal};
use maud::html;

use super::frame::Reader;

/// Everything that these pages say, the button excepted.
pub(super) enum Said {
    Done,
    /// It did what it was for, and the person has been unlinked since.
    Used,
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
    /// The administrator came too late.
    ConsentLapsed,
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
    pub(super) fn page(&self, reader: Reader<'_>) -> Response {
        let words = reader.words();
        let (title, text) = (words.said)(self, &reader.facts());
        let page = html! {
            h1 { (title) }
            p { (text) }
            @if let Self::Failed(_, again) = self {
                @if !again.is_empty() { p { a.button href=(again) { (words.try_again) } } }
            }
        };
        reader.show(self.status(), title, &page)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotOurs => StatusCode::NOT_FOUND,
            Self::NoCookie | Self::OtherBrowser => StatusCode::FORBIDDEN,
            Self::Used | Self::Lapsed | Self::Voided | Self::ConsentLapsed => StatusCode::GONE,
            Self::Stale => StatusCode::CONFLICT,
            Self::Failed(FailureReason::TooManyAttempts, _) => StatusCode::TOO_MANY_REQUESTS,
            Self::Done | Self::Failed(..) | Self::ConsentReported | Self::ConsentDeclined => StatusCode::OK,
        }
    }
}
