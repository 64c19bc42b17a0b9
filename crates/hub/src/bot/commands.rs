//! What can be asked of the bot, and by which words.

use domain::activity::BotCommand;
use microsoft::bot::folded;
use serde_json::Value;

use crate::services::sign_ins::as_code;

/// What a text asks for; `None` where it is none of the bot's words. The words are the same in every language.
pub fn said(text: &str) -> Option<BotCommand> {
    word(&folded(text)).or_else(|| as_code(text).map(|_| BotCommand::Code))
}

/// What a button of one of our cards asks for.
pub fn pressed(value: &Value) -> Option<BotCommand> {
    value.get("command").and_then(Value::as_str).and_then(word)
}

/// A command by its word.
pub fn word(word: &str) -> Option<BotCommand> {
    Some(match word {
        "login" => BotCommand::Login,
        "logout" => BotCommand::Logout,
        "status" => BotCommand::Status,
        "help" => BotCommand::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_known_in_any_case_and_spacing_and_alone() {
        for text in ["login", " LogIn\u{a0}", "LOGIN\u{200b}"] {
            assert_eq!(said(text), Some(BotCommand::Login), "{text:?}");
        }
        assert_eq!(said("help"), Some(BotCommand::Help));
        for text in ["", "log in", "please login", "login at once", "/login"] {
            assert_eq!(said(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_text_of_the_shape_of_a_code_may_be_one() {
        assert_eq!(said("0123 abcd"), Some(BotCommand::Code));
        assert_eq!(said("0123 abc"), None);
    }

    #[test]
    fn a_button_asks_by_the_name_of_a_command() {
        assert_eq!(pressed(&json!({ "command": "status" })), Some(BotCommand::Status));
        for value in [json!(null), json!("status"), json!({ "command": "Status!" }), json!({ "command": 1 })]
        {
            assert_eq!(pressed(&value), None, "{value}");
        }
    }
}
