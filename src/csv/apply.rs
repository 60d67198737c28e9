//! Carrying a plan out: every row decided by its aggregate, all appended and projected in one transaction.

use std::collections::HashMap;

use futures::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::edition::Edition;
use super::plan::with_records;
use super::rules::Level;
use super::stage::{Staging, number};
use crate::command::hub::{encode, read_event, standing, upcasters};
use crate::command::{Command, CommandError, Event};
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

/// What the metadata of the events name.
pub struct Origin<'a> {
    pub job: Uuid,
    /// Who handed it in.
    pub client: &'a str,
    /// The edition by which the set was read.
    pub edition: Option<&'a str>,
    pub approver: Option<&'a str>,
    /// Of a revert: the import that it takes back.
    pub reverts: Option<Uuid>,
}

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
    origin: &Origin<'_>,
    progress: impl Fn(u64),
) -> Result<i64, CommandError> {
    let unit = tx.head() + 1;
    let (batches, decided) = mpsc::channel::<Vec<NewEvent>>(2);
    let decide = async move {
        for group in GROUPS {
            decide_group(source, staging, tenant, group, origin, &batches).await?;
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
    origin: &Origin<'_>,
    batches: &mpsc::Sender<Vec<NewEvent>>,
) -> Result<(), CommandError> {
    let entities = group.iter().map(|k| number(*k).to_string()).collect::<Vec<_>>().join(", ");
    // In the order of the keys, so that neighbours in the indexes are written together.
    let order = if group.len() > 1 { "owner, entity, sourced_id" } else { "sourced_id" };
    let chosen = format!(
        "select entity, sourced_id, line, withdraw, sequence from {} where entity in ({entities}) order by {order}",
        staging.plan
    );
    let sql = with_records(staging, &chosen);
    let mut planned = sqlx::query_as::<_, PlannedRow>(&sql).bind(tenant.as_str()).fetch(source);
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), 0);
    let common = origin.metadata();
    while let Some(row) = planned.try_next().await.map_err(unavailable)? {
        let kind = EntityType::ALL[row.entity as usize];
        let events = with_record!(kind, R => decide::<R>(row, &common))?;
        bytes += events.iter().flatten().map(|e| e.payload.len()).sum::<usize>();
        batch.extend(events.into_iter().flatten());
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

impl Origin<'_> {
    fn metadata(&self) -> HashMap<&'static str, String> {
        let mut metadata = HashMap::from([("client", self.client.to_owned()), ("import", self.job.to_string())]);
        metadata.extend(self.edition.map(|edition| ("mapping", edition.to_owned())));
        metadata.extend(self.approver.map(|approver| ("approver", approver.to_owned())));
        metadata.extend(self.reverts.map(|import| ("reverts", import.to_string())));
        metadata
    }
}

/// The events of one record: none when it stands so already. A revert may need two: a record that was withdrawn with
/// other content stands as it was and is withdrawn again.
fn decide<R: Record>(
    row: PlannedRow,
    common: &HashMap<&'static str, String>,
) -> Result<[Option<NewEvent>; 2], CommandError> {
    let internal = |e: serde_json::Error| CommandError::Internal(e.to_string());
    let last = match (&row.event_type, &row.event_version, &row.last) {
        (Some(event_type), Some(version), Some(payload)) => {
            Some(read_event::<R>(upcasters, event_type, version, payload).map_err(internal)?)
        }
        _ => None,
    };
    let is_revert = common.contains_key("reverts");
    let record = row.record.filter(|_| !row.withdraw || is_revert);
    let record: Option<R> = record.map(|record| serde_json::from_str(&record)).transpose().map_err(internal)?;
    let edition = common.get("mapping").and_then(|name| Edition::ALL.into_iter().find(|e| e.name() == name));
    let (file, line) = (Level { edition, ..Level::default() }.file(R::ENTITY.kind), row.line.to_string());
    let mut metadata: HashMap<&str, &str> = common.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if row.line == 0 {
        metadata.insert("reason", "absent");
    } else if !is_revert {
        metadata.extend([("file", file.as_str()), ("line", line.as_str())]);
    }
    let metadata = serde_json::to_string(&metadata).map_err(internal)?;
    let mut sequence = row.sequence;
    let mut encoded = |event: Option<&Event<R>>| {
        let Some(event) = event else { return Ok(None) };
        sequence += 1;
        encode(&row.sourced_id, sequence, event, metadata.clone()).map(Some)
    };
    let recorded = record.map(Command::Record);
    let recorded = recorded.map(|command| standing::<R>(last.clone()).decide(&row.sourced_id, command)).transpose()?;
    let recorded = recorded.flatten();
    let first = encoded(recorded.as_ref())?;
    if !row.withdraw {
        return Ok([first, None]);
    }
    let withdrawn = standing::<R>(recorded.or(last)).decide(&row.sourced_id, Command::Withdraw)?;
    Ok([first, encoded(withdrawn.as_ref())?])
}

fn unavailable(error: sqlx::Error) -> CommandError {
    CommandError::from(crate::log::AppendError::from(error))
}
