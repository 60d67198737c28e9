//! The record that is kept of an import, as it is read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::conversion::Conversion;
use super::manifest::Mode;
use super::options::Options;
use super::plan::{ChangeCounts, Changes};
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
pub(super) const STANDS: &str = "state in ('planned', 'held')";

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
    /// In which encoding each file was.
    #[schemars(with = "BTreeMap<String, String>")]
    pub encodings: Json<BTreeMap<String, String>>,
    /// Per entity: created, changed, restored, withdrawn, unchanged. What was done, or would have been.
    #[schemars(with = "BTreeMap<String, Changes>")]
    pub changes: Json<serde_json::Value>,
    /// Seconds per phase.
    #[schemars(with = "BTreeMap<String, f64>")]
    pub phases: Json<serde_json::Value>,
    /// Errors found.
    pub errors: i64,
    /// How many of them are listed, when that is not all: there were very many, or they have had their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors_kept: Option<i64>,
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
    /// What of the set is not kept as it stands in its files.
    #[schemars(with = "Vec<Conversion>")]
    pub conversions: Json<Vec<Conversion>>,
    /// Rows with errors that are left out, by file.
    #[schemars(with = "BTreeMap<String, i64>")]
    pub left_out: Json<BTreeMap<String, i64>>,
    /// Types of which nothing is withdrawn for being absent: rows were left out, or nobody said that the file tells all.
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
                           encodings, conversions, changes, phases, errors, errors_kept, plan, planned_at, thresholds, \
                           conflicts, difference, left_out, \
                           not_withdrawn, approved_by, failure, position, created_at, expires_at, finished_at, modes";

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

/// The job of this id.
pub async fn find(log: &Log, tenant: &Tenant, id: Uuid) -> Result<Option<Job>, sqlx::Error> {
    find_by(&mut *log.db().acquire(tenant).await?, tenant, id).await
}

/// The same, on a connection that is bound to the tenant.
pub async fn find_by(conn: &mut PgConnection, tenant: &Tenant, id: Uuid) -> Result<Option<Job>, sqlx::Error> {
    sqlx::query_as(&format!("select {JOB_COLUMNS} from import_jobs where tenant = $1 and id = $2"))
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(conn)
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
