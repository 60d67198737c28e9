//! The document of the Rostering service, from its operations and the descriptions of its records.

use serde_json::{Value, json};

use super::document::{Access, Answer, Document, Operation, Parameter, Place, named};
use super::header::{self, Header};
use super::schema::{STATUS_INFO, Schemas, capitalised, sourced_id};
use super::{PLACEHOLDER, TOKEN_PATH};
use crate::query::endpoint::{ENDPOINTS, Endpoint};
use crate::query::path::paths;
use crate::rest::ROSTERING;
use crate::rest::error::Failure;
use crate::rest::parameters::{self, Form};
use crate::roster::shape::document;

const DESCRIPTION: &str = "The roster of a board of education, as OneRoster 1.2 has it. Every path takes HEAD too. \
    An answer shows the roster as it stood at one position of the board's event log, which it names in \
    `Rosterhub-Position`.";

pub fn write() -> Value {
    let mut schemas = Schemas::default();
    schemas.status_info();
    let operations: Vec<Operation> = ENDPOINTS.iter().map(|endpoint| operation(endpoint, &mut schemas)).collect();
    let mut tags: Vec<(String, String)> = Vec::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.path.contains('/')) {
        tags.push((tag(endpoint), endpoint.summary.to_owned()));
    }
    Document {
        title: "RosterHub: OneRoster 1.2 Rostering",
        description: DESCRIPTION,
        server: format!("{PLACEHOLDER}{ROSTERING}"),
        token_url: format!("{PLACEHOLDER}{TOKEN_PATH}"),
        tags,
        operations,
        schemas: schemas.by_name,
    }
    .write()
}

fn operation(endpoint: &Endpoint, schemas: &mut Schemas) -> Operation {
    let schema = named(&schemas.envelope(endpoint.kind, endpoint.member(), endpoint.is_single));
    let path = endpoint.parameters().map(|name| Parameter {
        key: name.to_owned(),
        name,
        place: Place::Path,
        schema: sourced_id(),
        doc: "Id of the record.".to_owned(),
    });
    let query = parameters::of(endpoint).map(|parameter| query_parameter(endpoint, parameter));
    let headers = [&header::IF_NONE_MATCH, &header::AT_LEAST].map(Header::parameter);
    Operation {
        verb: "get",
        path: format!("/{}", endpoint.path),
        id: endpoint.operation_id.to_owned(),
        tag: tag(endpoint),
        summary: endpoint.summary.to_owned(),
        access: Access::Token(endpoint.scopes),
        parameters: path.chain(query).chain(headers).collect(),
        body: Vec::new(),
        answers: answers(endpoint, schema),
    }
}

/// By the collection that the path begins with, as the standard's file has them.
fn tag(endpoint: &Endpoint) -> String {
    let collection = endpoint.path.split('/').next().unwrap_or_default();
    format!("{}Management", capitalised(collection))
}

fn query_parameter(endpoint: &Endpoint, parameter: &'static parameters::Parameter) -> Parameter {
    let text = || json!({ "type": "string" });
    let own_key = format!("{}.{}", parameter.name, endpoint.kind.name());
    let (key, schema) = match &parameter.form {
        Form::Number { least, default } => {
            let number = json!({ "type": "integer", "format": "int32", "minimum": least, "default": default });
            (parameter.name.to_owned(), number)
        }
        Form::OneOf(values) => (parameter.name.to_owned(), json!({ "type": "string", "enum": values })),
        Form::Text => (parameter.name.to_owned(), text()),
        // Other records have other fields.
        Form::Path => {
            let known = json!({ "type": "string", "enum": paths(endpoint.kind) });
            let extension = json!({ "type": "string", "pattern": "^metadata\\..+$" });
            (own_key, json!({ "anyOf": [known, extension] }))
        }
        Form::Members => {
            let members: Vec<&str> = document(endpoint.kind).iter().map(|member| member.json).collect();
            (own_key, json!({ "type": "array", "items": { "type": "string", "enum": members } }))
        }
    };
    Parameter { key, name: parameter.name, place: Place::Query, schema, doc: parameter.doc.to_owned() }
}

fn answers(endpoint: &Endpoint, schema: Value) -> Vec<Answer> {
    let mut headers = vec![&header::ETAG, &header::POSITION];
    let unchanged = [headers.clone(), header::RATE_LIMIT.iter().collect()].concat();
    if !endpoint.is_single {
        headers.extend([&header::TOTAL_COUNT, &header::LINK]);
    }
    headers.extend(&header::RATE_LIMIT);
    let doc = if endpoint.is_single { "The record." } else { "A page of the list." };
    let mut answers = vec![
        Answer {
            status: "200".into(),
            key: None,
            doc: doc.into(),
            headers,
            content: Some(("application/json", schema)),
            others: Vec::new(),
        },
        Answer {
            status: "304".into(),
            key: Some("NotModified".into()),
            doc: "The client has the answer already.".into(),
            headers: unchanged,
            content: None,
            others: Vec::new(),
        },
    ];
    // What names no record is always there.
    let can_happen = |failure: &Failure| *failure != Failure::UnknownObject || endpoint.parameters().next().is_some();
    for failure in Failure::ALL.into_iter().filter(can_happen) {
        let (status, key) = key(failure);
        let reason = format!("`{}`: {}.", failure.minor(), failure.when());
        match answers.iter_mut().find(|answer| answer.key.as_ref() == Some(&key)) {
            Some(answer) => {
                answer.doc.push(' ');
                answer.doc.push_str(&reason);
            }
            None => answers.push(Answer {
                status,
                key: Some(key),
                doc: reason,
                headers: header::of_failure(failure.status()),
                content: Some(("application/json", named(STATUS_INFO))),
                others: Vec::new(),
            }),
        }
    }
    answers
}

/// Status and name of a failure's answer. A wrong verb is no answer of any operation, so it is told as what else may
/// come.
fn key(failure: Failure) -> (String, String) {
    if failure == Failure::WrongVerb {
        return ("default".into(), "OtherFailure".into());
    }
    let name = failure.status().canonical_reason().unwrap_or_default().replace(' ', "");
    (failure.status().as_str().to_owned(), name)
}
