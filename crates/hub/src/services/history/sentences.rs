//! Events as plain sentences. Nothing personal stands in them: who it was, the asker knows.

use std::fmt::Display;

use domain::{
    Diagnosis, MessageId, SignInId, account,
    connection::{self, FailureClass},
    lane::{self, Surface},
    message::Kind,
    sign_in::{self, By},
};
use serde::Serialize;

use super::{Grants, Told};

pub(super) fn connection(event: &connection::Event, grants: &Grants) -> Told {
    use connection::Event;
    let token_of = |grant, generation| named(grants, grant, Some(generation));
    match event {
        Event::Linked { sign_in, .. } => of(*sign_in, None, "The person was linked."),
        Event::SignInBegun { .. } => told("The person asked the bot for a sign-in."),
        Event::TokenIssued { grant, grant_number, generation, scopes, expires_at } => {
            let scopes = plain(scopes);
            let text = format!(
                "Grant {grant_number}, generation {generation}, was given, for {scopes}. The access token is good until {expires_at}."
            );
            of(*grant, Some(*generation), text)
        }
        Event::TokensDestroyed { grant } => {
            of(*grant, None, format!("The tokens of {} were destroyed.", named(grants, *grant, None)))
        }
        Event::RefreshStarted { grant, generation, claim, .. } => {
            let token = token_of(*grant, *generation);
            let text = format!("Tokens of {token} were asked for (claim {claim}).");
            of(*grant, Some(*generation), text)
        }
        Event::TokenRefreshed { grant, generation, expires_at, .. } => {
            let token = token_of(*grant, *generation);
            let text = format!("Tokens of {token} came. The access token is good until {expires_at}.");
            of(*grant, Some(*generation), text)
        }
        Event::RefreshFailed { grant, generation, class, diagnosis, not_before, .. } => {
            let token = token_of(*grant, *generation);
            let again = not_before.map(|at| format!(" It is not tried before {at}.")).unwrap_or_default();
            let text = format!("Tokens of {token} did not come: {}.{again}", refused(*class, diagnosis));
            because(of(*grant, Some(*generation), text), diagnosis)
        }
        Event::TokenExpired { grant, generation, expired_at } => {
            let token = token_of(*grant, *generation);
            let text = format!("The access token of {token} expired at {expired_at}.");
            of(*grant, Some(*generation), text)
        }
        Event::TokensRestored { grant, generation, backed_up_at } => {
            let token = token_of(*grant, *generation);
            let text = format!(
                "The data were restored from a backup of {backed_up_at}; {token} is replaced before it is used again."
            );
            of(*grant, Some(*generation), text)
        }
        Event::ReauthorizationRequired { grant, generation, why, diagnosis } => {
            let text =
                format!("The grant is of no use any more: {}. The person has to sign in again.", word(why));
            because(of(*grant, Some(*generation), text), diagnosis)
        }
        Event::ConsentRequired { grant, generation, diagnosis } => {
            let text = "The person or an administrator has to consent.";
            because(of(*grant, Some(*generation), text), diagnosis)
        }
        Event::Suspended { grant, generation, diagnosis } => {
            let text = "Microsoft says that the person is disabled or gone.";
            because(of(*grant, Some(*generation), text), diagnosis)
        }
        Event::Unlinked {} => told("The person was unlinked."),
        Event::ChatFound { .. } => told("The chat between the person and the bot was found."),
        Event::ChatLost { .. } => told("The chat between the person and the bot is gone."),
        Event::BotInstalled { .. } => told("The person has the bot."),
        Event::BotRemoved { .. } => told("The person removed the bot."),
        Event::BotBlocked {} => told("The person does not let the bot write."),
    }
}

