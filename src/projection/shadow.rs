//! The read models made anew from the log, in a schema of their own beside the live ones.
//!
//! Its tables bear the names of the live ones, and `search_path` looks there first: the very statements that keep
//! the live tables fill them. They are unlogged and go when the shadow is dropped, or, after a crash, when the next
//! one is made.

use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::try_join_all;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Postgres};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::{Projection, ShadowError};
use crate::db::Db;
use crate::log::Tenant;

/// Events taken in one go: large, since each chunk is sorted once and the first goes into tables without indexes.
const CHUNK: i64 = 100_000;
/// Read models made at the same time, each on a connection of its own.
const LANES: usize = 2;

pub(super) struct Shadow<'a> {
    pub projections: Vec<&'a Projection>,
    pub tenant: &'a Tenant,
    /// Sees the shadow's tables; holds the lock that tells the shadow is alive.
    pub conn: PoolConnection<Postgres>,
    pub live_schema: String,
    pub position: i64,
    db: &'a Db,
    pub schema: String,
}

impl<'a> Shadow<'a> {
    pub async fn create(
        projections: Vec<&'a Projection>,
        db: &'a Db,
        tenant: &'a Tenant,
    ) -> Result<Shadow<'a>, ShadowError> {
        let mut conn = db.acquire(tenant).await?;
        conn.close_on_drop();
        sweep(&mut conn).await?;
        let schema = format!("shadow_{}", Uuid::now_v7().simple());
        let live_schema = sqlx::query_scalar("select quote_ident(current_schema())").fetch_one(&mut *conn).await?;
        sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(&schema).execute(&mut *conn).await?;
        sqlx::query(&format!("create schema {schema}")).execute(&mut *conn).await?;
        for table in projections.iter().flat_map(|p| p.tables()) {
            let create =
                format!("create unlogged table {schema}.{table} (like {live_schema}.{table} including generated)");
            sqlx::query(&create).execute(&mut *conn).await?;
        }
        let mut shadow = Shadow { projections, tenant, conn, live_schema, position: 0, db, schema };
        look_here_first(&mut shadow.conn, &shadow.schema, &shadow.live_schema).await?;
        Ok(shadow)
    }

    pub async fn drop(mut self) -> Result<(), ShadowError> {
        sqlx::query(&format!("drop schema {} cascade", self.schema)).execute(&mut *self.conn).await?;
        Ok(())
    }

    /// The live read models' fingerprint and the head of the log.
    pub async fn head(&mut self) -> Result<(String, i64), ShadowError> {
        self.tenant_row("").await
    }

    /// The same; from now on no one else appends for this tenant.
    pub async fn lock(&mut self) -> Result<(String, i64), ShadowError> {
        self.tenant_row("for no key update").await
    }

    async fn tenant_row(&mut self, locking: &str) -> Result<(String, i64), ShadowError> {
        sqlx::query_as(&format!("select read_models, head from tenants where tenant = $1 {locking}"))
            .bind(self.tenant.as_str())
            .fetch_optional(&mut *self.conn)
            .await?
            .ok_or_else(|| ShadowError::UnknownTenant(self.tenant.clone()))
    }

    /// Takes all events up to a position, several read models at a time. `progress` hears events done and in all, summed
    /// over the read models.
    pub async fn fill(&mut self, head: i64, progress: &(impl Fn(i64, i64) + Sync)) -> Result<(), ShadowError> {
        let lanes = Semaphore::new(LANES);
        let done: Vec<watch::Sender<bool>> = self.projections.iter().map(|_| watch::Sender::new(false)).collect();
        let (total, taken) = (head * self.projections.len() as i64, AtomicI64::new(0));
        try_join_all(self.projections.iter().zip(&done).map(|(projection, ready)| {
            let (shadow, lanes, done, taken) = (&*self, &lanes, &done, &taken);
            async move {
                for (other, done) in shadow.projections.iter().zip(done) {
                    if projection.reads_from(other) {
                        let _ = done.subscribe().wait_for(|done| *done).await;
                    }
                }
                let _lane = lanes.acquire().await;
                let mut conn = shadow.db.acquire(shadow.tenant).await?;
                conn.close_on_drop();
                look_here_first(&mut conn, &shadow.schema, &shadow.live_schema).await?;
                for from in (0..head).step_by(CHUNK as usize) {
                    let to = (from + CHUNK).min(head);
                    projection.run(&mut conn, shadow.tenant, from, to).await?;
                    if from == 0 {
                        shadow.index(&mut conn, projection).await?;
                    }
                    let done = taken.fetch_add(to - from, Ordering::Relaxed) + to - from;
                    progress(done, total);
                }
                conn.close().await?;
                ready.send_replace(true);
                Ok::<(), ShadowError>(())
            }
        }))
        .await?;
        self.position = head;
        Ok(())
    }

    /// Takes the events that came since, in the shadow's own transaction.
    pub async fn catch_up(&mut self, head: i64) -> Result<(), ShadowError> {
        for from in (self.position..head).step_by(CHUNK as usize) {
            for projection in &self.projections {
                projection.run(&mut self.conn, self.tenant, from, (from + CHUNK).min(head)).await?;
            }
        }
        self.position = head;
        Ok(())
    }

    /// The indexes that projections look up by, made once the first chunk is in. Those that begin with `listed` serve readers.
    async fn index(&self, conn: &mut PoolConnection<Postgres>, projection: &Projection) -> Result<(), ShadowError> {
        for table in projection.tables() {
            let live = format!("{}.{table}", self.live_schema);
            let indexes: Vec<String> = sqlx::query_scalar(
                "select pg_get_indexdef(i.indexrelid) from pg_index i
                    left join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'listed'
                  where i.indrelid = $1::regclass and i.indkey[0] <> a.attnum",
            )
            .bind(&live)
            .fetch_all(&mut **conn)
            .await?;
            for index in indexes {
                // Outside the search path names are written in full; the tables at hand come first in it.
                let own = format!(" ON {}.{table} ", self.schema);
                let index = index.replacen(&format!(" ON {live} "), &own, 1);
                sqlx::query(&index).execute(&mut **conn).await?;
            }
            sqlx::query(&format!("analyze {}.{table} (tenant, sourced_id, since, until)", self.schema))
                .execute(&mut **conn)
                .await?;
        }
        Ok(())
    }
}

