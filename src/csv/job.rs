//! The record that is kept of an import.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::manifest::Mode;
use super::options::Options;
use super::plan::{ChangeCounts, Changes, Counts};
use super::threshold::Passed;
use crate::log::{Log, Tenant};
use crate::roster::EntityType;

/// The states of an import, in their order. In `planned` and `held` it waits for a decision; the last four are its
/// ends.
pub const STATES: [&str; 10] =
    ["queued", "reading", "planning", "planned", "held", "applying", "completed", "failed", "discarded", "cancelled"];
/// An import, and the taking back of one.
pub const KINDS: [&str; 2] = ["import", "revert"];

/// SQL: the plan waits for a decision.
const STANDS: &str = "state in ('planned', 'held')";

/// What is kept of an import.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Import", deny_unknown_fields)]
pub struct Job {
    pub id: Uuid,
    #[schemars(extend("enum" = KINDS))]
    pub kind: String,
    /// Of a revert: the import that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverts: Option<Uuid>,
    /// How far it is.
    #[schemars(extend("enum" = STATES))]
    pub state: String,
    pub file_name: String,
    pub bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    pub client: String,
    #[serde(skip)]
    pub client_id: String,
    /// How it is to be carried out.
    #[schemars(with = "Options")]
    pub options: Json<Options>,
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
    /// Id of the plan: another one after each planning. An approval names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Uuid>,
    /// Log position of the roster that the plan was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_at: Option<i64>,
    /// Thresholds that the plan passes.
    #[schemars(with = "Vec<Passed>")]
    pub thresholds: Json<Vec<Passed>>,
    /// Of a revert: records of the plan that changed after the import.
    pub conflicts: i64,
    /// How the plan differs from the one that was approved, when the roster moved in between.
    #[schemars(with = "Difference")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Json<Difference>>,
    /// Rows with errors that are left out, by file.
    #[schemars(with = "BTreeMap<String, i64>")]
    pub left_out: Json<BTreeMap<String, i64>>,
    /// Types of which, for rows left out, nothing is withdrawn for being absent.
    #[schemars(with = "Vec<String>")]
    pub not_withdrawn: Json<Vec<EntityType>>,
    /// Who approved the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Why it failed, when not for errors in the set, or why it was discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Log position of the roster with the import applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    pub created_at: DateTime<Utc>,
    /// When a plan that waits for a decision is discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub modes: Json<Vec<(EntityType, Mode)>>,
}

impl Job {
    /// It waits for a decision.
    pub fn stands(&self) -> bool {
        ["planned", "held"].contains(&self.state.as_str())
    }

    /// It has ended, or waits for a decision: nothing happens by itself.
    pub fn rests(&self) -> bool {
        self.finished_at.is_some() || self.stands()
    }

    pub fn is_revert(&self) -> bool {
        self.kind == "revert"
    }
}

/// How a plan differs from the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PlanDifference", deny_unknown_fields)]
pub struct Difference {
    /// Changes of records that were not in it, or not so.
    pub added: i64,
    /// Changes of it that are not there any more, or not so.
    pub gone: i64,
    /// Its counts, per entity.
    #[schemars(with = "BTreeMap<String, Changes>")]
    pub before: ChangeCounts,
}

