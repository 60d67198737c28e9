//! Fields of `Mutation` that write records: they follow from the record types and go through `Commands::write`, as
//! REST does. Each is a unit of work of its own; those of one operation are carried out one after the other.

mod execute;
mod faults;
mod inputs;
mod payload;

use std::sync::LazyLock;

use async_graphql::dynamic::{Field, InputObject, InputValue, Object, SchemaBuilder, TypeRef};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::Selected;
use super::error::Refusal;
use super::imports;
use super::model::{self, nodes, object_name};
use super::plan::{Cost, ObjectPlan, Plan};
use super::planner::{Planner, forbidden};
use super::webhooks;
use crate::auth::Scope;
use crate::command::Origin;
use crate::command::write::{Action, MOST_OPERATIONS, Operation, WriteRequest, is_visible};
use crate::log::IdempotencyKey;
use crate::query::etag::Conditions;
use crate::roster::EntityType;
use faults::Place;
pub use faults::{UserError, code_name};

/// Statements of a unit of work, about: what stands, the key, references, parts, children, and the append.
const STATEMENTS: u64 = 10;

/// What may be done with a record, its verb, and what it does.
const VERBS: [(Action, &str, &str); 4] = [
    (Action::Create, "create", "Creates a record; none of its sourcedId may be active."),
    (Action::Put, "replace", "Lets a record stand as given: it is created, changed or restored."),
    (Action::Patch, "update", "Changes members of a record: what is absent stays, null removes (RFC 7396)."),
    (
        Action::Delete,
        "delete",
        "Marks a record as to be deleted. It stays readable, and comes back by an update of `status`.",
    ),
];

/// A field of `Mutation` that writes one record.
struct WriteField {
    /// `createOrg`
    name: String,
    doc: &'static str,
    kind: EntityType,
    action: Action,
}

static FIELDS: LazyLock<Vec<WriteField>> = LazyLock::new(|| {
    let of_kind = |kind| {
        let field =
            move |(action, verb, doc)| WriteField { name: format!("{verb}{}", object_name(kind)), doc, kind, action };
        VERBS.into_iter().map(field)
    };
    nodes().flat_map(of_kind).collect()
});

const BATCH: &str = "batch";

impl WriteField {
    fn find(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// `CreateOrg`, for the names of its types.
    fn type_name(&self) -> String {
        let mut name = self.name.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        name
    }

    /// What one operation is given, alone or in a batch.
    fn input(&self, name: &str, doc: &str) -> InputObject {
        let id = match self.action {
            Action::Create if self.kind.entity().identified_by.is_none() => {
                InputValue::new("sourcedId", TypeRef::named(TypeRef::ID))
                    .description("The hub makes one where none is given.")
            }
            _ => InputValue::new("sourcedId", TypeRef::named_nn(TypeRef::ID)).description("Of the record."),
        };
        let mut input = InputObject::new(name).description(doc).field(id);
        let document = match self.action {
            Action::Create | Action::Put => Some((inputs::document_type(self.kind), "The record.")),
            Action::Patch => Some((inputs::patch_type(self.kind), "What changes.")),
            Action::Delete => None,
        };
        if let Some((of, doc)) = document {
            input = input.field(InputValue::new(self.kind.name(), TypeRef::named_nn(of)).description(doc));
        }
        if self.action != Action::Create {
            let doc = "Only while the record is of this `version`; else nothing is written, and the error is PRECONDITION_FAILED.";
            input = input.field(InputValue::new("ifVersion", TypeRef::named(TypeRef::STRING)).description(doc));
        }
        input
    }
}

/// Inputs of every unit of work.
fn unit(input: InputObject) -> InputObject {
    let string = |name, doc: &str| InputValue::new(name, TypeRef::named(TypeRef::STRING)).description(doc);
    input
        .field(string(
            "idempotencyKey",
            "1 to 255 visible ASCII characters: sent again with the same key, it is done once and answered alike.",
        ))
        .field(string("actor", "On whose behalf; an id rather than a name. Kept with the events."))
}

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let mut schema = payload::register(faults::register(inputs::register(schema)));
    let mut mutation = Object::new("Mutation").description(
        "Changes. Fields are carried out one after the other; each is a unit of work of its own and does all it says, \
         or nothing.",
    );
    let mut operation =
        InputObject::new("BatchOperation").description("One operation of a batch: one of these.").oneof();
    for field in FIELDS.iter() {
        let (name, of) = (field.type_name(), payload::name(field.kind));
        let (input, member) = (format!("{name}Input"), format!("{name}Operation"));
        schema = schema
            .register(unit(field.input(&input, &format!("For `{}`.", field.name))))
            .register(field.input(&member, &format!("`{}`, in a batch.", field.name)));
        mutation = mutation.field(mutation_field(&field.name, &of, &input, field.doc));
        operation = operation.field(InputValue::new(&field.name, TypeRef::named(member)).description(field.doc));
    }
    let operations = InputValue::new("operations", TypeRef::named_nn_list_nn("BatchOperation")).description(
        "At most 1,000, each on another record. Their order says nothing: they may refer to records that others create.",
    );
    let batch = InputObject::new("BatchInput").description("For `batch`.").field(operations);
    let doc = "Carries out all operations at once, at one position, or none of them.";
    mutation = mutation.field(mutation_field(BATCH, payload::BATCH, "BatchInput", doc));
    schema.register(operation).register(unit(batch)).register(webhooks::mutations(imports::mutations(mutation)))
}

