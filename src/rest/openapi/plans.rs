//! Operations on plans of imports, for the document of the hub's own paths.

use schemars::generate::SchemaGenerator;
use serde_json::json;

use super::document::{Access, Operation, Parameter, Place};
use super::header;
use super::hub::{failures, number, ok, operation};
use crate::auth::Scope;
use crate::csv::edition::NAMES;
use crate::csv::encoding::WISHES;
use crate::csv::job::Job;
use crate::csv::options::{APPLY, MODES, ON_CONFLICTS, ON_ERRORS};
use crate::csv::plan::KINDS;
use crate::csv::rules::STRICTNESSES;
use crate::rest::plans::{PlanAnswer, RecordPage};
use crate::roster::EntityType;

/// Of the path.
pub(super) fn id() -> Parameter {
    Parameter {
        key: "importId".into(),
        name: "id",
        place: Place::Path,
        schema: json!({ "type": "string", "format": "uuid" }),
        doc: "Id of the import.".into(),
    }
}

pub(super) fn apply() -> Parameter {
    let doc = "When the plan is applied without being approved: `never`; when it is `safe`, that is, passes no threshold, \
               which is the default; `always`.";
    option("apply", &APPLY, doc)
}

const MODE: &str = "Of a CSV file or workbook without manifest: `bulk` tells all records, and others are withdrawn; \
                    `delta` tells changes; `auto` is a delta if the rows have a status, else nothing is withdrawn.";

/// Those of an import, however it is handed in.
pub(super) fn parameters() -> Vec<Parameter> {
    vec![
        apply(),
        option("onErrors", &ON_ERRORS, "A set with errors is refused, or its rows without errors are applied."),
        option("encoding", &WISHES, "In which the files are; `auto` by their bytes. A byte order mark counts more."),
        option("mode", &MODES, MODE),
        option("edition", &NAMES, "The edition that the set follows; without it, its manifest and columns tell."),
        option(
            "rules",
            &STRICTNESSES,
            "How strictly the set is looked at. Without it, as the server is set: as a rule `standard`.",
        ),
    ]
}

/// A word in the query, out of these.
pub(super) fn option(name: &'static str, values: &[&str], doc: &str) -> Parameter {
    parameter(name, json!({ "type": "string", "enum": values }), doc)
}

pub(super) fn parameter(name: &'static str, schema: serde_json::Value, doc: &str) -> Parameter {
    Parameter { key: format!("import.{name}"), name, place: Place::Query, schema, doc: doc.to_owned() }
}

const CONFLICTS: &str = "Records that changed after the import that is taken back: somebody decides (`hold`), they \
                         stay (`keep`), or are taken back as well (`restore`).";

pub(super) fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let access = || Access::Token(&[Scope::Import]);
    let text = |name, doc| parameter(name, json!({ "type": "string" }), doc);
    let plan = Operation {
        access: access(),
        parameters: vec![id()],
        answers: [
            vec![ok::<PlanAnswer>(schemas, 200, "The plan.", &[])],
            failures(schemas, &[400, 401, 403, 404, 409, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/imports/{id}/plan", "getImportPlan", "What an import would change, by type and by school.")
    };
    let names = EntityType::ALL.map(EntityType::name);
    let records = Operation {
        access: access(),
        parameters: vec![
            id(),
            option("entity", &names, "Only records of this type."),
            option("kind", &KINDS, "Only records of which this becomes."),
            text("school", "Only records of this org."),
            Parameter {
                key: "import.onlyConflicts".into(),
                ..option(
                    "conflicts",
                    &["true", "false"],
                    "Only records that changed after the import that is taken back.",
                )
            },
            text("after", "`next` of the page before."),
            Parameter { key: "import.limit".into(), ..number("limit", "Records in the answer, at most 1,000.", 100) },
        ],
        answers: [
            vec![ok::<RecordPage>(schemas, 200, "Records, before and after.", &[])],
            failures(schemas, &[400, 401, 403, 404, 409, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/imports/{id}/plan/records", "getImportPlanRecords", "Records of a plan that waits.")
    };
    let conflicts = || option("conflicts", &ON_CONFLICTS, CONFLICTS);
    let plan_id = Parameter {
        schema: json!({ "type": "string", "format": "uuid" }),
        ..text("plan", "Id of the plan that is approved; required.")
    };
    let decisions = [
        (
            "approve",
            "approveImport",
            "Approves a plan: it is applied, if the roster still stands as planned on.",
            vec![plan_id, conflicts()],
        ),
        ("discard", "discardImport", "Throws a plan away.", vec![]),
        ("cancel", "cancelImport", "Ends an import that has not begun to apply.", vec![]),
        ("revert", "revertImport", "Takes a completed import back, by a new job.", vec![apply(), conflicts()]),
    ];
    let mut operations = vec![plan, records];
    for (path, name, summary, parameters) in decisions {
        let headers: &[&'static header::Header] = match path {
            "revert" => &[&header::LOCATION, &header::POSITION],
            _ => &[&header::POSITION],
        };
        operations.push(Operation {
            access: access(),
            parameters: [vec![id(), header::prefer()], parameters].concat(),
            answers: [
                vec![
                    ok::<Job>(schemas, 200, "The import, which has ended or waits for a decision.", headers),
                    ok::<Job>(schemas, 202, "The import, which goes on.", headers),
                ],
                failures(schemas, &[400, 401, 403, 404, 409, 429, 503]),
            ]
            .concat(),
            ..operation("post", &format!("/imports/{{id}}/{path}"), name, summary)
        });
    }
    operations
}
