//! Appending: positions, events and read models in one transaction under the tenant's lock.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::metadata_keys::{self, TypedKey};
use super::{Log, Tenant, idempotency};

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
    /// What it was decided on, beyond the records that it changes.
    pub guards: Vec<Guard>,
    /// Carried out once per tenant, client and key; a repetition is answered with the first answer.
    pub idempotency: Option<IdempotencyKey>,
}

/// A version of a row that a decision rests on: if another stood when the unit began, the unit is a conflict. It
/// covers what the sequence of events does not: records that the unit leaves alone, and parts of a record.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Read model.
    pub table: &'static str,
    pub sourced_id: String,
    /// Position of the version; none: there was no such record.
    pub since: Option<i64>,
}

/// What tells a repeated request from a new one.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// Keys of different clients are different.
    pub client: String,
    pub key: String,
    /// Digest of the request: the same key with another request is a mistake of the client.
    pub request: Vec<u8>,
    /// JSON kept for the answer to a repetition.
    pub answer: String,
}

impl IdempotencyKey {
    /// A key of the program's own, whose request is not looked at.
    pub fn of(key: impl Into<String>) -> Self {
        Self { client: String::new(), key: key.into(), request: Vec::new(), answer: "null".to_owned() }
    }
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
    /// A person who was erased may be recorded again only once that has been lifted.
    #[error("the person was erased; who has come back is recorded again after the erasure has been lifted")]
    Erased,
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
    /// Keys of `metadata` that were not known before.
    new_keys: BTreeSet<TypedKey>,
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
        Ok(AppendTransaction {
            log: self.clone(),
            tenant: tenant.clone(),
            tx,
            head,
            recorded_at: None,
            new_keys: BTreeSet::new(),
        })
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
        let mut guards = Vec::new();
        let mut used = idempotency::used(&mut self.tx, &self.tenant, units).await?;
        let mut new_keys = Vec::new();
        for unit in units {
            let key = unit.idempotency.as_ref().map(|k| (k.client.clone(), k.key.clone()));
            if let Some((first, last)) = key.as_ref().and_then(|key| used.get(key)) {
                answers.push(Appended { first: *first, last: *last, repeated: true });
                continue;
            }
            let first = self.head + events.len() as i64 + 1;
            events.extend(unit.events.iter());
            starts.extend(std::iter::repeat_n(first, unit.events.len()));
            guards.extend(unit.guards.iter().map(|guard| (guard, first)));
            let last = first + unit.events.len() as i64 - 1;
            if let (Some(key), Some(new)) = (key, &unit.idempotency) {
                used.insert(key, (first, last));
                new_keys.push((new, first, last));
            }
            answers.push(Appended { first, last, repeated: false });
        }
        self.insert(&events, &starts).await?;
        self.verify(&guards).await?;
        idempotency::remember(&mut self.tx, &self.tenant, &new_keys).await?;
        Ok(answers)
    }

    /// Looks at the versions that stood just before each unit's first position. Done after the projections have run,
    /// so that units of one group are guarded against each other as well.
    async fn verify(&mut self, guards: &[(&Guard, i64)]) -> Result<(), AppendError> {
        let tables: BTreeSet<&'static str> = guards.iter().map(|(guard, _)| guard.table).collect();
        for table in tables {
            let here = || guards.iter().filter(|(guard, _)| guard.table == table);
            let moved: bool = sqlx::query_scalar(&format!(
                "select exists (
                   select from unnest($2::text[], $3::bigint[], $4::bigint[]) as g(sourced_id, since, first)
                          left join lateral (
                            select v.since
                              from (select tenant, sourced_id, since, until from {table}
                                    union all select tenant, sourced_id, since, until from {table}_history) v
                             where v.tenant = $1 and v.sourced_id = g.sourced_id
                               and v.since < g.first and (v.until is null or v.until >= g.first)
                             limit 1) stood on true
                    where stood.since is distinct from g.since)"
            ))
            .bind(self.tenant.as_str())
            .bind(here().map(|(guard, _)| guard.sourced_id.as_str()).collect::<Vec<_>>())
            .bind(here().map(|(guard, _)| guard.since).collect::<Vec<_>>())
            .bind(here().map(|(_, first)| *first).collect::<Vec<_>>())
            .fetch_one(&mut *self.tx)
            .await?;
            if moved {
                return Err(AppendError::Conflict);
            }
        }
        Ok(())
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
        self.forbid_erased(events).await?;
        // Events of a writer that knows no projections, if any, are caught up with here.
        let types = (from == self.head).then(|| {
            let mut types = column(|e| e.aggregate_type);
            types.dedup();
            types
        });
        if from < self.head {
            metadata_keys::catch_up(&mut self.tx, &self.tenant, from, self.head).await?;
        }
        let new_keys = self.log.metadata_keys.unknown(&self.tenant, &self.new_keys, events);
        metadata_keys::add(&mut self.tx, &self.tenant, &new_keys).await?;
        self.new_keys.extend(new_keys);
        self.head += events.len() as i64;
        self.log.projections.apply(&mut self.tx, &self.tenant, from, self.head, types.as_deref()).await?;
        Ok(())
    }

    /// Who was erased does not come back unnoticed. (What names the person is refused for naming one who is not there.)
    async fn forbid_erased(&mut self, events: &[&NewEvent]) -> Result<(), AppendError> {
        let people: Vec<&str> = events
            .iter()
            .filter(|event| event.event_type == "Restored" && ["user", "demographics"].contains(&event.aggregate_type))
            .map(|event| event.sourced_id.as_str())
            .collect();
        if people.is_empty() {
            return Ok(());
        }
        let erased: bool = sqlx::query_scalar(
            "select exists (select from erasures where tenant = $1 and sourced_id = any($2) and lifted_at is null)",
        )
        .bind(self.tenant.as_str())
        .bind(&people)
        .fetch_one(&mut *self.tx)
        .await?;
        if erased { Err(AppendError::Erased) } else { Ok(()) }
    }

    /// Makes everything visible at once, and wakes readers that wait in this process.
    pub async fn commit(self) -> Result<i64, sqlx::Error> {
        self.tx.commit().await?;
        self.log.metadata_keys.note(&self.tenant, self.new_keys);
        self.log.heads.moved(&self.tenant, self.head);
        Ok(self.head)
    }
}
