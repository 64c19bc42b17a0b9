//! What belongs to a backup, and that it is whole.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use domain::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::sync;

/// The version of backups that this program writes, and the newest that it restores.
const FORMAT: u32 = 1;
const FILE: &str = "manifest.json";

/// The list of a backup's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Program and version.
    pub writer: String,
    pub taken_at: Timestamp,
    /// How often a hub had been started on the data.
    pub epoch: u64,
    /// The data are `chancery dev`'s, whose secrets everybody knows.
    pub made_by_dev: bool,
    pub files: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
}

impl Manifest {
    /// Reads the files, to list them.
    pub(super) fn of(
        directory: &Path,
        names: &[&str],
        taken_at: Timestamp,
        epoch: u64,
        made_by_dev: bool,
    ) -> Result<Self> {
        let list = |name: &&str| Listed::of(directory, name, |_| Ok(()));
        let files = names.iter().map(list).collect::<Result<_>>()?;
        let writer = concat!("chancery/", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Self { format: FORMAT, writer, taken_at, epoch, made_by_dev, files })
    }

    /// On the disk once this is answered.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let write = || {
            let new = directory.join("manifest.new");
            let mut file = File::create(&new)?;
            writeln!(file, "{:#}", serde_json::to_value(self)?)?;
            file.sync_all()?;
            fs::rename(&new, directory.join(FILE))?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("the manifest can't be written to {}", directory.display()))?;
        sync(directory)
    }

    /// Refuses what is no backup, or one of a newer version.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
            writer: String,
        }

        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!("{} holds no whole backup: it has no {FILE}", directory.display())
                });
            }
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let damaged = || format!("{} is damaged", path.display());
        let Format { format, writer } = serde_json::from_slice(&text).with_context(damaged)?;
        ensure!(
            format <= FORMAT,
            "the backup in {} was written by {writer} (format {format}; this program knows {FORMAT}): restore it with that one",
            directory.display()
        );
        serde_json::from_slice(&text).with_context(damaged)
    }

    pub(super) fn lists(&self, name: &str) -> bool {
        self.files.iter().any(|listed| listed.name == name)
    }

    /// Copies a file of the backup, and refuses it if it is not what was backed up.
    pub(super) fn copy(&self, name: &str, from: &Path, to: &Path) -> Result<()> {
        let listed = self.files.iter().find(|listed| listed.name == name);
        let listed = listed.with_context(|| format!("the backup lists no {name}"))?;
        let mut copy = File::create_new(to.join(name)).with_context(|| format!("making {name}"))?;
        let found = Listed::of(from, name, |bytes| Ok(copy.write_all(bytes)?))?;
        copy.sync_all().with_context(|| format!("writing {name}"))?;
        ensure!(
            found == *listed,
            "{} is damaged: it has {} bytes with the SHA-256 {}, and {} bytes with {} were backed up",
            from.join(name).display(),
            found.bytes,
            found.sha256,
            listed.bytes,
            listed.sha256
        );
        Ok(())
    }
}

impl Listed {
    /// Reads the file from end to end and shows `each` piece of it.
    fn of(directory: &Path, name: &str, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<Self> {
        let path = directory.join(name);
        let reading = || format!("reading {}", path.display());
        let mut file = File::open(&path).with_context(reading)?;
        let (mut hash, mut bytes, mut buffer) = (Context::new(&SHA256), 0, vec![0; 1 << 20]);
        loop {
            let count = file.read(&mut buffer).with_context(reading)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            each(&buffer[..count]).with_context(reading)?;
            bytes += u64::try_from(count)?;
        }
        Ok(Self { name: name.to_owned(), bytes, sha256: hex::encode(hash.finish()) })
    }
}
