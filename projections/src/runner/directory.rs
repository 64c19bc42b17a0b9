//! Where the files of a read model lie, and which of them is the one in use.
//!
//! `<name>-<n>.sqlite` is a complete read model and the highest `n` is the one in use; `<name>-<n>.building` is one being
//! made. **Invariant.** A file gets its `.sqlite` name by one rename, after all of it is durable: that is the switch, and
//! what a crash leaves behind on either side of it is removed at the next start.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The place of one read model, held by this process alone.
pub(super) struct Directory {
    path: PathBuf,
    name: &'static str,
    _lock: File,
}

impl Directory {
    /// Takes `<data>/read-models` for the projection `name`. Fails when another process has it.
    pub(super) fn take(data: &Path, name: &'static str) -> Result<Self> {
        let path = data.join("read-models");
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        let lock = File::create(path.join(format!("{name}.lock")))?;
        lock.try_lock().with_context(|| format!("the read model {name} is in use by another process"))?;
        Ok(Self { path, name, _lock: lock })
    }

    /// The file in use, if there is one. Removes what it has replaced and what was never completed.
    pub(super) fn current(&self) -> Result<Option<PathBuf>> {
        let complete = self.numbered(".sqlite")?;
        let newest = complete.iter().max().copied();
        for number in complete.into_iter().filter(|number| Some(*number) != newest) {
            remove(&self.file(number, "sqlite"))?;
        }
        for number in self.numbered(".building")? {
            remove(&self.file(number, "building"))?;
        }
        Ok(newest.map(|number| self.file(number, "sqlite")))
    }

    /// Where the next file is to be built; what lies there already was given up.
    pub(super) fn building(&self) -> Result<PathBuf> {
        let newest = self.numbered(".sqlite")?.into_iter().max().unwrap_or(0);
        let path = self.file(newest + 1, "building");
        remove(&path)?;
        Ok(path)
    }

    /// Makes what was built the file in use.
    pub(super) fn switch_to(&self, building: &Path) -> Result<PathBuf> {
        let complete = building.with_extension("sqlite");
        fs::rename(building, &complete).with_context(|| format!("switching to {}", complete.display()))?;
        File::open(&self.path)?.sync_all()?;
        Ok(complete)
    }

    fn file(&self, number: u64, extension: &str) -> PathBuf {
        self.path.join(format!("{}-{number}.{extension}", self.name))
    }

    fn numbered(&self, extension: &str) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| {
                name.strip_prefix(self.name)?.strip_prefix('-')?.strip_suffix(extension)?.parse().ok()
            });
            numbers.extend(number);
        }
        Ok(numbers)
    }
}

/// Removes a `SQLite` file and what lies beside it. Who still has it open can go on reading it.
pub(super) fn remove(path: &Path) -> Result<()> {
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
