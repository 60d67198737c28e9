//! Imports over HTTP: hand a set in, look at the job, read its errors.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, TryStreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use uuid::Uuid;

use super::address::PublicAddress;
use super::error::HubError;
use super::extract::{HubPath, HubQuery};
use super::{Hub, Importer, POSITION};
use crate::command::CommandError;
use crate::csv::import::{Import, Progress, Upload};
use crate::csv::job::{self, Job, JobError};
use crate::csv::queue::Place;
use crate::log::Tenant;
use crate::roster::Code;

/// RFC 7240: `Prefer: wait=30` asks to hold the answer until the import has ended.
const PREFER: HeaderName = HeaderName::from_static("prefer");
pub const LONGEST_WAIT: u64 = 60;

/// Imports of this process.
#[derive(Default)]
pub struct Running(Mutex<HashMap<Uuid, watch::Receiver<Progress>>>);

impl Running {
    /// How far an import is.
    pub fn get(&self, id: Uuid) -> Option<watch::Receiver<Progress>> {
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

/// `POST /imports`: a zip as the body, or as the first file of a multipart form. 202, or the ended job if the client
/// prefers to wait.
async fn create(
    Importer(client): Importer,
    State(hub): State<Hub>,
    address: PublicAddress,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, HubError> {
    if hub.imports.is_full() {
        return Err(HubError::busy()); // before the upload is sent in vain
    }
    let folder = hub.config.data_dir().join("uploads");
    tokio::fs::create_dir_all(&folder).await?;
    // It has no name: however this program ends, nothing of it is left, and nobody else can open it.
    let file = tempfile::tempfile_in(&folder)?;
    let file_name = receive(request, &file, hub.config.max_upload_bytes).await?;
    let upload =
        Upload { file, file_name, client: client.name.to_string(), max_unpacked_bytes: hub.config.max_unpacked_bytes };
    let place = hub.imports.place().ok_or_else(HubError::busy)?;
    // In a task of its own, which goes on when the client goes away: a job that is entered is run.
    let id = tokio::spawn(enter(hub.clone(), client.tenant.clone(), upload, place))
        .await
        .map_err(|_| HubError::internal())??;
    wait(&hub, id, &headers).await;
    let job = job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))?;
    let status = if job.finished_at.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("{address}/rosterhub/v1/imports/{id}");
    Ok((status, [(header::LOCATION, location)], answer(&job)).into_response())
}

/// Enters a job and leaves it to a task that runs it; gives its id.
async fn enter(hub: Hub, tenant: Tenant, upload: Upload, place: Place) -> Result<Uuid, CommandError> {
    let import = Import::accept(&hub.log, &tenant, upload, place).await?;
    let id = import.id();
    hub.running.enter(id, import.progress());
    tokio::spawn(async move {
        if let Err(error) = import.run().await {
            tracing::error!(%error, job = %id, "an import ended without an outcome");
        }
        hub.running.leave(id);
    });
    Ok(id)
}

/// Writes the upload to the file; gives its name.
async fn receive(request: Request, file: &File, limit: u64) -> Result<String, HubError> {
    let mut out = tokio::fs::File::from_std(file.try_clone()?);
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .is_some_and(|t| t.to_ascii_lowercase().starts_with("multipart/form-data"));
    let name = if is_form {
        let mut form = Multipart::from_request(request, &()).await?;
        let mut part = loop {
            match form.next_field().await? {
                Some(part) if part.file_name().is_some() => break part,
                Some(_) => {}
                None => return Err(HubError::bad_request("The form holds no file.")),
            }
        };
        keep(&mut part, &mut out, limit).await?;
        part.file_name().unwrap_or_default().to_owned()
    } else {
        let body = request.into_body().into_data_stream();
        keep(body.map_err(|_| HubError::bad_request("The upload broke off.")), &mut out, limit).await?;
        String::new()
    };
    out.flush().await?;
    Ok(name.chars().filter(|c| !c.is_control()).take(200).collect())
}

async fn keep<E>(
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    out: &mut tokio::fs::File,
    limit: u64,
) -> Result<(), HubError>
where
    HubError: From<E>,
{
    let mut size = 0;
    while let Some(chunk) = chunks.try_next().await? {
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
    HubQuery(query): HubQuery<HashMap<String, String>>,
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
    HubPath(id): HubPath<Uuid>,
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
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
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
