//! Fields of `Query` that read the roster: each collection of the Rostering service and its single records.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::query::endpoint::{ENDPOINTS, Endpoint};
use crate::query::related::Related;

/// A field of `Query`.
pub struct Root {
    pub name: String,
    pub endpoint: &'static Endpoint,
}

/// By name. Collections are named as their paths, single records as the type (`classes`, `class`); where both are the
/// same word, the collection is called `all…`.
pub static ROOTS: LazyLock<Vec<Root>> = LazyLock::new(|| {
    let core = ENDPOINTS.iter().filter(|endpoint| endpoint.is_single || endpoint.parents.is_empty());
    core.map(|endpoint| {
        let operation = endpoint.operation_id.trim_start_matches("get");
        let name = match endpoint.is_single {
            true => lower_first(operation),
            false if ENDPOINTS.iter().any(|e| e.operation_id == format!("get{}", &operation[3..])) => {
                lower_first(operation)
            }
            false => endpoint.path.to_owned(),
        };
        Root { name, endpoint }
    })
    .collect()
});

impl Root {
    pub fn find(name: &str) -> Option<&'static Self> {
        ROOTS.iter().find(|root| root.name == name)
    }

    /// The rows of the collection, or the one of them whose sourcedId is `{1}`.
    pub fn related(&self) -> Related {
        let condition = match self.endpoint.is_single {
            true => Cow::Owned(format!("r.sourced_id = {{1}} and {}", self.endpoint.condition)),
            false => Cow::Borrowed(self.endpoint.condition),
        };
        Related { kind: self.endpoint.kind, condition, predicate: None, sort: None }
    }
}

fn lower_first(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_named_after_collections_and_records() {
        let names: Vec<_> = ROOTS.iter().map(|root| root.name.as_str()).collect();
        for name in [
            "classes",
            "class",
            "academicSessions",
            "academicSession",
            "students",
            "student",
            "allDemographics",
            "demographics",
            "gradingPeriod",
        ] {
            assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{name} in {names:?}");
        }
        assert_eq!(names.len(), 24);
    }
}
