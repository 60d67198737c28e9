//! The explorer at GET /graphql: GraphiQL, which comes with the program and loads nothing from elsewhere. See
//! `explorer/NOTICE.md` for what it is made of.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::rest::Hub;
use crate::rest::address::PublicAddress;
use crate::rest::answer::if_none_match;

/// Scripts are files of the hub's own. Styles may be inline, since the editor writes some; fonts and icons are inside
/// of the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Stands in the page for the path that all of its own begin with.
const ROOT: &str = "@root@";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file below `/graphql/explorer/`.
struct File {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

static FILES: [File; 6] = [
    File { name: "page.js", media_type: SCRIPT, bytes: include_bytes!("explorer/page.js") },
    File { name: "page.css", media_type: STYLE, bytes: include_bytes!("explorer/page.css") },
    File { name: "graphiql.min.js", media_type: SCRIPT, bytes: include_bytes!("explorer/graphiql.min.js") },
    File { name: "graphiql.min.css", media_type: STYLE, bytes: include_bytes!("explorer/graphiql.min.css") },
    File {
        name: "react.production.min.js",
        media_type: SCRIPT,
        bytes: include_bytes!("explorer/react.production.min.js"),
    },
    File {
        name: "react-dom.production.min.js",
        media_type: SCRIPT,
        bytes: include_bytes!("explorer/react-dom.production.min.js"),
    },
];

/// In the order of the files.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let digest = Sha256::digest(file.bytes);
        format!("\"{}\"", digest[..10].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    FILES.iter().map(tag).collect()
});

/// The files of the explorer. They need no token, and are there even when the page is switched off.
pub fn router() -> Router<Hub> {
    FILES.iter().enumerate().fold(Router::new(), |router, (n, file)| {
        let path = format!("{}/explorer/{}", super::http::PATH, file.name);
        router.route(&path, get(async move |headers: HeaderMap| send(n, &headers)))
    })
}

/// The page itself.
pub fn page(address: &PublicAddress) -> Response {
    let page = include_str!("explorer/page.html").replace(ROOT, address.path());
    let mut response = page.into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn send(n: usize, request: &HeaderMap) -> Response {
    let (file, tag) = (&FILES[n], &TAGS[n]);
    let known = if_none_match(request).is_some_and(|tags| tags.match_weakly(Some(tag)));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Bytes::from_static(file.bytes).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