async fn look_here_first(
    conn: &mut PoolConnection<Postgres>,
    schema: &str,
    live_schema: &str,
) -> Result<(), sqlx::Error> {
    // Statements prepared before would miss the new tables.
    conn.clear_cached_statements().await?;
    for setting in [
        format!("set search_path = {schema}, {live_schema}"),
        "set work_mem = '128MB'".to_owned(),
        "set maintenance_work_mem = '128MB'".to_owned(),
        "set synchronous_commit = off".to_owned(), // nothing of it outlives a crash
        // As in an append, rows are looked up by key.
        "set enable_hashjoin = off".to_owned(),
        "set enable_mergejoin = off".to_owned(),
        "set enable_seqscan = off".to_owned(),
    ] {
        sqlx::query(&setting).execute(&mut **conn).await?;
    }
    Ok(())
}

/// Drops shadows that nobody holds any more.
async fn sweep(conn: &mut PoolConnection<Postgres>) -> Result<(), sqlx::Error> {
    let schemas: Vec<String> =
        sqlx::query_scalar("select nspname::text from pg_namespace where nspname ~ '^shadow_[0-9a-f]{32}$'")
            .fetch_all(&mut **conn)
            .await?;
    for schema in schemas {
        let dead: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(&schema)
            .fetch_one(&mut **conn)
            .await?;
        if dead {
            sqlx::query(&format!("drop schema if exists {schema} cascade")).execute(&mut **conn).await?;
            sqlx::query("select pg_advisory_unlock(hashtextextended($1, 0))")
                .bind(&schema)
                .execute(&mut **conn)
                .await?;
        }
    }
    Ok(())
}
