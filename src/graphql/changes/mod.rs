//! Changes, differences and histories as fields of `Query`. They are read from the log and not planned with the rest:
//! nothing in them leads to other records.

mod read;

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use async_graphql::{Name, Value};

use super::error::Refusal;
use super::page::Info;
use super::schema::at_least;
use crate::feed::diff::Difference;
use crate::feed::tail::Told;
use crate::feed::{Change, Kind};
use crate::roster::EntityType;
pub use read::{Reader, cost};
use read::{changes, diff, history};

/// Enums.
pub const RECORD_TYPE: &str = "RecordType";
const CHANGE_KIND: &str = "ChangeKind";

/// A page of something that has a cursor.
struct Listed<T> {
    items: Vec<(String, T)>,
    info: Info,
}

/// A value of an object's field, out of what the object is made of.
type Get<T> = for<'a> fn(&'a T) -> Option<FieldValue<'a>>;
/// Fields of an object: name, type, value, description.
type Fields<T> = [(&'static str, TypeRef, Get<T>, &'static str)];

fn object<T: Send + Sync + 'static>(name: &str, doc: &str, fields: &Fields<T>) -> Object {
    fields.iter().fold(Object::new(name).description(doc), |object, (name, of, get, doc)| {
        let get = *get;
        let field = Field::new(*name, of.clone(), move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<T>().and_then(get))
        });
        object.field(field.description(*doc))
    })
}

fn value<'a>(value: impl Into<Value>) -> Option<FieldValue<'a>> {
    Some(FieldValue::value(value))
}

fn optional<'a>(value: Option<impl Into<Value>>) -> Option<FieldValue<'a>> {
    value.map(FieldValue::value)
}

fn token<'a>(name: &str) -> Option<FieldValue<'a>> {
    value(Value::Enum(Name::new(name)))
}

fn json<'a>(text: Option<&str>) -> Option<FieldValue<'a>> {
    text.and_then(|text| serde_json::from_str::<Value>(text).ok()).map(FieldValue::value)
}

/// A position; shown as a number.
pub const POSITION: &str = "Position";

