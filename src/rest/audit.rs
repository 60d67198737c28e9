//! Proofs over HTTP: checkpoints, the keys that sign them, inclusion and consistency.

use std::collections::HashMap;
use std::io::Cursor;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::access;
use super::error::HubError;
use super::extract::{Auditor, HubQuery};
use super::imports::number;
use super::plans::known;
use super::{Hub, POSITION};
use crate::audit::AuditError;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::nightly::Check;
use crate::audit::proof::texts;
use crate::audit::subject::{SubjectError, archive};
use crate::notice::data::milliseconds;

/// Checkpoints in an answer.
const MOST: i64 = 1_000;
const DEFAULT: i64 = 100;

const SUBJECT: &str = "/audit/subject";

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/audit/checkpoint", get(latest))
        .route("/audit/checkpoints", get(list).post(sign))
        .route("/audit/keys", get(keys))
        .route("/audit/checks", get(checks))
        .route(SUBJECT, get(subject))
        .route("/audit/proofs/inclusion", get(inclusion))
        .route("/audit/proofs/consistency", get(consistency))
}

/// Signed checkpoints, the latest first.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CheckpointPage {
    checkpoints: Vec<CheckpointItem>,
}

/// What the log was at a size, signed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Checkpoint", deny_unknown_fields)]
pub struct CheckpointItem {
    /// Events that it covers: those at the positions 1 to this.
    size: i64,
    /// Signed note (C2SP): origin, size, root hash in base64; a blank line; the signature.
    note: String,
    #[serde(serialize_with = "milliseconds")]
    created_at: DateTime<Utc>,
}

impl From<Checkpoint> for CheckpointItem {
    fn from(Checkpoint { size, note, created_at }: Checkpoint) -> Self {
        Self { size, note, created_at }
    }
}

/// Who signs the board's checkpoints.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AuditKeys {
    /// First line of each checkpoint.
    origin: String,
    /// Keys that verify, as signed notes have them: `<name>+<id>+<base64>`.
    keys: Vec<String>,
}

/// That a tree holds an event (RFC 6962, section 2.1.1).
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct InclusionProof {
    /// Of the event. Its leaf has the index `position - 1`.
    position: i64,
    /// Events that the tree holds.
    size: i64,
    /// The bytes that the leaf is the hash of, after a zero byte: a JSON array.
    leaf: String,
    /// Hashes in base64, from the leaf up.
    proof: Vec<String>,
}

/// That a tree begins with an older one (RFC 6962, section 2.1.2).
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Events that the older tree holds.
    old: i64,
    new: i64,
    /// Hashes in base64.
    proof: Vec<String>,
}

/// What the daily checks came to, the latest first.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CheckList {
    checks: Vec<Check>,
}

/// `GET /audit/checkpoint`: the latest, as it is signed.
async fn latest(Auditor(client): Auditor, State(hub): State<Hub>) -> Result<Response, HubError> {
    let checkpoint = hub.audit.checkpoint(&client.tenant).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], checkpoint.note).into_response())
}

/// `GET /audit/checkpoints?before=&limit=`
async fn list(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<CheckpointPage>, HubError> {
    known(&query, &["before", "limit"])?;
    let before = number(&query, "before", i64::MAX)?;
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    let found = hub.audit.checkpoints(&client.tenant, before.saturating_sub(1), limit).await?;
    Ok(Json(CheckpointPage { checkpoints: found.into_iter().map(CheckpointItem::from).collect() }))
}

/// `POST /audit/checkpoints`: signs what the log holds now.
async fn sign(Auditor(client): Auditor, State(hub): State<Hub>) -> Result<Json<CheckpointItem>, HubError> {
    hub.audit.catch_up(&client.tenant).await?;
    Ok(Json(hub.audit.checkpoint(&client.tenant).await?.into()))
}

/// `GET /audit/keys`
async fn keys(Auditor(client): Auditor, State(hub): State<Hub>) -> Result<Json<AuditKeys>, HubError> {
    let keys = hub.audit.verifiers(&client.tenant).await?;
    Ok(Json(AuditKeys {
        origin: hub.audit.origin(&client.tenant),
        keys: keys.iter().map(ToString::to_string).collect(),
    }))
}

/// `GET /audit/proofs/inclusion?position=&size=`
async fn inclusion(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<InclusionProof>, HubError> {
    known(&query, &["position", "size"])?;
    let position = number(&query, "position", 0)?;
    let size = match query.contains_key("size") {
        true => number(&query, "size", 0)?,
        false => hub.audit.checkpoint(&client.tenant).await?.size,
    };
    let proof = hub.audit.inclusion(&client.tenant, position, size).await?;
    let leaf = hub.audit.leaf(&client.tenant, position).await?;
    let leaf = String::from_utf8(leaf.bytes(&client.tenant)).map_err(|_| HubError::internal())?;
    Ok(Json(InclusionProof { position, size, leaf, proof: texts(&proof) }))
}

/// `GET /audit/proofs/consistency?old=&new=`
async fn consistency(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<ConsistencyProof>, HubError> {
    known(&query, &["old", "new"])?;
    let (old, new) = (number(&query, "old", 0)?, number(&query, "new", 0)?);
    let proof = hub.audit.consistency(&client.tenant, old, new).await?;
    Ok(Json(ConsistencyProof { old, new, proof: texts(&proof) }))
}

/// `GET /audit/checks?limit=`
async fn checks(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<CheckList>, HubError> {
    known(&query, &["limit"])?;
    let limit = number(&query, "limit", 31)?.clamp(1, MOST);
    Ok(Json(CheckList { checks: hub.audit.checks(&client.tenant, limit).await? }))
}

/// `GET /audit/subject?person=`: everything that is held about a person, as a zip.
async fn subject(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &["person"])?;
    let person = query.get("person").ok_or_else(|| HubError::bad_request("person is the sourcedId of a user."))?;
    let mut bytes = Cursor::new(Vec::new());
    let position = archive(&hub.log, &client.tenant, person, &mut bytes).await?;
    let query = format!("person={person}");
    access::record(&hub, &client, "getSubject", SUBJECT, query, std::iter::once(person.as_str()), 1);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"subject.zip\"")),
        (POSITION, HeaderValue::from(position)),
    ];
    Ok((headers, bytes.into_inner()).into_response())
}

impl From<SubjectError> for HubError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Unknown => Self::not_found("user"),
            SubjectError::Sql(error) => error.into(),
            other => {
                tracing::error!(error = %other, "an archive could not be written");
                Self::internal()
            }
        }
    }
}

impl From<AuditError> for HubError {
    fn from(error: AuditError) -> Self {
        let text = error.to_string();
        match error {
            AuditError::Sql(error) => error.into(),
            AuditError::NotYet { .. } => Self::new(StatusCode::CONFLICT, "not_yet", format!("{text}.")),
            AuditError::NoCheckpoint => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{text}.")),
            AuditError::OutOfRange => Self::bad_request(format!("{text}.")),
            AuditError::Damaged(_) | AuditError::Key(_) | AuditError::BadKey => {
                tracing::error!(%error, "no proof could be given");
                Self::internal()
            }
        }
    }
}
