//! Uploads that go on where they broke off: tus 1.0.0 (<https://tus.io/protocols/resumable-upload>), with the
//! extensions creation, creation-with-upload, expiration and termination.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::address::PublicAddress;
use super::error::HubError;
use super::extract::{HubPath, HubQuery, Importer};
use super::imports::broken;
use super::plans::{asker, import_options};
use super::{HUB, Hub};
use crate::auth::Client;
use crate::csv::options::Options;
use crate::csv::uploads::{AppendError, CreateError, Note, Upload};

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSIONS: HeaderName = HeaderName::from_static("tus-version");
const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// Names the import that an upload has become.
pub const IMPORT: HeaderName = HeaderName::from_static("rosterhub-import");

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue = HeaderValue::from_static("creation,creation-with-upload,expiration,termination");
/// Media type of a piece.
pub const PIECE: &str = "application/offset+octet-stream";
const MOST_METADATA: usize = 4_096;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/uploads", post(create).options(abilities))
        .route("/uploads/{id}", get(single).head(standing).patch(append).delete(terminate).post(overridden))
        .layer(DefaultBodyLimit::disable()) // counted as it streams, against what was announced
        .layer(from_fn(versioned))
}

/// Requests of the protocol name its version, and so do all answers.
async fn versioned(request: Request, next: Next) -> Response {
    let is_ours = [Method::GET, Method::OPTIONS].contains(request.method());
    let mut response = match is_ours || request.headers().get(&RESUMABLE) == Some(&VERSION) {
        true => next.run(request).await,
        false => {
            let message = "Tus-Resumable is 1.0.0.";
            let refused = HubError::new(StatusCode::PRECONDITION_FAILED, "wrong_version", message);
            ([(VERSIONS, VERSION)], refused).into_response()
        }
    };
    response.headers_mut().insert(RESUMABLE, VERSION);
    response
}

/// `OPTIONS /uploads`: what there is of the protocol.
async fn abilities(Importer(_): Importer, State(hub): State<Hub>) -> Response {
    let longest = HeaderValue::from(hub.uploads.longest());
    (StatusCode::NO_CONTENT, [(VERSIONS, VERSION), (EXTENSION, EXTENSIONS), (MAX_SIZE, longest)]).into_response()
}

/// `POST /uploads?apply=…`: the parameters are those of an import. The body may be the first piece.
async fn create(
    Importer(client): Importer,
    State(hub): State<Hub>,
    address: PublicAddress,
    headers: HeaderMap,
    HubQuery(query): HubQuery<HashMap<String, String>>,
    request: Request,
) -> Result<Response, HubError> {
    let options = import_options(&query)?;
    let length = number(&headers, &LENGTH)?;
    if length == 0 {
        return Err(HubError::bad_request("An upload has at least one byte."));
    }
    let metadata = headers.get(&METADATA).map_or(Ok(""), HeaderValue::to_str);
    let metadata = metadata.ok().filter(|text| text.len() <= MOST_METADATA).ok_or_else(bad_metadata)?;
    let asker = asker(&client);
    let note = Note {
        tenant: client.tenant.to_string(),
        client: asker.id,
        client_name: asker.name,
        file_name: file_name(metadata)?,
        metadata: metadata.to_owned(),
        length,
        options,
    };
    let upload = hub.uploads.create(note).await?;
    let location = HeaderValue::try_from(format!("{address}{HUB}/uploads/{}", upload.id));
    let upload = if is_piece(&headers) { add(&hub, upload, 0, request.into_body()).await? } else { upload };
    let mut response = (StatusCode::CREATED, told(&upload)).into_response();
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    Ok(response)
}

