//! `chancery dev --once`.

use std::process::ExitCode;

use anyhow::Result;

pub(super) async fn run() -> Result<ExitCode> {
    anyhow::bail!("being written")
}
