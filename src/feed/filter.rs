//! Which changes a reader is told of.

use super::{Change, Kind};
use crate::roster::EntityType;

/// All conditions hold. Two equal filters pass the same changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Record types, each once, in the order of [`EntityType::ALL`].
    types: Vec<EntityType>,
    /// Likewise, in the order of [`Kind::ALL`].
    kinds: Vec<Kind>,
    school: Option<String>,
    sourced_id: Option<String>,
    /// The user, and what is or ever was of this user: roles, profiles, demographics, enrollments.
    person: Option<String>,
    actor: Option<String>,
    /// As causes name clients: one of these. Empty: anyone.
    clients: Vec<String>,
}

/// Record types that name their school or org themselves, and the member that does.
pub(super) const PLACES: [(EntityType, &str); 4] = [
    (EntityType::Course, "org"),
    (EntityType::Class, "school"),
    (EntityType::Role, "org"),
    (EntityType::Enrollment, "school"),
];

impl Filter {
    /// `types`: empty, all of them. `demographics`: whether the reader may see them; without, they are left out as if
    /// they had been filtered.
    pub fn new(types: &[EntityType], school: Option<String>, sourced_id: Option<String>, demographics: bool) -> Self {
        let asked = |kind: &EntityType| types.is_empty() || types.contains(kind);
        let allowed = |kind: &EntityType| demographics || *kind != EntityType::Demographics;
        let types = EntityType::ALL.into_iter().filter(|kind| asked(kind) && allowed(kind)).collect();
        Self {
            types,
            kinds: Kind::ALL.map(|(kind, ..)| kind).to_vec(),
            school,
            sourced_id,
            person: None,
            actor: None,
            clients: Vec::new(),
        }
    }

    /// The same of changes of these kinds only; empty, all of them.
    pub fn of_kinds(mut self, kinds: &[Kind]) -> Self {
        self.kinds.retain(|kind| kinds.is_empty() || kinds.contains(kind));
        self
    }

    /// The same of changes of one person's records only.
    pub fn of_person(mut self, sourced_id: Option<String>) -> Self {
        self.person = sourced_id;
        self
    }

    /// The same of changes made on behalf of the actor, and by one of the clients; empty, by any.
    pub fn made_by(mut self, actor: Option<String>, clients: Vec<String>) -> Self {
        (self.actor, self.clients) = (actor, clients);
        self
    }

    /// Every change passes.
    pub fn everything() -> Self {
        Self::new(&[], None, None, true)
    }

    pub fn is_everything(&self) -> bool {
        self.types.len() == EntityType::ALL.len()
            && self.kinds.len() == Kind::ALL.len()
            && self.school.is_none()
            && self.sourced_id.is_none()
            && self.person.is_none()
            && self.actor.is_none()
            && self.clients.is_empty()
    }

    /// The events that pass are of few records, and found by their keys.
    pub fn names_records(&self) -> bool {
        self.sourced_id.is_some() || self.person.is_some()
    }

    /// Nothing that there is or will be passes.
    pub fn passes_nothing(&self) -> bool {
        self.types.is_empty() || self.kinds.is_empty()
    }

    pub fn types(&self) -> &[EntityType] {
        &self.types
    }

    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub fn school(&self) -> Option<&str> {
        self.school.as_deref()
    }

    pub fn sourced_id(&self) -> Option<&str> {
        self.sourced_id.as_deref()
    }

    pub fn person(&self) -> Option<&str> {
        self.person.as_deref()
    }

    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    pub fn clients(&self) -> &[String] {
        &self.clients
    }

    /// The same as the condition in [`read`](super::read), for changes at hand. With a school, they must have been
    /// read with [`Detail::Full`](super::Detail); with a person, with the records before.
    pub fn passes(&self, change: &Change) -> bool {
        self.types.contains(&change.entity)
            && self.kinds.contains(&change.kind)
            && self.sourced_id.as_ref().is_none_or(|id| *id == change.sourced_id)
            && self.school.as_ref().is_none_or(|school| {
                change.entity == EntityType::AcademicSession || change.schools.iter().any(|org| org == school)
            })
            && self.person.as_ref().is_none_or(|id| change.is_about(id))
            && self.actor.as_ref().is_none_or(|actor| change.cause.actor.as_ref() == Some(actor))
            && (self.clients.is_empty() || change.cause.client.as_ref().is_some_and(|id| self.clients.contains(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Kind as FieldKind;

    #[test]
    fn demographics_are_left_out_without_the_right() {
        assert!(Filter::everything().is_everything());
        let without = Filter::new(&[], None, None, false);
        assert!(!without.is_everything() && !without.types().contains(&EntityType::Demographics));
        assert!(Filter::new(&[EntityType::Demographics], None, None, false).types().is_empty());
    }

    #[test]
    fn places_are_members_that_refer_to_an_org() {
        for (kind, member) in PLACES {
            let field = kind.entity().fields.iter().find(|field| field.json == member).unwrap();
            assert!(matches!(field.kind, FieldKind::GuidRef));
            assert_eq!(field.reference.unwrap().target, EntityType::Org);
        }
    }
}
