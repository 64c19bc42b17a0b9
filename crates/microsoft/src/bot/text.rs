//! Text as a person means it: without the mention of the bot, odd spaces and the case of letters.

/// Without the mentions of the bot, and trimmed. A span `<at>…</at>` stays only if it is one of `others`, the texts by
/// which somebody else is mentioned.
pub(super) fn clean(text: &str, others: &[&str]) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, mention, after)) = next_mention(rest) {
        cleaned.push_str(before);
        if others.contains(&mention) {
            cleaned.push_str(mention);
        }
        rest = after;
    }
    cleaned.push_str(rest);
    let spaced = cleaned.replace("&nbsp;", " ").replace('\u{a0}', " ");
    spaced.trim_matches(|c: char| c.is_whitespace() || is_invisible(c)).to_owned()
}

/// For comparing with a command: lower case, without invisible characters, and with one space where there was any number.
pub fn folded(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    visible.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands before the next mention, the mention with its tags, and what follows it.
fn next_mention(text: &str) -> Option<(&str, &str, &str)> {
    const END: &str = "</at>";
    let starts = text.match_indices("<at").map(|(start, _)| start);
    let start = starts.into_iter().find(|start| text[start + 3..].starts_with(['>', ' ']))?;
    let end = start + text[start..].find(END)? + END.len();
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// Zero-width characters that clients leave behind, and those that turn the direction of what follows.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_of_the_bot_are_taken_out_and_others_stay() {
        assert_eq!(clean("<at>Chancery</at> login", &[]), "login");
        assert_eq!(clean("<at id=\"0\">Chancery</at>&nbsp;login\r\n", &[]), "login");
        let others = ["<at>Bob</at>"];
        assert_eq!(clean("<at>Chancery</at> tell <at>Bob</at> this", &others), "tell <at>Bob</at> this");
    }

    #[test]
    fn what_only_looks_like_a_mention_stays() {
        for text in ["<at>", "a <at> b", "<attention>x</at>", "</at><at", "1 < 2", "ä<at>ö"] {
            assert_eq!(clean(text, &[]), text);
        }
    }

    #[test]
    fn a_command_is_the_same_in_any_case_and_spacing() {
        for text in ["login", " LOGIN ", "\u{a0}Login\u{a0}", "\u{200b}login\u{feff}", "log\u{200b}in"] {
            assert_eq!(folded(text), "login", "{text:?}");
        }
        assert_eq!(folded("Log \n\u{a0} In"), "log in");
    }
}