fn mutation_field(name: &str, of: &str, input: &str, doc: &str) -> Field {
    Field::new(name, TypeRef::named(of), execute::field)
        .argument(InputValue::new("input", TypeRef::named_nn(input)))
        .description(doc)
}

/// A field of `Mutation` that writes records.
pub struct WritePlan {
    /// Of the answer.
    key: String,
    call: Call,
}

enum Call {
    /// The client may not: the field answers with this.
    Refused(Refusal),
    Write(Box<Write>),
}

/// A unit of work, and what is to be read after it.
struct Write {
    request: WriteRequest,
    /// By the place of the operation.
    places: Vec<Place>,
    batch: bool,
    records: Vec<RecordPlan>,
}

/// A field that shows written records.
struct RecordPlan {
    /// Of the answer; in a batch with the key of the results before.
    key: String,
    plans: Vec<(EntityType, Result<ObjectPlan, Refusal>)>,
}

/// The plan of a mutation.
pub fn plan(planner: &Planner) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    let mut operations = 0;
    for root in planner.operation.roots()? {
        let mut cost = Cost::default();
        let input = planner.operation.input(root.field(), "input");
        let call = match (WriteField::find(root.name), root.name) {
            (Some(field), _) => write(planner, &root, input, &[field], &mut cost)?,
            (None, BATCH) => {
                let members = input["operations"].as_array().map(Vec::as_slice).unwrap_or_default();
                let named = members.iter().filter_map(|member| WriteField::find(member.as_object()?.keys().next()?));
                let fields: Vec<&WriteField> = named.collect();
                write(planner, &root, input, &fields, &mut cost)?
            }
            (None, _) => {
                imports::cost(planner, &root, &mut plan.cost)?;
                if webhooks::is_mutation(root.name) {
                    webhooks::cost(planner, &root, &mut plan.cost)?;
                    plan.inputs.insert(root.key.to_owned(), input);
                }
                continue;
            }
        };
        if let Call::Write(write) = &call {
            operations += write.request.operations.len();
        }
        if operations > MOST_OPERATIONS {
            return Err(Refusal::limit(format!("An operation writes at most {MOST_OPERATIONS} records.")));
        }
        plan.cost.add(cost);
        plan.writes.push(WritePlan { key: root.key.to_owned(), call });
    }
    Ok(plan)
}

/// `fields`: what each operation does.
fn write(
    planner: &Planner,
    root: &Selected,
    mut input: Value,
    fields: &[&WriteField],
    cost: &mut Cost,
) -> Result<Call, Refusal> {
    if let Some(refused) = may_write(planner, fields) {
        return Ok(Call::Refused(refused));
    }
    let mut taken = |name: &str| input.as_object_mut().and_then(|input| input.shift_remove(name));
    let (key, actor) = (visible(taken("idempotencyKey"), "idempotencyKey")?, visible(taken("actor"), "actor")?);
    let client = planner.client.id.to_string();
    let batch = root.name == BATCH;
    let idempotency = key.map(|key| {
        let request = Sha256::digest(format!("graphql {}\n{}", root.name, sorted(&input))).to_vec();
        IdempotencyKey { client: client.clone(), request, ..IdempotencyKey::of(key) }
    });
    let mut request =
        WriteRequest { origin: Origin::api(&client, actor.as_deref()), idempotency, ..Default::default() };
    let mut places = Vec::with_capacity(fields.len());
    for (place, field) in fields.iter().enumerate() {
        let (own, path) = match batch {
            false => (&input, vec!["input".to_owned()]),
            true => {
                let path = ["input", "operations", &place.to_string(), &field.name].map(str::to_owned);
                (&input["operations"][place][&field.name], path.to_vec())
            }
        };
        let document = &own[field.kind.name()];
        let extensions = document[inputs::EXTENSION].as_object().map(|given| given.keys().cloned().collect());
        places.push(Place { kind: field.kind, path, extensions: extensions.unwrap_or_default() });
        request.operations.push(operation(place, field, own));
    }
    cost.statements += STATEMENTS;
    cost.records += fields.len() as u64;
    let records =
        if batch { batch_records(planner, root, fields, cost)? } else { own_record(planner, root, fields, cost)? };
    Ok(Call::Write(Box::new(Write { request, places, batch, records })))
}

