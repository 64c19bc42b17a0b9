//! A data directory from a backup.
//!
//! **Invariant.** The directory is there wholly or not at all: it is made beside its place and moved there last. No token
//! of the backup is taken for the newest: each connection is told what was done.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use domain::{
    CommandId, ConnectionId, Diagnosis, Timestamp,
    aggregate::{Aggregate as _, decode},
    connection::{Command, Connection, ReauthorizationReason, Status},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{EventStore, Filter, Position, embedded::give_new_id};
use uuid::Uuid;

use super::{Manifest, check_empty, sync};
use crate::{
    app::DEV_MARK,
    clock::{Clock, Ids},
    commands::{Commands, Context},
    hub::{EPOCH, LOG, VAULT, make_private, open_store, open_vault},
};

/// Connections that are told at a time.
const AT_A_TIME: usize = 256;
/// Events read at a time.
const PAGE: usize = 4096;

/// What becomes of the tokens in a backup, which may be older than those that Microsoft gave last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// They are replaced before they are used: good where an older refresh token still is, as it is with Entra ID.
    Refresh,
    /// They are not used any more, and people sign in again: for providers that take an older refresh token for a stolen
    /// one.
    SignInAgain,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    pub manifest: Manifest,
    /// Connections whose tokens are replaced, or whose people have to sign in again.
    pub connections: usize,
}

/// Restores a backup into a directory that is not there yet, or empty.
pub async fn restore(
    from: &Path,
    into: &Path,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<Restored> {
    let manifest = Manifest::read(from)?;
    check_empty(into)?;
    let beside = beside(into)?;
    ensure!(
        !beside.exists(),
        "{} is there, from a restoration that was interrupted or is under way: remove it if there is none",
        beside.display()
    );
    make_private(&beside).with_context(|| format!("{} can't be made", beside.display()))?;
    let restored = fill(&manifest, from, &beside, tokens, clock, ids).await;
    let moved = match restored {
        Ok(connections) => move_to(&beside, into).map(|()| Restored { manifest, connections }),
        Err(error) => Err(error),
    };
    if moved.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    moved
}

fn beside(into: &Path) -> Result<PathBuf> {
    let name = into.file_name().with_context(|| format!("{} can't be made", into.display()))?;
    let mut name = name.to_owned();
    name.push(".restoring");
    Ok(into.with_file_name(name))
}

async fn fill(
    manifest: &Manifest,
    from: &Path,
    data: &Path,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<usize> {
    manifest.copy(LOG, from, data)?;
    if manifest.lists(VAULT) {
        manifest.copy(VAULT, from, data)?;
    }
    write(&data.join(EPOCH), &manifest.epoch.to_string())?;
    if manifest.made_by_dev {
        write(&data.join(DEV_MARK), "")?;
    }
    give_new_id(data, ids.uuid())?;
    let store = Arc::new(open_store(data)?);
    if manifest.lists(VAULT) {
        // It is the log's own, and of a version that is known.
        drop(open_vault(data, &*store).await?);
    }
    let restoration = ids.uuid();
    let commands = Commands::new(store.clone(), clock, ids);
    mark(&*store, &commands, restoration, tokens, manifest.taken_at).await
}

/// Tells every connection that has tokens. Answers how many have.
async fn mark(
    store: &dyn EventStore,
    commands: &Commands,
    restoration: Uuid,
    tokens: Tokens,
    backed_up_at: Timestamp,
) -> Result<usize> {
    let command_id = &CommandId::new(format!("restore/{restoration}"));
    let active = active(store).await?;
    let marked = active.iter().map(|(id, connection)| async move {
        let grant =
            connection.grant.as_ref().map(|grant| grant.id).context("an active connection has a grant")?;
        let command = match tokens {
            Tokens::Refresh => Command::Restore { backed_up_at },
            Tokens::SignInAgain => Command::RequireReauthorization {
                grant,
                why: ReauthorizationReason::TokensLost,
                diagnosis: Diagnosis::default(),
            },
        };
        let tenant = connection.person.map(|person| person.tenant);
        let context = Context { tenant, ..Context::hub("restore", restoration.to_string()) };
        commands.execute::<Connection>(id, command_id, &context, command).await?;
        anyhow::Ok(())
    });
    stream::iter(marked).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    Ok(active.len())
}

async fn active(store: &dyn EventStore) -> Result<HashMap<ConnectionId, Connection>> {
    let filter = Filter::categories([Connection::CATEGORY]);
    let (mut connections, mut after) = (HashMap::<ConnectionId, Connection>::new(), Position::START);
    loop {
        let page = store.read_all(after, &filter, PAGE).await?;
        for event in &page.events {
            let connection = connections.entry(event.stream.id().parse()?).or_default();
            *connection = std::mem::take(connection).evolve(decode::<Connection>(&event.name, &event.data)?);
        }
        if page.at_head {
            break;
        }
        after = page.upto;
    }
    connections.retain(|_, connection| connection.status == Status::Active);
    Ok(connections)
}

/// On the disk before the directory gets its name.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))?;
    sync(path)
}

fn move_to(beside: &Path, into: &Path) -> Result<()> {
    sync(beside)?;
    // Takes the place of an empty directory.
    fs::rename(beside, into).with_context(|| format!("{} can't be made", into.display()))?;
    sync(into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}
