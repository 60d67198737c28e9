//! The schema: types and fields follow from the model.

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputValue, Interface, InterfaceField, Object, ResolverContext,
    Scalar, Schema, SchemaBuilder, SchemaError, TypeRef,
};

use super::changes;
use super::execution::Execution;
use super::imports;
use super::inputs;
use super::load::LoadedRoot;
use super::model::{self, Content, Form, Ids, MODEL, nodes, object_name};
use super::mutation;
use super::page;
use super::resolve;
use super::roots::ROOTS;
use super::subscription;
use super::webhooks;
use crate::roster::EntityType;
use crate::roster::vocabulary::{ROLE_TYPE, STATUS, Vocabulary};

/// Scalars of ours, with what they hold.
const SCALARS: [(&str, &str); 5] = [
    ("Date", "A day, `YYYY-MM-DD`."),
    ("DateTime", "A time with its offset, as RFC 3339 has it; answers are in UTC."),
    ("Position", "A position of the tenant's log: 1, 2, 3, …, one for each event. Taken as a number or its digits."),
    ("AsOf", "A log position, or a time: the roster is read as it stood there."),
    ("JSON", "Any JSON value."),
];

/// The whole schema, without the data that resolvers need.
pub fn build() -> Result<Schema, SchemaError> {
    builder(true).finish()
}

/// `shown`: whether errors may suggest names of it.
pub fn builder(shown: bool) -> SchemaBuilder {
    let mut schema =
        Schema::build("Query", Some("Mutation"), Some("Subscription")).limit_recursive_depth(super::bounds::LEVELS);
    if !shown {
        schema = schema.disable_suggestions();
    }
    for (name, doc) in SCALARS {
        schema = schema.register(Scalar::new(name).description(doc));
    }
    let id =
        InterfaceField::new("id", TypeRef::named_nn(TypeRef::ID)).description("Names the record among all records.");
    schema = schema
        .register(Interface::new("Node").description("A record of the roster.").field(id))
        .register(vocabulary(model::STATUS, "A record that is to be deleted stays readable.", &STATUS))
        .register(vocabulary(model::ROLE_TYPE, "Each user has one primary role at an org.", &ROLE_TYPE))
        .register(page_info());
    for object in MODEL.objects() {
        let mut registered = Object::new(object.name).description(object.doc.trim());
        if object.kind.is_some() {
            registered = registered.implement("Node");
        }
        for field in &object.fields {
            registered = registered.field(self::field(field));
        }
        schema = schema.register(registered);
    }
    for kind in nodes() {
        schema = connection(schema, kind);
    }
    schema = mutation::register(inputs::register(schema));
    schema = subscription::register(changes::register(webhooks::register(imports::register(schema))));
    schema.register(changes::fields(webhooks::queries(imports::queries(query()))))
}

fn vocabulary(name: &str, doc: &str, vocabulary: &Vocabulary) -> Enum {
    let items = vocabulary.tokens.iter().map(|token| EnumItem::new(*token));
    Enum::new(name).description(doc).items(items)
}

fn field(field: &'static model::Field) -> Field {
    let named =
        |of: TypeRef| Field::new(field.name, of, move |ctx| resolve::field(field, ctx)).description(field.doc.trim());
    match &field.content {
        Content::GlobalId => named(TypeRef::named_nn(TypeRef::ID)),
        Content::Version => named(TypeRef::named_nn(TypeRef::STRING)),
        Content::Value { form, .. } => named(value_type(field, *form)),
        Content::Parts { object, .. } => named(TypeRef::named_nn_list_nn(*object)),
        Content::Extensions { object } => named(TypeRef::named_nn(*object)),
        Content::Link(link) => match link.ids {
            Ids::Many(_) => named(TypeRef::named_nn_list_nn(object_name(link.kind))),
            _ => named(TypeRef::named(object_name(link.kind))),
        },
        Content::Connection(relation) => {
            arguments(named(TypeRef::named(format!("{}Connection", object_name(relation.kind)))), relation.kind)
        }
    }
}

fn value_type(field: &model::Field, form: Form) -> TypeRef {
    let of = form.type_name();
    if form == Form::Texts {
        return TypeRef::named_nn_list(of);
    }
    if field.is_always_there() { TypeRef::named_nn(of) } else { TypeRef::named(of) }
}

/// The arguments of every connection.
fn arguments(field: Field, kind: EntityType) -> Field {
    let int = || TypeRef::named(TypeRef::INT);
    let string = || TypeRef::named(TypeRef::STRING);
    let default = page::DEFAULT;
    field
        .argument(InputValue::new("first", int()).description(format!(
            "Records from the start, or after `after`; {default} when neither `first` nor `last` is given."
        )))
        .argument(InputValue::new("after", string()).description("The cursor to go on from."))
        .argument(InputValue::new("last", int()).description("Records from the end, or before `before`."))
        .argument(InputValue::new("before", string()).description("The cursor to go back from."))
        .argument(InputValue::new("filter", TypeRef::named(inputs::filter_name(kind))).description("Which records."))
        .argument(
            InputValue::new("orderBy", TypeRef::named(inputs::order_name(kind)))
                .description("The order; without it, records are in the order of `sourcedId`."),
        )
}

