//! What the pages say in German.

use domain::sign_in::{CODE_TRIES_MAX, FailureReason};

use super::{Facts, Words};
use crate::http::pages::said::Said;

pub(super) const WORDS: Words = Words {
    connect: "Mit Microsoft Teams verbinden",
    for_whom: ("Für ", ": unter diesem Namen wurde in Teams login geschrieben"),
    organisation: "Organisation",
    by_microsoft: "Mit Ihrem Geschäfts-, Schul- oder Unikonto bei Microsoft.",
    sign_in_with_microsoft: "Mit Office 365 anmelden",
    by_password: |product| {
        product.map_or_else(|| "Benutzername und Passwort".to_owned(), |name| format!("Passwort von {name}"))
    },
    user_name: "Benutzername",
    password: "Passwort",
    second_factor: "Code Ihres zweiten Faktors",
    sign_in: "Anmelden",
    approval: (
        "Sagt Microsoft, dass die Administration zustimmen muss? Dann ",
        "meine Organisation muss genehmigen",
    ),
    approval_link: |days| {
        format!(": Geben Sie diese Seite an Ihre IT-Abteilung weiter. Sie ist {days} Tage lang gültig.")
    },
    sign_in_for_messages: "Melden Sie sich mit Ihrem Geschäfts-, Schul- oder Unikonto an, dann kommen Nachrichten für Sie in Microsoft \
        Teams an.",
    continue_with_microsoft: "Weiter mit Microsoft",
    what_is_asked: "Sie werden gefragt, ob diese App Ihr Profil lesen und Nachrichten in Ihren Chat mit ihrem Bot schreiben darf.",
    one_more_step: "Noch ein Schritt",
    type_the_code: "Schreiben Sie dem Bot diesen Code, in dem Chat, in dem Sie login geschrieben haben:",
    only_if: |who| format!("Nur wenn Sie selbst als {who} login geschrieben haben"),
    tell_nobody: |account| {
        let account = account.unwrap_or("Ihrem Konto");
        format!(". Sagen Sie den Code niemandem: Wer ihn in Teams schreibt, wird mit {account} verbunden.")
    },
    code_is_good: |facts| {
        format!(
            "Er gilt {}, nachdem Sie login geschrieben haben, und für {CODE_TRIES_MAX} Versuche. Danach sagt Ihnen der Bot, \
             dass Sie verbunden sind, und Sie können diese Seite schließen.",
            minutes(facts.link_minutes)
        )
    },
    approve: "Diese App für Ihre Organisation genehmigen",
    approval_wanted: "Jemand aus Ihrer Organisation möchte durch diese App Nachrichten in Microsoft Teams bekommen, und Microsoft verlangt, \
        dass die Administration sie vorher genehmigt.",
    rights: "Microsoft fragt Sie nach diesen Rechten, und zwar für alle aus Ihrer Organisation, die sich anmelden:",
    continue_to_microsoft: "Weiter zu Microsoft",
    only_administrators: |tenant| {
        format!("Organisation {tenant}. Genehmigen kann nur, wer sie administriert.")
    },
    try_again: "Noch einmal versuchen",
    broken: ("Etwas ist schiefgegangen", "Es wurde vermerkt. Bitte versuchen Sie es gleich noch einmal."),
    said,
    failure,
};

