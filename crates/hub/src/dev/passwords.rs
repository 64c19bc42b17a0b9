//! The product's users of `chancery dev`: each has an account, and all have one password.

use std::path::{Path, PathBuf};

use anyhow::Result;
use eventstoredb_server::{Cost, PasswordHash};

use super::write_private;

/// Names and accounts.
pub(super) const USERS: [(&str, &str); 3] = [("ada", "u-1001"), ("bruno", "u-1002"), ("chiara", "u-1003")];
/// No secret: whoever reaches `chancery dev` sits at this machine.
pub(super) const PASSWORD: &str = "correct-horse";

/// Where the file is, which is made if need be.
pub(super) fn file(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("passwords");
    if !path.exists() {
        let line = |(name, account): (&str, &str)| {
            let hash = PasswordHash::of(PASSWORD, [0; 16], Cost::Drawn);
            format!("{name} {account} {}\n", hash.as_str())
        };
        write_private(&path, USERS.map(line).concat().as_bytes())?;
    }
    Ok(path)
}
