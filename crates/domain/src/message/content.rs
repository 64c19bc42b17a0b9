//! What a message says. It is sealed in the message's event, which shows no more of it than its kind.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the product wants said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    Text {
        text: String,
    },
    Html {
        html: String,
    },
    AdaptiveCard {
        card: Value,
        /// Shown where a card can't be.
        summary: String,
    },
    Template {
        template: Template,
        /// What the template is filled in with; it was good when the message was accepted.
        data: Value,
    },
}

impl Content {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } => Kind::Text,
            Self::Html { .. } => Kind::Html,
            Self::AdaptiveCard { .. } => Kind::AdaptiveCard,
            Self::Template { template, .. } => Kind::Template(template.name),
        }
    }

    /// The template that makes the card, where one does.
    pub fn template(&self) -> Option<Template> {
        match self {
            Self::Template { template, .. } => Some(*template),
            Self::Text { .. } | Self::Html { .. } | Self::AdaptiveCard { .. } => None,
        }
    }
}

/// What sort of content a message has: `text`, `html`, `adaptive_card`, or the name of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Text,
    Html,
    AdaptiveCard,
    #[serde(untagged)]
    Template(TemplateName),
}

/// A template. What a version takes and how it looks stays as it is; what looks otherwise is the next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    pub name: TemplateName,
    /// Counted from 1.
    pub version: u32,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.v{}", self.name.as_str(), self.version)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateName {
    Assignment,
    CheckInReminder,
    KeyResultProgress,
    WeeklyDigest,
}

impl TemplateName {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::CheckInReminder => "check_in_reminder",
            Self::KeyResultProgress => "key_result_progress",
            Self::WeeklyDigest => "weekly_digest",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_of_a_template_is_its_name() {
        for name in [
            TemplateName::Assignment,
            TemplateName::CheckInReminder,
            TemplateName::KeyResultProgress,
            TemplateName::WeeklyDigest,
        ] {
            let content = Content::Template { template: Template { name, version: 1 }, data: json!({}) };
            assert_eq!(serde_json::to_value(content.kind()).unwrap(), json!(name.as_str()));
            assert_eq!(serde_json::from_value::<Kind>(json!(name.as_str())).unwrap(), content.kind());
        }
        assert_eq!(serde_json::from_value::<Kind>(json!("adaptive_card")).unwrap(), Kind::AdaptiveCard);
    }
}
