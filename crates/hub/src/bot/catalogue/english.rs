//! What the bot says in English.

use super::{Labels, Notice, Standing};

pub(super) const LABELS: Labels = Labels { sign_in: "Sign in", status: "Status", log_out: "Log out" };

pub(super) fn text(notice: &Notice) -> String {
    match notice {
        Notice::Help => "I bring your messages to Teams. Type one of these words:\n\
             login – connect your account\n\
             status – see whether it is connected\n\
             logout – disconnect it\n\
             help – read this again"
            .to_owned(),
        Notice::Login { minutes, connected, .. } => login(*minutes, connected.as_deref()),
        Notice::Status { standing, accounts } => status(*standing, accounts),
        Notice::LoggedOut => "You are disconnected. Type login to connect again.".to_owned(),
        Notice::NotLinked => "You are not connected, so there is nothing to disconnect.".to_owned(),
        Notice::Linked { accounts } => {
            format!("You are connected{}. Messages for you will arrive in Teams.", named(accounts))
        }
        Notice::CodeWrong { left: 1 } => "That is not the code. You have 1 more try.".to_owned(),
        Notice::CodeWrong { left } => format!("That is not the code. You have {left} more tries."),
        Notice::CodeVoid => "That code is no longer good. Type login to begin again.".to_owned(),
        Notice::LinkRefused => {
            "This account is connected to somebody else, so you were not connected. Ask your administrator for help."
                .to_owned()
        }
        Notice::LinkAttempted => {
            "Somebody else tried to connect your account to their Teams, and was refused. If that was not you, change \
             your password and tell your administrator."
                .to_owned()
        }
        Notice::ConsentReported => {
            "Your administrator has approved this app. Type login to try again.".to_owned()
        }
        Notice::PersonalChatOnly => {
            "That is only for your own chat with me: open it, and type login there.".to_owned()
        }
        Notice::TenantNotAdmitted => {
            "Your organisation does not use this service yet. Ask your administrator.".to_owned()
        }
    }
}

fn login(minutes: u64, connected: Option<&[String]>) -> String {
    let what = match connected {
        Some(accounts) => format!(
            "You are connected already{}. To connect anew, choose on the next page how to sign in.",
            named(accounts)
        ),
        None => "Connect your account: choose on the next page how to sign in.".to_owned(),
    };
    let good_for = if minutes == 1 { "1 minute".to_owned() } else { format!("{minutes} minutes") };
    format!("{what} The link is for you alone and good for {good_for}.")
}

fn status(standing: Standing, accounts: &[String]) -> String {
    let connected = format!("You are connected{}.", named(accounts));
    match standing {
        Standing::NotLinked => "You are not connected. Type login to connect your account.".to_owned(),
        Standing::Linked => connected,
        Standing::SignInAgain => format!("{connected} Microsoft asks you to sign in again, so type login."),
        Standing::ConsentRequired => {
            format!(
                "{connected} This app has to be approved, by you or your administrator. Type login to see how."
            )
        }
        Standing::Suspended => {
            format!(
                "{connected} Microsoft says that your Microsoft account is disabled. Ask your administrator."
            )
        }
    }
}

fn named(accounts: &[String]) -> String {
    match accounts {
        [] => String::new(),
        accounts => format!(" (account: {})", accounts.join(", ")),
    }
}
