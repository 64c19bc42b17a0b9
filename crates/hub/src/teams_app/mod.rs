//! The app that an admin uploads to Teams: a zip of the manifest and two icons, by which people get the bot.
//!
//! **Invariant.** The same settings make the same bytes.

mod manifest;
mod settings;

use std::io::{Cursor, Write as _};

use zip::{CompressionMethod, ZipWriter, result::ZipResult, write::SimpleFileOptions};

pub(crate) use settings::Ids;
pub use settings::TeamsAppConfig;

/// 192 by 192 pixels, in full colour, to its edges.
const COLOR: &[u8] = include_bytes!("color.png");
/// 32 by 32 pixels, white on nothing.
const OUTLINE: &[u8] = include_bytes!("outline.png");

/// Makes the package. Its files bear no time, which would differ from run to run.
pub fn package(app: &TeamsAppConfig) -> ZipResult<Vec<u8>> {
    let manifest = format!("{:#}\n", manifest::of(app));
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in
        [("manifest.json", manifest.as_bytes()), ("color.png", COLOR), ("outline.png", OUTLINE)]
    {
        archive.start_file(name, options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests;
