//! Taking an import back: for every record that it touched, the state before its unit of work is staged, as if a set
//! said so. Checks, plan and apply are those of any import.

use futures::TryStreamExt;
use sqlx::PgConnection;

use super::decode::{StagedRow, references};
use super::job::Job;
use super::manifest::Mode;
use super::stage::{Stager, Staging, number};
use crate::command::hub::{read_event, upcasters};
use crate::command::{CommandError, Event};
use crate::log::Tenant;
use crate::roster::{EntityType, Record, with_record};

/// A record that the import touched.
#[derive(sqlx::FromRow)]
struct Touched {
    aggregate_type: String,
    sourced_id: String,
    position: i64,
    /// Number of its last event in the import.
    sequence: i64,
    payload: String,
    event_type: String,
    event_version: String,
    before: Option<String>,
    before_type: Option<String>,
    before_version: Option<String>,
}

/// The first position of what the import appended; none when it appended nothing.
pub async fn unit(conn: &mut PgConnection, tenant: &Tenant, job: &Job) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select unit from events where tenant = $1 and position = $2 and metadata ->> 'import' = $3::text",
    )
    .bind(tenant.as_str())
    .bind(job.position)
    .bind(job.id.to_string())
    .fetch_optional(conn)
    .await
}

/// Stages the states before the unit. `source` is another connection of the tenant's. Gives the types it touched.
pub async fn stage(
    source: &mut PgConnection,
    mut stager: Stager,
    tenant: &Tenant,
    (unit, last): (i64, i64),
    mut progress: impl FnMut(u64),
) -> Result<Vec<(EntityType, Mode)>, CommandError> {
    let mut touched = sqlx::query_as::<_, Touched>(
        "select t.aggregate_type, substr(t.aggregate_id, length($1) + 2) as sourced_id, t.position, t.sequence,
                own.payload::text, own.event_type, own.event_version,
                b.payload::text as before, b.event_type as before_type, b.event_version as before_version
           from (select aggregate_type, aggregate_id, min(sequence) as first, max(sequence) as sequence,
                        max(position) as position
                   from events where tenant = $1 and position >= $2 and position <= $3
                  group by aggregate_type, aggregate_id) t
                join lateral (
                  select * from events e where e.aggregate_type = t.aggregate_type and e.aggregate_id = t.aggregate_id
                     and e.sequence = t.sequence limit 1) own on own.salt is not null
                left join lateral (
                  select * from events e where e.aggregate_type = t.aggregate_type and e.aggregate_id = t.aggregate_id
                     and e.sequence = t.first - 1 limit 1) b on true",
    )
    .bind(tenant.as_str())
    .bind(unit)
    .bind(last)
    .fetch(source);
    let mut kinds = Vec::new();
    let mut done = 0;
    while let Some(record) = touched.try_next().await? {
        let kind = EntityType::from_name(&record.aggregate_type)
            .ok_or_else(|| CommandError::Internal(format!("{} is no record type", record.aggregate_type)))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        with_record!(kind, R => stage_one::<R>(&mut stager, record).await)?;
        done += 1;
        if done % 1024 == 0 {
            progress(done);
        }
    }
    progress(done);
    stager.finish().await?;
    kinds.sort();
    Ok(kinds.into_iter().map(|kind| (kind, Mode::Delta)).collect())
}

async fn stage_one<R: Record>(stager: &mut Stager, touched: Touched) -> Result<(), CommandError> {
    let read = |kind: &str, version: &str, payload: &str| {
        let event = read_event::<R>(upcasters, kind, version, payload);
        event.map_err(|error| CommandError::Internal(error.to_string()))
    };
    let before = match (&touched.before_type, &touched.before_version, &touched.before) {
        (Some(kind), Some(version), Some(payload)) => Some(read(kind, version, payload)?),
        _ => None,
    };
    let withdrawn = before.as_ref().is_none_or(Event::withdraws);
    // What was not there before is withdrawn as the import left it.
    let event = match before {
        Some(before) => before,
        None => read(&touched.event_type, &touched.event_version, &touched.payload)?,
    };
    let id = &touched.sourced_id;
    if !withdrawn {
        for (slot, id) in references(id, event.record()) {
            stager.reference(slot, &id).await?;
        }
    }
    let row = StagedRow::of(touched.position.unsigned_abs(), id, withdrawn, Some(event.record()));
    stager.row(&StagedRow { expected: Some(touched.sequence), ..row }).await?;
    Ok(())
}

/// Leaves alone what changed after the import.
pub async fn keep_conflicts(
    conn: &mut PgConnection,
    Staging { rows, .. }: &Staging,
    tenant: &Tenant,
    modes: &[(EntityType, Mode)],
) -> Result<(), sqlx::Error> {
    for (kind, _) in modes {
        let sql = format!(
            "delete from {rows} s where s.entity = {} and s.expected is not null and s.expected <>
               (select c.sequence from {} c where c.tenant = $1 and c.sourced_id = s.sourced_id limit 1)",
            number(*kind),
            kind.entity().table
        );
        sqlx::query(&sql).bind(tenant.as_str()).execute(&mut *conn).await?;
    }
    Ok(())
}
