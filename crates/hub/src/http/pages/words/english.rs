//! What the pages say in English.

use domain::sign_in::{CODE_TRIES_MAX, FailureReason};

use super::{Facts, Words};
use crate::http::pages::said::Said;

pub(super) const WORDS: Words = Words {
    connect: "Connect Microsoft Teams",
    for_whom: ("For ", ", who typed login in Teams"),
    organisation: "organisation",
    by_microsoft: "With your work or school account at Microsoft.",
    sign_in_with_microsoft: "Sign in with Office 365",
    by_password: |product| {
        product.map_or_else(|| "User name and password".to_owned(), |name| format!("{name} password"))
    },
    user_name: "User name",
    password: "Password",
    second_factor: "Code of your second factor",
    sign_in: "Sign in",
    approval: (
        "Does Microsoft say that an administrator has to approve? Then ",
        "my organisation must approve",
    ),
    approval_link: |days| format!(": pass that page on to your IT department. It is good for {days} days."),
    sign_in_for_messages: "Sign in with your work or school account, and messages for you will arrive in Microsoft Teams.",
    continue_with_microsoft: "Continue with Microsoft",
    what_is_asked: "You will be asked to let this app read your profile and post messages to your chat with its bot.",
    one_more_step: "One more step",
    type_the_code: "Type this code to the bot, in the chat where you typed login:",
    only_if: |who| format!("Only if you typed login as {who}"),
    tell_nobody: |account| {
        let account = account.unwrap_or("your account");
        format!(". Tell the code to nobody: whoever types it in Teams is taken for {account}.")
    },
    code_is_good: |facts| {
        format!(
            "It is good for {} after you typed login, and for {CODE_TRIES_MAX} tries. The bot then tells you that you are \
             connected, and you can close this page.",
            minutes(facts.link_minutes)
        )
    },
    approve: "Approve this app for your organisation",
    approval_wanted: "Somebody of your organisation wants to get messages in Microsoft Teams by this app, and Microsoft wants an \
        administrator to approve it first.",
    rights: "Microsoft will ask you for these rights, for everybody of your organisation who signs in:",
    continue_to_microsoft: "Continue to Microsoft",
    only_administrators: |tenant| format!("Organisation {tenant}. Only an administrator of it can approve."),
    try_again: "Try again",
    broken: ("Something went wrong", "It has been noted. Please try again in a moment."),
    said,
    failure,
};

fn said(said: &Said, facts: &Facts) -> (&'static str, String) {
    let (title, text) = match said {
        Said::Done => (
            "You are connected",
            "Messages for you will arrive in your chat with the bot in Microsoft Teams. You can close this page.",
        ),
        Said::Used => (
            "This link was used",
            "It connected you, and you were disconnected since. To connect again, type login to the bot, or ask for a new link \
             where you got this one.",
        ),
        Said::NotOurs => (
            "This link does not work",
            "It may have been cut off when it was copied. Type login to the bot for a new one, or ask where you got it.",
        ),
        Said::NoCookie => (
            "Please start again",
            "This page must be used in the browser in which the link was opened, with cookies allowed. Open the link again.",
        ),
        Said::OtherBrowser => (
            "This link is used in another browser",
            "It works only in the browser in which it was used first. Go on there, or ask for a new link.",
        ),
        Said::Lapsed => {
            let good_for = minutes(facts.link_minutes);
            let text = format!(
                "Links are good for {good_for} only. Type login to the bot for a new one, or ask where you got this one."
            );
            return ("This link is too old", text);
        }
        Said::Voided => (
            "This link does not count any more",
            "You typed login again since, or logout, or the code was wrong too often. Use the newest link in your chat with the bot, or type login there.",
        ),
        Said::Stale => (
            "Please start again",
            "You have begun anew since. Go on in the newer window, or open the link again.",
        ),
        Said::ConsentReported => (
            "Thank you",
            "Microsoft says that you approved. The people of your organisation can sign in now; those who tried are told by the bot.",
        ),
        Said::ConsentDeclined => {
            ("Not approved", "Nothing was changed. As long as the link is good you can come back to it.")
        }
        Said::ConsentLapsed => {
            let Facts { approval_link_days: days, approval_minutes, .. } = facts;
            let text = format!(
                "The link is good for {days} days, and once you press the button you have {} at Microsoft. Open the link \
                 again, or ask for a new one where you got it.",
                minutes(*approval_minutes)
            );
            return ("That took too long", text);
        }
        Said::Failed(FailureReason::TooManyAttempts, _) => {
            return ("Too many passwords were tried", failure(FailureReason::TooManyAttempts, facts));
        }
        Said::Failed(why, _) => return ("You are not connected yet", failure(*why, facts)),
    };
    (title, text.to_owned())
}

fn failure(why: FailureReason, facts: &Facts) -> String {
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
            let wait = minutes(facts.stretch_minutes);
            return format!(
                "Too many passwords were tried. Please wait {wait} from the last one, and type login to the bot again; or sign in \
                 with Office 365."
            );
        }
        FailureReason::ProductUnavailable => {
            "The password could not be checked just now. Please try again in a moment."
        }
    }
    .to_owned()
}

fn minutes(count: u64) -> String {
    if count == 1 { "1 minute".to_owned() } else { format!("{count} minutes") }
}
