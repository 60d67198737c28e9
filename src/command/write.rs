//! Writes as an API takes them: operations on documents, decided together and appended as one unit of work.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::document::{DocumentFault, Draft};
use super::json::{Json, merge};
use super::parts::{self, StandingParts};
use super::references::{self, Present};
use super::standing::{self, Standing};
use super::{Command, CommandError, Commands, Origin, UnitOfWork};
use crate::log::IdempotencyKey;
use crate::query::etag::{Conditions, record_etag};
use crate::roster::nested::{CHILDREN, NESTED};
use crate::roster::{Code, EntityType, Fault, Record, is_sourced_id, with_record};

/// How often a decision is made anew when the roster has moved meanwhile.
const ATTEMPTS: usize = 8;

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

/// An operation whose record is known.
struct Step {
    operation: Operation,
    sourced_id: String,
}

/// What is to become of a step's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Leave,
    Withdraw,
    Record,
    /// For reasons that are among the faults.
    Refuse,
}

struct Plan {
    course: Course,
    /// What its document says.
    draft: Option<Draft>,
    /// Those that its document shows before.
    children: BTreeSet<String>,
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
        let records = serde_json::from_str(&used.answer).map_err(|e| CommandError::Internal(e.to_string()))?;
        Ok(Some(Written { position: used.last_position, records }))
    }

    /// What is to become of one record, by itself.
    fn plan(&self, step: &Step, standing: Option<&Standing>, faults: &mut Vec<DocumentFault>) -> Plan {
        let Operation { place, kind, action, conditions, document, .. } = &step.operation;
        let (place, kind, id) = (*place, *kind, step.sourced_id.as_str());
        let fingerprint = self.log.projections().fingerprint();
        let tag = standing.map(|s| record_etag(fingerprint, kind, id, s.since));
        let withdrawn = standing.is_some_and(|s| s.withdrawn);
        let bare = |course| Plan { course, draft: None, children: BTreeSet::new() };
        let refusal = match (action, standing) {
            (Action::Create, Some(_)) if !withdrawn => Some(Code::AlreadyExists),
            (Action::Patch | Action::Delete, None) => Some(Code::UnknownRecord),
            _ if !conditions.hold(tag.as_deref()) => Some(Code::PreconditionFailed),
            _ => None,
        };
        if let Some(code) = refusal {
            faults.push(fault(place, "sourcedId", code, id));
            return bare(Course::Refuse);
        }
        if *action == Action::Delete {
            return bare(if withdrawn { Course::Leave } else { Course::Withdraw });
        }
        let shown: Option<Value> = standing.and_then(|s| serde_json::from_str(&s.doc).ok());
        let (draft, found) = match &shown {
            Some(shown) if *action == Action::Patch => {
                let mut patched = shown.clone();
                merge(&mut patched, &document.value);
                Draft::read(kind, id, &patched, &document.duplicates)
            }
            _ => Draft::read(kind, id, &document.value, &document.duplicates),
        };
        let before = shown.and_then(|shown| Draft::read(kind, id, &shown, &[]).0);
        let agrees = before.as_ref().zip(draft.as_ref()).is_some_and(|(before, draft)| before.agrees_with(draft));
        let withdraws = draft.as_ref().is_some_and(|draft| draft.withdrawn);
        let course = if !found.is_empty() {
            faults.extend(found.into_iter().map(|found| DocumentFault { operation: place, ..found }));
            Course::Refuse
        } else if withdraws && !agrees {
            faults.push(fault(place, "status", Code::WithdrawnAndChanged, "tobedeleted"));
            Course::Refuse
        } else if agrees && withdraws == withdrawn {
            Course::Leave
        } else if withdraws {
            Course::Withdraw
        } else {
            Course::Record
        };
        Plan { course, draft, children: before.and_then(|b| b.children).unwrap_or_default() }
    }

    /// Checks what lies between records, of this request and of the roster; gives the standing records nested in
    /// those that change.
    async fn check(
        &self,
        conn: &mut PgConnection,
        steps: &[Step],
        plans: &[Plan],
        faults: &mut Vec<DocumentFault>,
    ) -> Result<StandingParts, sqlx::Error> {
        let present: Present = steps.iter().zip(plans).map(|(step, plan)| (step.key(), plan.draft.as_ref())).collect();
        let changing = || {
            let drafts = steps.iter().zip(plans).filter(|(_, p)| matches!(p.course, Course::Record | Course::Refuse));
            drafts.filter_map(|(step, plan)| Some((step.operation.place, plan.draft.as_ref()?)))
        };
        let named: Vec<_> = changing().flat_map(|(at, draft)| draft.references.iter().map(move |r| (at, r))).collect();
        faults.extend(references::faults(conn, &self.tenant, &named, &present).await?);

        let mut standing = StandingParts::new();
        for nested in &NESTED {
            let own = || changing().map(|(_, draft)| draft).filter(|draft| draft.kind == nested.owner);
            let owners: Vec<&str> = own().map(|d| d.sourced_id.as_str()).filter(|id| is_sourced_id(id)).collect();
            if !owners.is_empty() {
                let named = own().flat_map(parts::profiles_named).filter(|id| nested.id.is_some() && is_sourced_id(id));
                let named: BTreeSet<&str> = named.collect();
                let named: Vec<&str> = named.into_iter().collect();
                standing.insert(nested.kind, standing::parts(conn, &self.tenant, nested, &owners, &named).await?);
            }
        }
        let faulty: HashSet<usize> =
            faults.iter().filter(|f| f.field.starts_with("roles")).map(|f| f.operation).collect();
        let owners = parts::owners(&standing, changing().map(|(_, draft)| draft));
        for (place, draft) in changing().filter(|(_, draft)| draft.kind.nested().next().is_some()) {
            let found = parts::faults(draft, &owners, faulty.contains(&place));
            faults.extend(found.into_iter().map(|found| DocumentFault { operation: place, ..found }));
        }

        for (step, plan) in steps.iter().zip(plans) {
            let claimed = plan.draft.as_ref().and_then(|draft| draft.children.as_ref());
            if claimed
                .is_some_and(|claimed| *claimed != plan.children && *claimed != plan.children_after(step, steps, plans))
            {
                faults.push(fault(step.operation.place, CHILDREN, Code::DerivedMember, ""));
            }
        }
        Ok(standing)
    }
}

