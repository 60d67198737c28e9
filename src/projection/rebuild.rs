//! The read models against the log: compared with what it says (`verify`), or put right (`rebuild`).

use super::shadow::Shadow;
use super::{Projection, Projections};
use crate::db::Db;
use crate::log::{Tenant, metadata_keys};

/// The first place where a read model is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Difference {
    pub table: String,
    pub sourced_id: String,
    /// The version's first position.
    pub since: i64,
    /// `unexpected` (stands in the read model only), `missing` (stands in the log only), or, of a past state, `different`.
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

impl Projections {
    /// Recomputes the tenant's read models from the log and compares. Gives the position compared at, and the
    /// first difference if there is one. Writers are not held up.
    pub async fn verify(
        &self,
        db: &Db,
        tenant: &Tenant,
        progress: impl Fn(i64, i64) + Sync,
    ) -> Result<(i64, Option<Difference>), ShadowError> {
        let mut shadow = Shadow::create(self.all.iter().collect(), db, tenant).await?;
        let found = shadow.compare_all(&progress).await;
        shadow.drop().await?;
        found
    }

    /// Recomputes read models from the log, then replaces in one transaction what differs. Readers see the old
    /// until it commits; the tenant's writers wait only while the last events are caught up with and rows replaced.
    /// Gives the position and the number of rows that were replaced.
    pub async fn rebuild(
        &self,
        db: &Db,
        tenant: &Tenant,
        only: Option<&str>,
        progress: impl Fn(i64, i64) + Sync,
    ) -> Result<(i64, u64), ShadowError> {
        let chosen: Vec<&Projection> = self.all.iter().filter(|p| only.is_none_or(|name| p.name == name)).collect();
        if chosen.is_empty() {
            return Err(ShadowError::UnknownProjection(only.unwrap_or_default().to_owned()));
        }
        let whole = chosen.len() == self.all.len();
        let mut shadow = Shadow::create(chosen, db, tenant).await?;
        let replaced = shadow.replace_all(whole.then_some(self.fingerprint()), &progress).await;
        shadow.drop().await?;
        replaced
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

impl Shadow<'_> {
    async fn compare_all(
        &mut self,
        progress: &(impl Fn(i64, i64) + Sync),
    ) -> Result<(i64, Option<Difference>), ShadowError> {
        let head = self.head().await?.1;
        self.fill(head, progress).await?;
        sqlx::query("begin isolation level repeatable read").execute(&mut *self.conn).await?;
        let compared = self.compare_snapshot().await;
        sqlx::query("rollback").execute(&mut *self.conn).await?;
        compared
    }

    async fn compare_snapshot(&mut self) -> Result<(i64, Option<Difference>), ShadowError> {
        let head = self.head().await?.1;
        self.catch_up(head).await?;
        self.compare_freely().await?;
        for projection in self.projections.clone() {
            if let Some(found) = self.compare(projection).await? {
                return Ok((head, Some(found)));
            }
        }
        Ok((head, None))
    }

    /// `fingerprint`: of the projections, when all read models are replaced; only then they stand at a position.
    async fn replace_all(
        &mut self,
        fingerprint: Option<&str>,
        progress: &(impl Fn(i64, i64) + Sync),
    ) -> Result<(i64, u64), ShadowError> {
        let head = self.head().await?.1;
        self.fill(head, progress).await?;
        sqlx::query("begin").execute(&mut *self.conn).await?;
        let replaced = self.replace_locked(fingerprint).await;
        let end = if replaced.is_ok() { "commit" } else { "rollback" };
        sqlx::query(end).execute(&mut *self.conn).await?;
        replaced
    }

    async fn replace_locked(&mut self, fingerprint: Option<&str>) -> Result<(i64, u64), ShadowError> {
        let head = self.lock().await?.1;
        self.catch_up(head).await?;
        self.compare_freely().await?;
        let mut replaced = 0;
        for projection in self.projections.clone() {
            replaced += self.replace(projection).await?;
        }
        if let Some(fingerprint) = fingerprint {
            metadata_keys::catch_up(&mut self.conn, self.tenant, 0, head).await?;
            sqlx::query("update tenants set read_models = $2, projected = $3 where tenant = $1")
                .bind(self.tenant.as_str())
                .bind(fingerprint)
                .bind(head)
                .execute(&mut *self.conn)
                .await?;
        }
        Ok((head, replaced))
    }

    /// Whole tables are compared, which no lookup by key is good for.
    async fn compare_freely(&mut self) -> Result<(), ShadowError> {
        for setting in ["reset enable_hashjoin", "reset enable_mergejoin", "reset enable_seqscan"] {
            sqlx::query(setting).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn compare(&mut self, projection: &Projection) -> Result<Option<Difference>, ShadowError> {
        for table in projection.tables() {
            let found: Option<Difference> = sqlx::query_as(&format!(
                "select '{table}' as \"table\", sourced_id, since,
                        case when live is null then 'missing' else 'unexpected' end as what
                   from (select l as live, l.sourced_id, l.since from {}.{table} l where tenant = $1) l
                        full join (select m as made, m.sourced_id, m.since from {table} m) m
                        using (sourced_id, since)
                  where live is distinct from made
                  order by sourced_id, since limit 1",
                self.live_schema
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
        for table in projection.tables() {
            let (live, columns) = (format!("{}.{table}", self.live_schema), &projection.columns);
            let deleted = sqlx::query(&format!(
                "delete from {live} l where tenant = $1 and not exists (
                   select from {table} s
                    where s.sourced_id = l.sourced_id and s.since = l.since and s is not distinct from l)"
            ))
            .bind(self.tenant.as_str())
            .execute(&mut *self.conn)
            .await?;
            let inserted = sqlx::query(&format!(
                "insert into {live} ({columns}) select {columns} from {table} s where not exists (
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
