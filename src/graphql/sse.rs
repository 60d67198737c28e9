//! GraphQL over server-sent events: the mode of distinct connections
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>). Each request is one operation, each event
//! names in its `id` the position that its reader has been told up to.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::Response as Answer;
use async_graphql::parser::types::OperationType;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

use super::error::{Code, Refusal};
use super::http::answer::Refused;
use super::http::{request, sizes};
use super::operation_type;
use super::sessions::Session;
use super::subscription::{Answers, Reached};
use crate::rest::Hub;
use crate::rest::address::ClientAddress;
use crate::rest::admission::{Refusal as _, admit_token, bearer};

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold events back.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// An open connection says something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Takes requests that accept events out of the requests to a path; all others go on.
pub async fn divert(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let accepts = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if !accepts.flat_map(|list| list.split(',')).any(|kind| kind.split(';').next().map(str::trim) == Some(EVENT_STREAM))
    {
        return next.run(request).await;
    }
    begin(&hub, request).await.into_response()
}

async fn begin(hub: &Hub, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(&mut parts, hub).await;
    let token = bearer(&parts.headers).map_err(|()| Refused::unauthorised(true))?;
    let token = token.ok_or_else(|| Refused::unauthorised(false))?;
    let (client, _) = admit_token(hub, token, address).await.map_err(|(denied, _)| denied.refusal::<Refused>())?;
    let resume = resume(&parts.headers)?;
    let asked = match parts.method {
        Method::GET => request::got(&parts.uri, sizes(hub))?,
        Method::POST => request::posted(&parts.headers, body, sizes(hub)).await?,
        _ => return Err(Refused::from(Code::MethodNotAllowed)),
    };
    let mut operation = hub.graphql.request(asked)?;
    // By GET nothing changes (RFC 9110, 9.2.1).
    if parts.method == Method::GET && operation_type(&mut operation) == Some(OperationType::Mutation) {
        return Err(Refused::from(Code::MethodNotAllowed));
    }
    let session = hub.sessions.enter(token, &client, address);
    let answers = hub.graphql.answers(operation, &client, resume).unwrap_or_else(refused);
    let headers = [(header::CONTENT_TYPE, EVENT_STREAM), (header::CACHE_CONTROL, "no-cache"), UNBUFFERED];
    Ok((StatusCode::OK, headers, events(session, answers)).into_response())
}

/// What is refused before it begins is told as the only event.
fn refused(refusal: Refusal) -> Answers {
    let responses = stream::once(async move { refusal.into_response() }).boxed();
    Answers { responses, reached: Reached::default() }
}

/// The position after which a client goes on that was cut off.
fn resume(headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
    let Some(given) = headers.get(&LAST_EVENT_ID) else { return Ok(None) };
    let text = given.to_str().ok().map(str::trim);
    match text.map(|text| (text, text.parse::<i64>())) {
        Some(("", _)) => Ok(None),
        Some((_, Ok(position))) if position >= 0 => Ok(Some(position)),
        _ => Err(Refusal::new(Code::BadRequest, "Last-Event-ID is a log position.")),
    }
}

fn events(session: Session, answers: Answers) -> Body {
    let chunks = stream::unfold(Some((session, answers)), |open| async move {
        let (mut session, mut answers) = open?;
        let chunk = tokio::select! {
            // The stream breaks off without an end: the client comes back, here or elsewhere, or is refused then.
            _ = session.over() => return None,
            answer = tokio::time::timeout(HEARTBEAT, answers.responses.next()) => match answer {
                Ok(Some(answer)) => next(&answer, &answers.reached),
                Ok(None) => return Some((Ok("event: complete\ndata:\n\n".into()), None)),
                Err(_) => heartbeat(&answers.reached),
            },
        };
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), Some((session, answers))))
    });
    Body::from_stream(chunks)
}

fn id(reached: &Reached) -> String {
    reached.position().map_or(String::new(), |position| format!("id: {position}\n"))
}

fn next(answer: &Answer, reached: &Reached) -> String {
    // JSON has no line ends outside of escapes.
    let data = serde_json::to_string(answer).unwrap_or_default();
    format!("{}event: next\ndata: {data}\n\n", id(reached))
}

/// A comment; with the position, from which a reader goes on whose filter has passed nothing for long.
fn heartbeat(reached: &Reached) -> String {
    format!("{}:\n\n", id(reached))
}