/// Adds the types.
pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let nn = |name: &str| TypeRef::named_nn(name);
    let n = |name: &str| TypeRef::named(name);
    let types = EntityType::ALL.map(|kind| EnumItem::new(kind.name()).description(kind.entity().doc.trim()));
    let kinds = Kind::ALL.map(|(_, name, doc)| EnumItem::new(name).description(doc));
    let change: &Fields<Told> = &[
        ("position", nn(POSITION), |told| value(told.change.position), "Its place in the log."),
        (
            "previousPosition",
            nn(POSITION),
            |told| value(told.previous.unwrap_or_default()),
            "The place of the change before it in the same filter, or of the record's change before it in a history; 0 when it is the first. Who has that one has missed none.",
        ),
        (
            "unit",
            nn(POSITION),
            |told| value(told.change.unit),
            "First position of the unit of work that it belongs to.",
        ),
        (
            "recordedAt",
            nn("DateTime"),
            |told| value(told.change.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            "When it was recorded.",
        ),
        ("recordType", nn(RECORD_TYPE), |told| token(told.change.entity.name()), "What was changed."),
        ("sourcedId", nn(TypeRef::ID), |told| value(told.change.sourced_id.as_str()), "Of the record."),
        (
            "user",
            n(TypeRef::ID),
            |told| optional(told.change.user.as_deref()),
            "The user whose role, profile, enrollment or demographics it is.",
        ),
        ("kind", nn(CHANGE_KIND), |told| token(told.change.kind.name()), "What became of it."),
        (
            "changed",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |told| value(told.change.changed.clone()),
            "Members that changed; none when it was created or deleted.",
        ),
        (
            "before",
            n("JSON"),
            |told| json(told.change.before.as_ref().map(|record| record.get())),
            "The record as it was, as the log holds it: without sourcedId, status and time.",
        ),
        ("after", n("JSON"), |told| json(Some(told.change.after.get())), "The record as it is since then."),
        ("cause", nn("Cause"), |told| Some(FieldValue::borrowed_any(&*told.change)), "Who or what led to it."),
    ];
    let cause: &Fields<Change> = &[
        (
            "client",
            n(TypeRef::STRING),
            |change| optional(change.cause.client.as_deref()),
            "The client, as the log has it: its id for a write, its name for an import.",
        ),
        ("import", n(TypeRef::ID), |change| optional(change.cause.import.as_deref()), "The import job."),
        (
            "reverts",
            n(TypeRef::ID),
            |change| optional(change.cause.reverts.as_deref()),
            "The import that the job takes back.",
        ),
        (
            "mapping",
            n(TypeRef::STRING),
            |change| optional(change.cause.mapping.as_deref()),
            "The edition of the binding by which the set was read.",
        ),
        (
            "approvedBy",
            n(TypeRef::STRING),
            |change| optional(change.cause.approver.as_deref()),
            "Who approved the import. Needs the scope `audit`.",
        ),
        (
            "absent",
            nn(TypeRef::BOOLEAN),
            |change| value(change.cause.absent),
            "A bulk file did not name the record any more.",
        ),
        (
            "actor",
            n(TypeRef::STRING),
            |change| optional(change.cause.actor.as_deref()),
            "On whose behalf the client wrote. Needs the scope `audit`.",
        ),
        (
            "file",
            n(TypeRef::STRING),
            |change| optional(change.cause.file.as_deref()),
            "The file of the set. Needs the scope `audit`.",
        ),
        (
            "line",
            n(TypeRef::INT),
            |change| optional(change.cause.line),
            "The line of the file. Needs the scope `audit`.",
        ),
    ];
    let difference: &Fields<Difference> = &[
        ("recordType", nn(RECORD_TYPE), |d| token(d.entity.name()), "What differs."),
        ("sourcedId", nn(TypeRef::ID), |d| value(d.sourced_id.as_str()), "Of the record."),
        ("kind", nn(CHANGE_KIND), |d| token(d.kind.name()), "What became of it, all in all."),
        (
            "changed",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |d| value(d.changed.clone()),
            "Members that differ; none when it was not there before.",
        ),
        ("before", n("JSON"), |d| json(d.before.as_deref()), "The document at `from`; none when it was not there."),
        ("after", n("JSON"), |d| json(d.after.as_deref()), "The document at `to`."),
    ];
    let schema = schema
        .register(Enum::new(RECORD_TYPE).description("Types of records, as references name them.").items(types))
        .register(Enum::new(CHANGE_KIND).description("What became of a record.").items(kinds))
        .register(object("Change", "A change of a record: one event of the log.", change))
        .register(object("Cause", "Who or what led to a change.", cause))
        .register(object("Difference", "A record that differs between two positions.", difference));
    let schema = connection::<Told>(schema, "Change");
    connection::<Difference>(schema, "Difference")
}

fn connection<T: Send + Sync + 'static>(schema: SchemaBuilder, name: &str) -> SchemaBuilder {
    let edge = format!("{name}Edge");
    let page: &Fields<Listed<T>> = &[
        (
            "edges",
            TypeRef::named_nn_list_nn(&edge),
            |page| Some(FieldValue::list(page.items.iter().map(|item| FieldValue::borrowed_any(item)))),
            "What is on it, with cursors.",
        ),
        (
            "nodes",
            TypeRef::named_nn_list_nn(name),
            |page| Some(FieldValue::list(page.items.iter().map(|item| FieldValue::borrowed_any(&item.1)))),
            "What is on it.",
        ),
        (
            "pageInfo",
            TypeRef::named_nn("PageInfo"),
            |page| Some(FieldValue::borrowed_any(&page.info)),
            "What lies beyond the page. A page may be short, or empty, and yet have a next one.",
        ),
    ];
    let edges: &Fields<(String, T)> = &[
        ("cursor", TypeRef::named_nn(TypeRef::STRING), |item| value(item.0.as_str()), "The place; for `after`."),
        ("node", TypeRef::named_nn(name), |item| Some(FieldValue::borrowed_any(&item.1)), "What is there."),
    ];
    schema.register(object(&format!("{name}Connection"), "A page.", page)).register(object(
        &edge,
        "An entry at its place in a list.",
        edges,
    ))
}

