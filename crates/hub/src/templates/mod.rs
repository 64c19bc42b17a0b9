//! The messages that come as cards made here: a file for each, with what it is filled in with and how it looks.
//!
//! **Invariants.** A version that was shipped takes what it took and looks as it looked. What was written by people is never
//! read as markup ([`sheet`]).

mod assignment;
mod check_in_reminder;
pub mod fields;
mod key_result_progress;
mod sheet;
mod weekly_digest;

use domain::message::Template;
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Every version of every template there is; the newest version of each is the last one of its name.
pub const ALL: &[Known] = &[
    Known::of::<assignment::Assignment>(),
    Known::of::<check_in_reminder::CheckInReminder>(),
    Known::of::<key_result_progress::KeyResultProgress>(),
    Known::of::<weekly_digest::WeeklyDigest>(),
];

/// A message, made.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    /// An Adaptive Card of version 1.5 at most.
    pub card: Value,
    /// One line, for notifications and lists of chats. Plain text.
    pub summary: String,
    /// All that the card says, where a card can't be shown. Plain text in lines.
    pub text: String,
}

/// What a template is filled in with, and what becomes of it.
trait Parameters: DeserializeOwned + JsonSchema {
    const TEMPLATE: Template;

    /// Good parameters, to be looked at: in the schema, on the preview page, and by the makers' validators.
    fn sample() -> Value;

    fn render(&self) -> Rendered;
}

/// A template in one version.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub template: Template,
    pub sample: fn() -> Value,
    schema: fn() -> Schema,
    check: fn(Value) -> Result<(), Wrong>,
    render: fn(&Value) -> Result<Rendered, serde_json::Error>,
}

/// What is wrong with parameters, and where: `key_results[2].title`, or `.` for all of them.
pub type Wrong = serde_path_to_error::Error<serde_json::Error>;

impl Known {
    const fn of<P: Parameters>() -> Self {
        Self {
            template: P::TEMPLATE,
            sample: P::sample,
            schema: || schema_for!(P),
            check: |data| serde_path_to_error::deserialize::<_, P>(data).map(drop),
            render: |data| P::deserialize(data).map(|parameters| parameters.render()),
        }
    }

    pub fn check(&self, data: Value) -> Result<(), Wrong> {
        (self.check)(data)
    }

    pub fn render(&self, data: &Value) -> Result<Rendered, serde_json::Error> {
        (self.render)(data)
    }

    /// The JSON Schema of its parameters, complete in itself, as it stands in `schemas/templates`.
    pub fn schema(&self) -> Value {
        let mut schema = (self.schema)().to_value();
        schema["title"] = self.template.to_string().into();
        schema["examples"] = json!([(self.sample)()]);
        schema
    }
}

/// Makes the card of a message that was accepted. An error means that a newer hub accepted it, or that its data are broken.
pub fn render(template: Template, data: &Value) -> anyhow::Result<Rendered> {
    let known = ALL.iter().find(|known| known.template == template);
    let known = known.ok_or_else(|| anyhow::anyhow!("this version of the hub has no template {template}"))?;
    Ok(known.render(data)?)
}

#[cfg(test)]
mod tests;
