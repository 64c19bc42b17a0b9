//! Holding deliveries back when their outcomes turn unknown: a few in a row, and a tenant's lanes wait for that way out while
//! a harmless read probes whether Microsoft answers there again. Otherwise an outage would drain every lane into *unknown*.
//!
//! That a breaker opened and closed is recorded: what one hub found out holds for all that share the store.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use domain::{
    CommandId, ShardId, TenantId,
    lane::Surface,
    tenant::{Command, Tenant},
};
use tokio::time::Instant;

use crate::{
    commands::{Context, Loaded},
    hub::Hub,
};

/// The breakers of each tenant that somebody was written to, one for each way out.
#[derive(Default)]
pub struct Breakers(Mutex<HashMap<(TenantId, Surface), Breaker>>);

#[derive(Clone, Copy, Debug)]
struct Breaker {
    /// Unknown outcomes since the last known one.
    unknowns: u32,
    /// Set while it is open: when to probe next.
    probe_at: Option<Instant>,
    /// The revision of the tenant up to which this agrees with the log.
    known: Option<u64>,
}

impl Breaker {
    fn close(&mut self) {
        (self.unknowns, self.probe_at) = (0, None);
    }
}

/// Whether a delivery may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Go,
    /// The breaker is open; this one may look whether it can be closed.
    Probe,
    /// Look again then.
    Wait(Instant),
}

impl Breakers {
    fn with<T>(&self, tenant: TenantId, way: Surface, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get_mut(&(tenant, way)).map(act)
    }
}

/// Asks whether a delivery to this tenant may begin, of which this is recorded: other hubs open and close breakers too.
pub(super) fn permission(hub: &Hub, tenant: TenantId, way: Surface, recorded: &Loaded<Tenant>) -> Permission {
    let now = Instant::now();
    let pause = hub.config.delivery.breaker_pause;
    let open = recorded.state.breakers.contains(&way);
    let mut breakers = hub.breakers.0.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Breaker { unknowns: 0, probe_at: open.then_some(now), known: recorded.revision };
    let breaker = breakers.entry((tenant, way)).or_insert(begun);
    if recorded.revision > breaker.known {
        breaker.known = recorded.revision;
        match breaker.probe_at {
            None if open => breaker.probe_at = Some(now + pause),
            Some(_) if !open => breaker.close(),
            _ => {}
        }
    }
    match breaker.probe_at {
        None => Permission::Go,
        Some(at) if now < at => Permission::Wait(at),
        Some(_) => {
            // One at a time: whoever else asks now waits for the next round.
            breaker.probe_at = Some(now + pause);
            Permission::Probe
        }
    }
}

/// The outcome of a delivery was known.
pub(super) fn known(hub: &Hub, tenant: TenantId, way: Surface) {
    hub.breakers.with(tenant, way, |breaker| breaker.unknowns = 0);
}

/// The outcome of a delivery was unknown; the last of a few opens the breaker.
pub(super) async fn unknown(hub: &Hub, tenant: TenantId, way: Surface) -> Result<()> {
    let config = &hub.config.delivery;
    // Hubs that each see a part of the lanes have to be the more careful, for all of them together.
    let part = config.breaker_unknowns.saturating_mul(u32::try_from(hub.shards.count())?);
    let unknowns_max = part.div_ceil(u32::try_from(ShardId::COUNT)?).max(1);
    let opens = hub.breakers.with(tenant, way, |breaker| {
        breaker.unknowns += 1;
        let opens = breaker.unknowns >= unknowns_max && breaker.probe_at.is_none();
        if opens {
            breaker.probe_at = Some(Instant::now() + config.breaker_pause);
        }
        opens.then_some(breaker.unknowns)
    });
    if let Some(unknowns) = opens.flatten() {
        tracing::warn!(tenant.id = %tenant, ?way, unknowns, "Outcomes are unknown in a row; deliveries to the tenant wait.");
        record(hub, tenant, way, Command::OpenBreaker { surface: way, unknowns }).await?;
    }
    Ok(())
}

/// It was looked whether Microsoft answers there; if it does, the breaker closes. True when it did.
pub(super) async fn probed(hub: &Hub, tenant: TenantId, way: Surface, answers: bool) -> Result<bool> {
    if !answers {
        tracing::info!(tenant.id = %tenant, ?way, "Microsoft does not answer well yet.");
        return Ok(false);
    }
    record(hub, tenant, way, Command::CloseBreaker { surface: way }).await?;
    hub.breakers.with(tenant, way, Breaker::close);
    tracing::info!(tenant.id = %tenant, ?way, "Microsoft answers again; deliveries to the tenant go on.");
    Ok(true)
}

async fn record(hub: &Hub, tenant: TenantId, way: Surface, command: Command) -> Result<()> {
    let command_id = CommandId::new(format!("breaker/{}", hub.ids.uuid()));
    let context = Context::hub("outbox", tenant.to_string()).of_tenant(tenant);
    let done = hub.commands.execute::<Tenant>(tenant, &command_id, &context, command).await?;
    let after = done.after();
    let open = after.state.breakers.contains(&way);
    let probe_at = Instant::now() + hub.config.delivery.breaker_pause;
    hub.breakers.with(tenant, way, |breaker| {
        breaker.known = breaker.known.max(after.revision);
        // What was seen of the tenant meanwhile may have been from before.
        if open && breaker.probe_at.is_none() {
            breaker.probe_at = Some(probe_at);
        }
    });
    Ok(())
}
