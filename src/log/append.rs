//! Appending: positions, events and read models in one transaction under the tenant's lock.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::{Log, Tenant};

/// An event to append. Texts are JSON.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub aggregate_type: &'static str,
    pub sourced_id: String,
    /// Expected place in its aggregate: 1 + sequence of the last event known to who decided.
    pub sequence: i64,
    pub event_type: &'static str,
    pub event_version: &'static str,
    pub payload: String,
    pub metadata: String,
}

/// Events that commit together or not at all, and that no reader of the past ever sees half of.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    pub events: Vec<NewEvent>,
    /// Carried out once per tenant and key; a repetition is answered with the first answer.
    pub idempotency_key: Option<String>,
}

/// Where a unit of work stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first: i64,
    /// `first - 1` when the unit held no event.
    pub last: i64,
    /// The idempotency key had been used: nothing was appended now.
    pub repeated: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Someone else changed the aggregate since it was loaded.
    #[error("the record was changed by someone else at the same time")]
    Conflict,
    #[error("there is no tenant {0}")]
    UnknownTenant(Tenant),
    /// The read models were made by other projections than this program's.
    #[error("the read models of {0} were made by another version of the projections; run `rosterhub rebuild`")]
    OtherProjections(Tenant),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl AppendError {
    fn of(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(e) if e.constraint() == Some("events_optimistic_lock") => Self::Conflict,
            _ => Self::Sql(error),
        }
    }
}

/// A transaction that holds the tenant's lock. Several batches may go into it; all share one `recorded_at`.
pub struct AppendTransaction {
    log: Log,
    tenant: Tenant,
    tx: Transaction<'static, Postgres>,
    head: i64,
    recorded_at: Option<DateTime<Utc>>,
}

impl Log {
    /// Begins a transaction and takes the tenant's lock: until it ends, no one else appends for this tenant.
    pub async fn begin(&self, tenant: &Tenant) -> Result<AppendTransaction, AppendError> {
        let mut tx = self.db.begin(tenant).await?;
        let row: Option<(i64, String)> =
            sqlx::query_as("select head, read_models from tenants where tenant = $1 for no key update")
                .bind(tenant.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let (head, fingerprint) = row.ok_or_else(|| AppendError::UnknownTenant(tenant.clone()))?;
        if fingerprint != self.projections.fingerprint() {
            return Err(AppendError::OtherProjections(tenant.clone()));
        }
        Ok(AppendTransaction { log: self.clone(), tenant: tenant.clone(), tx, head, recorded_at: None })
    }

    /// Appends one unit of work through the tenant's queue, together with others that arrive meanwhile.
    pub async fn append(&self, tenant: &Tenant, unit: Unit) -> Result<Appended, AppendError> {
        self.queues.append(self, tenant, unit).await
    }
}

impl AppendTransaction {
    /// Position of the last event, with those appended here.
    pub fn head(&self) -> i64 {
        self.head
    }

    /// The transaction itself, for rows that must commit with the events.
    pub fn sql(&mut self) -> &mut Transaction<'static, Postgres> {
        &mut self.tx
    }

