//! A client that sends nothing of a request's body for too long is not waited for any longer.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{BoxError, http::Method};
use futures::{StreamExt, stream};

use super::Hub;

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for too long")]
pub struct Stalled;

/// Bounds the time between two parts of a body.
pub async fn bounded(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    if [Method::GET, Method::HEAD].contains(request.method()) || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let patience = Duration::from_secs(hub.config.stalled_seconds);
    next.run(request.map(|body| patient(body, patience))).await
}

fn patient(body: Body, patience: Duration) -> Body {
    let chunks = stream::unfold(Some(body.into_data_stream()), move |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout(patience, chunks.next()).await {
            Ok(chunk) => Some((chunk?.map_err(BoxError::from), Some(chunks))),
            Err(_) => Some((Err(Stalled.into()), None)),
        }
    });
    Body::from_stream(chunks)
}

/// Whether that is at the bottom of the error.
pub fn is_stalled(error: &(dyn Error + 'static)) -> bool {
    error.is::<Stalled>() || error.source().is_some_and(is_stalled)
}
