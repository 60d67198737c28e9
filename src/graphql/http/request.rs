//! Requests as HTTP brings them: JSON in a body, or parameters of the address.

use async_graphql::{Value, Variables};
use axum::body::Body;
use axum::http::{HeaderMap, Uri, header};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::HashMap;

use super::media::is_utf8;
use crate::graphql::error::{Code, Refusal};
use crate::graphql::persisted::Asked;

/// Room in a body for all but document and variables.
const REST: usize = 65_536;

/// Largest document and variables, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub document: usize,
    pub variables: usize,
}

impl Sizes {
    /// Bytes of a request at most. In JSON a document can be longer than it is: \n, \".
    pub fn request(self) -> usize {
        2 * self.document + self.variables + REST
    }
}

/// The members of a request, each as it was written. Others are passed over, as the specification wants.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Members<'a> {
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    document_id: Option<&'a RawValue>,
    operation_name: Option<&'a RawValue>,
    variables: Option<&'a RawValue>,
    extensions: Option<&'a RawValue>,
}

/// Reads a POST.
pub async fn posted(headers: &HeaderMap, body: Body, sizes: Sizes) -> Result<Asked, Refusal> {
    if !is_json(headers) {
        let message = "The body is application/json in UTF-8, without a content encoding.";
        return Err(Refusal::new(Code::UnsupportedMediaType, message));
    }
    read(&receive(body, sizes).await?, sizes)
}

/// Reads the JSON of a request.
pub fn read(bytes: &[u8], sizes: Sizes) -> Result<Asked, Refusal> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(bad("Batches are not taken: a request is one operation, which may have many fields."));
        }
        _ => return Err(bad("The body is a JSON object.")),
    }
    let text = std::str::from_utf8(bytes).map_err(|_| bad("The body is not UTF-8."))?;
    let members: Members = serde_json::from_str(text)
        .map_err(|error| bad(format!("The body is not JSON: line {}, column {}.", error.line(), error.column())))?;
    check_variables(members.variables.map(RawValue::get), sizes)?;
    Ok(Asked {
        query: member(members.query, "query is a string.")?,
        document_id: member(members.document_id, "documentId is a string.")?,
        operation_name: named(member(members.operation_name, "operationName is a string.")?),
        variables: variables(members.variables.map(RawValue::get))?,
        extensions: extensions(members.extensions.map(RawValue::get))?,
    })
}

/// Reads a GET.
pub fn got(uri: &Uri, sizes: Sizes) -> Result<Asked, Refusal> {
    let mut parameters: HashMap<String, String> = HashMap::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let known = ["query", "documentId", "operationName", "variables", "extensions"].contains(&&*name);
        // An empty parameter is the same as none.
        if known && !value.is_empty() && parameters.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(bad(format!("{name} is given twice.")));
        }
    }
    let written = |name: &str| parameters.get(name).map(String::as_str).filter(|json| json.trim() != "null");
    check_variables(written("variables"), sizes)?;
    Ok(Asked {
        variables: variables(written("variables"))?,
        extensions: extensions(written("extensions"))?,
        query: parameters.remove("query"),
        document_id: parameters.remove("documentId"),
        operation_name: parameters.remove("operationName"),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    let utf8 = parts
        .filter_map(|part| part.split_once('='))
        .all(|(name, value)| !name.trim().eq_ignore_ascii_case("charset") || is_utf8(value));
    json && utf8 && headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

async fn receive(body: Body, sizes: Sizes) -> Result<Vec<u8>, Refusal> {
    let limit = sizes.request();
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| bad("The body broke off."))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Refusal::new(Code::PayloadTooLarge, format!("A body has at most {limit} bytes.")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn check_variables(json: Option<&str>, sizes: Sizes) -> Result<(), Refusal> {
    match json {
        Some(json) if json.len() > sizes.variables => {
            Err(Refusal::limit(format!("The variables have at most {} bytes.", sizes.variables)))
        }
        _ => Ok(()),
    }
}

fn member<T: DeserializeOwned>(json: Option<&RawValue>, otherwise: &str) -> Result<Option<T>, Refusal> {
    json.map(|json| serde_json::from_str(json.get()).map_err(|_| bad(otherwise))).transpose()
}

/// An empty name is no name.
fn named(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty())
}

fn variables(json: Option<&str>) -> Result<Variables, Refusal> {
    let Some(json) = json else { return Ok(Variables::default()) };
    serde_json::from_str(json).map_err(|_| bad("variables is an object."))
}

fn extensions(json: Option<&str>) -> Result<HashMap<String, Value>, Refusal> {
    let Some(json) = json else { return Ok(HashMap::new()) };
    serde_json::from_str(json).map_err(|_| bad("extensions is an object."))
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}
