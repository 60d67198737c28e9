//! An operation as the client sent it, with its variables: which fields it selects on an object of a type.

use std::cell::Cell;
use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType,
    Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Value, Variables};
use async_graphql_value::Value as AstValue;

use super::error::{Code, Refusal};

/// One operation of a document. It may not have been validated yet: what is malformed is passed over here, and found
/// by the validation that follows.
pub struct Operation<'a> {
    pub definition: &'a OperationDefinition,
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    variables: &'a Variables,
    /// Selections looked at so far, fragments counted as often as they are spread.
    seen: Cell<usize>,
    limits: Limits,
}

/// Bounds of a document. Counted before anything is executed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields inside fields.
    pub depth: usize,
    /// Selections in all, with fragments spread.
    pub selections: usize,
    /// Fields of `Query` or `Mutation`.
    pub roots: usize,
    /// Directives in all.
    pub directives: usize,
}

/// The fields of an object under one key of the answer: their selections are merged.
pub struct Selected<'a> {
    pub key: &'a str,
    pub name: &'a str,
    pub fields: Vec<&'a Field>,
    /// Of the first of them.
    pub pos: Pos,
}

impl<'a> Operation<'a> {
    /// The operation of this name, or the only one.
    pub fn find(
        document: &'a ExecutableDocument,
        name: Option<&str>,
        variables: &'a Variables,
        limits: Limits,
    ) -> Result<Self, Refusal> {
        let invalid = |message: &str| Refusal::new(Code::ValidationFailed, message);
        let definition = match (&document.operations, name) {
            (DocumentOperations::Single(operation), None) => &operation.node,
            (DocumentOperations::Multiple(operations), Some(name)) => {
                &operations.get(name).ok_or_else(|| invalid("The document has no operation of this name."))?.node
            }
            (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
                let only = operations.values().next();
                &only.ok_or_else(|| invalid("The document has no operation."))?.node
            }
            (DocumentOperations::Multiple(_), None) => {
                return Err(invalid("The document has several operations; operationName says which to run."));
            }
            (DocumentOperations::Single(_), Some(_)) => {
                return Err(invalid("The document has no operation of this name."));
            }
        };
        for defined in &definition.variable_definitions {
            let (name, of) = (&defined.node.name.node, &defined.node.var_type.node);
            let value = variables.get(name).or(defined.node.default_value.as_ref().map(|value| &value.node));
            if !of.nullable && value.is_none_or(|value| *value == Value::Null) {
                return Err(invalid(&format!("The variable ${name} of type {of} has no value.")));
            }
        }
        Ok(Self { definition, fragments: &document.fragments, variables, seen: Cell::new(0), limits })
    }

    pub fn is_mutation(&self) -> bool {
        self.definition.ty == OperationType::Mutation
    }