/// When an operation reads: arguments of every field of `Query`.
fn snapshot(field: Field) -> Field {
    field
        .argument(InputValue::new("asOf", TypeRef::named("AsOf")).description(
            "The roster as it stood there. The same in all fields of an operation; without it, as it stands.",
        ))
        .argument(at_least())
}

/// Waits for a write. An argument of every field of `Query` that reads at a position.
pub fn at_least() -> InputValue {
    InputValue::new("atLeast", TypeRef::named("Position"))
        .description("Waits until the log has reached this position, so that a write can be read on any instance.")
}

fn connection(schema: SchemaBuilder, kind: EntityType) -> SchemaBuilder {
    let name = object_name(kind);
    let part = |field: &'static str, of: TypeRef, doc: &str| {
        Field::new(field, of, move |ctx| resolve::connection(field, ctx)).description(doc)
    };
    let of_edge = |field: &'static str, of: TypeRef, doc: &str| {
        Field::new(field, of, move |ctx| resolve::edge(field, ctx)).description(doc)
    };
    let edge = format!("{name}Edge");
    schema
        .register(
            Object::new(format!("{name}Connection"))
                .description("A page of records.")
                .field(part("edges", TypeRef::named_nn_list_nn(&edge), "The records with their cursors."))
                .field(part("nodes", TypeRef::named_nn_list_nn(name), "The records."))
                .field(part("pageInfo", TypeRef::named_nn("PageInfo"), "What lies beyond the page."))
                .field(part(
                    "totalCount",
                    TypeRef::named(TypeRef::INT),
                    "Records in all, whatever the page. Counted only when it is asked for.",
                )),
        )
        .register(
            Object::new(edge)
                .description("A record at its place in a list.")
                .field(of_edge("cursor", TypeRef::named_nn(TypeRef::STRING), "The place; for `after` and `before`."))
                .field(of_edge("node", TypeRef::named_nn(name), "The record.")),
        )
}

fn page_info() -> Object {
    let part = |field: &'static str, of: TypeRef, doc: &str| {
        Field::new(field, of, move |ctx| resolve::connection(field, ctx)).description(doc)
    };
    let boolean = || TypeRef::named_nn(TypeRef::BOOLEAN);
    let string = || TypeRef::named(TypeRef::STRING);
    Object::new("PageInfo")
        .description("What lies beyond a page.")
        .field(part("hasNextPage", boolean(), "Whether there are records after the page."))
        .field(part("hasPreviousPage", boolean(), "Whether there are records before the page."))
        .field(part("startCursor", string(), "The place of the first record; none on an empty page."))
        .field(part("endCursor", string(), "The place of the last record; none on an empty page."))
}

fn query() -> Object {
    let node = Field::new("node", TypeRef::named("Node"), |ctx| root(ctx, true))
        .description("The record of this id.")
        .argument(InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("As `Node.id` shows it."));
    let query =
        Object::new("Query").description("The roster. One operation reads at one log position.").field(snapshot(node));
    ROOTS.iter().fold(query, |query, found| {
        let (kind, is_single) = (found.endpoint.kind, found.endpoint.is_single);
        let of = match is_single {
            true => TypeRef::named(object_name(kind)),
            false => TypeRef::named(format!("{}Connection", object_name(kind))),
        };
        let field = Field::new(&found.name, of, |ctx| root(ctx, false)).description(found.endpoint.summary);
        let field = match is_single {
            true => field
                .argument(InputValue::new("sourcedId", TypeRef::named_nn(TypeRef::ID)).description("Of the record.")),
            false => arguments(field, kind),
        };
        query.field(snapshot(field))
    })
}

/// A field of `Query`. The first one that is resolved reads for all of them.
fn root(ctx: ResolverContext<'_>, is_node: bool) -> FieldFuture<'_> {
    FieldFuture::new(async move {
        let execution = ctx.data::<std::sync::Arc<Execution>>()?;
        Ok(match execution.root(resolve::key(&ctx)).await {
            Err(refusal) => {
                refusal.report(ctx.ctx);
                None
            }
            Ok(LoadedRoot::One(Some(item))) if is_node => resolve::as_node(item),
            Ok(LoadedRoot::One(item)) => item.as_ref().map(|item| FieldValue::borrowed_any(item)),
            Ok(LoadedRoot::Connection(connection)) => Some(FieldValue::borrowed_any(connection)),
        })
    })
}

/// The schema in its own language, as `schema.graphql` has it.
pub fn sdl(schema: &Schema) -> String {
    schema.sdl_with_options(async_graphql::SDLExportOptions::new().prefer_single_line_descriptions())
}
