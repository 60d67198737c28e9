//! The operations that write the roster: the same four for each type of record, and the batch.

use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::document::{Access, Answer, Operation, Parameter, Place};
use super::header;
use super::hub::{answer, failures, operation};
use crate::auth::Scope;
use crate::rest::writes::writable;
use crate::roster::EntityType;

const JSON: &str = "application/json";

pub(super) fn writes(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let mut operations: Vec<Operation> = writable().flat_map(|kind| of_type(kind, schemas)).collect();
    operations.push(batch(schemas));
    operations
}

fn of_type(kind: EntityType, schemas: &mut SchemaGenerator) -> [Operation; 4] {
    let entity = kind.entity();
    let title = entity.name[..1].to_uppercase() + &entity.name[1..];
    let document = || {
        let doc = "The document that a read of the Rostering service shows, with or without its envelope.";
        json!({ "type": "object", "description": doc })
    };
    let shown = || {
        let object = json!({ "type": "object" });
        json!({ "type": "object", "required": [entity.name], "properties": { entity.name: object } })
    };
    let done = |status: &str, doc: &str| Answer {
        content: Some((JSON, shown())),
        ..answer(status, doc, &[&header::POSITION, &header::ETAG])
    };
    let access = || Access::Token(&[Scope::Write]);
    let refused = [400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 503];
    let mut write = |verb: &'static str, path: &str, name: &str, summary: &str, body: Vec<(&'static str, Value)>| {
        let id = path.contains('{').then(id);
        Operation {
            access: access(),
            parameters: id.into_iter().chain(conditions()).collect(),
            body,
            answers: [vec![done("200", "The record as it stands now.")], refusals(schemas, &refused)].concat(),
            ..operation(verb, &format!("/roster/{}{path}", entity.collection), &format!("{name}{title}"), summary)
        }
    };
    let mut create = write("post", "", "create", "Creates a record.", vec![(JSON, document())]);
    let mut put =
        write("put", "/{sourcedId}", "put", "Lets a record stand as the document says.", vec![(JSON, document())]);
    let patch = write(
        "patch",
        "/{sourcedId}",
        "patch",
        "Changes members of a record (RFC 7396).",
        vec![("application/merge-patch+json", document()), (JSON, document())],
    );
    let delete = write("delete", "/{sourcedId}", "delete", "Marks a record tobedeleted.", Vec::new());
    let mut created = done("201", "The record has been created.");
    created.headers.push(&header::LOCATION);
    create.answers[0] = created.clone();
    put.answers.insert(1, created);
    [create, put, patch, delete]
}

fn batch(schemas: &mut SchemaGenerator) -> Operation {
    let text = || json!({ "type": "string" });
    let one = json!({
        "type": "object",
        "required": ["op", "collection"],
        "properties": {
            "op": { "type": "string", "enum": ["create", "put", "patch", "delete"] },
            "collection": { "type": "string", "enum": writable().map(|k| k.entity().collection).collect::<Vec<_>>() },
            "sourcedId": text(), "ifMatch": text(), "document": { "type": "object" },
        },
    });
    let body = json!({
        "type": "object", "required": ["operations"],
        "properties": { "operations": { "type": "array", "items": one, "maxItems": 1000 } },
    });
    let outcome = json!({
        "type": "object",
        "required": ["collection", "sourcedId", "outcome"],
        "properties": {
            "collection": text(), "sourcedId": text(), "etag": text(),
            "outcome": { "type": "string", "enum": ["created", "changed", "restored", "withdrawn", "unchanged"] },
        },
    });
    let outcomes = json!({
        "type": "object", "required": ["position", "operations"],
        "properties": { "position": { "type": "integer" }, "operations": { "type": "array", "items": outcome } },
    });
    let done = Answer {
        content: Some((JSON, outcomes)),
        ..answer("200", "What became of each record.", &[&header::POSITION])
    };
    Operation {
        access: Access::Token(&[Scope::Write]),
        parameters: conditions().into_iter().take(1).collect(),
        body: vec![(JSON, body)],
        answers: [vec![done], refusals(schemas, &[400, 401, 403, 409, 413, 415, 422, 429, 503])].concat(),
        ..operation("post", "/batch", "batch", "Up to 1,000 writes, all or nothing.")
    }
}

/// As elsewhere, but that faults of documents and the place of malformed JSON are told.
fn refusals(schemas: &mut SchemaGenerator, statuses: &[u16]) -> Vec<Answer> {
    let text = || json!({ "type": "string" });
    let fault = json!({
        "type": "object",
        "required": ["field", "code", "value", "message", "messageJa", "mend", "mendJa"],
        "properties": {
            "operation": { "type": "integer", "description": "Place in a batch, from 0." },
            "field": text(), "code": text(), "value": text(),
            "message": text(), "messageJa": text(), "mend": text(), "mendJa": text(),
        },
        "additionalProperties": false,
    });
    let error = json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": { "code": text(), "message": text(), "faults": { "type": "array", "items": fault },
                        "line": { "type": "integer" }, "column": { "type": "integer" } },
        "additionalProperties": false,
    });
    let body = json!({ "type": "object", "required": ["error"], "properties": { "error": error } });
    let mut answers = failures(schemas, statuses);
    let of_documents = ["400", "404", "409", "412", "413", "415", "422"];
    for told in answers.iter_mut().filter(|answer| of_documents.contains(&answer.status.as_str())) {
        told.key = told.key.take().map(|key| format!("Write{key}"));
        told.content = Some((JSON, body.clone()));
    }
    answers
}

fn id() -> Parameter {
    Parameter {
        key: "sourcedId".into(),
        name: "sourcedId",
        place: Place::Path,
        schema: json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        doc: "Id of the record.".into(),
    }
}

fn conditions() -> Vec<Parameter> {
    let header = |name: &'static str, doc: &str| Parameter {
        key: name.into(),
        name,
        place: Place::Header,
        schema: json!({ "type": "string" }),
        doc: doc.into(),
    };
    vec![
        header("Idempotency-Key", "Carries the request out once, however often it is sent."),
        header("If-Match", "Entity tags of which the record must have one; `*`: it must be there."),
        header("If-None-Match", "`*`: it must not be there."),
    ]
}
