//! Imports over HTTP: hand a set in, look at the job, read its errors.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Multipart, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use uuid::Uuid;

use super::address::PublicAddress;
use super::error::HubError;
use super::{Hub, Importer, POSITION};
use crate::csv::job::{self, Import, Job, JobError, Progress, Upload};
use crate::roster::Code;

/// RFC 7240: `Prefer: wait=30` asks to hold the answer until the import has ended.
const PREFER: HeaderName = HeaderName::from_static("prefer");
pub const LONGEST_WAIT: u64 = 60;

/// Imports of this process.
#[derive(Default)]
pub struct Running(Mutex<HashMap<Uuid, watch::Receiver<Progress>>>);

impl Running {
    fn get(&self, id: Uuid) -> Option<watch::Receiver<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
    fn enter(&self, id: Uuid, progress: watch::Receiver<Progress>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, progress);
    }
    fn leave(&self, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/imports", post(create).get(list))
        .route("/imports/{id}", get(single))
        .route("/imports/{id}/errors", get(errors))
        .layer(DefaultBodyLimit::disable()) // counted as it streams, against the configured limit
}

/// The id in the path. What cannot be one names nothing.
struct JobId(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for JobId {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let id = Path::<Uuid>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| HubError::not_found("import"))
    }
}

/// `POST /imports`: a zip as the body, or as the first file of a multipart form. 202, or the ended job if the client
/// prefers to wait.
async fn create(
    Importer(client): Importer,
    State(hub): State<Hub>,
    address: PublicAddress,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, HubError> {
    let permit = hub.imports.clone().try_acquire_owned().map_err(|_| HubError::busy())?;
    let folder = hub.config.data_dir().join("uploads");
    tokio::fs::create_dir_all(&folder).await?;
    let file = tempfile::NamedTempFile::new_in(&folder)?;
    let file_name = receive(request, &file, hub.config.max_upload_bytes).await?;
    let upload = Upload { path: file.path().to_owned(), file_name, client: client.name.to_string() };
    let import = Import::accept(&hub.log, &client.tenant, upload).await?;
    let id = import.id;
    hub.running.enter(id, import.progress());
    let running = hub.running.clone();
    tokio::spawn(async move {
        if let Err(error) = import.run().await {
            tracing::error!(%error, job = %id, "an import ended without an outcome");
        }
        running.leave(id);
        drop((file, permit));
    });
    wait(&hub, id, &headers).await;
    let job = job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))?;
    let status = if job.finished_at.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("{address}/rosterhub/v1/imports/{id}");
    Ok((status, [(header::LOCATION, location)], answer(&job)).into_response())
}

/// Writes the upload to the file; gives its name.
async fn receive(request: Request, file: &tempfile::NamedTempFile, limit: u64) -> Result<String, HubError> {
    let mut out = tokio::fs::File::from_std(file.reopen()?);
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .is_some_and(|t| t.starts_with("multipart/form-data"));
    let name = if is_form {
        let mut form = Multipart::from_request(request, &()).await.map_err(|e| HubError::bad_request(e.body_text()))?;
        let mut part = loop {
            match form.next_field().await.map_err(|e| HubError::bad_request(e.body_text()))? {
                Some(part) if part.file_name().is_some() => break part,
                Some(_) => {}
                None => return Err(HubError::bad_request("The form holds no file.")),
            }
        };
        receive_part(&mut part, &mut out, limit).await?;
        part.file_name().unwrap_or_default().to_owned()
    } else {
        receive_body(request.into_body(), &mut out, limit).await?;
        String::new()
    };
    out.flush().await?;
    Ok(name.chars().filter(|c| !c.is_control()).take(200).collect())
}

async fn receive_body(body: Body, out: &mut tokio::fs::File, limit: u64) -> Result<(), HubError> {
    let mut chunks = body.into_data_stream();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| HubError::bad_request("The upload broke off."))?;
        size += chunk.len() as u64;
        if size > limit {
            return Err(HubError::too_large(limit));
        }
        out.write_all(&chunk).await?;
    }
    Ok(())
}

