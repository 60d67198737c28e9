//! A user is written together with its roles and profiles, which are records of their own: which standing record a
//! nested one means, what becomes of each, and the rules between them.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use super::document::{DocumentFault, Draft, Part};
use super::entry::Event;
use super::standing::{StandingPart, last, record, unreadable};
use super::{Command, CommandError, UnitOfWork};
use crate::roster::nested::Nested;
use crate::roster::rules::user_and_roles;
use crate::roster::{Code, EntityType, Record, Role, User, with_record};

/// Standing records nested in those of a unit of work, by their type.
pub type StandingParts = HashMap<EntityType, Vec<StandingPart>>;

/// Whose a profile is or will be, by its id.
pub type Owners<'a> = HashMap<&'a str, &'a str>;

/// Owners of the profiles that stand, and of those that the drafts bring.
pub fn owners<'a>(standing: &'a StandingParts, drafts: impl Iterator<Item = &'a Draft>) -> Owners<'a> {
    let standing = standing.get(&EntityType::UserProfile).into_iter().flatten();
    let mut owners: Owners = standing.map(|part| (part.sourced_id.as_str(), part.owner.as_str())).collect();
    for draft in drafts {
        for id in draft.parts.iter().filter_map(|part| part.sourced_id.as_deref()) {
            owners.entry(id).or_insert(&draft.sourced_id);
        }
    }
    owners
}

/// Ids of profiles that a draft brings or that its roles name.
pub fn profiles_named(draft: &Draft) -> impl Iterator<Item = &str> {
    draft.parts.iter().flat_map(|part| part.sourced_id.as_deref().into_iter().chain(profile_of(part)))
}

fn profile_of(role: &Part) -> Option<&str> {
    role.record.get("userProfile")?.as_str().filter(|_| role.kind == EntityType::Role)
}

/// What is wrong between a user, its roles and its profiles. `faulty`: some of its roles could not be read, which is
/// not held against the user.
pub fn faults(draft: &Draft, owners: &Owners, faulty: bool) -> Vec<DocumentFault> {
    let mut faults = Vec::new();
    let mut fault = |field: String, code, value: &str| {
        faults.push(DocumentFault { operation: 0, field, code, value: value.to_owned() });
    };
    let mut seen = HashSet::new();
    for part in &draft.parts {
        if let Some((id, member)) = part.sourced_id.as_deref().zip(part.kind.nesting().and_then(|n| n.id)) {
            let field = format!("{}.{member}", part.place);
            if !seen.insert(id) {
                fault(field, Code::DuplicateSourcedId, id);
            } else if owners.get(id).is_some_and(|owner| *owner != draft.sourced_id) {
                fault(field, Code::ForeignProfile, id);
            }
        }
        if let Some(id) = profile_of(part) {
            let field = format!("{}.userProfile", part.place);
            match owners.get(id) {
                None => fault(field, Code::DanglingReference, id),
                Some(owner) if *owner != draft.sourced_id => fault(field, Code::ForeignProfile, id),
                Some(_) => {}
            }
        }
    }
    let roles: Vec<(&Part, Role)> = draft
        .parts
        .iter()
        .filter(|part| part.kind == EntityType::Role)
        .filter_map(|part| Some((part, record(&part.record).ok()?)))
        .collect();
    if let (Ok(user), false) = (record::<User>(&draft.record), faulty) {
        for (at, found) in user_and_roles(&user, &roles.iter().map(|(_, role)| role).collect::<Vec<_>>()) {
            let place = at.and_then(|i| roles.get(i)).map(|(part, _)| format!("{}.{}", part.place, found.column));
            let own = if found.code == Code::UserWithoutRole { "roles" } else { "primaryOrg.sourcedId" };
            fault(place.unwrap_or_else(|| own.to_owned()), found.code, &found.value);
        }
    }
    faults
}

/// Decides what becomes of the records nested in the draft's; tells whether anything changes.
pub fn decide(unit: &mut UnitOfWork<'_>, draft: &Draft, standing: &StandingParts) -> Result<bool, CommandError> {
    let mut changed = false;
    for nested in draft.kind.nested() {
        let all = standing.get(&nested.kind).map_or(&[][..], Vec::as_slice);
        changed |= with_record!(nested.kind, P => decide_all::<P>(unit, nested, draft, all))?;
    }
    Ok(changed)
}

