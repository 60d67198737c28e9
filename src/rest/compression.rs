//! A compressed answer is another representation: a strong entity tag must tell it from the plain one (RFC 9110, 8.8.3).

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

const CODINGS: [&str; 3] = ["br", "gzip", "zstd"];

/// `"tag"` becomes `"tag-gzip"` in an answer that is sent so, and is read as `"tag"` when it comes back.
pub async fn tags(mut request: Request, next: Next) -> Response {
    for name in [header::IF_NONE_MATCH, header::IF_MATCH] {
        plain(request.headers_mut(), name);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let tag = headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    if let (Some(coding), Some(tag)) = (coding, tag)
        && let Some(inside) = tag.strip_suffix('"')
        && let Ok(tag) = HeaderValue::from_str(&format!("{inside}-{coding}\""))
    {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn plain(headers: &mut HeaderMap, name: HeaderName) {
    let Some(tags) = headers.get(&name).and_then(|value| value.to_str().ok()) else { return };
    let ends = CODINGS.map(|coding| format!("-{coding}\""));
    if ends.iter().any(|end| tags.contains(end.as_str())) {
        let plain = ends.iter().fold(tags.to_owned(), |tags, end| tags.replace(end.as_str(), "\""));
        if let Ok(plain) = HeaderValue::from_str(&plain) {
            headers.insert(name, plain);
        }
    }
}