    /// Appends a unit of work that has arrived whole. A repeated idempotency key appends nothing.
    pub async fn append_unit(&mut self, unit: &Unit) -> Result<Appended, AppendError> {
        let mut appended = self.append_units(std::slice::from_ref(unit)).await?;
        appended.pop().ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Appends several units, each an atom of its own, in one statement.
    pub(super) async fn append_units(&mut self, units: &[Unit]) -> Result<Vec<Appended>, AppendError> {
        let mut answers = Vec::with_capacity(units.len());
        let mut events = Vec::new();
        let mut starts = Vec::new();
        for unit in units {
            if let Some(earlier) = self.earlier(unit).await? {
                answers.push(earlier);
                continue;
            }
            let first = self.head + events.len() as i64 + 1;
            events.extend(unit.events.iter());
            starts.extend(std::iter::repeat_n(first, unit.events.len()));
            let appended = Appended { first, last: first + unit.events.len() as i64 - 1, repeated: false };
            self.remember(unit, appended).await?;
            answers.push(appended);
        }
        self.insert(&events, &starts).await?;
        Ok(answers)
    }

    /// Appends a batch of one long unit that began at position `unit`.
    pub async fn append_batch(&mut self, unit: i64, events: &[NewEvent]) -> Result<(), AppendError> {
        let events: Vec<&NewEvent> = events.iter().collect();
        self.insert(&events, &vec![unit; events.len()]).await
    }

    async fn insert(&mut self, events: &[&NewEvent], units: &[i64]) -> Result<(), AppendError> {
        if events.is_empty() {
            return Ok(());
        }
        let column = |f: fn(&NewEvent) -> &str| events.iter().map(|e| f(e)).collect::<Vec<_>>();
        let sequences: Vec<i64> = events.iter().map(|e| e.sequence).collect();
        let (from, recorded_at): (i64, DateTime<Utc>) = sqlx::query_as(
            "with tenant as (
               update tenants t
                  set head = t.head + $3, projected = t.head + $3,
                      recorded_at = coalesce($2, greatest(date_trunc('milliseconds', clock_timestamp()),
                                                          t.recorded_at + interval '1 millisecond'))
                 from (select projected from tenants where tenant = $1 for no key update) before
                where t.tenant = $1
               returning t.head - $3 as base, t.recorded_at, before.projected),
             appended as (
               insert into events (tenant, position, unit, aggregate_type, aggregate_id, sequence,
                                   event_type, event_version, payload, metadata, recorded_at)
               select $1, tenant.base + e.ordinal, e.unit, e.aggregate_type, $1 || '/' || e.sourced_id, e.sequence,
                      e.event_type, e.event_version, e.payload::json, e.metadata::json, tenant.recorded_at
                 from tenant, unnest($4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[],
                                     $10::text[], $11::text[]) with ordinality
                      as e(unit, aggregate_type, sourced_id, sequence, event_type, event_version, payload, metadata, ordinal))
             select projected, recorded_at from tenant",
        )
        .bind(self.tenant.as_str())
        .bind(self.recorded_at)
        .bind(events.len() as i64)
        .bind(units)
        .bind(column(|e| e.aggregate_type))
        .bind(column(|e| &e.sourced_id))
        .bind(sequences)
        .bind(column(|e| e.event_type))
        .bind(column(|e| e.event_version))
        .bind(column(|e| &e.payload))
        .bind(column(|e| &e.metadata))
        .fetch_one(&mut *self.tx)
        .await
        .map_err(AppendError::of)?;
        self.recorded_at = Some(recorded_at);
        // Events of a writer that knows no projections, if any, are caught up with here.
        let types = (from == self.head).then(|| {
            let mut types = column(|e| e.aggregate_type);
            types.dedup();
            types
        });
        self.head += events.len() as i64;
        self.log.projections.apply(&mut self.tx, &self.tenant, from, self.head, types.as_deref()).await?;
        Ok(())
    }

    async fn earlier(&mut self, unit: &Unit) -> Result<Option<Appended>, AppendError> {
        let Some(key) = &unit.idempotency_key else {
            return Ok(None);
        };
        let earlier: Option<(i64, i64)> =
            sqlx::query_as("select first_position, last_position from idempotency_keys where tenant = $1 and key = $2")
                .bind(self.tenant.as_str())
                .bind(key)
                .fetch_optional(&mut *self.tx)
                .await?;
        Ok(earlier.map(|(first, last)| Appended { first, last, repeated: true }))
    }

    async fn remember(&mut self, unit: &Unit, appended: Appended) -> Result<(), AppendError> {
        if let Some(key) = &unit.idempotency_key {
            sqlx::query(
                "insert into idempotency_keys (tenant, key, first_position, last_position) values ($1, $2, $3, $4)",
            )
            .bind(self.tenant.as_str())
            .bind(key)
            .bind(appended.first)
            .bind(appended.last)
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(())
    }

    /// Makes everything visible at once, and wakes readers that wait in this process.
    pub async fn commit(self) -> Result<i64, sqlx::Error> {
        self.tx.commit().await?;
        self.log.heads.moved(&self.tenant, self.head);
        Ok(self.head)
    }
}
