//! Errors as answers: `imsx_StatusInfo` on OneRoster's paths, a small JSON object on the hub's own.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::command::CommandError;
use crate::db::is_unavailable;

/// When to ask again while the database is away.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An error on OneRoster's paths (REST binding, imsx_StatusInfo).
#[derive(Debug)]
pub struct ImsxError {
    status: StatusCode,
    minor: &'static str,
    description: String,
}

impl ImsxError {
    fn new(status: StatusCode, minor: &'static str, description: impl Into<String>) -> Self {
        Self { status, minor, description: description.into() }
    }
    pub fn invalid_data(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invaliddata", description)
    }
    pub fn unauthorised() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorisedrequest", "A valid bearer token is needed.")
    }
    pub fn forbidden(scope: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", format!("The token lacks the scope {scope}."))
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

impl From<sqlx::Error> for ImsxError {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_busy", "The database is away; try again soon.");
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
        with_headers(self.status, (self.status, Json(body)).into_response())
    }
}

/// An error on the hub's own paths: `{"error":{"code":"…","message":"…"}}`.
#[derive(Debug)]
pub struct HubError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl HubError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
    pub fn unauthorised() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorised", "A valid bearer token is needed.")
    }
    pub fn forbidden(scope: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", format!("The token lacks the scope {scope}."))
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
        with_headers(self.status, (self.status, Json(body)).into_response())
    }
}

fn with_headers(status: StatusCode, mut response: Response) -> Response {
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        _ => {}
    }
    response
}