/// The arguments that make a filter.
pub fn filtered(arguments: &mut Vec<InputValue>) {
    arguments.extend([
        InputValue::new("types", TypeRef::named_nn_list(RECORD_TYPE)).description("Record types; all without it."),
        InputValue::new("school", TypeRef::named(TypeRef::ID)).description(
            "Records of this school, or other org, as they were just before or just after the change. Academic sessions are every school's.",
        ),
        InputValue::new("sourcedId", TypeRef::named(TypeRef::ID)).description("Records of this sourcedId."),
    ]);
}

/// Adds the fields to `Query`.
pub fn fields(query: Object) -> Object {
    let argument = |name: &str, of: TypeRef, doc: &'static str| InputValue::new(name.to_owned(), of).description(doc);
    let id = || TypeRef::named(TypeRef::ID);
    let pages = || {
        [
            argument("first", TypeRef::named(TypeRef::INT), "Entries on the page; 50 without it."),
            argument("after", TypeRef::named(TypeRef::STRING), "The cursor to go on from."),
            at_least(),
        ]
    };
    let with = |field: Field, arguments: Vec<InputValue>| {
        arguments.into_iter().chain(pages()).fold(field, |field, argument| field.argument(argument))
    };
    let mut of_changes = vec![
        argument("since", TypeRef::named("AsOf"), "Changes after this; from the first one without it."),
        argument("until", TypeRef::named("AsOf"), "Changes up to this; up to the last one without it."),
    ];
    filtered(&mut of_changes);
    let changes = Field::new("changes", TypeRef::named("ChangeConnection"), |ctx| {
        FieldFuture::new(async move { Ok(shown(&ctx, changes(&ctx).await)) })
    })
    .description("What happened, in the order of the log.");
    let history = Field::new("history", TypeRef::named("ChangeConnection"), |ctx| {
        FieldFuture::new(async move { Ok(shown(&ctx, history(&ctx).await)) })
    })
    .description("What happened to one record, from its creation on.");
    let diff = Field::new("diff", TypeRef::named("DifferenceConnection"), |ctx| FieldFuture::new(async move { Ok(shown(&ctx, diff(&ctx).await)) })).description(
        "Records that differ between two positions, by type and sourcedId. At most one of school, class, user and sourcedId is given; without, the whole roster is compared.",
    );
    query
        .field(with(changes, of_changes))
        .field(with(
            history,
            vec![
                argument("recordType", TypeRef::named_nn(RECORD_TYPE), "Of the record."),
                argument("sourcedId", TypeRef::named_nn(TypeRef::ID), "Of the record."),
            ],
        ))
        .field(with(
            diff,
            vec![
                argument("from", TypeRef::named_nn("AsOf"), "As the roster stood there."),
                argument("to", TypeRef::named_nn("AsOf"), "And there, which is not earlier."),
                argument("types", TypeRef::named_nn_list(RECORD_TYPE), "Record types with documents of their own."),
                argument("school", id(), "Records of this school at one of both positions."),
                argument("class", id(), "The class, its enrollments, and who has one."),
                argument("user", id(), "The user, with demographics and enrollments."),
                argument("sourcedId", id(), "Records of this sourcedId."),
            ],
        ))
}

/// A field's value, or null with an error.
fn shown<'a, T: Send + Sync + 'static>(ctx: &ResolverContext<'a>, found: Result<T, Refusal>) -> Option<FieldValue<'a>> {
    match found {
        Ok(found) => Some(FieldValue::owned_any(found)),
        Err(refusal) => refusal.null(ctx),
    }
}
