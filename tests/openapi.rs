//! What is served is what the OpenAPI documents say: each answer is validated against its description.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, client, delta, run, token};

const STANDARD: &str = "onerosterv1p2rostersservice_openapi3_v1p0.json";
const CERTIFICATION: &str = "imsorv1p2_rostering_openapi3_v1p0.json";

/// A document as a client reads it.
struct Document {
    value: Value,
}

/// A path of the document with its parameters, and what is known of its operation.
struct Operation<'a> {
    document: &'a Document,
    path: &'a str,
    verb: &'a str,
}

impl Document {
    async fn read(server: &Server, url: &str) -> Self {
        let response = server.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        Self { value: response.json().await.unwrap() }
    }

    async fn rostering(server: &Server) -> Self {
        Self::read(server, &server.oneroster(&format!("discovery/{STANDARD}"))).await
    }

    async fn hub(server: &Server) -> Self {
        Self::read(server, &format!("{}/rosterhub/v1/openapi.json", server.base)).await
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.value["paths"].as_object().unwrap();
        let of = |path, verbs: &'static str| Operation { document: self, path, verb: verbs };
        paths
            .iter()
            .flat_map(|(path, verbs)| {
                verbs.as_object().unwrap().keys().map(move |verb| (path.as_str(), verb.as_str()))
            })
            .map(|(path, verb)| of(path, if verb == "get" { "get" } else { "post" }))
            .collect()
    }

    fn operation<'a>(&'a self, verb: &'a str, path: &'a str) -> Operation<'a> {
        assert!(self.value["paths"][path][verb].is_object(), "{verb} {path} is not described");
        Operation { document: self, path, verb }
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.value.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
            None => value,
        }
    }

    /// `schema` with all that it may refer to, as JSON Schema has it: OpenAPI 3.0 writes null in its own way.
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut whole = json!({ "allOf": [schema], "components": self.value["components"] });
        nullable(&mut whole);
        jsonschema::draft4::options().should_validate_formats(true).build(&whole).unwrap()
    }
}

fn nullable(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.remove("nullable") == Some(true.into()) {
                members["type"] = json!([members["type"], "null"]);
            }
            members.values_mut().for_each(nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(nullable),
        _ => {}
    }
}

impl Operation<'_> {
    fn value(&self) -> &Value {
        &self.document.value["paths"][self.path][self.verb]
    }

    /// What is said of an answer with this status.
    fn answer(&self, status: u16) -> &Value {
        let answers = &self.value()["responses"];
        let answer = answers.get(status.to_string()).or(answers.get("default"));
        self.document.resolved(answer.unwrap_or_else(|| panic!("{}: {status} is not described", self.path)))
    }

    /// Fails unless the answer is as described. `chosen`: `fields` was given, so that required members may be missing.
    async fn validate(&self, response: reqwest::Response, chosen: bool) -> Value {
        let (status, url) = (response.status().as_u16(), response.url().to_string());
        let answer = self.answer(status);
        let headers = response.headers().clone();
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let Some(value) = headers.get(name) else { continue };
            if self.document.resolved(header)["schema"]["type"] == "integer" {
                assert!(value.to_str().unwrap().parse::<i64>().is_ok(), "{url}: {name}");
            }
        }
        let described: BTreeSet<String> =
            answer["headers"].as_object().into_iter().flatten().map(|(name, _)| name.to_lowercase()).collect();
        // What is not HTTP's own is described.
        for name in headers.keys().map(|name| name.as_str()).filter(|name| {
            ["x-", "rosterhub-", "ratelimit-"].iter().any(|own| name.starts_with(own)) || ["link", "etag", "location"].contains(name)
        }) {
            assert!(described.contains(name) || name == "x-content-type-options", "{url}: {status} has {name}");
        }
        let text = response.text().await.unwrap();
        let Some((media_type, content)) = answer["content"].as_object().and_then(|content| content.iter().next()) else {
            assert_eq!(text, "", "{url}");
            return Value::Null;
        };
        assert_eq!(headers["content-type"], media_type.as_str(), "{url}");
        if media_type.starts_with("text/") {
            return text.into();
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{url}: {e}: {text}"));
        let mut document = Document { value: self.document.value.clone() };
        if chosen {
            for (name, schema) in document.value["components"]["schemas"].as_object_mut().unwrap() {
                let is_record = schema["properties"].get("dateLastModified").is_some();
                assert!(is_record || schema["properties"].get("status").is_none(), "{name}");
                if is_record {
                    schema.as_object_mut().unwrap().remove("required");
                }
            }
        }
        let validator = document.validator(&content["schema"]);
        let errors: Vec<String> =
            validator.iter_errors(&body).map(|e| format!("{} at {}", e, e.instance_path())).take(5).collect();
        assert!(errors.is_empty(), "{url}: {status}: {errors:#?}");
        body
    }
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
