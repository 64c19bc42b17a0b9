//! Every card that the hub can send, for the makers' validators and for looking at.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use url::Url;

use crate::{
    bot::catalogue::{Language, Notice},
    templates,
};

/// Name and card.
fn all() -> Result<Vec<(String, Value)>> {
    let of_templates = templates::ALL
        .iter()
        .map(|known| anyhow::Ok((known.template.to_string(), known.render(&(known.sample)())?.card)));
    of_templates.chain(of_bot()?.into_iter().map(Ok)).collect()
}

/// What the bot says by a card of its own accord, in each of its languages.
fn of_bot() -> Result<Vec<(String, Value)>> {
    let url = Url::parse("https://hub.example.com/sign-in/an-id.a-secret")?;
    let notices = [("help", Notice::Help), ("login", Notice::Login { url, minutes: 10, connected: None })];
    let mut cards = Vec::new();
    for language in [Language::English, Language::German] {
        for (name, notice) in &notices {
            let card = notice.card(language).with_context(|| format!("the bot has no card for {name}"))?;
            cards.push((format!("bot_{name}.{}", language.tag()), card));
        }
    }
    Ok(cards)
}

/// Writes each into a file of its own; the directory is made if need be.
pub(super) fn write(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for (name, card) in all()? {
        let path = directory.join(format!("{name}.json"));
        std::fs::write(&path, format!("{card:#}\n"))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
