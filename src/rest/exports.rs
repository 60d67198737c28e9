//! Exports over HTTP: take the roster out as a set, hear what it cannot say, keep cursors.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use uuid::Uuid;

use super::admission::Refusal;
use super::answer::{Answer, Broken};
use super::error::HubError;
use super::extract::{Exporter, HubPath};
use super::pieces::{self, NotTaken, Piece};
use super::{HUB, Hub, POSITION};
use crate::access::{Asked, Entry, People, Via};
use crate::auth::{Client, Scope};
use crate::export::cursors::{Cursor, Cursors, MoveError};
use crate::export::options::{BadOption, Encoding, Options, cursor_name};
use crate::export::set::Sink;
use crate::export::{Export, ExportError, file_name, form, tell_ready};
use crate::roster::EntityType;

pub const ZIP: &str = "application/zip";
/// Names the log position that a delta begins after.
pub const SINCE: HeaderName = HeaderName::from_static("rosterhub-since");
/// Bytes gathered before they are sent; the first ones are sent at once.
const CHUNK: usize = 64 * 1024;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/exports/oneroster.zip", get(set))
        .route("/exports/report", get(report))
        .route("/exports/cursors", get(list))
        .route("/exports/cursors/{name}", get(single).put(acknowledge).delete(delete))
}

/// `GET /exports/oneroster.zip`: the roster as a set, sent as it is read.
async fn set(
    Exporter(client): Exporter,
    State(hub): State<Hub>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let (mut export, permit) = open(&hub, &client, query.as_deref().unwrap_or("")).await?;
    let mut answer = Answer::new(etag(&hub, &client, &export), export.to.position);
    if let Some(since) = export.since {
        answer.headers.insert(SINCE, HeaderValue::from(since));
    }
    if answer.is_known(&headers) {
        return Ok(answer.not_modified());
    }
    if export.options().encoding == Encoding::Cp932 {
        export.write(io::sink()).await?; // what cannot be written is told before anything is sent
    }
    let disposition = format!("attachment; filename=\"{}\"", file_name(&export));
    answer.headers.extend(HeaderValue::try_from(disposition).map(|value| (header::CONTENT_DISPOSITION, value)));
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ZIP));
    let patience = Duration::from_secs(hub.config.stalled_seconds);
    if method == Method::HEAD {
        return Ok(answer.headers.into_response()); // nothing is written, so that nothing is told of
    }
    let entry = record(&hub, &client, &export, query.as_deref().unwrap_or(""));
    let body = send(hub, client, export, permit, patience, entry).await?;
    Ok((answer.headers, Body::from_stream(body)).into_response())
}

/// `GET /exports/report`: what the set would hold, and what it would not say.
async fn report(
    Exporter(client): Exporter,
    State(hub): State<Hub>,
    RawQuery(query): RawQuery,
) -> Result<Response, HubError> {
    let (mut export, _permit) = open(&hub, &client, query.as_deref().unwrap_or("")).await?;
    let summary = export.write(io::sink()).await?;
    Ok(([(POSITION, HeaderValue::from(summary.position))], Json(summary)).into_response())
}

async fn open(hub: &Hub, client: &Client, query: &str) -> Result<(Export, OwnedSemaphorePermit), HubError> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let options = Options::read(&pairs)?;
    let demographics = client.may_any(&[Scope::Demographics]);
    if options.files.contains(&EntityType::Demographics) && !demographics {
        return Err(HubError::insufficient_scope(&[Scope::Demographics]));
    }
    let mut kinds = EntityType::ALL.to_vec();
    kinds.retain(|kind| demographics || *kind != EntityType::Demographics);
    let Ok(permit) = hub.exports.clone().try_acquire_owned() else {
        let message = "As many exports as allowed are being written; try again soon.";
        return Err(HubError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message));
    };
    let acknowledged = match &options.cursor {
        Some(name) => cursors(hub, client, &client.id.to_string()).find(name).await?.map(|cursor| cursor.position),
        None => None,
    };
    let export = Export::open(&hub.log, &client.tenant, options, &kinds, acknowledged).await?;
    Ok((export, permit))
}

/// The same set again has the same tag.
fn etag(hub: &Hub, client: &Client, export: &Export) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n", client.tenant, hub.log.projections().fingerprint()));
    hash.update(format!("{:?} {:?} {:?}\n", export.to.position, export.since, export.kinds()));
    hash.update(form(export.options()));
    format!("\"{}\"", hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Writes down that the set is sent, before any of it is: who breaks the connection off has received a part. Gives the
/// entry's id, by which it is completed.
fn record(hub: &Hub, client: &Client, export: &Export, query: &str) -> Option<Uuid> {
    let people =
        [EntityType::User, EntityType::Role, EntityType::UserProfile, EntityType::Demographics, EntityType::Enrollment];
    if !export.kinds().iter().any(|kind| people.contains(kind)) {
        return None;
    }
    let query: Vec<String> =
        form_urlencoded::parse(query.as_bytes()).map(|(name, value)| format!("{name}={value}")).collect();
    let mut id = None;
    hub.access.record(|_| {
        let route = (HUB, "/exports/oneroster.zip");
        let asked = Asked::new(client, Via::Export, "exportSet", route, &query.join("&"));
        let entry = Entry::new(&client.tenant, asked, export.to.position, People::many(None));
        id = Some(entry.id);
        entry
    });
    id
}

/// Writes the set in a task of its own and gives it as it comes. An error before the first bytes is still an answer; one
/// after it breaks the connection off, so that nobody takes the set for whole. The end comes once it has been told of:
/// who has the whole set finds its notice.
async fn send(
    hub: Hub,
    client: Client,
    mut export: Export,
    permit: OwnedSemaphorePermit,
    patience: Duration,
    entry: Option<Uuid>,
) -> Result<impl Stream<Item = Result<Bytes, Broken>> + Send + 'static, HubError> {
    let (sender, receiver) = mpsc::channel(2);
    let sink =
        BodySink { sender: sender.clone(), handle: Handle::current(), patience, chunk: Vec::new(), begun: false };
    let writing = tokio::spawn(async move {
        let _permit = permit;
        let written = async {
            let summary = export.write(sink).await?;
            let schools = export.options().schools.clone();
            drop(export); // its connection
            tell_ready(&hub.log, &client.tenant, &client.name, schools, &summary).await?;
            if let Some(entry) = entry {
                hub.access.complete(&client.tenant, entry, summary.records(), summary.users());
            }
            let _ = sender.send(Piece::End).await;
            Ok(())
        };
        let written: Result<(), ExportError> = written.await;
        if let Err(error) = &written {
            tracing::warn!(%error, "an export broke off");
        }
        written
    });
    match pieces::begun(receiver).await {
        Some(body) => Ok(body),
        None => {
            writing.await.map_err(|_| HubError::internal())??;
            Err(HubError::internal())
        }
    }
}

