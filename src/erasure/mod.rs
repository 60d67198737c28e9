//! Erasing a person: the log and everything made of it forget what they knew, and the proofs still hold.
//! See docs/decisions/0025-erasure.md.

pub mod acknowledged;
pub mod person;
pub mod retention;
mod scrub;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use uuid::Uuid;

use crate::audit::base64;
use crate::command::entry::{Event, Remainder};
use crate::csv::import::Asker;
use crate::log::append::AppendTransaction;
use crate::log::{AppendError, Log, NewEvent, Tenant, Unit};
use crate::notice::data::{milliseconds, option_milliseconds};
use crate::roster::erase::what_is_left;
use crate::roster::{EntityType, User};
use person::{Person, Stored};

/// Characters that a request's reference may have.
pub const LONGEST_REQUEST: usize = 500;

/// Erasures, legal holds and retention of all tenants.
#[derive(Clone)]
pub struct Erasures {
    log: Log,
}

/// A person who was erased.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Erasure {
    pub id: Uuid,
    /// Of the user.
    pub sourced_id: String,
    /// What it was asked by.
    pub request: String,
    /// Who carried it out.
    pub client: String,
    /// Log position of the event that tells of it.
    pub position: i64,
    /// Events whose content was destroyed.
    pub events: i64,
    /// Records that they were of.
    pub records: i64,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: DateTime<Utc>,
    /// When the database had freed the space of what was there. Until then, and in backups, copies may be left.
    #[serde(serialize_with = "option_milliseconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cleaned_at: Option<DateTime<Utc>>,
    /// From then on the person may be recorded again.
    #[serde(serialize_with = "option_milliseconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub lifted_at: Option<DateTime<Utc>>,
}

/// Its columns, for a SELECT.
const COLUMNS: &str = "id, sourced_id, request, client, position, events, records, created_at, cleaned_at, lifted_at";

#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("there is no user of this sourcedId")]
    Unknown,
    #[error("the person is under a legal hold: {0}")]
    Held(String),
    #[error("an import is under way; its rows may be of this person. Try again when it has ended")]
    ImportUnderWay,
    #[error("a request has 1 to {LONGEST_REQUEST} characters")]
    BadRequest,
    #[error("the log changed under the erasure; try again")]
    Conflict,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("an event could not be read: {0}")]
    Event(#[from] serde_json::Error),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl Erasures {
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// Erases a person: withdraws what stands, destroys the content of all events about the person, makes the read
    /// models anew without it, and clears what else may repeat it; all in one transaction. A person without anything
    /// to erase since the last time is answered with that erasure.
    pub async fn erase(
        &self,
        tenant: &Tenant,
        sourced_id: &str,
        request: &str,
        asker: &Asker,
    ) -> Result<Erasure, EraseError> {
        if request.trim().is_empty() || request.chars().count() > LONGEST_REQUEST {
            return Err(EraseError::BadRequest);
        }
        let mut tx = self.log.begin(tenant).await?;
        self.allowed(&mut tx, tenant, sourced_id).await?;
        let mut person = Person::find(tx.sql(), tenant, sourced_id).await?;
        if person.last(EntityType::User, sourced_id).is_none() {
            return Err(EraseError::Unknown);
        }
        if let Some(done) = latest(tx.sql(), tenant, sourced_id).await?
            && !person.to_erase().any(|event| event.recorded_after(done.position))
        {
            return Ok(done);
        }
        let metadata = json!({ "client": asker.id, "reason": "erasure" }).to_string();
        let (texts, records) = (person.texts()?, person.own_records());
        let left: Vec<(i64, String)> = person
            .to_erase()
            .map(|event| Ok((event.position, event.left()?.to_string())))
            .collect::<Result<_, serde_json::Error>>()?;
        let unit = Unit { events: ending(&person, sourced_id, request, &left, &metadata)?, ..Unit::default() };
        let appended = tx.append_unit(&unit).await?;
        empty(&mut tx, tenant, &left).await?;
        person.extend(tx.sql(), tenant, appended.first - 1).await?;
        let head = tx.head();
        let positions = person.positions();
        let log = self.log.clone();
        log.projections().replay(tx.sql(), tenant, person.records(), &positions, head).await?;
        scrub::everywhere(tx.sql(), tenant, sourced_id, &texts, &records).await?;
        let done: Erasure = sqlx::query_as(&format!(
            "insert into erasures (tenant, id, sourced_id, request, client, position, events, records)
             values ($1, $2, $3, $4, $5, $6, $7, $8) returning {COLUMNS}"
        ))
        .bind(tenant.as_str())
        .bind(Uuid::now_v7())
        .bind(sourced_id)
        .bind(request)
        .bind(&asker.name)
        .bind(appended.last)
        .bind(left.len() as i64)
        .bind(records.len() as i64)
        .fetch_one(&mut **tx.sql())
        .await?;
        tx.commit().await?;
        tracing::info!(%tenant, position = done.position, events = done.events, "a person was erased");
        Ok(done)
    }

    /// Neither a legal hold nor an import under way stands against it.
    async fn allowed(&self, tx: &mut AppendTransaction, tenant: &Tenant, sourced_id: &str) -> Result<(), EraseError> {
        let row = sqlx::query(
            "select (select reason from legal_holds where tenant = $1 and sourced_id = $2 and released_at is null limit 1),
                    exists (select from import_jobs where tenant = $1 and finished_at is null
                                                      and state in ('queued', 'reading', 'planning', 'applying'))",
        )
        .bind(tenant.as_str())
        .bind(sourced_id)
        .fetch_one(&mut **tx.sql())
        .await?;
        if let Some(reason) = row.try_get::<Option<String>, _>(0)? {
            return Err(EraseError::Held(reason));
        }
        if row.try_get(1)? {
            return Err(EraseError::ImportUnderWay);
        }
        Ok(())
    }

    /// Frees the space of what was erased, as far as the database can: what is left in its files until it is
    /// overwritten, and in backups, is beyond the hub. Also makes its statistics forget common values.
    pub async fn clean(&self, tenant: &Tenant) -> Result<(), sqlx::Error> {
        let before = Utc::now();
        let mut conn = self.log.db().acquire(tenant).await?;
        let tables = [
            EntityType::User,
            EntityType::Demographics,
            EntityType::Role,
            EntityType::UserProfile,
            EntityType::Enrollment,
        ]
        .map(|kind| kind.entity().table);
        let all = tables.iter().map(|table| format!("{table}, {table}_history")).collect::<Vec<_>>().join(", ");
        sqlx::query(&format!(
            "vacuum (analyze) events, idempotency_keys, import_errors, webhook_attempts, access_requests, {all}"
        ))
        .execute(&mut *conn)
        .await?;
        sqlx::query(
            "update erasures set cleaned_at = now() where tenant = $1 and cleaned_at is null and created_at <= $2",
        )
        .bind(tenant.as_str())
        .bind(before)
        .execute(&mut *conn)
        .await
        .map(drop)
    }

    /// Erasures, the latest first; of one person or of all.
    pub async fn list(
        &self,
        tenant: &Tenant,
        sourced_id: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Erasure>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(&format!(
            "select {COLUMNS} from erasures where tenant = $1 and ($2::text is null or sourced_id = $2)
              order by created_at desc, id limit $3"
        ))
        .bind(tenant.as_str())
        .bind(sourced_id)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await
    }

    pub async fn find(&self, tenant: &Tenant, id: Uuid) -> Result<Option<Erasure>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(&format!("select {COLUMNS} from erasures where tenant = $1 and id = $2"))
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(&mut *conn)
            .await
    }

    /// Lets the person be recorded again, who has come back.
    pub async fn lift(&self, tenant: &Tenant, sourced_id: &str, asker: &Asker) -> Result<bool, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query(
            "update erasures set lifted_at = now(), lifted_by = $3
              where tenant = $1 and sourced_id = $2 and lifted_at is null",
        )
        .bind(tenant.as_str())
        .bind(sourced_id)
        .bind(&asker.name)
        .execute(&mut *conn)
        .await
        .map(|done| done.rows_affected() > 0)
    }
}

