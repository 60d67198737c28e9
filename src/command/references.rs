//! Whether the records that documents name are there, and of the type wanted.
//!
//! Asked without a lock: a record never vanishes, and one that is to be deleted can still be referred to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::PgConnection;

use super::document::{DocumentFault, Draft, Named};
use super::standing::tags;
use crate::log::Tenant;
use crate::roster::vocabulary::is_extension;
use crate::roster::{Code, EntityType};

/// The records of a unit of work: what they will be when it is done. Those without a draft keep their `type`.
pub type Present<'a> = HashMap<(EntityType, &'a str), Option<&'a Draft>>;

/// The references that cannot stand, by the place of the operation they are in. One statement for each target type.
pub async fn faults(
    conn: &mut PgConnection,
    tenant: &Tenant,
    named: &[(usize, &Named)],
    present: &Present<'_>,
) -> Result<Vec<DocumentFault>, sqlx::Error> {
    let mut asked: BTreeMap<EntityType, BTreeSet<&str>> = BTreeMap::new();
    for (_, reference) in named {
        let drafted = present.get(&(reference.target, reference.sourced_id.as_str()));
        if !matches!(drafted, Some(Some(_))) {
            asked.entry(reference.target).or_default().insert(&reference.sourced_id);
        }
    }
    let mut known = HashMap::new();
    for (target, ids) in asked {
        let with_tag = named.iter().any(|(_, reference)| reference.target == target && reference.tag.is_some());
        let ids: Vec<&str> = ids.into_iter().collect();
        known.insert(target, tags(conn, tenant, target, &ids, with_tag).await?);
    }
    let fault = |operation: usize, reference: &Named, code| {
        // An id is no personal data by the standard, and without it the error could not be mended.
        let (field, value) = (reference.field.clone(), reference.sourced_id.clone());
        DocumentFault { operation, field, code, value }
    };
    Ok(named
        .iter()
        .filter_map(|(operation, reference)| {
            let drafted = present.get(&(reference.target, reference.sourced_id.as_str()));
            let standing = known.get(&reference.target).and_then(|known| known.get(&reference.sourced_id));
            let tag = match (drafted, standing) {
                (Some(Some(draft)), _) => draft.tag.as_deref(),
                (_, Some(tag)) => tag.as_deref(),
                // Refused itself: one fault is not told as two.
                (Some(None), None) => return None,
                (None, None) => return Some(fault(*operation, reference, Code::DanglingReference)),
            };
            let wrong = reference.tag.is_some_and(|wanted| tag.is_some_and(|tag| tag != wanted && !is_extension(tag)));
            wrong.then(|| fault(*operation, reference, Code::ReferenceType))
        })
        .collect())
}
