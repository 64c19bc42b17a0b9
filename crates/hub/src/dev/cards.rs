//! Every card that the hub can send, for the makers' validators and for looking at.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::templates;

/// Name and card.
fn all() -> Result<Vec<(String, Value)>> {
    let of_templates = templates::ALL
        .iter()
        .map(|known| anyhow::Ok((known.template.to_string(), known.render(&(known.sample)())?.card)));
    of_templates.collect()
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
