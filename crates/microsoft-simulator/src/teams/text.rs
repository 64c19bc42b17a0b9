//! The text of an HTML message, without its markup.

use maud::{Markup, html};

/// Elements whose content is no text.
const SILENT: [&str; 4] = ["script", "style", "template", "attachment"];
/// Elements that end a line.
const BREAKS: [&str; 9] = ["br", "p", "div", "li", "tr", "h1", "h2", "h3", "blockquote"];

/// A run of text, perhaps with a link on it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Run {
    text: String,
    href: Option<String>,
}

/// Shows the text of `source`, with its line breaks and its links to http addresses.
pub(super) fn from_html(source: &str) -> Markup {
    html! {
        @for run in runs(source) {
            @if let Some(href) = run.href { a href=(href) target="_blank" rel="noreferrer" { (run.text) } } @else { (run.text) }
        }
    }
}

/// The text alone.
pub(crate) fn plain_text(source: &str) -> String {
    runs(source).into_iter().map(|run| run.text).collect()
}

pub(super) fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn runs(source: &str) -> Vec<Run> {
    let mut runs = vec![Run::default()];
    let mut silent: Option<String> = None;
    let mut rest = source;
    while !rest.is_empty() {
        let (text, tag, after) = next_tag(rest);
        rest = after;
        if silent.is_none() {
            runs.last_mut().expect("there is always a run").text.push_str(&plain(text));
        }
        let Some(tag) = tag else { continue };
        let name = tag_name(tag);
        let closes = tag.starts_with('/');
        if let Some(waited_for) = &silent {
            if closes && name == *waited_for {
                silent = None;
            }
        } else if SILENT.contains(&name.as_str()) && !closes {
            silent = Some(name);
        } else if name == "a" {
            let href = if closes { None } else { href(tag) };
            runs.push(Run { text: String::new(), href });
        } else if BREAKS.contains(&name.as_str()) && (closes || name == "br") {
            runs.last_mut().expect("there is always a run").text.push('\n');
        }
    }
    runs.retain(|run| !run.text.is_empty());
    if let Some(last) = runs.last_mut() {
        last.text.truncate(last.text.trim_end().len());
    }
    runs
}

/// The text before the next tag, what stands in the tag, and what follows it.
fn next_tag(source: &str) -> (&str, Option<&str>, &str) {
    let Some((text, rest)) = source.split_once('<') else { return (source, None, "") };
    match rest.split_once('>') {
        Some((tag, after)) => (text, Some(tag), after),
        // A tag without an end swallows the rest.
        None => (text, None, ""),
    }
}

fn tag_name(tag: &str) -> String {
    let tag = tag.trim_start_matches('/');
    tag.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default().to_lowercase()
}

fn href(tag: &str) -> Option<String> {
    let (_, value) = tag.split_once("href=")?;
    let quote = value.chars().next().filter(|it| ['"', '\''].contains(it))?;
    let url = plain(value[1..].split(quote).next()?);
    is_web_address(&url).then_some(url)
}

/// Resolves the entities that messages use.
fn plain(text: &str) -> String {
    text.replace("&nbsp;", "\u{a0}")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::from_html;

    #[test]
    fn markup_is_dropped_and_text_is_kept() {
        let shown = from_html("<p>Hello <b>you</b></p><p>3 &lt; 4<br>&amp;amp;</p>").into_string();
        assert_eq!(shown, "Hello you\n3 &lt; 4\n&amp;amp;");
    }

    #[test]
    fn scripts_and_attributes_do_nothing() {
        let shown =
            from_html("<script>alert(1)</script><img src=x onerror=alert(1)>safe<iframe").into_string();
        assert_eq!(shown, "safe");
    }

    #[test]
    fn links_are_kept_only_to_web_addresses() {
        let shown = from_html(
            "<a href=\"https://a.example/?x=1&amp;y=2\">good</a> <a href='javascript:alert(1)'>bad</a>",
        );
        let good =
            "<a href=\"https://a.example/?x=1&amp;y=2\" target=\"_blank\" rel=\"noreferrer\">good</a> bad";
        assert_eq!(shown.into_string(), good);
    }

    #[test]
    fn escaped_markup_stays_text() {
        assert_eq!(from_html("&lt;script&gt;").into_string(), "&lt;script&gt;");
    }
}
