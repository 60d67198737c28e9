//! The document of the hub's own paths: one table of operations for each of their groups. Schemas of answers follow
//! from the types that they are made of.

use axum::http::StatusCode;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::changes::changes;
use super::document::{Access, Answer, Document, Operation, Parameter, Place};
use super::event_types::{event_types, notices};
use super::exports::exports;
use super::header::{self, Header};
use super::plans::{self, option};
use super::uploads::{follow, uploads};
use super::webhooks::webhooks;
use super::writes::writes;
use super::{DISCOVERY, HUB_DOCUMENT, PLACEHOLDER, TOKEN_PATH};
use crate::auth::Scope;
use crate::csv::encoding::Encoding;
use crate::csv::job::Job;
use crate::rest::error::ErrorBody;
use crate::rest::imports::{ErrorPage, ImportPage};
use crate::rest::oauth::{ErrorAnswer, TokenAnswer};
use crate::rest::{HUB, ROSTERING};

const DESCRIPTION: &str = "What the hub offers besides OneRoster's own service: imports, exports, changes, writes, notices, webhooks, access tokens, health.";
const WEBHOOKS: &str = "Endpoints that the hub posts messages to. OpenAPI 3.0 has no place for these: the JSON Schema of a \
                        message, envelope and all, is told by `getEventType` for each type. A message is signed in the \
                        headers `webhook-id`, `webhook-timestamp` and `webhook-signature` (Standard Webhooks), and is \
                        delivered by any answer 2xx.";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A group of operations: name, description, table.
type Group = (&'static str, &'static str, fn(&mut SchemaGenerator) -> Vec<Operation>);

static GROUPS: [Group; 11] = [
    ("Imports", "Sets of OneRoster CSV files that are handed in.", imports),
    ("Uploads", "Sets that are handed in in parts (tus 1.0.0).", uploads),
    ("Exports", "The roster as sets of OneRoster CSV files.", exports),
    ("Changes", "What happened to the roster, event by event.", changes),
    ("Writes", "Changes of single records and in batches.", writes),
    ("Notices", "What happened to the hub itself.", notices),
    ("Webhooks", WEBHOOKS, webhooks),
    ("Event types", "What webhooks tell of, with the JSON Schema of each message.", event_types),
    ("Tokens", "OAuth 2.0 client credentials.", tokens),
    ("Descriptions", "What is served, for programs.", descriptions),
    ("Health", "For whoever watches over the hub.", health),
];

pub fn write() -> Value {
    let mut schemas = SchemaSettings::openapi3().for_serialize().into_generator();
    let mut operations = Vec::new();
    for (name, _, table) in &GROUPS {
        let tagged =
            table(&mut schemas).into_iter().map(|operation| Operation { tag: (*name).to_owned(), ..operation });
        operations.extend(tagged);
    }
    Document {
        title: "RosterHub: the hub's own paths",
        description: DESCRIPTION,
        server: PLACEHOLDER.to_owned(),
        token_url: format!("{PLACEHOLDER}{TOKEN_PATH}"),
        tags: GROUPS.iter().map(|(name, doc, _)| ((*name).to_owned(), (*doc).to_owned())).collect(),
        operations,
        schemas: left_out(schemas.take_definitions(true)),
    }
    .write()
}

/// Members that say something by being null: that what was there is removed.
static NULL_REMOVES: [(&str, &str); 2] = [("WebhookPatch", "filter"), ("WebhookPatch", "rate")];

/// Members that may be left out are never null: the hub's types leave out what they do not have.
fn left_out(mut schemas: Map<String, Value>) -> Map<String, Value> {
    for (of, schema) in &mut schemas {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, member) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(member) = member.as_object_mut().filter(|_| !required.contains(&name.as_str().into())) {
                not_null(member, NULL_REMOVES.contains(&(of, name)));
            }
        }
    }
    schemas
}

fn not_null(member: &mut Map<String, Value>, null_removes: bool) {
    if member.get("default") == Some(&Value::Null) {
        member.remove("default");
    }
    if !null_removes {
        member.remove("nullable");
    }
    // One of several words, or null.
    let Some(Value::Array(mut choices)) = member.remove("anyOf") else { return };
    choices.retain(|choice| choice["enum"] != json!([null]));
    match &mut choices[..] {
        [Value::Object(only)] => {
            let doc = member.remove("description").or(only.remove("description"));
            member.append(only);
            member.extend(doc.map(|doc| ("description".to_owned(), doc)));
        }
        _ => _ = member.insert("anyOf".to_owned(), choices.into()),
    }
}

