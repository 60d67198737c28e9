//! Exports, described by the table of their parameters.

use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::document::{Access, Answer, Operation, Parameter, Place};
use super::header::{self, Header};
use super::hub::{answer, failures, ok, operation};
use crate::auth::Scope;
use crate::export::cursors::Cursor;
use crate::export::options::{Form, PARAMETERS};
use crate::export::{Summary, options};
use crate::rest::exports::{Acknowledgement, CursorList, ZIP};

const ACCESS: Access = Access::Token(&[Scope::Export]);

pub fn exports(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let binary = json!({ "type": "string", "format": "binary" });
    let headers: &[&'static Header] = &[&header::POSITION, &header::SINCE, &header::ETAG, &header::CONTENT_DISPOSITION];
    let set = Operation {
        access: ACCESS,
        parameters: PARAMETERS.iter().map(parameter).chain([header::IF_NONE_MATCH.parameter()]).collect(),
        answers: [
            vec![
                Answer { content: Some((ZIP, binary)), ..answer("200", "A set.", headers) },
                answer("304", "The client has the set already.", &[&header::ETAG, &header::POSITION, &header::SINCE]),
            ],
            failures(schemas, &[400, 401, 403, 422, 429, 503]),
        ]
        .concat(),
        ..operation(
            "get",
            "/exports/oneroster.zip",
            "getExport",
            "The roster, or what has changed of it, as a OneRoster CSV set. Without the scope for demographics, these \
             are left out.",
        )
    };
    let report = Operation {
        access: ACCESS,
        parameters: PARAMETERS.iter().map(parameter).collect(),
        answers: [
            vec![ok::<Summary>(schemas, 200, "A report.", &[&header::POSITION])],
            failures(schemas, &[400, 401, 403, 422, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/exports/report", "getExportReport", "What a set would hold, and what it would not say.")
    };
    let mut all = vec![set, report];
    all.extend(cursors(schemas));
    all
}

/// Of the path.
pub(super) fn cursor_name() -> Parameter {
    Parameter {
        key: "cursorName".into(),
        name: "name",
        place: Place::Path,
        schema: json!({ "type": "string", "pattern": "^[0-9A-Za-z.\\-_]{1,64}$" }),
        doc: "Name of the cursor.".into(),
    }
}

fn cursors(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let path = "/exports/cursors/{name}";
    let mut one = |verb, id: &str, statuses: &[u16], summary: &str, answer: Answer| Operation {
        access: ACCESS,
        parameters: vec![cursor_name()],
        answers: [vec![answer], failures(schemas, statuses)].concat(),
        ..operation(verb, path, id, summary)
    };
    let gone = answer("204", "It is gone.", &[]);
    let delete = one("delete", "deleteExportCursor", &[400, 401, 403, 404, 429, 503], "Forgets a cursor.", gone);
    let pending = || answer("200", "", &[]);
    let mut get = one("get", "getExportCursor", &[400, 401, 403, 404, 429, 503], "One cursor.", pending());
    let acknowledge = "Says that the set of a position has been taken. Moves back only when asked to.";
    let mut put = one("put", "putExportCursor", &[400, 401, 403, 409, 429, 503], acknowledge, pending());
    get.answers[0] = ok::<Cursor>(schemas, 200, "The cursor.", &[]);
    put.answers[0] = ok::<Cursor>(schemas, 200, "The cursor as it stands now.", &[]);
    put.body = vec![("application/json", schema::<Acknowledgement>(schemas))];
    let list = Operation {
        access: ACCESS,
        answers: [vec![ok::<CursorList>(schemas, 200, "Cursors.", &[])], failures(schemas, &[401, 403, 429, 503])]
            .concat(),
        ..operation("get", "/exports/cursors", "getExportCursors", "The cursors of the client.")
    };
    vec![list, get, put, delete]
}

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn parameter(parameter: &options::Parameter) -> Parameter {
    let schema = match parameter.form {
        Form::Flag => json!({ "type": "boolean", "default": false }),
        Form::OneOf(values) => json!({ "type": "string", "enum": values, "default": values[0] }),
        Form::List => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Moment | Form::Text => json!({ "type": "string" }),
    };
    Parameter {
        key: format!("export.{}", parameter.name),
        name: parameter.name,
        place: Place::Query,
        schema,
        doc: parameter.doc.to_owned(),
    }
}
