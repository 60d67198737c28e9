//! Imports: handing a set in, looking at the job, reading its errors. What REST has below `/imports`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::Value;
use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ResolverContext, SchemaBuilder,
    TypeRef,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::document::Selected;
use super::error::{Code as ErrorCode, Refusal};
use super::import_plans::{self as plans, option_input};
use super::load::{Connection, Item};
use super::mutation::{UserError, code_name};
use super::plan::Cost;
use super::planner::{Planner, forbidden};
use super::upload::Uploads;
use crate::auth::{Client, Scope};
use crate::csv::conversion::Conversion;
use crate::csv::intake::{Intake, LONGEST_WAIT, StartError};
use crate::csv::job::{self, Job, JobError, STATES};
use crate::csv::plan::Changes;
use crate::log::Log;
use crate::rest::plans::asker;
use crate::roster::Code;
use crate::roster::Language::{English, Japanese};

/// Entries on a page: when it is not said how many, and most.
const DEFAULT: i64 = 20;
pub const MOST: i64 = 100;
const DEFAULT_ERRORS: i64 = 100;
const MOST_ERRORS: i64 = 1_000;

/// A field of an object that is made of a `T`: name, type, value, meaning.
pub type Fields<T> = Vec<(&'static str, TypeRef, fn(&T) -> Option<Value>, &'static str)>;

/// A page of `T`s with their cursors.
pub struct Listed<T> {
    items: Vec<(String, T)>,
    total: Option<i64>,
    /// Only what `PageInfo` shows of it.
    page: Connection,
}

/// What mutations of imports answer.
pub struct Started {
    pub job: Option<Job>,
    pub errors: Vec<UserError>,
}

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let states = STATES.iter().map(|state| EnumItem::new(state.to_ascii_uppercase()));
    let input = InputObject::new("StartImportInput")
        .description("For `startImport`.")
        .field(
            InputValue::new("file", TypeRef::named_nn(TypeRef::UPLOAD))
                .description("The set (zip), CSV file or workbook: a variable, sent as the GraphQL multipart request specification has it."),
        )
        .field(option_input(
            "apply",
            "ImportApply",
            "When the plan is applied without being approved; SAFE without it.",
        ))
        .field(option_input("onErrors", "ImportOnErrors", "What becomes of a set that has errors; REJECT without it."))
        .field(option_input(
            "edition",
            "ImportEdition",
            "The edition that the set follows; without it, its manifest and columns tell.",
        ))
        .field(option_input("rules", "ImportRules", "How strictly it is looked at; as the server is set without it."))
        .field(option_input("encoding", "ImportEncoding", "In which the files are; AUTO without it."))
        .field(option_input("mode", "ImportMode", "Of a CSV file or workbook without manifest; AUTO without it."))
        .field(wait());
    let schema = schema
        .enable_uploading()
        .register(
            Enum::new("ImportState")
                .description("The states of an import, in their order; in PLANNED and HELD it waits for a decision, the last four are its ends.")
                .items(states),
        )
        .register(input)
        .register(payload("StartImportPayload", "What `startImport` came to."))
        .register(job_object())
        .register(object("ImportRows", "Rows read of a file.", rows_fields()))
        .register(object("ImportConversion", "What of a set is not kept as it stands in its files.", conversion_fields()))
        .register(object("ImportFileEncoding", "In which encoding a file was.", encoding_fields()))
        .register(object(
            "ImportChanges",
            "What became of the records of a type, or would have become of them.",
            changes_fields(),
        ))
        .register(object("ImportPhase", "How long a phase took.", phase_fields()))
        .register(object("ImportError", "An error in a set.", error_fields()));
    let schema = plans::register(schema.register(object(
        "ImportLeftOut",
        "Rows with errors that are left out of a file.",
        left_out_fields(),
    )));
    connection::<JobError>(connection::<Job>(schema, "ImportJob"), "ImportError")
}

/// An answer of a mutation on imports.
pub fn payload(name: &str, doc: &str) -> Object {
    Object::new(name)
        .description(doc)
        .field(
            Field::new("importJob", TypeRef::named("ImportJob"), |ctx| {
                let started = ctx.parent_value.downcast_ref::<Started>();
                FieldFuture::Value(
                    started.and_then(|started| started.job.as_ref()).map(|item| FieldValue::borrowed_any(item)),
                )
            })
            .description("The job, which goes on by itself; null when nothing was done."),
        )
        .field(
            Field::new("userErrors", TypeRef::named_nn_list_nn("UserError"), |ctx| {
                let started = ctx.parent_value.downcast_ref::<Started>();
                let errors = started.map(|started| started.errors.iter().map(|item| FieldValue::borrowed_any(item)));
                FieldFuture::Value(errors.map(FieldValue::list))
            })
            .description("What is wrong with the input. What is wrong with the set is among the job's errors."),
        )
}