fn imports(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let access = || Access::Token(&[Scope::Import]);
    let upload = || json!({ "type": "string", "format": "binary" });
    let form = json!({ "type": "object", "required": ["file"], "properties": { "file": upload() } });
    let id = plans::id;
    let create = Operation {
        access: access(),
        parameters: [plans::parameters(), vec![header::prefer()]].concat(),
        body: vec![
            ("application/zip", upload()),
            ("text/csv", upload()),
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", upload()),
            ("multipart/form-data", form),
        ],
        answers: [
            vec![
                ok::<Job>(
                    schemas,
                    200,
                    "The import has ended, or waits for a decision.",
                    &[&header::LOCATION, &header::POSITION],
                ),
                ok::<Job>(schemas, 202, "The import has been accepted.", &[&header::LOCATION]),
            ],
            failures(schemas, &[400, 401, 403, 408, 413, 429, 503]),
        ]
        .concat(),
        ..operation(
            "post",
            "/imports",
            "createImport",
            "Hands in a set, CSV file or workbook, all of which is applied or nothing. Its bytes tell which it is.",
        )
    };
    let list = Operation {
        access: access(),
        parameters: vec![
            number("limit", "Imports in the answer, at most 1,000.", 100),
            number("offset", "Imports before the first one.", 0),
        ],
        answers: [vec![ok::<ImportPage>(schemas, 200, "Imports.", &[])], failures(schemas, &[400, 401, 403, 429, 503])]
            .concat(),
        ..operation("get", "/imports", "getImports", "The latest imports, newest first.")
    };
    let single = Operation {
        access: access(),
        parameters: vec![id(), header::prefer()],
        answers: [
            vec![ok::<Job>(schemas, 200, "The import.", &[&header::POSITION])],
            failures(schemas, &[400, 401, 403, 404, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/imports/{id}", "getImport", "One import: how far it is, and what it changed.")
    };
    let errors = Operation {
        access: access(),
        parameters: vec![
            id(),
            number("after", "Number of the error after which to begin.", 0),
            number("limit", "Errors in the answer, at most 10,000.", 1_000),
        ],
        answers: [
            vec![ok::<ErrorPage>(schemas, 200, "Errors.", &[])],
            failures(schemas, &[400, 401, 403, 404, 429, 503]),
        ]
        .concat(),
        ..operation(
            "get",
            "/imports/{id}/errors",
            "getImportErrors",
            "The errors of an import, in English and Japanese.",
        )
    };
    let encodings = Encoding::ALL.map(Encoding::name);
    let file = Operation {
        access: access(),
        parameters: vec![
            id(),
            Parameter {
                key: "errors.lang".into(),
                ..option("lang", &["en", "ja"], "Language of the texts; without it as Accept-Language says.")
            },
            Parameter {
                key: "errors.encoding".into(),
                ..option(
                    "encoding",
                    &encodings,
                    "Encoding of the file; without it that of the files that were handed in.",
                )
            },
        ],
        answers: [
            vec![Answer {
                content: Some(("text/csv", upload())),
                ..answer("200", "All errors.", &[&header::CONTENT_DISPOSITION])
            }],
            failures(schemas, &[400, 401, 403, 404, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/imports/{id}/errors.csv", "getImportErrorFile", "All errors of an import as a CSV file.")
    };
    let mut operations = vec![create, list, single, errors, file];
    operations.extend(plans::operations(schemas));
    operations.extend(follow(schemas));
    operations
}

fn tokens(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let text = |doc: &str| json!({ "type": "string", "description": doc });
    let form = json!({
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": { "type": "string", "enum": ["client_credentials"] },
            "scope": text("Scopes asked for, blanks between; all the client has when it is left out."),
            "client_id": text("The client's id, unless it stands in the Authorization header."),
            "client_secret": text("Its secret, likewise."),
        },
    });
    let refused = |schemas: &mut SchemaGenerator, status: u16, doc: &str, headers: &[&'static Header]| Answer {
        content: Some((JSON, schemas.subschema_for::<ErrorAnswer>().to_value())),
        ..answer(&status.to_string(), doc, headers)
    };
    let token = Operation {
        path: TOKEN_PATH.into(),
        access: Access::Secret,
        body: vec![("application/x-www-form-urlencoded", form)],
        answers: vec![
            ok::<TokenAnswer>(schemas, 200, "A token.", &[]),
            refused(schemas, 400, "`invalid_request`, `unsupported_grant_type` or `invalid_scope`.", &[]),
            refused(schemas, 401, "`invalid_client`: unknown, or the secret is wrong.", &[&header::CHALLENGE]),
            refused(schemas, 403, "`unauthorized_client`: not from this address.", &[]),
            refused(schemas, 429, "`temporarily_unavailable`: too many failures.", &[&header::RETRY_AFTER]),
            refused(schemas, 503, "`temporarily_unavailable`: the database is away.", &[&header::RETRY_AFTER]),
            Answer { status: "default".into(), ..refused(schemas, 500, "Any other failure.", &[]) },
        ],
        ..operation("post", "", "createToken", "Gives a client an access token for an hour (RFC 6749, section 4.4).")
    };
    let key = json!({
        "type": "object",
        "required": ["kty", "crv", "alg", "use", "kid", "x"],
        "properties": {
            "kty": { "type": "string", "enum": ["OKP"] }, "crv": { "type": "string", "enum": ["Ed25519"] },
            "alg": { "type": "string", "enum": ["EdDSA"] }, "use": { "type": "string", "enum": ["sig"] },
            "kid": { "type": "string" }, "x": { "type": "string" },
        },
        "additionalProperties": false,
    });
    let set = json!({
        "type": "object", "required": ["keys"], "properties": { "keys": { "type": "array", "items": key } },
        "additionalProperties": false,
    });
    let keys = Operation {
        path: "/.well-known/jwks.json".into(),
        answers: [
            vec![Answer { content: Some(("application/jwk-set+json", set)), ..answer("200", "A JWK set.", &[]) }],
            failures(schemas, &[503]),
        ]
        .concat(),
        ..operation("get", "", "getKeys", "The public keys that access tokens are checked with (RFC 7517).")
    };
    vec![token, keys]
}

fn descriptions(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let document = || json!({ "type": "object" });
    let own = (HUB_DOCUMENT.to_owned(), "getDescription".to_owned(), "This document.");
    let standard = DISCOVERY.iter().enumerate().map(|(n, name)| {
        let id = format!("getRosteringDescription{}", n + 1);
        (format!("{ROSTERING}/discovery/{name}"), id, "The Rostering service as an OpenAPI document (discovery).")
    });
    [own]
        .into_iter()
        .chain(standard)
        .map(|(path, id, summary)| {
            let unchanged = answer("304", "The client has the document already.", &[&header::ETAG]);
            Operation {
                path,
                id,
                parameters: vec![header::IF_NONE_MATCH.parameter()],
                answers: [
                    vec![
                        Answer {
                            content: Some((JSON, document())),
                            ..answer("200", "The document.", &[&header::ETAG])
                        },
                        unchanged,
                    ],
                    failures(schemas, &[]),
                ]
                .concat(),
                ..operation("get", "", "", summary)
            }
        })
        .collect()
}

fn health(_: &mut SchemaGenerator) -> Vec<Operation> {
    let ok = || Answer { content: Some((TEXT, json!({ "type": "string" }))), ..answer("200", "It is.", &[]) };
    let away = Answer {
        content: Some((TEXT, json!({ "type": "string" }))),
        ..answer("503", "The database is away.", &[&header::RETRY_AFTER])
    };
    vec![
        Operation {
            path: "/health/live".into(),
            answers: vec![ok()],
            ..operation("get", "", "getLive", "Whether the process is there.")
        },
        Operation {
            path: "/health/ready".into(),
            answers: vec![ok(), away],
            ..operation("get", "", "getReady", "Whether the hub can answer: the database is there.")
        },
    ]
}

/// An operation that anyone may do; `path` below the hub's own.
pub(super) fn operation(verb: &'static str, path: &str, id: &str, summary: &str) -> Operation {
    Operation {
        verb,
        path: format!("{HUB}{path}"),
        id: id.to_owned(),
        tag: String::new(),
        summary: summary.to_owned(),
        access: Access::Anyone,
        parameters: Vec::new(),
        body: Vec::new(),
        answers: Vec::new(),
    }
}

/// A whole number in the query.
pub(super) fn number(name: &'static str, doc: &str, default: i64) -> Parameter {
    Parameter {
        key: format!("{name}.{default}"),
        name,
        place: Place::Query,
        schema: json!({ "type": "integer", "format": "int64", "minimum": 0, "default": default }),
        doc: doc.to_owned(),
    }
}

pub(super) fn answer(status: &str, doc: &str, headers: &[&'static Header]) -> Answer {
    Answer {
        status: status.to_owned(),
        key: None,
        doc: doc.to_owned(),
        headers: headers.to_vec(),
        content: None,
        others: Vec::new(),
    }
}

pub(super) fn ok<T: JsonSchema>(
    schemas: &mut SchemaGenerator,
    status: u16,
    doc: &str,
    headers: &[&'static Header],
) -> Answer {
    let content = Some((JSON, schemas.subschema_for::<T>().to_value()));
    Answer { content, ..answer(&status.to_string(), doc, headers) }
}

/// Answers with these statuses, and any other failure, in the hub's own shape.
pub(super) fn failures(schemas: &mut SchemaGenerator, statuses: &[u16]) -> Vec<Answer> {
    let content = Some((JSON, schemas.subschema_for::<ErrorBody>().to_value()));
    let known = statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()).map(|status| {
        let reason = status.canonical_reason().unwrap_or_default();
        Answer {
            key: Some(reason.replace(' ', "")),
            content: content.clone(),
            ..answer(status.as_str(), &format!("{reason}."), &header::of_failure(status))
        }
    });
    let other = Answer {
        key: Some("OtherFailure".into()),
        content: content.clone(),
        ..answer("default", "Any other failure.", &[])
    };
    known.chain([other]).collect()
}
