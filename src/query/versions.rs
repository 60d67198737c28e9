//! Records as they stood at a position.

use sqlx::PgConnection;

use crate::log::Tenant;
use crate::roster::EntityType;

/// One version of a record.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Version {
    pub sourced_id: String,
    /// Position of the unit of work that made it.
    pub since: i64,
    /// Document without addresses.
    pub doc: String,
}

/// The versions of these records that stood at the position; those that were not there are left out.
pub async fn as_of(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
    sourced_ids: &[&str],
    position: i64,
) -> Result<Vec<Version>, sqlx::Error> {
    let table = kind.entity().table;
    sqlx::query_as(&format!(
        "select asked.sourced_id, v.since, v.doc
           from unnest($2::text[]) as asked(sourced_id),
                lateral (
                  select since, doc
                    from (select tenant, sourced_id, since, until, doc from {table}
                          union all select tenant, sourced_id, since, until, doc from {table}_history) v
                   where v.tenant = $1 and v.sourced_id = asked.sourced_id
                     and v.since <= $3 and (v.until is null or v.until > $3)
                   limit 1) v"
    ))
    .bind(tenant.as_str())
    .bind(sourced_ids)
    .bind(position)
    .fetch_all(conn)
    .await
}
