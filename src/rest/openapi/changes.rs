//! The change feed, described by the table of its parameters.

use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::document::{Access, Answer, Operation, Parameter, Place};
use super::exports::cursor_name;
use super::header;
use super::hub::{answer, failures, ok, operation};
use crate::auth::Scope;
use crate::feed::Kind;
use crate::feed::cursors::Cursor;
use crate::rest::changes::cursors::{CursorBody, CursorList};
use crate::rest::changes::parameters::{self, DEFAULT_LIMIT, JSONL, LONGEST_WAIT, NDJSON, PARAMETERS};
use crate::rest::changes::{ChangePage, LastLine};
use crate::rest::events::EVENT_STREAM;
use crate::rest::exports::Acknowledgement;
use crate::roster::EntityType;

const ACCESS: Access = Access::Token(&[Scope::Roster]);

pub(super) fn changes(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    // What stands in lines and events; OpenAPI 3.0 has no other way to say it.
    schemas.subschema_for::<LastLine>();
    let text = || json!({ "type": "string" });
    let page = Answer {
        others: vec![(JSONL, text()), (NDJSON, text()), (EVENT_STREAM, text())],
        ..ok::<ChangePage<'static>>(
            schemas,
            200,
            "A page; as JSON Lines, a `Change` in each and at last a `ChangesEnd`; as events, a `Change` in the data of \
             each event `change`, whose `id` is its position.",
            &[&header::POSITION, &header::LINK],
        )
    };
    let list = Operation {
        access: ACCESS,
        parameters: PARAMETERS.iter().map(parameter).chain([header::LAST_EVENT_ID.parameter()]).collect(),
        answers: [vec![page], failures(schemas, &[400, 401, 403, 429, 503])].concat(),
        ..operation(
            "get",
            "/changes",
            "getChanges",
            "Changes after a position, in the order of the log: page by page, in bulk, or as they happen.",
        )
    };
    let mut all = vec![list];
    all.extend(cursors(schemas));
    all
}

fn cursors(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let one = "/changes/cursors/{name}";
    let below = |step: &str| format!("{one}/{step}");
    // Verb, path, id, summary; parameters; answers; failures.
    let table = vec![
        (
            operation("get", "/changes/cursors", "getFeedCursors", "The cursors of the client."),
            vec![],
            vec![ok::<CursorList>(schemas, 200, "Cursors.", &[])],
            vec![401, 403, 429, 503],
        ),
        (
            operation("get", one, "getFeedCursor", "One cursor: what it is told of, and how far it is."),
            vec![cursor_name()],
            vec![ok::<Cursor>(schemas, 200, "The cursor.", &[])],
            vec![400, 401, 403, 404, 429, 503],
        ),
        (
            operation("put", one, "putFeedCursor", "Makes a cursor, or gives it another filter."),
            vec![cursor_name()],
            vec![
                ok::<Cursor>(schemas, 200, "The cursor as it is now.", &[]),
                ok::<Cursor>(schemas, 201, "The cursor, which is new.", &[&header::LOCATION]),
            ],
            vec![400, 401, 403, 409, 429, 503],
        ),
        (
            operation(
                "get",
                &below("changes"),
                "getFeedCursorChanges",
                "Changes after the position acknowledged last; the same again until it is moved.",
            ),
            [vec![cursor_name()], PARAMETERS.iter().filter(|known| !known.of_cursors).map(parameter).collect()]
                .concat(),
            vec![ok::<ChangePage<'static>>(schemas, 200, "A page.", &[&header::POSITION])],
            vec![400, 401, 403, 404, 429, 503],
        ),
        (
            operation(
                "post",
                &below("acknowledge"),
                "acknowledgeFeedCursor",
                "Says that the changes up to a position have been taken. Moves back only when asked to.",
            ),
            vec![cursor_name()],
            vec![ok::<Cursor>(schemas, 200, "The cursor as it stands now.", &[])],
            vec![400, 401, 403, 404, 409, 429, 503],
        ),
        (
            operation("delete", one, "deleteFeedCursor", "Forgets a cursor."),
            vec![cursor_name()],
            vec![answer("204", "It is gone.", &[])],
            vec![400, 401, 403, 404, 429, 503],
        ),
    ];
    let (definition, acknowledgement) = (schema::<CursorBody>(schemas), schema::<Acknowledgement>(schemas));
    let written = table.into_iter().map(|(operation, parameters, done, failed)| Operation {
        access: ACCESS,
        parameters,
        body: match operation.verb {
            "put" => vec![("application/json", definition.clone())],
            "post" => vec![("application/json", acknowledgement.clone())],
            _ => vec![],
        },
        answers: [done, failures(schemas, &failed)].concat(),
        ..operation
    });
    written.collect()
}

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn parameter(parameter: &parameters::Parameter) -> Parameter {
    let list = |words: &[&str]| json!({ "type": "array", "items": { "type": "string", "enum": words } });
    let schema = match parameter.name {
        "types" => list(&EntityType::ALL.map(EntityType::name)),
        "kinds" => list(&Kind::ALL.map(|(kind, ..)| kind.word())),
        "values" => json!({ "type": "boolean", "default": false }),
        "limit" => json!({ "type": "integer", "minimum": 1, "default": DEFAULT_LIMIT }),
        "wait" => json!({ "type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0 }),
        _ => json!({ "type": "string" }),
    };
    Parameter {
        key: format!("changes.{}", parameter.name),
        name: parameter.name,
        place: Place::Query,
        schema,
        doc: parameter.doc.to_owned(),
    }
}
