//! Writing the roster: the hub's own paths, since OneRoster's Rostering service only reads. One handler serves every
//! collection and verb.

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use futures::StreamExt;
use sha2::{Digest, Sha256};

use super::address::PublicAddress;
use super::admission::require;
use super::error::HubError;
use super::refused::Refused;
use super::{HUB, Hub, POSITION, ROSTERING, batch};
use crate::access::{Asked, Entry, People, Via};
use crate::auth::{Client, Scope};
use crate::command::json::Json;
use crate::command::write::{Action, Operation, Outcome, WriteRequest, Written, WrittenRecord, is_visible};
use crate::command::{CommandError, Commands, Origin};
use crate::log::{IdempotencyKey, Tenant};
use crate::query::etag::{Conditions, Tags, record_etag};
use crate::query::href::{Splicer, address};
use crate::query::versions::{Version, as_of};
use crate::roster::EntityType;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On whose behalf the client writes; kept in the metadata of the events.
const ACTOR: HeaderName = HeaderName::from_static("rosterhub-actor");

/// The types that can be written: those with documents of their own.
pub fn writable() -> impl Iterator<Item = EntityType> {
    EntityType::ALL.into_iter().filter(|kind| kind.nesting().is_none())
}

/// `/roster/{collection}`, `/roster/{collection}/{sourcedId}` and `/batch`.
pub fn router() -> Router<Hub> {
    let router = Router::new().route("/batch", post(batch::batch));
    writable().fold(router, |router, kind| {
        let path = format!("/roster/{}", kind.entity().collection);
        let one = async move |State(hub): State<Hub>,
                              client: Client,
                              address: PublicAddress,
                              method: Method,
                              id: Result<Path<String>, PathRejection>,
                              request: Request| {
            let Path(id) = id.map_err(|rejection| HubError::bad_request(rejection.body_text()))?;
            let action = match method {
                Method::PUT => Action::Put,
                Method::PATCH => Action::Patch,
                _ => Action::Delete,
            };
            write(&hub, &client, &address, kind, action, Some(id), request).await
        };
        router
            .route(
                &path,
                post(async move |State(hub): State<Hub>, client: Client, address: PublicAddress, request: Request| {
                    write(&hub, &client, &address, kind, Action::Create, None, request).await
                }),
            )
            .route(&format!("{path}/{{sourcedId}}"), put(one).patch(one).delete(one))
    })
}

async fn write(
    hub: &Hub,
    client: &Client,
    address: &PublicAddress,
    kind: EntityType,
    action: Action,
    sourced_id: Option<String>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    may_write(client, &[kind])?;
    let conditions = conditions(&parts.headers)?;
    let mut bytes = Vec::new();
    let mut document = Json::default();
    if action != Action::Delete {
        bytes = receive(&parts.headers, body, action == Action::Patch, hub.config.max_document_bytes).await?;
        document = Json::read(&bytes)?;
    }
    let operation = Operation { place: 0, kind, action, sourced_id, conditions, document };
    let request = WriteRequest {
        operations: vec![operation],
        faults: Vec::new(),
        origin: origin(client, &parts.headers)?,
        idempotency: idempotency(client, &parts, &bytes)?,
    };
    let commands = Commands::new(&hub.log, &client.tenant);
    let written = commands.write(request).await.map_err(|error| Refused::of(error, false))?;
    answer(hub, client, address, &written).await
}

/// The record as a read at the position of the write shows it.
async fn answer(hub: &Hub, client: &Client, public: &PublicAddress, written: &Written) -> Result<Response, Refused> {
    let tenant = &client.tenant;
    let mut versions = versions(hub, tenant, written).await?;
    let record = written.records.first();
    let version = record.and_then(|record| versions.remove(&(record.kind, record.sourced_id.clone())));
    let Some((record, version)) = record.zip(version) else {
        return Err(CommandError::Internal("what was written cannot be read".to_owned()).into());
    };
    let base = format!("{public}{ROSTERING}");
    let name = record.kind.entity().name;
    let mut body = Vec::with_capacity(version.doc.len() * 3 / 2 + 64);
    body.extend_from_slice(format!("{{\"{name}\":").as_bytes());
    Splicer::new(&base).splice(version.doc.as_bytes(), &mut body);
    body.push(b'}');
    record_receipt(hub, client, record, &version, written.position, body.len());
    let created = record.outcome == Outcome::Created;
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, body, written.position);
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, etag(hub, tenant, record, &version));
    if created {
        set(header::LOCATION, address(&base, record.kind, &record.sourced_id));
    }
    Ok(response)
}

