//! Errors as answers: `imsx_StatusInfo` on OneRoster's paths, a small JSON object on the hub's own.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::admission::Refusal;
use crate::auth::Scope;
use crate::command::CommandError;
use crate::db::is_unavailable;

/// Seconds after which to ask again while the database is away.
pub const RETRY_AFTER: u64 = 5;

/// An error on OneRoster's paths (REST binding, imsx_StatusInfo).
#[derive(Debug)]
pub struct ImsxError {
    status: StatusCode,
    minor: &'static str,
    description: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ImsxError {
    fn new(status: StatusCode, minor: &'static str, description: impl Into<String>) -> Self {
        Self { status, minor, description: description.into(), header: None }
    }
    pub fn invalid_data(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invaliddata", description)
    }
    pub fn filter(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_filter_field", format!("{why}."))
    }
    pub fn selection(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_selection_field", format!("{why}."))
    }
    /// The log has not reached the position that the client asked for.
    pub fn behind(position: i64) -> Self {
        let description = format!("The log has not reached position {position} yet; try again soon.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_busy", description)
    }
    pub fn unknown_object(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknownobject", format!("Unknown Object: {what}"))
    }
    pub fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknownobject", "Unknown Object: there is no such path.")
    }
    pub fn wrong_verb() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invaliddata", "This path is read with GET.")
    }
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", "The request could not be answered.")
    }
}

impl Refusal for ImsxError {
    fn unauthorised(given: bool) -> Self {
        let header = Some(challenge(given));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, "unauthorisedrequest", TOKEN_NEEDED) }
    }
    fn insufficient_scope(any_of: &[Scope]) -> Self {
        let (header, description) = lacking(any_of);
        Self { header: Some(header), ..Self::new(StatusCode::FORBIDDEN, "forbidden", description) }
    }
    fn wrong_address() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", WRONG_ADDRESS)
    }
    fn too_many_requests(wait: u64) -> Self {
        let header = Some((header::RETRY_AFTER, HeaderValue::from(wait)));
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "server_busy", TOO_MANY) }
    }
}

impl From<sqlx::Error> for ImsxError {
    fn from(error: sqlx::Error) -> Self {
        Self::of_database(&error)
    }
}

impl ImsxError {
    pub fn of_database(error: &sqlx::Error) -> Self {
        if is_unavailable(error) {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_busy", "The database is away; try again soon.");
        }
        // Class 22: a value that the client sent is none of its type, as in a cursor that was tampered with.
        if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code.starts_with("22")) {
            return Self::invalid_data("A value is none of its type.");
        }
        tracing::error!(%error, "a query failed");
        Self::internal()
    }
}

impl IntoResponse for ImsxError {
    fn into_response(self) -> Response {
        let body = json!({
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": self.description,
            "imsx_CodeMinor": { "imsx_codeMinorField": [{
                "imsx_codeMinorFieldName": "TargetEndSystem",
                "imsx_codeMinorFieldValue": self.minor,
            }]},
        });
        with_headers(self.status, self.header, (self.status, Json(body)).into_response())
    }
}

/// An error on the hub's own paths: `{"error":{"code":"…","message":"…"}}`.
#[derive(Debug)]
pub struct HubError {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl HubError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no {what} of this id."))
    }
    pub fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such path.")
    }
    pub fn wrong_verb() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_verb", "The path does not take this verb.")
    }
    pub fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("An upload has at most {limit} bytes."))
    }
    pub fn busy() -> Self {
        let message = "As many imports as allowed are running and waiting; try again soon.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The database is away; try again soon.")
    }
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The request could not be answered.")
    }
}

impl Refusal for HubError {
    fn unauthorised(given: bool) -> Self {
        let header = Some(challenge(given));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, "unauthorised", TOKEN_NEEDED) }
    }
    fn insufficient_scope(any_of: &[Scope]) -> Self {
        let (header, message) = lacking(any_of);
        Self { header: Some(header), ..Self::new(StatusCode::FORBIDDEN, "insufficient_scope", message) }
    }
    fn wrong_address() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", WRONG_ADDRESS)
    }
    fn too_many_requests(wait: u64) -> Self {
        let header = Some((header::RETRY_AFTER, HeaderValue::from(wait)));
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", TOO_MANY) }
    }
}

impl From<sqlx::Error> for HubError {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) {
            return Self::unavailable();
        }
        tracing::error!(%error, "a query failed");
        Self::internal()
    }
}

impl From<CommandError> for HubError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unavailable(_) => Self::unavailable(),
            CommandError::Conflict => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            CommandError::Rejected(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", error.to_string()),
            CommandError::Internal(error) => {
                tracing::error!(error, "a command failed");
                Self::internal()
            }
        }
    }
}

impl From<std::io::Error> for HubError {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "an upload could not be kept");
        Self::internal()
    }
}

impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        with_headers(self.status, self.header, (self.status, Json(body)).into_response())
    }
}

const TOKEN_NEEDED: &str = "A valid bearer token is needed.";
const WRONG_ADDRESS: &str = "The client may not call from this address.";
const TOO_MANY: &str = "The client asks more often than it may; try again soon.";

/// RFC 6750, section 3.
fn challenge(given: bool) -> (HeaderName, HeaderValue) {
    let challenge =
        if given { "Bearer realm=\"rosterhub\", error=\"invalid_token\"" } else { "Bearer realm=\"rosterhub\"" };
    (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// The challenge and the text for a token without any of these scopes. The challenge names the first.
fn lacking(any_of: &[Scope]) -> ((HeaderName, HeaderValue), String) {
    let names: Vec<&str> = any_of.iter().map(|scope| scope.name()).collect();
    let scope = names.first().copied().unwrap_or_default();
    let challenge = format!("Bearer realm=\"rosterhub\", error=\"insufficient_scope\", scope=\"{scope}\"");
    let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    let text = format!("insufficient_scope: the token needs the scope {}.", names.join(" or "));
    ((header::WWW_AUTHENTICATE, challenge), text)
}

fn with_headers(status: StatusCode, own: Option<(HeaderName, HeaderValue)>, mut response: Response) -> Response {
    let busy = (header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    if let Some((name, value)) = own.or_else(|| (status == StatusCode::SERVICE_UNAVAILABLE).then_some(busy)) {
        response.headers_mut().insert(name, value);
    }
    response
}
