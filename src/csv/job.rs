//! The record that is kept of an import.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::plan::{ChangeCounts, Changes};
use super::stage::Staging;
use crate::log::{Log, Tenant};

/// The states of an import, in their order; the last two are its ends.
pub const STATES: [&str; 6] = ["queued", "reading", "planning", "applying", "completed", "failed"];

/// What is kept of an import.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Import", deny_unknown_fields)]
pub struct Job {
    pub id: Uuid,
    /// How far it is.
    #[schemars(extend("enum" = STATES))]
    pub state: String,
    pub file_name: String,
    pub bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    pub client: String,
    /// Rows read per file; null for files of services that are not read yet.
    #[schemars(with = "BTreeMap<String, Option<u64>>")]
    pub rows: Json<serde_json::Value>,
    /// Per entity: created, changed, restored, withdrawn, unchanged. What was done, or would have been.
    #[schemars(with = "BTreeMap<String, Changes>")]
    pub changes: Json<serde_json::Value>,
    /// Seconds per phase.
    #[schemars(with = "BTreeMap<String, f64>")]
    pub phases: Json<serde_json::Value>,
    pub errors: i64,
    /// Why it failed, when not for errors in the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Log position of the roster with the import applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    pub created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// An error as it is kept.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct JobError {
    pub number: i64,
    pub file: String,
    pub line: i64,
    pub column: String,
    pub code: String,
    pub value: String,
}

const JOB_COLUMNS: &str = "id, state, file_name, bytes, edition, client, rows, changes, phases, errors, failure, \
                           position, created_at, finished_at";

/// Seconds per phase.
pub type Phases = BTreeMap<&'static str, f64>;

/// The record of one import, as it is written.
#[derive(Clone, Debug)]
pub struct JobRecord {
    pub tenant: Tenant,
    pub id: Uuid,
}

impl JobRecord {
    /// Holds the job: as long as the connection lives, no other program takes the job for dead. Several connections
    /// may hold it, so that one can take it over from another.
    pub async fn hold(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("select pg_advisory_lock_shared($1)").bind(lock_key(self.id)).execute(conn).await.map(drop)
    }

    /// Holds it no longer.
    pub async fn release(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("select pg_advisory_unlock_shared($1)").bind(lock_key(self.id)).execute(conn).await.map(drop)
    }

