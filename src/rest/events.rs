//! Server-sent events of a log: each names in its `id` the position that its reader has been told up to.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::graphql::sessions::Session;

pub const EVENT_STREAM: &str = "text/event-stream";
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold events back.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// An open connection says something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The position up to which a reader has been told everything; 0 while there is none.
#[derive(Clone, Default)]
pub struct Reached(pub Arc<AtomicI64>);

impl Reached {
    pub fn position(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|position| *position > 0)
    }
}

/// An event; its data is one line.
pub struct Message {
    pub name: &'static str,
    pub data: String,
}

/// `Last-Event-ID` is no log position.
pub struct BadEventId;

impl BadEventId {
    pub const TEXT: &str = "Last-Event-ID is a log position.";
}

/// The position after which a client goes on that was cut off.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, BadEventId> {
    let Some(given) = headers.get(&LAST_EVENT_ID) else { return Ok(None) };
    let text = given.to_str().ok().map(str::trim);
    match text.map(|text| (text, text.parse::<i64>())) {
        Some(("", _)) => Ok(None),
        Some((_, Ok(position))) if position >= 0 => Ok(Some(position)),
        _ => Err(BadEventId),
    }
}

/// Tells the messages as they come, with heartbeats between. The stream breaks off when the session is over: the client
/// comes back, here or elsewhere, or is refused then.
pub fn answer(session: Session, messages: BoxStream<'static, Message>, reached: Reached) -> Response {
    let open = Some((session, messages, reached));
    let chunks = stream::unfold(open, |open| async move {
        let (mut session, mut messages, reached) = open?;
        let chunk = tokio::select! {
            _ = session.over() => return None,
            message = tokio::time::timeout(HEARTBEAT, messages.next()) => match message {
                Ok(message) => message?.write(&reached),
                // A comment; with the position, from which a reader goes on whose filter has passed nothing for long.
                Err(_) => format!("{}:\n\n", id(&reached)),
            },
        };
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), Some((session, messages, reached))))
    });
    let headers = [(header::CONTENT_TYPE, EVENT_STREAM), (header::CACHE_CONTROL, "no-cache"), UNBUFFERED];
    (headers, Body::from_stream(chunks)).into_response()
}

fn id(reached: &Reached) -> String {
    reached.position().map_or(String::new(), |position| format!("id: {position}\n"))
}

impl Message {
    fn write(&self, reached: &Reached) -> String {
        let Self { name, data } = self;
        match data.as_str() {
            // The end of a stream stands at no position of its own.
            "" => format!("event: {name}\ndata:\n\n"),
            data => format!("{}event: {name}\ndata: {data}\n\n", id(reached)),
        }
    }
}
