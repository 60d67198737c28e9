//! GraphQL over HTTP, edition of September 2026, with the statuses that clients and tools of today expect where they
//! differ from it; docs/graphql.md says where.

pub mod answer;
pub mod media;
pub mod request;

use async_graphql::Request as Operation;
use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use super::error::{Code, Refusal};
use super::persisted::Asked;
use super::{explorer, operation_type, sse, upload, ws};
use crate::auth::Client;
use crate::rest::Hub;
use crate::rest::address::PublicAddress;
use crate::rest::admission::admit;
use answer::Refused;
use media::Media;
use request::Sizes;

/// Where GraphQL is.
pub const PATH: &str = "/graphql";

pub fn router(hub: Hub) -> Router<Hub> {
    let graphql = Router::new()
        .route(PATH, get(asked).post(posted))
        .method_not_allowed_fallback(async || Refused::from(Code::MethodNotAllowed))
        .layer(from_fn_with_state(hub.clone(), admit::<Refused>))
        .layer(CatchPanicLayer::custom(|_| Refused::from(Code::Internal).into_response()))
        .layer(from_fn_with_state(hub.clone(), negotiate))
        .layer(from_fn_with_state(hub.clone(), sse::divert))
        .layer(from_fn_with_state(hub, ws::divert));
    graphql.merge(explorer::router())
}

/// Chooses the media type of the answer; shows the explorer to browsers.
async fn negotiate(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let reads = [Method::GET, Method::HEAD].contains(&parts.method);
    let mut answer = match media::choose(&parts.headers, reads && hub.config.graphql.explorer) {
        None => Refused::from(Code::NotAcceptable).into_response(),
        Some(Media::Page) => {
            let Ok(address) = PublicAddress::from_request_parts(&mut parts, &hub).await;
            explorer::page(&address)
        }
        Some(media) => {
            let mut answer = next.run(Request::from_parts(parts, body)).await;
            answer::into(media, &mut answer);
            return answer;
        }
    };
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    answer
}

async fn posted(State(hub): State<Hub>, client: Client, request: Request) -> Result<Response, Refused> {
    let mut operation = if upload::is_form(request.headers()) {
        let form = upload::receive(request, &client, &hub.imports).await?;
        let operation = prepare(&hub, request::read(&form.operations, sizes(&hub))?)?;
        form.uploads.bind(operation)?
    } else {
        let (parts, body) = request.into_parts();
        prepare(&hub, request::posted(&parts.headers, body, sizes(&hub)).await?)?
    };
    if operation_type(&mut operation) == Some(OperationType::Subscription) {
        let message = "A subscription needs the WebSocket protocol graphql-transport-ws, or Accept: text/event-stream.";
        return Err(Refusal::new(Code::BadRequest, message).into());
    }
    Ok(answer::send(hub.graphql.answer(operation, &client).await))
}

async fn asked(State(hub): State<Hub>, client: Client, uri: Uri) -> Result<Response, Refused> {
    let mut operation = prepare(&hub, request::got(&uri, sizes(&hub))?)?;
    // By GET nothing changes (RFC 9110, 9.2.1).
    if operation_type(&mut operation).is_some_and(|operation| operation != OperationType::Query) {
        let refusal = Refusal::new(Code::MethodNotAllowed, "By GET there are queries only; send a mutation by POST.");
        return Err(Refused::from(refusal).header(header::ALLOW, HeaderValue::from_static("POST")));
    }
    Ok(answer::send(hub.graphql.answer(operation, &client).await))
}

fn prepare(hub: &Hub, asked: Asked) -> Result<Operation, Refusal> {
    hub.graphql.request(asked)
}

/// The bounds of a request.
pub fn sizes(hub: &Hub) -> Sizes {
    let config = &hub.config.graphql;
    Sizes { document: config.max_document_bytes, variables: config.max_variables_bytes }
}
