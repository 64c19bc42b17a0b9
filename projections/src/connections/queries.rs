//! What the API asks of `connections`.

use anyhow::Result;
use domain::{ConnectionId, TenantId};

use super::{ConnectionRow, Connections, Key, Row, TenantRow};
use crate::ReadModel;

/// A tenant with the number of its connections by status.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantSummary {
    pub tenant: TenantId,
    pub row: TenantRow,
    /// Status as spelled by [`super::status_name`], and how many.
    pub connections: Vec<(String, u64)>,
}

/// Tenants behind `after`, in the order of their ids; `only` restricts them.
pub async fn tenants(
    model: &ReadModel<Connections>,
    after: Option<TenantId>,
    only: Option<Vec<TenantId>>,
    limit: usize,
) -> Result<Vec<TenantSummary>> {
    model
        .query(move |reader| {
            let after = after.map_or(String::new(), |tenant| tenant.to_string());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let only = only.map(|only| serde_json::to_string(&only)).transpose()?;
            let sql = "SELECT key, body FROM tenants WHERE key > ?1
                       AND (?3 IS NULL OR key IN (SELECT value FROM json_each(?3))) ORDER BY key LIMIT ?2";
            let mut counts = reader.prepare_cached(
                "SELECT status, count(*) FROM connections WHERE tenant = ?1 GROUP BY status ORDER BY status",
            )?;
            let mut tenants = Vec::new();
            for found in reader.select(1, sql, (after, limit, only))? {
                let (Key::Tenant(tenant), Row::Tenant(row)) = found else { continue };
                let by_status = counts.query_map([tenant.to_string()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
                })?;
                tenants.push(TenantSummary {
                    tenant,
                    row,
                    connections: by_status.collect::<Result<_, _>>()?,
                });
            }
            Ok(tenants)
        })
        .await
}

/// Connections of a tenant behind the object id `after`, in the order of object ids.
pub async fn connections(
    model: &ReadModel<Connections>,
    tenant: TenantId,
    after: Option<String>,
    status: Option<String>,
    limit: usize,
) -> Result<Vec<(ConnectionId, ConnectionRow)>> {
    model
        .query(move |reader| {
            let sql = "SELECT key, body FROM connections WHERE tenant = ?1 AND object_id > ?2
                       AND (?3 IS NULL OR status = ?3) ORDER BY object_id LIMIT ?4";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let params = (tenant.to_string(), after.unwrap_or_default(), status, limit);
            let rows = reader.select(0, sql, params)?;
            Ok(rows
                .into_iter()
                .filter_map(|found| match found {
                    (Key::Connection(id), Row::Connection(row)) => Some((id, *row)),
                    _ => None,
                })
                .collect())
        })
        .await
}

/// How many connections there are of each status.
pub async fn count_by_status(model: &ReadModel<Connections>) -> Result<Vec<(String, u64)>> {
    model
        .query(|reader| {
            let mut statement =
                reader.prepare_cached("SELECT status, count(*) FROM connections GROUP BY status")?;
            let counts = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            Ok(counts.collect::<Result<_, _>>()?)
        })
        .await
}

/// Tenants with a breaker that is open.
pub async fn count_open_breakers(model: &ReadModel<Connections>) -> Result<usize> {
    model
        .query(|reader| {
            let tenants = reader.select(1, "SELECT key, body FROM tenants", [])?;
            Ok(tenants
                .iter()
                .filter(|(_, row)| matches!(row, Row::Tenant(tenant) if !tenant.breakers.is_empty()))
                .count())
        })
        .await
}