fn said(said: &Said, facts: &Facts) -> (&'static str, String) {
    let (title, text) = match said {
        Said::Done => (
            "Sie sind verbunden",
            "Nachrichten für Sie kommen in Ihrem Chat mit dem Bot in Microsoft Teams an. Sie können diese Seite schließen.",
        ),
        Said::Used => (
            "Dieser Link wurde benutzt",
            "Er hat Sie verbunden, und seither wurde die Verbindung getrennt. Um sie wieder herzustellen, schreiben Sie dem Bot \
             login, oder lassen Sie sich dort, wo Sie den Link bekommen haben, einen neuen geben.",
        ),
        Said::NotOurs => (
            "Dieser Link geht nicht",
            "Vielleicht wurde er beim Kopieren abgeschnitten. Schreiben Sie dem Bot login, oder lassen Sie sich dort, wo Sie ihn \
             bekommen haben, einen neuen geben.",
        ),
        Said::NoCookie => (
            "Bitte beginnen Sie von vorn",
            "Diese Seite geht nur in dem Browser, in dem der Link geöffnet wurde, und nur mit Cookies. Öffnen Sie den Link noch einmal.",
        ),
        Said::OtherBrowser => (
            "Dieser Link wird in einem anderen Browser benutzt",
            "Er geht nur in dem Browser, in dem er zuerst benutzt wurde. Machen Sie dort weiter, oder lassen Sie sich einen neuen \
             geben.",
        ),
        Said::Lapsed => {
            let good_for = minutes(facts.link_minutes);
            let text = format!(
                "Links gelten nur {good_for}. Schreiben Sie dem Bot login, oder lassen Sie sich dort, wo Sie ihn bekommen haben, \
                 einen neuen geben."
            );
            return ("Dieser Link ist zu alt", text);
        }
        Said::Voided => (
            "Dieser Link gilt nicht mehr",
            "Sie haben seither noch einmal login geschrieben, oder logout, oder der Code war zu oft falsch. Nehmen Sie den neuesten Link in Ihrem Chat \
             mit dem Bot, oder schreiben Sie dort login.",
        ),
        Said::Stale => (
            "Bitte beginnen Sie von vorn",
            "Sie haben seither neu begonnen. Machen Sie im neueren Fenster weiter, oder öffnen Sie den Link noch einmal.",
        ),
        Said::ConsentReported => (
            "Danke",
            "Laut Microsoft haben Sie zugestimmt. Wer zu Ihrer Organisation gehört, kann sich jetzt anmelden; wer es schon versucht hat, \
             erfährt es vom Bot.",
        ),
        Said::ConsentDeclined => (
            "Nicht genehmigt",
            "Es hat sich nichts geändert. Solange der Link gilt, können Sie wiederkommen.",
        ),
        Said::ConsentLapsed => {
            let Facts { approval_link_days: days, approval_minutes, .. } = facts;
            let text = format!(
                "Der Link gilt {days} Tage, und nach dem Knopf haben Sie bei Microsoft {} Zeit. Öffnen Sie den Link noch \
                 einmal, oder lassen Sie sich dort, wo Sie ihn bekommen haben, einen neuen geben.",
                minutes(*approval_minutes)
            );
            return ("Das hat zu lange gedauert", text);
        }
        Said::Failed(FailureReason::TooManyAttempts, _) => {
            return ("Zu viele Passwörter versucht", failure(FailureReason::TooManyAttempts, facts));
        }
        Said::Failed(why, _) => return ("Sie sind noch nicht verbunden", failure(*why, facts)),
    };
    (title, text.to_owned())
}

fn failure(why: FailureReason, facts: &Facts) -> String {
    match why {
        FailureReason::Declined => "Sie haben bei Microsoft abgebrochen oder nicht zugestimmt.",
        FailureReason::ConsentRequired => {
            "Microsoft braucht vorher Ihre Zustimmung. Versuchen Sie es noch einmal, und stimmen Sie zu, wenn Sie gefragt werden."
        }
        FailureReason::AdminConsentRequired => {
            "In Ihrer Organisation muss die Administration diese App vorher genehmigen. Bitte wenden Sie sich an Ihre IT-Abteilung."
        }
        FailureReason::WrongPerson => {
            "Sie haben sich mit einem anderen Konto angemeldet als dem, für das dieser Link ist. Versuchen Sie es noch einmal, und \
             wählen Sie jenes."
        }
        FailureReason::TenantNotAdmitted => {
            "Ihre Organisation ist hier noch nicht zugelassen. Bitte wenden Sie sich an die Stelle, von der Sie den Link haben."
        }
        FailureReason::PersonalAccount => {
            "Das war ein privates Microsoft-Konto. Microsoft Teams braucht ein Geschäfts-, Schul- oder Unikonto."
        }
        FailureReason::IdTokenInvalid | FailureReason::Refused => {
            "Die Antwort von Microsoft war nicht gut. Bitte versuchen Sie es noch einmal; geschieht es wieder, sagen Sie der Stelle \
             Bescheid, von der Sie den Link haben."
        }
        FailureReason::NoRefreshToken => {
            "Microsoft hat keine dauerhafte Erlaubnis gegeben. Versuchen Sie es noch einmal, und stimmen Sie dem dauerhaften Zugriff zu, \
             wenn Sie gefragt werden."
        }
        FailureReason::ProviderUnavailable => {
            "Microsoft war nicht zu erreichen. Bitte versuchen Sie es gleich noch einmal."
        }
        FailureReason::Misconfigured => {
            "Bei uns stimmt etwas nicht; es wurde vermerkt. Bitte versuchen Sie es später noch einmal."
        }
        FailureReason::AccountLinkedElsewhere => {
            "Dieses Konto des Produkts ist mit jemand anderem verbunden. Die Verbindung muss dort zuerst getrennt werden."
        }
        FailureReason::WrongPassword => "Der Benutzername oder das Passwort ist falsch.",
        FailureReason::SecondFactorRequired => "Bitte geben Sie auch den Code Ihres zweiten Faktors ein.",
        FailureReason::TooManyAttempts => {
            let wait = minutes(facts.stretch_minutes);
            return format!(
                "Es wurden zu viele Passwörter versucht. Bitte warten Sie ab dem letzten {wait} und schreiben Sie dem Bot \
                 dann noch einmal login; oder melden Sie sich mit Office 365 an."
            );
        }
        FailureReason::ProductUnavailable => {
            "Das Passwort konnte gerade nicht geprüft werden. Bitte versuchen Sie es gleich noch einmal."
        }
    }
    .to_owned()
}

fn minutes(count: u64) -> String {
    if count == 1 { "1 Minute".to_owned() } else { format!("{count} Minuten") }
}
