//! Imports: handing a set in, looking at the job, reading its errors. What REST has below `/imports`.

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ResolverContext, SchemaBuilder,
    TypeRef,
};
use uuid::Uuid;

use super::document::Selected;
use super::error::{Code as ErrorCode, Refusal};
use super::import_figures as figures;
use super::import_objects::{self as objects, Started, payload};
use super::import_pages::{Listed, after, argument, first, nodes, page_arguments};
use super::import_plans::{self as plans, option_input};
use super::mutation::UserError;
use super::plan::Cost;
use super::planner::{Planner, forbidden};
use super::upload::Uploads;
use crate::auth::{Client, Scope};
use crate::csv::intake::{Intake, LONGEST_WAIT, StartError};
use crate::csv::job::{self, Job, STATES};
use crate::log::Log;
use crate::rest::plans::asker;
use crate::roster::Code;

/// Entries on a page: when it is not said how many, and most.
const DEFAULT: i64 = 20;
pub const MOST: i64 = 100;
pub const DEFAULT_ERRORS: i64 = 100;
pub const MOST_ERRORS: i64 = 1_000;

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
        .register(payload("StartImportPayload", "What `startImport` came to."));
    figures::register(plans::register(objects::register(schema)))
}

pub fn wait() -> InputValue {
    InputValue::new("wait", TypeRef::named(TypeRef::INT))
        .description(format!("Seconds to hold the answer until the import has ended, at most {LONGEST_WAIT}."))
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
    let query = figures::queries(query);
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
pub fn errors(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
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

/// Adds what a field that shows imports may cost.
pub fn cost(planner: &Planner, root: &Selected, cost: &mut Cost) -> Result<(), Refusal> {
    let operation = planner.operation;
    let (jobs, shown) = match root.name {
        "importJob" => (1, vec![(root.sets(), 2)]),
        "importStatistics" => (1, vec![]),
        name if name == "startImport" || plans::is_decision(name) => {
            let payload = if name == "startImport" { "StartImportPayload" } else { "ImportDecisionPayload" };
            let fields = operation.select(payload, &root.sets(), 2)?;
            let jobs = fields.iter().filter(|field| field.name == "importJob");
            (1, jobs.map(|field| (field.sets(), 3)).collect())
        }
        "importJobs" => {
            (first(operation.argument(root.field(), "first"), DEFAULT, MOST)?, nodes(operation, "ImportJob", root, 1)?)
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