async fn receive_part(part: &mut Field<'_>, out: &mut tokio::fs::File, limit: u64) -> Result<(), HubError> {
    let mut size = 0;
    while let Some(chunk) = part.chunk().await.map_err(|e| HubError::bad_request(e.body_text()))? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(HubError::too_large(limit));
        }
        out.write_all(&chunk).await?;
    }
    Ok(())
}

/// Waits for the end of an import of this process, as long as the client prefers.
async fn wait(hub: &Hub, id: Uuid, headers: &HeaderMap) {
    let seconds = headers
        .get(&PREFER)
        .and_then(|p| p.to_str().ok())
        .and_then(|p| p.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait=")?.parse::<u64>().ok()))
        .unwrap_or(0)
        .min(LONGEST_WAIT);
    if let Some(mut progress) = hub.running.get(id).filter(|_| seconds > 0) {
        let ended = async { while progress.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(seconds), ended).await;
    }
}

/// The latest imports, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ImportPage {
    imports: Vec<Job>,
}

/// Errors of an import, in the order in which they were found.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErrorPage {
    /// How many errors the import has.
    total: i64,
    errors: Vec<ListedError>,
}

/// One error of an import.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ImportError", deny_unknown_fields)]
struct ListedError {
    /// 1, 2, 3, …
    number: i64,
    file: String,
    /// 1 is the header, 0 the whole file.
    line: i64,
    column: String,
    #[schemars(extend("enum" = Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>()))]
    code: String,
    /// What is wrong; masked where it is personal.
    value: String,
    /// What is wrong and how to mend it.
    message: Option<&'static str>,
    /// The same in Japanese.
    message_ja: Option<&'static str>,
}

/// `GET /imports`: the latest jobs, newest first.
async fn list(
    Importer(client): Importer,
    State(hub): State<Hub>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, HubError> {
    let limit = number(&query, "limit", 100)?.clamp(1, 1_000);
    let offset = number(&query, "offset", 0)?;
    let imports = job::list(&hub.log, &client.tenant, limit, offset).await?;
    Ok(Json(ImportPage { imports }).into_response())
}

/// `GET /imports/{id}`: the job; with `Prefer: wait=…` held until it has ended.
async fn single(
    Importer(client): Importer,
    State(hub): State<Hub>,
    headers: HeaderMap,
    JobId(id): JobId,
) -> Result<Response, HubError> {
    if job::find(&hub.log, &client.tenant, id).await?.is_none() {
        return Err(HubError::not_found("import"));
    }
    wait(&hub, id, &headers).await;
    let job = job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))?;
    Ok(answer(&job))
}

/// `GET /imports/{id}/errors?after=&limit=`: every error found, in order, in English and Japanese.
async fn errors(
    Importer(client): Importer,
    State(hub): State<Hub>,
    JobId(id): JobId,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, HubError> {
    let after = number(&query, "after", 0)?;
    let limit = number(&query, "limit", 1_000)?.clamp(1, 10_000);
    let job = job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))?;
    let errors = job::errors(&hub.log, &client.tenant, id, after, limit).await?;
    let errors = errors.into_iter().map(ListedError::from).collect();
    Ok(Json(ErrorPage { total: job.errors, errors }).into_response())
}

impl From<JobError> for ListedError {
    fn from(error: JobError) -> Self {
        let code = Code::from_name(&error.code);
        Self {
            number: error.number,
            file: error.file,
            line: error.line,
            column: error.column,
            code: error.code,
            value: error.value,
            message: code.map(Code::english),
            message_ja: code.map(Code::japanese),
        }
    }
}

fn number(query: &HashMap<String, String>, name: &str, default: i64) -> Result<i64, HubError> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| HubError::bad_request(format!("{name} is a whole number from 0."))),
    }
}

fn answer(job: &Job) -> Response {
    let mut response = Json(job).into_response();
    if let Some(position) = job.position {
        response.headers_mut().insert(POSITION, HeaderValue::from(position));
    }
    response
}
