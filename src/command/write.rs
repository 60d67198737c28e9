//! Writes as an API takes them: operations on documents, decided together and appended as one unit of work.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::document::DocumentFault;
use super::json::Json;
use super::plan::{Plan, Step, fault};
use super::standing::{self, Standing};
use super::{CommandError, Commands, Origin};
use crate::log::IdempotencyKey;
use crate::query::etag::Conditions;
use crate::roster::{Code, EntityType, is_sourced_id};

/// How often a decision is made anew when the roster has moved meanwhile.
const ATTEMPTS: usize = 8;

/// Operations of one request.
pub const MOST_OPERATIONS: usize = 1_000;

/// Most faults that an answer lists.
pub const MOST_FAULTS: usize = 10_000;

/// Whether it can be an idempotency key or the name of an actor: 1 to 255 visible ASCII characters.
pub fn is_visible(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It shall stand as the document says; there is no active one of its id yet.
    Create,
    /// It shall stand as the document says.
    Put,
    /// The document is a merge patch (RFC 7396) of what a read shows.
    Patch,
    /// It is marked `tobedeleted`. There is no document.
    Delete,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Operation {
    /// In its batch, from 0.
    pub place: usize,
    pub kind: EntityType,
    pub action: Action,
    /// Whose it is; else the document's, else, for `Create`, a new one.
    pub sourced_id: Option<String>,
    pub conditions: Conditions,
    /// As a read shows it, in its envelope (`{"org":{…}}`) or bare.
    pub document: Json,
}

/// What is to be done at once, or not at all.
#[derive(Clone, Debug, Default)]
pub struct WriteRequest {
    pub operations: Vec<Operation>,
    /// Found before: with any of them nothing is done, but the rest is looked at.
    pub faults: Vec<DocumentFault>,
    pub origin: Origin,
    pub idempotency: Option<IdempotencyKey>,
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Created,
    Changed,
    /// It came back from being `tobedeleted`.
    Restored,
    Withdrawn,
    Unchanged,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenRecord {
    pub kind: EntityType,
    pub sourced_id: String,
    pub outcome: Outcome,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it is visible.
    pub position: i64,
    /// In the order of the operations.
    pub records: Vec<WrittenRecord>,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing was done; all that is wrong, in the order of the operations.
    #[error("the request has {} faults", .0.len())]
    Rejected(Vec<DocumentFault>),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    OtherRequest,
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

impl Commands {
    /// Does all of it, or nothing. Decided without a lock: when what a decision rests on has changed by the time it
    /// is appended, it is made anew, a few times.
    pub async fn write(&self, mut request: WriteRequest) -> Result<Written, WriteError> {
        let mut steps = Vec::with_capacity(request.operations.len());
        let mut seen = HashSet::new();
        for operation in std::mem::take(&mut request.operations) {
            let (place, kind) = (operation.place, operation.kind);
            match Step::of(operation) {
                Some(step) if seen.insert((kind, step.sourced_id.clone())) => steps.push(step),
                Some(step) => {
                    let id = step.sourced_id;
                    request.faults.push(fault(place, "sourcedId", Code::DuplicateOperation, &id));
                }
                None => request.faults.push(fault(place, "sourcedId", Code::MissingRequired, "")),
            }
        }
        for _ in 0..ATTEMPTS {
            match self.attempt(&request, &steps).await {
                Err(WriteError::Command(CommandError::Conflict)) => {}
                done => return done,
            }
        }
        Err(CommandError::Conflict.into())
    }

    async fn attempt(&self, request: &WriteRequest, steps: &[Step]) -> Result<Written, WriteError> {
        let mut conn = self.log.db().acquire(&self.tenant).await?;
        let (head, records) = self.standing(&mut conn, steps).await?;
        let standing = |step: &Step| records.get(&(step.operation.kind, step.sourced_id.clone()));
        // Asked after the roster: the key of a request whose effect has been read here is then known.
        if let Some(written) = self.repeated(&mut conn, request).await? {
            return Ok(written);
        }
        let mut faults = request.faults.clone();
        let plans: Vec<Plan> = steps.iter().map(|step| self.plan(step, standing(step), &mut faults)).collect();
        let parts = self.check(&mut conn, steps, &plans, &mut faults).await?;
        // The append takes a connection of its own.
        drop(conn);
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.operation);
            return Err(WriteError::Rejected(faults));
        }
        let mut unit = self.unit_of_work(request.origin.clone());
        let mut done = Vec::with_capacity(steps.len());
        for (step, plan) in steps.iter().zip(&plans) {
            let outcome = step.decide(&mut unit, standing(step), plan, &parts)?;
            let sourced_id = step.sourced_id.clone();
            done.push(WrittenRecord { kind: step.operation.kind, sourced_id, outcome });
        }
        if unit.unit.events.is_empty() && steps.len() == 1 && request.idempotency.is_none() {
            return Ok(Written { position: head, records: done });
        }
        for (step, record) in steps.iter().zip(&done) {
            // The rest is guarded by the sequence of its events.
            let unseen = record.outcome == Outcome::Unchanged || step.operation.kind.nested().next().is_some();
            if unseen || !step.operation.conditions.is_empty() {
                unit.guard(record.kind, &record.sourced_id, standing(step).map(|s| s.since));
            }
        }
        // What is referred to comes first, and parts before the record that shows them.
        unit.unit.events.sort_by_key(|event| EntityType::from_name(event.aggregate_type));
        unit.unit.idempotency = match &request.idempotency {
            Some(key) => Some(IdempotencyKey { answer: to_json(&done)?, ..key.clone() }),
            None => None,
        };
        let appended = unit.commit().await?;
        if appended.repeated {
            let mut conn = self.log.db().acquire(&self.tenant).await?;
            let earlier = self.repeated(&mut conn, request).await?;
            return earlier.ok_or_else(|| CommandError::Internal("a key that was used is gone".to_owned()).into());
        }
        Ok(Written { position: appended.last, records: done })
    }

    /// What stands of the steps' records, and the head of the log as the first of them were read.
    async fn standing(
        &self,
        conn: &mut PgConnection,
        steps: &[Step],
    ) -> Result<(i64, HashMap<(EntityType, String), Standing>), sqlx::Error> {
        let mut asked: BTreeMap<EntityType, Vec<&str>> = BTreeMap::new();
        for step in steps.iter().filter(|step| is_sourced_id(&step.sourced_id)) {
            asked.entry(step.operation.kind).or_default().push(&step.sourced_id);
        }
        let mut first = None;
        let mut records = HashMap::new();
        for (kind, ids) in asked {
            let (head, found) = standing::records(conn, &self.tenant, kind, &ids).await?;
            first.get_or_insert(head);
            records.extend(found.into_iter().map(|(id, standing)| ((kind, id), standing)));
        }
        Ok((first.unwrap_or_default(), records))
    }

    /// The first answer, when the request's key has been used.
    async fn repeated(&self, conn: &mut PgConnection, request: &WriteRequest) -> Result<Option<Written>, WriteError> {
        let Some(key) = &request.idempotency else { return Ok(None) };
        let Some(used) = key.used(conn, &self.tenant).await? else { return Ok(None) };
        if used.request != key.request {
            return Err(WriteError::OtherRequest);
        }
        let records = serde_json::from_str(&used.answer).map_err(|e| standing::unreadable("a kept answer", &e))?;
        Ok(Some(Written { position: used.last_position, records }))
    }
}

fn to_json(records: &[WrittenRecord]) -> Result<String, CommandError> {
    serde_json::to_string(records).map_err(|e| standing::unreadable("an answer", &e))
}
