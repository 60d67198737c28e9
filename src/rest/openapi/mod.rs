//! The OpenAPI documents of what is served, written from the tables that also serve it, and a page to browse them.
//! They need no token: a client reads them to learn where tokens are given.

mod changes;
mod document;
mod event_types;
mod exports;
mod header;
mod hub;
mod page;
mod plans;
mod rostering;
mod schema;
mod uploads;
mod view;
mod webhooks;
mod writes;

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header as name};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use tower_http::catch_panic::CatchPanicLayer;

use super::address::PublicAddress;
use super::answer::if_none_match;
use super::error::{HubError, ImsxError};
use super::{Hub, ROSTERING};

/// Stands in documents for the hub's address until one is sent.
const PLACEHOLDER: &str = "https://rosterhub.example";
const TOKEN_PATH: &str = "/oauth/token";
const HUB_DOCUMENT: &str = "/rosterhub/v1/openapi.json";

/// Names of the Rostering service's document below `discovery/`: in the REST binding, and in the certification guide.
const DISCOVERY: [&str; 2] =
    ["onerosterv1p2rostersservice_openapi3_v1p0.json", "imsorv1p2_rostering_openapi3_v1p0.json"];

static ROSTERING_DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", rostering::write()));
static HUB_OWN_DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", hub::write()));

/// The document of the Rostering service, with a placeholder for the hub's address.
pub fn rostering() -> &'static str {
    &ROSTERING_DOCUMENT
}

/// The document of the hub's own paths, likewise.
pub fn own() -> &'static str {
    &HUB_OWN_DOCUMENT
}

pub fn router() -> Router<Hub> {
    let discovery = DISCOVERY.iter().fold(Router::new(), |router, name| {
        let document = get(async |address, headers: HeaderMap| json(rostering(), &address, &headers));
        router.route(&format!("{ROSTERING}/discovery/{name}"), document)
    });
    let discovery = discovery
        .method_not_allowed_fallback(async || ImsxError::wrong_verb())
        .layer(CatchPanicLayer::custom(|_| ImsxError::internal().into_response()));
    let own = Router::new()
        .route(HUB_DOCUMENT, get(async |address, headers: HeaderMap| json(own(), &address, &headers)))
        .merge(page::router())
        .method_not_allowed_fallback(async || HubError::wrong_verb())
        .layer(CatchPanicLayer::custom(|_| HubError::internal().into_response()));
    discovery.merge(own)
}

fn json(document: &str, address: &PublicAddress, request: &HeaderMap) -> Response {
    content("application/json", document.replace(PLACEHOLDER, address.as_str()), request)
}

/// An answer that stays the same until the program or its address changes.
fn content(media_type: &'static str, body: String, request: &HeaderMap) -> Response {
    let digest = Sha256::digest(&body);
    let etag = format!("\"{}\"", digest[..10].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let known = if_none_match(request).is_some_and(|tags| tags.match_weakly(Some(&etag)));
    let mut headers = HeaderMap::new();
    headers.insert(name::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(name::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(name::ETAG, etag);
    }
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(name::CONTENT_TYPE, HeaderValue::from_static(media_type));
    (headers, body).into_response()
}
