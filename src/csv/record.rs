//! The record that is kept of an import, as it is written.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::conversion::Conversion;
use super::job::{Difference, STANDS};
use super::manifest::Mode;
use super::options::Options;
use super::plan::Counts;
use super::tell;
use super::threshold::Passed;
use crate::log::Tenant;
use crate::notice::data::Reason;
use crate::roster::EntityType;

/// Seconds per phase.
pub type Phases = BTreeMap<&'static str, f64>;

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

    /// What was read: the edition, the rows and the encoding per file, the errors found so far and the file's SHA-256.
    pub async fn read(
        &self,
        conn: &mut PgConnection,
        edition: Option<&str>,
        rows: serde_json::Map<String, serde_json::Value>,
        encodings: &BTreeMap<String, &str>,
        errors: i64,
        sha256: Option<Vec<u8>>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs set edition = $3, rows = $4, errors = $5, sha256 = $6, encodings = $7
              where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(edition)
        .bind(Json(rows))
        .bind(errors)
        .bind(sha256)
        .bind(Json(encodings))
        .execute(conn)
        .await
        .map(drop)
    }

    /// What of the set is not kept as it stands.
    pub async fn conversions(&self, conn: &mut PgConnection, conversions: &[Conversion]) -> Result<(), sqlx::Error> {
        sqlx::query("update import_jobs set conversions = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(Json(conversions))
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

    /// Counts the errors that are listed, `most` at most, by their codes.
    pub async fn tally(&self, conn: &mut PgConnection, most: i64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs
                set errors_kept = case when errors > $3 then $3 end,
                    errors_by_code = (select coalesce(json_object_agg(code, n), '{}')
                                        from (select code, count(*) as n from import_errors
                                               where tenant = $1 and job = $2 group by code) codes)
              where tenant = $1 and id = $2 and errors > 0",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(most)
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

    /// The plan waits for a decision, `days` long, and that is told of; in a transaction of the caller's. False when the
    /// job has ended meanwhile.
    pub async fn stand(
        &self,
        conn: &mut PgConnection,
        state: &str,
        days: u32,
        phases: &Phases,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update import_jobs
                set state = $3, expires_at = clock_timestamp() + make_interval(days => $4), phases = $5,
                    approved_by = null
              where tenant = $1 and id = $2 and finished_at is null",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(state)
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .bind(Json(phases))
        .execute(&mut *conn)
        .await?;
        let stands = done.rows_affected() == 1;
        if stands {
            tell::waits(conn, self, false).await?;
        }
        Ok(stands)
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

    /// An approved plan that could not be applied waits again, and that is told of; in a transaction of the caller's.
    /// False when there is none such.
    pub async fn stand_again(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update import_jobs set state = 'held', approved_by = null
              where tenant = $1 and id = $2 and finished_at is null and approved_by is not null",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .execute(&mut *conn)
        .await?;
        let stands = done.rows_affected() == 1;
        if stands {
            tell::waits(conn, self, true).await?;
        }
        Ok(stands)
    }

    /// Ends a plan that waits, or, when cancelled, an import that has not begun to apply, and tells of it; in a
    /// transaction of the caller's. `by`: the client that wants it. False when it is neither.
    pub async fn give_up(
        &self,
        conn: &mut PgConnection,
        reason: Reason,
        by: Option<&str>,
        why: &str,
    ) -> Result<bool, sqlx::Error> {
        let (state, from) = match reason {
            Reason::Cancelled => ("cancelled", "state in ('queued', 'reading', 'planning')"),
            _ => ("discarded", STANDS),
        };
        let done = sqlx::query(&format!(
            "update import_jobs set state = $3, failure = $4, finished_at = clock_timestamp()
              where tenant = $1 and id = $2 and {from}"
        ))
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(state)
        .bind(why)
        .execute(&mut *conn)
        .await?;
        let ended = done.rows_affected() == 1;
        if ended {
            tell::failed(conn, self, reason, by).await?;
        }
        Ok(ended)
    }

    /// To be called in the very transaction that makes the import's events visible, at its end.
    pub async fn complete(&self, conn: &mut PgConnection, position: i64, phases: &Phases) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update import_jobs set state = 'completed', position = $3, phases = $4, finished_at = clock_timestamp()
              where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(position)
        .bind(Json(phases))
        .execute(&mut *conn)
        .await?;
        tell::applied(conn, self).await
    }

    /// Ends it as failed, and tells of it; in a transaction of the caller's. False when it has ended already, or its
    /// plan waits for a decision.
    pub async fn fail(
        &self,
        conn: &mut PgConnection,
        reason: Reason,
        why: Option<&str>,
        phases: Option<&Phases>,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(&format!(
            "update import_jobs set state = 'failed', failure = $3, phases = coalesce($4::json, phases), finished_at = clock_timestamp()
              where tenant = $1 and id = $2 and finished_at is null and not {STANDS}"
        ))
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(why)
        .bind(phases.map(Json))
        .execute(&mut *conn)
        .await?;
        let failed = done.rows_affected() == 1;
        if failed {
            tell::failed(conn, self, reason, None).await?;
        }
        Ok(failed)
    }
}

pub(super) fn lock_key(job: Uuid) -> i64 {
    // The random half of a version 7 UUID.
    job.as_u64_pair().1 as i64
}
