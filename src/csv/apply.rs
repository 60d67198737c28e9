//! Carrying a plan out: every row decided by its aggregate, all appended and projected in one transaction.

use std::collections::HashMap;

use futures::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::stage::{Staging, number};
use crate::command::hub::{encode, read_event, standing, upcasters};
use crate::command::{Command, CommandError};
use crate::log::append::AppendTransaction;
use crate::log::{NewEvent, Tenant};
use crate::roster::{EntityType, Record, with_record};

/// Events in one statement, and bytes of their payloads. More brings nothing (measured); the memory of a few batches is
/// held.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;

/// Groups of entities in the order in which they are recorded. Within the last but one, a user comes together
/// with its roles and profiles, so that it is made once.
const GROUPS: [&[EntityType]; 7] = [
    &[EntityType::AcademicSession],
    &[EntityType::Org],
    &[EntityType::Course],
    &[EntityType::Class],
    &[EntityType::Role, EntityType::UserProfile, EntityType::User],
    &[EntityType::Demographics],
    &[EntityType::Enrollment],
];

#[derive(sqlx::FromRow)]
struct PlannedRow {
    entity: i16,
    sourced_id: String,
    line: i64,
    withdraw: bool,
    sequence: i64,
    record: Option<String>,
    /// Payload, type and version of the record's last event.
    last: Option<String>,
    event_type: Option<String>,
    event_version: Option<String>,
}

/// Appends what the plan says. `source` is another connection of the tenant's, to read the plan from while the
/// transaction appends.
pub async fn apply(
    source: &mut PgConnection,
    tx: &mut AppendTransaction,
    staging: &Staging,
    tenant: &Tenant,
    job: Uuid,
    client: &str,
    progress: impl Fn(u64),
) -> Result<i64, CommandError> {
    let unit = tx.head() + 1;
    let (batches, decided) = mpsc::channel::<Vec<NewEvent>>(2);
    let decide = async move {
        for group in GROUPS {
            decide_group(source, staging, tenant, group, job, client, &batches).await?;
        }
        Ok::<(), CommandError>(())
    };
    // Owns the receiver: when appending fails it is dropped, and deciding ends instead of waiting for room.
    let append = async move {
        let mut decided = decided;
        let mut done = 0;
        while let Some(batch) = decided.recv().await {
            tx.append_batch(unit, &batch).await?;
            done += batch.len() as u64;
            progress(done);
        }
        Ok::<(), CommandError>(())
    };
    let (decided, appended) = tokio::join!(decide, append);
    appended?;
    decided?;
    Ok(unit)
}

async fn decide_group(
    source: &mut PgConnection,
    staging: &Staging,
    tenant: &Tenant,
    group: &[EntityType],
    job: Uuid,
    client: &str,
    batches: &mpsc::Sender<Vec<NewEvent>>,
) -> Result<(), CommandError> {
    let Staging { rows, plan, .. } = staging;
    let entities = group.iter().map(|k| number(*k).to_string()).collect::<Vec<_>>().join(", ");
    let names = group.iter().map(|k| format!("when {} then '{}'", number(*k), k.name())).collect::<String>();
    // In the order of the keys, so that neighbours in the indexes are written together.
    let order = if group.len() > 1 { "p.owner, p.entity, p.sourced_id" } else { "p.sourced_id" };
    // Sorted without the records, which are then looked up one by one: the first batch is there at once.
    let sql = format!(
        "select p.entity, p.sourced_id, p.line, p.withdraw, p.sequence, s.record, e.payload::text as last,
                e.event_type, e.event_version
           from (select * from {plan} p where p.entity in ({entities}) order by {order} offset 0) p
                left join lateral (
                  select s.record from {rows} s where s.entity = p.entity and s.sourced_id = p.sourced_id limit 1) s on true
                left join lateral (
                  select e.payload, e.event_type, e.event_version from events e
                   where p.sequence > 0 and e.aggregate_type = case p.entity {names} end
                     and e.aggregate_id = $1 || '/' || p.sourced_id and e.sequence = p.sequence limit 1) e on true"
    );
    let mut planned = sqlx::query_as::<_, PlannedRow>(&sql).bind(tenant.as_str()).fetch(source);
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), 0);
    let job = job.to_string();
    while let Some(row) = planned.try_next().await.map_err(unavailable)? {
        let kind = EntityType::ALL[row.entity as usize];
        let event = with_record!(kind, R => decide::<R>(row, &job, client))?;
        bytes += event.as_ref().map_or(0, |e| e.payload.len());
        batch.extend(event);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if batches.send(full).await.is_err() {
                return Ok(()); // appending failed and tells why
            }
        }
    }
    if !batch.is_empty() {
        let _ = batches.send(batch).await;
    }
    Ok(())
}

fn decide<R: Record>(row: PlannedRow, job: &str, client: &str) -> Result<Option<NewEvent>, CommandError> {
    let internal = |e: serde_json::Error| CommandError::Internal(e.to_string());
    let last = match (&row.event_type, &row.event_version, &row.last) {
        (Some(event_type), Some(version), Some(payload)) => {
            Some(read_event(upcasters, event_type, version, payload).map_err(internal)?)
        }
        _ => None,
    };
    let command = match row.record.filter(|_| !row.withdraw) {
        Some(record) => Command::Record(serde_json::from_str(&record).map_err(internal)?),
        None => Command::Withdraw,
    };
    let Some(event) = standing::<R>(last).decide(&row.sourced_id, command)? else {
        return Ok(None);
    };
    let mut metadata = HashMap::from([("client", client), ("import", job)]);
    let line = row.line.to_string();
    let file = format!("{}.csv", R::ENTITY.collection);
    if row.line > 0 {
        metadata.extend([("file", file.as_str()), ("line", line.as_str())]);
    } else {
        metadata.insert("reason", "absent");
    }
    let metadata = serde_json::to_string(&metadata).map_err(internal)?;
    encode(&row.sourced_id, row.sequence + 1, &event, metadata).map(Some)
}

fn unavailable(error: sqlx::Error) -> CommandError {
    CommandError::from(crate::log::AppendError::from(error))
}
