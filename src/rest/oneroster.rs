//! OneRoster 1.2 Rostering: one pair of handlers serves every collection.

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;

use super::address::PublicAddress;
use super::admission::require;
use super::error::ImsxError;
use super::{Hub, POSITION, ROSTERING};
use crate::auth::Client;
use crate::query::href::Splicer;
use crate::query::{COLLECTIONS, Collection};

const DEFAULT_LIMIT: i64 = 100;

/// The collections as paths.
pub fn router() -> Router<Hub> {
    COLLECTIONS.iter().fold(Router::new(), |router, collection| {
        let path = collection.path;
        router
            .route(
                &format!("/{path}"),
                get(async move |client, state, address, query| list(collection, client, state, address, query).await),
            )
            .route(
                &format!("/{path}/{{sourcedId}}"),
                get(async move |client, state, address, path| single(collection, client, state, address, path).await),
            )
    })
}

async fn list(
    collection: &Collection,
    client: Client,
    State(hub): State<Hub>,
    address: PublicAddress,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ImsxError> {
    require::<ImsxError>(&client, collection.scopes)?;
    let limit = number(&query, "limit", 1)?.unwrap_or(DEFAULT_LIMIT).min(i64::from(hub.config.max_page));
    let offset = number(&query, "offset", 0)?.unwrap_or(0);
    if let Some(name) = query.keys().find(|name| !["limit", "offset"].contains(&name.as_str())) {
        // Ignoring a filter would hand out what was not asked for.
        return Err(ImsxError::invalid_data(format!("The parameter {name} is not supported.")));
    }
    let page = collection.list(hub.log.db(), &client.tenant, limit, offset).await?;
    let base = format!("{address}{ROSTERING}");
    let splicer = Splicer::new(&base);
    let size: usize = page.docs.iter().map(|doc| doc.len() * 3 / 2 + 1).sum();
    let mut body = Vec::with_capacity(size + 32);
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(collection.entity().collection.as_bytes());
    body.extend_from_slice(b"\":[");
    for (i, doc) in page.docs.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        splicer.splice(doc, &mut body);
    }
    body.extend_from_slice(b"]}");
    Ok(json(body, page.position))
}

async fn single(
    collection: &Collection,
    client: Client,
    State(hub): State<Hub>,
    address: PublicAddress,
    Path(sourced_id): Path<String>,
) -> Result<Response, ImsxError> {
    require::<ImsxError>(&client, collection.scopes)?;
    let (position, doc) = collection.single(hub.log.db(), &client.tenant, &sourced_id).await?;
    let doc = doc.ok_or_else(|| ImsxError::unknown_object(collection.single))?;
    let base = format!("{address}{ROSTERING}");
    let mut body = Vec::with_capacity(doc.len() * 3 / 2 + 64);
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(collection.single.as_bytes());
    body.extend_from_slice(b"\":");
    Splicer::new(&base).splice(&doc, &mut body);
    body.push(b'}');
    Ok(json(body, position))
}

fn number(query: &HashMap<String, String>, name: &str, least: i64) -> Result<Option<i64>, ImsxError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<i64>().ok().filter(|n| digits && *n >= least && *n <= i64::from(i32::MAX)) {
        Some(number) => Ok(Some(number)),
        None => Err(ImsxError::invalid_data(format!("{name} is a whole number from {least}."))),
    }
}

fn json(body: Vec<u8>, position: i64) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(POSITION, HeaderValue::from(position));
    response
}