/// A plan, as it is written down.
pub struct Planned {
    pub plan: Uuid,
    pub at: i64,
    pub modes: Vec<(EntityType, Mode)>,
    pub counts: Counts,
    pub thresholds: Vec<Passed>,
    pub errors: i64,
    pub left_out: BTreeMap<&'static str, i64>,
    pub not_withdrawn: Vec<EntityType>,
    pub difference: Option<Difference>,
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

const JOB_COLUMNS: &str = "id, kind, reverts, state, file_name, bytes, edition, client, client_id, options, rows, \
                           changes, phases, errors, plan, planned_at, thresholds, conflicts, difference, left_out, \
                           not_withdrawn, approved_by, failure, position, created_at, expires_at, finished_at, modes";

/// Seconds per phase.
pub type Phases = BTreeMap<&'static str, f64>;

/// What a job is entered with.
pub struct Entry<'a> {
    pub file_name: &'a str,
    pub bytes: i64,
    pub client: &'a str,
    pub client_id: &'a str,
    pub options: Options,
    /// Of a revert: the import that it takes back.
    pub reverts: Option<Uuid>,
}

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

    pub async fn enter(&self, conn: &mut PgConnection, entry: &Entry<'_>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into import_jobs (tenant, id, state, file_name, bytes, client, client_id, options, kind, reverts)
             values ($1, $2, 'queued', $3, $4, $5, $6, $7, case when $8::uuid is null then 'import' else 'revert' end, $8)",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(entry.file_name)
        .bind(entry.bytes)
        .bind(entry.client)
        .bind(entry.client_id)
        .bind(Json(entry.options))
        .bind(entry.reverts)
        .execute(conn)
        .await
        .map(drop)
    }

    /// False when it has ended meanwhile: it was cancelled.
    pub async fn state(&self, conn: &mut PgConnection, state: &str) -> Result<bool, sqlx::Error> {
        sqlx::query("update import_jobs set state = $3 where tenant = $1 and id = $2 and finished_at is null")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(state)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1)
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

    /// Writes a plan down, in the transaction that makes it.
    pub async fn planned(&self, conn: &mut PgConnection, planned: &Planned) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs
                set plan = $3, planned_at = $4, modes = $5, changes = $6, schools = $7, thresholds = $8, conflicts = $9,
                    errors = $10, left_out = $11, not_withdrawn = $12, difference = $13
              where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(planned.plan)
        .bind(planned.at)
        .bind(Json(&planned.modes))
        .bind(Json(&planned.counts.all))
        .bind(Json(&planned.counts.schools))
        .bind(Json(&planned.thresholds))
        .bind(planned.counts.conflicts)
        .bind(planned.errors)
        .bind(Json(&planned.left_out))
        .bind(Json(&planned.not_withdrawn))
        .bind(planned.difference.as_ref().map(Json))
        .execute(conn)
        .await
        .map(drop)
    }

    /// The plan waits for a decision, `days` long. False when the job has ended meanwhile.
    pub async fn stand(
        &self,
        conn: &mut PgConnection,
        state: &str,
        days: u32,
        phases: &Phases,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query(
            "update import_jobs
                set state = $3, expires_at = now() + make_interval(days => $4), phases = $5, approved_by = null
              where tenant = $1 and id = $2 and finished_at is null",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(state)
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .bind(Json(phases))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// Puts the plan into the queue if it still waits and is still this one.
    pub async fn approve(
        &self,
        conn: &mut PgConnection,
        plan: Uuid,
        options: Options,
        by: &str,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query(&format!(
            "update import_jobs set state = 'queued', approved_by = $4, options = $5
              where tenant = $1 and id = $2 and plan = $3 and {STANDS}"
        ))
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(plan)
        .bind(by)
        .bind(Json(options))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// An approved plan that could not be applied waits again. False when there is none such.
    pub async fn stand_again(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query(
            "update import_jobs set state = 'held', approved_by = null
              where tenant = $1 and id = $2 and finished_at is null and approved_by is not null",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// Ends a plan that waits, or, as `cancelled`, an import that has not begun to apply. False when it is neither.
    pub async fn give_up(&self, conn: &mut PgConnection, state: &str, why: &str) -> Result<bool, sqlx::Error> {
        let from = match state {
            "cancelled" => "state in ('queued', 'reading', 'planning')",
            _ => STANDS,
        };
        sqlx::query(&format!(
            "update import_jobs set state = $3, failure = $4, finished_at = clock_timestamp()
              where tenant = $1 and id = $2 and {from}"
        ))
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(state)
        .bind(why)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
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

    /// False when it has ended already, or its plan waits for a decision.
    pub async fn fail(
        &self,
        conn: &mut PgConnection,
        why: Option<&str>,
        phases: Option<&Phases>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query(&format!(
            "update import_jobs set state = 'failed', failure = $3, phases = coalesce($4::json, phases), finished_at = clock_timestamp()
              where tenant = $1 and id = $2 and finished_at is null and not {STANDS}"
        ))
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(why)
        .bind(phases.map(Json))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
    }
}

/// The plans that wait for a decision; with `expired`, those whose time is over.
pub async fn standing(conn: &mut PgConnection, tenant: &Tenant, expired: bool) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(&format!(
        "select id from import_jobs
          where tenant = $1 and finished_at is null and {STANDS} and (not $2 or expires_at < now())"
    ))
    .bind(tenant.as_str())
    .bind(expired)
    .fetch_all(conn)
    .await
}

pub(super) fn lock_key(job: Uuid) -> i64 {
    // The random half of a version 7 UUID.
    job.as_u64_pair().1 as i64
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
