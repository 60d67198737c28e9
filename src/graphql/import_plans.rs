//! Plans of imports: looking at one, approving, discarding, cancelling, taking an import back. What REST has below
//! `/imports/{id}`.

use std::sync::Arc;

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ResolverContext, SchemaBuilder,
    TypeRef,
};
use async_graphql::{Name, Value};
use uuid::Uuid;

use super::document::{Operation, Selected};
use super::error::Refusal;
use super::execution::Execution;
use super::import_objects::{Fields, Started, changes_of, object, payload};
use super::import_pages::{Listed, argument, connection, first, page_arguments};
use super::imports::{MOST, desk, refused, seconds, wait};
use super::mutation::UserError;
use super::plan::Cost;
use crate::csv::decision::{DecisionError, GiveUp, Refused};
use crate::csv::edition::NAMES;
use crate::csv::encoding::WISHES;
use crate::csv::job::{self, Difference, Job};
use crate::csv::listing::{self, LaterChange, Member, PlannedRecord, SchoolChanges, Selection, place};
use crate::csv::options::{APPLY, MODES, ON_CONFLICTS, ON_ERRORS, Options, named};
use crate::csv::plan::KINDS;
use crate::csv::rules::STRICTNESSES;
use crate::csv::threshold::Passed;
use crate::rest::plans::{asker, see, sees};
use crate::roster::EntityType;

const DEFAULT: i64 = 100;

/// Enums of options and of what becomes of records: name, values, meaning.
const ENUMS: [(&str, &[&str], &str); 8] = [
    ("ImportEdition", &NAMES, "The edition that a set follows."),
    (
        "ImportRules",
        &STRICTNESSES,
        "How strictly a set is looked at. LENIENT repairs or passes over what can be understood, and counts it; STRICT \
         also wants what national editions and certified importers demand.",
    ),
    (
        "ImportApply",
        &APPLY,
        "When a plan is applied without being approved: never, when it passes no threshold, always.",
    ),
    ("ImportOnErrors", &ON_ERRORS, "A set with errors is refused, or its rows without errors are applied."),
    (
        "ImportConflicts",
        &ON_CONFLICTS,
        "Records that changed after the import that is taken back: somebody decides, they stay, or are taken back as well.",
    ),
    ("ImportEncoding", &WISHES, "In which the files of a set are: told by their bytes, or one of these."),
    (
        "ImportMode",
        &MODES,
        "What the rows of a CSV file or workbook without manifest tell: all records, so that others are withdrawn, or \
         changes. AUTO: changes if their status is filled, else records that stand so, while others stay as they are.",
    ),
    ("ImportPlanKind", &KINDS, "What becomes of a record."),
];

/// What people decide: field of `Mutation`, its input, meaning.
const DECISIONS: [(&str, &str, &str); 4] = [
    (
        "approveImport",
        "ApproveImportInput",
        "Approves a plan: it is applied, if the roster still stands as planned on; else it is planned anew.",
    ),
    ("discardImport", "DiscardImportInput", "Throws a plan away that waits for a decision."),
    ("cancelImport", "CancelImportInput", "Ends an import that has not begun to apply."),
    ("revertImport", "RevertImportInput", "Takes a completed import back, by a new import."),
];

/// `applyGoodRows` is APPLY_GOOD_ROWS, `utf-8` UTF_8, `1.2_JP` V1_2_JP.
pub fn item(name: &str) -> String {
    let mut item = String::new();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        item.push('V');
    }
    for c in name.chars() {
        if c.is_ascii_uppercase() && !name.contains('_') {
            item.push('_');
        }
        item.push(if c == '-' || c == '.' { '_' } else { c.to_ascii_uppercase() });
    }
    item
}

/// The option that an enum's item means.
fn option<T: serde::de::DeserializeOwned>(values: &[&str], given: Option<&str>) -> Option<T> {
    named(values.iter().find(|value| Some(item(value).as_str()) == given)?)
}

/// Options of an input.
pub fn options(input: &serde_json::Value) -> Options {
    Options {
        apply: option(&APPLY, input["apply"].as_str()).unwrap_or_default(),
        on_errors: option(&ON_ERRORS, input["onErrors"].as_str()).unwrap_or_default(),
        on_conflicts: option(&ON_CONFLICTS, input["conflicts"].as_str()).unwrap_or_default(),
        encoding: option(&WISHES, input["encoding"].as_str()).unwrap_or_default(),
        mode: option(&MODES, input["mode"].as_str()).unwrap_or_default(),
        edition: option(&NAMES, input["edition"].as_str()),
        rules: option(&STRICTNESSES, input["rules"].as_str()),
    }
}

