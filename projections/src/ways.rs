//! Ways out of the hub as SQL can compare them: a bit for each.

use domain::{Surface, SurfaceChoice};

/// The ways of which `is` holds.
pub(crate) fn bits(is: impl Fn(Surface) -> bool) -> i64 {
    let bit = |way| match way {
        Surface::Graph => 1,
        Surface::Bot => 2,
    };
    Surface::ALL.into_iter().filter(|way| is(*way)).map(bit).sum()
}

/// The ways that a message of this choice may go.
pub(crate) fn ways_of(choice: SurfaceChoice) -> i64 {
    bits(|way| choice.may_go(way))
}

/// The choice of which these are the ways.
pub(crate) fn choice_of(ways: i64) -> Option<SurfaceChoice> {
    let all = [SurfaceChoice::Graph, SurfaceChoice::Bot, SurfaceChoice::Auto];
    all.into_iter().find(|choice| ways_of(*choice) == ways)
}
