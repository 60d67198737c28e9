//! What a set would change: the staged rows against the roster as it stands, each looked up by its key (a join's
//! plan would hang on statistics that do not know the tenant yet).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::manifest::Mode;
use super::stage::{Staging, number};
use crate::log::Tenant;
use crate::roster::EntityType;

/// What becomes of the records of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Changes {
    pub created: i64,
    pub changed: i64,
    pub restored: i64,
    pub withdrawn: i64,
    pub unchanged: i64,
}

/// By entity name.
pub type ChangeCounts = BTreeMap<&'static str, Changes>;

/// Computes the plan anew; gives the counts it promises.
pub async fn plan(
    conn: &mut PgConnection,
    staging: &Staging,
    tenant: &Tenant,
    modes: &[(EntityType, Mode)],
) -> Result<ChangeCounts, sqlx::Error> {
    let Staging { rows, plan, .. } = staging;
    sqlx::query(&format!("truncate {plan}")).execute(&mut *conn).await?;
    let mut counts = ChangeCounts::new();
    for (kind, mode) in modes {
        let (entity, table) = (number(*kind), kind.entity().table);
        // A row says what the record shall be; it is planned when the roster does not say the same already.
        sqlx::query(&format!(
            "insert into {plan} (entity, sourced_id, line, withdraw, sequence, withdrawn, owner)
             select s.entity, s.sourced_id, s.line, s.withdrawn, coalesce(c.sequence, 0), c.status <> 'active', s.owner
               from {rows} s
                    left join lateral (select * from {table} c
                                        where c.tenant = $1 and c.sourced_id = s.sourced_id limit 1) c on true
              where s.entity = {entity}
                and case when s.withdrawn then c.status = 'active'
                         else c.sourced_id is null or c.status <> 'active' or c.digest <> s.digest end"
        ))
        .bind(tenant.as_str())
        .execute(&mut *conn)
        .await?;
        if *mode == Mode::Bulk {
            let owner = match kind {
                EntityType::Role | EntityType::UserProfile => "c.user_sourced_id",
                _ => "c.sourced_id",
            };
            sqlx::query(&format!(
                "insert into {plan} (entity, sourced_id, line, withdraw, sequence, withdrawn, owner)
                 select {entity}, c.sourced_id, 0, true, c.sequence, false, {owner}
                   from {table} c
                  where c.tenant = $1 and c.status = 'active'
                    and not exists (select from {rows} s where s.entity = {entity} and s.sourced_id = c.sourced_id)"
            ))
            .bind(tenant.as_str())
            .execute(&mut *conn)
            .await?;
        }
        let (created, changed, restored, withdrawn, from_rows): (i64, i64, i64, i64, i64) = sqlx::query_as(&format!(
            "select count(*) filter (where not withdraw and sequence = 0),
                    count(*) filter (where not withdraw and sequence > 0 and not withdrawn),
                    count(*) filter (where not withdraw and sequence > 0 and withdrawn),
                    count(*) filter (where withdraw), count(*) filter (where line > 0)
               from {plan} where entity = {entity}"
        ))
        .fetch_one(&mut *conn)
        .await?;
        let staged: i64 = sqlx::query_scalar(&format!("select count(*) from {rows} where entity = {entity}"))
            .fetch_one(&mut *conn)
            .await?;
        let unchanged = staged - from_rows;
        counts.insert(kind.name(), Changes { created, changed, restored, withdrawn, unchanged });
    }
    sqlx::query(&format!("analyze {plan}")).execute(&mut *conn).await?;
    Ok(counts)
}
