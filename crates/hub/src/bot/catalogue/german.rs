//! What the bot says in German.

use super::{Labels, Notice, Standing};

pub(super) const LABELS: Labels = Labels { sign_in: "Anmelden", status: "Status", log_out: "Abmelden" };

pub(super) fn text(notice: &Notice) -> String {
    match notice {
        Notice::Help => "Ich bringe Ihre Nachrichten nach Teams. Schreiben Sie eines dieser Wörter:\n\
             login – Ihr Konto verbinden\n\
             status – sehen, ob es verbunden ist\n\
             logout – die Verbindung trennen\n\
             help – dies noch einmal lesen"
            .to_owned(),
        Notice::Login { minutes, connected, .. } => login(*minutes, connected.as_deref()),
        Notice::Status { standing, accounts } => status(*standing, accounts),
        Notice::LoggedOut => {
            "Die Verbindung ist getrennt. Schreiben Sie login, um sie wieder herzustellen.".to_owned()
        }
        Notice::NotLinked => "Sie sind nicht verbunden, es gibt also nichts zu trennen.".to_owned(),
        Notice::Linked { accounts } => {
            format!("Sie sind verbunden{}. Nachrichten für Sie kommen nun in Teams an.", named(accounts))
        }
        Notice::CodeWrong { left: 1 } => "Das ist nicht der Code. Sie haben noch 1 Versuch.".to_owned(),
        Notice::CodeWrong { left } => format!("Das ist nicht der Code. Sie haben noch {left} Versuche."),
        Notice::CodeVoid => {
            "Dieser Code gilt nicht mehr. Schreiben Sie login, um neu zu beginnen.".to_owned()
        }
        Notice::LinkRefused => {
            "Dieses Konto ist mit jemand anderem verbunden, daher wurden Sie nicht verbunden. Bitte wenden Sie sich an \
             Ihre Administratoren."
                .to_owned()
        }
        Notice::LinkAttempted => {
            "Jemand anderes wollte Ihr Konto mit seinem Teams verbinden und wurde abgewiesen. Waren Sie das nicht, ändern \
             Sie Ihr Passwort und sagen Sie Ihren Administratoren Bescheid."
                .to_owned()
        }
        Notice::ConsentReported => {
            "Ihre Administratoren haben diese App genehmigt. Schreiben Sie login, um es noch einmal zu versuchen."
                .to_owned()
        }
        Notice::PersonalChatOnly => {
            "Das geht nur in Ihrem eigenen Chat mit mir: Öffnen Sie ihn und schreiben Sie dort login.".to_owned()
        }
        Notice::TenantNotAdmitted => {
            "Ihre Organisation nutzt diesen Dienst noch nicht. Bitte wenden Sie sich an Ihre Administratoren.".to_owned()
        }
    }
}

fn login(minutes: u64, connected: Option<&[String]>) -> String {
    let what = match connected {
        Some(accounts) => format!(
            "Sie sind schon verbunden{}. Um sich neu zu verbinden, wählen Sie auf der nächsten Seite, wie Sie sich anmelden.",
            named(accounts)
        ),
        None => {
            "Verbinden Sie Ihr Konto: Auf der nächsten Seite wählen Sie, wie Sie sich anmelden.".to_owned()
        }
    };
    let good_for = if minutes == 1 { "1 Minute".to_owned() } else { format!("{minutes} Minuten") };
    format!("{what} Der Link ist nur für Sie und {good_for} gültig.")
}

fn status(standing: Standing, accounts: &[String]) -> String {
    let connected = format!("Sie sind verbunden{}.", named(accounts));
    match standing {
        Standing::NotLinked => {
            "Sie sind nicht verbunden. Schreiben Sie login, um Ihr Konto zu verbinden.".to_owned()
        }
        Standing::Linked => connected,
        Standing::SignInAgain => {
            format!("{connected} Microsoft möchte, dass Sie sich neu anmelden; schreiben Sie login.")
        }
        Standing::ConsentRequired => format!(
            "{connected} Diese App muss genehmigt werden, von Ihnen oder Ihren Administratoren. Schreiben Sie login, um \
             zu sehen, wie."
        ),
        Standing::Suspended => format!(
            "{connected} Laut Microsoft ist Ihr Microsoft-Konto deaktiviert. Bitte wenden Sie sich an Ihre \
             Administratoren."
        ),
    }
}

fn named(accounts: &[String]) -> String {
    match accounts {
        [] => String::new(),
        accounts => format!(" (Konto: {})", accounts.join(", ")),
    }
}
