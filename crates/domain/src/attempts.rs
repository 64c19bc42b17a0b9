//! Tries at passwords: by one person, for one account or from one address, within one stretch of time.
//!
//! A stream is named by a keyed hash of whose tries it counts and by the stretch of time, so none grows past its limit and
//! nobody is locked out for longer than a stretch lasts.
//!
//! **Invariant.** A try is recorded before the product is asked, so no hub and no restart forgets one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, SignInId};

/// The tries of one stretch of time, but for those that were no guesses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts {
    pub tries: Vec<Try>,
}

/// An attempt of a sign-in to come in by a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    pub sign_in: SignInId,
    pub attempt: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum Command {
    Make {
        this: Try,
        tries_max: usize,
    },
    /// The password was right, so it was no guess.
    Succeed {
        this: Try,
    },
}

/// What can happen to tries, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "attempts.made.v1")]
    Made { sign_in: SignInId, attempt: u32 },
    /// It was no guess, and is counted no longer.
    #[serde(rename = "attempts.succeeded.v1")]
    Succeeded { sign_in: SignInId, attempt: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too many passwords were tried")]
    TooMany,
}

impl Aggregate for Attempts {
    const CATEGORY: &'static str = "attempts";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Make { this, .. } if self.tries.contains(&this) => Ok(vec![]),
            Command::Make { tries_max, .. } if self.tries.len() >= tries_max => Err(Refusal::TooMany),
            Command::Make { this: Try { sign_in, attempt }, .. } => {
                Ok(vec![Event::Made { sign_in, attempt }])
            }
            Command::Succeed { this } if self.tries.contains(&this) => {
                let Try { sign_in, attempt } = this;
                Ok(vec![Event::Succeeded { sign_in, attempt }])
            }
            Command::Succeed { .. } => Ok(vec![]),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Made { sign_in, attempt } => self.tries.push(Try { sign_in, attempt }),
            Event::Succeeded { sign_in, attempt } => {
                self.tries.retain(|it| *it != Try { sign_in, attempt });
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::given, testing};

    fn made(attempt: u32) -> Event {
        Event::Made { sign_in: testing::sign_in(1), attempt }
    }

    fn this(attempt: u32) -> Try {
        Try { sign_in: testing::sign_in(1), attempt }
    }

    fn make(attempt: u32) -> Command {
        Command::Make { this: this(attempt), tries_max: 2 }
    }

    #[test]
    fn tries_are_counted_up_to_the_limit_and_each_of_them_once() {
        given::<Attempts>([made(1)]).when(make(2)).then([made(2)]);
        given::<Attempts>([made(1), made(2)]).when(make(2)).then([]);
        given::<Attempts>([made(1), made(2)]).when(make(3)).refused(Refusal::TooMany);
    }

    #[test]
    fn a_right_password_was_no_guess() {
        let right = Event::Succeeded { sign_in: testing::sign_in(1), attempt: 2 };
        given::<Attempts>([made(1), made(2)]).when(Command::Succeed { this: this(2) }).then([right.clone()]);
        given::<Attempts>([made(1), made(2), right]).when(make(3)).then([made(3)]);
    }
}
