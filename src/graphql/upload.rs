//! Uploads by the GraphQL multipart request specification: the operation, a map from files to variables, and the
//! files, in this order. Files go to the disk as they arrive.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Request as Operation, Value};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};

use super::error::{Code, Refusal};
use super::planner::forbidden;
use crate::auth::{Client, Scope};
use crate::csv::intake::{Intake, ReceiveError};

/// One of these has to be there: a page of another site cannot send it without asking first (CORS), whereas it can
/// send a form.
const PREFLIGHT: [&str; 3] = ["graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name"];

/// Bytes of the operation and of the map.
const MOST_BYTES: usize = 1 << 20;

/// What a variable holds in place of a file. No client gains by sending it: it means a file of the same request.
const MARK: &str = "#upload:";

/// Files of a request.
#[derive(Clone, Default)]
pub struct Uploads(Arc<Mutex<Vec<Upload>>>);

struct Upload {
    /// Variables that hold it: `variables.input.file`.
    paths: Vec<String>,
    file: Option<UploadedFile>,
}

/// A file, and how its sender calls it.
pub struct UploadedFile {
    pub file: File,
    pub name: String,
}

/// A request in parts.
pub struct Form {
    /// JSON of the operation.
    pub operations: Vec<u8>,
    pub uploads: Uploads,
}

pub fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.to_ascii_lowercase().starts_with("multipart/form-data")
}

/// Receives the parts, of a client that may import.
pub async fn receive(mut request: Request, client: &Client, intake: &Intake) -> Result<Form, Refusal> {
    if !PREFLIGHT.iter().any(|name| request.headers().get(*name).is_some_and(|value| !value.is_empty())) {
        let message = "A form needs the header GraphQL-Require-Preflight: 1.";
        return Err(Refusal::input(message));
    }
    // Before the upload is sent in vain.
    if !client.may_any(&[Scope::Import]) {
        return Err(forbidden(&[Scope::Import]));
    }
    if intake.is_full(&client.tenant) {
        let message = "As many imports as allowed are running and waiting; try again soon.";
        return Err(Refusal::new(Code::Unavailable, message));
    }
    DefaultBodyLimit::disable().apply(&mut request); // counted as it streams
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed("The form has no boundary."))?;
    let operations = part(&mut form, "operations").await?;
    let map = part(&mut form, "map").await?;
    let mut map: HashMap<String, Vec<String>> = serde_json::from_slice(&map)
        .map_err(|_| malformed("map is a JSON object: names of files, each with the variables that hold it."))?;
    let mut uploads = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let paths = field.name().and_then(|name| map.remove(name));
        let Some(paths) = paths else { return Err(malformed("The form has a file that map does not name.")) };
        // A set is large: one at a time.
        if !uploads.is_empty() {
            return Err(malformed("A form holds one file."));
        }
        let name = field.file_name().unwrap_or_default().to_owned();
        let file = intake.receive(field).await.map_err(|error| match error {
            ReceiveError::TooLarge(limit) => Refusal::limit(format!("An upload has at most {limit} bytes.")),
            ReceiveError::Source(error) => broken(error),
            ReceiveError::File(error) => {
                tracing::error!(%error, "an upload could not be kept");
                Refusal::new(Code::Internal, "The hub failed; the failure has been logged.")
            }
        })?;
        uploads.push(Upload { paths, file: Some(UploadedFile { file, name }) });
    }
    if !map.is_empty() {
        return Err(malformed("map names a file that the form does not have."));
    }
    Ok(Form { operations, uploads: Uploads(Arc::new(Mutex::new(uploads))) })
}

/// The next part, which has this name.
async fn part(form: &mut Multipart, name: &str) -> Result<Vec<u8>, Refusal> {
    let field = form.next_field().await.map_err(broken)?;
    let Some(mut field) = field.filter(|field| field.name() == Some(name)) else {
        return Err(malformed("The parts of the form are operations, map, and the files, in this order."));
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk(&mut field).await? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(Refusal::limit(format!("{name} has at most {MOST_BYTES} bytes.")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn chunk(field: &mut Field<'_>) -> Result<Option<axum::body::Bytes>, Refusal> {
    field.chunk().await.map_err(broken)
}

fn broken(_: MultipartError) -> Refusal {
    malformed("The form is malformed, or broke off.")
}

fn malformed(message: &str) -> Refusal {
    Refusal::input(message)
}

impl Uploads {
    /// Puts marks into the variables that hold the files, and the files beside them.
    pub fn bind(self, mut operation: Operation) -> Result<Operation, Refusal> {
        for (n, upload) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().enumerate() {
            for path in &upload.paths {
                let place = path.strip_prefix("variables.").and_then(|path| {
                    let mut steps = path.split('.');
                    let first = operation.variables.get_mut(steps.next()?)?;
                    steps.try_fold(first, |value, step| match value {
                        Value::Object(members) => members.get_mut(step),
                        Value::List(items) => items.get_mut(step.parse::<usize>().ok()?),
                        _ => None,
                    })
                });
                match place {
                    Some(place) => *place = Value::String(format!("{MARK}{n}")),
                    None => return Err(malformed("map names a variable that is not there; it is null in operations.")),
                }
            }
        }
        Ok(operation.data(self))
    }

    /// The file that a mark means; once.
    pub fn take(&self, mark: &str) -> Option<UploadedFile> {
        let n: usize = mark.strip_prefix(MARK)?.parse().ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(n)?.file.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(path: &str) -> Uploads {
        let file = UploadedFile { file: tempfile::tempfile().unwrap(), name: "a.zip".into() };
        Uploads(Arc::new(Mutex::new(vec![Upload { paths: vec![path.into()], file: Some(file) }])))
    }

    #[test]
    fn a_variable_holds_the_mark_of_its_file() {
        let variables = || {
            let variables = async_graphql::value!({ "input": { "file": null }, "files": [null] });
            Operation::new("").variables(async_graphql::Variables::from_value(variables))
        };
        let uploads_at = uploads("variables.input.file");
        let bound = uploads_at.clone().bind(variables()).unwrap();
        let mark = "#upload:0";
        assert_eq!(bound.variables["input"], async_graphql::value!({ "file": (mark) }));
        assert_eq!(uploads_at.take(mark).unwrap().name, "a.zip");
        for gone in [mark, "#upload:1", "#upload:x", "0", ""] {
            assert!(uploads_at.take(gone).is_none(), "{gone}");
        }
        assert!(uploads("variables.files.0").bind(variables()).is_ok());
        for bad in
            ["variables.file", "input.file", "variables.input.other", "variables.files.1", "variables.input.file.x"]
        {
            assert!(uploads(bad).bind(variables()).is_err(), "{bad}");
        }
    }
}
