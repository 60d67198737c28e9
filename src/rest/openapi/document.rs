//! The parts of an OpenAPI 3.0 document, and how they are written. Knows nothing of rosters.

use serde_json::{Map, Value, json};

use super::header::Header;
use crate::auth::{Scope, Scopes};

/// Name of the security scheme.
const OAUTH2: &str = "OAuth2CC";
const BASIC: &str = "ClientSecret";

/// A document before it is written.
pub struct Document {
    pub title: &'static str,
    pub description: &'static str,
    /// Address that the paths are below.
    pub server: String,
    pub token_url: String,
    /// Names of groups of operations, with descriptions.
    pub tags: Vec<(String, String)>,
    pub operations: Vec<Operation>,
    /// By name.
    pub schemas: Map<String, Value>,
}

/// What can be done with a path.
pub struct Operation {
    /// In lower case.
    pub verb: &'static str,
    /// Below the server's address, with a slash at the beginning and parameters in braces.
    pub path: String,
    pub id: String,
    pub tag: String,
    pub summary: String,
    pub access: Access,
    pub parameters: Vec<Parameter>,
    /// Schemas of the request's body, by media type.
    pub body: Vec<(&'static str, Value)>,
    pub answers: Vec<Answer>,
}

/// What a request has to prove itself with.
pub enum Access {
    Anyone,
    /// A token with one of the scopes.
    Token(&'static [Scope]),
    /// The client's id and secret.
    Secret,
}

#[derive(Clone)]
pub struct Parameter {
    /// Under which operations share it.
    pub key: String,
    pub name: &'static str,
    pub place: Place,
    pub schema: Value,
    pub doc: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

#[derive(Clone)]
pub struct Answer {
    /// A number, or `default`.
    pub status: String,
    /// Under which operations share it, if they do.
    pub key: Option<String>,
    pub doc: String,
    pub headers: Vec<&'static Header>,
    /// Media type and schema.
    pub content: Option<(&'static str, Value)>,
    /// Others that it may have as the client accepts.
    pub others: Vec<(&'static str, Value)>,
}

/// A schema that stands in the document under this name.
pub fn named(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// What several operations share, entered as they are written.
#[derive(Default)]
struct Shared {
    parameters: Map<String, Value>,
    headers: Map<String, Value>,
    responses: Map<String, Value>,
}

impl Document {
    pub fn write(self) -> Value {
        let mut shared = Shared::default();
        let mut paths = Map::new();
        for operation in &self.operations {
            let path = paths.entry(operation.path.as_str()).or_insert_with(|| json!({}));
            path[operation.verb] = shared.operation(operation);
        }
        json!({
            "openapi": "3.0.3",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.description,
                "license": { "name": env!("CARGO_PKG_LICENSE") },
            },
            "servers": [{ "url": self.server }],
            "tags": self.tags.iter().map(|(name, doc)| json!({ "name": name, "description": doc })).collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": self.schemas,
                "parameters": shared.parameters,
                "headers": shared.headers,
                "responses": shared.responses,
                "securitySchemes": schemes(&self.operations, &self.token_url),
            },
        })
    }
}

fn schemes(operations: &[Operation], token_url: &str) -> Value {
    let used = operations.iter().flat_map(|operation| match operation.access {
        Access::Token(scopes) => scopes,
        Access::Anyone | Access::Secret => &[],
    });
    let scopes: Scopes = used.copied().collect();
    let scopes: Map<String, Value> = scopes.iter().map(|s| (s.name().to_owned(), s.opens().into())).collect();
    let mut schemes = json!({
        OAUTH2: {
            "type": "oauth2",
            "description": "OAuth 2.0 client credentials. An API key is sent as a bearer token in the same way.",
            "flows": { "clientCredentials": { "tokenUrl": token_url, "scopes": scopes } },
        },
    });
    if operations.iter().any(|operation| matches!(operation.access, Access::Secret)) {
        schemes[BASIC] = json!({
            "type": "http", "scheme": "basic",
            "description": "The client's id and secret. They may stand in the form instead.",
        });
    }
    schemes
}

impl Shared {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut written = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "tags": [operation.tag],
            "security": match operation.access {
                Access::Anyone => json!([]),
                // Alternatives: one of them is enough.
                Access::Token(scopes) => scopes.iter().map(|scope| json!({ OAUTH2: [scope.name()] })).collect(),
                Access::Secret => json!([{ BASIC: [] }, {}]),
            },
            "parameters": operation.parameters.iter().map(|p| self.parameter(p)).collect::<Vec<_>>(),
        });
        if !operation.body.is_empty() {
            let content = operation.body.iter().map(|(media_type, schema)| content(media_type, schema));
            written["requestBody"] = json!({ "required": true, "content": content.collect::<Map<_, _>>() });
        }
        let answers = operation.answers.iter().map(|answer| (answer.status.clone(), self.answer(answer)));
        written["responses"] = answers.collect::<Map<_, _>>().into();
        written
    }

    fn parameter(&mut self, parameter: &Parameter) -> Value {
        let mut written = json!({
            "name": parameter.name,
            "in": match parameter.place {
                Place::Path => "path",
                Place::Query => "query",
                Place::Header => "header",
            },
            "description": parameter.doc,
            "required": parameter.place == Place::Path,
            "schema": parameter.schema,
        });
        if parameter.schema["type"] == "array" {
            written["style"] = "form".into();
            written["explode"] = false.into();
        }
        self.parameters.insert(parameter.key.clone(), written);
        json!({ "$ref": format!("#/components/parameters/{}", parameter.key) })
    }

    fn answer(&mut self, answer: &Answer) -> Value {
        let mut written = json!({ "description": answer.doc });
        if !answer.headers.is_empty() {
            let headers = answer.headers.iter().map(|header| (header.name.to_owned(), self.header(header)));
            written["headers"] = headers.collect::<Map<_, _>>().into();
        }
        let contents = answer.content.iter().chain(&answer.others);
        let contents: Map<_, _> = contents.map(|(media_type, schema)| content(media_type, schema)).collect();
        if !contents.is_empty() {
            written["content"] = contents.into();
        }
        let Some(key) = &answer.key else { return written };
        self.responses.insert(key.clone(), written);
        json!({ "$ref": format!("#/components/responses/{key}") })
    }

    fn header(&mut self, header: &Header) -> Value {
        let written = json!({ "description": header.doc, "schema": header.schema() });
        self.headers.insert(header.name.to_owned(), written);
        json!({ "$ref": format!("#/components/headers/{}", header.name) })
    }
}

fn content(media_type: &str, schema: &Value) -> (String, Value) {
    (media_type.to_owned(), json!({ "schema": schema }))
}