fn operation(place: usize, field: &WriteField, input: &Value) -> Operation {
    let text = |name: &str| match &input[name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let (kind, action) = (field.kind, field.action);
    let document = match action {
        Action::Delete => Default::default(),
        _ => inputs::document(kind, &input[kind.name()], action == Action::Patch),
    };
    let conditions = text("ifVersion").map(|tag| Conditions::version(&tag)).unwrap_or_default();
    Operation { place, kind, action, sourced_id: text("sourcedId"), conditions, document }
}

fn may_write(planner: &Planner, fields: &[&WriteField]) -> Option<Refusal> {
    let demographics = fields.iter().any(|field| field.kind == EntityType::Demographics);
    let needed = [Scope::Write].into_iter().chain(demographics.then_some(Scope::Demographics));
    let mut missing = needed.filter(|scope| !planner.client.may_any(&[*scope]));
    missing.next().map(|scope| forbidden(&[scope]))
}

fn visible(value: Option<Value>, name: &str) -> Result<Option<String>, Refusal> {
    match value {
        Some(Value::String(text)) if is_visible(&text) => Ok(Some(text)),
        None | Some(Value::Null) => Ok(None),
        _ => Err(Refusal::input(format!("{name} is 1 to 255 visible ASCII characters."))),
    }
}

/// The same text whatever the order of members.
fn sorted(value: &Value) -> String {
    let parts = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), sorted(value)))
                .collect();
            members.sort();
            format!("{{{}}}", parts(members))
        }
        Value::Array(items) => format!("[{}]", parts(items.iter().map(sorted).collect())),
        leaf => leaf.to_string(),
    }
}

fn own_record(
    planner: &Planner,
    root: &Selected,
    fields: &[&WriteField],
    cost: &mut Cost,
) -> Result<Vec<RecordPlan>, Refusal> {
    let Some(kind) = fields.first().map(|field| field.kind) else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for selected in planner.operation.select(&payload::name(kind), &root.sets(), 2)? {
        if selected.name == kind.name() {
            let plans = vec![(kind, record(planner, kind, &selected, 3, 1, cost)?)];
            records.push(RecordPlan { key: selected.key.to_owned(), plans });
        }
    }
    Ok(records)
}

fn batch_records(
    planner: &Planner,
    root: &Selected,
    fields: &[&WriteField],
    cost: &mut Cost,
) -> Result<Vec<RecordPlan>, Refusal> {
    let mut records = Vec::new();
    for results in planner.operation.select(payload::BATCH, &root.sets(), 2)? {
        if results.name != payload::RESULTS {
            continue;
        }
        for selected in planner.operation.select(payload::RESULT, &results.sets(), 3)? {
            if selected.name != payload::RECORD {
                continue;
            }
            let mut plans = Vec::new();
            for kind in nodes() {
                let times = fields.iter().filter(|field| field.kind == kind).count();
                if times > 0 {
                    plans.push((kind, record(planner, kind, &selected, 4, times as u64, cost)?));
                }
            }
            records.push(RecordPlan { key: payload::record_key(results.key, selected.key), plans });
        }
    }
    Ok(records)
}

/// Who may write a record may see it, as in REST; what it leads to is for those who may read.
fn record(
    planner: &Planner,
    kind: EntityType,
    selected: &Selected,
    depth: usize,
    times: u64,
    cost: &mut Cost,
) -> Result<Result<ObjectPlan, Refusal>, Refusal> {
    let plan = planner.of_kind(kind, &[selected], depth, times, cost)?;
    let scopes = model::scopes(kind);
    let allowed = planner.client.may_any(scopes) || !plan.leads_away();
    Ok(if allowed { Ok(plan) } else { Err(forbidden(scopes)) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_record_type_has_every_verb() {
        for name in ["createOrg", "replaceClass", "updateUser", "deleteDemographics", "createAcademicSession"] {
            assert!(WriteField::find(name).is_some(), "{name}");
        }
        assert_eq!(FIELDS.len(), 7 * 4);
        assert!(WriteField::find("createRole").is_none());
    }

    #[test]
    fn the_order_of_members_says_nothing() {
        let text = |value| sorted(&value);
        assert_eq!(text(json!({ "a": 1, "b": [{ "c": "x", "d": null }] })), r#"{"a":1,"b":[{"c":"x","d":null}]}"#);
        assert_eq!(text(json!({ "b": { "d": 1, "c": 2 }, "a": 1 })), text(json!({ "a": 1, "b": { "c": 2, "d": 1 } })));
        assert_ne!(text(json!([1, 2])), text(json!([2, 1])));
    }
}
