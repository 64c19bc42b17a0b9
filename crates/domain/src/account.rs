//! An account of the product: which person it belongs to. This stream decides who an account is.
//!
//! **Invariant.** One account is one person at a time; a person may have several accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, PersonId, Sealed, SignInId};

/// Whom the account belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub linked: Option<Linked>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    pub person: PersonId,
    /// The account itself, sealed under the person's key.
    pub account: Sealed,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// A completed sign-in says that the account is this person's.
    Link {
        person: PersonId,
        sign_in: SignInId,
        account: Sealed,
    },
    Unlink,
}

/// What can happen to an account, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "account.linked.v1")]
    Linked { person: PersonId, sign_in: SignInId, account: Sealed },
    #[serde(rename = "account.unlinked.v1")]
    Unlinked { person: PersonId },
    /// The account belongs to somebody else, who has to be unlinked first.
    #[serde(rename = "account.link-refused.v1")]
    LinkRefused { person: PersonId, sign_in: SignInId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the account is not linked to anybody")]
    NotLinked,
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match (command, &self.linked) {
            (Command::Link { person, sign_in, account }, None) => {
                Ok(vec![Event::Linked { person, sign_in, account }])
            }
            (Command::Link { person, .. }, Some(linked)) if linked.person == person => Ok(vec![]),
            // Refusing is a fact that an auditor wants to see, hence an event.
            (Command::Link { person, sign_in, .. }, Some(_)) => {
                Ok(vec![Event::LinkRefused { person, sign_in }])
            }
            (Command::Unlink, Some(linked)) => Ok(vec![Event::Unlinked { person: linked.person }]),
            (Command::Unlink, None) => Err(Refusal::NotLinked),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Linked { person, account, .. } => self.linked = Some(Linked { person, account }),
            Event::Unlinked { .. } => self.linked = None,
            Event::LinkRefused { .. } => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn link(person: u128) -> Command {
        Command::Link {
            person: testing::person(person),
            sign_in: testing::sign_in(1),
            account: testing::sealed(),
        }
    }

    fn linked(person: u128) -> Event {
        Event::Linked {
            person: testing::person(person),
            sign_in: testing::sign_in(1),
            account: testing::sealed(),
        }
    }

    #[test]
    fn a_second_person_is_refused_until_the_first_is_unlinked() {
        let refused = Event::LinkRefused { person: testing::person(2), sign_in: testing::sign_in(1) };
        let unlinked = Event::Unlinked { person: testing::person(1) };
        given::<Account>([linked(1)]).when(link(2)).then([refused]);
        given::<Account>([linked(1), unlinked]).when(link(2)).then([linked(2)]);
    }

    #[test]
    fn linking_the_same_person_again_changes_nothing() {
        given::<Account>([linked(1)]).when(link(1)).then([]);
    }

    #[test]
    fn what_is_not_linked_cannot_be_unlinked() {
        given::<Account>([]).when(Command::Unlink).refused(Refusal::NotLinked);
    }
}
