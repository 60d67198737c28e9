//! Which event types an endpoint gets: those that its patterns name, as far as its client may see them.

use std::collections::BTreeSet;

use super::catalogue::{self, EventType, Of, Pattern};
use crate::auth::Scopes;
use crate::feed::{self, Change};
use crate::notice;
use crate::roster::EntityType;

/// No event type has this name or pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1}")]
pub struct BadPattern(String, catalogue::BadPattern);

/// Event types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Vec<Of>);

impl Selection {
    /// The event types that the patterns name.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        let mut names = BTreeSet::new();
        for text in patterns.iter().map(AsRef::as_ref) {
            let pattern: Pattern = text.parse().map_err(|bad| BadPattern(text.to_owned(), bad))?;
            names.extend(pattern.types().map(|event| event.name.as_str()));
        }
        let chosen = |event: &&EventType| names.contains(event.name.as_str());
        Ok(Self(catalogue::all().iter().filter(chosen).map(|event| event.of).collect()))
    }

    /// What is left for a client with these scopes.
    pub fn seen_with(mut self, scopes: Scopes) -> Self {
        self.0.retain(|of| scopes.has_any(catalogue::scopes(*of)));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has_change(&self, change: &Change) -> bool {
        self.0.contains(&Of::Record(change.entity, change.kind))
    }

    pub fn has_notice(&self, kind: notice::Kind) -> bool {
        self.0.contains(&Of::Hub(kind))
    }

    /// What to read of the log.
    pub fn filter(&self) -> feed::Filter {
        let wanted = |entity: &EntityType| self.0.iter().any(|of| matches!(of, Of::Record(kind, _) if kind == entity));
        let types: Vec<EntityType> = EntityType::ALL.into_iter().filter(wanted).collect();
        match types.is_empty() {
            // No types would mean all of them; demographics without the right to them are none.
            true => feed::Filter::new(&[EntityType::Demographics], None, None, false),
            false => feed::Filter::new(&types, None, None, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    #[test]
    fn patterns_add_up() {
        let of = |patterns: &[&str]| Selection::parse(patterns).unwrap().0.len();
        assert_eq!(of(&["user.changed", "user.*", "user.deleted"]), feed::Kind::ALL.len());
        assert_eq!(of(&["*"]), catalogue::all().len());
        assert!(
            Selection::parse(&["user.*", "users.changed"]).unwrap_err().to_string().starts_with("\"users.changed\"")
        );
    }

    #[test]
    fn scopes_narrow_what_is_told() {
        let all = Selection::parse(&["*"]).unwrap();
        let roster: Scopes = [Scope::Roster].into_iter().collect();
        let seen = all.clone().seen_with(roster);
        assert!(!seen.has_notice(notice::Kind::ImportApplied));
        assert!(!seen.filter().types().contains(&EntityType::Demographics));
        assert_eq!(all.clone().seen_with(Scopes::all()), all);
        let none = all.seen_with(Scopes::default());
        assert!(none.is_empty() && none.filter().types().is_empty());
    }
}