pub fn wait() -> InputValue {
    InputValue::new("wait", TypeRef::named(TypeRef::INT))
        .description(format!("Seconds to hold the answer until the import has ended, at most {LONGEST_WAIT}."))
}

pub fn object<T: Send + Sync + 'static>(name: &str, doc: &str, fields: Fields<T>) -> Object {
    fields.into_iter().fold(Object::new(name).description(doc), |object, (name, of, value, doc)| {
        let field = Field::new(name, of, move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<T>().and_then(value).map(FieldValue::value))
        });
        object.field(field.description(doc))
    })
}

fn job_object() -> Object {
    let nn = TypeRef::named_nn;
    let text = || TypeRef::named(TypeRef::STRING);
    let fields: Fields<Job> = vec![
        ("id", nn(TypeRef::ID), |job| Some(job.id.to_string().into()), "Of the import; the REST API knows it too."),
        ("state", nn("ImportState"), |job| Some(job.state.to_ascii_uppercase().into()), "How far it is."),
        ("fileName", nn(TypeRef::STRING), |job| Some(job.file_name.as_str().into()), "As the client named it."),
        ("bytes", nn(TypeRef::FLOAT), |job| Some((job.bytes as f64).into()), "Size of the file."),
        (
            "edition",
            text(),
            |job| Some(job.edition.as_deref()?.into()),
            "The edition of the binding that the set follows.",
        ),
        ("client", nn(TypeRef::STRING), |job| Some(job.client.as_str().into()), "Who handed it in."),
        (
            "reverts",
            TypeRef::named(TypeRef::ID),
            |job| Some(job.reverts?.to_string().into()),
            "Of a revert: the import that it takes back.",
        ),
        ("approvedBy", text(), |job| Some(job.approved_by.as_deref()?.into()), "Who approved the plan."),
        (
            "notWithdrawn",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |job| Some(Value::List(job.not_withdrawn.iter().map(|kind| kind.name().into()).collect())),
            "Types of which nothing is withdrawn for being absent: rows were left out, or nobody said that the file tells all.",
        ),
        (
            "expiresAt",
            TypeRef::named("DateTime"),
            |job| Some(job.expires_at?.to_rfc3339().into()),
            "When a plan that waits for a decision is discarded.",
        ),
        (
            "errorCount",
            nn(TypeRef::INT),
            |job| Some(job.errors.into()),
            "Errors found in the set. With any, nothing is applied, or the rows without errors, as was asked for.",
        ),
        (
            "failure",
            text(),
            |job| Some(job.failure.as_deref()?.into()),
            "Why it failed, when not for errors in the set, or why it was discarded.",
        ),
        (
            "position",
            TypeRef::named("Position"),
            |job| Some(job.position?.into()),
            "Of the roster with the import applied.",
        ),
        ("createdAt", nn("DateTime"), |job| Some(job.created_at.to_rfc3339().into()), "When it was handed in."),
        ("finishedAt", TypeRef::named("DateTime"), |job| Some(job.finished_at?.to_rfc3339().into()), "When it ended."),
    ];
    let parts = |name: &'static str, of: &str, doc: &'static str, parts: fn(&Job) -> Vec<FieldValue<'static>>| {
        Field::new(name, TypeRef::named_nn_list_nn(of), move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<Job>().map(|job| FieldValue::list(parts(job))))
        })
        .description(doc)
    };
    let errors = Field::new("errors", TypeRef::named("ImportErrorConnection"), errors)
        .description("The errors, in the order in which they were found.");
    let plan = Field::new("plan", TypeRef::named("ImportPlan"), |ctx| {
        let job = ctx.parent_value.downcast_ref::<Job>().filter(|job| job.plan.is_some());
        FieldFuture::Value(job.map(|job| FieldValue::borrowed_any(job)))
    });
    object("ImportJob", "The record that is kept of an import.", fields)
        .field(plan.description("What it would change, or has changed; null until it is planned."))
        .field(parts("leftOut", "ImportLeftOut", "Rows with errors that are left out, by file.", |job| {
            members::<i64>(&serde_json::json!(job.left_out.0))
        }))
        .field(parts("rows", "ImportRows", "Rows read, by file.", |job| members::<Option<i64>>(&job.rows.0)))
        .field(parts(
            "conversions",
            "ImportConversion",
            "What of the set is not kept as it stands in its files.",
            |job| job.conversions.iter().cloned().map(FieldValue::owned_any).collect(),
        ))
        .field(parts("encodings", "ImportFileEncoding", "In which encoding each file was.", |job| {
            members::<String>(&serde_json::json!(job.encodings.0))
        }))
        .field(parts("changes", "ImportChanges", "What was done, or would have been, by type of record.", |job| {
            members::<Changes>(&job.changes.0)
        }))
        .field(parts("phases", "ImportPhase", "Time taken, by phase.", |job| members::<f64>(&job.phases.0)))
        .field(page_arguments(errors, DEFAULT_ERRORS, MOST_ERRORS))
}

