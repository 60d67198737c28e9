//! Pages of what imports and webhooks have: connections over lists that are read by themselves.

use std::sync::Arc;

use async_graphql::Value;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use async_graphql::parser::types::SelectionSet;

use super::document::{Operation, Selected};
use super::error::Refusal;
use super::load::{Connection, Item};

/// A page of `T`s with their cursors.
pub struct Listed<T> {
    items: Vec<(String, T)>,
    total: Option<i64>,
    /// Only what `PageInfo` shows of it.
    page: Connection,
}

pub fn connection<T: Send + Sync + 'static>(schema: SchemaBuilder, name: &str) -> SchemaBuilder {
    let edge = format!("{name}Edge");
    let part = |part: &'static str, of: TypeRef, doc: &str| {
        Field::new(part, of, move |ctx| {
            let Some(listed) = ctx.parent_value.downcast_ref::<Listed<T>>() else { return FieldFuture::Value(None) };
            FieldFuture::Value(match part {
                "edges" => Some(FieldValue::list(listed.items.iter().map(|item| FieldValue::borrowed_any(item)))),
                "nodes" => Some(FieldValue::list(listed.items.iter().map(|item| FieldValue::borrowed_any(&item.1)))),
                "pageInfo" => Some(FieldValue::borrowed_any(&listed.page)),
                _ => listed.total.map(FieldValue::value),
            })
        })
        .description(doc)
    };
    let own = |part: &'static str, of: TypeRef, doc: &str| {
        Field::new(part, of, move |ctx| {
            let item = ctx.parent_value.downcast_ref::<(String, T)>();
            FieldFuture::Value(item.map(|(cursor, node)| match part {
                "cursor" => FieldValue::value(cursor.as_str()),
                _ => FieldValue::borrowed_any(node),
            }))
        })
        .description(doc)
    };
    schema
        .register(
            Object::new(format!("{name}Connection"))
                .description("A page.")
                .field(part("edges", TypeRef::named_nn_list_nn(&edge), "What is on it, with cursors."))
                .field(part("nodes", TypeRef::named_nn_list_nn(name), "What is on it."))
                .field(part("pageInfo", TypeRef::named_nn("PageInfo"), "What lies beyond it."))
                .field(part("totalCount", TypeRef::named(TypeRef::INT), "In all, where it is known.")),
        )
        .register(
            Object::new(edge)
                .description("An entry at its place in a list.")
                .field(own("cursor", TypeRef::named_nn(TypeRef::STRING), "The place; for `after`."))
                .field(own("node", TypeRef::named_nn(name), "What is there.")),
        )
}

/// What is asked of the nodes of a connection, wherever they are shown: selection sets, each with its depth.
pub fn nodes<'a>(
    operation: &'a Operation<'a>,
    name: &str,
    connection: &Selected<'a>,
    depth: usize,
) -> Result<Vec<(Vec<&'a SelectionSet>, usize)>, Refusal> {
    let mut shown = Vec::new();
    for field in operation.select(&format!("{name}Connection"), &connection.sets(), depth + 1)? {
        match field.name {
            "nodes" => shown.push((field.sets(), depth + 2)),
            "edges" => {
                let fields = operation.select(&format!("{name}Edge"), &field.sets(), depth + 2)?;
                let nodes = fields.iter().filter(|field| field.name == "node");
                shown.extend(nodes.map(|field| (field.sets(), depth + 3)));
            }
            _ => {}
        }
    }
    Ok(shown)
}

pub fn page_arguments(field: Field, default: i64, most: i64) -> Field {
    let first = InputValue::new("first", TypeRef::named(TypeRef::INT));
    let after = InputValue::new("after", TypeRef::named(TypeRef::STRING));
    field
        .argument(first.description(format!("Entries on the page; {default} without it, {most} at most.")))
        .argument(after.description("The cursor to go on from."))
}

pub fn argument(ctx: &ResolverContext<'_>, name: &str) -> Value {
    ctx.args.get(name).map(|value| value.as_value().clone()).unwrap_or_default()
}

pub fn first(value: Value, default: i64, most: i64) -> Result<i64, Refusal> {
    match value {
        Value::Null => Ok(default),
        Value::Number(n) if n.as_i64().is_some_and(|n| n > most) => {
            Err(Refusal::limit(format!("first is at most {most}.")))
        }
        Value::Number(n) => {
            n.as_i64().filter(|n| *n >= 0).ok_or_else(|| Refusal::input("first is a whole number from 0 on."))
        }
        _ => Err(Refusal::input("first is a whole number from 0 on.")),
    }
}

pub fn after<T: std::str::FromStr>(ctx: &ResolverContext<'_>) -> Result<Option<T>, Refusal> {
    match argument(ctx, "after") {
        Value::Null => Ok(None),
        Value::String(text) => {
            text.parse().map(Some).map_err(|_| Refusal::input("after is not a cursor of this list."))
        }
        _ => Err(Refusal::input("after is a cursor.")),
    }
}

impl<T> Listed<T> {
    /// `items`: one more than asked for, if there are more.
    pub fn new(mut items: Vec<(String, T)>, first: i64, has_previous: bool, total: Option<i64>) -> Self {
        let has_next = items.len() as i64 > first;
        items.truncate(first.try_into().unwrap_or_default());
        let edge = |(cursor, _): &(String, T)| Item {
            kind: None,
            sourced_id: String::new(),
            since: 0,
            cursor: Some(cursor.clone()),
            members: Default::default(),
            level: Arc::default(),
        };
        let ends = [items.first(), items.last()].into_iter().flatten().map(edge).collect();
        Self { page: Connection { items: ends, has_previous, has_next, total }, items, total }
    }
}
