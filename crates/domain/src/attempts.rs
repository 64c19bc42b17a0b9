//! Tries at passwords: by one person, for one account or from one address, within one stretch of time.
//!
//! A stream is named by a keyed hash of whose tries it counts and by the stretch of time, so none grows past its limit and
//! nobody is locked out for longer than a stretch lasts. Those of the stretch before count too, until they are as old as a
//! stretch is long; so the limit holds over any time of that length.
//!
//! **Invariant.** A try is recorded before the product is asked, so no hub and no restart forgets one. It is given back only
//! where the product is known not to have judged it, and no more of them than may be made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, SignInId, Timestamp};

/// The tries of one stretch of time, but for those that were no guesses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts {
    /// Each with when it was made, where that is on record.
    pub tries: Vec<(Try, Option<Timestamp>)>,
    /// How many were given back.
    pub given_back: usize,
}

impl Attempts {
    fn has(&self, this: Try) -> bool {
        self.tries.iter().any(|(it, _)| *it == this)
    }

    /// How many of these were made later than this.
    pub fn later_than(&self, then: Timestamp) -> usize {
        self.tries.iter().filter(|(_, at)| at.is_none_or(|at| at > then)).count()
    }
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
        now: Timestamp,
    },
    /// The password was right, so it was no guess.
    Succeed {
        this: Try,
    },
    /// The product did not judge it.
    GiveBack {
        this: Try,
        most: usize,
    },
}

/// What can happen to tries, by the names it is stored under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "data")]
pub enum Event {
    #[serde(rename = "attempts.made.v1")]
    Made {
        sign_in: SignInId,
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// It was no guess, and is counted no longer.
    #[serde(rename = "attempts.succeeded.v1")]
    Succeeded { sign_in: SignInId, attempt: u32 },
    /// The product is known not to have judged it, so that it is counted no longer.
    #[serde(rename = "attempts.undecided.v1")]
    Undecided { sign_in: SignInId, attempt: u32 },
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
            Command::Make { this, .. } if self.has(this) => Ok(vec![]),
            Command::Make { tries_max, .. } if self.tries.len() >= tries_max => Err(Refusal::TooMany),
            Command::Make { this: Try { sign_in, attempt }, now, .. } => {
                Ok(vec![Event::Made { sign_in, attempt, at: Some(now) }])
            }
            Command::Succeed { this } if self.has(this) => {
                let Try { sign_in, attempt } = this;
                Ok(vec![Event::Succeeded { sign_in, attempt }])
            }
            Command::GiveBack { this, most } if self.has(this) && self.given_back < most => {
                let Try { sign_in, attempt } = this;
                Ok(vec![Event::Undecided { sign_in, attempt }])
            }
            Command::Succeed { .. } | Command::GiveBack { .. } => Ok(vec![]),
        }
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Made { sign_in, attempt, at } => self.tries.push((Try { sign_in, attempt }, at)),
            Event::Succeeded { sign_in, attempt } => {
                self.tries.retain(|(it, _)| *it != Try { sign_in, attempt });
            }
            Event::Undecided { sign_in, attempt } => {
                self.tries.retain(|(it, _)| *it != Try { sign_in, attempt });
                self.given_back += 1;
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
        Event::Made { sign_in: testing::sign_in(1), attempt, at: Some(at(attempt)) }
    }

    fn at(attempt: u32) -> Timestamp {
        Timestamp::from_micros(attempt.into())
    }

    fn this(attempt: u32) -> Try {
        Try { sign_in: testing::sign_in(1), attempt }
    }

    fn make(attempt: u32) -> Command {
        Command::Make { this: this(attempt), tries_max: 2, now: at(attempt) }
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

    #[test]
    fn what_was_not_judged_is_given_back_but_not_for_ever() {
        let give_back = |attempt| Command::GiveBack { this: this(attempt), most: 1 };
        let back = Event::Undecided { sign_in: testing::sign_in(1), attempt: 1 };
        given::<Attempts>([made(1)]).when(give_back(2)).then([]);
        given::<Attempts>([made(1)]).when(give_back(1)).then([back.clone()]);
        given::<Attempts>([made(1), back.clone()]).when(give_back(1)).then([]);
        given::<Attempts>([made(1), back.clone(), made(2)]).when(make(3)).then([made(3)]);
        given::<Attempts>([made(1), back, made(2)]).when(give_back(2)).then([]);
    }

    #[test]
    fn a_try_of_which_nobody_knows_when_it_was_made_counts_as_a_late_one() {
        let undated = Event::Made { sign_in: testing::sign_in(1), attempt: 9, at: None };
        let attempts =
            [made(1), made(2), made(3), undated].into_iter().fold(Attempts::default(), Attempts::evolve);
        assert_eq!(attempts.later_than(at(2)), 2);
    }
}
