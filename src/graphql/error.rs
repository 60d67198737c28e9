//! Errors of the gateway: a closed list of codes in `extensions.code`.

use async_graphql::dynamic::{FieldValue, ResolverContext};
use async_graphql::{Context, ErrorExtensions, Response, ServerError};

use crate::db::is_unavailable;

/// What `extensions.code` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    ParseFailed,
    ValidationFailed,
    BadUserInput,
    LimitExceeded,
    Unauthenticated,
    Forbidden,
    RateLimited,
    PositionNotReached,
    PersistedQueryNotFound,
    OperationNotAllowed,
    Unavailable,
    Internal,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    PayloadTooLarge,
    UnsupportedMediaType,
    IntrospectionDisabled,
    PersistedQueryNotSupported,
    TimedOut,
}

/// Name, and when. In the order of the variants.
static CODES: [(&str, &str); 20] = [
    ("PARSE_FAILED", "the document is not GraphQL"),
    ("VALIDATION_FAILED", "the document does not fit the schema, or its variables do not"),
    (
        "BAD_USER_INPUT",
        "an argument fits its type, but not what it stands for: a cursor of another order, a future time",
    ),
    ("LIMIT_EXCEEDED", "the operation is too deep, too wide or too costly"),
    ("UNAUTHENTICATED", "the token is missing, ended or unknown"),
    ("FORBIDDEN", "the token has none of the scopes that a field needs"),
    ("RATE_LIMITED", "the client asks more often, or for more, than it may"),
    ("POSITION_NOT_REACHED", "the log has not reached the position asked for; ask again"),
    ("PERSISTED_QUERY_NOT_FOUND", "no operation is kept under this hash; send it along"),
    ("OPERATION_NOT_ALLOWED", "the server takes listed operations only, and this is none of them"),
    ("UNAVAILABLE", "the database is away; ask again"),
    ("INTERNAL", "the hub failed"),
    ("BAD_REQUEST", "the request is not one of GraphQL over HTTP: no JSON, no document, a member of another type"),
    ("METHOD_NOT_ALLOWED", "another verb than GET or POST, or a mutation by GET"),
    ("NOT_ACCEPTABLE", "the client takes none of the media types that there are"),
    ("PAYLOAD_TOO_LARGE", "the body is larger than document and variables may be"),
    ("UNSUPPORTED_MEDIA_TYPE", "the body is not application/json in UTF-8"),
    ("INTROSPECTION_DISABLED", "the server does not show its schema"),
    ("PERSISTED_QUERY_NOT_SUPPORTED", "the server keeps no operations; send the document each time"),
    ("TIMED_OUT", "the operation took longer than it may; ask for less"),
];

impl Code {
    pub const ALL: [Self; 20] = [
        Self::ParseFailed,
        Self::ValidationFailed,
        Self::BadUserInput,
        Self::LimitExceeded,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RateLimited,
        Self::PositionNotReached,
        Self::PersistedQueryNotFound,
        Self::OperationNotAllowed,
        Self::Unavailable,
        Self::Internal,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::IntrospectionDisabled,
        Self::PersistedQueryNotSupported,
        Self::TimedOut,
    ];

    pub fn name(self) -> &'static str {
        CODES[self as usize].0
    }

    /// The code of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// When a request fails so, in words.
    pub fn when(self) -> &'static str {
        CODES[self as usize].1
    }
}

/// Why something is not answered. The message is for the client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Code::BadUserInput, message)
    }

    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(Code::LimitExceeded, message)
    }

    pub fn timed_out() -> Self {
        Self::new(Code::TimedOut, "The operation took longer than it may; ask for less at once.")
    }

    /// As the only error of an answer that was not executed: it has no `data`.
    pub fn into_response(self) -> Response {
        let mut error = ServerError::new(self.message, None);
        let mut extensions = async_graphql::ErrorExtensionValues::default();
        extensions.set("code", self.code.name());
        error.extensions = Some(extensions);
        Response::from_errors(vec![error])
    }

    /// As the error of a field that is null for it.
    pub fn null<'a>(self, ctx: &ResolverContext<'a>) -> Option<FieldValue<'a>> {
        self.report(ctx.ctx);
        None
    }

    /// As the error of the field that is being resolved, which is null then.
    pub fn report<'a>(self, ctx: &Context<'a>) {
        ctx.add_error(ctx.set_error_path(self.into_error().into_server_error(ctx.item.pos)));
    }

    /// As the error of a field.
    pub fn into_error(self) -> async_graphql::Error {
        async_graphql::Error::new(self.message).extend_with(|_, extensions| extensions.set("code", self.code.name()))
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

/// Of an error that several readers share.
impl From<&sqlx::Error> for Refusal {
    fn from(error: &sqlx::Error) -> Self {
        // query_canceled: what `statement_timeout` raises
        if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014")) {
            return Self::timed_out();
        }
        if is_unavailable(error) {
            return Self::new(Code::Unavailable, "The database is away; ask again.");
        }
        // 22…: a value that Postgres cannot take, such as the key of a forged cursor.
        if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code.starts_with("22")) {
            return Self::input("A value is out of range, or a cursor is not of this list.");
        }
        tracing::error!(%error, "a GraphQL operation failed");
        Self::new(Code::Internal, "The hub failed; the failure has been logged.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_the_order_of_the_variants() {
        for (n, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, n);
        }
        assert_eq!(Code::Internal.name(), "INTERNAL");
    }

    #[test]
    fn the_documentation_lists_all_codes_and_no_others() {
        let documented = include_str!("../../docs/graphql.md").split("## Errors").nth(1).unwrap();
        let rows = documented.lines().filter(|line| line.starts_with("| `"));
        let codes = Code::ALL.map(|code| format!("| `{}` | {} |", code.name(), code.when()));
        assert_eq!(rows.collect::<Vec<_>>(), codes);
    }
}