async fn latest(
    conn: &mut sqlx::PgConnection,
    tenant: &Tenant,
    sourced_id: &str,
) -> Result<Option<Erasure>, sqlx::Error> {
    sqlx::query_as(&format!(
        "select {COLUMNS} from erasures where tenant = $1 and sourced_id = $2 order by position desc limit 1"
    ))
    .bind(tenant.as_str())
    .bind(sourced_id)
    .fetch_optional(conn)
    .await
}

/// People who must not be recorded again: erased, and not lifted.
pub async fn erased(log: &Log, tenant: &Tenant) -> Result<std::collections::HashSet<String>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    let ids: Vec<String> =
        sqlx::query_scalar("select distinct sourced_id from erasures where tenant = $1 and lifted_at is null")
            .bind(tenant.as_str())
            .fetch_all(&mut *conn)
            .await?;
    Ok(ids.into_iter().collect())
}

/// The last events of the person's records: those that stand are withdrawn, and the user is erased.
fn ending(
    person: &Person,
    sourced_id: &str,
    request: &str,
    left: &[(i64, String)],
    metadata: &str,
) -> Result<Vec<NewEvent>, EraseError> {
    let mut events = Vec::new();
    let mut event = |last: &Stored, event_type: &'static str, payload: String| {
        events.push(NewEvent {
            aggregate_type: last.kind.name(),
            sourced_id: last.sourced_id.clone(),
            sequence: last.sequence + 1,
            event_type,
            event_version: Event::<User>::VERSION,
            payload,
            metadata: metadata.to_owned(),
        });
    };
    for last in person.standing() {
        let record = what_is_left(last.kind.entity(), &last.record()?);
        event(last, "Withdrawn", json!({ "type": "Withdrawn", "record": record }).to_string());
    }
    let last = person.last(EntityType::User, sourced_id).ok_or(EraseError::Unknown)?;
    let erased = left
        .iter()
        .map(|(position, payload)| Remainder { position: *position, left: base64::encode(&Sha256::digest(payload)) })
        .collect();
    let record: User = serde_json::from_value(Value::Object(what_is_left(EntityType::User.entity(), &last.record()?)))?;
    event(last, "Erased", serde_json::to_string(&Event::Erased { request: request.to_owned(), erased, record })?);
    Ok(events)
}

/// Destroys salt and payload of the events; what they committed to stays.
async fn empty(tx: &mut AppendTransaction, tenant: &Tenant, left: &[(i64, String)]) -> Result<(), EraseError> {
    let (positions, payloads): (Vec<i64>, Vec<&str>) =
        left.iter().map(|(position, payload)| (*position, payload.as_str())).unzip();
    let done = sqlx::query(
        "update events e
            set commitment = sha256(uuid_send(e.salt) || convert_to(e.payload::text, 'UTF8')), salt = null,
                payload = l.payload::json
           from unnest($2::bigint[], $3::text[]) as l(position, payload)
          where e.tenant = $1 and e.position = l.position and e.salt is not null",
    )
    .bind(tenant.as_str())
    .bind(&positions)
    .bind(&payloads)
    .execute(&mut **tx.sql())
    .await?;
    if done.rows_affected() == left.len() as u64 { Ok(()) } else { Err(EraseError::Conflict) }
}