/// Sends what is written to it in pieces. A client that takes nothing for the time of `patience` is left.
struct BodySink {
    sender: mpsc::Sender<Piece>,
    handle: Handle,
    patience: Duration,
    chunk: Vec<u8>,
    begun: bool,
}

impl BodySink {
    fn send(&mut self, piece: Piece) -> io::Result<()> {
        let sent = self.handle.block_on(pieces::hand_on(&self.sender, piece, self.patience));
        sent.map_err(|error| match error {
            NotTaken::Gone => io::Error::new(io::ErrorKind::BrokenPipe, error),
            NotTaken::Stalled => io::Error::new(io::ErrorKind::TimedOut, error),
        })
    }
}

impl Write for BodySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK || !self.begun {
            self.begun = true;
            let chunk = std::mem::take(&mut self.chunk);
            self.send(Piece::Bytes(chunk.into()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for BodySink {
    fn finish(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.send(Piece::Bytes(chunk.into()))
    }
}

/// The cursors of the client, by name.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportCursors", deny_unknown_fields)]
pub struct CursorList {
    cursors: Vec<Cursor>,
}

/// What a client has taken.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Acknowledgement", extend("required" = ["position"]))]
pub struct Acknowledgement {
    /// Log position of what has been taken: of a set, as its `Rosterhub-Position` says; of a page of changes, its `next`.
    #[schemars(range(min = 0))]
    pub position: i64,
    /// The cursor may move back.
    #[serde(default)]
    pub back: bool,
}

impl Acknowledgement {
    pub fn read(body: &[u8]) -> Result<Self, HubError> {
        let read: Option<Self> = serde_json::from_slice(body).ok();
        let read = read.ok_or_else(|| {
            HubError::bad_request(
                "The body is {\"position\": …} with a log position, and \"back\": true if it may move back.",
            )
        })?;
        match read.position {
            0.. => Ok(read),
            _ => Err(HubError::bad_request("position is a whole number from 0.")),
        }
    }
}

fn cursors<'a>(hub: &'a Hub, client: &'a Client, id: &'a str) -> Cursors<'a> {
    Cursors { log: &hub.log, tenant: &client.tenant, client: id }
}

async fn list(Exporter(client): Exporter, State(hub): State<Hub>) -> Result<Json<CursorList>, HubError> {
    let cursors = cursors(&hub, &client, &client.id.to_string()).list().await?;
    Ok(Json(CursorList { cursors }))
}

async fn single(
    Exporter(client): Exporter,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
) -> Result<Json<Cursor>, HubError> {
    let name = cursor_name(&name)?;
    let cursor = cursors(&hub, &client, &client.id.to_string()).find(name).await?;
    cursor.map(Json).ok_or_else(unknown_cursor)
}

/// `PUT /exports/cursors/{name}`: the set of this position has been taken.
async fn acknowledge(
    Exporter(client): Exporter,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
    body: Bytes,
) -> Result<Json<Cursor>, HubError> {
    let name = cursor_name(&name)?;
    let Acknowledgement { position, back } = Acknowledgement::read(&body)?;
    Ok(Json(cursors(&hub, &client, &client.id.to_string()).acknowledge(name, position, back).await?))
}

async fn delete(
    Exporter(client): Exporter,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
) -> Result<StatusCode, HubError> {
    let name = cursor_name(&name)?;
    let deleted = cursors(&hub, &client, &client.id.to_string()).delete(name).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(unknown_cursor()) }
}

pub fn unknown_cursor() -> HubError {
    HubError::new(StatusCode::NOT_FOUND, "not_found", "There is no cursor of this name.")
}

impl From<MoveError> for HubError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::BeyondHead => {
                Self::new(StatusCode::BAD_REQUEST, "beyond_head", "The position lies beyond the head of the log.")
            }
            MoveError::Back(at) => {
                let message = format!("The cursor stands at {at}; it moves back only with \"back\": true.");
                Self::new(StatusCode::CONFLICT, "cursor_ahead", message)
            }
            MoveError::Sql(error) => error.into(),
        }
    }
}

impl From<BadOption> for HubError {
    fn from(bad: BadOption) -> Self {
        Self::new(StatusCode::BAD_REQUEST, bad.code, bad.message)
    }
}

impl From<ExportError> for HubError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Bad(bad) => bad.into(),
            ExportError::Database(error) => error.into(),
            ExportError::Unmappable(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unmappable", error.to_string()),
            other => {
                tracing::error!(error = %other, "an export failed");
                Self::internal()
            }
        }
    }
}
