//! Carrying commands out: one by one through the framework, or several aggregates as one unit of work.

use std::borrow::Cow;
use std::collections::HashMap;

use cqrs_es::persist::{EventUpcaster, PersistedEventStore, SerializedEvent};
use cqrs_es::{AggregateError, CqrsFramework, EventEnvelope, EventStore};
use serde_json::Value;

use super::repository::TenantRepository;
use super::{Command, Entry, Event, Rejected};
use crate::log::{AppendError, Appended, Guard, IdempotencyKey, Log, NewEvent, Tenant, Unit};
use crate::roster::{EntityType, Record};

/// Who asks, and for what reason: the metadata of the events that follow. Flat strings, as cqrs-es has it.
#[derive(Clone, Debug, Default)]
pub struct Origin(pub HashMap<String, String>);

impl Origin {
    pub fn client(client: &str) -> Self {
        Self(HashMap::from([("client".to_owned(), client.to_owned())]))
    }

    /// A write over the API. `actor`: on whose behalf, where the client says so.
    pub fn api(client: &str, actor: Option<&str>) -> Self {
        let mut origin = Self::client(client);
        origin.0.insert("cause".to_owned(), "api".to_owned());
        origin.0.extend(actor.map(|actor| ("actor".to_owned(), actor.to_owned())));
        origin
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the record was changed by someone else at the same time")]
    Conflict,
    #[error("the person was erased; who has come back is recorded again after the erasure has been lifted")]
    Erased,
    #[error("the database is away: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

impl From<AggregateError<Rejected>> for CommandError {
    fn from(error: AggregateError<Rejected>) -> Self {
        match error {
            AggregateError::UserError(rejected) => Self::Rejected(rejected),
            AggregateError::AggregateConflict => Self::Conflict,
            AggregateError::DatabaseConnectionError(e) => Self::Unavailable(e.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<AppendError> for CommandError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict => Self::Conflict,
            AppendError::Erased => Self::Erased,
            AppendError::Sql(e) if crate::db::is_unavailable(&e) => Self::Unavailable(e.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Changes that the program makes to events of older versions as it loads them, from the oldest version on.
pub type Upcasters = fn() -> Vec<Box<dyn EventUpcaster>>;

/// The hub's own. None yet: version 1.0 is the first. Projections read events in SQL and see them as written, so an
/// event may gain optional members only; a new meaning is a new event type.
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    Vec::new()
}

/// An event as it was written, in its present form, for those that read it without the framework.
pub fn read_event<R: Record>(
    upcasters: Upcasters,
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<Event<R>, serde_json::Error> {
    serde_json::from_str(&present_payload(upcasters, R::ENTITY.kind, event_type, event_version, payload)?)
}

/// A payload in its present form. JSON, as it was written if it has that form.
pub fn present_payload<'a>(
    upcasters: Upcasters,
    kind: EntityType,
    event_type: &str,
    event_version: &str,
    payload: &'a str,
) -> Result<Cow<'a, str>, serde_json::Error> {
    if event_version == Event::<()>::VERSION {
        return Ok(Cow::Borrowed(payload));
    }
    let (event_type, event_version) = (event_type.to_owned(), event_version.to_owned());
    let (payload, aggregate_type) = (serde_json::from_str(payload)?, kind.name().to_owned());
    let event = SerializedEvent::new(String::new(), 0, aggregate_type, event_type, event_version, payload, Value::Null);
    let event = upcasters().iter().fold(event, |event, upcaster| {
        match upcaster.can_upcast(&event.event_type, &event.event_version) {
            true => upcaster.upcast(event),
            false => event,
        }
    });
    Ok(Cow::Owned(event.payload.to_string()))
}

/// Carries commands out for one tenant.
#[derive(Clone)]
pub struct Commands {
    pub(super) log: Log,
    pub(super) tenant: Tenant,
    upcasters: Upcasters,
}

impl Commands {
    pub fn new(log: &Log, tenant: &Tenant) -> Self {
        Self { log: log.clone(), tenant: tenant.clone(), upcasters }
    }

    /// With other upcasters than the hub's own.
    pub fn with_upcasters(self, upcasters: Upcasters) -> Self {
        Self { upcasters, ..self }
    }

    /// One command on one record, through the framework. `None`: nothing had to change.
    pub async fn execute<R: Record>(
        &self,
        sourced_id: &str,
        command: Command<R>,
        origin: &Origin,
        idempotency_key: Option<String>,
    ) -> Result<Option<Appended>, CommandError> {
        let repository = TenantRepository::new(&self.log, &self.tenant, idempotency_key);
        let framework = CqrsFramework::<Entry<R>, _>::new(self.store(&repository), vec![], sourced_id.to_owned());
        framework.execute_with_metadata(&self.tenant.aggregate_id(sourced_id), command, origin.0.clone()).await?;
        Ok(repository.appended())
    }

    /// Begins a unit of work over several records.
    pub fn unit_of_work(&self, origin: Origin) -> UnitOfWork<'_> {
        UnitOfWork { commands: self, origin, unit: Unit::default() }
    }

    fn store<'a, R: Record>(
        &self,
        repository: &'a TenantRepository,
    ) -> PersistedEventStore<&'a TenantRepository, Entry<R>> {
        PersistedEventStore::new_event_store(repository).with_upcasters((self.upcasters)())
    }
}

/// Commands on several records that commit together or not at all.
pub struct UnitOfWork<'a> {
    commands: &'a Commands,
    origin: Origin,
    pub(super) unit: Unit,
}

impl UnitOfWork<'_> {
    /// Carries the whole unit out once, however often it is sent.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.unit.idempotency = Some(IdempotencyKey::of(key));
        self
    }

    /// Decides a command on the record as it stands, with what this unit has already decided.
    pub async fn execute<R: Record>(&mut self, sourced_id: &str, command: Command<R>) -> Result<(), CommandError> {
        let Commands { log, tenant, .. } = self.commands;
        let repository = TenantRepository::new(log, tenant, None);
        let stored: Vec<EventEnvelope<Entry<R>>> =
            self.commands.store(&repository).load_events(&tenant.aggregate_id(sourced_id)).await?;
        let mut sequence = stored.last().map_or(0, |e| e.sequence as i64);
        let mut last = stored.into_iter().next_back().map(|e| e.payload);
        let here = |e: &&NewEvent| e.aggregate_type == R::ENTITY.name && e.sourced_id == sourced_id;
        if let Some(pending) = self.unit.events.iter().rev().find(here) {
            sequence = pending.sequence;
            last = serde_json::from_str(&pending.payload).ok();
        }
        self.decide(sourced_id, sequence, last, command).map(drop)
    }

    /// Decides a command on a record whose last event is known; gives the name of the event that it led to.
    pub(super) fn decide<R: Record>(
        &mut self,
        sourced_id: &str,
        sequence: i64,
        last: Option<Event<R>>,
        command: Command<R>,
    ) -> Result<Option<&'static str>, CommandError> {
        let Some(event) = standing(last).decide(sourced_id, command)? else { return Ok(None) };
        let metadata = serde_json::to_string(&self.origin.0).map_err(|e| CommandError::Internal(e.to_string()))?;
        self.unit.events.push(encode(sourced_id, sequence + 1, &event, metadata)?);
        Ok(Some(event.name()))
    }

    /// Makes the unit a conflict when another version of the record stands as it begins.
    pub(super) fn guard(&mut self, kind: EntityType, sourced_id: &str, since: Option<i64>) {
        self.unit.guards.push(Guard { table: kind.entity().table, sourced_id: sourced_id.to_owned(), since });
    }

    /// Appends all of it.
    pub async fn commit(self) -> Result<Appended, CommandError> {
        Ok(self.commands.log.append(&self.commands.tenant, self.unit).await?)
    }
}

/// The state after a record's last event, which carries all of it.
pub fn standing<R: Record>(last: Option<Event<R>>) -> Entry<R> {
    let withdrawn = last.as_ref().is_some_and(Event::withdraws);
    Entry::standing(last.map(Event::into_record), withdrawn)
}

/// An event ready to be appended. `metadata` is JSON.
pub fn encode<R: Record>(
    sourced_id: &str,
    sequence: i64,
    event: &Event<R>,
    metadata: String,
) -> Result<NewEvent, CommandError> {
    Ok(NewEvent {
        aggregate_type: R::ENTITY.name,
        sourced_id: sourced_id.to_owned(),
        sequence,
        event_type: event.name(),
        event_version: Event::<R>::VERSION,
        payload: serde_json::to_string(event).map_err(|e| CommandError::Internal(e.to_string()))?,
        metadata,
    })
}
