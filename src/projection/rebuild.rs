//! The read models made anew from the log, beside the live ones: to compare (`verify`) or to take over (`rebuild`).
//!
//! The shadow tables are temporary ones of the same names. Postgres looks there first, so the very statements
//! that keep the live tables fill them.

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Postgres};

use super::{Projection, Projections};
use crate::db::Db;
use crate::log::Tenant;

/// Events taken in one go.
const CHUNK: i64 = 20_000;

/// The first place where a read model is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Difference {
    pub table: String,
    pub sourced_id: String,
    /// The version's first position.
    pub since: i64,
    /// `unexpected` (stands in the read model only) or `missing` (stands in the log only).
    pub what: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    #[error("there is no tenant {0}")]
    UnknownTenant(Tenant),
    #[error("there is no projection {0}")]
    UnknownProjection(String),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

struct Shadow<'a> {
    projections: Vec<&'a Projection>,
    tenant: &'a Tenant,
    conn: PoolConnection<Postgres>,
    live_schema: String,
    position: i64,
}

impl Projections {
    /// Recomputes the tenant's read models from the log and compares. Gives the position compared at, and the
    /// first difference if there is one. Writers are not held up.
    pub async fn verify(
        &self,
        db: &Db,
        tenant: &Tenant,
        progress: impl Fn(i64, i64),
    ) -> Result<(i64, Option<Difference>), ShadowError> {
        let mut shadow = Shadow::create(self.all.iter().collect(), db, tenant).await?;
        shadow.catch_up(&progress).await?;
        sqlx::query("begin isolation level repeatable read").execute(&mut *shadow.conn).await?;
        shadow.catch_up(&progress).await?;
        let position = shadow.position;
        shadow.compare_freely().await?;
        let mut found = None;
        for projection in shadow.projections.clone() {
            found = shadow.compare(projection).await?;
            if found.is_some() {
                break;
            }
        }
        sqlx::query("rollback").execute(&mut *shadow.conn).await?;
        Ok((position, found))
    }

    /// Recomputes read models from the log, then replaces in one transaction what differs. Readers see the old
    /// until it commits; the tenant's writers wait only while the last events are caught up with and rows replaced.
    /// Gives the position and the number of rows that were replaced.
    pub async fn rebuild(
        &self,
        db: &Db,
        tenant: &Tenant,
        only: Option<&str>,
        progress: impl Fn(i64, i64),
    ) -> Result<(i64, u64), ShadowError> {
        let chosen: Vec<&Projection> = self.all.iter().filter(|p| only.is_none_or(|name| p.name == name)).collect();
        if chosen.is_empty() {
            return Err(ShadowError::UnknownProjection(only.unwrap_or_default().to_owned()));
        }
        let whole = chosen.len() == self.all.len();
        let mut shadow = Shadow::create(chosen, db, tenant).await?;
        shadow.catch_up(&progress).await?;
        sqlx::query("begin").execute(&mut *shadow.conn).await?;
        let head = shadow.lock().await?.1;
        shadow.advance_to(head, &progress).await?;
        shadow.compare_freely().await?;
        let mut replaced = 0;
        for projection in shadow.projections.clone() {
            replaced += shadow.replace(projection).await?;
        }
        // Only all of them together stand at a position.
        if whole {
            sqlx::query("update tenants set read_models = $2, projected = $3 where tenant = $1")
                .bind(tenant.as_str())
                .bind(&self.fingerprint)
                .bind(head)
                .execute(&mut *shadow.conn)
                .await?;
        }
        sqlx::query("commit").execute(&mut *shadow.conn).await?;
        Ok((head, replaced))
    }

    /// Tenants whose read models were made by other projections than these.
    pub async fn outdated(&self, db: &Db) -> Result<Vec<Tenant>, sqlx::Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "select tenant from tenants where read_models <> $1 or projected <> head order by tenant",
        )
        .bind(&self.fingerprint)
        .fetch_all(db.pool())
        .await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