/// A standing record with its last event.
struct Candidate<'a, P> {
    standing: &'a StandingPart,
    last: Event<P>,
    taken: bool,
}

fn decide_all<P: Record>(
    unit: &mut UnitOfWork<'_>,
    nested: &Nested,
    draft: &Draft,
    standing: &[StandingPart],
) -> Result<bool, CommandError> {
    let own = standing.iter().filter(|part| part.owner == draft.sourced_id);
    let mut candidates = own
        .map(|standing| Ok(Candidate { standing, last: last::<P>(&standing.last)?, taken: false }))
        .collect::<Result<Vec<_>, CommandError>>()?;
    let parts: Vec<&Part> = draft.parts.iter().filter(|part| part.kind == nested.kind).collect();
    let chosen = choose(nested, &parts, &mut candidates).map_err(|e| unreadable("a record", &e))?;
    let mut changed = false;
    for (part, chosen) in parts.into_iter().zip(chosen) {
        let mut record: P = record(&part.record)?;
        let event = match chosen.map(|i| &candidates[i]) {
            Some(Candidate { standing, last, .. }) => {
                // JSON does not show a nested record's metadata, so a write leaves it as it stands.
                record.metadata_mut().clone_from(&metadata(last));
                unit.decide(&standing.sourced_id, standing.sequence, Some(last.clone()), Command::Record(record))?
            }
            None => {
                let id = part.sourced_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
                unit.decide(&id, 0, None, Command::Record(record))?
            }
        };
        changed |= event.is_some();
    }
    for Candidate { standing, last, .. } in candidates.into_iter().filter(|c| !c.taken) {
        changed |= unit.decide(&standing.sourced_id, standing.sequence, Some(last), Command::<P>::Withdraw)?.is_some();
    }
    Ok(changed)
}

/// For each part the standing record that it means, if any: by its id, or else the one most alike, those that are
/// active first. The loosest likeness is not enough to bring a withdrawn one back.
fn choose<P: Record>(
    nested: &Nested,
    parts: &[&Part],
    candidates: &mut [Candidate<'_, P>],
) -> Result<Vec<Option<usize>>, serde_json::Error> {
    let standing: Vec<Value> =
        candidates.iter().map(|c| serde_json::to_value(c.last.record())).collect::<Result<_, _>>()?;
    let ids: Vec<&StandingPart> = candidates.iter().map(|c| c.standing).collect();
    let mut chosen = vec![None; parts.len()];
    let mut pass =
        |withdrawn: Option<bool>, of_part: &dyn Fn(&Part) -> String, of_candidate: &dyn Fn(usize) -> String| {
            let mut free: HashMap<String, VecDeque<usize>> = HashMap::new();
            for (i, candidate) in candidates.iter().enumerate().filter(|(_, c)| !c.taken) {
                if withdrawn.is_none_or(|withdrawn| candidate.standing.withdrawn == withdrawn) {
                    free.entry(of_candidate(i)).or_default().push_back(i);
                }
            }
            for (part, chosen) in parts.iter().zip(&mut chosen).filter(|(_, chosen)| chosen.is_none()) {
                *chosen = free.get_mut(&of_part(part)).and_then(VecDeque::pop_front);
                chosen.iter().for_each(|i| candidates[*i].taken = true);
            }
        };
    if nested.id.is_some() {
        pass(None, &|part| part.sourced_id.clone().unwrap_or_default(), &|i| ids[i].sourced_id.clone());
    }
    let strict = nested.alike.len().saturating_sub(1);
    for (withdrawn, likenesses) in [(false, nested.alike), (true, &nested.alike[..strict])] {
        for fields in likenesses {
            let key = |record: &Value| fields.iter().map(|f| format!("{:?}\n", record.get(f))).collect::<String>();
            pass(Some(withdrawn), &|part| key(&part.record), &|i| key(&standing[i]));
        }
    }
    Ok(chosen)
}

fn metadata<P: Record>(last: &Event<P>) -> crate::roster::record::Metadata {
    std::mem::take(last.record().clone().metadata_mut())
}
