//! A document as a client reads it, and answers held against it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::support::Server;

pub const STANDARD: &str = "onerosterv1p2rostersservice_openapi3_v1p0.json";
pub const CERTIFICATION: &str = "imsorv1p2_rostering_openapi3_v1p0.json";

pub struct Document {
    pub value: Value,
    validators: RefCell<BTreeMap<String, Rc<jsonschema::Validator>>>,
    /// Operation and status of each answer that has been held against the document.
    seen: RefCell<BTreeSet<(String, u16)>>,
}

impl Document {
    pub fn new(value: Value) -> Self {
        Self { value, validators: RefCell::default(), seen: RefCell::default() }
    }

    async fn read(server: &Server, url: &str) -> Self {
        let response = server.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        Self::new(response.json().await.unwrap())
    }

    pub async fn rostering(server: &Server) -> Self {
        Self::read(server, &server.oneroster(&format!("discovery/{STANDARD}"))).await
    }

    pub async fn hub(server: &Server) -> Self {
        Self::read(server, &format!("{}/rosterhub/v1/openapi.json", server.base)).await
    }

    /// Verb, path and description of each operation.
    pub fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let paths = self.value["paths"].as_object().unwrap();
        let verbs = paths.iter().flat_map(|(path, verbs)| verbs.as_object().unwrap().iter().map(move |v| (path, v)));
        verbs.map(|(path, (verb, operation))| (verb.as_str(), path.as_str(), operation)).collect()
    }

    /// What a reference leads to.
    pub fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.value.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} leads nowhere")),
            None => value,
        }
    }

    pub fn parameters<'a>(&'a self, operation: &'a Value) -> impl Iterator<Item = &'a Value> {
        operation["parameters"].as_array().unwrap().iter().map(|parameter| self.resolved(parameter))
    }

    /// Operations without an answer of this kind of status so far.
    pub fn unseen(&self, statuses: std::ops::Range<u16>) -> Vec<&str> {
        let seen = self.seen.borrow();
        let ids = self.operations().into_iter().map(|(.., operation)| operation["operationId"].as_str().unwrap());
        ids.filter(|id| !seen.iter().any(|(of, status)| of == id && statuses.contains(status))).collect()
    }

    /// Fails unless the answer is as described. `chosen`: `fields` was given, so that required members may be missing.
    pub async fn hold(&self, operation: &Value, response: reqwest::Response, chosen: bool) -> Value {
        let (status, url, headers) =
            (response.status().as_u16(), response.url().to_string(), response.headers().clone());
        let answers = &operation["responses"];
        let answer = answers.get(status.to_string()).or(answers.get("default"));
        let answer = self.resolved(answer.unwrap_or_else(|| panic!("{url}: {status} is not described")));
        let described = answer["headers"].as_object().cloned().unwrap_or_default();
        for (name, header) in &described {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            if self.resolved(header)["schema"]["type"] == "integer" {
                assert!(value.is_none_or(|value| value.parse::<i64>().is_ok()), "{url}: {name}");
            }
        }
        let own = |name: &&str| {
            ["rosterhub-", "ratelimit-", "x-total"].iter().any(|prefix| name.starts_with(prefix))
                || ["link", "etag", "location", "www-authenticate", "retry-after"].contains(name)
        };
        for name in headers.keys().map(|name| name.as_str()).filter(own) {
            assert!(described.keys().any(|known| known.eq_ignore_ascii_case(name)), "{url}: {status} has {name}");
        }
        let text = response.text().await.unwrap();
        let id = operation["operationId"].as_str().unwrap().to_owned();
        self.seen.borrow_mut().insert((id, status));
        let sent = headers.get("content-type").map(|sent| sent.to_str().unwrap()).unwrap_or_default();
        let contents = answer["content"].as_object();
        // Of several, the one that was sent.
        let chosen_type = contents.and_then(|contents| contents.get_key_value(sent).or(contents.iter().next()));
        let Some((media_type, content)) = chosen_type else {
            assert_eq!(text, "", "{url}");
            return Value::Null;
        };
        // The encoding of an error list is the client's choice.
        let sent = if media_type == "text/csv" { sent.split(';').next().unwrap() } else { sent };
        assert_eq!(sent, media_type, "{url}");
        let is_text = |media_type: &str| {
            media_type.starts_with("text/") || media_type.contains("jsonl") || media_type.contains("ndjson")
        };
        let body = match is_text(media_type) || media_type == "application/zip" {
            true => Value::String(text),
            false => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{url}: {e}: {text}")),
        };
        let validator = self.validator(&content["schema"], chosen);
        let errors = validator.iter_errors(&body).map(|e| format!("{e} at {}", e.instance_path())).take(5);
        let errors: Vec<String> = errors.collect();
        assert!(errors.is_empty(), "{url}: {status}: {errors:#?}");
        body
    }

    fn validator(&self, schema: &Value, chosen: bool) -> Rc<jsonschema::Validator> {
        let mut validators = self.validators.borrow_mut();
        let made = validators.entry(format!("{chosen} {schema}")).or_insert_with(|| {
            let mut whole = json!({ "allOf": [schema], "components": self.value["components"] });
            as_json_schema(&mut whole, chosen);
            Rc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap())
        });
        made.clone()
    }
}

/// OpenAPI 3.0 writes null in its own way. `chosen`: records lack what is required of them.
fn as_json_schema(schema: &mut Value, chosen: bool) {
    match schema {
        Value::Object(members) => {
            if members.remove("nullable") == Some(true.into()) {
                members["type"] = json!([members["type"], "null"]);
            }
            if chosen && members.get("properties").is_some_and(|p| p.get("dateLastModified").is_some()) {
                members.remove("required");
            }
            members.values_mut().for_each(|member| as_json_schema(member, chosen));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| as_json_schema(item, chosen)),
        _ => {}
    }
}