impl Step {
    /// Takes the document out of its envelope and settles whose it is.
    fn of(mut operation: Operation) -> Option<Self> {
        let entity = operation.kind.entity();
        let enveloped = operation
            .document
            .value
            .as_object()
            .is_some_and(|members| members.len() == 1 && members.get(entity.name).is_some_and(Value::is_object));
        if enveloped && let Some(inside) = operation.document.take(entity.name) {
            operation.document = inside;
        }
        let said = operation.document.value.get("sourcedId").and_then(Value::as_str);
        let sourced_id = match operation.sourced_id.take().or_else(|| said.map(str::to_owned)) {
            Some(id) => id,
            // A record under another's id cannot be given one.
            None if operation.action == Action::Create && entity.identified_by.is_none() => Uuid::now_v7().to_string(),
            None => return None,
        };
        Some(Self { operation, sourced_id })
    }

    fn key(&self) -> (EntityType, &str) {
        (self.operation.kind, &self.sourced_id)
    }

    /// Adds the events that the plan leads to.
    fn decide(
        &self,
        unit: &mut UnitOfWork<'_>,
        standing: Option<&Standing>,
        plan: &Plan,
        parts: &StandingParts,
    ) -> Result<Outcome, CommandError> {
        with_record!(self.operation.kind, R => self.decide_record::<R>(unit, standing, plan, parts))
    }

    fn decide_record<R: Record>(
        &self,
        unit: &mut UnitOfWork<'_>,
        standing: Option<&Standing>,
        plan: &Plan,
        parts: &StandingParts,
    ) -> Result<Outcome, CommandError> {
        let (command, draft) = match (plan.course, &plan.draft) {
            (Course::Leave | Course::Refuse, _) => return Ok(Outcome::Unchanged),
            (Course::Record, Some(draft)) => {
                let record = serde_json::from_value::<R>(draft.record.clone());
                (Command::Record(record.map_err(|e| CommandError::Internal(e.to_string()))?), Some(draft))
            }
            // What is nested in it stays as it is: it shows on, and comes back with its owner.
            _ => (Command::Withdraw, None),
        };
        let last = standing.map(|s| standing::last::<R>(&s.last)).transpose()?;
        let event = unit.decide(&self.sourced_id, standing.map_or(0, |s| s.sequence), last, command)?;
        let parts_changed = draft.map_or(Ok(false), |draft| parts::decide(unit, draft, parts))?;
        Ok(match (event, standing) {
            (Some(_), None) => Outcome::Created,
            (Some("Withdrawn"), _) => Outcome::Withdrawn,
            (Some("Restored"), _) => Outcome::Restored,
            (None, _) if !parts_changed => Outcome::Unchanged,
            _ => Outcome::Changed,
        })
    }
}

impl Plan {
    /// Those that the record's document will show once all steps are done.
    fn children_after(&self, step: &Step, steps: &[Step], plans: &[Plan]) -> BTreeSet<String> {
        let mut children = self.children.clone();
        for (other, plan) in steps.iter().zip(plans).filter(|(other, _)| other.operation.kind == step.operation.kind) {
            children.remove(&other.sourced_id);
            let draft = plan.draft.as_ref().filter(|draft| !draft.withdrawn);
            if draft.is_some_and(|draft| draft.parent() == Some(&step.sourced_id)) {
                children.insert(other.sourced_id.clone());
            }
        }
        children
    }
}

fn fault(operation: usize, field: &str, code: Code, value: &str) -> DocumentFault {
    let value = Fault::new(code, "", value, false).value;
    DocumentFault { operation, field: field.to_owned(), code, value }
}

fn to_json(records: &[WrittenRecord]) -> Result<String, CommandError> {
    serde_json::to_string(records).map_err(|e| CommandError::Internal(e.to_string()))
}