    /// The fields of `Query`, `Mutation` or `Subscription`.
    pub fn roots(&self) -> Result<Vec<Selected<'a>>, Refusal> {
        let object = match self.definition.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let roots = self.select(object, &[&self.definition.selection_set.node], 1)?;
        match roots.len() > self.limits.roots {
            true => Err(Refusal::limit(format!("An operation has at most {} fields at its root.", self.limits.roots))),
            false => Ok(roots),
        }
    }

    /// What is selected on an object of this type. `depth`: of its fields, from 1.
    pub fn select(&self, object: &str, sets: &[&'a SelectionSet], depth: usize) -> Result<Vec<Selected<'a>>, Refusal> {
        if depth > self.limits.depth {
            return Err(Refusal::limit(format!("An operation is at most {} fields deep.", self.limits.depth)));
        }
        let mut selected = Vec::new();
        for set in sets {
            self.collect(object, set, &mut selected, 0)?;
        }
        Ok(selected)
    }

    fn collect(
        &self,
        object: &str,
        set: &'a SelectionSet,
        selected: &mut Vec<Selected<'a>>,
        spreads: usize,
    ) -> Result<(), Refusal> {
        for selection in &set.items {
            self.seen.set(self.seen.get() + 1);
            if self.seen.get() > self.limits.selections || spreads > self.limits.depth {
                let most = self.limits.selections;
                return Err(Refusal::limit(format!("An operation has at most {most} selections, fragments spread.")));
            }
            if self.is_left_out(selection.node.directives()) {
                continue;
            }
            let (condition, inner) = match &selection.node {
                Selection::Field(field) => {
                    let (key, name) = (field.node.response_key().node.as_str(), field.node.name.node.as_str());
                    match selected.iter_mut().find(|s| s.key == key) {
                        Some(same) if is_same(same.field(), &field.node) => same.fields.push(&field.node),
                        // Under one parent that is an error. `nodes` and `edges` show the same records and are read at
                        // once, so it is one there, too.
                        Some(_) => {
                            let message = format!("{key} is asked for in two ways at one place; give one an alias.");
                            return Err(Refusal::new(Code::ValidationFailed, message));
                        }
                        None => selected.push(Selected { key, name, fields: vec![&field.node], pos: field.pos }),
                    }
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => match self.fragments.get(&spread.node.fragment_name.node) {
                    Some(fragment) => (Some(&fragment.node.type_condition), &fragment.node.selection_set.node),
                    None => continue,
                },
            };
            let on = condition.map(|condition| condition.node.on.node.as_str());
            if on.is_none_or(|on| on == object || on == "Node") {
                self.collect(object, inner, selected, spreads + 1)?;
            }
        }
        Ok(())
    }

    /// By `@skip` or `@include`.
    fn is_left_out(&self, directives: &[Positioned<Directive>]) -> bool {
        let condition = |name: &str| {
            let directive = directives.iter().find(|directive| directive.node.name.node == name)?;
            let value = directive.node.get_argument("if")?.node.clone();
            Some(value.into_const_with(|name| self.variable(&name)) == Ok(Value::Boolean(true)))
        };
        condition("skip") == Some(true) || condition("include") == Some(false)
    }

    /// An argument, with variables put in; null when it is absent.
    pub fn argument(&self, field: &Field, name: &str) -> Value {
        let Some(value) = field.get_argument(name) else { return Value::Null };
        value.node.clone().into_const_with(|name| self.variable(&name)).unwrap_or_default()
    }

    /// An argument as JSON, with variables put in. Unlike in [`argument`](Self::argument), members of objects are left
    /// out where their variables are: a patch tells absent from null.
    pub fn input(&self, field: &Field, name: &str) -> serde_json::Value {
        field.get_argument(name).and_then(|value| self.json(&value.node)).unwrap_or_default()
    }

    fn json(&self, value: &AstValue) -> Option<serde_json::Value> {
        Some(match value {
            AstValue::Variable(name) => {
                let definition = || self.definition.variable_definitions.iter().find(|d| d.node.name.node == *name);
                let default = || definition()?.node.default_value.as_ref().map(|default| &default.node);
                let value = self.variables.get(name).or_else(default)?;
                value.clone().into_json().unwrap_or_default()
            }
            AstValue::List(items) => items.iter().map(|item| self.json(item).unwrap_or_default()).collect(),
            AstValue::Object(members) => {
                let members = members.iter().filter_map(|(name, value)| Some((name.to_string(), self.json(value)?)));
                serde_json::Value::Object(members.collect())
            }
            other => other.clone().into_const()?.into_json().unwrap_or_default(),
        })
    }

    fn variable(&self, name: &str) -> Result<Value, std::convert::Infallible> {
        let definition = || self.definition.variable_definitions.iter().find(|d| d.node.name.node == name);
        let default = || definition()?.node.default_value().cloned();
        Ok(self.variables.get(name).cloned().or_else(default).unwrap_or_default())
    }
}

/// Whether two fields mean the same, whatever they select.
fn is_same(one: &Field, other: &Field) -> bool {
    let arguments = |field: &Field| {
        field.arguments.iter().map(|(n, v)| (n.node.clone(), v.node.clone())).collect::<HashMap<_, _>>()
    };
    one.name.node == other.name.node && arguments(one) == arguments(other)
}

impl<'a> Selected<'a> {
    /// The selection sets of all its fields.
    pub fn sets(&self) -> Vec<&'a SelectionSet> {
        self.fields.iter().map(|field| &field.selection_set.node).collect()
    }

    /// Fields under one key have the same arguments, or the document is refused.
    pub fn field(&self) -> &'a Field {
        self.fields[0]
    }
}