pub(super) fn lane(event: &lane::Event, grants: &Grants) -> Told {
    use lane::Event;
    match event {
        Event::DeliveryStarted { message, attempt, surface, grant, generation, .. } => {
            let with = grant.map(|grant| format!(" with the token of {}", named(grants, grant, *generation)));
            let text = format!(
                "Attempt {attempt} to deliver began, by {}{}.",
                via(*surface),
                with.unwrap_or_default()
            );
            Told { grant: *grant, generation: *generation, ..sent(*message, *attempt, text) }
        }
        Event::Delivered { message, attempt, .. } => sent(*message, *attempt, "The message was delivered."),
        Event::Deferred { message, attempt, until, why, diagnosis, .. } => {
            let text = format!("The message waits until {until}: {}.", word(why));
            because(sent(*message, *attempt, text), diagnosis)
        }
        Event::Unknown { message, attempt, diagnosis } => {
            because(sent(*message, *attempt, "It is not known whether the message arrived."), diagnosis)
        }
        Event::Resent { message, attempt, .. } => {
            sent(*message, *attempt, "The message goes again, though it may have arrived.")
        }
        Event::Parked { message, attempt, parked, diagnosis } => {
            let text = format!("By {}, messages wait: {}.", via(parked.surface), word(&parked.why));
            because(sent(*message, *attempt, text), diagnosis)
        }
        Event::Resumed { surface } => told(format!("By {}, messages no longer wait.", via(*surface))),
        Event::Rejected { message, attempt, why, diagnosis } => {
            let text = format!("The message is not sent: {}.", word(why));
            because(sent(*message, *attempt, text), diagnosis)
        }
        Event::DeadLettered { message, attempt, diagnosis } => {
            because(sent(*message, *attempt, "The message was given up after too many attempts."), diagnosis)
        }
        Event::Expired { message, attempt } => {
            sent(*message, *attempt, "The message was too old to be worth sending.")
        }
    }
}

pub(super) fn accepted(id: MessageId, kind: Kind) -> Told {
    let summary = format!("A message was accepted ({}).", word(&kind));
    Told { message: Some(id), summary, ..Told::default() }
}

pub(super) fn account(event: &account::Event) -> Told {
    match event {
        account::Event::Linked { sign_in, .. } => of(*sign_in, None, "An account of the product was linked."),
        account::Event::Unlinked { .. } => told("An account of the product was unlinked."),
        account::Event::LinkRefused { sign_in, .. } => {
            of(*sign_in, None, "An account of the product was not linked: it is somebody else's.")
        }
    }
}

pub(super) fn sign_in(event: &sign_in::Event) -> Told {
    use sign_in::Event;
    match event {
        Event::Requested { by: By::Client(by), lapses_at } => {
            told(format!("A sign-in link was made for {}, good until {lapses_at}.", by.client))
        }
        Event::Requested { by: By::Bot(_), lapses_at } => {
            told(format!("The person asked the bot for a sign-in; the link was good until {lapses_at}."))
        }
        Event::MethodChosen { attempt, .. } => Told {
            attempt: Some(*attempt),
            ..told(format!("Attempt {attempt} to sign in began in a browser."))
        },
        Event::Authorized { attempt, scopes, provisional, .. } => {
            let then = if *provisional { " The product has to confirm." } else { "" };
            let text = format!("The person signed in and consented to {}.{then}", plain(scopes));
            Told { attempt: Some(*attempt), ..told(text) }
        }
        Event::PasswordAccepted { attempt, .. } => Told {
            attempt: Some(*attempt),
            ..told("The product took the password. The person has to type the code to the bot.")
        },
        Event::CodeTried { attempt } => {
            Told { attempt: Some(*attempt), ..told("A wrong code was typed to the bot.") }
        }
        Event::Confirmed { by: Some(by) } => told(format!("{by} confirmed that the browser was its user's.")),
        Event::Confirmed { by: None } => told("The person typed the code to the bot."),
        Event::Completed { .. } => told("The sign-in was completed."),
        Event::Failed { attempt, why, diagnosis, came } => {
            let came = came.map(|came| format!(" It was {came}.")).unwrap_or_default();
            let text = format!("Attempt {attempt} to sign in came to nothing: {}.{came}", word(why));
            because(Told { attempt: Some(*attempt), ..told(text) }, diagnosis)
        }
        Event::Voided { why } => told(format!("The sign-in was called off: {}.", word(why))),
        Event::Lapsed {} => told("The sign-in's time was over."),
        Event::Settled {} => told("What the sign-in no longer needs was destroyed."),
    }
}

