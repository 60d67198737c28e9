//! What is shown of imports: objects of the schema, made of what is kept.

use std::collections::BTreeMap;

use async_graphql::Value;
use async_graphql::dynamic::{Field, FieldFuture, FieldValue, Object, SchemaBuilder, TypeRef};
use serde::de::DeserializeOwned;

use super::import_pages::{connection, page_arguments};
use super::imports::{DEFAULT_ERRORS, MOST_ERRORS, errors};
use super::mutation::{UserError, code_name};
use crate::csv::conversion::Conversion;
use crate::csv::job::{Job, JobError};
use crate::csv::plan::Changes;
use crate::roster::Code;
use crate::roster::Language::{English, Japanese};

/// A field of an object that is made of a `T`: name, type, value, meaning.
pub type Fields<T> = Vec<(&'static str, TypeRef, fn(&T) -> Option<Value>, &'static str)>;

/// What mutations of imports answer.
pub struct Started {
    pub job: Option<Job>,
    pub errors: Vec<UserError>,
}

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let schema = schema
        .register(job_object())
        .register(object("ImportRows", "Rows read of a file.", rows_fields()))
        .register(object(
            "ImportConversion",
            "What of a set is not kept as it stands in its files.",
            conversion_fields(),
        ))
        .register(object("ImportFileEncoding", "In which encoding a file was.", encoding_fields()))
        .register(object(
            "ImportChanges",
            "What became of the records of a type, or would have become of them.",
            changes_fields(),
        ))
        .register(object("ImportPhase", "How long a phase took.", phase_fields()))
        .register(object("ImportError", "An error in a set.", error_fields()))
        .register(object("ImportLeftOut", "Rows with errors that are left out of a file.", left_out_fields()));
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
            "errorsKept",
            TypeRef::named(TypeRef::INT),
            |job| Some(job.errors_kept?.into()),
            "How many of them are listed, when that is not all: there were very many, or they have had their time.",
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
pub fn members<T: DeserializeOwned + Send + Sync + 'static>(object: &serde_json::Value) -> Vec<FieldValue<'static>> {
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
            "fileNotRead, dropped, renamed, nullWord, mapped, repaired, accepted or erased.",
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
