//! Passes word of an administrator's consent on to those who wait for it.
//!
//! **Invariant.** Who waited when it was reported is told once, and the report is due until all of them are. Who begins to
//! wait later is left for the next report; who has signed in meanwhile is not told.

use anyhow::Result;
use domain::{
    CommandId, PersonId, TenantId, Timestamp,
    connection::{Connection, Status},
    tenant::{Command, Tenant},
};
use futures_util::{StreamExt as _, stream};
use projections::due::{Key, queries};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    AGAIN, Round,
    crew::{self, Crew},
};
use crate::{
    bot::{
        catalogue::Notice,
        notices::{self, Told},
    },
    commands::Context,
    hub::Hub,
};

/// Tenants of which people are told at once, and people of one tenant.
const TENANTS_MAX: usize = 4;
const PEOPLE_MAX: usize = 8;
/// People read at a time.
const PAGE: usize = 500;

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    crew::run(hub, stopping, TENANTS_MAX, |key| matches!(key, Key::Consent(_)), look).await
}

fn look<'a>(hub: &'a Hub, crew: &'a mut Crew<TenantId>) -> Round<'a> {
    Box::pin(async move {
        for tenant in queries::reported_consents(&hub.due, hub.shards.held()).await? {
            crew.take_up(hub, tenant, work(hub.clone(), tenant));
        }
        Ok(None)
    })
}

async fn work(hub: Hub, tenant: TenantId) -> Option<Timestamp> {
    pass_on(&hub, tenant).await.unwrap_or_else(|error| {
        tracing::warn!(tenant.id = %tenant, error = format!("{error:#}"), "Word of consent could not be passed on; trying again.");
        Some(hub.clock.now() + AGAIN)
    })
}

/// Tells who waits, and records that all are told; or answers when all those may be tried again who could not be told.
async fn pass_on(hub: &Hub, tenant: TenantId) -> Result<Option<Timestamp>> {
    let state = hub.commands.load::<Tenant>(tenant).await?.state;
    let name = |what, of: &[&str]| hub.custody.name_of(what, of);
    // Those whose first sign-in failed for want of it.
    let listed = state.to_tell.iter().map(|(person, report)| {
        let of = [person.connection().to_string(), report.to_string()];
        (*person, name("report of consent", &[&of[0], &of[1]]))
    });
    let mut again = tell_all(hub, listed.collect()).await;
    // And those whose link ended so, who are told once for each grant, however often it is reported.
    let mut after = None;
    loop {
        let page = queries::connections_awaiting(&hub.due, tenant, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        let linked = page.iter().filter(|(_, row)| !state.to_tell.contains_key(&row.person));
        let linked = linked.map(|(id, row)| {
            (row.person, name("word of consent", &[&id.to_string(), &row.grant_number.to_string()]))
        });
        again = again.max(tell_all(hub, linked.collect()).await);
    }
    if again.is_none() {
        let report = state.reported;
        let context = Context::hub("consents", tenant.to_string()).of_tenant(tenant);
        let command_id = CommandId::new(format!("consent-told/{report}"));
        hub.commands.execute::<Tenant>(tenant, &command_id, &context, Command::RecordTold { report }).await?;
    }
    Ok(again)
}

/// Tells people, each by this cause. Answers when those may be tried again who could not be told.
async fn tell_all(hub: &Hub, people: Vec<(PersonId, Uuid)>) -> Option<Timestamp> {
    let told = stream::iter(people).map(async |(person, cause)| {
        tell(hub, person, cause).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = format!("{error:#}"),
                "A person was not told that there is word of consent; trying again."
            );
            Some(hub.clock.now() + AGAIN)
        })
    });
    told.buffer_unordered(PEOPLE_MAX).fold(None, async |latest, again| latest.max(again)).await
}

async fn tell(hub: &Hub, person: PersonId, cause: Uuid) -> Result<Option<Timestamp>> {
    if hub.stopping.is_cancelled() || !hub.shards.holds(person.tenant.shard()) {
        // Another hub, or the next process, goes on.
        return Ok(Some(hub.clock.now() + AGAIN));
    }
    if hub.commands.load::<Connection>(person.connection()).await?.state.status == Status::Active {
        return Ok(None);
    }
    Ok(match notices::tell(hub, person, cause, &Notice::ConsentReported).await? {
        Told::Later(at) => Some(at),
        Told::Said | Told::Before | Told::Unsaid => None,
    })
}