/// `HEAD /uploads/{id}`: how far it is.
async fn standing(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Response, HubError> {
    let upload = find(&hub, &client, id).await?;
    let mut headers = told(&upload);
    headers.insert(LENGTH, HeaderValue::from(upload.note.length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !upload.note.metadata.is_empty() {
        headers.extend(HeaderValue::try_from(&upload.note.metadata).map(|metadata| (METADATA, metadata)));
    }
    Ok(headers.into_response())
}

/// An upload in parts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Upload", deny_unknown_fields)]
pub struct UploadAnswer {
    id: Uuid,
    file_name: String,
    /// Bytes of the whole.
    length: u64,
    /// Bytes that have come. When they are all, the import is entered as soon as there is a place for it.
    offset: u64,
    options: Options,
    /// When it is removed, if nothing comes any more.
    expires_at: DateTime<Utc>,
    /// The import that it has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<Uuid>,
}

/// `GET /uploads/{id}`: the same for people and scripts.
async fn single(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Response, HubError> {
    let Upload { id, note, offset, expires_at, entered } = find(&hub, &client, id).await?;
    let import = entered.then_some(id);
    let Note { file_name, length, options, .. } = note;
    Ok(Json(UploadAnswer { id, file_name, length, offset, options, expires_at, import }).into_response())
}

/// `PATCH /uploads/{id}`: a piece, at the offset where the upload stands.
async fn append(
    Importer(client): Importer,
    State(hub): State<Hub>,
    headers: HeaderMap,
    HubPath(id): HubPath<Uuid>,
    request: Request,
) -> Result<Response, HubError> {
    add_piece(&hub, &client, &headers, id, request.into_body()).await
}

async fn add_piece(
    hub: &Hub,
    client: &Client,
    headers: &HeaderMap,
    id: Uuid,
    body: Body,
) -> Result<Response, HubError> {
    if !is_piece(headers) {
        let message = format!("A piece is sent as {PIECE}.");
        return Err(HubError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_media_type", message));
    }
    let offset = number(headers, &OFFSET)?;
    let upload = find(hub, client, id).await?;
    let upload = add(hub, upload, offset, body).await?;
    Ok((StatusCode::NO_CONTENT, told(&upload)).into_response())
}

/// `DELETE /uploads/{id}`. The import goes on if there is one already.
async fn terminate(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<StatusCode, HubError> {
    end(&hub, &client, id).await
}

async fn end(hub: &Hub, client: &Client, id: Uuid) -> Result<StatusCode, HubError> {
    find(hub, client, id).await?;
    if hub.uploads.remove(id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(locked()) }
}

/// `POST /uploads/{id}` with X-HTTP-Method-Override, from where nothing but GET and POST gets through.
async fn overridden(
    Importer(client): Importer,
    State(hub): State<Hub>,
    headers: HeaderMap,
    HubPath(id): HubPath<Uuid>,
    request: Request,
) -> Result<Response, HubError> {
    match headers.get(&OVERRIDE).and_then(|verb| verb.to_str().ok()) {
        Some("PATCH") => add_piece(&hub, &client, &headers, id, request.into_body()).await,
        Some("DELETE") => end(&hub, &client, id).await.map(IntoResponse::into_response),
        _ => Err(HubError::wrong_verb()),
    }
}

async fn find(hub: &Hub, client: &Client, id: Uuid) -> Result<Upload, HubError> {
    let found = hub.uploads.find(&client.tenant, &client.id.to_string(), id).await?;
    found.ok_or_else(|| HubError::not_found("upload"))
}

/// Adds a piece; with the last one, the import is entered.
async fn add(hub: &Hub, upload: Upload, offset: u64, body: Body) -> Result<Upload, HubError> {
    let chunks = body.into_data_stream().map_err(|error| broken(&error));
    let offset = hub.uploads.append(&upload, offset, chunks).await?;
    let mut upload = Upload { offset, ..upload };
    if offset == upload.note.length {
        upload.entered = hub.uploads.enter(&upload).await?;
    }
    Ok(upload)
}

fn told(upload: &Upload) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OFFSET, HeaderValue::from(upload.offset));
    let expires = upload.expires_at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.extend(HeaderValue::try_from(expires).map(|expires| (EXPIRES, expires)));
    if upload.entered {
        headers.extend(HeaderValue::try_from(upload.id.to_string()).map(|id| (IMPORT, id)));
    }
    headers
}

fn is_piece(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PIECE))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, HubError> {
    let given = headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    given.ok_or_else(|| HubError::bad_request(format!("{name} is a number of bytes.")))
}

/// The member `filename` of the metadata: `name base64, …`.
fn file_name(metadata: &str) -> Result<String, HubError> {
    let pairs = metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| bad_metadata())?;
        if name == "filename" {
            return String::from_utf8(value).map_err(|_| bad_metadata());
        }
    }
    Ok(String::new())
}

fn bad_metadata() -> HubError {
    HubError::bad_request("Upload-Metadata is names, each with a value in base64, commas between, at most 4 KiB.")
}

fn locked() -> HubError {
    HubError::new(StatusCode::LOCKED, "locked", "Another request adds bytes to the upload.")
}

fn no_room() -> HubError {
    HubError::new(StatusCode::INSUFFICIENT_STORAGE, "no_room", "There is no room for the upload; try again later.")
}

impl From<CreateError> for HubError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TooLarge(limit) => Self::too_large(limit),
            CreateError::TooMany(limit) => {
                let message = format!("The board has {limit} uploads open, as many as it may; end one, or let it end.");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", message)
            }
            CreateError::NoRoom => no_room(),
            CreateError::File(error) => error.into(),
        }
    }
}

impl From<AppendError<HubError>> for HubError {
    fn from(error: AppendError<HubError>) -> Self {
        match error {
            AppendError::Locked => locked(),
            AppendError::Elsewhere(offset) => {
                Self::new(StatusCode::CONFLICT, "wrong_offset", format!("The upload stands at {offset}."))
            }
            AppendError::TooLong => {
                let message = "The piece goes beyond the length that was announced; nothing of it was kept.";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            }
            AppendError::Source(error) => error,
            AppendError::NoRoom => no_room(),
            AppendError::File(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_is_among_the_metadata() {
        for (metadata, name) in [
            ("", ""),
            ("is_secret", ""),
            ("filename c2V0LnppcA==", "set.zip"),
            ("filetype YXBwbGljYXRpb24vemlw, filename c2V0LnppcA==,is_secret", "set.zip"),
        ] {
            assert_eq!(file_name(metadata).unwrap(), name);
        }
        for bad in ["filename ?", "filename /w==", "other ?, filename c2V0LnppcA=="] {
            assert!(file_name(bad).is_err(), "{bad}");
        }
    }
}