/// The members of a JSON object, each with its name.
fn members<T: DeserializeOwned + Send + Sync + 'static>(object: &serde_json::Value) -> Vec<FieldValue<'static>> {
    let members: BTreeMap<String, T> = serde_json::from_value(object.clone()).unwrap_or_default();
    members.into_iter().map(FieldValue::owned_any).collect()
}

/// Counts by type of record.
pub fn changes_of(object: &serde_json::Value) -> Vec<FieldValue<'static>> {
    members::<Changes>(object)
}

fn left_out_fields() -> Fields<(String, i64)> {
    vec![
        ("file", TypeRef::named_nn(TypeRef::STRING), |rows| Some(rows.0.as_str().into()), "Its name without `.csv`."),
        ("count", TypeRef::named_nn(TypeRef::INT), |rows| Some(rows.1.into()), "Rows left out."),
    ]
}

fn rows_fields() -> Fields<(String, Option<i64>)> {
    vec![
        ("file", TypeRef::named_nn(TypeRef::STRING), |rows| Some(rows.0.as_str().into()), "Its name without `.csv`."),
        (
            "count",
            TypeRef::named(TypeRef::INT),
            |rows| Some(rows.1?.into()),
            "Null for files of services that are not read yet.",
        ),
    ]
}

fn conversion_fields() -> Fields<Conversion> {
    let text = || TypeRef::named_nn(TypeRef::STRING);
    vec![
        ("file", text(), |c| Some(c.file.as_str().into()), "Name of the file."),
        ("column", text(), |c| Some(c.column.as_str().into()), "Empty when the whole file is meant."),
        (
            "kind",
            text(),
            |c| Some(serde_json::to_value(c.kind).ok()?.as_str()?.into()),
            "fileNotRead, dropped, renamed, nullWord, mapped, repaired or accepted.",
        ),
        (
            "rows",
            TypeRef::named(TypeRef::INT),
            |c| Some(c.rows?.into()),
            "Rows that it is about; null when nobody counted.",
        ),
    ]
}

fn encoding_fields() -> Fields<(String, String)> {
    let text = || TypeRef::named_nn(TypeRef::STRING);
    vec![
        ("file", text(), |file| Some(file.0.as_str().into()), "Its name without `.csv`."),
        (
            "encoding",
            text(),
            |file| Some(file.1.as_str().into()),
            "utf-8, utf-8-bom, utf-16le, utf-16be, cp932 or euc-jp.",
        ),
    ]
}

fn phase_fields() -> Fields<(String, f64)> {
    vec![
        ("name", TypeRef::named_nn(TypeRef::STRING), |phase| Some(phase.0.as_str().into()), "Of the phase."),
        ("seconds", TypeRef::named_nn(TypeRef::FLOAT), |phase| Some(phase.1.into()), "That it took."),
    ]
}

fn changes_fields() -> Fields<(String, Changes)> {
    let int = || TypeRef::named_nn(TypeRef::INT);
    vec![
        ("recordType", TypeRef::named_nn(TypeRef::STRING), |c| Some(c.0.as_str().into()), "As references name it."),
        ("created", int(), |c| Some(c.1.created.into()), "Records that were not there before."),
        ("changed", int(), |c| Some(c.1.changed.into()), "Records that stand otherwise than before."),
        ("restored", int(), |c| Some(c.1.restored.into()), "Records that came back."),
        ("withdrawn", int(), |c| Some(c.1.withdrawn.into()), "Records that are to be deleted."),
        ("unchanged", int(), |c| Some(c.1.unchanged.into()), "Records that stood so already."),
    ]
}

