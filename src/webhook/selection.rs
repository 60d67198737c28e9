//! Which event types an endpoint gets: patterns, and what its client may see.

use std::collections::HashSet;

use crate::auth::{Scope, Scopes};
use crate::feed::{self, Change};
use crate::notice;
use crate::roster::EntityType;

/// No event type has this name or pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event type is called {0:?}; examples are user.changed, enrollment.*, *.deleted, import.applied and *")]
pub struct BadPattern(String);

/// Event types by what they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    changes: HashSet<(EntityType, feed::Kind)>,
    notices: HashSet<notice::Kind>,
}

fn name(entity: EntityType, kind: feed::Kind) -> String {
    format!("{}.{}", entity.name(), kind.word())
}

/// Changes of all types and kinds.
fn changes() -> impl Iterator<Item = (EntityType, feed::Kind)> {
    EntityType::ALL.into_iter().flat_map(|entity| feed::Kind::ALL.map(|(kind, ..)| (entity, kind)))
}

/// A pattern is a name, or has `*` for one of its two parts; `*` alone is everything.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.split_once('.'), name.split_once('.')) {
        (None, _) => pattern == "*",
        (Some((whose, what)), Some((of, kind))) => (whose == "*" || whose == of) && (what == "*" || what == kind),
        _ => false,
    }
}

/// The scope that a client needs to be told of a change.
pub fn scope_of_change(entity: EntityType) -> Scope {
    if entity == EntityType::Demographics { Scope::Demographics } else { Scope::Roster }
}

impl Selection {
    /// The event types that the patterns name.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        let mut selection = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let of_changes: Vec<_> =
                changes().filter(|(entity, kind)| matches(pattern, &name(*entity, *kind))).collect();
            let of_notices: Vec<_> =
                notice::Kind::ALL.into_iter().filter(|kind| matches(pattern, kind.name())).collect();
            if of_changes.is_empty() && of_notices.is_empty() {
                return Err(BadPattern(pattern.to_owned()));
            }
            selection.changes.extend(of_changes);
            selection.notices.extend(of_notices);
        }
        Ok(selection)
    }

    fn len(&self) -> usize {
        self.changes.len() + self.notices.len()
    }

    /// What is left for a client with these scopes.
    pub fn seen_with(mut self, scopes: Scopes) -> Self {
        self.changes.retain(|(entity, _)| scopes.has_any(&[scope_of_change(*entity)]));
        self.notices.retain(|kind| scopes.has_any(&[kind.scope()]));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has_change(&self, change: &Change) -> bool {
        self.changes.contains(&(change.entity, change.kind))
    }

    pub fn has_notice(&self, kind: notice::Kind) -> bool {
        self.notices.contains(&kind)
    }

    /// What to read of the log.
    pub fn filter(&self) -> feed::Filter {
        let types: Vec<EntityType> =
            EntityType::ALL.into_iter().filter(|entity| self.changes.iter().any(|(of, _)| of == entity)).collect();
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

    #[test]
    fn patterns_name_event_types() {
        let of = |patterns: &[&str]| Selection::parse(patterns).unwrap();
        assert_eq!(of(&["user.changed"]).len(), 1);
        assert_eq!(of(&["user.*"]).changes.len(), feed::Kind::ALL.len());
        assert_eq!(of(&["*.deleted"]).changes.len(), EntityType::ALL.len());
        assert_eq!(of(&["import.*", "import.held"]).notices.len(), 5);
        assert_eq!(of(&["*"]).len(), changes().count() + notice::Kind::ALL.len());
        for bad in ["users.changed", "user.moved", "user", "", "user.changed.x", "*.x"] {
            assert_eq!(Selection::parse(&[bad]), Err(BadPattern(bad.into())));
        }
    }

    #[test]
    fn scopes_narrow_what_is_told() {
        let all = Selection::parse(&["*"]).unwrap();
        let roster: Scopes = [Scope::Roster].into_iter().collect();
        let seen = all.clone().seen_with(roster);
        assert!(seen.notices.is_empty() && !seen.filter().types().contains(&EntityType::Demographics));
        assert_eq!(all.clone().seen_with(Scopes::all()), all);
        assert!(all.seen_with(Scopes::default()).is_empty());
    }
}
