//! The ways out of the hub, and how one of them is chosen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way out of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Microsoft Graph, as the person.
    Graph,
    /// The Bot Connector, in the bot's own voice.
    Bot,
}

impl Surface {
    /// In the order in which they are tried where either will do.
    pub const ALL: [Self; 2] = [Self::Graph, Self::Bot];
}

/// Which way a message is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceChoice {
    #[default]
    Graph,
    Bot,
    /// Graph, and the bot while a person would have to do something before Graph can be used.
    Auto,
}

impl SurfaceChoice {
    /// The way for a message of this choice while `closed` says which ways are closed; `None` where it has to wait.
    pub fn open_way(self, closed: impl Fn(Surface) -> bool) -> Option<Surface> {
        Surface::ALL.into_iter().find(|way| self.may_go(*way) && !closed(*way))
    }

    /// Whether a message of this choice may ever go this way.
    pub fn may_go(self, way: Surface) -> bool {
        self == Self::Auto || self == Self::from(way)
    }
}

impl From<Surface> for SurfaceChoice {
    fn from(surface: Surface) -> Self {
        match surface {
            Surface::Graph => Self::Graph,
            Surface::Bot => Self::Bot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_either_way_changes_it() {
        let closed = |way: Surface| way == Surface::Graph;
        assert_eq!(SurfaceChoice::Auto.open_way(|_| false), Some(Surface::Graph));
        assert_eq!(SurfaceChoice::Auto.open_way(closed), Some(Surface::Bot));
        assert_eq!(SurfaceChoice::Graph.open_way(closed), None);
        assert_eq!(SurfaceChoice::Bot.open_way(closed), Some(Surface::Bot));
        assert_eq!(SurfaceChoice::Auto.open_way(|_| true), None);
    }
}