/// Inputs of the options that a job has.
pub fn option_input(name: &'static str, of: &'static str, doc: &str) -> InputValue {
    InputValue::new(name, TypeRef::named(of)).description(doc)
}

pub fn register(mut schema: SchemaBuilder) -> SchemaBuilder {
    for (name, values, doc) in ENUMS {
        let items = values.iter().map(|value| EnumItem::new(item(value)));
        schema = schema.register(Enum::new(name).description(doc).items(items));
    }
    let id = || InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("Of the import.");
    let conflicts = || option_input("conflicts", "ImportConflicts", "What becomes of records that changed since.");
    for (field, input, _) in DECISIONS {
        let object = InputObject::new(input).description(format!("For `{field}`.")).field(id());
        schema = schema.register(match field {
            "approveImport" => object
                .field(
                    InputValue::new("plan", TypeRef::named_nn(TypeRef::ID))
                        .description("Id of the plan that is meant."),
                )
                .field(conflicts())
                .field(wait()),
            "revertImport" => object
                .field(option_input("apply", "ImportApply", "When it is applied without being approved."))
                .field(conflicts())
                .field(wait()),
            _ => object,
        });
    }
    let schema = schema
        .register(payload("ImportDecisionPayload", "What a decision on an import came to."))
        .register(plan_object())
        .register(object("ImportThreshold", "A threshold that a plan passes.", threshold_fields()))
        .register(object(
            "ImportPlanDifference",
            "How a plan differs from the one that was approved.",
            difference_fields(),
        ))
        .register(school_object())
        .register(record_object())
        .register(object("ImportPlanMember", "A member of a record, before and after.", member_fields()))
        .register(object("ImportLaterChange", "A change after the import that is taken back.", later_fields()));
    connection::<PlannedRecord>(schema, "ImportPlanRecord")
}

fn nn(name: &'static str) -> TypeRef {
    TypeRef::named_nn(name)
}