    /// Whether it has not been closed.
    pub async fn is_open(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from import_jobs where tenant = $1 and id = $2 and finished_at is null)",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .fetch_one(conn)
        .await
    }

    pub async fn enter(
        &self,
        conn: &mut PgConnection,
        file_name: &str,
        bytes: i64,
        client: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into import_jobs (tenant, id, state, file_name, bytes, client) values ($1, $2, 'queued', $3, $4, $5)",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(file_name)
        .bind(bytes)
        .bind(client)
        .execute(conn)
        .await
        .map(drop)
    }

    pub async fn state(&self, conn: &mut PgConnection, state: &str) -> Result<(), sqlx::Error> {
        sqlx::query("update import_jobs set state = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(state)
            .execute(conn)
            .await
            .map(drop)
    }

    /// What was read: the edition, the rows per file, the errors found so far and the file's SHA-256.
    pub async fn read(
        &self,
        conn: &mut PgConnection,
        edition: Option<&str>,
        rows: serde_json::Map<String, serde_json::Value>,
        errors: i64,
        sha256: Option<Vec<u8>>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs set edition = $3, rows = $4, errors = $5, sha256 = $6 where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(edition)
        .bind(Json(rows))
        .bind(errors)
        .bind(sha256)
        .execute(conn)
        .await
        .map(drop)
    }

    pub async fn errors(&self, conn: &mut PgConnection, errors: i64) -> Result<(), sqlx::Error> {
        sqlx::query("update import_jobs set errors = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(errors)
            .execute(conn)
            .await
            .map(drop)
    }

    pub async fn changes(&self, conn: &mut PgConnection, counts: &ChangeCounts) -> Result<(), sqlx::Error> {
        sqlx::query("update import_jobs set changes = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(Json(counts))
            .execute(conn)
            .await
            .map(drop)
    }

    /// To be called in the very transaction that makes the import's events visible.
    pub async fn complete(&self, conn: &mut PgConnection, position: i64, phases: &Phases) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs set state = 'completed', position = $3, phases = $4, finished_at = clock_timestamp()
              where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(position)
        .bind(Json(phases))
        .execute(conn)
        .await
        .map(drop)
    }

    pub async fn fail(
        &self,
        conn: &mut PgConnection,
        why: Option<&str>,
        phases: Option<&Phases>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs set state = 'failed', failure = $3, phases = coalesce($4::json, phases), finished_at = clock_timestamp()
              where tenant = $1 and id = $2 and finished_at is null",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(why)
        .bind(phases.map(Json))
        .execute(conn)
        .await
        .map(drop)
    }
}

fn lock_key(job: Uuid) -> i64 {
    // The random half of a version 7 UUID.
    job.as_u64_pair().1 as i64
}

/// Whether no one holds the job any more; if so, this connection does until it lets go.
async fn is_dead(conn: &mut PgConnection, job: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(lock_key(job)).fetch_one(conn).await
}

async fn let_go(conn: &mut PgConnection, job: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_unlock($1)").bind(lock_key(job)).execute(conn).await.map(drop)
}

/// Closes the jobs of programs that ended in the middle. Their events were never committed.
pub async fn close_interrupted(log: &Log) -> Result<u64, sqlx::Error> {
    let mut closed = 0;
    for tenant in log.tenants().await? {
        let mut conn = log.db().acquire(&tenant).await?;
        let unfinished: Vec<Uuid> =
            sqlx::query_scalar("select id from import_jobs where tenant = $1 and finished_at is null")
                .bind(tenant.as_str())
                .fetch_all(&mut *conn)
                .await?;
        for id in unfinished {
            if is_dead(&mut conn, id).await? {
                let why = "interrupted: the program ended before the import was applied; nothing was changed";
                JobRecord { tenant: tenant.clone(), id }.fail(&mut conn, Some(why), None).await?;
                Staging::of(id).drop(&mut conn).await?;
                let_go(&mut conn, id).await?;
                closed += 1;
            }
        }
    }
    // A program may also end between an import's completion and the end of its staging tables.
    let mut conn = log.db().pool().acquire().await?;
    let left: Vec<String> = sqlx::query_scalar(
        "select distinct substring(tablename from '_([0-9a-f]{32})$') from pg_tables
          where schemaname = 'staging' and tablename ~ '_[0-9a-f]{32}$'",
    )
    .fetch_all(&mut *conn)
    .await?;
    for id in left.iter().filter_map(|id| Uuid::try_parse(id).ok()) {
        if is_dead(&mut conn, id).await? {
            Staging::of(id).drop(&mut conn).await?;
            let_go(&mut conn, id).await?;
        }
    }
    Ok(closed)
}

/// The job of this id.
pub async fn find(log: &Log, tenant: &Tenant, id: Uuid) -> Result<Option<Job>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(&format!("select {JOB_COLUMNS} from import_jobs where tenant = $1 and id = $2"))
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(&mut *conn)
        .await
}

/// The latest jobs, newest first.
pub async fn list(log: &Log, tenant: &Tenant, limit: i64, offset: i64) -> Result<Vec<Job>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(&format!(
        "select {JOB_COLUMNS} from import_jobs where tenant = $1 order by created_at desc, id limit $2 offset $3"
    ))
    .bind(tenant.as_str())
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *conn)
    .await
}

/// Jobs after this one, newest first.
pub async fn page(log: &Log, tenant: &Tenant, after: Option<Uuid>, limit: i64) -> Result<Vec<Job>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(&format!(
        "select {JOB_COLUMNS} from import_jobs j
          where tenant = $1
                and ($2::uuid is null
                     or exists (select from import_jobs a
                                 where a.tenant = $1 and a.id = $2
                                       and (j.created_at < a.created_at or (j.created_at = a.created_at and j.id > a.id))))
          order by created_at desc, id limit $3"
    ))
    .bind(tenant.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
}

/// A job's errors after number `after`, in the order found.
pub async fn errors(
    log: &Log,
    tenant: &Tenant,
    id: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<JobError>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(
        "select number, file, line, \"column\", code, value from import_errors
          where tenant = $1 and job = $2 and number > $3 order by number limit $4",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
}
