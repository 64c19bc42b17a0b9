//! Copies of a hub's data, and hubs begun from them.
//!
//! A backup is a directory: the log, the vault with all wrapped keys, and a manifest. Never in it: the key-encryption
//! key, which unwraps them, and the read models, which are built anew.
//!
//! **Invariant.** Log and vault are of one moment, as a power cut at that moment would have left them. A directory
//! without a manifest is no backup: it is written last.

mod manifest;
mod restore;

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use domain::Timestamp;
use store::embedded::Snapshot;

pub use self::{
    manifest::Manifest,
    restore::{Restored, Tokens, restore},
};
use crate::{
    app::DEV_MARK,
    hub::{EPOCH, LOG, VAULT, make_private, read_epoch},
};

/// How often both files are looked at before it is said that they are never at rest.
const LOOKS_MAX: u32 = 1000;
/// Between looks, so that a writer gets done.
const PAUSE: Duration = Duration::from_millis(1);

/// Copies the data of a hub, which may run meanwhile. Blocks.
pub fn take(data: &Path, to: &Path, now: Timestamp) -> Result<Manifest> {
    ensure!(data.join(LOG).is_file(), "{} holds no Chancery data", data.display());
    check_empty(to)?;
    make_private(to).with_context(|| format!("{} can't be made", to.display()))?;
    let taken = copy(data, to, now);
    if taken.is_err() {
        // What is half there would only be in the way of the next try.
        for name in [LOG, VAULT] {
            let _ = fs::remove_file(to.join(name));
        }
    }
    taken
}

fn copy(data: &Path, to: &Path, now: Timestamp) -> Result<Manifest> {
    let (log, vault) = at_one_moment(data)?;
    let names = if vault.is_some() { &[LOG, VAULT][..] } else { &[LOG] };
    // Who destroys something in the vault has to wait for as long as its view is held.
    if let Some(vault) = vault {
        vault.copy(&to.join(VAULT))?;
    }
    log.copy(&to.join(LOG))?;
    let (epoch, made_by_dev) = (read_epoch(&data.join(EPOCH))?, data.join(DEV_MARK).exists());
    let manifest = Manifest::of(to, names, now, epoch, made_by_dev)?;
    manifest.write(to)?;
    Ok(manifest)
}

/// Both files as they were when nothing was being written to the log. The vault is written to before the log says so, and
/// destroyed in after it, so whatever this log tells of is in this vault. Hubs that share a store have no such file: their
/// vault is in the log.
fn at_one_moment(data: &Path) -> Result<(Snapshot, Option<Snapshot>)> {
    let vault = Some(data.join(VAULT)).filter(|vault| vault.is_file());
    for _ in 0..LOOKS_MAX {
        let log = Snapshot::take(&data.join(LOG))?;
        let vault = vault.as_deref().map(Snapshot::take).transpose()?;
        if log.is_newest()? {
            return Ok((log, vault));
        }
        std::thread::sleep(PAUSE);
    }
    bail!("the log is being written to without a pause: try again when there is less to do")
}

/// Nothing is ever overwritten.
fn check_empty(directory: &Path) -> Result<()> {
    match fs::read_dir(directory) {
        Ok(mut entries) => ensure!(entries.next().is_none(), "{} is not empty", directory.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    }
    Ok(())
}

/// What was made, renamed or removed in a directory is so on the disk.
fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("{} can't be written to the disk", directory.display()))
}
