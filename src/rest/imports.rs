//! Imports over HTTP: hand a set in, look at the job, read its errors.

use std::collections::HashMap;
use std::fs::File;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt as _, TryStreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::address::PublicAddress;
use super::answer::Broken;
use super::error::HubError;
use super::extract::{HubPath, HubQuery};
use super::plans::{asker, known, options, told};
use super::{Hub, Importer, POSITION};
use crate::csv::encoding::Encoding;
use crate::csv::intake::Intake;
use crate::csv::job::{self, Job, JobError};
use crate::export::errors::{ErrorRows, encoding_of};
use crate::roster::{Code, Language};

/// RFC 7240: `Prefer: wait=30` asks to hold the answer until the import has ended.
const PREFER: HeaderName = HeaderName::from_static("prefer");

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/imports", post(create).get(list))
        .route("/imports/{id}", get(single))
        .route("/imports/{id}/errors", get(errors))
        .route("/imports/{id}/errors.csv", get(error_file))
        .layer(DefaultBodyLimit::disable()) // counted as it streams, against the configured limit
}

/// `POST /imports?apply=&onErrors=&encoding=&mode=`: a set, CSV file or workbook as the body, or as the first file of a
/// multipart form. 202, or the job at rest if the client prefers to wait.
async fn create(
    Importer(client): Importer,
    State(hub): State<Hub>,
    address: PublicAddress,
    headers: HeaderMap,
    HubQuery(query): HubQuery<HashMap<String, String>>,
    request: Request,
) -> Result<Response, HubError> {
    known(&query, &["apply", "onErrors", "encoding", "mode", "edition", "rules"])?;
    let options = options(&query)?;
    if hub.imports.is_full() {
        return Err(HubError::busy()); // before the upload is sent in vain
    }
    let (file, name) = receive(request, &hub.imports).await?;
    let id = hub.imports.start(&client.tenant, asker(&client), file, &name, options).await?;
    let location = format!("{address}/rosterhub/v1/imports/{id}");
    Ok(([(header::LOCATION, location)], told(&hub, &client, id, &headers).await?).into_response())
}

/// The upload, and its name.
async fn receive(request: Request, imports: &Intake) -> Result<(File, String), HubError> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .is_some_and(|t| t.to_ascii_lowercase().starts_with("multipart/form-data"));
    if !is_form {
        let body = request.into_body().into_data_stream();
        let body = body.map_err(|_| HubError::bad_request("The upload broke off."));
        return Ok((imports.receive(body).await?, String::new()));
    }
    let mut form = Multipart::from_request(request, &()).await?;
    loop {
        match form.next_field().await? {
            Some(part) if part.file_name().is_some() => {
                let name = part.file_name().unwrap_or_default().to_owned();
                return Ok((imports.receive(part).await?, name));
            }
            Some(_) => {}
            None => return Err(HubError::bad_request("The form holds no file.")),
        }
    }
}

/// Waits until an import of this process has ended or waits for a decision, as long as the client prefers.
pub async fn wait(hub: &Hub, id: Uuid, headers: &HeaderMap) {
    let seconds = headers
        .get(&PREFER)
        .and_then(|p| p.to_str().ok())
        .and_then(|p| p.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait=")?.parse::<u64>().ok()))
        .unwrap_or(0);
    hub.imports.wait(id, seconds).await;
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
    /// The value that is wrong; masked where it is personal.
    value: String,
    /// What is wrong.
    message: Option<&'static str>,
    /// The same in Japanese.
    message_ja: Option<&'static str>,
    /// How to mend it.
    mend: Option<&'static str>,
    /// The same in Japanese.
    mend_ja: Option<&'static str>,
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

/// Errors that are read at once.
const PAGE: i64 = 1_000;

/// `GET /imports/{id}/errors.csv?lang=&encoding=`: all errors as a CSV file, sent as they are read.
async fn error_file(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    known(&query, &["lang", "encoding"])?;
    let language = match query.get("lang").map(String::as_str) {
        Some("en") => Language::English,
        Some("ja") => Language::Japanese,
        Some(_) => return Err(HubError::bad_request("lang is one of en, ja.")),
        None => preferred(&headers),
    };
    let job = job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))?;
    let encoding = match query.get("encoding") {
        None => encoding_of(&job),
        Some(name) => Encoding::from_name(name).ok_or_else(|| {
            HubError::bad_request(format!("encoding is one of {}.", Encoding::ALL.map(Encoding::name).join(", ")))
        })?,
    };
    let rows = ErrorRows { encoding, language };
    let (log, tenant) = (hub.log.clone(), client.tenant.clone());
    let first = job::errors(&log, &tenant, id, 0, PAGE).await?;
    // No connection is kept while the client takes its time.
    let pages = stream::try_unfold(Some(first), move |page| {
        let (log, tenant) = (log.clone(), tenant.clone());
        async move {
            let Some(page) = page else { return Ok::<_, Broken>(None) };
            let next = match page.last() {
                Some(last) if page.len() as i64 == PAGE => {
                    Some(job::errors(&log, &tenant, id, last.number, PAGE).await.map_err(|_| Broken)?)
                }
                _ => None,
            };
            Ok(Some((Bytes::from(rows.rows(&page)), next)))
        }
    });
    let body = stream::once(async move { Ok(Bytes::from(rows.header())) }).chain(pages);
    let kind = format!("text/csv; charset={}; header=present", encoding.charset());
    let name = format!("attachment; filename=\"errors-{id}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name),
        (header::CONTENT_LANGUAGE, language.choose("en", "ja").to_owned()),
        (header::VARY, "accept-language".to_owned()),
    ];
    // Compression asks once more after the end.
    Ok((headers, Body::from_stream(body.fuse())).into_response())
}

/// The one of the two languages that the client would rather have.
fn preferred(headers: &HeaderMap) -> Language {
    let accepted = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0.0, Language::English);
    for range in accepted.flat_map(|value| value.split(',')) {
        let (tag, weight) = range.split_once(";q=").unwrap_or((range, "1"));
        let language = match tag.trim().get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("ja") => Language::Japanese,
            Some("en") => Language::English,
            _ => continue,
        };
        let weight: f64 = weight.trim().parse().unwrap_or(0.0);
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
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
            message: code.map(|code| code.message(Language::English)),
            message_ja: code.map(|code| code.message(Language::Japanese)),
            mend: code.map(|code| code.mend(Language::English)),
            mend_ja: code.map(|code| code.mend(Language::Japanese)),
        }
    }
}

pub fn number(query: &HashMap<String, String>, name: &str, default: i64) -> Result<i64, HubError> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| HubError::bad_request(format!("{name} is a whole number from 0."))),
    }
}

pub fn answer(job: &Job) -> Response {
    let mut response = Json(job).into_response();
    if let Some(position) = job.position {
        response.headers_mut().insert(POSITION, HeaderValue::from(position));
    }
    response
}
