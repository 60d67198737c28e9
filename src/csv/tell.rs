//! What imports tell of, in the transactions in which they come to it. All that a notice holds stands in the job's row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::job::{self, Job};
use super::manifest::Mode;
use super::options::OnConflicts;
use super::plan::{ChangeCounts, Changes};
use super::record::JobRecord;
use super::threshold::Passed;
use crate::notice::data::{
    ByType, Counts, ImportApplied, ImportFailed, ImportJob, ImportReverted, ImportWaits, MOST_SCHOOLS, Positions,
    Reason, School, Threshold, Waits,
};
use crate::notice::{Kind, tell};

/// Its plan waits for a decision. `again`: it was approved, and could not be applied.
pub(super) async fn waits(conn: &mut PgConnection, record: &JobRecord, again: bool) -> Result<(), sqlx::Error> {
    let job = find(conn, record).await?;
    let (Some(plan), Some(planned_at), Some(expires_at)) = (job.plan, job.planned_at, job.expires_at) else {
        return Err(sqlx::Error::RowNotFound);
    };
    let asked = job.state == "planned";
    let data = ImportWaits {
        import: import(&job),
        plan,
        planned_at,
        expires_at,
        reasons: match () {
            () if asked => vec![Waits::Asked],
            () if again => vec![Waits::Interrupted],
            () if job.difference.is_some() => vec![Waits::Moved],
            () => {
                let conflicts = job.conflicts > 0 && job.options.on_conflicts == OnConflicts::Hold;
                let waits = [(Waits::Thresholds, !job.thresholds.is_empty()), (Waits::Conflicts, conflicts)];
                waits.into_iter().filter(|(_, is)| *is).map(|(why, _)| why).collect()
            }
        },
        thresholds: job.thresholds.iter().map(threshold).collect(),
        conflicts: job.conflicts,
        counts: counts(&job),
        errors: job.errors,
    };
    let kind = if asked { Kind::ImportPlanned } else { Kind::ImportHeld };
    tell(conn, &record.tenant, kind, &data).await.map(drop)
}

/// It is applied, in this transaction.
pub(super) async fn applied(conn: &mut PgConnection, record: &JobRecord) -> Result<(), sqlx::Error> {
    let job = find(conn, record).await?;
    let (Json(schools),): (Json<BTreeMap<String, ChangeCounts>>,) =
        sqlx::query_as("select schools from import_jobs where tenant = $1 and id = $2")
            .bind(record.tenant.as_str())
            .bind(record.id)
            .fetch_one(&mut *conn)
            .await?;
    let last: Option<(i64, i64, DateTime<Utc>)> = sqlx::query_as(
        "select unit, position, recorded_at from events
          where tenant = $1 and position = $2 and metadata ->> 'import' = $3::text",
    )
    .bind(record.tenant.as_str())
    .bind(job.position)
    .bind(record.id.to_string())
    .fetch_optional(&mut *conn)
    .await?;
    let positions = last.map(|(first, last, _)| Positions { first, last });
    let import = import(&job);
    let mut schools = schools.iter().filter_map(|(school, changes)| school_of(school, changes));
    let data = ImportApplied {
        import: import.clone(),
        approved_by: job.approved_by.clone(),
        positions,
        time: last.map(|(_, _, recorded_at)| recorded_at),
        counts: counts(&job),
        schools: schools.by_ref().take(MOST_SCHOOLS).collect(),
        schools_omitted: schools.count() as u64,
        errors: job.errors,
    };
    tell(conn, &record.tenant, Kind::ImportApplied, &data).await?;
    if let Some(reverted) = job.reverts {
        let data = ImportReverted { reverted, import, positions };
        tell(conn, &record.tenant, Kind::ImportReverted, &data).await?;
    }
    Ok(())
}

/// It has ended without a change. `by`: the client that ended it.
pub(super) async fn failed(
    conn: &mut PgConnection,
    record: &JobRecord,
    reason: Reason,
    by: Option<&str>,
) -> Result<(), sqlx::Error> {
    let job = find(conn, record).await?;
    let (Json(errors_by_code),) =
        sqlx::query_as("select errors_by_code from import_jobs where tenant = $1 and id = $2")
            .bind(record.tenant.as_str())
            .bind(record.id)
            .fetch_one(&mut *conn)
            .await?;
    let import = import(&job);
    let by = by.map(str::to_owned);
    let data = ImportFailed { import, state: job.state, reason, by, errors: job.errors, errors_by_code };
    tell(conn, &record.tenant, Kind::ImportFailed, &data).await.map(drop)
}

async fn find(conn: &mut PgConnection, record: &JobRecord) -> Result<Job, sqlx::Error> {
    job::find_by(conn, &record.tenant, record.id).await?.ok_or(sqlx::Error::RowNotFound)
}

fn import(job: &Job) -> ImportJob {
    let mode = |mode| if mode == Mode::Bulk { "bulk" } else { "delta" };
    ImportJob {
        id: job.id,
        kind: job.kind.clone(),
        reverts: job.reverts,
        client: job.client.clone(),
        edition: job.edition.clone(),
        modes: job.modes.iter().map(|(kind, of)| (kind.name(), mode(*of))).collect(),
    }
}

fn counts(job: &Job) -> ByType<Counts> {
    let counts: ChangeCounts = serde_json::from_value(job.changes.0.clone()).unwrap_or_default();
    let each = |Changes { created, changed, restored, withdrawn, unchanged }| Counts {
        created,
        changed,
        deleted: withdrawn,
        restored,
        unchanged,
    };
    counts.into_iter().map(|(kind, changes)| (kind.name(), each(changes))).collect()
}

/// None when nothing of it changes.
fn school_of(school: &str, changes: &ChangeCounts) -> Option<School> {
    let mut sum = School { school: school.to_owned(), ..School::default() };
    for (kind, changes) in changes.iter().filter(|(_, changes)| changes.planned() > 0) {
        sum.created += changes.created;
        sum.changed += changes.changed;
        sum.deleted += changes.withdrawn;
        sum.restored += changes.restored;
        sum.types.push(kind.name());
    }
    (!sum.types.is_empty()).then_some(sum)
}

fn threshold(passed: &Passed) -> Threshold {
    Threshold {
        record_type: passed.entity.name(),
        school: passed.school.clone(),
        kind: if passed.kind == "withdrawn" { "deleted" } else { "changed" },
        records: passed.records,
        active: passed.active,
        limit: passed.limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::EntityType;

    #[test]
    fn a_school_is_the_sum_of_its_types_and_not_there_without_a_change() {
        let changes = |created, withdrawn| Changes { created, withdrawn, unchanged: 9, ..Changes::default() };
        let all = ChangeCounts::from([(EntityType::User, changes(2, 1)), (EntityType::Class, changes(0, 0))]);
        let school = School { school: "s1".into(), created: 2, deleted: 1, types: vec!["user"], ..School::default() };
        assert_eq!(school_of("s1", &all), Some(school));
        assert_eq!(school_of("s1", &ChangeCounts::from([(EntityType::Class, changes(0, 0))])), None);
    }
}
