//! Errors as answers: `imsx_StatusInfo` on OneRoster's paths, a small JSON object on the hub's own.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::admission::Refusal;
use crate::auth::Scope;
use crate::command::CommandError;
use crate::csv::intake::{ReceiveError, StartError};
use crate::db::is_unavailable;

/// Seconds after which to ask again while the database is away.
pub const RETRY_AFTER: u64 = 5;

/// The ways in which requests on OneRoster's paths fail (REST binding, status codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    InvalidFilter,
    InvalidSelection,
    InvalidData,
    Unauthorised,
    Forbidden,
    UnknownObject,
    TooManyRequests,
    Internal,
    Busy,
    WrongVerb,
}

/// Status, `imsx_codeMinorFieldValue`, and when. In the order of the variants.
static FAILURES: [(StatusCode, &str, &str); 10] = [
    (StatusCode::BAD_REQUEST, "invalid_filter_field", "`filter` or `sort` is malformed or names an unknown field"),
    (StatusCode::BAD_REQUEST, "invalid_selection_field", "`fields` names an unknown member or a blank one"),
    (StatusCode::BAD_REQUEST, "invaliddata", "another parameter or header is unknown or malformed"),
    (StatusCode::UNAUTHORIZED, "unauthorisedrequest", "the token is missing, ended or unknown"),
    (StatusCode::FORBIDDEN, "forbidden", "the token has none of the scopes, or the client may not call from there"),
    (StatusCode::NOT_FOUND, "unknownobject", "a record that the path names is not there"),
    (StatusCode::TOO_MANY_REQUESTS, "server_busy", "the client asks more often than it may"),
    (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", "the hub failed"),
    (StatusCode::SERVICE_UNAVAILABLE, "server_busy", "the database is away, or the log has not reached the position"),
    (StatusCode::METHOD_NOT_ALLOWED, "invaliddata", "the verb is not GET or HEAD"),
];

impl Failure {
    pub const ALL: [Self; 10] = [
        Self::InvalidFilter,
        Self::InvalidSelection,
        Self::InvalidData,
        Self::Unauthorised,
        Self::Forbidden,
        Self::UnknownObject,
        Self::TooManyRequests,
        Self::Internal,
        Self::Busy,
        Self::WrongVerb,
    ];

    pub fn status(self) -> StatusCode {
        FAILURES[self as usize].0
    }

    /// `imsx_codeMinorFieldValue`.
    pub fn minor(self) -> &'static str {
        FAILURES[self as usize].1
    }

    /// When a request fails so, in words.
    pub fn when(self) -> &'static str {
        FAILURES[self as usize].2
    }
}

/// The members of `imsx_StatusInfo` that are the same in every failure.
pub const CODE_MAJOR: &str = "failure";
pub const SEVERITY: &str = "error";
pub const FIELD_NAME: &str = "TargetEndSystem";

