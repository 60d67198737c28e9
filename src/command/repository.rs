//! The framework's repository over our log: stock reading, our own appending.

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use postgres_es::PostgresEventRepository;
use serde_json::Value;

use crate::db::is_unavailable;
use crate::log::{AppendError, Appended, IdempotencyKey, Log, NewEvent, Tenant, Unit};
use crate::roster::EntityType;

/// Loads with `postgres-es`, bound to one tenant; appends through the tenant's queue.
pub struct TenantRepository {
    log: Log,
    tenant: Tenant,
    stock: PostgresEventRepository,
    idempotency_key: Option<String>,
    appended: std::sync::Mutex<Option<Appended>>,
}

impl TenantRepository {
    pub fn new(log: &Log, tenant: &Tenant, idempotency_key: Option<String>) -> Self {
        Self {
            log: log.clone(),
            tenant: tenant.clone(),
            stock: PostgresEventRepository::new(log.db().pool().clone()),
            idempotency_key,
            appended: std::sync::Mutex::default(),
        }
    }

    /// Where the last command's events stand; `None` when it led to none.
    pub fn appended(&self) -> Option<Appended> {
        *self.appended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl PersistedEventRepository for &TenantRepository {
    async fn get_events<A: Aggregate>(&self, id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.log.db().within(&self.tenant, self.stock.get_events::<A>(id)).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.log.db().within(&self.tenant, self.stock.get_last_events::<A>(id, last_sequence)).await
    }

    /// There are none: in cqrs-es 0.5 the snapshot store applies events twice.
    async fn get_snapshot<A: Aggregate>(&self, _: &str) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        _: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if events.is_empty() && self.idempotency_key.is_none() {
            return Ok(());
        }
        let unit = Unit {
            events: events.iter().map(|e| new_event::<A>(&self.tenant, e)).collect::<Result<_, _>>()?,
            guards: Vec::new(),
            idempotency: self.idempotency_key.clone().map(IdempotencyKey::of),
        };
        let appended = self.log.append(&self.tenant, unit).await.map_err(persistence_error)?;
        *self.appended.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(appended);
        Ok(())
    }

    // The stock streams run in a task of their own, where no tenant is bound, and end without an error when the
    // database fails in mid-stream: one aggregate's events are few, so they are read first.
    async fn stream_events<A: Aggregate>(&self, id: &str) -> Result<ReplayStream, PersistenceError> {
        let events = self.get_events::<A>(id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    /// Not offered: it would order by sequence, which means nothing across aggregates. Use [`Log::read`].
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        Err(PersistenceError::UnknownError("the log is read by position".into()))
    }
}

fn new_event<A: Aggregate>(tenant: &Tenant, event: &SerializedEvent) -> Result<NewEvent, PersistenceError> {
    let sourced_id = event.aggregate_id.strip_prefix(tenant.as_str()).and_then(|id| id.strip_prefix('/'));
    let kind = EntityType::from_name(A::TYPE);
    let (Some(sourced_id), Some(kind)) = (sourced_id, kind) else {
        return Err(PersistenceError::UnknownError("the aggregate is not one of this tenant's records".into()));
    };
    Ok(NewEvent {
        aggregate_type: kind.name(),
        sourced_id: sourced_id.to_owned(),
        sequence: event.sequence as i64,
        event_type: match event.event_type.as_str() {
            "Restored" => "Restored",
            "Withdrawn" => "Withdrawn",
            "Erased" => "Erased",
            _ => "Recorded",
        },
        event_version: super::Event::<()>::VERSION,
        payload: event.payload.to_string(),
        metadata: event.metadata.to_string(),
    })
}

fn persistence_error(error: AppendError) -> PersistenceError {
    match error {
        AppendError::Conflict => PersistenceError::OptimisticLockError,
        AppendError::Sql(e) if is_unavailable(&e) => PersistenceError::ConnectionError(Box::new(e)),
        other => PersistenceError::UnknownError(Box::new(other)),
    }
}