fn error_fields() -> Fields<JobError> {
    let text = || TypeRef::named_nn(TypeRef::STRING);
    let maybe = || TypeRef::named(TypeRef::STRING);
    vec![
        ("number", TypeRef::named_nn(TypeRef::INT), |e| Some(e.number.into()), "1, 2, 3, …"),
        ("file", text(), |e| Some(e.file.as_str().into()), "Name of the file."),
        ("line", TypeRef::named_nn(TypeRef::INT), |e| Some(e.line.into()), "1 is the header, 0 the whole file."),
        ("column", text(), |e| Some(e.column.as_str().into()), "Empty when no single one is meant."),
        (
            "code",
            TypeRef::named("UserErrorCode"),
            |e| Some(code_name(Code::from_name(&e.code)?).into()),
            "What is wrong.",
        ),
        ("value", text(), |e| Some(e.value.as_str().into()), "The value that is wrong; `***` where it is personal."),
        ("message", maybe(), |e| Some(Code::from_name(&e.code)?.message(English).into()), "What is wrong."),
        ("messageJa", maybe(), |e| Some(Code::from_name(&e.code)?.message(Japanese).into()), "The same in Japanese."),
        ("mend", maybe(), |e| Some(Code::from_name(&e.code)?.mend(English).into()), "How to mend it."),
        ("mendJa", maybe(), |e| Some(Code::from_name(&e.code)?.mend(Japanese).into()), "The same in Japanese."),
    ]
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

pub fn page_arguments(field: Field, default: i64, most: i64) -> Field {
    let first = InputValue::new("first", TypeRef::named(TypeRef::INT));
    let after = InputValue::new("after", TypeRef::named(TypeRef::STRING));
    field
        .argument(first.description(format!("Entries on the page; {default} without it, {most} at most.")))
        .argument(after.description("The cursor to go on from."))
}

/// Adds the fields to `Query`.
pub fn queries(query: Object) -> Object {
    let job = Field::new("importJob", TypeRef::named("ImportJob"), |ctx| {
        FieldFuture::new(async move { Ok(find(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    });
    let jobs = Field::new("importJobs", TypeRef::named("ImportJobConnection"), |ctx| {
        FieldFuture::new(async move { Ok(list(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    });
    let job = job
        .description("The import of this id.")
        .argument(InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("Of the import."))
        .argument(wait());
    query.field(job).field(page_arguments(jobs.description("The imports, the newest first."), DEFAULT, MOST))
}

/// Adds the field to `Mutation`.
pub fn mutations(mutation: Object) -> Object {
    let start = Field::new("startImport", TypeRef::named("StartImportPayload"), |ctx| {
        FieldFuture::new(async move { Ok(start(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    });
    plans::mutations(mutation).field(
        start
            .description("Hands a OneRoster CSV set in. It is read, checked and applied as a whole, or not at all.")
            .argument(InputValue::new("input", TypeRef::named_nn("StartImportInput"))),
    )
}

/// What resolvers work with.
pub struct Desk<'a> {
    pub client: &'a Client,
    pub intake: &'a Intake,
    pub log: &'a Log,
}

/// For clients that may import.
pub fn desk<'a>(ctx: &ResolverContext<'a>) -> Result<Desk<'a>, Refusal> {
    let failed = |_| Refusal::new(ErrorCode::Internal, "The hub failed.");
    let (client, intake, log) = (ctx.data(), ctx.data(), ctx.data());
    let desk = Desk { client: client.map_err(failed)?, intake: intake.map_err(failed)?, log: log.map_err(failed)? };
    match desk.client.may_any(&[Scope::Import]) {
        true => Ok(desk),
        false => Err(forbidden(&[Scope::Import])),
    }
}

async fn start<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let desk = desk(ctx)?;
    let input = ctx.args.get("input").map(|input| input.as_value().clone().into_json().unwrap_or_default());
    let input = input.unwrap_or_default();
    let uploads = ctx.data::<Uploads>().ok();
    let Some(upload) = input["file"].as_str().and_then(|marker| uploads?.take(marker)) else {
        let errors = vec![UserError::input(Code::MissingRequired, "file")];
        return Ok(Some(FieldValue::owned_any(Started { job: None, errors })));
    };
    let Desk { client, intake, log } = desk;
    let options = plans::options(&input);
    let started = intake.start(&client.tenant, asker(client), upload.file, &upload.name, options).await;
    let id = started.map_err(refused)?;
    intake.wait(id, seconds(input["wait"].as_i64())).await;
    let job = job::find(log, &client.tenant, id).await?;
    Ok(Some(FieldValue::owned_any(Started { job, errors: Vec::new() })))
}

/// Why an import was not entered.
pub fn refused(error: StartError) -> Refusal {
    match error {
        StartError::Full => {
            Refusal::new(ErrorCode::Unavailable, "As many imports as allowed are running and waiting; try again soon.")
        }
        StartError::Command(error) => error.into(),
    }
}

async fn find<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let Desk { client, intake, log } = desk(ctx)?;
    let id = ctx.args.get("id").and_then(|id| Uuid::try_parse(id.string().ok()?).ok());
    let Some(id) = id else { return Ok(None) };
    let wait = ctx.args.get("wait").and_then(|wait| wait.i64().ok());
    if job::find(log, &client.tenant, id).await?.is_none() {
        return Ok(None);
    }
    intake.wait(id, seconds(wait)).await;
    Ok(job::find(log, &client.tenant, id).await?.map(FieldValue::owned_any))
}

pub fn seconds(wait: Option<i64>) -> u64 {
    wait.unwrap_or_default().try_into().unwrap_or_default()
}

async fn list<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let Desk { client, log, .. } = desk(ctx)?;
    let first = first(argument(ctx, "first"), DEFAULT, MOST)?;
    let after: Option<Uuid> = after(ctx)?;
    let jobs = job::page(log, &client.tenant, after, first + 1).await?;
    let jobs = jobs.into_iter().map(|job| (job.id.to_string(), job)).collect();
    Ok(Some(FieldValue::owned_any(Listed::new(jobs, first, after.is_some(), None))))
}

/// The field `errors` of a job.
fn errors(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
    FieldFuture::new(async move { Ok(errors_of(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
}

async fn errors_of<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let Some(job) = ctx.parent_value.downcast_ref::<Job>() else { return Ok(None) };
    let Desk { client, log, .. } = desk(ctx)?;
    let first = first(argument(ctx, "first"), DEFAULT_ERRORS, MOST_ERRORS)?;
    let after: Option<i64> = after(ctx)?;
    let errors = job::errors(log, &client.tenant, job.id, after.unwrap_or_default(), first + 1).await?;
    let errors = errors.into_iter().map(|error| (error.number.to_string(), error)).collect();
    Ok(Some(FieldValue::owned_any(Listed::new(errors, first, after.is_some(), Some(job.errors)))))
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

fn after<T: std::str::FromStr>(ctx: &ResolverContext<'_>) -> Result<Option<T>, Refusal> {
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

/// Adds what a field that shows imports may cost.
pub fn cost(planner: &Planner, root: &Selected, cost: &mut Cost) -> Result<(), Refusal> {
    let operation = planner.operation;
    let (jobs, shown) = match root.name {
        "importJob" => (1, vec![(root.sets(), 2)]),
        name if name == "startImport" || plans::is_decision(name) => {
            let payload = if name == "startImport" { "StartImportPayload" } else { "ImportDecisionPayload" };
            let fields = operation.select(payload, &root.sets(), 2)?;
            let jobs = fields.iter().filter(|field| field.name == "importJob");
            (1, jobs.map(|field| (field.sets(), 3)).collect())
        }
        "importJobs" => {
            let mut shown = Vec::new();
            for field in operation.select("ImportJobConnection", &root.sets(), 2)? {
                match field.name {
                    "nodes" => shown.push((field.sets(), 3)),
                    "edges" => {
                        let fields = operation.select("ImportJobEdge", &field.sets(), 3)?;
                        shown.extend(fields.iter().filter(|field| field.name == "node").map(|field| (field.sets(), 4)));
                    }
                    _ => {}
                }
            }
            (first(operation.argument(root.field(), "first"), DEFAULT, MOST)?, shown)
        }
        _ => return Ok(()),
    };
    let jobs = jobs.unsigned_abs();
    cost.add(Cost { records: jobs, statements: 1 });
    for (sets, depth) in shown {
        for field in operation.select("ImportJob", &sets, depth)? {
            match field.name {
                "errors" => {
                    let errors = first(operation.argument(field.field(), "first"), DEFAULT_ERRORS, MOST_ERRORS)?;
                    cost.add(Cost { records: jobs * errors.unsigned_abs(), statements: jobs });
                }
                "plan" => plans::cost(operation, &field, depth + 1, jobs, cost)?,
                _ => {}
            }
        }
    }
    Ok(())
}