impl<'a> Shadow<'a> {
    async fn create(projections: Vec<&'a Projection>, db: &Db, tenant: &'a Tenant) -> Result<Shadow<'a>, ShadowError> {
        let mut conn = db.acquire(tenant).await?;
        // Temporary tables and settings end with the connection; statements prepared before would miss the former.
        conn.close_on_drop();
        conn.clear_cached_statements().await?;
        for setting in [
            "set temp_buffers = '128MB'",
            "set work_mem = '64MB'",
            "set enable_hashjoin = off", // as in an append: the batch's rows are looked up by key
            "set enable_mergejoin = off",
            "set enable_seqscan = off",
        ] {
            sqlx::query(setting).execute(&mut *conn).await?;
        }
        let live_schema: String =
            sqlx::query_scalar("select quote_ident(current_schema())").fetch_one(&mut *conn).await?;
        for projection in &projections {
            for table in [projection.name.to_owned(), format!("{}_history", projection.name)] {
                let create = format!("create temporary table {table} (like {live_schema}.{table} including indexes)");
                sqlx::query(&create).execute(&mut *conn).await?;
            }
        }
        Ok(Shadow { projections, tenant, conn, live_schema, position: 0 })
    }

    async fn head(&mut self) -> Result<(String, i64), ShadowError> {
        self.tenant_row("").await
    }

    async fn lock(&mut self) -> Result<(String, i64), ShadowError> {
        self.tenant_row("for no key update").await
    }

    async fn tenant_row(&mut self, locking: &str) -> Result<(String, i64), ShadowError> {
        sqlx::query_as(&format!("select read_models, head from tenants where tenant = $1 {locking}"))
            .bind(self.tenant.as_str())
            .fetch_optional(&mut *self.conn)
            .await?
            .ok_or_else(|| ShadowError::UnknownTenant(self.tenant.clone()))
    }

    async fn catch_up(&mut self, progress: &impl Fn(i64, i64)) -> Result<(), ShadowError> {
        let head = self.head().await?.1;
        self.advance_to(head, progress).await
    }

    async fn advance_to(&mut self, head: i64, progress: &impl Fn(i64, i64)) -> Result<(), ShadowError> {
        let mut analyze_at = CHUNK;
        while self.position < head {
            let to = (self.position + CHUNK).min(head);
            for projection in &self.projections {
                projection.run(&mut self.conn, self.tenant, self.position, to).await?;
            }
            self.position = to;
            progress(to, head);
            if to >= analyze_at {
                analyze_at = to * 4;
                for projection in &self.projections {
                    sqlx::query(&format!("analyze pg_temp.{}", projection.name)).execute(&mut *self.conn).await?;
                }
            }
        }
        Ok(())
    }

    /// Whole tables are compared, which no lookup by key is good for.
    async fn compare_freely(&mut self) -> Result<(), ShadowError> {
        for setting in ["reset enable_hashjoin", "reset enable_mergejoin", "reset enable_seqscan"] {
            sqlx::query(setting).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn compare(&mut self, projection: &Projection) -> Result<Option<Difference>, ShadowError> {
        for table in [projection.name.to_owned(), format!("{}_history", projection.name)] {
            let live = format!("select * from {}.{table} where tenant = $1", self.live_schema);
            let made = format!("select * from pg_temp.{table}");
            let found: Option<Difference> = sqlx::query_as(&format!(
                "select '{table}' as \"table\", sourced_id, since, what from (
                   select sourced_id, since, 'unexpected' as what from ({live} except {made}) u
                   union all
                   select sourced_id, since, 'missing' from ({made} except {live}) m) d
                 order by sourced_id, since, what limit 1"
            ))
            .bind(self.tenant.as_str())
            .fetch_optional(&mut *self.conn)
            .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn replace(&mut self, projection: &Projection) -> Result<u64, ShadowError> {
        let mut replaced = 0;
        for table in [projection.name.to_owned(), format!("{}_history", projection.name)] {
            let live = format!("{}.{table}", self.live_schema);
            let deleted = sqlx::query(&format!(
                "delete from {live} l where tenant = $1 and not exists (
                   select from pg_temp.{table} s
                    where s.sourced_id = l.sourced_id and s.since = l.since and s is not distinct from l)"
            ))
            .bind(self.tenant.as_str())
            .execute(&mut *self.conn)
            .await?;
            let inserted = sqlx::query(&format!(
                "insert into {live} select s.* from pg_temp.{table} s where not exists (
                   select from {live} l where l.tenant = $1 and l.sourced_id = s.sourced_id and l.since = s.since)"
            ))
            .bind(self.tenant.as_str())
            .execute(&mut *self.conn)
            .await?;
            replaced += deleted.rows_affected().max(inserted.rows_affected());
        }
        Ok(replaced)
    }
}
