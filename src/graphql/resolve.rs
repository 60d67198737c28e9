//! Fields' values, from what was loaded.

use async_graphql::Value;
use async_graphql::dynamic::{FieldFuture, FieldValue, ResolverContext};

use super::id;
use super::load::{Connection, Item, Loaded, ids, parts};
use super::members::Members;
use super::model::{Content, Field, Ids, object_name};
use super::page::Info;
use super::planner::forbidden;
use crate::auth::{Client, Scope};
use crate::query::etag::record_version;

/// Of the projections: the versions of records rest on it. Data of the schema.
pub struct Fingerprint(pub String);

/// The value of a field of an object.
pub fn field<'a>(field: &'static Field, ctx: ResolverContext<'a>) -> FieldFuture<'a> {
    let Some(item) = ctx.parent_value.downcast_ref::<Item>() else { return FieldFuture::Value(None) };
    match &field.content {
        Content::GlobalId => {
            let id = item.kind.map(|kind| Value::String(id::write(kind, &item.sourced_id)));
            FieldFuture::from_value(id)
        }
        Content::Version => {
            let (Ok(Fingerprint(fingerprint)), Ok(client)) = (ctx.data::<Fingerprint>(), ctx.data::<Client>()) else {
                return FieldFuture::Value(None);
            };
            let version = |kind| record_version(fingerprint, &client.tenant, kind, &item.sourced_id, item.since);
            FieldFuture::from_value(item.kind.map(|kind| Value::String(version(kind))))
        }
        Content::Value { member, form, .. } => {
            let json = item.members.json(member, *form);
            FieldFuture::from_value(json.and_then(|json| serde_json::from_str::<Value>(&json).ok()))
        }
        Content::Parts { .. } => {
            let inner = loaded(&ctx, item);
            let items =
                parts(field, &item.members).into_iter().map(|members| FieldValue::owned_any(part(members, inner)));
            FieldFuture::Value(Some(FieldValue::list(items)))
        }
        Content::Extensions { .. } => {
            let members = item.members.object("metadata");
            FieldFuture::Value(Some(FieldValue::owned_any(part(members, loaded(&ctx, item)))))
        }
        Content::Link(link) => {
            if let Some(refused) = refused(&ctx, link.scopes) {
                return refused;
            }
            let Some(Loaded::Records(records)) = loaded(&ctx, item) else { return FieldFuture::Value(None) };
            let mut found = ids(link, &item.sourced_id, &item.members).into_iter().filter_map(|id| records.get(&id));
            let value = |item: &'a Item| FieldValue::borrowed_any(item);
            FieldFuture::Value(match link.ids {
                Ids::Many(_) => Some(FieldValue::list(found.map(value))),
                _ => found.next().map(value),
            })
        }
        Content::Connection(relation) => {
            if let Some(refused) = refused(&ctx, relation.scopes) {
                return refused;
            }
            let Some(Loaded::Connections(connections)) = loaded(&ctx, item) else { return FieldFuture::Value(None) };
            FieldFuture::Value(connections.get(&item.sourced_id).map(|c| FieldValue::borrowed_any(c)))
        }
    }
}

/// What was loaded for the field that is being resolved.
fn loaded<'a>(ctx: &ResolverContext<'a>, item: &'a Item) -> Option<&'a Loaded> {
    item.level.get(key(ctx))
}

/// The key of the field in the answer.
pub fn key<'a>(ctx: &ResolverContext<'a>) -> &'a str {
    ctx.ctx.item.node.response_key().node.as_str()
}

fn refused<'a>(ctx: &ResolverContext<'a>, scopes: &'static [Scope]) -> Option<FieldFuture<'a>> {
    let allowed = scopes.is_empty() || ctx.data::<Client>().is_ok_and(|client| client.may_any(scopes));
    (!allowed).then(|| {
        forbidden(scopes).report(ctx.ctx);
        FieldFuture::Value(None)
    })
}

fn part(members: Members, loaded: Option<&Loaded>) -> Item {
    let level = match loaded {
        Some(Loaded::Inner(level)) => level.clone(),
        _ => Default::default(),
    };
    Item { kind: None, sourced_id: String::new(), since: 0, cursor: None, members, level }
}

/// The value of a field of a connection.
pub fn connection<'a>(name: &'static str, ctx: ResolverContext<'a>) -> FieldFuture<'a> {
    if let Some(info) = ctx.parent_value.downcast_ref::<Info>() {
        return FieldFuture::from_value(match name {
            "hasNextPage" => Some(info.has_next.into()),
            "hasPreviousPage" => Some(info.has_previous.into()),
            "startCursor" => info.start.clone().map(Value::from),
            _ => info.end.clone().map(Value::from),
        });
    }
    let Some(connection) = ctx.parent_value.downcast_ref::<Connection>() else { return FieldFuture::Value(None) };
    let items = || connection.items.iter().map(|item| FieldValue::borrowed_any(item));
    FieldFuture::Value(match name {
        "edges" | "nodes" => Some(FieldValue::list(items())),
        "pageInfo" => Some(FieldValue::borrowed_any(connection)),
        "totalCount" => connection.total.map(FieldValue::value),
        "hasNextPage" => Some(FieldValue::value(connection.has_next)),
        "hasPreviousPage" => Some(FieldValue::value(connection.has_previous)),
        "startCursor" => connection.items.first().and_then(cursor),
        "endCursor" => connection.items.last().and_then(cursor),
        _ => None,
    })
}

/// The value of a field of an edge; an edge is its node, with a cursor.
pub fn edge<'a>(name: &'static str, ctx: ResolverContext<'a>) -> FieldFuture<'a> {
    let Some(item) = ctx.parent_value.downcast_ref::<Item>() else { return FieldFuture::Value(None) };
    FieldFuture::Value(if name == "node" { Some(FieldValue::borrowed_any(item)) } else { cursor(item) })
}

fn cursor(item: &Item) -> Option<FieldValue<'_>> {
    item.cursor.as_ref().map(|cursor| FieldValue::value(cursor.as_str()))
}

/// A record where any may stand.
pub fn as_node(item: &Item) -> Option<FieldValue<'_>> {
    Some(FieldValue::borrowed_any(item).with_type(object_name(item.kind?)))
}
