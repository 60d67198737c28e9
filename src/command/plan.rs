//! What is to become of each record of a request: decided one by one, then checked together.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::document::{DocumentFault, Draft};
use super::json::merge;
use super::parts::{self, StandingParts};
use super::references::{self, Present};
use super::standing::{self, Standing};
use super::write::{Action, Operation, Outcome};
use super::{Command, CommandError, Commands, UnitOfWork};
use crate::query::etag::record_etag;
use crate::roster::nested::{CHILDREN, NESTED};
use crate::roster::{Code, Fault, Record, is_sourced_id, with_record};

/// An operation whose record is known.
pub(super) struct Step {
    pub operation: Operation,
    pub sourced_id: String,
}

/// What is to become of a step's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Leave,
    Withdraw,
    Record,
    /// For reasons that are among the faults.
    Refuse,
}

pub(super) struct Plan {
    fate: Fate,
    /// What its document says.
    draft: Option<Draft>,
    /// Those that its document shows before.
    children: BTreeSet<String>,
}

impl Commands {
    /// What is to become of one record, by itself.
    pub(super) fn plan(&self, step: &Step, standing: Option<&Standing>, faults: &mut Vec<DocumentFault>) -> Plan {
        let Operation { place, kind, action, conditions, document, .. } = &step.operation;
        let (place, kind, id) = (*place, *kind, step.sourced_id.as_str());
        let fingerprint = self.log.projections().fingerprint();
        let tag = standing.map(|s| record_etag(fingerprint, &self.tenant, kind, id, s.since));
        let withdrawn = standing.is_some_and(|s| s.withdrawn);
        let bare = |fate| Plan { fate, draft: None, children: BTreeSet::new() };
        let refusal = match (action, standing) {
            (Action::Create, Some(_)) if !withdrawn => Some(Code::AlreadyExists),
            (Action::Patch | Action::Delete, None) => Some(Code::UnknownRecord),
            _ if !conditions.hold(tag.as_deref()) => Some(Code::PreconditionFailed),
            _ => None,
        };
        if let Some(code) = refusal {
            faults.push(fault(place, "sourcedId", code, id));
            return bare(Fate::Refuse);
        }
        if *action == Action::Delete {
            return bare(if withdrawn { Fate::Leave } else { Fate::Withdraw });
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
        let (before, unread) = shown.map_or((None, Vec::new()), |shown| Draft::read(kind, id, &shown, &[]));
        let agrees = before.as_ref().zip(draft.as_ref()).is_some_and(|(before, draft)| before.agrees_with(draft));
        let agrees = agrees && unread.is_empty();
        let withdraws = draft.as_ref().is_some_and(|draft| draft.withdrawn);
        let fate = if !found.is_empty() {
            faults.extend(found.into_iter().map(|found| DocumentFault { operation: place, ..found }));
            Fate::Refuse
        } else if withdraws && !agrees {
            faults.push(fault(place, "status", Code::WithdrawnAndChanged, "tobedeleted"));
            Fate::Refuse
        } else if agrees && withdraws == withdrawn {
            Fate::Leave
        } else if withdraws {
            Fate::Withdraw
        } else {
            Fate::Record
        };
        Plan { fate, draft, children: before.and_then(|b| b.children).unwrap_or_default() }
    }

    /// Checks what lies between records, of this request and of the roster; gives the standing records nested in
    /// those that change.
    pub(super) async fn check(
        &self,
        conn: &mut PgConnection,
        steps: &[Step],
        plans: &[Plan],
        faults: &mut Vec<DocumentFault>,
    ) -> Result<StandingParts, sqlx::Error> {
        let present = steps.iter().zip(plans).map(|(step, plan)| {
            let draft = plan.draft.as_ref().filter(|_| plan.fate != Fate::Refuse);
            ((step.operation.kind, step.sourced_id.as_str()), draft)
        });
        let present: Present = present.collect();
        let changing = || {
            let drafts = steps.iter().zip(plans).filter(|(_, p)| matches!(p.fate, Fate::Record | Fate::Refuse));
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
    pub fn of(mut operation: Operation) -> Option<Self> {
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

    /// Adds the events that the plan leads to.
    pub fn decide(
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
        let (command, draft) = match (plan.fate, &plan.draft) {
            (Fate::Leave | Fate::Refuse, _) => return Ok(Outcome::Unchanged),
            (Fate::Record, Some(draft)) => (Command::Record(standing::record::<R>(&draft.record)?), Some(draft)),
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

pub(super) fn fault(operation: usize, field: &str, code: Code, value: &str) -> DocumentFault {
    let value = Fault::new(code, "", value, false).value;
    DocumentFault { operation, field: field.to_owned(), code, value }
}
