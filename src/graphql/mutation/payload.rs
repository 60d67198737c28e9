//! What a write came to, as its field answers.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Value;
use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};

use super::faults::UserError;
use crate::command::write::{Outcome, WrittenRecord};
use crate::graphql::error::Refusal;
use crate::graphql::load::Item;
use crate::graphql::model::{nodes, object_name};
use crate::graphql::resolve;
use crate::roster::EntityType;

/// Of `batch`.
pub const BATCH: &str = "BatchPayload";
/// Of each of its operations, and the fields that lead there.
pub const RESULT: &str = "BatchResult";
pub const RESULTS: &str = "results";
pub const RECORD: &str = "record";

/// The type that all writes of a record type answer with.
pub fn name(kind: EntityType) -> String {
    format!("{}Payload", object_name(kind))
}

/// Records by type and sourcedId.
pub type Items = HashMap<(EntityType, String), Item>;

/// What a write came to. With errors, nothing has been done.
#[derive(Default)]
pub struct Payload {
    pub position: Option<i64>,
    /// In the order of the operations.
    pub written: Vec<WrittenRecord>,
    /// By the key of the field that shows them.
    pub records: HashMap<String, Result<Items, Refusal>>,
    pub errors: Vec<UserError>,
}

/// What one operation of a batch came to.
struct BatchResult {
    payload: Arc<Payload>,
    place: usize,
    /// Of the field `results`.
    key: String,
}

/// The key of a field that shows the records of a batch.
pub fn record_key(results: &str, record: &str) -> String {
    format!("{results}/{record}")
}

const OUTCOMES: [(Outcome, &str, &str); 5] = [
    (Outcome::Created, "CREATED", "There was no record of this id before."),
    (Outcome::Changed, "CHANGED", "It stands otherwise than before."),
    (Outcome::Restored, "RESTORED", "It came back from being to be deleted."),
    (Outcome::Withdrawn, "WITHDRAWN", "It is to be deleted."),
    (Outcome::Unchanged, "UNCHANGED", "It stood so already; there is no event."),
];

fn outcome(record: &WrittenRecord) -> Value {
    let (.., name, _) = OUTCOMES.iter().find(|o| o.0 == record.outcome).unwrap_or(&OUTCOMES[4]);
    Value::from(*name)
}

pub fn register(mut schema: SchemaBuilder) -> SchemaBuilder {
    let items = OUTCOMES.into_iter().map(|(_, name, doc)| EnumItem::new(name).description(doc));
    schema = schema.register(Enum::new("WriteOutcome").description("What happened to a record.").items(items));
    for kind in nodes() {
        let record = Field::new(kind.name(), TypeRef::named(object_name(kind)), own_record)
            .description("The record as it stood at `position`; null when nothing was written.");
        let outcome = Field::new("outcome", TypeRef::named("WriteOutcome"), |ctx| {
            of(&ctx, |payload| payload.written.first().map(outcome))
        });
        let doc = format!("What a write of {} came to.", article(kind));
        let object = Object::new(name(kind)).description(doc).field(record);
        schema =
            schema.register(common(object.field(outcome.description("What happened; null when nothing was written."))));
    }
    let results = Field::new(RESULTS, TypeRef::named_nn_list_nn(RESULT), results)
        .description("What happened to each record, in the order of the operations; empty when nothing was written.");
    let batch = Object::new(BATCH).description("What a batch came to.").field(results);
    schema.register(common(batch)).register(result())
}

fn article(kind: EntityType) -> String {
    let name = kind.name();
    format!("{} {name}", if name.starts_with(['a', 'e', 'o']) { "an" } else { "a" })
}

/// What all payloads have.
fn common(object: Object) -> Object {
    let position =
        Field::new("position", TypeRef::named("Position"), |ctx| of(&ctx, |payload| payload.position.map(Value::from)));
    object
        .field(position.description("Where in the log it is visible; null when nothing was written."))
        .field(user_errors())
}

/// What is wrong with the input, of any payload that has [`UserError`]s.
fn user_errors() -> Field {
    Field::new("userErrors", TypeRef::named_nn_list_nn("UserError"), |ctx| {
        let errors = payload(&ctx).map(|payload| payload.errors.iter().map(|item| FieldValue::borrowed_any(item)));
        FieldFuture::Value(errors.map(FieldValue::list))
    })
    .description("All that is wrong with the input; with any, nothing was written.")
}

fn result() -> Object {
    let own = |name, of, value: fn(&WrittenRecord) -> Value| {
        Field::new(name, of, move |ctx| {
            FieldFuture::Value(parent(&ctx).map(|(_, record)| FieldValue::value(value(record))))
        })
    };
    let id = own("sourcedId", TypeRef::named_nn(TypeRef::ID), |record| record.sourced_id.as_str().into());
    let outcome = own("outcome", TypeRef::named_nn("WriteOutcome"), outcome);
    let record = Field::new(RECORD, TypeRef::named("Node"), batch_record);
    Object::new(RESULT)
        .description("What one operation of a batch came to.")
        .field(id.description("Of the record."))
        .field(outcome.description("What happened."))
        .field(record.description("The record as it stood at the position of the batch."))
}

fn payload<'a>(ctx: &ResolverContext<'a>) -> Option<&'a Payload> {
    let parent = ctx.parent_value;
    parent.downcast_ref::<Arc<Payload>>().map(|payload| payload.as_ref())
}

fn of<'a>(ctx: &ResolverContext<'a>, value: impl Fn(&Payload) -> Option<Value>) -> FieldFuture<'a> {
    FieldFuture::Value(payload(ctx).and_then(value).map(FieldValue::value))
}

fn own_record(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
    let found = payload(&ctx).and_then(|payload| Some((payload, payload.written.first()?)));
    let item = found.and_then(|(payload, record)| item(&ctx, payload, resolve::key(&ctx), record));
    FieldFuture::Value(item.map(|item| FieldValue::borrowed_any(item)))
}

/// The record under the key; a refusal is told as the field's error.
fn item<'a>(ctx: &ResolverContext<'a>, payload: &'a Payload, key: &str, record: &WrittenRecord) -> Option<&'a Item> {
    match payload.records.get(key)? {
        Ok(items) => items.get(&(record.kind, record.sourced_id.clone())),
        Err(refusal) => {
            refusal.clone().null(ctx);
            None
        }
    }
}

fn results(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
    let Some(payload) = ctx.parent_value.downcast_ref::<Arc<Payload>>() else { return FieldFuture::Value(None) };
    let key = resolve::key(&ctx);
    let result = |place| FieldValue::owned_any(BatchResult { payload: payload.clone(), place, key: key.to_owned() });
    FieldFuture::Value(Some(FieldValue::list((0..payload.written.len()).map(result))))
}

fn parent<'a>(ctx: &ResolverContext<'a>) -> Option<(&'a BatchResult, &'a WrittenRecord)> {
    let result = ctx.parent_value.downcast_ref::<BatchResult>()?;
    Some((result, result.payload.written.get(result.place)?))
}

fn batch_record(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
    let item = parent(&ctx)
        .and_then(|(result, record)| item(&ctx, &result.payload, &record_key(&result.key, resolve::key(&ctx)), record));
    FieldFuture::Value(item.and_then(resolve::as_node))
}
