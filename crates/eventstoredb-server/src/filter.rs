//! Which events of the whole log a client wants: those whose stream or type begins with one of some prefixes, or matches
//! a regular expression as .NET has them (found anywhere, with look-around).
//!
//! **Invariant.** No expression takes more than its limit of steps for one name, and none is looked at for so long that
//! others wait.

use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};
use store::{Filter, Recorded};
use tonic::Status;

use crate::{
    access::Caller,
    limits,
    protocol::reading::{Expression, FilterOptions, filter_options},
};

/// What of the log is shown: what the caller may see and the client wants.
pub(crate) struct View {
    pub(crate) caller: Caller,
    pub(crate) wanted: Option<Selection>,
}

impl View {
    /// What the store can choose by itself; `pick` is needed all the same.
    pub(crate) fn for_store(&self) -> Filter {
        self.wanted.as_ref().map_or_else(everything, Selection::for_store)
    }

    /// Whether each of these is shown.
    pub(crate) async fn pick(&self, events: &[Recorded]) -> Result<Vec<bool>, Status> {
        let mut picked = Vec::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            if place % LOOKS_IN_A_ROW == LOOKS_IN_A_ROW - 1 {
                tokio::task::yield_now().await;
            }
            let wanted = self.wanted.as_ref().map_or(Ok(true), |wanted| wanted.wants(event));
            picked.push(!self.caller.hides(event.stream.as_str()) && wanted?);
        }
        Ok(picked)
    }
}

pub(crate) struct Selection {
    by: By,
    matcher: Matcher,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Stream,
    Type,
}

enum Matcher {
    Prefixes(Vec<Arc<str>>),
    Regex(Regex),
}

impl Selection {
    pub(crate) fn parse(options: FilterOptions) -> Result<Self, Status> {
        let (by, expression) = match options.by {
            Some(filter_options::By::StreamName(expression)) => (By::Stream, expression),
            Some(filter_options::By::EventType(expression)) => (By::Type, expression),
            None => return Err(Status::invalid_argument("the filter does not say by what to choose")),
        };
        Ok(Self { by, matcher: Matcher::parse(expression)? })
    }

    fn for_store(&self) -> Filter {
        match (self.by, &self.matcher) {
            (By::Stream, Matcher::Prefixes(prefixes)) => Filter { stream_prefixes: prefixes.clone() },
            _ => everything(),
        }
    }

    fn wants(&self, event: &Recorded) -> Result<bool, Status> {
        let name = match self.by {
            By::Stream => event.stream.as_str(),
            By::Type => &event.name,
        };
        match &self.matcher {
            Matcher::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| name.starts_with(&**prefix))),
            Matcher::Regex(regex) => regex.is_match(name).map_err(|_| {
                Status::invalid_argument("the filter's regular expression takes too many steps")
            }),
        }
    }
}

/// The whole log, the system's own events included.
fn everything() -> Filter {
    Filter { stream_prefixes: vec!["".into()] }
}

/// Names that an expression is held against before others have their turn.
const LOOKS_IN_A_ROW: usize = 32;

impl Matcher {
    fn parse(expression: Expression) -> Result<Self, Status> {
        if !expression.regex.is_empty() {
            if expression.regex.len() > limits::REGEX_BYTES_MAX {
                return Err(Status::invalid_argument("the filter's regular expression is too long"));
            }
            let regex = RegexBuilder::new(&expression.regex)
                .backtrack_limit(limits::REGEX_BACKTRACKS_MAX)
                .delegate_size_limit(limits::REGEX_SIZE_MAX)
                .delegate_dfa_size_limit(limits::REGEX_SIZE_MAX)
                .build();
            return regex.map(Self::Regex).map_err(|error| {
                Status::invalid_argument(format!("the filter's regular expression can't be used: {error}"))
            });
        }
        match expression.prefix.len() {
            0 => Err(Status::invalid_argument("a filter needs a regular expression or a prefix")),
            1..=limits::PREFIXES_MAX => {
                Ok(Self::Prefixes(expression.prefix.into_iter().map(Arc::from).collect()))
            }
            _ => Err(Status::invalid_argument("the filter has too many prefixes")),
        }
    }
}
