//! The bot's cards: Adaptive Cards of version 1.4, which every Teams client of today shows.

use serde_json::{Value, json};
use url::Url;

use super::catalogue::Labels;

/// The commands, the most wanted of them as buttons.
pub(super) fn help(text: &str, labels: &Labels) -> Value {
    let ask = |title: &str, command: &str| json!({ "type": "Action.Submit", "title": title, "data": { "command": command } });
    let actions = [ask(labels.sign_in, "login"), ask(labels.status, "status"), ask(labels.log_out, "logout")];
    card(text, text, &json!(actions))
}

/// The way to the panel, in a browser. Who sees no card finds the address in the text.
pub(super) fn login(text: &str, url: &Url, labels: &Labels) -> Value {
    let actions = json!([{ "type": "Action.OpenUrl", "title": labels.sign_in, "url": url }]);
    card(text, &format!("{text}\n{url}"), &actions)
}

fn card(text: &str, fallback: &str, actions: &Value) -> Value {
    let lines: Vec<_> = text
        .lines()
        .map(|line| json!({ "type": "TextBlock", "text": line, "wrap": true, "spacing": "small" }))
        .collect();
    json!({
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "fallbackText": fallback,
        "body": lines,
        "actions": actions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Labels = Labels { sign_in: "Sign in", status: "Status", log_out: "Log out" };

    #[test]
    fn the_login_card_opens_a_page_and_has_the_address_in_its_fallback() {
        let url = Url::parse("https://hub.example.com/sign-in/x.y").unwrap();
        let card = login("Connect", &url, &LABELS);
        assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
        assert_eq!(card["actions"][0]["url"], url.as_str());
        assert_eq!(card["fallbackText"], format!("Connect\n{url}"));
    }

    #[test]
    fn the_buttons_of_the_help_card_ask_for_what_the_bot_knows() {
        let card = help("a\nb", &LABELS);
        assert_eq!(card["body"].as_array().unwrap().len(), 2);
        for action in card["actions"].as_array().unwrap() {
            assert!(super::super::commands::pressed(&action["data"]).is_some(), "{action}");
        }
    }
}
