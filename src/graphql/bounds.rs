//! Bounds of a parsed document, held before it is validated: what it comes to when its fragments are spread, found
//! without spreading them. A fragment is measured once, however often it is spread, so that the time is linear.

use std::collections::HashMap;

use async_graphql::Positioned;
use async_graphql::parser::types::{Directive, ExecutableDocument, Selection, SelectionSet};

use super::document::Limits;
use super::error::{Code, Refusal};

/// Selection sets inside each other, fragments included. The executor goes as deep and no deeper.
pub const LEVELS: usize = 32;

/// Values that introspection may come to, as estimated. The query that tools send comes to a quarter.
const INTROSPECTED: usize = 1_000_000;

/// How many values the lists of introspection have, about.
const LISTS: [(&str, usize); 7] = [
    ("types", 200),
    ("fields", 8),
    ("args", 3),
    ("inputFields", 8),
    ("enumValues", 8),
    ("possibleTypes", 16),
    ("directives", 5),
];

/// What a selection set comes to with its fragments spread. Numbers saturate.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    selections: usize,
    /// Fields inside fields.
    fields: usize,
    /// Selection sets inside selection sets.
    levels: usize,
    /// Values, if it were of introspection.
    values: usize,
}

struct Measure<'a> {
    document: &'a ExecutableDocument,
    limits: Limits,
    /// By name; `None` while it is being measured.
    fragments: HashMap<&'a str, Option<Extent>>,
    directives: usize,
}

/// Refuses a document that comes to more than the bounds, or whose fragments spread themselves.
pub fn check(document: &ExecutableDocument, limits: Limits) -> Result<(), Refusal> {
    let mut measure = Measure { document, limits, fragments: HashMap::new(), directives: 0 };
    let mut selections = 0usize;
    for (_, operation) in document.operations.iter() {
        measure.directives(&operation.node.directives)?;
        for variable in &operation.node.variable_definitions {
            measure.directives(&variable.node.directives)?;
        }
        selections = selections.saturating_add(measure.set(&operation.node.selection_set.node, 1)?.selections);
        if selections > limits.selections {
            return Err(too_many_selections(limits));
        }
    }
    // Those that nothing spreads are validated all the same.
    for name in document.fragments.keys() {
        measure.fragment(name, 1)?;
    }
    Ok(())
}

pub fn too_many_selections(limits: Limits) -> Refusal {
    Refusal::limit(format!("A document has at most {} selections, fragments spread.", limits.selections))
}

impl<'a> Measure<'a> {
    /// `level`: of the set, from 1.
    fn set(&mut self, set: &'a SelectionSet, level: usize) -> Result<Extent, Refusal> {
        let mut sum = Extent::default();
        for selection in &set.items {
            let (inner, times) = match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    self.directives(&field.directives)?;
                    let mut inner = match field.selection_set.node.items.is_empty() {
                        true => Extent::default(),
                        false => self.deeper(&field.selection_set.node, level)?,
                    };
                    inner.fields += 1;
                    let name = field.name.node.as_str();
                    if ["__schema", "__type"].contains(&name) && inner.values > INTROSPECTED {
                        return Err(Refusal::limit("The operation asks for too much of the schema at once."));
                    }
                    (inner, LISTS.iter().find(|list| list.0 == name).map_or(1, |list| list.1))
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.node.directives)?;
                    (self.deeper(&fragment.node.selection_set.node, level)?, 1)
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.node.directives)?;
                    (self.fragment(spread.node.fragment_name.node.as_str(), level)?, 1)
                }
            };
            sum.selections = sum.selections.saturating_add(inner.selections).saturating_add(1);
            sum.fields = sum.fields.max(inner.fields);
            sum.levels = sum.levels.max(inner.levels);
            sum.values = sum.values.saturating_add(inner.values.saturating_add(1).saturating_mul(times));
        }
        sum.levels += 1;
        match () {
            () if sum.selections > self.limits.selections => Err(too_many_selections(self.limits)),
            () if sum.fields > self.limits.depth => {
                Err(Refusal::limit(format!("An operation is at most {} fields deep.", self.limits.depth)))
            }
            () if sum.levels > LEVELS => Err(too_deep()),
            () => Ok(sum),
        }
    }

    fn deeper(&mut self, set: &'a SelectionSet, level: usize) -> Result<Extent, Refusal> {
        if level >= LEVELS { Err(too_deep()) } else { self.set(set, level + 1) }
    }

    /// A fragment that is not there is found by the validation.
    fn fragment(&mut self, name: &str, level: usize) -> Result<Extent, Refusal> {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Extent::default());
        };
        match self.fragments.get(name.as_str()) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => {
                let message = format!("The fragment {name} spreads itself.");
                return Err(Refusal::new(Code::ValidationFailed, message));
            }
            None => {}
        }
        self.fragments.insert(name, None);
        self.directives(&fragment.node.directives)?;
        let extent = self.deeper(&fragment.node.selection_set.node, level)?;
        self.fragments.insert(name, Some(extent));
        Ok(extent)
    }

    fn directives(&mut self, directives: &[Positioned<Directive>]) -> Result<(), Refusal> {
        self.directives += directives.len();
        match self.directives > self.limits.directives {
            true => Err(Refusal::limit(format!("A document has at most {} directives.", self.limits.directives))),
            false => Ok(()),
        }
    }
}

fn too_deep() -> Refusal {
    Refusal::limit(format!("A document has at most {LEVELS} selection sets inside each other, fragments included."))
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn check_text(text: &str) -> Result<(), Code> {
        let limits = Limits { depth: 20, selections: 3_000, roots: 20, directives: 20 };
        check(&parse_query(text).unwrap(), limits).map_err(|refusal| refusal.code)
    }

    #[test]
    fn fragments_are_measured_once() {
        let bomb: String = (0..30).map(|n| format!("fragment F{n} on A {{ ...F{0} ...F{0} }}", n + 1)).collect();
        assert_eq!(check_text(&format!("{{ ...F0 }} {bomb} fragment F30 on A {{ a }}")), Err(Code::LimitExceeded));
        let chain: String = (0..3_000).map(|n| format!("fragment F{n} on A {{ ...F{} }}", n + 1)).collect();
        assert_eq!(check_text(&format!("{{ a }} {chain} fragment F3000 on A {{ a }}")), Err(Code::LimitExceeded));
        assert_eq!(
            check_text("{ ...A } fragment A on Q { a { ...B } } fragment B on Q { ...A }"),
            Err(Code::ValidationFailed)
        );
        assert_eq!(check_text("{ a } fragment A on Q { ...A }"), Err(Code::ValidationFailed));
        assert_eq!(check_text("{ ...A ...A a { ...A } ...Missing } fragment A on Q { a { b } }"), Ok(()));
    }

    #[test]
    fn introspection_is_bounded_by_what_it_comes_to() {
        let twice = "{ __schema { types { fields { type { fields { name } } } } } }";
        assert_eq!(check_text(twice), Ok(()));
        let more =
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }";
        assert_eq!(check_text(more), Err(Code::LimitExceeded));
        assert_eq!(
            check_text(&"query { a @skip(if: true) }".replace("@skip(if: true)", &"@a".repeat(21))),
            Err(Code::LimitExceeded)
        );
    }
}
