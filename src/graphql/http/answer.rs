//! Answers as HTTP takes them: status and headers follow from what became of the request.

use async_graphql::{Response, ServerError, Value};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use serde::Serialize;
use std::collections::BTreeMap;

use super::media::Media;
use crate::auth::Scope;
use crate::graphql::error::{Code, Refusal};
use crate::rest::POSITION;
use crate::rest::admission;
use crate::rest::error::{RETRY_AFTER, TOKEN_NEEDED, TOO_MANY, WRONG_ADDRESS, challenge, lacking};

/// Something was answered, and something failed (GraphQL over HTTP, edition of September 2026). HTTP takes it for 200.
const PARTIAL_SUCCESS: u16 = 294;

/// The status of an answer to clients that take `application/json` only.
#[derive(Clone, Copy)]
struct InJson(StatusCode);

/// The status of a request that was not executed; whether it is the same in `application/json`, where the fault of an
/// operation has the status 200.
pub fn status(code: Code) -> (StatusCode, bool) {
    use StatusCode as S;
    match code {
        Code::ParseFailed | Code::ValidationFailed | Code::BadUserInput | Code::LimitExceeded => {
            (S::BAD_REQUEST, false)
        }
        Code::PersistedQueryNotSupported => (S::BAD_REQUEST, false),
        Code::PersistedQueryNotFound => (S::NOT_FOUND, false),
        Code::OperationNotAllowed | Code::IntrospectionDisabled | Code::Forbidden => (S::FORBIDDEN, false),
        Code::Unauthenticated => (S::UNAUTHORIZED, true),
        Code::RateLimited => (S::TOO_MANY_REQUESTS, true),
        Code::PositionNotReached | Code::Unavailable | Code::TimedOut => (S::SERVICE_UNAVAILABLE, true),
        Code::Internal => (S::INTERNAL_SERVER_ERROR, true),
        Code::BadRequest => (S::BAD_REQUEST, true),
        Code::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, true),
        Code::NotAcceptable => (S::NOT_ACCEPTABLE, true),
        Code::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, true),
        Code::UnsupportedMediaType => (S::UNSUPPORTED_MEDIA_TYPE, true),
    }
}

/// Seconds after which asking again may help.
fn retry_after(code: Code) -> Option<u64> {
    match code {
        Code::PositionNotReached => Some(1),
        Code::Unavailable => Some(RETRY_AFTER),
        _ => None,
    }
}

/// What is sent. Nothing that was not executed has `data`.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

/// An answer, in `application/graphql-response+json` until [`into`] makes it another.
pub fn send(response: Response) -> HttpResponse {
    let executed = response.data != Value::Null || response.errors.iter().any(|error| !error.path.is_empty());
    let data = executed.then_some(&response.data);
    let code = response.errors.iter().find_map(code);
    let (status, in_json) = match (executed, response.errors.is_empty()) {
        (true, true) => (StatusCode::OK, StatusCode::OK),
        (true, false) => (StatusCode::from_u16(PARTIAL_SUCCESS).unwrap_or(StatusCode::OK), StatusCode::OK),
        (false, _) => {
            let (status, same) = status(code.unwrap_or(Code::Internal));
            (status, if same { status } else { StatusCode::OK })
        }
    };
    let sent = Sent { data, errors: &response.errors, extensions: &response.extensions };
    let body = match serde_json::to_vec(&sent) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            return Refused::from(Code::Internal).into_response();
        }
    };
    let mut answer = (status, body).into_response();
    answer.extensions_mut().insert(InJson(in_json));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(Media::GraphqlResponse));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Value::Number(position)) = response.extensions.get("position")
        && let Some(position) = position.as_i64()
    {
        headers.insert(POSITION, HeaderValue::from(position));
    }
    if let Some(wait) = retry_after_of(&response) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    answer
}

fn code(error: &ServerError) -> Option<Code> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(name) => Code::find(name),
        _ => None,
    }
}

/// `retryAfter` of an error, or what follows from its code.
fn retry_after_of(response: &Response) -> Option<u64> {
    response.errors.iter().find_map(|error| match error.extensions.as_ref()?.get("retryAfter") {
        Some(Value::Number(wait)) => wait.as_u64(),
        _ => code(error).and_then(retry_after),
    })
}

/// Writes an answer in the media type that was chosen.
pub fn into(media: Media, answer: &mut HttpResponse) {
    if let (Media::Json, Some(InJson(status))) = (media, answer.extensions().get().copied()) {
        *answer.status_mut() = status;
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type(Media::Json));
    }
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
}

fn content_type(media: Media) -> HeaderValue {
    HeaderValue::from_static(match media {
        Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        Media::Json => "application/json; charset=utf-8",
        Media::Page => "text/html; charset=utf-8",
    })
}

/// A refusal with headers of its own.
#[derive(Debug)]
pub struct Refused {
    refusal: Refusal,
    /// Where it is not the code's.
    status: Option<StatusCode>,
    headers: HeaderMap,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, status: None, headers: HeaderMap::new() }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        let message = match code {
            Code::Internal => "The hub failed; the failure has been logged.",
            Code::NotAcceptable => "Answers are application/graphql-response+json or application/json.",
            Code::MethodNotAllowed => "GraphQL is asked by POST, or by GET for queries.",
            other => other.when(),
        };
        Refusal::new(code, message).into()
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Refusal::from(error).into()
    }
}

impl Refused {
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl admission::Refusal for Refused {
    fn unauthorised(given: bool) -> Self {
        let (name, value) = challenge(given);
        Self::from(Refusal::new(Code::Unauthenticated, TOKEN_NEEDED)).header(name, value)
    }
    fn insufficient_scope(any_of: &[Scope]) -> Self {
        let ((name, value), message) = lacking(any_of);
        let refused = Self::from(Refusal::new(Code::Forbidden, message)).header(name, value);
        Self { status: Some(StatusCode::FORBIDDEN), ..refused }
    }
    fn wrong_address() -> Self {
        Self { status: Some(StatusCode::FORBIDDEN), ..Refusal::new(Code::Forbidden, WRONG_ADDRESS).into() }
    }
    fn too_many_requests(wait: u64) -> Self {
        Self::from(Refusal::new(Code::RateLimited, TOO_MANY)).header(header::RETRY_AFTER, HeaderValue::from(wait))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> HttpResponse {
        let mut answer = send(self.refusal.into_response());
        if let Some(status) = self.status {
            *answer.status_mut() = status;
            answer.extensions_mut().insert(InJson(status));
        }
        answer.headers_mut().extend(self.headers);
        answer
    }
}