fn plan_object() -> Object {
    let fields: Fields<Job> = vec![
        ("id", nn(TypeRef::ID), |job| Some(job.plan?.to_string().into()), "Of the plan; an approval repeats it."),
        ("position", nn("Position"), |job| Some(job.planned_at?.into()), "Of the roster that it was made on."),
        (
            "conflictCount",
            nn(TypeRef::INT),
            |job| Some(job.conflicts.into()),
            "Records that changed since, in a revert.",
        ),
    ];
    let parts = |name: &'static str, of, doc: &'static str, parts: fn(&Job) -> Vec<FieldValue<'_>>| {
        Field::new(name, TypeRef::named_nn_list_nn(of), move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<Job>().map(|job| FieldValue::list(parts(job))))
        })
        .description(doc)
    };
    let difference = Field::new("difference", TypeRef::named("ImportPlanDifference"), |ctx| {
        let job = ctx.parent_value.downcast_ref::<Job>();
        FieldFuture::Value(job.and_then(|job| job.difference.as_ref()).map(|found| FieldValue::borrowed_any(&found.0)))
    });
    let text = |name, doc: &str| InputValue::new(name, TypeRef::named(TypeRef::STRING)).description(doc);
    let records = Field::new("records", TypeRef::named("ImportPlanRecordConnection"), |ctx| {
        FieldFuture::new(async move { Ok(records(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    })
    .description("Records of a plan that waits for a decision, in the order of type and sourcedId; null when it does not wait any more.")
    .argument(InputValue::new("recordType", TypeRef::named("RecordType")).description("Only of this type."))
    .argument(InputValue::new("kind", TypeRef::named("ImportPlanKind")).description("Only of which this becomes."))
    .argument(text("school", "Only of this org."))
    .argument(
        InputValue::new("conflicts", TypeRef::named(TypeRef::BOOLEAN))
            .description("Only those that changed after the import that is taken back."),
    );
    let schools = Field::new("schools", TypeRef::named_nn_list("ImportSchoolChanges"), |ctx| {
        FieldFuture::new(async move { Ok(schools(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    });
    object("ImportPlan", "What an import would change.", fields)
        .field(parts("thresholds", "ImportThreshold", "Thresholds that it passes.", |job| {
            job.thresholds.iter().map(|passed| FieldValue::borrowed_any(passed)).collect()
        }))
        .field(parts("changes", "ImportChanges", "By type of record.", |job| changes_of(&job.changes.0)))
        .field(difference.description("How it differs from the plan that was approved."))
        .field(schools.description("By org and type of record."))
        .field(page_arguments(records, DEFAULT, MOST * 10))
}

fn threshold_fields() -> Fields<Passed> {
    vec![
        ("recordType", nn(TypeRef::STRING), |p| Some(p.entity.name().into()), "As references name it."),
        (
            "school",
            TypeRef::named(TypeRef::STRING),
            |p| Some(p.school.as_deref()?.into()),
            "Org; null: the whole board.",
        ),
        ("kind", nn("ImportPlanKind"), |p| Some(Value::Enum(Name::new(item(&p.kind)))), "What becomes of the records."),
        ("records", nn(TypeRef::INT), |p| Some(p.records.into()), "Records of which that becomes."),
        ("active", nn(TypeRef::INT), |p| Some(p.active.into()), "Active records, out of which they are."),
        ("limit", nn(TypeRef::FLOAT), |p| Some(p.limit.into()), "Percent that may be without a question."),
    ]
}

fn difference_fields() -> Fields<Difference> {
    vec![
        ("added", nn(TypeRef::INT), |d| Some(d.added.into()), "Changes that were not in it, or not so."),
        ("gone", nn(TypeRef::INT), |d| Some(d.gone.into()), "Changes of it that are not there any more, or not so."),
    ]
}

fn school_object() -> Object {
    let fields: Fields<SchoolChanges> = vec![
        ("school", nn(TypeRef::ID), |s| Some(s.school.as_str().into()), "sourcedId of the org."),
        ("name", TypeRef::named(TypeRef::STRING), |s| Some(s.name.as_deref()?.into()), "As far as it is known."),
    ];
    let changes = Field::new("changes", TypeRef::named_nn_list_nn("ImportChanges"), |ctx| {
        let school = ctx.parent_value.downcast_ref::<SchoolChanges>();
        let changes = |school: &SchoolChanges| changes_of(&serde_json::json!(school.changes));
        FieldFuture::Value(school.map(changes).map(FieldValue::list))
    });
    object("ImportSchoolChanges", "What a plan does to the records of an org.", fields)
        .field(changes.description("By type of record."))
}

fn record_object() -> Object {
    let n = || TypeRef::named(TypeRef::STRING);
    let fields: Fields<PlannedRecord> = vec![
        ("recordType", nn(TypeRef::STRING), |r| Some(r.entity.name().into()), "As references name it."),
        ("sourcedId", nn(TypeRef::ID), |r| Some(r.sourced_id.as_str().into()), "Of the record."),
        ("kind", nn("ImportPlanKind"), |r| Some(Value::Enum(Name::new(item(&r.kind)))), "What becomes of it."),
        ("school", n(), |r| Some(r.school.as_deref()?.into()), "The org that it belongs to."),
        ("file", n(), |r| Some(r.file.as_deref()?.into()), "File of the set; null when it does not name the record."),
        ("line", TypeRef::named(TypeRef::INT), |r| Some(r.line?.into()), "Line of the file."),
    ];
    let parts = |name: &'static str, of, doc: &'static str, parts: fn(&PlannedRecord) -> Vec<FieldValue<'_>>| {
        Field::new(name, TypeRef::named_nn_list_nn(of), move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<PlannedRecord>().map(|r| FieldValue::list(parts(r))))
        })
        .description(doc)
    };
    object("ImportPlanRecord", "A record of a plan.", fields)
        .field(parts("members", "ImportPlanMember", "Members that would differ.", |record| {
            record.members.iter().map(|member| FieldValue::borrowed_any(member)).collect()
        }))
        .field(parts("later", "ImportLaterChange", "What changed after the import that is taken back.", |record| {
            record.later.iter().map(|later| FieldValue::borrowed_any(later)).collect()
        }))
}

fn member_fields() -> Fields<Member> {
    let json = || TypeRef::named("JSON");
    vec![
        ("name", nn(TypeRef::STRING), |m| Some(m.name.as_str().into()), "JSON name."),
        (
            "before",
            json(),
            |m| Value::from_json(m.before.clone()?).ok(),
            "Null when it is not there, or not to be seen.",
        ),
        ("after", json(), |m| Value::from_json(m.after.clone()?).ok(), "Null when it is not there, or not to be seen."),
    ]
}

fn later_fields() -> Fields<LaterChange> {
    vec![
        ("position", nn("Position"), |l| Some(l.position.into()), "In the log."),
        ("recordedAt", nn("DateTime"), |l| Some(l.recorded_at.to_rfc3339().into()), "When it happened."),
        (
            "changed",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |l| Some(l.changed.clone().into()),
            "Names of the members that changed.",
        ),
        ("client", TypeRef::named(TypeRef::STRING), |l| Some(l.client.as_deref()?.into()), "Who did it."),
        ("import", TypeRef::named(TypeRef::ID), |l| Some(l.import?.to_string().into()), "Import that did it."),
    ]
}

/// Adds the fields to `Mutation`.
pub fn mutations(mutation: Object) -> Object {
    DECISIONS.into_iter().fold(mutation, |mutation, (name, input, doc)| {
        let field = Field::new(name, TypeRef::named("ImportDecisionPayload"), move |ctx| {
            FieldFuture::new(async move { Ok(decide(&ctx, name).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
        });
        mutation.field(field.description(doc).argument(InputValue::new("input", TypeRef::named_nn(input))))
    })
}

pub fn is_decision(field: &str) -> bool {
    DECISIONS.iter().any(|decision| decision.0 == field)
}

async fn decide<'a>(ctx: &ResolverContext<'a>, name: &str) -> Result<Option<FieldValue<'a>>, Refusal> {
    let desk = desk(ctx)?;
    let input = ctx.args.get("input").and_then(|input| input.as_value().clone().into_json().ok()).unwrap_or_default();
    let (tenant, asker, intake) = (&desk.client.tenant, asker(desk.client), desk.intake);
    let id = |name: &str| input[name].as_str().and_then(|id| Uuid::try_parse(id).ok());
    let Some(import) = id("id") else { return Ok(Some(refusal(Refused::Unknown))) };
    let outcome = match name {
        "approveImport" => {
            let conflicts = option(&ON_CONFLICTS, input["conflicts"].as_str());
            let plan = id("plan").unwrap_or_default();
            intake.approve(tenant, asker, import, plan, conflicts).await.map(|()| import)
        }
        "discardImport" => intake.give_up(tenant, &asker, import, GiveUp::Discard).await.map(|()| import),
        "cancelImport" => intake.give_up(tenant, &asker, import, GiveUp::Cancel).await.map(|()| import),
        _ => intake.revert(tenant, asker, import, options(&input)).await,
    };
    let import = match outcome {
        Ok(import) => import,
        Err(DecisionError::Refused(why)) => return Ok(Some(refusal(why))),
        Err(DecisionError::Start(error)) => return Err(refused(error)),
    };
    intake.wait(import, seconds(input["wait"].as_i64())).await;
    let job = job::find(desk.log, tenant, import).await?;
    Ok(Some(FieldValue::owned_any(Started { job, errors: Vec::new() })))
}

fn refusal<'a>(why: Refused) -> FieldValue<'a> {
    let field = if why == Refused::OtherPlan { "plan" } else { "id" };
    FieldValue::owned_any(Started { job: None, errors: vec![UserError::decision(why, field)] })
}

async fn schools<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let Some(job) = ctx.parent_value.downcast_ref::<Job>() else { return Ok(None) };
    let desk = desk(ctx)?;
    let schools = listing::schools(desk.log, &desk.client.tenant, job).await?;
    Ok(Some(FieldValue::list(schools.into_iter().map(FieldValue::owned_any))))
}

async fn records<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let Some(job) = ctx.parent_value.downcast_ref::<Job>().filter(|job| job.stands()) else { return Ok(None) };
    let desk = desk(ctx)?;
    let first = first(argument(ctx, "first"), DEFAULT, MOST * 10)?;
    let named = |name| match argument(ctx, name) {
        Value::Enum(name) => Some(name.to_string()),
        Value::String(text) => Some(text),
        _ => None,
    };
    let after = match named("after") {
        None => None,
        Some(text) => Some(place(&text).ok_or_else(|| Refusal::input("after is not a cursor of this list."))?),
    };
    let selection = Selection {
        entity: named("recordType").and_then(|name| EntityType::from_name(&name)),
        kind: named("kind").and_then(|name| KINDS.into_iter().find(|kind| item(kind) == name)),
        school: named("school"),
        conflicts: argument(ctx, "conflicts") == Value::Boolean(true),
        after,
    };
    let has_previous = selection.after.is_some();
    let found = listing::records(desk.log, &desk.client.tenant, job, &selection, first + 1, sees(desk.client)).await?;
    if let (Some(records), Ok(execution)) = (&found, ctx.data::<Arc<Execution>>())
        && records.iter().any(|record| sees(desk.client)(record.entity))
    {
        execution.saw(|seen| see(records, seen));
    }
    let cursor = |record: PlannedRecord| (format!("{}:{}", record.entity.name(), record.sourced_id), record);
    let found = found.map(|records| records.into_iter().map(cursor).collect());
    Ok(found.map(|records| FieldValue::owned_any(Listed::new(records, first, has_previous, None))))
}

/// Adds what the plan of one of so many jobs may cost.
pub fn cost(operation: &Operation, plan: &Selected, depth: usize, jobs: u64, cost: &mut Cost) -> Result<(), Refusal> {
    for field in operation.select("ImportPlan", &plan.sets(), depth)? {
        let records = match field.name {
            "records" => first(operation.argument(field.field(), "first"), DEFAULT, MOST * 10)?.unsigned_abs(),
            "schools" => 1,
            _ => continue,
        };
        cost.add(Cost { records: jobs * records, statements: jobs });
    }
    Ok(())
}