fn via(surface: Surface) -> &'static str {
    match surface {
        Surface::Graph => "Microsoft Graph",
        Surface::Bot => "the bot",
    }
}

fn told(summary: impl Into<String>) -> Told {
    Told { summary: summary.into(), ..Told::default() }
}

fn of(grant: SignInId, generation: Option<u64>, summary: impl Into<String>) -> Told {
    Told { grant: Some(grant), generation, ..told(summary) }
}

fn sent(message: MessageId, attempt: u32, summary: impl Into<String>) -> Told {
    Told { message: Some(message), attempt: Some(attempt), ..told(summary) }
}

fn because(told: Told, diagnosis: &Diagnosis) -> Told {
    Told { diagnosis: (*diagnosis != Diagnosis::default()).then(|| diagnosis.clone()), ..told }
}

/// A grant by its number, where that is known, and which of its tokens.
fn named(grants: &Grants, grant: SignInId, generation: Option<u64>) -> String {
    let number = grants.get(&grant).map(|number| format!("grant {number}"));
    let generation = generation.map(|generation| format!("generation {generation}"));
    let parts: Vec<_> = number.into_iter().chain(generation).collect();
    if parts.is_empty() { "a grant".to_owned() } else { parts.join(", ") }
}

/// Why there was no token, with Microsoft's own word where it refused for good.
fn refused(class: FailureClass, diagnosis: &Diagnosis) -> String {
    match (class, &diagnosis.code) {
        (FailureClass::Final, Some(code)) => format!("Microsoft refused for good ({code})"),
        (FailureClass::Final, None) => "Microsoft refused for good".to_owned(),
        (class, _) => word(&class).to_string(),
    }
}

/// A reason as it is stored (`interaction_required`), with spaces.
fn word(reason: &impl Serialize) -> impl Display {
    let stored = serde_json::to_value(reason).unwrap_or_default();
    stored.as_str().unwrap_or("unknown").replace('_', " ")
}

/// Scopes as they were asked for: Microsoft answers with their resource in front, or without, as it pleases.
fn plain(scopes: &[String]) -> String {
    let plain =
        |scope: &String| scope.strip_prefix("https://graph.microsoft.com/").unwrap_or(scope).to_owned();
    scopes.iter().map(plain).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_failure_says_why_and_keeps_the_codes() {
        let diagnosis =
            Diagnosis { aadsts: Some(50_173), code: Some("invalid_grant".into()), ..Diagnosis::default() };
        let failed = |class| {
            connection(
                &connection::Event::RefreshFailed {
                    grant: SignInId(Uuid::from_u128(1)),
                    generation: 2,
                    claim: 1,
                    class,
                    diagnosis: diagnosis.clone(),
                    not_before: Some(Timestamp::from_micros(0)),
                },
                &Grants::new(),
            )
        };
        let refused = failed(FailureClass::Final).summary;
        assert!(refused.contains("did not come: Microsoft refused for good (invalid_grant)."), "{refused}");
        let failed = failed(FailureClass::ConsentRequired);
        assert_eq!(
            failed.summary,
            "Tokens of generation 2 did not come: consent required. It is not tried before 1970-01-01T00:00:00.000000Z."
        );
        assert_eq!((failed.generation, failed.diagnosis), (Some(2), Some(diagnosis)));
    }

    #[test]
    fn a_delivery_names_the_token_that_it_was_made_with() {
        let id = |n| Uuid::from_u128(n);
        let began = lane(
            &lane::Event::DeliveryStarted {
                message: MessageId(id(1)),
                attempt: 3,
                surface: Surface::Graph,
                grant: Some(SignInId(id(2))),
                generation: Some(7),
                template: None,
                content_hash: None,
                hub: domain::HubId(id(3)),
                epoch: 1,
                timeout_ms: 1000,
                client_request_id: id(4),
            },
            &Grants::from([(SignInId(id(2)), 5)]),
        );
        assert!(began.summary.ends_with("with the token of grant 5, generation 7."), "{}", began.summary);
        assert_eq!((began.grant, began.generation, began.attempt), (Some(SignInId(id(2))), Some(7), Some(3)));
    }
}
