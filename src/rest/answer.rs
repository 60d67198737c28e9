//! Answers of the Rostering service: an envelope with documents, their addresses put in as they are copied.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, TryStreamExt};
use sqlx::{Postgres, Transaction};
use tokio::sync::mpsc;

use super::POSITION;
use crate::query::etag::Tags;
use crate::query::fields::Fields;
use crate::query::href::Splicer;
use crate::query::list::Line;
use crate::query::sql::Parameters;

/// Bytes gathered before they are sent.
const CHUNK: usize = 64 * 1024;

/// An answer but for its body.
pub struct Answer {
    pub etag: String,
    pub headers: HeaderMap,
}

/// The tags of `If-None-Match`, if there are any that can be read.
pub fn if_none_match(headers: &HeaderMap) -> Option<Tags> {
    headers.get(header::IF_NONE_MATCH)?.to_str().ok()?.parse().ok()
}

impl Answer {
    pub fn new(etag: String, position: i64) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(POSITION, HeaderValue::from(position));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, tag);
        }
        Self { etag, headers }
    }

    /// Whether the client has this answer already.
    pub fn is_known(&self, request: &HeaderMap) -> bool {
        if_none_match(request).is_some_and(|tags| tags.match_weakly(Some(&self.etag)))
    }

    pub fn not_modified(self) -> Response {
        (StatusCode::NOT_MODIFIED, self.headers).into_response()
    }

    pub fn with_body(self, body: Vec<u8>) -> Response {
        self.send(Body::from(body))
    }

    pub fn with_stream(self, body: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static) -> Response {
        self.send(Body::from_stream(body))
    }

    fn send(mut self, body: Body) -> Response {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (self.headers, body).into_response()
    }
}

/// An answer ended in its middle: the connection breaks off, so that no client takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be read to its end")]
pub struct Broken;

/// Why an answer ended in its middle.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the client took nothing of it for too long")]
    Stalled,
    #[error("the client is gone")]
    Gone,
}

/// The object around the documents: `{"orgs":[…]}` or `{"org":…}`.
#[derive(Clone)]
pub struct Envelope {
    pub member: &'static str,
    pub is_list: bool,
    /// Address of the Rostering service.
    pub base: String,
    pub fields: Option<Fields>,
}

impl Envelope {
    pub fn begin(&self) -> Vec<u8> {
        format!("{{\"{}\":{}", self.member, if self.is_list { "[" } else { "" }).into_bytes()
    }

    pub fn end(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(if self.is_list { b"]}" } else { b"}" });
    }

    pub fn record(&self, doc: &[u8], body: &mut Vec<u8>) {
        self.records(std::iter::once(doc), body);
    }

    pub fn records<'a>(&self, docs: impl Iterator<Item = &'a [u8]>, body: &mut Vec<u8>) {
        let splicer = Splicer::new(&self.base);
        for (n, doc) in docs.enumerate() {
            if n > 0 {
                body.push(b',');
            }
            match &self.fields {
                Some(fields) => splicer.splice(fields.cut(&String::from_utf8_lossy(doc)).as_bytes(), body),
                None => splicer.splice(doc, body),
            }
        }
    }

    /// The rows of a list's statement as they come from the database: memory does not grow with the page. A client that
    /// takes nothing of it for the time of `patience` is left, since it keeps a connection to the database.
    pub fn stream(
        self,
        mut tx: Transaction<'static, Postgres>,
        sql: String,
        parameters: Parameters,
        patience: Duration,
    ) -> impl Stream<Item = Result<Bytes, Broken>> + Send + 'static {
        let (sender, mut receiver) = mpsc::channel(2);
        tokio::spawn(async move {
            let mut body = self.begin();
            let mut first = true;
            let read = async {
                let mut rows = parameters.query(&sql).fetch(&mut *tx);
                while let Some(row) = rows.try_next().await? {
                    let Some(line) = Line::read(row)? else { continue };
                    if !std::mem::take(&mut first) {
                        body.push(b',');
                    }
                    self.record(line.doc(), &mut body);
                    if body.len() >= CHUNK {
                        let sent = sender.send(Ok(std::mem::take(&mut body).into()));
                        let sent = tokio::time::timeout(patience, sent).await.map_err(|_| Halt::Stalled)?;
                        sent.map_err(|_| Halt::Gone)?;
                    }
                }
                self.end(&mut body);
                Ok::<(), Halt>(())
            };
            let outcome = read.await;
            drop(tx);
            let last = match outcome {
                Ok(()) => Ok(body.into()),
                Err(Halt::Gone) => return,
                Err(error) => {
                    tracing::warn!(%error, "a list broke off");
                    Err(Broken)
                }
            };
            let _ = sender.send(last).await;
        });
        // Compression asks once more after the end.
        futures::stream::poll_fn(move |context| receiver.poll_recv(context))
    }
}
