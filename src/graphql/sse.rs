//! GraphQL over server-sent events: the mode of distinct connections
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>). Each request is one operation, each event
//! names in its `id` the position that its reader has been told up to.

use async_graphql::parser::types::OperationType;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

use super::error::{Code, Refusal};
use super::http::answer::Refused;
use super::http::{request, sizes};
use super::operation_type;
use super::subscription::Answers;
use crate::rest::Hub;
use crate::rest::address::ClientAddress;
use crate::rest::admission::{Refusal as _, admit_token, bearer};
use crate::rest::events::{self, BadEventId, EVENT_STREAM, Message, Reached, last_event_id};

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
    let resume = last_event_id(&parts.headers);
    let resume = resume.map_err(|_| Refusal::new(Code::BadRequest, BadEventId::TEXT))?;
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
    let Answers { responses, reached } = answers;
    let messages = responses.map(|answer| Message {
        name: "next",
        // JSON has no line ends outside of escapes.
        data: serde_json::to_string(&answer).unwrap_or_default(),
    });
    let end = stream::once(async { Message { name: "complete", data: String::new() } });
    Ok(events::answer(session, messages.chain(end).boxed(), reached))
}

/// What is refused before it begins is told as the only event.
fn refused(refusal: Refusal) -> Answers {
    let responses = stream::once(async move { refusal.into_response() }).boxed();
    Answers { responses, reached: Reached::default() }
}
