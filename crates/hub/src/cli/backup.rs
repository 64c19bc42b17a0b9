//! `chancery backup` and `chancery restore`.

use std::sync::Arc;

use anyhow::Result;

use super::{
    args::{BackupArgs, RestoreArgs},
    data::directory,
};
use crate::{
    backup::{self, Restored, Tokens},
    clock::{Clock as _, SystemClock, SystemIds},
};

pub(super) async fn take(args: BackupArgs) -> Result<()> {
    let data = directory(args.data_dir, args.config)?;
    let (to, now) = (args.to.clone(), SystemClock.now());
    let manifest = tokio::task::spawn_blocking(move || backup::take(&data, &to, now)).await??;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    eprintln!(
        "{bytes} bytes backed up to {}, as they were at {}. Of no use without the key-encryption key: back that up elsewhere.",
        args.to.display(),
        manifest.taken_at
    );
    Ok(())
}

pub(super) async fn restore(args: &RestoreArgs) -> Result<()> {
    let tokens = if args.sign_in_again { Tokens::SignInAgain } else { Tokens::Refresh };
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let Restored { manifest, connections } =
        backup::restore(&args.from, &args.into, tokens, clock, ids).await?;
    let people = match tokens {
        Tokens::Refresh => "their tokens are replaced before they are used again",
        Tokens::SignInAgain => "they have to sign in again",
    };
    eprintln!(
        "{} restored, as it was at {}. Linked people: {connections}; {people}.",
        args.into.display(),
        manifest.taken_at
    );
    Ok(())
}