/// Who writes is answered with the whole record, which may hold more than was sent.
fn record_receipt(hub: &Hub, client: &Client, record: &WrittenRecord, version: &Version, position: i64, bytes: usize) {
    let (route, person) = match record.kind {
        EntityType::User => ("/roster/users/{sourcedId}", record.sourced_id.clone()),
        EntityType::Demographics => ("/roster/demographics/{sourcedId}", record.sourced_id.clone()),
        EntityType::Enrollment => ("/roster/enrollments/{sourcedId}", user_of(&version.doc)),
        _ => return,
    };
    hub.access.record(|_| {
        let asked = Asked::new(client, Via::Rest, "write", (HUB, route), "");
        Entry::new(&client.tenant, asked, position, People::one(&person)).records(1).bytes(bytes)
    });
}

/// The user of an enrollment.
pub fn user_of(doc: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Named {
        user: Reference,
    }
    #[derive(serde::Deserialize)]
    struct Reference {
        #[serde(rename = "sourcedId")]
        sourced_id: String,
    }
    serde_json::from_str::<Named>(doc).map(|named| named.user.sourced_id).unwrap_or_default()
}

pub(super) fn json(status: StatusCode, body: Vec<u8>, position: i64) -> Response {
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(POSITION, HeaderValue::from(position));
    response
}

pub(super) fn etag(hub: &Hub, tenant: &Tenant, record: &WrittenRecord, version: &Version) -> String {
    record_etag(hub.log.projections().fingerprint(), tenant, record.kind, &record.sourced_id, version.since)
}

/// The written records as they stood at the position of the write, whatever has happened since.
pub(super) async fn versions(
    hub: &Hub,
    tenant: &Tenant,
    written: &Written,
) -> Result<HashMap<(EntityType, String), Version>, HubError> {
    let mut conn = hub.log.db().acquire(tenant).await?;
    let mut versions = HashMap::new();
    for kind in writable() {
        let records = written.records.iter().filter(|record| record.kind == kind);
        let ids: Vec<&str> = records.map(|record| record.sourced_id.as_str()).collect();
        if !ids.is_empty() {
            let found = as_of(&mut conn, tenant, kind, &ids, written.position).await?;
            versions.extend(found.into_iter().map(|version| ((kind, version.sourced_id.clone()), version)));
        }
    }
    Ok(versions)
}

/// Refuses a client that may not write records of these types.
pub(super) fn may_write(client: &Client, kinds: &[EntityType]) -> Result<(), HubError> {
    require::<HubError>(client, &[Scope::Write])?;
    if kinds.contains(&EntityType::Demographics) {
        require::<HubError>(client, &[Scope::Demographics])?;
    }
    Ok(())
}

/// Reads a body of JSON, at most this many bytes.
pub(super) async fn receive(headers: &HeaderMap, body: Body, patch: bool, limit: u64) -> Result<Vec<u8>, Refused> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let known = media_type == "application/json" || (patch && media_type == "application/merge-patch+json");
    if !known || headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refused::MediaType);
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| HubError::bad_request("The body broke off."))?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Refused::TooLarge(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn conditions(headers: &HeaderMap) -> Result<Conditions, HubError> {
    let tags = |name: HeaderName| -> Result<Option<Tags>, HubError> {
        let bad = || HubError::bad_request(format!("{name} is a list of entity tags as in ETag, or *."));
        let lines: Result<Vec<&str>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
        let lines = lines.map_err(|_| bad())?;
        if lines.is_empty() { Ok(None) } else { lines.join(",").parse().map(Some).map_err(|_| bad()) }
    };
    Ok(Conditions { if_match: tags(header::IF_MATCH)?, if_none_match: tags(header::IF_NONE_MATCH)? })
}

pub(super) fn origin(client: &Client, headers: &HeaderMap) -> Result<Origin, HubError> {
    Ok(Origin::api(&client.id.to_string(), visible(headers, &ACTOR)?))
}

/// The request's idempotency key. What makes a request the same: verb, path, conditions and body.
pub(super) fn idempotency(client: &Client, parts: &Parts, body: &[u8]) -> Result<Option<IdempotencyKey>, HubError> {
    let Some(key) = visible(&parts.headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let mut hash = Sha256::new();
    hash.update(format!("{} {}\n", parts.method, parts.uri));
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        for value in parts.headers.get_all(&name) {
            hash.update(format!("{name}: {value:?}\n"));
        }
    }
    hash.update(b"\n");
    hash.update(body);
    let request = hash.finalize().to_vec();
    Ok(Some(IdempotencyKey { client: client.id.to_string(), request, ..IdempotencyKey::of(key) }))
}

/// A header of 1 to 255 visible ASCII characters.
fn visible<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HubError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| is_visible(text));
    match text {
        Some(text) if values.next().is_none() => Ok(Some(text)),
        _ => Err(HubError::bad_request(format!("{name} is 1 to 255 visible ASCII characters, and given once."))),
    }
}
