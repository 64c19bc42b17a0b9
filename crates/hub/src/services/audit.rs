//! Readings that are recorded before anything is shown.

use domain::{
    CommandId, TenantId,
    audit::{Audit, Event, Refusal},
};
use uuid::Uuid;

use crate::{
    commands::{Context, Failure},
    http::auth::Caller,
    hub::Hub,
};

/// Records who reads what. Where that fails, nothing may be shown.
pub async fn record(
    hub: &Hub,
    caller: &Caller,
    request: Uuid,
    tenant: Option<TenantId>,
    what: Event,
) -> Result<(), Failure<Refusal>> {
    let context = Context { tenant, ..Context::client(&caller.client, request.to_string()) };
    hub.commands.begin::<Audit>(hub.ids.uuid(), &CommandId::new("read"), &context, what).await?;
    Ok(())
}