/// An error on OneRoster's paths (REST binding, imsx_StatusInfo).
#[derive(Debug)]
pub struct ImsxError {
    failure: Failure,
    description: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ImsxError {
    fn new(failure: Failure, description: impl Into<String>) -> Self {
        Self { failure, description: description.into(), header: None }
    }
    pub fn invalid_data(description: impl Into<String>) -> Self {
        Self::new(Failure::InvalidData, description)
    }
    pub fn filter(why: &str) -> Self {
        Self::new(Failure::InvalidFilter, format!("{why}."))
    }
    pub fn selection(why: &str) -> Self {
        Self::new(Failure::InvalidSelection, format!("{why}."))
    }
    /// The log has not reached the position that the client asked for.
    pub fn behind(position: i64) -> Self {
        Self::new(Failure::Busy, format!("The log has not reached position {position} yet; try again soon."))
    }
    pub fn unknown_object(what: &str) -> Self {
        Self::new(Failure::UnknownObject, format!("Unknown Object: {what}"))
    }
    pub fn unknown_path() -> Self {
        Self::new(Failure::UnknownObject, "Unknown Object: there is no such path.")
    }
    pub fn wrong_verb() -> Self {
        Self::new(Failure::WrongVerb, "This path is read with GET.")
    }
    pub fn internal() -> Self {
        Self::new(Failure::Internal, "The request could not be answered.")
    }
}

impl Refusal for ImsxError {
    fn unauthorised(given: bool) -> Self {
        let header = Some(challenge(given));
        Self { header, ..Self::new(Failure::Unauthorised, TOKEN_NEEDED) }
    }
    fn insufficient_scope(any_of: &[Scope]) -> Self {
        let (header, description) = lacking(any_of);
        Self { header: Some(header), ..Self::new(Failure::Forbidden, description) }
    }
    fn wrong_address() -> Self {
        Self::new(Failure::Forbidden, WRONG_ADDRESS)
    }
    fn too_many_requests(wait: u64) -> Self {
        let header = Some((header::RETRY_AFTER, HeaderValue::from(wait)));
        Self { header, ..Self::new(Failure::TooManyRequests, TOO_MANY) }
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
            return Self::new(Failure::Busy, "The database is away; try again soon.");
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
            "imsx_codeMajor": CODE_MAJOR,
            "imsx_severity": SEVERITY,
            "imsx_description": self.description,
            "imsx_CodeMinor": { "imsx_codeMinorField": [{
                "imsx_codeMinorFieldName": FIELD_NAME,
                "imsx_codeMinorFieldValue": self.failure.minor(),
            }]},
        });
        let status = self.failure.status();
        with_headers(status, self.header, (status, Json(body)).into_response())
    }
}

/// How an error on the hub's own paths is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error", deny_unknown_fields)]
pub struct ErrorBody<'a> {
    error: ErrorMember<'a>,
}

/// The code is stable; the message is for people.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline, deny_unknown_fields)]
struct ErrorMember<'a> {
    code: &'a str,
    message: &'a str,
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
    /// The client sent nothing for too long.
    pub fn stalled() -> Self {
        let message = "Nothing of the upload came for too long; send it again.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "stalled", message)
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
    fn of_database(error: &sqlx::Error) -> Self {
        if is_unavailable(error) {
            return Self::unavailable();
        }
        tracing::error!(%error, "a query failed");
        Self::internal()
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
        Self::of_database(&error)
    }
}

impl From<std::sync::Arc<sqlx::Error>> for HubError {
    fn from(error: std::sync::Arc<sqlx::Error>) -> Self {
        Self::of_database(&error)
    }
}

impl From<CommandError> for HubError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unavailable(_) => Self::unavailable(),
            CommandError::Conflict => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            CommandError::Erased => Self::new(StatusCode::CONFLICT, "erased", format!("{error}.")),
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

impl<E: Into<Self>> From<ReceiveError<E>> for HubError {
    fn from(error: ReceiveError<E>) -> Self {
        match error {
            ReceiveError::TooLarge(limit) => Self::too_large(limit),
            ReceiveError::Source(error) => error.into(),
            ReceiveError::File(error) => error.into(),
        }
    }
}

impl From<StartError> for HubError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Full => Self::busy(),
            StartError::Command(error) => error.into(),
        }
    }
}

impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: ErrorMember { code: self.code, message: &self.message } };
        with_headers(self.status, self.header, (self.status, Json(body)).into_response())
    }
}

pub const TOKEN_NEEDED: &str = "A valid bearer token is needed.";
pub const WRONG_ADDRESS: &str = "The client may not call from this address.";
pub const TOO_MANY: &str = "The client asks more often than it may; try again soon.";

/// RFC 6750, section 3.
pub fn challenge(given: bool) -> (HeaderName, HeaderValue) {
    let challenge =
        if given { "Bearer realm=\"rosterhub\", error=\"invalid_token\"" } else { "Bearer realm=\"rosterhub\"" };
    (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// The challenge and the text for a token without any of these scopes. The challenge names the first.
pub fn lacking(any_of: &[Scope]) -> ((HeaderName, HeaderValue), String) {
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
